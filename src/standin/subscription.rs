//! Subscription: the answers below `/v1/customers/{c}/subscriptions`.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::standin::answer::{Answer, IdKind, Outcome, guid, numbered_guid};
use crate::standin::call::{Call, link, member, printed, printed_object};

/// Seats of every subscription that is read; a change is an increase when it asks for more.
pub const QUANTITY: u32 = 10;

/// `attributes.etag` of a subscription that is not stored, and its `ETag`.
const FIRST_ETAG: &str = "\"eyJ2IjoxfQ==\"";

/// Answers below `/v1/customers/{c}/subscriptions`; `tail` is what follows, in lower case. `None` when nothing is there.
pub fn answer(call: &Call, tail: &[&str]) -> Option<Outcome> {
    let outcome = match (call.method, tail) {
        ("GET", []) => Ok(list(call)),
        ("PUT", ["overage"]) => set_overage(call),
        ("GET", ["overage"]) => Ok(Answer::ok(&overage(call, Map::new()))),
        ("GET", [_]) => Ok(Answer::ok(&body(call, call.segment(4)).into()).tagged(FIRST_ETAG)),
        ("PATCH", [_]) => change(call),
        ("GET", [_, "upgrades"]) => Ok(Answer::collection(vec![])),
        ("POST", [_, "upgrades"]) => upgrade(call),
        ("GET", [_, "transitions" | "transitioneligibilities"]) => Ok(Answer::collection(vec![])),
        ("POST", [_, "transitions"]) => transition(call),
        ("GET", [_, "conversions"]) => Ok(Answer::collection(vec![])),
        ("POST", [_, "conversions"]) => convert(call),
        ("POST", [_, "registrations"]) => Ok(register(call)),
        ("GET", [_, "registrationstatus"]) => Ok(registration(call)),
        ("POST", [_, "activate"]) => Ok(activate(call)),
        ("GET", [_, "supportcontact"]) => Ok(Answer::ok(&support_contact(Map::new()))),
        ("PUT", [_, "supportcontact"]) => set_support_contact(call),
        ("GET", [_, "addons" | "provisioningstatus" | "usagesummary"]) => Ok(Answer::collection(vec![])),
        ("GET", [_, "azureentitlements"]) => {
            Ok(Answer::collection(vec![entitlement(call, &guid(IdKind::Subscription, call.serial))]))
        }
        ("GET", [_, "azureentitlements", _]) => Ok(Answer::ok(&entitlement(call, call.segment(6)))),
        ("POST", [_, "azureentitlements", _, "cancel"]) => cancel_entitlement(call),
        ("POST", [_, "azureentitlements", _, "reactivate"]) => Ok(Answer::empty(StatusCode::ACCEPTED)),
        _ => return None,
    };
    Some(outcome)
}

fn list(call: &Call) -> Answer {
    let items = (0..2).map(|number| {
        let id = numbered_guid(IdKind::Subscription, number, 1);
        Value::from(body(call, &id))
    });
    Answer::collection(items.collect())
}

/// The whole subscription comes in changed and goes out as it came in (change-the-quantity page).
fn change(call: &Call) -> Outcome {
    let sent = printed_object(call.object()?);
    let (id, path) = (call.segment(4), call.path_to(5));
    let (mut changed, etag) = match call.book.shelf.get(&path).map(|stored| (stored.resource, stored.etag)) {
        Some((Value::Object(subscription), etag)) => {
            let own = || subscription.get("attributes")?.get("etag")?.as_str().map(str::to_owned);
            let etag = etag.or_else(own);
            (subscription, etag)
        }
        _ => (body(call, id), Some(FIRST_ETAG.to_owned())),
    };
    if let (Some(wanted), Some(etag)) = (call.header("if-match"), &etag)
        && !names(wanted, etag)
    {
        return Err(precondition_failed());
    }
    changed.extend(sent);
    let next = format!("\"{:x}\"", call.serial);
    changed.insert("id".to_owned(), Value::from(id));
    changed.insert("attributes".to_owned(), json!({ "etag": next, "objectType": "Subscription" }));
    let changed = Value::from(changed);
    call.book.shelf.put(&path, changed.clone(), Some(&next));
    Ok(Answer::ok(&changed).tagged(&next))
}

/// Whether an `If-Match` names an etag; callers send it with and without quotes, as the documentation does.
fn names(wanted: &str, etag: &str) -> bool {
    let bare = |text: &str| text.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    wanted.trim() == "*" || wanted.split(',').any(|one| bare(one) == bare(etag))
}

fn precondition_failed() -> Answer {
    let description = "The subscription has changed since the etag of this request was read.";
    Answer::fault(StatusCode::EXPECTATION_FAILED, 800_036, description)
}

fn body(call: &Call, id: &str) -> Map<String, Value> {
    let uri = format!("/customers/{}/subscriptions/{id}", call.segment(2));
    let body = json!({
        "id": id,
        "offerId": "CFQ7TTC0LF8S:0002:CFQ7TTC0KSVV",
        "offerName": "Microsoft 365 E3",
        "friendlyName": "Seats of the north office",
        "productType": { "id": "OnlineServicesNCE", "displayName": "OnlineServicesNCE" },
        "quantity": QUANTITY,
        "unitType": "Licenses",
        "hasPurchasableAddons": false,
        "creationDate": "2024-02-05T09:12:44.1830000Z",
        "effectiveStartDate": "2024-02-05T00:00:00Z",
        "commitmentEndDate": "2027-02-04T00:00:00Z",
        "status": "active",
        "autoRenewEnabled": true,
        "isTrial": false,
        "billingType": "license",
        "billingCycle": "monthly",
        "termDuration": "P1Y",
        "isMicrosoftProduct": true,
        "partnerId": "",
        "contractType": "subscription",
        "publisherName": "Microsoft Corporation",
        "orderId": guid(IdKind::Order, 1),
        "links": {
            "product": link("/products/CFQ7TTC0LF8S?country=US"),
            "sku": link("/products/CFQ7TTC0LF8S/skus/0002?country=US"),
            "self": link(&uri),
        },
        "attributes": { "etag": FIRST_ETAG, "objectType": "Subscription" },
    });
    match body {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn upgrade(call: &Call) -> Outcome {
    let sent = call.object()?;
    let target = member(&sent, "targetOffer").cloned().unwrap_or_default();
    let result = json!({
        "targetOffer": printed(target),
        "sourceSubscriptionId": call.segment(4),
        "targetSubscriptionId": guid(IdKind::Subscription, call.serial),
        "upgradeType": "upgrade_only",
        "isEligible": true,
        "quantity": member(&sent, "quantity").cloned().unwrap_or(Value::from(1)),
        "upgradeErrors": [],
        "attributes": { "objectType": "Upgrade" },
    });
    Ok(Answer::ok(&result))
}

fn transition(call: &Call) -> Outcome {
    let mut result = printed_object(call.object()?);
    let event = json!({
        "name": "Conversion",
        "status": "Started",
        "timestamp": call.now.to_string(),
        "attributes": { "objectType": "TransitionEvent" },
    });
    let mut put = |name: &str, value: Value| result.insert(name.to_owned(), value);
    put("fromSubscriptionId", Value::from(call.segment(4)));
    put("operationId", Value::from(guid(IdKind::Task, call.serial)));
    put("events", Value::from(vec![event]));
    put("attributes", json!({ "objectType": "Transition" }));
    Ok(Answer::ok(&result.into()))
}

fn convert(call: &Call) -> Outcome {
    let sent = call.object()?;
    let result = json!({
        "subscriptionId": call.segment(4),
        "offerId": member(&sent, "offerId"),
        "targetOfferId": member(&sent, "targetOfferId"),
        "attributes": { "objectType": "ConversionResult" },
    });
    Ok(Answer::ok(&result))
}

fn register(call: &Call) -> Answer {
    let uri = format!("/customers/{}/subscriptions/{}/registrationstatus", call.segment(2), call.segment(4));
    Answer::empty(StatusCode::ACCEPTED).located(&uri)
}

fn registration(call: &Call) -> Answer {
    Answer::ok(&json!({
        "subscriptionId": call.segment(4),
        "status": "registered",
        "attributes": { "objectType": "SubscriptionRegistrationStatus" },
    }))
}

fn activate(call: &Call) -> Answer {
    Answer::ok(&json!({ "subscriptionId": call.segment(4), "status": "Success" }))
}

fn set_overage(call: &Call) -> Outcome {
    let sent = printed_object(call.object()?);
    Ok(Answer::ok(&overage(call, sent)))
}

fn overage(call: &Call, mut overage: Map<String, Value>) -> Value {
    let uri = format!("/customers/{}/subscriptions/overage", call.segment(2));
    overage.entry("overageEnabled").or_insert(Value::from(false));
    overage.insert("type".to_owned(), Value::from("PhoneServices"));
    overage.insert("links".to_owned(), json!({ "overage": link(&uri) }));
    overage.insert("attributes".to_owned(), json!({ "objectType": "Overage" }));
    overage.into()
}

fn set_support_contact(call: &Call) -> Outcome {
    let sent = printed_object(call.object()?);
    Ok(Answer::ok(&support_contact(sent)))
}

fn support_contact(mut contact: Map<String, Value>) -> Value {
    contact.entry("name").or_insert(Value::from("Harbour Street Consulting"));
    contact.insert("attributes".to_owned(), json!({ "objectType": "SupportContact" }));
    contact.into()
}

fn entitlement(call: &Call, id: &str) -> Value {
    let (customer, subscription) = (call.segment(2), call.segment(4));
    let uri = format!("/customers/{customer}/subscriptions/{subscription}/azureEntitlements/{id}");
    json!({
        "id": id,
        "friendlyName": "Workloads of the north office",
        "status": "active",
        "subscriptionId": subscription,
        "links": { "self": link(&uri) },
    })
}

fn cancel_entitlement(call: &Call) -> Outcome {
    call.object_or_empty()?;
    Ok(Answer::ok(&entitlement(call, call.segment(6))))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::standin::book::Book;
    use crate::standin::testing::{ask, ask_of, ask_with, body_of};

    const ONE: &str = "/v1/customers/c/subscriptions/S-1";

    #[test]
    fn every_subscription_request_has_its_documented_status() {
        let rows = [
            ("GET", "", "", 200),
            ("PATCH", "", r#"{"quantity":11}"#, 200),
            ("PATCH", "", "", 400),
            ("POST", "/upgrades", r#"{"TargetOffer":{"Id":"T"}}"#, 200),
            ("POST", "/upgrades", "{", 400),
            ("GET", "/upgrades", "", 200),
            ("POST", "/transitions", r#"{"toCatalogItemId":"A:B:C"}"#, 200),
            ("POST", "/transitions", "[]", 400),
            ("GET", "/transitions", "", 200),
            ("POST", "/conversions", r#"{"TargetOfferId":"T"}"#, 200),
            ("POST", "/conversions", "", 400),
            ("GET", "/conversions", "", 200),
            ("POST", "/registrations", "", 202),
            ("GET", "/registrationstatus", "", 200),
            ("POST", "/activate", "", 200),
            ("GET", "/supportcontact", "", 200),
            ("PUT", "/supportcontact", r#"{"name":"N"}"#, 200),
            ("GET", "/azureEntitlements", "", 200),
            ("GET", "/azureEntitlements/E", "", 200),
            ("POST", "/azureEntitlements/E/cancel", r#"{"cancellationReason":"compromise"}"#, 200),
            ("POST", "/azureEntitlements/E/cancel", "", 200),
            ("POST", "/azureEntitlements/E/cancel", "x", 400),
            ("POST", "/azureEntitlements/E/reactivate", "", 202),
            ("POST", "/nothing", "{}", 404),
            ("DELETE", "", "", 404),
        ];
        for (method, tail, body, status) in rows {
            let answer = ask(method, &format!("{ONE}{tail}"), body);
            assert_eq!(answer.status, status, "{method} {tail} {body}");
        }
    }

    #[test]
    fn a_change_is_answered_with_the_changed_subscription() {
        let read = body_of(&ask("GET", ONE, ""));
        assert_eq!(read["id"], "S-1");
        assert_eq!(read["quantity"], QUANTITY);
        let changed = body_of(&ask("PATCH", ONE, r#"{"Id":"x","Quantity":11,"Status":null}"#));
        assert_eq!(changed["id"], "S-1");
        assert_eq!(changed["quantity"], 11);
        assert_eq!(changed["status"], "active");
    }

    #[test]
    fn a_changed_subscription_is_kept_under_a_new_etag() {
        let book = Book::default();
        let read = || {
            let answer = ask_of(&book, "GET", ONE, "");
            let etag = answer.fields[0].1.to_str().unwrap().to_owned();
            let body = body_of(&answer);
            assert_eq!(body["attributes"]["etag"], etag.as_str());
            (etag, body["quantity"].clone())
        };
        let change = |etag: &str, quantity: u32| {
            let body = json!({ "quantity": quantity, "attributes": { "etag": "mine" } }).to_string();
            ask_with(&book, "PATCH", ONE, &[("if-match", etag)], &body)
        };
        let (first, quantity) = read();
        assert_eq!(quantity, QUANTITY);
        assert_eq!(change(&first, 11).status, StatusCode::OK);
        let (second, quantity) = read();
        assert_ne!(first, second);
        assert_eq!(quantity, 11);
        let refused = change(&first, 12);
        assert_eq!(refused.status, StatusCode::EXPECTATION_FAILED);
        assert_eq!(body_of(&refused)["code"], 800_036);
        assert_eq!(change(second.trim_matches('"'), 12).status, StatusCode::OK);
        assert_eq!(change("*", 13).status, StatusCode::OK);
        assert_eq!(ask_of(&book, "PATCH", ONE, r#"{"quantity":14}"#).status, StatusCode::OK);
        assert_eq!(read().1, 14);
    }

    #[test]
    fn a_subscription_put_there_keeps_its_own_etag() {
        let path = "/v1/customers/c/subscriptions/S-2";
        let etag = r#"W/"datetime'2025-01-01'""#;
        let rows = [
            (json!({ "quantity": 3 }), Some(etag)),
            (json!({ "quantity": 3, "attributes": { "etag": etag } }), None),
        ];
        for (resource, stored) in rows {
            let book = Book::default();
            book.shelf.put(path, resource, stored);
            for (wanted, status) in [("x", 417), (etag, 200)] {
                let answer =
                    ask_with(&book, "PATCH", path, &[("if-match", wanted)], r#"{"status":"suspended"}"#);
                assert_eq!(answer.status, status, "{wanted} {stored:?}");
            }
            let body = body_of(&ask_of(&book, "GET", path, ""));
            assert_eq!((&body["quantity"], &body["status"]), (&json!(3), &json!("suspended")));
        }
    }

    #[test]
    fn a_registration_says_where_to_look() {
        let answer = ask("POST", &format!("{ONE}/registrations"), "");
        let (name, value) = &answer.fields[0];
        assert_eq!(name, "location");
        assert_eq!(value, "/customers/c/subscriptions/S-1/registrationstatus");
        assert!(answer.body.is_empty());
    }

    #[test]
    fn overage_is_not_the_name_of_a_subscription() {
        let path = "/v1/customers/c/subscriptions/overage";
        let set = body_of(&ask("PUT", path, r#"{"OverageEnabled":true,"partnerId":"5"}"#));
        assert_eq!(set["overageEnabled"], true);
        assert_eq!(set["attributes"]["objectType"], "Overage");
        assert_eq!(body_of(&ask("GET", path, ""))["overageEnabled"], false);
        assert_eq!(ask("PUT", path, "").status, StatusCode::BAD_REQUEST);
        let list = body_of(&ask("GET", "/v1/customers/c/subscriptions", ""));
        assert_eq!(list["totalCount"], 2);
    }
}
