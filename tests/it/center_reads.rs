//! Carts, transfers and subscriptions that are read before they are judged.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::center::{
    BROKEN, OTHER, PLENTY, agent_of, as_fault, asked, assert_unknown, center, center_with, is, said, unsigned,
};
use crate::http::Answer;
use crate::stage::{CUSTOMER, LICENCE, Stage, eventually};

const SIGNED: &str = "4847383";
const UNSIGNED: &str = "5130400";
const ADD_ON: &str = "CFQ7TTC0LHT4:0001:CFQ7TTC0J203";

fn cart_path(customer: &str) -> String {
    format!("/v1/customers/{customer}/carts/k1")
}

fn checkout(stage: &Stage, customer: &str, headers: &[(&str, &str)]) -> Answer {
    stage.send("POST", &format!("{}/checkout", cart_path(customer)), headers, b"")
}

fn participants(reseller: &str) -> Value {
    json!([{ "key": "transaction_reseller", "value": reseller }])
}

fn cart(lines: Value) -> Value {
    json!({ "id": "k1", "lineItems": lines })
}

/// A cart of two lines, the second of which a reseller sells.
fn cart_of(reseller: &str) -> Value {
    cart(json!([
        { "catalogItemId": LICENCE, "quantity": 1 },
        { "catalogItemId": LICENCE, "quantity": 1, "participants": participants(reseller) },
    ]))
}

#[test]
fn a_cart_is_judged_by_what_it_holds() {
    let stage = center(PLENTY, "");
    let add_on = |member: Value| {
        let mut add_on = json!({ "catalogItemId": ADD_ON, "quantity": 1 });
        add_on.as_object_mut().unwrap().extend(member.as_object().unwrap().clone());
        cart(json!([{ "catalogItemId": LICENCE, "quantity": 1, "addonItems": [add_on] }]))
    };
    for (row, resource, lines) in [
        ("signed", cart_of(SIGNED), None),
        ("unsigned", cart_of(UNSIGNED), Some(json!(["/lineItems/1"]))),
        (
            "an add-on's",
            add_on(json!({ "participants": participants(UNSIGNED) })),
            Some(json!(["/lineItems/0/addonItems/0"])),
        ),
        (
            "an add-on's by record",
            add_on(json!({ "partnerIdOnRecord": UNSIGNED })),
            Some(json!(["/lineItems/0/addonItems/0"])),
        ),
        (
            "in other letters",
            json!({ "LineItems": [{ "CatalogItemId": LICENCE, "Participants": [{ "Key": "x", "Value": UNSIGNED }] }] }),
            Some(json!(["/LineItems/0"])),
        ),
        (
            "as a number",
            cart(json!([{ "catalogItemId": LICENCE, "partnerIdOnRecord": 5_130_400 }])),
            Some(json!(["/lineItems/0"])),
        ),
        (
            "on two lines",
            cart(json!([
                { "catalogItemId": LICENCE, "partnerIdOnRecord": UNSIGNED },
                { "catalogItemId": LICENCE, "participants": participants(SIGNED) },
                { "catalogItemId": LICENCE, "additionalPartnerIdsOnRecord": [SIGNED, UNSIGNED] },
            ])),
            Some(json!(["/lineItems/0", "/lineItems/2"])),
        ),
    ] {
        stage.standin.set_resource(&cart_path(CUSTOMER), resource, None);
        let answer = checkout(&stage, CUSTOMER, &[]);
        let Some(lines) = lines else {
            assert_eq!(answer.status, 201, "{row}: {answer:?}");
            continue;
        };
        assert_eq!(said(&answer), is(403, "agreement_missing"), "{row}: {answer:?}");
        let problem = answer.json();
        assert_eq!((&problem["code"], &problem["findings"][0]["lines"]), (&json!(900_123), &lines), "{row}");
        assert_eq!(problem["findings"][0]["id"], UNSIGNED, "{row}");
    }
    // What is recorded is what was bought.
    let records = stage.records();
    let decision = records.iter().rfind(|record| record["kind"] == "decision").unwrap();
    assert_eq!(decision["operation"], "cart.checkout");
    assert_eq!(decision["lines"].as_array().unwrap().len(), 3);
    assert_eq!(stage.metric("countersign_resources_read_total{outcome=\"ok\",resource=\"cart\"}"), 7.0);
}

#[test]
fn a_cart_that_changes_through_another_door_is_judged_as_it_is_then() {
    let stage = center(PLENTY, "");
    for (reseller, status) in [(SIGNED, 201), (UNSIGNED, 403), (SIGNED, 201), (UNSIGNED, 403)] {
        stage.standin.set_resource(&cart_path(CUSTOMER), cart_of(reseller), None);
        assert_eq!(checkout(&stage, CUSTOMER, &[]).status, status, "{reseller}");
    }
    assert_eq!(stage.standin.count("cart"), 4);
}

/// Carts that say nothing of their checkout, as faults of the read.
fn unreadable() -> Vec<String> {
    let mut rows: Vec<String> =
        [&BROKEN[..], &["notmodified", "status=302"]].concat().into_iter().map(str::to_owned).collect();
    rows.extend(
        [
            json!({}),
            json!([]),
            json!(null),
            json!({ "lineItems": [] }),
            json!({ "lineItems": null }),
            json!({ "lineItems": {} }),
            json!({ "lineItems": ["x"] }),
            json!({ "items": [{ "catalogItemId": LICENCE }] }),
            json!({ "lineItems": [{ "catalogItemId": LICENCE }], "customerId": "c0a80101-6d2b-4c1e-8f10-000000000009" }),
            json!({ "lineItems": [{ "catalogItemId": LICENCE }], "ReferenceCustomerId": "c" }),
            json!({ "lineItems": [{ "catalogItemId": LICENCE }], "customerTenantId": 1 }),
            json!({ "lineItems": [{ "catalogItemId": LICENCE, "partnerIdOnRecord": "seller" }] }),
            json!({ "lineItems": [{ "catalogItemId": LICENCE, "participants": [{ "key": "x", "value": [SIGNED] }] }] }),
            json!({ "lineItems": [{ "catalogItemId": [LICENCE] }] }),
        ]
        .map(|cart| as_fault(&cart.to_string())),
    );
    let twice = format!("{{\"lineItems\":[{{\"catalogItemId\":\"{LICENCE}\"}}],\"LineItems\":[]}}");
    rows.push(as_fault(&twice));
    rows
}

/// Ends a row of failures, after which nothing would be read.
fn read_well(stage: &Stage) {
    stage.standin.clear_faults();
    stage.standin.set_resource(&cart_path(CUSTOMER), cart_of(SIGNED), None);
    eventually(|| checkout(stage, CUSTOMER, &[]).status == 201);
}

#[test]
fn a_cart_that_can_not_be_read_is_not_known_to_need_nothing() {
    let stage = center(PLENTY, "");
    read_well(&stage);
    for fault in unreadable() {
        stage.standin.fault("GET", "/carts/", &fault, None);
        let orders = stage.standin.mutation_count();
        let answer = checkout(&stage, CUSTOMER, &[]);
        assert_unknown(&answer, &fault);
        assert_eq!(answer.json()["findings"][0]["rule"], "reseller-mpa", "{fault}");
        let records = stage.records();
        let record = records.iter().rfind(|record| record["kind"] == "decision").unwrap();
        assert_eq!(
            (&record["unread"], &record["unread_because"]),
            (&json!("cart"), &json!("source")),
            "{fault}"
        );
        assert_eq!(stage.standin.mutation_count(), orders, "{fault}");
        // That the customer has accepted nothing is known all the same.
        let denied = checkout(&stage, &unsigned(1), &[]);
        assert_eq!(said(&denied), is(403, "agreement_missing"), "{fault}: {denied:?}");
        assert_eq!(denied.json()["code"], 13605, "{fault}");
        read_well(&stage);
    }
}

#[test]
fn a_cart_that_can_not_be_read_passes_where_the_operator_lets_what_is_unknown_pass() {
    let rule = "policy: { rules: [{ name: reseller-mpa, on_unknown: allow }] }\n";
    let stage = center_with(PLENTY, "deadline: 1s", rule, |text| text);
    read_well(&stage);
    for fault in unreadable() {
        stage.standin.fault("GET", "/carts/", &fault, None);
        assert_eq!(checkout(&stage, CUSTOMER, &[]).status, 201, "{fault}");
        assert_eq!(checkout(&stage, &unsigned(1), &[]).status, 403, "{fault}");
        read_well(&stage);
    }
    // Not where the gateway itself gave up waiting.
    stage.standin.fault("GET", "/carts/", "hang", None);
    let started = Instant::now();
    assert_unknown(&checkout(&stage, CUSTOMER, &[]), "hang");
    assert!(started.elapsed() < Duration::from_millis(1300), "{:?}", started.elapsed());
}

#[test]
fn who_can_not_buy_causes_no_reading() {
    let stage = center(PLENTY, "");
    let helpdesk = format!("Bearer {}", stage.token(crate::stage::PARTNER, &["HelpdeskAgent"]));
    let denied = checkout(&stage, CUSTOMER, &[("Authorization", &helpdesk)]);
    assert_eq!(said(&denied), is(403, "role_missing"));
    let body = json!({ "quantity": 11 }).to_string();
    let path = format!("/v1/customers/{CUSTOMER}/subscriptions/s1");
    let denied = stage.send("PATCH", &path, &[("Authorization", &helpdesk)], body.as_bytes());
    assert_eq!(said(&denied), is(403, "role_missing"));
    let denied = checkout(&stage, CUSTOMER, &[("Authorization", "Bearer x")]);
    assert_eq!(denied.status, 401);
    assert_eq!((stage.standin.count("cart"), stage.standin.count("subscription")), (0, 0));
    assert_eq!(stage.standin.count("token"), 0);
}

#[test]
fn what_belongs_to_another_billing_partner_is_not_read() {
    let stage = center(PLENTY, "");
    let other = agent_of(&stage, OTHER);
    let denied = checkout(&stage, CUSTOMER, &[("Authorization", &other)]);
    assert_eq!(said(&denied), is(409, "agreement_unrecorded"), "{denied:?}");
    let path = format!("/v1/customers/{CUSTOMER}/subscriptions/s1");
    let body = json!({ "quantity": 9, "billingCycle": "annual" }).to_string();
    let denied = stage.send("PATCH", &path, &[("Authorization", &other)], body.as_bytes());
    assert_eq!(said(&denied), is(409, "agreement_unrecorded"), "{denied:?}");
    assert_eq!((stage.standin.count("cart"), stage.standin.count("subscription")), (0, 0));
    assert_eq!(asked(&stage), (0, 0));
}

#[test]
fn a_cart_is_read_as_the_gateway_and_never_as_the_caller() {
    let stage = center(PLENTY, "");
    stage.standin.require_token(true);
    stage.standin.recorded();
    assert_eq!(checkout(&stage, CUSTOMER, &[]).status, 201);
    let recorded = stage.standin.recorded();
    let read = recorded.iter().find(|one| one.method == "GET" && one.target.contains("/carts/")).unwrap();
    let authorization: Vec<_> = read.headers.iter().filter(|(name, _)| name == "authorization").collect();
    assert_eq!(authorization.len(), 1);
    let agent = stage.agent();
    assert_ne!(authorization[0].1, agent.as_bytes());
    assert!(
        recorded
            .iter()
            .filter(|one| one.method == "GET")
            .all(|one| { one.headers.iter().all(|(_, value)| value != agent.as_bytes()) })
    );
}

#[test]
fn a_transfer_is_read_before_it_is_accepted() {
    let stage = center(PLENTY, "");
    let path = format!("/v1/customers/{CUSTOMER}/transfers/t1");
    for (reseller, status) in [(SIGNED, 200), (UNSIGNED, 403)] {
        let lines = json!([{ "subscriptionId": "s", "partnerIdOnRecord": reseller }]);
        stage.standin.set_resource(&path, json!({ "id": "t1", "lineItems": lines }), None);
        let answer = stage.send("POST", &format!("{path}/accept"), &[], b"");
        assert_eq!(answer.status, status, "{reseller}: {answer:?}");
    }
    assert_eq!(stage.standin.count("transfer"), 2);
    stage.standin.fault("GET", "/transfers/", "status=404", None);
    assert_unknown(&stage.send("POST", &format!("{path}/accept"), &[], b""), "404");
}

#[test]
fn a_checkout_is_read_however_its_path_is_spelled() {
    let stage = center(PLENTY, "");
    let cart = json!({ "lineItems": [{ "catalogItemId": LICENCE, "partnerIdOnRecord": "5130400" }] });
    stage.standin.set_resource(&format!("/v1/customers/{CUSTOMER}/carts/k1"), cart, None);
    for path in [
        format!("/v1/customers/{CUSTOMER}/carts/k1/checkout/"),
        format!("/V1/CUSTOMERS/{}/CARTS/K1/CHECKOUT", CUSTOMER.to_ascii_uppercase()),
        format!("/v1/customers/{CUSTOMER}/carts/k1/check%6fut"),
        format!("/v1/customers/{CUSTOMER}/carts/k1/checkout?cart=k2"),
    ] {
        let answer = stage.send("POST", &path, &[], b"");
        assert!(matches!(answer.status, 400 | 403 | 503), "{path}: {answer:?}");
    }
    for body in
        [json!({}), json!({ "lineItems": [] }), json!({ "lineItems": [{ "catalogItemId": LICENCE }] })]
    {
        let path = format!("/v1/customers/{CUSTOMER}/carts/k1/checkout");
        let answer = stage.send("POST", &path, &[], body.to_string().as_bytes());
        assert_eq!(answer.status, 403, "{body}: {answer:?}");
        assert_eq!(answer.json()["code"], 900_123);
    }
}

#[test]
fn who_can_not_be_told_is_told_so_in_the_callers_language() {
    let stage = center(PLENTY, "");
    stage.standin.fault("GET", "/carts/", "status=404", None);
    for (locale, text) in [
        ("en", "What the purchase is made of could not be read"),
        ("fr-FR", "Le contenu de l'achat n'a pas pu être lu"),
    ] {
        let answer = checkout(&stage, CUSTOMER, &[("X-Locale", locale)]);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(text), "{locale}: {detail}");
        assert_eq!(answer.json()["findings"][0]["party"], Value::Null, "it is not known who");
    }
}
