//! Migration: the answers below `/v1/customers/{c}/migrations/newcommerce`, plus product upgrades to an Azure plan.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::standin::answer::{Answer, IdKind, Outcome, guid};
use crate::standin::call::{Call, member, printed_object};

/// The catalogue item that a legacy subscription moves to; the request names none.
const CATALOG_ITEM: &str = "CFQ7TTC0LF8R:0001:CFQ7TTC0KCSV";

/// Answers below `…/migrations/newcommerce`; `tail` is what follows, in lower case. `None` when nothing is there.
pub fn answer(call: &Call, tail: &[&str]) -> Option<Outcome> {
    let outcome = match (call.method, tail) {
        ("GET", []) => Ok(Answer::collection(vec![])),
        ("POST", []) => create(call),
        ("POST", ["validate"]) => validate(call),
        ("GET", ["schedules"]) => Ok(Answer::collection(vec![])),
        ("POST", ["schedules"]) => schedule(call),
        ("GET", ["schedules", _]) => Ok(scheduled(call, Map::new(), "Created")),
        ("PUT", ["schedules", _]) => {
            let sent = call.object();
            sent.map(|sent| scheduled(call, printed_object(sent), "Created"))
        }
        ("POST", ["schedules", _, "cancel"]) => Ok(scheduled(call, Map::new(), "Cancelled")),
        ("GET", [_]) => Ok(Answer::ok(&body(call, Map::new(), call.segment(5)))),
        _ => return None,
    };
    Some(outcome)
}

/// `POST /v1/productupgrades`: names its customer in the body and answers with a place to ask at.
pub fn upgrade_product(call: &Call) -> Outcome {
    call.object()?;
    let id = guid(IdKind::Task, call.serial);
    Ok(Answer::empty(StatusCode::ACCEPTED).located(&format!("productUpgrades/{id}")))
}

/// `POST /v1/productupgrades/eligibility`, which only reads.
pub fn product_upgrade_eligibility(call: &Call) -> Outcome {
    let mut result = printed_object(call.object()?);
    result.insert("isEligible".to_owned(), Value::from(true));
    Ok(Answer::ok(&result.into()))
}

/// `GET /v1/productupgrades/{id}` and `POST /v1/productupgrades/{id}/status`
pub fn product_upgrade_status(call: &Call) -> Outcome {
    Ok(Answer::ok(&json!({
        "id": call.segment(2),
        "status": "Completed",
        "lineItems": [],
        "attributes": { "objectType": "ProductUpgradeStatus" },
    })))
}

fn create(call: &Call) -> Outcome {
    let sent = printed_object(call.object()?);
    let id = guid(IdKind::Task, call.serial);
    Ok(Answer::created(&body(call, sent, &id)))
}

fn body(call: &Call, mut migration: Map<String, Value>, id: &str) -> Value {
    let mut put = |name: &str, value: Value| migration.insert(name.to_owned(), value);
    put("id", Value::from(id));
    put("startedTime", Value::from(call.now.to_string()));
    put("status", Value::from("Processing"));
    put("customerTenantId", Value::from(call.segment(2)));
    put("catalogItemId", Value::from(CATALOG_ITEM));
    migration.into()
}

fn validate(call: &Call) -> Outcome {
    let sent = call.object()?;
    Ok(Answer::ok(&json!({
        "currentSubscriptionId": member(&sent, "currentSubscriptionId"),
        "isEligible": true,
        "catalogItemId": CATALOG_ITEM,
    })))
}

fn schedule(call: &Call) -> Outcome {
    let mut schedule = printed_object(call.object()?);
    let id = guid(IdKind::Task, call.serial);
    schedule.insert("id".to_owned(), Value::from(id));
    Ok(Answer::created(&schedule.into()))
}

fn scheduled(call: &Call, mut schedule: Map<String, Value>, status: &str) -> Answer {
    let mut put = |name: &str, value: Value| schedule.insert(name.to_owned(), value);
    put("id", Value::from(call.segment(6)));
    put("status", Value::from(status));
    put("customerTenantId", Value::from(call.segment(2)));
    put("lastModifiedTime", Value::from(call.now.to_string()));
    Answer::ok(&schedule.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::standin::testing::{ask, body_of};

    #[test]
    fn every_migration_request_has_its_documented_status() {
        let rows = [
            ("GET", "", "", 200),
            ("POST", "", r#"{"currentSubscriptionId":"s"}"#, 201),
            ("POST", "", "", 400),
            ("GET", "/M", "", 200),
            ("POST", "/validate", r#"{"currentSubscriptionId":"s"}"#, 200),
            ("POST", "/validate", "no", 400),
            ("GET", "/schedules", "", 200),
            ("POST", "/schedules", r#"{"currentSubscriptionId":"s"}"#, 201),
            ("POST", "/schedules", "", 400),
            ("GET", "/schedules/K", "", 200),
            ("PUT", "/schedules/K", r#"{"quantity":3}"#, 200),
            ("PUT", "/schedules/K", "", 400),
            ("POST", "/schedules/K/cancel", "", 200),
            ("DELETE", "/schedules/K", "", 404),
        ];
        for (method, tail, body, status) in rows {
            let path = format!("/v1/customers/c/migrations/newcommerce{tail}");
            let answer = ask(method, &path, body);
            assert_eq!(answer.status, status, "{method} {tail} {body}");
        }
    }

    #[test]
    fn a_cancelled_schedule_says_so() {
        let path = "/v1/customers/c/migrations/newCommerce/schedules/K/cancel";
        let body = body_of(&ask("POST", path, ""));
        assert_eq!(body["id"], "K");
        assert_eq!(body["status"], "Cancelled");
    }

    #[test]
    fn a_product_upgrade_is_accepted_and_can_be_asked_after() {
        let sent = r#"{"customerId":"c","productFamily":"Azure"}"#;
        let answer = ask("POST", "/v1/productUpgrades", sent);
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        assert!(answer.body.is_empty());
        let place = answer.fields[0].1.to_str().unwrap().to_owned();
        assert!(place.starts_with("productUpgrades/"), "{place}");
        let status = ask("GET", &format!("/v1/{place}"), "");
        assert_eq!(body_of(&status)["status"], "Completed");
        let eligible = ask("POST", "/v1/productupgrades/eligibility", sent);
        assert_eq!(body_of(&eligible)["isEligible"], true);
        let status = ask("POST", "/v1/productupgrades/u/status", sent);
        assert_eq!(status.status, StatusCode::OK);
        assert_eq!(ask("POST", "/v1/productupgrades", "").status, StatusCode::BAD_REQUEST);
    }
}
