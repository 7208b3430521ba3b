//! What is known of a party must not be lost, and what is not known must not deny.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::center::{
    OTHER, PLENTY, TEMPLATE, agent_of, assert_unknown, attestation, center, center_with, counting, customer,
    is, said, unsigned,
};
use crate::stage::{CUSTOMER, LEDGER, LICENCE, PARTNER, Stage};

#[test]
fn an_old_attestation_is_no_denial_of_what_was_never_asked_for() {
    // It does not count any more; that the customer has accepted directly was not looked up yet.
    let stage = center(PLENTY, FOR_EVER);
    let party = customer(1);
    assert_eq!(attest(&stage, &party, &counting("2021-05-13T00:00:00Z"), &[]).status, 201);
    assert_eq!(said(&stage.order(&party, &[])), is(201, ""));
}

/// Nothing is looked up again by itself.
const FOR_EVER: &str = "missing: 1h, recheck_after: 1h";

fn attest(stage: &Stage, customer: &str, body: &Value, headers: &[(&str, &str)]) -> crate::http::Answer {
    let path = format!("/v1/customers/{customer}/agreements");
    stage.send("POST", &path, headers, body.to_string().as_bytes())
}

fn stacked(records: &str) -> Stage {
    let stage =
        center_with(PLENTY, "", "", |text| text.replace("customer: [center]", "customer: [center, ledger]"));
    std::fs::write(stage.path("agreements.yaml"), LEDGER.to_owned() + records).unwrap();
    assert_eq!(stage.reload().status, 200);
    stage
}

#[test]
fn an_old_acceptance_of_a_later_source_is_no_denial_while_an_earlier_one_fails() {
    let party = customer(1);
    let stage = stacked(&format!("  - {{ customer: {party}, mca: {{ accepted: 2021-01-01T00:00:00Z }} }}\n"));
    stage.standin.fault("GET", "/v1/", "status=500", None);
    assert_unknown(&stage.order(&party, &[]), "down, and recorded with an old date");
}

#[test]
fn half_an_answer_does_not_keep_a_later_source_from_answering() {
    let party = customer(1);
    let stage = stacked(&format!("  - {{ customer: {party}, mca: {{ accepted: 2024-01-01T00:00:00Z }} }}\n"));
    let old = attestation("MicrosoftCustomerAgreement", TEMPLATE, "2021-05-13T00:00:00");
    stage.standin.set_attestations(&party, vec![old]);
    stage.standin.fault("GET", "directSigned", "status=500", None);
    assert_eq!(said(&stage.order(&party, &[])), is(201, ""));
}

#[test]
fn a_renewal_that_is_stopped_is_wound_down_in_a_whole_resource_too() {
    let stage = center(PLENTY, "");
    let party = unsigned(1);
    let path = format!("/v1/customers/{party}/subscriptions/s1");
    let mut subscription =
        json!({ "id": "s1", "quantity": 10, "status": "active", "autoRenewEnabled": true });
    stage.standin.set_resource(&path, subscription.clone(), Some("\"v1\""));
    subscription["autoRenewEnabled"] = json!(false);
    let answer = stage.send("PATCH", &path, &[], subscription.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn lenient_drafts_of_a_partner_whose_carts_can_not_be_read_let_no_reseller_through() {
    let stage = center_with(PLENTY, "", "policy: { drafts: notice }\n", |text| {
        text.replace("customer: [center]", "customer: [center, ledger]")
    });
    let path = format!("/v1/customers/{CUSTOMER}/carts/k1");
    let cart = json!({ "lineItems": [{ "catalogItemId": LICENCE, "partnerIdOnRecord": "5130400" }] });
    for (partner, expected) in [(PARTNER, 403), (OTHER, 503)] {
        let agent = agent_of(&stage, partner);
        let headers = [("Authorization", agent.as_str())];
        let draft = stage.send("PUT", &path, &headers, cart.to_string().as_bytes());
        assert_eq!(draft.status, 200, "{partner}: {draft:?}");
        let answer = stage.send("POST", &format!("{path}/checkout"), &headers, b"");
        assert_eq!(answer.status, expected, "{partner}: {answer:?}");
    }
}

#[test]
fn a_checkout_that_hangs_ends_with_its_deadline() {
    let stage = center(PLENTY, "");
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    stage.standin.fault("GET", "", "hang", None);
    let started = Instant::now();
    let path = format!("/v1/customers/{}/carts/k1/checkout", customer(2));
    assert_unknown(&stage.send("POST", &path, &[], b""), "hang");
    assert!(started.elapsed() < Duration::from_millis(2200), "{:?}", started.elapsed());
}

#[test]
fn a_read_that_says_there_is_a_direct_acceptance_lifts_the_block_for_other_partners_at_once() {
    let stage = crate::center::two_centers(FOR_EVER);
    let party = unsigned(1);
    let [mine, other] = [PARTNER, OTHER].map(|partner| agent_of(&stage, partner));
    for agent in [&mine, &other] {
        assert_eq!(stage.order(&party, &[("Authorization", agent)]).status, 403);
    }
    stage.standin.set_direct(&party, true);
    let path = format!("/v1/customers/{party}/directSignedMicrosoftCustomerAgreementStatus");
    assert_eq!(stage.send("GET", &path, &[("Authorization", &mine)], b"").status, 200);
    for agent in [&mine, &other] {
        assert_eq!(stage.order(&party, &[("Authorization", agent)]).status, 201);
    }
}

#[test]
fn a_learnt_acceptance_holds_no_longer_than_the_terms_it_was_learnt_by() {
    let stage = center(PLENTY, "");
    let party = unsigned(1);
    assert_eq!(attest(&stage, &party, &counting("2024-05-13T00:00:00Z"), &[]).status, 201);
    assert_eq!(stage.order(&party, &[]).status, 201);
    let path = stage.path("countersign.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let template = "998b88de-aa99-4388-a42c-1b3517d49490";
    let changed = text.replace("timeout: 3s, token", &format!("timeout: 3s, templates: [{template}], token"));
    std::fs::write(&path, changed).unwrap();
    assert_eq!(stage.reload().status, 200);
    assert_eq!(said(&stage.order(&party, &[])), is(403, "agreement_missing"));
}

#[test]
fn refused_and_then_unreachable_is_not_allowed_again() {
    let stage = center(PLENTY, "");
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    stage.standin.refuse_orders(CUSTOMER, Some(13605));
    assert_eq!(stage.order(CUSTOMER, &[]).status, 403);
    stage.standin.fault("GET", "/v1/customers/", "status=403", None);
    let orders = stage.standin.count("orders");
    for _ in 0..5 {
        let answer = stage.order(CUSTOMER, &[]);
        assert_unknown(&answer, "refused, and not to be asked");
    }
    assert_eq!(stage.standin.count("orders"), orders);
}

#[test]
fn a_subscription_sent_without_its_schedule_changes_it() {
    // What is left out of a whole resource is wiped (domain, section 3).
    let stage = center(PLENTY, "");
    let party = unsigned(1);
    let path = format!("/v1/customers/{party}/subscriptions/s1");
    let next = json!({ "product": { "productId": "P", "skuId": "S" }, "quantity": 5 });
    let subscription =
        json!({ "id": "s1", "quantity": 10, "status": "active", "scheduledNextTermInstructions": next });
    stage.standin.set_resource(&path, subscription, Some("\"v1\""));
    let body = json!({ "id": "s1", "quantity": 10, "status": "active" });
    let answer = stage.send("PATCH", &path, &[], body.to_string().as_bytes());
    assert_eq!(answer.status, 403, "{answer:?}");
}

#[test]
fn a_text_is_no_yes_in_a_read_that_passes() {
    let stage = center(PLENTY, FOR_EVER);
    let party = unsigned(1);
    assert_eq!(stage.order(&party, &[]).status, 403);
    let path = format!("/v1/customers/{party}/directSignedMicrosoftCustomerAgreementStatus");
    for told in ["\"true\"", "\"True\""] {
        let fault = crate::center::as_fault(&format!("{{\"isSigned\":{told}}}"));
        stage.send("GET", &path, &[("Standin-Fault", &fault)], b"");
        assert_eq!(stage.order(&party, &[]).status, 403, "{told}");
    }
}

#[test]
fn a_source_without_a_region_speaks_for_the_region_of_its_partner() {
    let stage = center_with(PLENTY, "", "", |text| {
        text.replace(
            &format!("tenant: {PARTNER}, kind: direct_bill"),
            &format!("tenant: {PARTNER}, region: europe, kind: direct_bill"),
        )
    });
    assert_eq!(said(&crate::center::order_of(&stage, CUSTOMER, "4847383", &[])), is(201, ""));
}

#[test]
fn a_reload_of_a_ledger_that_nobody_edited_takes_back_nothing_that_was_learnt() {
    let stage = Stage::start();
    let blocked = crate::stage::BLOCKED;
    assert_eq!(stage.order(blocked, &[]).status, 403);
    assert_eq!(attest(&stage, blocked, &counting("2024-05-13T00:00:00Z"), &[]).status, 201);
    assert_eq!(stage.order(blocked, &[]).status, 201);
    assert_eq!(stage.reload().status, 200);
    assert_eq!(said(&stage.order(blocked, &[])), is(201, ""));
}

#[test]
fn a_reseller_of_a_subscription_is_asked_for_whether_or_not_it_is_sent_back() {
    let stage = center(PLENTY, "");
    let path = format!("/v1/customers/{CUSTOMER}/subscriptions/s1");
    let subscription = json!({ "id": "s1", "quantity": 10, "status": "active", "partnerId": "5130400" });
    for (body, expected) in [
        (json!({ "id": "s1", "quantity": 20, "status": "active", "partnerId": "5130400" }), 403),
        (json!({ "quantity": 20 }), 403),
        (json!({ "quantity": 9 }), 403),
    ] {
        stage.standin.set_resource(&path, subscription.clone(), Some("\"v1\""));
        let answer = stage.send("PATCH", &path, &[], body.to_string().as_bytes());
        assert_eq!(answer.status, expected, "{body}: {answer:?}");
        assert_eq!(answer.json()["code"], 900_123, "{body}");
    }
}

#[test]
fn a_connection_that_the_source_has_closed_meanwhile_costs_no_look_up() {
    // Whether the close is noticed before the question is written is a matter of luck: it takes some tries.
    let stage = center(PLENTY, "");
    for number in 0..200 {
        assert_eq!(said(&stage.order(&customer(number), &[])), is(201, ""), "{number}");
        stage.standin.pause();
        stage.standin.resume();
    }
}

#[test]
fn nothing_is_waited_for_that_can_not_change_the_verdict() {
    let shadow = center_with(PLENTY, "", "policy: { mode: shadow }\n", |text| text);
    let sandbox = center_with(PLENTY, "", "", |text| {
        text.replace(
            &format!("tenant: {PARTNER}, kind: direct_bill"),
            &format!("tenant: {PARTNER}, labels: [sandbox], kind: direct_bill"),
        )
    });
    for (row, stage) in [("shadow", shadow), ("sandbox", sandbox)] {
        stage.standin.fault("GET", "", "hang", None);
        for (method, path, body) in [
            ("POST", crate::stage::orders(CUSTOMER), crate::stage::order()),
            ("POST", format!("/v1/customers/{CUSTOMER}/carts/k1/checkout"), String::new()),
            ("PATCH", format!("/v1/customers/{CUSTOMER}/subscriptions/s1"), "{\"quantity\":11}".to_owned()),
        ] {
            let started = Instant::now();
            let answer = stage.send(method, &path, &[], body.as_bytes());
            assert!(answer.status < 300, "{row} {path}: {answer:?}");
            assert!(started.elapsed() < Duration::from_secs(1), "{row} {path}: {:?}", started.elapsed());
        }
    }
}

#[test]
fn a_cart_of_too_many_lines_is_no_matter_of_waiting() {
    let stage = center(PLENTY, "");
    let lines = vec![json!({ "catalogItemId": LICENCE }); 301];
    let path = format!("/v1/customers/{CUSTOMER}/carts/k1");
    stage.standin.set_resource(&path, json!({ "lineItems": lines }), None);
    let answer = stage.send("POST", &format!("{path}/checkout"), &[], b"");
    assert_eq!(said(&answer), is(400, "too_many_lines"));
}
