//! Resilience: what is odd about one thing, one caller or one file holds up nobody else, and lets nobody past.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::center::{
    OTHER, PLENTY, agent_of, as_fault, asked, assert_unknown, center, center_with, counting, customer, is,
    said, unsigned,
};
use crate::stage::{BLOCKED, CUSTOMER, LEDGER, LICENCE, PARTNER, Stage};

#[test]
fn one_body_takes_no_worker_long() {
    let stage = center(PLENTY, "");
    let path = format!("/v1/customers/{CUSTOMER}/subscriptions/s1");
    let there = json!({ "id": "s1", "quantity": 10, "links": { "self": { "uri": "/x" } } });
    stage.standin.set_resource(&path, there, Some("\"v1\""));
    let many: String = (0..40_000).map(|number| format!(",\"{number:05x}\":\"\"")).collect();
    let body = format!("{{\"quantity\":9,\"links\":{{\"self\":{{\"uri\":\"/x\"}}{many}}}}}");
    let started = Instant::now();
    assert_eq!(stage.send("PATCH", &path, &[], body.as_bytes()).status, 200);
    // Compared name by name it would be minutes.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn one_party_that_can_not_be_asked_about_holds_up_no_other() {
    let stage = center(PLENTY, "");
    let odd = unsigned(1);
    stage.standin.fault("GET", &format!("/v1/customers/{odd}/"), "status=500", None);
    for number in 0..20 {
        for _ in 0..5 {
            assert_unknown(&stage.order(&odd, &[]), "status=500");
        }
        assert_eq!(said(&stage.order(&customer(number), &[])), is(201, ""), "{number}");
    }
}

#[test]
fn one_cart_that_can_not_be_read_stops_no_other_checkout() {
    let stage = center(PLENTY, "");
    let cart = |name: &str| format!("/v1/customers/{CUSTOMER}/carts/{name}");
    let line = json!({ "catalogItemId": LICENCE, "partnerIdOnRecord": "4847383" });
    stage.standin.set_resource(&cart("good"), json!({ "lineItems": [line] }), None);
    stage.standin.fault("GET", &cart("odd"), "status=500", None);
    for _ in 0..20 {
        assert_unknown(&stage.send("POST", &format!("{}/checkout", cart("odd")), &[], b""), "status=500");
        assert_eq!(stage.send("POST", &format!("{}/checkout", cart("good")), &[], b"").status, 201);
    }
}

#[test]
fn a_server_that_is_left_alone_lets_nobody_pass_where_what_is_unknown_is() {
    let allow =
        "[{ name: customer-mca, on_unknown: allow }, { name: customer-mca-renewed, on_unknown: allow }]";
    let stage = center_with(PLENTY, "", &format!("policy: {{ rules: {allow} }}\n"), |text| text);
    let odd: Vec<String> = (1..9).map(unsigned).collect();
    for party in &odd {
        stage.standin.fault("GET", &format!("/v1/customers/{party}/"), "status=500", None);
        stage.order(party, &[]);
    }
    let open = "countersign_source_left_alone{source=\"center\"}";
    assert_eq!(stage.metric(open), 1.0, "many different parties could not be asked about");
    // The source would have said of this one that it is missing: it was not asked, which is our own choice.
    assert_unknown(&stage.order(&unsigned(99), &[]), "left alone");
}

#[test]
fn an_old_attestation_revives_nothing_that_is_in_doubt_or_was_taken_back() {
    let stage = center(PLENTY, "");
    let path = format!("/v1/customers/{CUSTOMER}/agreements");
    let attested = counting("2019-05-13T00:00:00Z").to_string();
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    stage.standin.set_direct(CUSTOMER, false);
    stage.standin.set_attestations(CUSTOMER, Vec::new());
    stage.standin.refuse_orders(CUSTOMER, Some(13605));
    assert_eq!(stage.order(CUSTOMER, &[]).status, 403);
    stage.standin.refuse_orders(CUSTOMER, None);
    assert_eq!(stage.send("POST", &path, &[], attested.as_bytes()).status, 201);
    assert_eq!(said(&stage.order(CUSTOMER, &[])), is(403, "agreement_too_old"));

    let stage = Stage::start();
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    let taken_back = LEDGER.replace("mca: { accepted: 2024-03-01T00:00:00Z }", "mca: missing");
    std::fs::write(stage.path("agreements.yaml"), taken_back).unwrap();
    assert_eq!(stage.reload().status, 200);
    assert_eq!(stage.send("POST", &path, &[], attested.as_bytes()).status, 201);
    assert_eq!(stage.order(CUSTOMER, &[]).status, 403, "what was accepted since was taken back");
}

#[test]
fn names_that_nobody_has_drive_out_nothing_that_was_learnt() {
    let stage = Stage::edited("", |text, _| {
        text.replace("customer: [ledger]\n", "customer: [ledger]\n  cache: { entries: 50 }\n")
    });
    let party = customer(1);
    let path = format!("/v1/customers/{party}/agreements");
    let attested = counting("2024-05-13T00:00:00Z").to_string();
    assert_eq!(stage.send("POST", &path, &[], attested.as_bytes()).status, 201);
    for number in 1000..1300 {
        assert_eq!(said(&stage.order(&customer(number), &[])), is(409, "agreement_unrecorded"));
    }
    assert_eq!(said(&stage.order(&party, &[])), is(201, ""));
    // Nor does a ledger that says nothing of it, however often it is read.
    assert_eq!(stage.reload().status, 200);
    assert_eq!(said(&stage.order(&party, &[])), is(201, ""));
}

#[test]
fn a_bad_line_costs_the_saved_facts_nothing_and_another_file_is_left_alone() {
    let mut stage = center(PLENTY, "file: facts.jsonl");
    for number in 0..3 {
        assert_eq!(stage.order(&customer(number), &[]).status, 201);
    }
    stage.stop();
    let file = stage.path("facts.jsonl");
    let mut text = std::fs::read(&file).unwrap();
    text.extend(b"\xff\xfe\n{\"cut");
    std::fs::write(&file, text).unwrap();
    stage.begin();
    let before = asked(&stage);
    for number in 0..3 {
        assert_eq!(stage.order(&customer(number), &[]).status, 201);
    }
    assert_eq!(asked(&stage), before);
    // What came to its place meanwhile is somebody else's.
    std::fs::write(&file, "precious").unwrap();
    stage.stop();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn a_fact_that_a_clock_has_dated_ahead_is_not_loaded() {
    for (row, observed_at, accepted_at) in [
        ("ahead", "2099-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ("accepted in the future", "2026-01-01T00:00:00Z", "2099-01-01T00:00:00Z"),
    ] {
        let stage = Stage::edited("", |text, folder| {
            let line = json!({ "cloud": "commercial", "agreement": "mca", "party": "customer",
                "tenant": BLOCKED, "billing": PARTNER, "accepted_at": accepted_at, "undated": false,
                "observed_at": observed_at, "asked_at": jiff::Timestamp::now().to_string(),
                "source": "upstream", "epoch": 0 });
            let head = json!({ "form": "countersign-facts-1", "saved_at": "x" });
            std::fs::write(folder.join("facts.jsonl"), format!("{head}\n{line}\n")).unwrap();
            text.replace("customer: [ledger]\n", "customer: [ledger]\n  cache: { file: facts.jsonl }\n")
        });
        assert_eq!(stage.order(BLOCKED, &[]).status, 403, "{row}");
    }
}

#[test]
fn a_caller_that_asks_too_much_keeps_no_answer_from_another() {
    let stage = center_with(", requests_per_minute: 60, caller_share: 20", "missing: 1h", "", |text| {
        text.replace(
            "upstream: { reads: center,",
            &format!("upstream: {{ reads: center, billing_partner: {PARTNER},"),
        )
    });
    let (greedy, party) = (agent_of(&stage, OTHER), unsigned(1));
    assert_eq!(stage.order(&party, &[]).status, 403);
    // Spent to the end, on anybody.
    let spent =
        |number: u32| stage.order(&unsigned(1000 + number), &[("Authorization", &greedy)]).status == 503;
    assert!((0..60).any(spent));
    let started = Instant::now();
    stage.standin.set_direct(&party, true);
    crate::stage::eventually(|| {
        stage.order(&party, &[("Authorization", &greedy)]);
        stage.order(&party, &[]).status == 201
    });
    assert!(started.elapsed() < Duration::from_secs(8), "within `recheck_after`: {:?}", started.elapsed());
}

#[test]
fn a_page_that_says_that_nothing_is_there_is_nobody_s_answer() {
    let stage = center(PLENTY, "");
    stage.standin.fault("GET", "/v1/compliance", "status=404", None);
    let answer = crate::center::order_of(&stage, CUSTOMER, "4847383", &[]);
    assert_unknown(&answer, "status=404");
    stage.standin.clear_faults();
    stage.standin.fault("GET", "/v1/compliance", &as_fault("[]"), None);
    assert_unknown(&crate::center::order_of(&stage, CUSTOMER, "4847384", &[]), "a list");
}
