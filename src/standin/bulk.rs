//! Bulk: the answers about many customers at once.

use jiff::Timestamp;
use jiff::civil::Date;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::standin::answer::{Answer, Outcome};
use crate::standin::call::Call;
use crate::standin::lists::List;
use crate::standin::paging;

/// `GET /v1/partners/customeragreementrecords`; the page is chosen by a parameter, not by a header field.
pub fn agreement_records(call: &Call) -> Outcome {
    let start = paging::start_at(call.parameter("continuation_token").unwrap_or_default())?;
    let page = call.book.lists.page(List::AgreementRecords, start, |_| true);
    Ok(Answer::ok(&json!({
        "customerAgreementRecords": page.items,
        "continuationToken": page.next.map(paging::token),
    })))
}

/// `GET /v1/relationships`: the resellers of an indirect provider; there are none of any other type.
pub fn relationships(call: &Call) -> Outcome {
    let start = paging::start(call)?;
    let wanted = call.parameter("relationship_type").unwrap_or("IsIndirectCloudSolutionProviderOf");
    let keeps = wanted.eq_ignore_ascii_case("IsIndirectCloudSolutionProviderOf");
    Ok(paging::answer(call, call.book.lists.page(List::Relationships, start, |_| keeps)))
}

/// `GET /v1/auditrecords`: those of `startDate` and later, by the day. A record or parameter without a readable date is
/// not left out.
pub fn audit_records(call: &Call) -> Outcome {
    let start = paging::start(call)?;
    let first = call.parameter("startDate").and_then(day);
    let keep = |record: &Value| {
        let date = record["operationDate"].as_str().and_then(day);
        first.is_none() || date.is_none() || first <= date
    };
    Ok(paging::answer(call, call.book.lists.page(List::AuditRecords, start, keep)))
}

/// The record of an attestation (auditing-resources page).
pub fn audit_of_attestation(customer: &str, now: Timestamp) -> Value {
    json!({
        "partnerId": "b6f7d6a2-52c1-4e0c-8a57-0d1f3a9e6c48",
        "customerId": customer,
        "customerName": "North Wharf Supplies",
        "userPrincipalName": "agreements@partner.example.com",
        "resourceType": "agreement",
        "operationType": "create_agreement",
        "operationDate": format!("{now:.7}"),
        "operationStatus": "succeeded",
        "attributes": { "objectType": "AuditRecord" },
    })
}

/// The day of `2024-05-13…`, or of `5/13/2024 …` as the documentation writes it, percent-encoded or not.
fn day(text: &str) -> Option<Date> {
    let text = percent_decode_str(text).decode_utf8_lossy();
    let date = text.split([' ', '+', 'T']).next()?;
    date.parse().or_else(|_| Date::strptime("%m/%d/%Y", date)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::standin::book::Book;
    use crate::standin::testing::{ask_of, body_of};

    #[test]
    fn agreement_records_come_page_by_page() {
        let book = Book::default();
        let path = "/v1/partners/customeragreementrecords?continuation_token=";
        let body = body_of(&ask_of(&book, "GET", path, ""));
        assert_eq!(body, json!({ "customerAgreementRecords": [], "continuationToken": null }));
        book.lists.set(List::AgreementRecords, (0..3).map(Value::from).collect());
        book.lists.set_page_size(Some(2));
        let first = body_of(&ask_of(&book, "GET", path, ""));
        assert_eq!(first["customerAgreementRecords"], json!([0, 1]));
        let token = first["continuationToken"].as_str().unwrap();
        let second = body_of(&ask_of(&book, "GET", &format!("{path}{token}"), ""));
        assert_eq!(second, json!({ "customerAgreementRecords": [2], "continuationToken": null }));
        assert_eq!(ask_of(&book, "GET", &format!("{path}x"), "").status, 400);
    }

    #[test]
    fn relationships_are_those_of_a_provider() {
        let book = Book::default();
        book.lists.set(List::Relationships, vec![json!({ "mpnId": "5130400" })]);
        let rows = [
            ("", 1),
            ("?relationship_type=isindirectcloudsolutionproviderof", 1),
            ("?relationship_type=x", 0),
        ];
        for (query, count) in rows {
            let body = body_of(&ask_of(&book, "GET", &format!("/v1/relationships{query}"), ""));
            assert_eq!(body["totalCount"], count, "{query}");
            assert_eq!(body.get("links"), None, "{query}");
        }
    }

    #[test]
    fn audit_records_begin_at_a_day() {
        let book = Book::default();
        let dated = |date: &str| json!({ "operationDate": date });
        let records = vec![dated("2025-06-15T22:56:05.1Z"), dated("2025-06-14T22:00:00Z"), json!({})];
        book.lists.set(List::AuditRecords, records);
        let rows = [
            ("", 3),
            ("?startDate=2025-06-14", 3),
            ("?startDate=2025-06-15T23:59:59Z", 2),
            ("?startDate=6/15/2025%2012:00:00%20AM", 2),
            ("?startDate=2025-06-16", 1),
            ("?startDate=soon", 3),
        ];
        for (query, count) in rows {
            let body = body_of(&ask_of(&book, "GET", &format!("/v1/auditrecords{query}"), ""));
            assert_eq!(body["totalCount"], count, "{query}");
        }
    }
}
