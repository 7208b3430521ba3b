//! Facts between processes and in an operator's hands: saved and loaded, shown, asked for anew, forgotten, fetched in bulk.

use serde_json::json;

use crate::center::center;
use crate::stage::{CUSTOMER, LICENCE, PARTNER, Stage, eventually, orders};

const ADMIN: (&str, &str) = ("Countersign-Admin", "1");

fn asked(stage: &Stage) -> u64 {
    stage.standin.count("direct")
        + stage.standin.count("attestations")
        + stage.standin.count("partner_status")
}

#[test]
fn a_restart_costs_no_known_party_a_look_up() {
    let mut stage = center("", "file: facts.jsonl");
    let reseller =
        json!({ "lineItems": [{ "offerId": LICENCE, "partnerIdOnRecord": "4847383" }] }).to_string();
    assert_eq!(stage.send("POST", &orders(CUSTOMER), &[], reseller.as_bytes()).status, 201);
    // Learnt from passing traffic, of a customer that Partner Center says nothing good of.
    let unsigned = "c0a80101-6d2b-4c1e-8f10-000000000bad";
    let attested = json!({ "type": "MicrosoftCustomerAgreement", "dateAgreed": "2024-01-01T00:00:00",
        "templateId": "117a77b0-9360-443b-8795-c6dedc750cf9" })
    .to_string();
    let agreements = format!("/v1/customers/{unsigned}/agreements");
    assert_eq!(stage.send("POST", &agreements, &[], attested.as_bytes()).status, 201);
    let before = asked(&stage);
    stage.standin.fault("GET", "/v1/", "status=500", None);
    stage.restart();
    assert_eq!(stage.send("POST", &orders(CUSTOMER), &[], reseller.as_bytes()).status, 201);
    assert_eq!(stage.order(unsigned, &[]).status, 201);
    assert_eq!(asked(&stage), before);
    let decision = stage.records().into_iter().rev().find(|record| record["kind"] == "decision").unwrap();
    assert_eq!(decision["needs"][1]["source"], "upstream");
    // What is not there, or is another file, costs look-ups and nothing else.
    std::fs::write(stage.path("facts.jsonl"), "{}").unwrap();
    stage.standin.clear_faults();
    let folder = stage.path("facts.jsonl");
    stage.restart();
    std::fs::remove_file(folder).unwrap();
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
}

#[test]
fn facts_are_shown_refreshed_and_forgotten_by_hand_and_that_is_recorded() {
    let mut stage = center("", "");
    let facts = format!("/facts/mca/{CUSTOMER}");
    assert_eq!(stage.admin_request("GET", &facts, &[]).status, 404);
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    let shown = stage.admin_request("GET", &facts, &[]).json();
    let fact = &shown["facts"][0];
    for (name, value) in [
        ("party", json!("customer")),
        ("tenant", json!(CUSTOMER)),
        ("billing", json!(PARTNER)),
        ("status", json!("accepted")),
        ("source", json!("center")),
        ("freshness", json!("fresh")),
        ("doubted", json!(false)),
    ] {
        assert_eq!(fact[name], value, "{name} in {shown}");
    }
    assert!(fact["next_refresh"].is_string() && fact["age_s"].is_number(), "{shown}");
    // A write has to be meant.
    let refresh = format!("{facts}/refresh");
    assert_eq!(stage.admin_request("POST", &refresh, &[]).status, 403);
    let before = asked(&stage);
    assert_eq!(stage.admin_request("POST", &format!("{facts}/forget"), &[ADMIN]).status, 200);
    assert_eq!(stage.admin_request("GET", &facts, &[]).status, 404);
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    assert_eq!(asked(&stage), before + 2);
    assert_eq!(stage.admin_request("POST", &refresh, &[ADMIN]).status, 200);
    for (target, status) in [("/facts/mca/nobody", 400), ("/facts/mca", 404), ("/facts/mca/1/show", 404)] {
        assert_eq!(stage.admin_request("GET", target, &[]).status, status, "{target}");
    }
    let records = stage.stop();
    let done: Vec<_> = records.iter().filter(|record| record["kind"] == "admin").collect();
    assert_eq!(done.len(), 2, "{done:?}");
    assert_eq!((&done[0]["action"], &done[0]["party"]), (&json!("forget"), &json!(CUSTOMER)));
    assert_eq!(done[1]["action"], "refresh");
}

#[test]
fn what_partner_center_lists_is_known_before_anybody_asks() {
    let stage = center("", "");
    let record = |customer: &str, done: bool| {
        json!({ "customerTenantId": customer, "lastAgreementDateEpoch": 1_696_118_400,
            "partnerAttestationCompleted": done })
    };
    let customer = |number: u32| format!("c0a80101-6d2b-4c1e-8f10-00000000{number:04}");
    stage
        .standin
        .set_agreement_records((0..5).map(|number| record(&customer(number), number != 4)).collect());
    let reseller = |state: &str, mpn: &str| json!({ "id": PARTNER, "state": state, "mpnId": mpn });
    stage.standin.set_relationships(vec![
        reseller("Active", "4847383"),
        reseller("Active", "5130400"),
        reseller("Inactive", "777"),
    ]);
    stage.standin.page_size(Some(2));
    let path = stage.path("countersign.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("timeout: 3s,", "timeout: 3s, bulk_load: true, audit_poll: 10s,"))
        .unwrap();
    assert_eq!(stage.reload().status, 200);
    let told = |list: &str| {
        stage.metric(&format!("countersign_warming_parties_total{{list=\"{list}\",source=\"center\"}}"))
    };
    eventually(|| told("customers") == 4.0 && told("resellers") == 2.0);
    assert_eq!(stage.standin.count("partner_status"), 2);
    let before = asked(&stage);
    let order = json!({ "lineItems": [{ "offerId": LICENCE, "partnerIdOnRecord": "4847383" }] }).to_string();
    for number in 0..4 {
        let answer = stage.send("POST", &orders(&customer(number)), &[], order.as_bytes());
        assert_eq!(answer.status, 201, "{number}: {answer:?}");
    }
    assert_eq!(asked(&stage), before);
}
