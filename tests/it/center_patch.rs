//! The PATCH of a subscription, which sends the whole resource back: what it changes is what it is.

use serde_json::{Map, Value, json};

use crate::center::{BROKEN, PLENTY, as_fault, assert_unknown, center, customer, is, said, unsigned};
use crate::http::Answer;
use crate::stage::{CUSTOMER, Stage, eventually};

const ETAG: &str = "\"v1\"";

fn path(customer: &str) -> String {
    format!("/v1/customers/{customer}/subscriptions/s1")
}

/// A subscription as Partner Center has it.
fn subscription() -> Map<String, Value> {
    let subscription = json!({
        "id": "s1",
        "offerId": "CFQ7TTC0LF8S:0002:CFQ7TTC0KSVV",
        "offerName": "Microsoft 365 E3",
        "friendlyName": "Seats",
        "productType": { "id": "OnlineServicesNCE", "displayName": "OnlineServicesNCE" },
        "quantity": 10,
        "unitType": "Licenses",
        "hasPurchasableAddons": false,
        "creationDate": "2024-02-05T09:12:44.1830000Z",
        "effectiveStartDate": "2024-02-05T00:00:00Z",
        "commitmentEndDate": "2027-02-04T00:00:00Z",
        "customTermEndDate": null,
        "status": "active",
        "autoRenewEnabled": true,
        "billingCycle": "monthly",
        "termDuration": "P1Y",
        "partnerId": "",
        "promotionId": null,
        "scheduledNextTermInstructions": {
            "product": { "productId": "CFQ7TTC0LF8S", "skuId": "0002", "billingCycle": "monthly" },
            "quantity": 8,
            "customTermEndDate": "2028-02-04T00:00:00Z"
        },
        "orderId": "o1",
        "links": { "self": { "uri": "/customers/c/subscriptions/s1" } },
        "attributes": { "etag": ETAG, "objectType": "Subscription" },
    });
    match subscription {
        Value::Object(members) => members,
        _ => unreachable!("it is an object"),
    }
}

/// The subscription with some members changed; those that become `"-"` are left out.
fn sent(changes: &Value) -> Map<String, Value> {
    let mut sent = subscription();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::String(text) if text == "-" => sent.remove(name),
            value => sent.insert(name.clone(), value.clone()),
        };
    }
    sent
}

fn patch(stage: &Stage, customer: &str, body: &Map<String, Value>, headers: &[(&str, &str)]) -> Answer {
    stage.send("PATCH", &path(customer), headers, json!(body).to_string().as_bytes())
}

fn stock(stage: &Stage, customer: &str) {
    stage.standin.set_resource(&path(customer), subscription().into(), Some(ETAG));
}

fn pascal(name: &str) -> String {
    name[..1].to_ascii_uppercase() + &name[1..]
}

fn pascal_all(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (pascal(name), pascal_all(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(pascal_all).collect::<Vec<_>>().into(),
        value => value.clone(),
    }
}

/// The operation of the last decision.
fn operation(stage: &Stage) -> String {
    let records = stage.records();
    let decision = records.iter().rfind(|record| record["kind"] == "decision").unwrap();
    decision["operation"].as_str().unwrap().to_owned()
}

const INCREASE: (&str, u16) = ("subscription.update", 403);
const CHANGE: (&str, u16) = ("subscription.change", 403);
const SUSPEND: (&str, u16) = ("subscription.suspend", 200);
const REACTIVATE: (&str, u16) = ("subscription.reactivate", 200);
const RENAME: (&str, u16) = ("subscription.rename", 200);

/// What is changed, and what that is for a customer that has accepted nothing.
fn rows() -> Vec<(Value, (&'static str, u16))> {
    let next = |changes: Value| {
        let mut next = subscription()["scheduledNextTermInstructions"].clone();
        next.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        json!({ "scheduledNextTermInstructions": next })
    };
    vec![
        (json!({}), RENAME),
        (json!({ "quantity": 10 }), RENAME),
        (json!({ "quantity": 11 }), INCREASE),
        (json!({ "quantity": 9 }), CHANGE),
        (json!({ "quantity": 0 }), CHANGE),
        (json!({ "quantity": -1 }), INCREASE),
        (json!({ "quantity": 9.5 }), INCREASE),
        (json!({ "quantity": "9" }), INCREASE),
        (json!({ "quantity": null }), RENAME),
        (json!({ "quantity": [9] }), INCREASE),
        (json!({ "status": "suspended" }), SUSPEND),
        (json!({ "status": "Suspended" }), SUSPEND),
        (json!({ "status": "deleted" }), SUSPEND),
        (json!({ "status": "suspended", "quantity": 11 }), INCREASE),
        (json!({ "status": "suspended", "quantity": 9 }), CHANGE),
        (json!({ "status": "suspended", "friendlyName": "x" }), SUSPEND),
        (json!({ "status": "suspended", "partnerId": "4847383" }), INCREASE),
        (json!({ "status": "pending" }), INCREASE),
        (json!({ "status": null }), RENAME),
        (json!({ "status": "ACTIVE" }), RENAME),
        (json!({ "friendlyName": "Other seats" }), RENAME),
        (json!({ "friendlyName": "" }), RENAME),
        (json!({ "friendlyName": "x", "quantity": 11 }), INCREASE),
        (json!({ "billingCycle": "annual" }), CHANGE),
        (json!({ "billingCycle": "Monthly" }), RENAME),
        (json!({ "termDuration": "P3Y" }), CHANGE),
        (json!({ "termDuration": "P3Y", "quantity": 11 }), INCREASE),
        (json!({ "customTermEndDate": "2028-01-01T00:00:00Z" }), CHANGE),
        (next(json!({})), RENAME),
        (next(json!({ "quantity": 9 })), CHANGE),
        (next(json!({ "quantity": 7 })), CHANGE),
        (next(json!({ "customTermEndDate": "2028-02-04T00:00:00+00:00" })), RENAME),
        (next(json!({ "customTermEndDate": "2028-02-05T00:00:00Z" })), CHANGE),
        (next(json!({ "promotionId": "" })), RENAME),
        (next(json!({ "promotionId": "p" })), CHANGE),
        (json!({ "scheduledNextTermInstructions": null }), CHANGE),
        (json!({ "offerId": "CFQ7TTC0LH18:0001:CFQ7TTC0K971" }), INCREASE),
        (json!({ "offerId": "cfq7ttc0lf8s:0002:cfq7ttc0ksvv" }), RENAME),
        (json!({ "partnerId": "4847383" }), INCREASE),
        (json!({ "partnerId": null }), RENAME),
        (json!({ "partnerId": "-" }), RENAME),
        (json!({ "promotionId": "p1" }), INCREASE),
        (json!({ "promotionId": "" }), RENAME),
        (json!({ "somethingNew": 1 }), INCREASE),
        (json!({ "somethingNew": null }), RENAME),
        (json!({ "somethingNew": {} }), INCREASE),
        (json!({ "productType": { "id": "Other", "displayName": "OnlineServicesNCE" } }), INCREASE),
        (json!({ "productType": { "id": "OnlineServicesNCE" } }), INCREASE),
        // Only Partner Center sets these.
        (
            json!({ "offerName": "x", "links": {}, "orderId": "o9", "unitType": "y", "creationDate": "z" }),
            RENAME,
        ),
        (json!({ "attributes": { "etag": "x" }, "id": "s1" }), RENAME),
        // A date in another form is the same date.
        (json!({ "creationDate": "2024-02-05T10:12:44.183+01:00" }), RENAME),
        // What is left out stays as it is.
        (json!({ "offerName": "-", "quantity": "-", "status": "-", "billingCycle": "-" }), RENAME),
    ]
}

#[test]
fn what_a_whole_resource_changes_is_what_it_is() {
    let stage = center(PLENTY, "");
    let party = unsigned(1);
    for (changes, (name, status)) in rows() {
        let whole = sent(&changes);
        let in_pascal = match pascal_all(&whole.clone().into()) {
            Value::Object(members) => members,
            _ => unreachable!("it is an object"),
        };
        for (letters, body) in [("camelCase", whole), ("PascalCase", in_pascal)] {
            stock(&stage, &party);
            let answer = patch(&stage, &party, &body, &[]);
            let found = (operation(&stage), answer.status);
            assert_eq!(found, (name.to_owned(), status), "{letters} {changes}: {answer:?}");
        }
    }
    // With the agreement all of them pass, but for those that name nothing that can be sent.
    for (changes, _) in rows() {
        stock(&stage, CUSTOMER);
        let answer = patch(&stage, CUSTOMER, &sent(&changes), &[]);
        assert!(matches!(answer.status, 200 | 403), "{changes}: {answer:?}");
        if answer.status == 403 {
            assert_eq!(answer.json()["code"], 900_123, "{changes}: {answer:?}");
        }
    }
}

#[test]
fn seats_that_were_suspended_may_come_back_by_themselves_only() {
    let stage = center(PLENTY, "");
    let party = unsigned(1);
    let mut suspended = subscription();
    suspended.insert("status".to_owned(), json!("suspended"));
    suspended.insert("autoRenewEnabled".to_owned(), json!(false));
    for (changes, expected) in [
        (json!({ "autoRenewEnabled": false }), REACTIVATE),
        // Of changes that weigh the same, the first one names it.
        (json!({ "autoRenewEnabled": false, "friendlyName": "x" }), RENAME),
        (json!({ "autoRenewEnabled": false, "quantity": 11 }), INCREASE),
        (json!({ "autoRenewEnabled": true }), CHANGE),
        (json!({ "autoRenewEnabled": true, "status": "suspended" }), CHANGE),
        (json!({ "autoRenewEnabled": false, "status": "suspended" }), RENAME),
    ] {
        stage.standin.set_resource(&path(&party), suspended.clone().into(), Some(ETAG));
        let answer = patch(&stage, &party, &sent(&changes), &[]);
        assert_eq!((operation(&stage).as_str(), answer.status), expected, "{changes}: {answer:?}");
    }
}

#[test]
fn a_reseller_that_a_change_names_is_asked_for() {
    let stage = center(PLENTY, "");
    for (number, (reseller, status)) in [("4847383", 200), ("5130400", 403)].into_iter().enumerate() {
        let party = customer(number as u32);
        stock(&stage, &party);
        let answer = patch(&stage, &party, &sent(&json!({ "partnerId": reseller })), &[]);
        assert_eq!(answer.status, status, "{reseller}: {answer:?}");
    }
    // Sent back as it was, it is no change, and yet a reseller of the request.
    let mut sold = subscription();
    sold.insert("partnerId".to_owned(), json!("5130400"));
    stage.standin.set_resource(&path(CUSTOMER), sold.clone().into(), Some(ETAG));
    sold.insert("friendlyName".to_owned(), json!("x"));
    let answer = patch(&stage, CUSTOMER, &sold, &[]);
    assert_eq!((operation(&stage).as_str(), answer.status), RENAME, "{answer:?}");
}

#[test]
fn a_change_goes_upstream_for_the_version_that_it_was_held_against() {
    let stage = center(PLENTY, "");
    let lowered = sent(&json!({ "quantity": 9 }));
    for (wanted, status) in [
        (None, 200),
        (Some(ETAG), 200),
        (Some("v1"), 200),
        (Some("*"), 200),
        (Some("W/\"v1\""), 200),
        (Some("\"v0\""), 412),
        (Some("\"v0\", \"v1\""), 412),
    ] {
        stock(&stage, CUSTOMER);
        stage.standin.recorded();
        let headers: Vec<(&str, &str)> = wanted.iter().map(|wanted| ("If-Match", *wanted)).collect();
        let answer = patch(&stage, CUSTOMER, &lowered, &headers);
        assert_eq!(answer.status, status, "{wanted:?}: {answer:?}");
        let recorded = stage.standin.recorded();
        let changes: Vec<_> = recorded.iter().filter(|one| one.method == "PATCH").collect();
        if status == 412 {
            assert_eq!(said(&answer), is(412, "precondition_failed"));
            assert_eq!(answer.json()["code"], 800_036);
            assert_eq!(changes.len(), 0, "{wanted:?}");
            continue;
        }
        let matches: Vec<&[u8]> = changes[0]
            .headers
            .iter()
            .filter(|(name, _)| name == "if-match")
            .map(|(_, value)| value.as_slice())
            .collect();
        assert_eq!(matches, [ETAG.as_bytes()], "{wanted:?}");
    }
    // Two of them have no one reading.
    stock(&stage, CUSTOMER);
    let twice = patch(&stage, CUSTOMER, &lowered, &[("If-Match", ETAG), ("If-Match", ETAG)]);
    assert!(matches!(twice.status, 400 | 412), "{twice:?}");
}

#[test]
fn a_subscription_that_changes_meanwhile_is_not_changed() {
    let stage = center(PLENTY, "deadline: 15s");
    stock(&stage, CUSTOMER);
    // Held on its way upstream, while the subscription becomes another one.
    stage.standin.fault("PATCH", "/subscriptions/", "hold", Some(1));
    let count = stage.standin.mutation_count();
    let answer = std::thread::scope(|scope| {
        let changing = scope.spawn(|| patch(&stage, CUSTOMER, &sent(&json!({ "quantity": 9 })), &[]));
        eventually(|| stage.standin.mutation_count() > count);
        stage.standin.set_resource(&path(CUSTOMER), subscription().into(), Some("\"v2\""));
        stage.standin.release();
        changing.join().unwrap()
    });
    assert_eq!(answer.status, 417, "{answer:?}");
}

#[test]
fn the_version_may_stand_in_the_resource_itself() {
    let stage = center(PLENTY, "");
    let party = unsigned(1);
    let suspended = sent(&json!({ "status": "suspended" }));
    stage.standin.set_resource(&path(&party), subscription().into(), None);
    let answer = patch(&stage, &party, &suspended, &[]);
    assert_eq!((operation(&stage).as_str(), answer.status), SUSPEND, "{answer:?}");
    // Without a version a difference may be gone before it is acted on.
    for attributes in [json!({}), json!({ "etag": "" }), json!({ "etag": null }), json!(null)] {
        let mut without = subscription();
        without.insert("attributes".to_owned(), attributes.clone());
        stage.standin.set_resource(&path(&party), without.into(), None);
        let answer = patch(&stage, &party, &suspended, &[]);
        assert_eq!((operation(&stage).as_str(), answer.status), INCREASE, "{attributes}: {answer:?}");
    }
}

#[test]
fn a_body_that_shows_what_it_does_needs_no_reading() {
    let stage = center(PLENTY, "");
    let party = unsigned(1);
    for (body, expected) in [
        (json!({ "status": "suspended" }), SUSPEND),
        (json!({ "status": "deleted", "quantity": null, "id": "s1" }), SUSPEND),
        (json!({ "autoRenewEnabled": false }), ("subscription.let_extend", 200)),
        (json!({ "scheduledActions": { "actionType": "cancel" } }), ("subscription.cancel_at_term", 200)),
    ] {
        let answer = stage.send("PATCH", &path(&party), &[], body.to_string().as_bytes());
        assert_eq!((operation(&stage).as_str(), answer.status), expected, "{body}: {answer:?}");
    }
    assert_eq!(stage.standin.count("subscription"), 0);
}

#[test]
fn a_subscription_that_can_not_be_read_is_the_strictest_reading_and_no_denial() {
    let stage = center(PLENTY, "deadline: 1s");
    let party = unsigned(1);
    let other = json!({ "id": "s1", "quantity": 10, "customerId": customer(9) });
    let faults = BROKEN.into_iter().chain(["body=%5B%5D", "body=null"]).map(str::to_owned);
    let suspended = sent(&json!({ "status": "suspended" }));
    stock(&stage, CUSTOMER);
    assert_eq!(patch(&stage, CUSTOMER, &suspended, &[]).status, 200);
    for fault in faults.chain([as_fault(&other.to_string())]) {
        stage.standin.fault("GET", "/subscriptions/", &fault, None);
        let answer = patch(&stage, &party, &suspended, &[]);
        assert_unknown(&answer, &fault);
        assert_eq!(operation(&stage), "subscription.update", "{fault}");
        // Whom it names is not known either.
        assert_unknown(&patch(&stage, CUSTOMER, &suspended, &[]), &fault);
        stage.standin.clear_faults();
        stock(&stage, &party);
        eventually(|| patch(&stage, &party, &suspended, &[]).status == 200);
    }
    stage.standin.fault("GET", "/subscriptions/", "hang", None);
    assert_unknown(&patch(&stage, &party, &suspended, &[]), "hang");
    assert_unknown(&patch(&stage, CUSTOMER, &suspended, &[]), "hang");
    // Alone it says what it is, whatever is there.
    let alone = Map::from_iter([("status".to_owned(), json!("suspended"))]);
    assert_eq!(patch(&stage, &party, &alone, &[]).status, 200);
}
