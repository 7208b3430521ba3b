//! What a request means beside its resource: whom that names, what it is a wind-down of, and what strangers learn of it.

use serde_json::{Value, json};

use crate::center::{PLENTY, agent_of, as_fault, center, center_with, is, said, unsigned};
use crate::http::Answer;
use crate::stage::{CUSTOMER, LICENCE, PARTNER, Stage};

const SIGNED: &str = "4847383";
const UNSIGNED: &str = "5130400";
const ETAG: &str = "\"v1\"";
const RESELLER: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a07";
const AZURE_PLAN: &str = "DZH318Z0BPS6:0001:DZH318Z0BML6";

fn subscription_path(customer: &str) -> String {
    format!("/v1/customers/{customer}/subscriptions/s1")
}

fn order_path(customer: &str) -> String {
    format!("/v1/customers/{customer}/orders/o1")
}

fn subscription(changes: Value) -> Value {
    let mut subscription = json!({
        "id": "s1", "offerId": LICENCE, "friendlyName": "Seats", "quantity": 5, "status": "active",
        "autoRenewEnabled": true, "billingCycle": "monthly", "termDuration": "P1Y",
        "attributes": { "etag": ETAG },
    });
    subscription.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    subscription
}

fn patch(stage: &Stage, path: &str, body: &Value) -> Answer {
    stage.send("PATCH", path, &[], body.to_string().as_bytes())
}

/// Operation and class of the last decision.
fn decided(stage: &Stage) -> (String, String) {
    let records = stage.records();
    let decision = records.iter().rfind(|record| record["kind"] == "decision").unwrap();
    let text = |name: &str| decision[name].as_str().unwrap_or("").to_owned();
    (text("operation"), text("class"))
}

#[test]
fn of_many_changes_at_once_whose_reading_is_withheld_none_is_forwarded() {
    let stage = center(", requests_per_minute: 60", "deadline: 2s");
    let there = subscription(json!({ "partnerId": UNSIGNED }));
    stage.standin.set_resource(&subscription_path(CUSTOMER), there, Some(ETAG));
    stage.standin.recorded();
    let agent = stage.agent();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let send = || {
            let headers = [("Authorization", agent.as_str())];
            stage.send("PATCH", &subscription_path(CUSTOMER), &headers, b"{\"quantity\":500}")
        };
        let sending: Vec<_> = (0..160).map(|_| scope.spawn(send)).collect();
        sending.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!(count(403) + count(503), 160, "403: {}, 503: {}", count(403), count(503));
    assert!(count(503) > 0, "the budget was never spent");
    let seen = stage.standin.recorded();
    assert_eq!(seen.iter().filter(|one| one.method == "PATCH").count(), 0);
}

#[test]
fn whom_a_resource_names_counts_unless_another_takes_the_place() {
    let stage = center(PLENTY, "");
    let next = json!({ "product": { "productId": "CFQ7TTC0LF8S" }, "quantity": 8, "partnerId": UNSIGNED });
    let by_id = json!({ "partnerId": UNSIGNED });
    let within = json!({ "scheduledNextTermInstructions": next });
    let listed = json!({ "participants": [{ "key": "transaction_reseller", "value": UNSIGNED }] });
    for (there, body, status) in [
        (&by_id, json!({ "quantity": 500 }), 403),
        (&by_id, json!({ "quantity": 500, "partnerId": null }), 403),
        (&by_id, json!({ "quantity": 500, "partnerId": "" }), 403),
        (&by_id, json!({ "quantity": 500, "PartnerId": UNSIGNED }), 403),
        (&by_id, json!({ "quantity": 500, "PARTNERID": SIGNED }), 200),
        (&by_id, json!({ "quantity": 500, "deep": { "partnerId": SIGNED } }), 403),
        (&within, json!({ "quantity": 500 }), 403),
        (&within, json!({ "quantity": 500, "scheduledNextTermInstructions": null }), 403),
        (&within, json!({ "quantity": 500, "scheduledNextTermInstructions": {} }), 403),
        (&within, json!({ "quantity": 500, "scheduledNextTermInstructions": { "partnerId": null } }), 403),
        (&within, json!({ "quantity": 500, "scheduledNextTermInstructions": { "partnerId": SIGNED } }), 200),
        (&listed, json!({ "quantity": 500, "participants": [] }), 403),
        (&listed, json!({ "quantity": 500, "participants": [{ "value": SIGNED }] }), 403),
    ] {
        let resource = subscription(there.clone());
        stage.standin.set_resource(&subscription_path(CUSTOMER), resource, Some(ETAG));
        let answer = patch(&stage, &subscription_path(CUSTOMER), &body);
        assert_eq!(answer.status, status, "{there} {body}: {answer:?}");
        if status == 403 {
            assert_eq!(answer.json()["code"], 900_123, "{there} {body}: {answer:?}");
        }
    }
    // A merge patch that removes it takes nobody away either.
    stage.standin.set_resource(&subscription_path(CUSTOMER), subscription(by_id.clone()), Some(ETAG));
    let merge = [("Content-Type", "application/merge-patch+json")];
    let answer =
        stage.send("PATCH", &subscription_path(CUSTOMER), &merge, b"{\"quantity\":6,\"partnerId\":null}");
    assert_eq!(answer.json()["code"], 900_123, "{answer:?}");
}

#[test]
fn without_reads_the_resellers_of_a_resource_are_as_the_policy_says() {
    for (setting, status, notice) in
        [("", 200, true), ("notice", 200, true), ("allow", 200, false), ("deny", 409, false)]
    {
        let extra = match setting {
            "" => String::new(),
            setting => format!("policy: {{ unread_resellers: {setting} }}\n"),
        };
        let stage = center_with(PLENTY, "", &extra, |text| text.replace("reads: center, ", ""));
        stage.standin.set_resource(&subscription_path(CUSTOMER), subscription(json!({})), Some(ETAG));
        let answer = patch(&stage, &subscription_path(CUSTOMER), &json!({ "quantity": 6 }));
        assert_eq!(answer.status, status, "{setting}: {answer:?}");
        let told = answer.header("countersign-notice").is_some_and(|text| text.contains("reseller-mpa"));
        assert_eq!(told, notice, "{setting}: {answer:?}");
        let counted = stage.metric("countersign_findings_total{effect=\"notice\",rule=\"reseller-mpa\"}");
        assert_eq!(counted > 0.0, notice, "{setting}");
        if status == 409 {
            assert_eq!(answer.reason(), "agreement_unrecorded", "{answer:?}");
        }
        // What ends is not held up, and not told of.
        let ends = patch(&stage, &subscription_path(CUSTOMER), &json!({ "status": "suspended" }));
        assert_eq!((ends.status, ends.header("countersign-notice")), (200, None), "{setting}");
    }
}

#[test]
fn a_suspended_subscription_comes_back_and_nothing_else_does() {
    let stage = center(PLENTY, "");
    let party = unsigned(1);
    let body = json!({ "status": "active" });
    for (there, expected) in [
        (json!({ "status": "suspended" }), ("subscription.reactivate", "administration", 200)),
        (json!({ "status": "SUSPENDED" }), ("subscription.reactivate", "administration", 200)),
        (json!({ "status": "suspended", "offerId": AZURE_PLAN }), ("subscription.update", "increase", 403)),
        (json!({ "status": "suspended", "offerId": null }), ("subscription.update", "increase", 403)),
        (json!({ "status": "deleted" }), ("subscription.update", "increase", 403)),
        (json!({ "status": null }), ("subscription.update", "increase", 403)),
    ] {
        stage.standin.set_resource(&subscription_path(&party), subscription(there.clone()), Some(ETAG));
        let answer = patch(&stage, &subscription_path(&party), &body);
        let (operation, class) = decided(&stage);
        assert_eq!((operation.as_str(), class.as_str(), answer.status), expected, "{there}: {answer:?}");
    }
    for (setting, status) in [("increase", 403), ("administration", 200)] {
        let extra = format!("policy: {{ unread_reactivation: {setting} }}\n");
        let stage = center_with(PLENTY, "", &extra, |text| text.replace("reads: center, ", ""));
        stage.standin.set_resource(&subscription_path(&party), subscription(json!({})), Some(ETAG));
        let answer = patch(&stage, &subscription_path(&party), &body);
        assert_eq!(answer.status, status, "{setting}: {answer:?}");
    }
}

#[test]
fn a_rename_that_wipes_what_is_scheduled_is_a_change() {
    let stage = center(PLENTY, "");
    let party = unsigned(1);
    let body = json!({ "friendlyName": "x" });
    for (there, name, status) in [
        (json!({}), "subscription.rename", 200),
        (
            json!({ "scheduledNextTermInstructions": null, "scheduledActions": null }),
            "subscription.rename",
            200,
        ),
        (json!({ "scheduledNextTermInstructions": { "quantity": 8 } }), "subscription.change", 403),
        (json!({ "scheduledActions": { "actionType": "cancel" } }), "subscription.schedule", 403),
        (json!({ "scheduledActions": [] }), "subscription.schedule", 403),
    ] {
        stage.standin.set_resource(&subscription_path(&party), subscription(there.clone()), Some(ETAG));
        let answer = patch(&stage, &subscription_path(&party), &body);
        assert_eq!((decided(&stage).0.as_str(), answer.status), (name, status), "{there}: {answer:?}");
    }
    // Unread it passes, and its caller is told.
    let stage = center_with(PLENTY, "", "", |text| text.replace("reads: center, ", ""));
    stage.standin.set_resource(&subscription_path(&party), subscription(json!({})), Some(ETAG));
    let answer = patch(&stage, &subscription_path(&party), &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.header("countersign-notice").is_some(), "{answer:?}");
    assert_eq!(stage.metric("countersign_notices_total{notice=\"unread\"}"), 1.0);
    let extends = patch(&stage, &subscription_path(&party), &json!({ "autoRenewEnabled": false }));
    assert!(extends.header("countersign-notice").unwrap().contains("extended"), "{extends:?}");
    assert_eq!(stage.metric("countersign_notices_total{notice=\"extension\"}"), 1.0);
}

#[test]
fn an_order_that_was_read_is_cancelled_as_it_is_sent_back() {
    let stage = center(PLENTY, "");
    let party = unsigned(1);
    let line = json!({
        "lineItemNumber": 0, "offerId": LICENCE, "subscriptionId": "s1", "quantity": 3, "termDuration": "P1Y",
        "friendlyName": "Seats", "partnerIdOnRecord": UNSIGNED,
    });
    let order = |changes: Value| {
        let mut order = json!({
            "id": "o1", "referenceCustomerId": party, "billingCycle": "monthly", "currencyCode": "EUR",
            "status": "completed", "lineItems": [line], "creationDate": "2026-01-14T16:57:15Z",
            "links": {}, "attributes": { "etag": ETAG, "objectType": "Order" },
        });
        order.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        order
    };
    let line_with = |changes: Value| {
        let mut line = line.clone();
        line.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        json!([line])
    };
    for (body, name, status) in [
        (order(json!({ "status": "cancelled" })), "order.cancel", 200),
        (order(json!({ "status": "canceled", "creationDate": "other", "links": null })), "order.cancel", 200),
        (json!({ "status": "cancelled" }), "order.cancel", 200),
        (json!({ "status": "cancelled", "lineItems": line_with(json!({})) }), "order.cancel", 200),
        (
            json!({ "status": "cancelled", "lineItems": line_with(json!({ "quantity": 4 })) }),
            "order.update",
            403,
        ),
        (
            json!({ "status": "cancelled", "lineItems": line_with(json!({ "lineItemNumber": 7 })) }),
            "order.update",
            403,
        ),
        (
            json!({ "status": "cancelled", "lineItems": line_with(json!({ "parentSubscriptionId": "s1" })) }),
            "order.update",
            403,
        ),
        (order(json!({ "status": "cancelled", "billingCycle": "annual" })), "order.update", 403),
        (order(json!({ "status": "cancelled", "totalPrice": 5 })), "order.cancel", 200),
        (order(json!({ "lineItems": line_with(json!({ "quantity": 2 })) })), "order.update", 403),
    ] {
        stage.standin.set_resource(&order_path(&party), order(json!({})), Some(ETAG));
        stage.standin.recorded();
        let answer = patch(&stage, &order_path(&party), &body);
        assert_eq!((decided(&stage).0.as_str(), answer.status), (name, status), "{body}: {answer:?}");
        let seen = stage.standin.recorded();
        let sent = seen.iter().find(|one| one.method == "PATCH");
        assert_eq!(sent.is_some(), status == 200, "{body}");
        // What was compared goes for the version that it was compared with.
        let was_compared = seen.iter().any(|one| one.method == "GET" && one.target == order_path(&party));
        if let Some(sent) = sent {
            let matches =
                sent.headers.iter().any(|(name, value)| name == "if-match" && value == ETAG.as_bytes());
            assert_eq!(matches, was_compared, "{body}");
        }
    }
    // A cancelled order is cancelled again by the retry of a lost answer.
    stage.standin.set_resource(&order_path(&party), order(json!({ "status": "cancelled" })), Some(ETAG));
    let again = patch(&stage, &order_path(&party), &order(json!({ "status": "cancelled" })));
    assert_eq!(again.status, 200, "{again:?}");
}

#[test]
fn a_transfer_is_completed_by_whom_it_names_as_its_source() {
    let stage = center(PLENTY, "");
    let party = unsigned(1);
    let path = format!("/v1/customers/{party}/transfers/t1");
    let other = "656218b1-80c9-40b2-83ae-3a2703b55271";
    let gives = json!({ "id": "t1", "sourcePartnerTenantId": PARTNER, "targetPartnerTenantId": other });
    let buys = json!({ "id": "t1", "sourcePartnerTenantId": other, "targetPartnerTenantId": PARTNER });
    let nobody = json!({ "id": "t1", "sourcePartnerTenantId": PARTNER });
    let complete = |changes: Value| {
        let mut body = json!({ "id": "t1", "status": "Complete" });
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        body
    };
    for (there, body, name, status) in [
        (&gives, complete(json!({})), "transfer.complete", 200),
        (&gives, complete(gives.clone()), "transfer.complete", 200),
        (
            &gives,
            complete(json!({ "lineItems": [{ "subscriptionId": "s1", "quantity": 5 }] })),
            "transfer.complete",
            200,
        ),
        (&gives, complete(json!({ "targetPartnerTenantId": PARTNER })), "transfer.update", 403),
        (&gives, complete(json!({ "sourcePartnerTenantId": other })), "transfer.update", 403),
        (&buys, complete(json!({})), "transfer.update", 403),
        (&buys, complete(gives.clone()), "transfer.update", 403),
        (&nobody, complete(json!({})), "transfer.update", 403),
        (&buys, json!({ "status": "Cancel" }), "transfer.reject", 200),
        (&gives, json!({ "status": "Active" }), "transfer.update", 403),
    ] {
        stage.standin.set_resource(&path, there.clone(), None);
        stage.standin.recorded();
        let answer = patch(&stage, &path, &body);
        let seen = stage.standin.recorded().iter().any(|one| one.method == "PATCH");
        assert_eq!(decided(&stage).0, name, "{there} {body}: {answer:?}");
        assert_eq!(
            (seen, answer.status == 403),
            (status == 200, status == 403),
            "{there} {body}: {answer:?}"
        );
    }
}

#[test]
fn a_transfer_that_can_not_be_read_is_not_denied_but_not_known() {
    let stage = center(PLENTY, "");
    let party = unsigned(1);
    let path = format!("/v1/customers/{party}/transfers/t1");
    stage.standin.fault("GET", "/transfers/", "status=500", None);
    let complete = patch(&stage, &path, &json!({ "status": "Complete" }));
    assert_eq!(said(&complete), is(503, "agreement_unknown"), "{complete:?}");
    assert_eq!(patch(&stage, &path, &json!({ "status": "Cancel" })).status, 200);
    // What is accepted buys, whatever it is.
    let accept = stage.send("POST", &format!("{path}/accept"), &[], b"");
    assert_eq!(said(&accept), is(403, "agreement_missing"), "{accept:?}");
}

#[test]
fn what_is_done_below_a_subscription_asks_whom_that_names() {
    let stage = center(PLENTY, "");
    let path = subscription_path(CUSTOMER);
    let more = json!({ "toCatalogItemId": LICENCE, "quantity": 500 });
    for (below, body) in [
        ("transitions", more),
        ("upgrades", json!({ "targetOffer": { "id": LICENCE } })),
        ("conversions", json!({ "targetOfferId": LICENCE, "quantity": 500 })),
        ("azureEntitlements/e1/reactivate", Value::Null),
    ] {
        for (reseller, denied) in [(SIGNED, false), (UNSIGNED, true)] {
            let there = subscription(json!({ "partnerId": reseller }));
            stage.standin.set_resource(&path, there, Some(ETAG));
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let answer = stage.send("POST", &format!("{path}/{below}"), &[], body.as_bytes());
            assert_eq!(said(&answer).1 == "agreement_missing", denied, "{below} {reseller}: {answer:?}");
            if denied {
                assert_eq!(answer.json()["code"], 900_123, "{below}: {answer:?}");
            }
        }
        stage.standin.fault("GET", "/subscriptions/", "status=500", None);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = stage.send("POST", &format!("{path}/{below}"), &[], body.as_bytes());
        assert_eq!(said(&answer), is(503, "agreement_unknown"), "{below}: {answer:?}");
        stage.standin.clear_faults();
    }
    // A migration names its subscription in the body: nobody reads it, and the policy decides.
    for (setting, status) in [("notice", 201), ("deny", 409)] {
        let extra = format!("policy: {{ unread_resellers: {setting} }}\n");
        let stage = center_with(PLENTY, "", &extra, |text| text);
        let migration = format!("/v1/customers/{CUSTOMER}/migrations/newcommerce");
        let body = b"{\"currentSubscriptionId\":\"s1\",\"quantity\":5}";
        assert_eq!(stage.send("POST", &migration, &[], body).status, status, "{setting}");
    }
}

#[test]
fn what_ends_is_not_held_up_by_what_counts_for_nothing_in_it() {
    let stage = center(PLENTY, "");
    let party = unsigned(1);
    let path = subscription_path(&party);
    let scheduled = json!({
        "scheduledNextTermInstructions": { "quantity": 8 }, "scheduledActions": { "actionType": "renew" },
    });
    let ended = |changes: Value| {
        let mut body = subscription(json!({ "status": "suspended" }));
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        body
    };
    for (there, body) in [
        (&scheduled, ended(json!({}))),
        (&scheduled, ended(json!({ "scheduledNextTermInstructions": null, "status": "deleted" }))),
        (&scheduled, json!({ "status": "suspended", "scheduledNextTermInstructions": null })),
        (
            &json!({ "actions": ["Edit"], "billingCycleEndDate": "2026-12-01" }),
            ended(json!({ "actions": [] })),
        ),
        (&json!({ "partnerId": "0" }), ended(json!({ "partnerId": "0" }))),
        (
            &json!({ "additionalPartnerIdsOnRecord": UNSIGNED }),
            ended(json!({ "additionalPartnerIdsOnRecord": UNSIGNED })),
        ),
        (&json!({ "nextChargeInstructions": [] }), ended(json!({ "nextChargeInstructions": [] }))),
    ] {
        stage.standin.set_resource(&path, subscription(there.clone()), Some(ETAG));
        let answer = patch(&stage, &path, &body);
        assert_eq!(
            (decided(&stage).0.as_str(), answer.status),
            ("subscription.suspend", 200),
            "{there} {body}: {answer:?}"
        );
    }
    for (path, body) in [
        (
            format!("/v1/customers/{party}/transfers/t1"),
            json!({ "status": "Cancel", "partnerOnRecord": "none" }),
        ),
        (
            order_path(&party),
            json!({ "status": "cancelled", "lineItems": vec![json!({ "lineItemNumber": 1 }); 301] }),
        ),
    ] {
        let answer = patch(&stage, &path, &body);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    // What buys is refused for the same.
    let bought = patch(&stage, &subscription_path(CUSTOMER), &json!({ "quantity": 6, "partnerId": "0" }));
    assert_eq!(said(&bought), is(400, "invalid_reseller"), "{bought:?}");
    // Nor is anything hidden in a member that is a text.
    for hidden in [
        json!({ "scheduledActions": { "actionType": "cancel", "scheduleType": { "quantity": 500 } } }),
        json!({ "status": "suspended", "friendlyName": { "quantity": 500 } }),
    ] {
        stage.standin.set_resource(&path, subscription(json!({})), Some(ETAG));
        assert_eq!(said(&patch(&stage, &path, &hidden)), is(403, "agreement_missing"), "{hidden}");
    }
}

#[test]
fn without_a_version_a_comparison_makes_nothing_weaker_but_may_make_it_stronger() {
    let stage = center(PLENTY, "");
    let party = unsigned(1);
    let path = subscription_path(&party);
    for (there, body, name) in [
        (
            json!({ "scheduledActions": { "actionType": "cancel" } }),
            json!({ "friendlyName": "x" }),
            "subscription.schedule",
        ),
        (json!({}), json!({ "friendlyName": "x" }), "subscription.rename"),
        (json!({}), json!({ "friendlyName": "x", "quantity": 5 }), "subscription.update"),
    ] {
        let mut there = subscription(there);
        there.as_object_mut().unwrap().remove("attributes");
        stage.standin.set_resource(&path, there, None);
        patch(&stage, &path, &body);
        assert_eq!(decided(&stage).0, name, "{body}");
    }
}

#[test]
fn what_is_withheld_from_a_reseller_opens_nothing() {
    let stage = provider_with("policy:\n  rules:\n    - { name: reseller-mpa, on_unknown: allow }\n");
    let agent = agent_of(&stage, RESELLER);
    let path = subscription_path(CUSTOMER);
    let raise = |what: &str| {
        let answer = stage.send("PATCH", &path, &[("Authorization", &agent)], b"{\"quantity\":500}");
        assert_eq!(said(&answer), is(503, "agreement_unknown"), "{what}: {answer:?}");
    };
    stage.standin.set_resource(&path, subscription(json!({ "partnerId": UNSIGNED })), Some(ETAG));
    raise("another's");
    stage.standin.fault("GET", "/subscriptions/", "status=429", None);
    raise("told to wait");
}

/// A gateway of a provider that a reseller calls.
fn provider() -> Stage {
    provider_with("")
}

fn provider_with(extra: &str) -> Stage {
    center_with(PLENTY, "deadline: 3s", extra, |text| {
        let reseller = format!(
            "  known:\n    - {{ tenant: {RESELLER}, kind: indirect_reseller, mpn_id: \"{SIGNED}\", mpn_ids: [\"4847384\"] }}\n"
        );
        text.replacen("  known:\n", &reseller, 1)
            .replace("upstream: { reads", &format!("upstream: {{ billing_partner: {PARTNER}, reads"))
    })
}

#[test]
fn a_reseller_learns_nothing_of_what_does_not_name_it() {
    let stage = provider();
    let agent = agent_of(&stage, RESELLER);
    let path = subscription_path(CUSTOMER);
    let cart = format!("/v1/customers/{CUSTOMER}/carts/k1");
    let send = |method: &str, target: &str, extra: &[(&str, &str)], body: &str| {
        let headers: Vec<_> =
            [("Authorization", agent.as_str())].into_iter().chain(extra.iter().copied()).collect();
        stage.send(method, target, &headers, body.as_bytes())
    };
    // All that is told, but for what differs between any two answers.
    let told = |answer: &Answer| {
        let mut problem = answer.json();
        problem.as_object_mut().unwrap().remove("decision_id");
        (answer.status, problem.to_string(), answer.header("retry-after").map(str::to_owned))
    };
    let lines = |count: usize| {
        let line = json!({ "catalogItemId": LICENCE, "quantity": 1, "participants": [{ "key": "x", "value": UNSIGNED }] });
        json!({ "id": "k1", "lineItems": vec![line; count] })
    };
    let mut answers = Vec::new();
    for quantity in [1, 4, 5, 6, 500] {
        let body = json!({ "quantity": quantity }).to_string();
        for there in [Some(json!({ "partnerId": UNSIGNED })), Some(json!({ "partnerId": null })), None] {
            match &there {
                Some(there) => stage.standin.set_resource(&path, subscription(there.clone()), Some(ETAG)),
                None => stage.standin.forget_resource(&path),
            }
            for extra in [&[][..], &[("If-Match", "\"v0\"")], &[("If-Match", ETAG)]] {
                answers.push((format!("{quantity} {there:?}"), told(&send("PATCH", &path, extra, &body))));
            }
        }
        for fault in ["status=500", &as_fault("nonsense"), &as_fault("[]")] {
            stage.standin.fault("GET", "/subscriptions/", fault, None);
            answers.push((format!("{quantity} {fault}"), told(&send("PATCH", &path, &[], &body))));
            stage.standin.clear_faults();
        }
    }
    for (row, answer) in &answers {
        assert_eq!(answer, &answers[0].1, "{row}");
    }
    assert_eq!(answers[0].1.0, 503, "{:?}", answers[0]);

    let mut checkouts = Vec::new();
    for count in [0, 1, 3, 299, 301] {
        stage.standin.set_resource(&cart, lines(count), None);
        checkouts.push((count.to_string(), told(&send("POST", &format!("{cart}/checkout"), &[], ""))));
    }
    stage.standin.forget_resource(&cart);
    checkouts.push(("none".to_owned(), told(&send("POST", &format!("{cart}/checkout"), &[], ""))));
    for (row, answer) in &checkouts {
        assert_eq!(answer, &checkouts[0].1, "{row}");
    }
    assert_eq!(checkouts[0].1.0, 503, "{:?}", checkouts[0]);

    // A wind-down by itself stays one, and nothing is read for it.
    stage.standin.set_resource(&path, subscription(json!({ "partnerId": UNSIGNED })), Some(ETAG));
    assert_eq!(send("PATCH", &path, &[], "{\"status\":\"suspended\"}").status, 200);
    // What names it, by any of its ids, is read for it.
    for id in [json!(SIGNED), json!("4847384"), json!(4_847_384), json!(RESELLER)] {
        stage.standin.set_resource(&path, subscription(json!({ "partnerId": id })), Some(ETAG));
        let answer = send("PATCH", &path, &[("If-Match", "\"v0\"")], "{\"quantity\":6}");
        assert_eq!(said(&answer), is(412, "precondition_failed"), "{id}: {answer:?}");
    }
}
