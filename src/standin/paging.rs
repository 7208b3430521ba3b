//! Paging: collections that come in several answers (`MS-ContinuationToken` of the headers page).

use http::StatusCode;
use serde_json::{Value, json};

use crate::standin::answer::{Answer, collection};
use crate::standin::call::{Call, link};
use crate::standin::lists::Page;

/// Request header that chooses the page.
const CONTINUATION: &str = "ms-continuationtoken";

/// Begin of the tokens, so that one made elsewhere is told from them.
const TOKEN: &str = "standin-page-";

/// Where the page begins that a collection request asks for.
///
/// # Errors
/// The 400 answer for a token that was not given out here.
pub fn start(call: &Call) -> Result<usize, Answer> {
    start_at(call.header(CONTINUATION).unwrap_or_default())
}

/// Where the page begins that this token names; an empty one names the first.
///
/// # Errors
/// The 400 answer for a token that was not given out here.
pub fn start_at(token: &str) -> Result<usize, Answer> {
    if token.is_empty() {
        return Ok(0);
    }
    let start = token.strip_prefix(TOKEN).and_then(|number| number.parse().ok());
    start.ok_or_else(|| Answer::fault(StatusCode::BAD_REQUEST, 2000, "The continuation token is not valid."))
}

/// The token that names the page that begins there.
pub fn token(start: usize) -> String {
    format!("{TOKEN}{start}")
}

/// The collection answer with one page, and with links when collections come in pages.
pub fn answer(call: &Call, page: Page) -> Answer {
    let mut body = collection(page.items);
    if call.book.lists.page_size().is_some() {
        body["links"] = links(call, page.next);
    }
    Answer::ok(&body)
}

/// Partner Center prints its links without the `/v1` of the path.
fn links(call: &Call, next: Option<usize>) -> Value {
    let path = format!("/{}", call.segments.get(1..).unwrap_or_default().join("/"));
    let ask = |query: &str| if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
    let mut links = json!({ "self": link(&ask(call.query)) });
    if let Some(next) = next {
        let separator = if call.query.is_empty() { "" } else { "&" };
        let query = match call.parameter("seekOperation") {
            Some(_) => call.query.to_owned(),
            None => format!("{}{separator}seekOperation=Next", call.query),
        };
        links["next"] = json!({
            "uri": ask(&query),
            "method": "GET",
            "headers": [{ "key": "MS-ContinuationToken", "value": token(next) }],
        });
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::standin::book::Book;
    use crate::standin::lists::List;
    use crate::standin::testing::{ask_of, ask_with, body_of};

    #[test]
    fn a_walk_over_the_links_sees_every_item_once() {
        for target in [
            "/v1/relationships?relationship_type=IsIndirectCloudSolutionProviderOf",
            "/v1/auditrecords?startDate=2024-01-01",
            "/v1/customers/c/agreements?agreementType=MicrosoftCustomerAgreement",
            "/v1/customers/c/agreements?agreementType=*",
        ] {
            let book = Book::default();
            let items: Vec<Value> = (0..5).map(|number| json!({ "number": number })).collect();
            book.lists.set(List::Relationships, items.clone());
            book.lists.set(List::AuditRecords, items.clone());
            book.parties.set_attestations("c", items.clone());
            book.lists.set_page_size(Some(2));
            let (mut uri, mut token, mut seen) = (target.to_owned(), String::new(), Vec::new());
            loop {
                let page = body_of(&ask_with(&book, "GET", &uri, &[("ms-continuationtoken", &token)], ""));
                seen.extend(page["items"].as_array().unwrap().clone());
                let Some(next) = page["links"].get("next") else { break };
                let named = next["uri"].as_str().unwrap();
                assert!(!named.starts_with("/v1") && named.ends_with("&seekOperation=Next"), "{named}");
                uri = format!("/v1{named}");
                assert_eq!(next["headers"][0]["key"], "MS-ContinuationToken");
                token = next["headers"][0]["value"].as_str().unwrap().to_owned();
            }
            assert_eq!(seen, items, "{target}");
        }
    }

    #[test]
    fn a_token_made_elsewhere_is_refused() {
        let book = Book::default();
        for token in ["x", "standin-page-", "standin-page-x"] {
            let fields = [("ms-continuationtoken", token)];
            assert_eq!(ask_with(&book, "GET", "/v1/relationships", &fields, "").status, 400, "{token}");
        }
        assert_eq!(ask_of(&book, "GET", "/v1/relationships", "").status, 200);
    }
}
