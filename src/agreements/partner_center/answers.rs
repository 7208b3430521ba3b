//! Partner Center's answers about agreements: what their statuses and bodies say, and what they leave open.

use jiff::Timestamp;
use serde_json::Value;

use crate::extract::moment::{AcceptedAt, NoAcceptance, accepted_at};
use crate::extract::strict::{self, Names};
use crate::policy::agreement::{Absence, Status};
use crate::remote::reading::Unusable::{self, Broken, Silent};

/// Which attestations count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The `type` of the agreement.
    pub agreement_type: String,
    /// The templates whose acceptance counts, in lower case.
    pub templates: Vec<String>,
}

/// One page of attestations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attestations {
    /// When the newest that counts was made, at the earliest.
    pub newest: Option<Timestamp>,
    /// True where one could count, but its date can not be read, was never set, or has no zone and may be a newer one.
    pub is_unclear: bool,
    /// Where the list goes on.
    pub next: Option<NextPage>,
}

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextPage {
    /// The path and query, from the root of the API.
    pub target: String,
    /// The value of `MS-ContinuationToken`.
    pub token: Option<String>,
}

/// Reads the status of a reseller's partner agreement (Partner Center, "Verify an indirect reseller's Microsoft Partner
/// Agreement status"). What is not signed is a 400 there, whose code says why.
pub fn partner_status(status: u16, body: &[u8]) -> Result<Status, Unusable> {
    let body = object(body)?;
    match status {
        200 => match member(&body, "isAgreementSigned") {
            Some(Value::Bool(true)) => Ok(Status::UNDATED),
            Some(Value::Bool(false)) => Ok(Status::MISSING),
            _ => Err(Broken("it does not say whether the agreement is signed")),
        },
        400 => {
            let absence = match code(&body) {
                Some(2203 | 2206) => Absence::NotAccepted,
                Some(2200 | 2205) => Absence::UnknownPartner,
                Some(2201) => Absence::WrongRegion,
                Some(2204) => Absence::NotEnrolled,
                // 2000 and 2001 find fault with the question: ids are checked before, so that it is ours.
                Some(2000 | 2001) => return Err(Silent("it takes the question for malformed")),
                _ => {
                    return Err(Silent(
                        "it refuses the question with a code that says nothing of agreements",
                    ));
                }
            };
            Ok(Status::Missing(absence))
        }
        _ => Err(Silent("its status is neither 200 nor 400")),
    }
}

/// Reads whether a customer has accepted directly (Partner Center, "Get a customer's direct signed status of the
/// Microsoft Customer Agreement").
pub fn direct_status(status: u16, body: &[u8]) -> Result<bool, Unusable> {
    if status != 200 {
        return Err(Silent("its status is not 200"));
    }
    match member(&object(body)?, "isSigned") {
        Some(Value::Bool(signed)) => Ok(*signed),
        _ => Err(Broken("it does not say whether the agreement is signed")),
    }
}

/// Reads a page of a customer's attestations (Partner Center, "Get confirmation of customer acceptance").
pub fn attestations(
    status: u16,
    body: &[u8],
    terms: &Terms,
    now: Timestamp,
) -> Result<Attestations, Unusable> {
    if status != 200 {
        return Err(Silent("its status is not 200"));
    }
    let body = object(body)?;
    let Some(Value::Array(items)) = member(&body, "items") else {
        return Err(Broken("it holds no list"));
    };
    let mut page = Attestations { next: next_page(&body)?, ..Attestations::default() };
    for item in items {
        match attestation(item, terms, now) {
            Ok(at) => {
                page.newest = page.newest.max(at.map(AcceptedAt::earliest));
                page.is_unclear |= matches!(at, Some(AcceptedAt::NotBefore(_)));
            }
            Err(_) => page.is_unclear = true,
        }
    }
    Ok(page)
}

/// When an attestation was made, if it counts: of the right type and template, and not in the future.
pub fn attestation(item: &Value, terms: &Terms, now: Timestamp) -> Result<Option<AcceptedAt>, Unusable> {
    let text = |name| member(item, name).and_then(Value::as_str);
    let (Some(kind), Some(template)) = (text("type"), text("templateId")) else {
        return Err(Broken("an attestation names no type or template"));
    };
    let counts = kind.eq_ignore_ascii_case(&terms.agreement_type)
        && terms.templates.iter().any(|known| known.eq_ignore_ascii_case(template));
    if !counts {
        return Ok(None);
    }
    match text("dateAgreed").map_or(Err(NoAcceptance::Unreadable), |date| accepted_at(date, now)) {
        Ok(at) => Ok(Some(at)),
        Err(NoAcceptance::Future) => Ok(None),
        Err(NoAcceptance::Unset) => Err(Broken("the date of an attestation was never set")),
        Err(NoAcceptance::Unreadable) => Err(Broken("an attestation has no date")),
    }
}

/// The code of a fault.
pub fn code(body: &Value) -> Option<u64> {
    number(body, "code")
}

/// A member that is a number, or a text of digits.
pub fn number(object: &Value, name: &str) -> Option<u64> {
    match member(object, name)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Where a list goes on, from its `links.next`. A link to elsewhere is not followed.
pub fn next_page(body: &Value) -> Result<Option<NextPage>, Unusable> {
    let Some(next) = member(body, "links").and_then(|links| member(links, "next")) else { return Ok(None) };
    let Some(uri) = member(next, "uri").and_then(Value::as_str).filter(|uri| !uri.is_empty()) else {
        return Ok(None);
    };
    if !uri.starts_with('/') || uri.starts_with("//") {
        return Err(Silent("its next page is elsewhere"));
    }
    // Links leave out the version of the API.
    let versioned = uri.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("/v1/"));
    let target = if versioned { uri.to_owned() } else { format!("/v1{uri}") };
    let headers = member(next, "headers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let is_token = |header: &&Value| {
        let name = member(header, "key").and_then(Value::as_str);
        name.is_some_and(|name| name.eq_ignore_ascii_case("MS-ContinuationToken"))
    };
    let token = headers.iter().find(is_token).and_then(|header| member(header, "value")?.as_str());
    Ok(Some(NextPage { target, token: token.map(str::to_owned) }))
}

/// A body that is one JSON object, without two members that [`member`] takes for the same.
pub fn object(body: &[u8]) -> Result<Value, Unusable> {
    match strict::value(body, Names::AnyCase) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Broken("it is no JSON object")),
        Err(fault) => Err(Broken(fault.why())),
    }
}

/// A member by its name without regard to case, as Partner Center's own casing varies.
pub fn member<'v>(object: &'v Value, name: &str) -> Option<&'v Value> {
    let members = object.as_object()?;
    members
        .get(name)
        .or_else(|| members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TEMPLATE: &str = "117a77b0-9360-443b-8795-c6dedc750cf9";

    fn terms() -> Terms {
        Terms {
            agreement_type: "MicrosoftCustomerAgreement".to_owned(),
            templates: vec![TEMPLATE.to_owned()],
        }
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn every_answer_about_a_reseller_has_its_meaning() {
        let missing = |absence| Some(Status::Missing(absence));
        let fault =
            |code: Value| json!({ "code": code, "description": "d", "data": [], "source": "PartnerFD" });
        for (status, body, expected) in [
            (200, json!({ "isAgreementSigned": true }), Some(Status::UNDATED)),
            (200, json!({ "IsAgreementSigned": false }), Some(Status::MISSING)),
            (200, json!({ "isAgreementSigned": "true" }), None),
            (200, json!({}), None),
            (400, fault(json!(2000)), None),
            (400, fault(json!(2001)), None),
            (400, fault(json!(2200)), missing(Absence::UnknownPartner)),
            (400, fault(json!(2201)), missing(Absence::WrongRegion)),
            (400, fault(json!(2202)), None),
            (400, fault(json!(2203)), missing(Absence::NotAccepted)),
            (400, fault(json!("2203")), missing(Absence::NotAccepted)),
            (400, fault(json!(2204)), missing(Absence::NotEnrolled)),
            (400, fault(json!(2205)), missing(Absence::UnknownPartner)),
            (400, fault(json!(2206)), missing(Absence::NotAccepted)),
            (400, fault(json!(2207)), None),
            (400, json!({ "description": "no code" }), None),
            (401, fault(json!(2203)), None),
            (403, fault(json!(2203)), None),
            (404, fault(json!(2200)), None),
            (500, fault(json!(2203)), None),
            (200, json!([]), None),
        ] {
            let read = partner_status(status, body.to_string().as_bytes()).ok();
            assert_eq!(read, expected, "{status} {body}");
        }
        for body in [
            r#"{"isAgreementSigned":true,"isAgreementSigned":true}"#,
            r#"{"isAgreementSigned":false,"IsAgreementSigned":true}"#,
            r#"{"isAgreementSigned":true,"links":{"a":1,"a":2}}"#,
        ] {
            assert!(partner_status(200, body.as_bytes()).is_err(), "{body}");
        }
        assert!(partner_status(400, br#"{"code":2203,"Code":2000}"#).is_err());
        assert!(partner_status(200, b"<html>").is_err());
        assert!(partner_status(200, br#"{"isAgreementSigned":tr"#).is_err());
    }

    #[test]
    fn only_an_attestation_of_the_right_kind_and_time_counts() {
        let now = time("2026-01-01T00:00:00Z");
        let item = |kind: &str, template: &str, date: &str| json!({ "type": kind, "templateId": template, "dateAgreed": date });
        const MCA: &str = "MicrosoftCustomerAgreement";
        for (row, expected) in [
            (item(MCA, TEMPLATE, "2019-08-26T00:00:00"), Ok(Some("2019-08-26T00:00:00Z"))),
            (item(MCA, TEMPLATE, "2019-08-26T00:00:00Z"), Ok(Some("2019-08-26T00:00:00Z"))),
            (item(MCA, TEMPLATE, "2019-08-26T02:00:00+02:00"), Ok(Some("2019-08-26T00:00:00Z"))),
            (item(MCA, TEMPLATE, "2025-03-01"), Ok(Some("2025-03-01T00:00:00Z"))),
            (
                item("microsoftcustomeragreement", &TEMPLATE.to_uppercase(), "2025-03-01"),
                Ok(Some("2025-03-01T00:00:00Z")),
            ),
            (item(MCA, TEMPLATE, "2026-01-01T00:04:59Z"), Ok(Some("2026-01-01T00:04:59Z"))),
            (item(MCA, TEMPLATE, "2026-01-01T00:05:01Z"), Ok(None)),
            (item(MCA, TEMPLATE, "2026-01-01T14:00:01"), Ok(None)),
            (item(MCA, TEMPLATE, "2999-01-01T00:00:00"), Ok(None)),
            (item(MCA, TEMPLATE, "0001-01-01T00:00:00"), Err(())),
            (item(MCA, TEMPLATE, "1601-01-01T00:00:00Z"), Err(())),
            (item(MCA, TEMPLATE, "1900-01-01T00:00:00+14:00"), Err(())),
            (item(MCA, TEMPLATE, "1970-01-01"), Err(())),
            (item("MicrosoftCloudAgreement", TEMPLATE, "0001-01-01"), Ok(None)),
            (item("MicrosoftCloudAgreement", TEMPLATE, "2025-03-01"), Ok(None)),
            (item(MCA, "998b88de-aa99-4388-a42c-1b3517d49490", "2025-03-01"), Ok(None)),
            (item(MCA, TEMPLATE, "yesterday"), Err(())),
            (json!({ "type": MCA, "templateId": TEMPLATE }), Err(())),
            (json!({ "type": MCA, "dateAgreed": "2025-03-01" }), Err(())),
            (json!("text"), Err(())),
        ] {
            let read = attestation(&row, &terms(), now).map_err(|_| ());
            assert_eq!(read, expected.map(|at| at.map(|at| AcceptedAt::Exactly(time(at)))), "{row}");
        }
        let east = attestation(&item(MCA, TEMPLATE, "2026-01-01T09:00:00"), &terms(), now);
        assert_eq!(east, Ok(Some(AcceptedAt::NotBefore(time("2025-12-31T19:00:00Z")))));
    }

    #[test]
    fn the_newest_attestation_is_kept_and_what_can_not_be_read_is_told() {
        let now = time("2026-01-01T00:00:00Z");
        let item = |date: &str| json!({ "type": "MicrosoftCustomerAgreement", "templateId": TEMPLATE, "dateAgreed": date });
        let read = |body: Value| attestations(200, body.to_string().as_bytes(), &terms(), now);
        let page =
            read(json!({ "totalCount": 2, "items": [item("2019-08-27T00:00:00"), item("2019-08-26")] }));
        assert_eq!(page.unwrap().newest, Some(time("2019-08-27T00:00:00Z")));
        assert_eq!(read(json!({ "totalCount": 0, "items": [] })), Ok(Attestations::default()));
        for (dates, newest, is_unclear) in [
            (vec!["x", "2019-08-26"], Some("2019-08-26T00:00:00Z"), true),
            (vec!["2019-08-26", "0001-01-01T00:00:00"], Some("2019-08-26T00:00:00Z"), true),
            (vec!["0001-01-01T00:00:00"], None, true),
            (vec!["2026-01-01T09:00:00"], Some("2025-12-31T19:00:00Z"), true),
            (vec!["2026-01-01T09:00:00", "2025-12-31T20:00:00"], Some("2025-12-31T20:00:00Z"), true),
            (vec!["2026-01-01T09:00:00", "2019-08-26"], Some("2025-12-31T19:00:00Z"), true),
            (vec!["2026-01-02T09:00:00", "2019-08-26"], Some("2019-08-26T00:00:00Z"), false),
            (vec!["2026-01-02T09:00:00"], None, false),
        ] {
            let items: Vec<Value> = dates.iter().map(|date| item(date)).collect();
            let page = read(json!({ "items": items })).unwrap();
            assert_eq!((page.newest, page.is_unclear), (newest.map(time), is_unclear), "{dates:?}");
        }
        for body in [json!({}), json!({ "items": {} }), json!({ "items": null })] {
            assert!(read(body.clone()).is_err(), "{body}");
        }
        assert!(attestations(404, br#"{"items":[]}"#, &terms(), now).is_err());
    }

    #[test]
    fn a_list_goes_on_at_the_same_server_only() {
        let link = |uri: &str| {
            json!({ "links": { "next": { "uri": uri, "method": "GET", "headers": [
                { "key": "Other", "value": "x" }, { "key": "MS-ContinuationToken", "value": "t" } ] } } })
        };
        let page =
            |target: &str| Ok(Some(NextPage { target: target.to_owned(), token: Some("t".to_owned()) }));
        assert_eq!(next_page(&link("/customers/c/agreements?a=b")), page("/v1/customers/c/agreements?a=b"));
        assert_eq!(next_page(&link("/v1/customers")), page("/v1/customers"));
        assert!(next_page(&link("https://elsewhere.example/v1/customers")).is_err());
        assert!(next_page(&link("//elsewhere.example/v1")).is_err());
        assert_eq!(next_page(&link("")), Ok(None));
        assert_eq!(next_page(&json!({ "links": { "self": { "uri": "/x" } } })), Ok(None));
    }
}
