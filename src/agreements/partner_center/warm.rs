//! Warming: what Partner Center tells of many parties at a time, fetched beside the requests.

use std::time::Duration;

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::agreements::partner_center::answers::{NextPage, member, next_page, object};
use crate::agreements::partner_center::ask::{ask, id_headers};
use crate::agreements::partner_center::settings::Settings as Center;
use crate::extract::moment::{acceptance, moment};
use crate::fetch::Answer;
use crate::policy::agreement::{Failure, Key, MCA, Party, Scope, Status};
use crate::policy::id::{Guid, MpnId};
use crate::remote::client::Remote;
use crate::remote::reading::{Unanswered, Unusable};

/// What is fetched beside requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether the records of all customers are fetched at start.
    pub bulk_load: bool,
    /// How often the audit records are looked through for acceptances; `None` for never.
    pub audit_poll: Option<Duration>,
}

/// The most pages that are read of a list in one go: of 500 records each, half a million.
const PAGES_MAX: usize = 1_000;
/// What stands for itself in a query (RFC 3986 section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// How long after a page that could not be had it is asked for again.
const RETRY: Duration = Duration::from_secs(5);
/// How often that is done.
const RETRIES_MAX: usize = 60;

/// Where a list is read that has pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// The last attestation of every customer (the tool for re-attestation in bulk).
    AgreementRecords,
    /// The partner's resellers (Partner Center, "Retrieve a list of indirect resellers").
    Resellers,
    /// What was done since a day (Partner Center, "Get a record of Partner Center activity").
    Audit(Timestamp),
}

impl List {
    fn first(self) -> NextPage {
        let target = match self {
            List::AgreementRecords => "/v1/partners/customeragreementrecords?continuation_token=".to_owned(),
            List::Resellers => {
                "/v1/relationships?relationship_type=IsIndirectCloudSolutionProviderOf".to_owned()
            }
            List::Audit(since) => {
                format!("/v1/auditrecords?startDate={}&size=500", since.strftime("%Y-%m-%d"))
            }
        };
        NextPage { target, token: None }
    }

    fn items(self, page: &Value) -> Result<&[Value], Unusable> {
        let name = if self == List::AgreementRecords { "customerAgreementRecords" } else { "items" };
        let items = member(page, name).and_then(Value::as_array);
        items.map(Vec::as_slice).ok_or(Unusable::Broken("it holds no list"))
    }

    fn next(self, page: &Value) -> Result<Option<NextPage>, Unusable> {
        if self != List::AgreementRecords {
            return next_page(page);
        }
        let token =
            member(page, "continuationToken").and_then(Value::as_str).filter(|token| !token.is_empty());
        let target = |token| {
            let token = utf8_percent_encode(token, RESERVED);
            format!("/v1/partners/customeragreementrecords?continuation_token={token}")
        };
        Ok(token.map(|token| NextPage { target: target(token), token: None }))
    }

    /// Reads the list page by page, within what the budget leaves over; each page is handed on as it comes. The answer is
    /// how many items there were; the error says how far it came.
    pub async fn read(self, remote: &Remote, mut take: impl FnMut(&[Value])) -> Result<usize, String> {
        let mut count = 0;
        let mut page = Some(self.first());
        for _ in 0..PAGES_MAX {
            let Some(next) = page else { return Ok(count) };
            let (items, following) = patiently(remote, &next, self).await.map_err(|why| match why {
                Unanswered::Failed(failure) => format!("{failure} after {count} items"),
                Unanswered::Unusable(why) => format!("{}, after {count} items", why.why()),
            })?;
            count += items.len();
            take(&items);
            page = following;
        }
        match page {
            None => Ok(count),
            Some(_) => Err(format!("there are more than {PAGES_MAX} pages")),
        }
    }
}

/// The items of a page, and the page that follows.
type Page = (Vec<Value>, Option<NextPage>);

fn read_page(list: List, answer: &Answer) -> Result<Page, Unusable> {
    if answer.status != http::StatusCode::OK {
        return Err(Unusable::Silent("its status is not 200"));
    }
    let page = object(&answer.body)?;
    Ok((list.items(&page)?.to_vec(), list.next(&page)?))
}

/// Asks beside the requests, which come first: a page that the budget does not leave over is asked for later. One that
/// cannot be read would be the same then.
async fn patiently(remote: &Remote, page: &NextPage, list: List) -> Result<Page, Unanswered> {
    let mut last = Failure::Source;
    for _ in 0..RETRIES_MAX {
        let headers = id_headers(page.token.as_deref())?;
        let (target, read) = (page.target.clone(), |answer: &Answer| read_page(list, answer));
        match ask(remote, target, headers, None, Duration::ZERO, None, read).await {
            Err(Unanswered::Failed(failure)) => last = failure,
            ended => return ended,
        }
        tokio::time::sleep(RETRY).await;
    }
    Err(last.into())
}

/// What a record of a customer's last attestation tells.
pub fn of_record(center: &Center, record: &Value, now: Timestamp) -> Option<(Key, Status)> {
    let customer = member(record, "customerTenantId").and_then(Value::as_str).and_then(Guid::parse)?;
    if member(record, "partnerAttestationCompleted") != Some(&Value::Bool(true)) {
        return None;
    }
    let epoch = match member(record, "lastAgreementDateEpoch")? {
        Value::Number(number) => number.as_i64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    // Seconds, or milliseconds where it has more than ten digits.
    let at = match epoch >= 10_000_000_000 {
        true => Timestamp::from_millisecond(epoch).ok()?,
        false => Timestamp::from_second(epoch).ok()?,
    };
    let key = Key {
        cloud: center.cloud,
        agreement: MCA,
        party: Party::Customer(customer),
        scope: Scope::Billing(center.partner),
    };
    let at = acceptance(at, now).ok().filter(|_| epoch > 0)?;
    Some((key, Status::accepted(at)))
}

/// The MPN id of a reseller that may be named in orders.
pub fn of_relationship(relationship: &Value) -> Option<MpnId> {
    let text = |name| member(relationship, name).and_then(Value::as_str);
    let is_active = text("state").is_some_and(|state| state.eq_ignore_ascii_case("active"));
    text("mpnId").and_then(MpnId::parse).filter(|_| is_active)
}

/// The customer for whom an audit record tells of an acceptance, and when.
pub fn of_audit(record: &Value) -> Option<(Guid, Timestamp)> {
    let text = |name| member(record, name).and_then(Value::as_str);
    let is = |name, value: &str| text(name).is_some_and(|text| text.eq_ignore_ascii_case(value));
    let tells = is("resourceType", "agreement") && is("operationType", "create_agreement");
    let customer = text("customerId").and_then(Guid::parse)?;
    let at = text("operationDate").and_then(moment)?;
    tells.then_some((customer, at))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::agreements::partner_center::answers::Terms;
    use crate::policy::agreement::Cloud;
    use crate::policy::id::Name;

    const CUSTOMER: &str = "9c0fba1e-0000-4a00-8000-0123456789ab";

    #[test]
    fn records_tell_when_a_partner_attested_last() {
        let center = Center {
            name: Name::new("center").unwrap(),
            partner: Guid::from_bits(1),
            region: None,
            cloud: Cloud::Commercial,
            not_applicable: Vec::new(),
            terms: Terms { agreement_type: String::new(), templates: Vec::new() },
        };
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let record = |epoch: Value, done: Value| json!({ "customerTenantId": CUSTOMER, "lastAgreementDateEpoch": epoch, "partnerAttestationCompleted": done });
        for (record, expected) in [
            (record(json!(1_696_118_400), json!(true)), Some("2023-10-01T00:00:00Z")),
            (record(json!(1_696_118_400_000i64), json!(true)), Some("2023-10-01T00:00:00Z")),
            (record(json!("1696118400"), json!(true)), Some("2023-10-01T00:00:00Z")),
            (record(json!(1_696_118_400), json!(false)), None),
            (record(json!(1_696_118_400), json!("true")), None),
            (record(json!(0), json!(true)), None),
            (record(json!(50_400), json!(true)), None),
            (record(json!(-5), json!(true)), None),
            (record(json!(-62_135_596_800i64), json!(true)), None),
            (record(json!(4_000_000_000i64), json!(true)), None),
            (record(Value::Null, json!(true)), None),
            (
                json!({ "customerTenantId": "x", "lastAgreementDateEpoch": 1, "partnerAttestationCompleted": true }),
                None,
            ),
        ] {
            let told = of_record(&center, &record, now).map(|(_, status)| status);
            let expected = expected.map(|at| Status::accepted(at.parse().unwrap()));
            assert_eq!(told, expected, "{record}");
        }
    }

    #[test]
    fn resellers_and_audit_records_are_read_as_far_as_they_matter() {
        let reseller = |state: &str, mpn: &str| json!({ "id": CUSTOMER, "state": state, "mpnId": mpn });
        assert_eq!(of_relationship(&reseller("Active", "4847383")), MpnId::parse("4847383"));
        assert_eq!(of_relationship(&reseller("Inactive", "4847383")), None);
        assert_eq!(of_relationship(&reseller("Active", "none")), None);
        let audit = |kind: &str, operation: &str| {
            json!({ "customerId": CUSTOMER, "resourceType": kind, "operationType": operation,
                "operationDate": "2025-06-15T22:56:05.0589308Z" })
        };
        assert!(of_audit(&audit("agreement", "create_agreement")).is_some());
        assert!(of_audit(&audit("Agreement", "Create_Agreement")).is_some());
        assert!(of_audit(&audit("order", "create_order")).is_none());
        assert!(of_audit(&json!({})).is_none());
    }
}
