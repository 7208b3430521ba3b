//! Read: what comes before the routes when something below `/v1` is read.

use http::{HeaderValue, StatusCode, header};

use crate::standin::answer::{Answer, Outcome};
use crate::standin::call::Call;
use crate::standin::counts::Kind;

/// The answer to a read that the routes do not get to see: one without a good token where they are required, one too
/// many, one of a stored resource. `None` sends it on to them.
pub fn before_routes(call: &Call) -> Option<Outcome> {
    let refused = admit(call).err();
    refused.or_else(|| stored(call)).map(Ok)
}

fn admit(call: &Call) -> Result<(), Answer> {
    let tokens = &call.book.tokens;
    if tokens.is_required() && !bearer(call).is_some_and(|token| tokens.is_good(token, call.now)) {
        let challenge = HeaderValue::from_static(r#"Bearer error="invalid_token""#);
        let answer =
            Answer::fault(StatusCode::UNAUTHORIZED, 400, "The access token is missing or not valid.");
        return Err(answer.with(header::WWW_AUTHENTICATE, challenge));
    }
    call.book.throttle.admit(call.now).inspect_err(|_| call.book.counts.add(Kind::Throttled))
}

fn bearer<'a>(call: &'a Call) -> Option<&'a str> {
    let (scheme, token) = call.header("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn stored(call: &Call) -> Option<Answer> {
    let stored = call.book.shelf.get(&call.path_to(usize::MAX))?;
    let answer = Answer::ok(&stored.resource);
    Some(match stored.etag {
        Some(etag) => answer.tagged(&etag),
        None => answer,
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use crate::standin::book::Book;
    use crate::standin::testing::{ask_of, ask_with, body_of};
    use crate::standin::throttle::ThrottleShape;
    use crate::standin::tokens::GrantRequest;

    const READ: &str = "/v1/customers/c/agreements";

    #[test]
    fn reads_need_a_token_when_they_are_told_to() {
        let book = Book::default();
        book.tokens.require(true);
        let asked = GrantRequest { grant_type: "client_credentials".to_owned(), ..GrantRequest::default() };
        let now = Timestamp::from_second(1_750_000_000).unwrap();
        let good = format!("bearer {}", book.tokens.grant(&asked, now).unwrap().access_token);
        let rows = [
            ("GET", READ, "", "", 401),
            ("HEAD", READ, "", "", 401),
            ("GET", "/v1/nothing/there", "Bearer x", "", 401),
            ("GET", READ, &good, "", 200),
            ("GET", READ, good.split_once(' ').unwrap().1, "", 401),
            ("POST", "/v1/customers/c/orders", "", "{}", 201),
            ("GET", "/webhooks/v1/registration", "", "", 200),
        ];
        for (method, target, authorization, body, status) in rows {
            let answer = ask_with(&book, method, target, &[("authorization", authorization)], body);
            assert_eq!(answer.status, status, "{method} {target} {authorization}");
            if status == 401 {
                assert_eq!(body_of(&answer)["source"], "PartnerCenter");
            }
        }
        book.tokens.revoke();
        assert_eq!(ask_with(&book, "GET", READ, &[("authorization", &good)], "").status, 401);
    }

    #[test]
    fn throttled_reads_are_counted_and_purchases_are_not_throttled() {
        let book = Book::default();
        book.throttle.limit(Some(1));
        book.throttle.shape(ThrottleShape::BodyOnly);
        let rows = [("GET", 200), ("GET", 429), ("POST", 201), ("GET", 429)];
        for (method, status) in rows {
            let target = if method == "POST" { "/v1/customers/c/orders" } else { READ };
            assert_eq!(ask_of(&book, method, target, "{}").status, status, "{method}");
        }
        assert_eq!(book.counts.named("throttled"), Some(2));
    }

    #[test]
    fn a_resource_put_there_is_what_is_read() {
        let book = Book::default();
        book.shelf.put("/v1/customers/c/carts/K", json!({ "lineItems": 7 }), Some("\"e\""));
        let answer = ask_of(&book, "GET", "/v1/customers/C/Carts/k/?x=1", "");
        assert_eq!(body_of(&answer), json!({ "lineItems": 7 }));
        assert_eq!(answer.fields[0].1, "\"e\"");
        book.shelf.forget("/v1/customers/c/carts/K");
        assert_eq!(body_of(&ask_of(&book, "GET", "/v1/customers/c/carts/K", ""))["id"], "K");
    }
}
