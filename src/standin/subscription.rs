//! Subscription: the answers below `/v1/customers/{c}/subscriptions`.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::standin::answer::{Answer, IdKind, Outcome, guid, numbered_guid};
use crate::standin::call::{Call, link, member, printed, printed_object};

/// Seats of every subscription that is read; a change is an increase when it asks for more.
pub const QUANTITY: u32 = 10;

/// Answers below `/v1/customers/{c}/subscriptions`; `tail` is what follows, in lower case. `None` when nothing is there.
pub fn answer(call: &Call, tail: &[&str]) -> Option<Outcome> {
    let outcome = match (call.method, tail) {
        ("GET", []) => Ok(list(call)),
        ("PUT", ["overage"]) => set_overage(call),
        ("GET", ["overage"]) => Ok(Answer::ok(&overage(call, Map::new()))),
        ("GET", [_]) => Ok(Answer::ok(&body(call, call.segment(4)).into())),
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
    let id = call.segment(4);
    let mut changed = body(call, id);
    changed.extend(sent);
    changed.insert("id".to_owned(), Value::from(id));
    Ok(Answer::ok(&changed.into()))
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
        "attributes": { "etag": "eyJ2IjoxfQ==", "objectType": "Subscription" },
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

    use crate::standin::testing::{ask, body_of};

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
