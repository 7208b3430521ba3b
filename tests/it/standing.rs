//! Standing: Microsoft's word on the resellers of an order, asked for many at a time, and in shadow beside everything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::agreements::Agreements;
use countersign::agreements::sources::Sources;
use countersign::clock::Now;
use countersign::policy::agreement::{Answer as Status, Cloud, Failure, Key, Party, STANDING, Scope};
use countersign::policy::decision::Need;
use countersign::policy::id::{MpnId, PartnerRef};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::center::{FAULTS, PLENTY, center, center_with, customer, is, order_of, said};
use crate::http::Answer;
use crate::stage::{CUSTOMER, LICENCE, Stage, eventually, orders};
use crate::told;

const PATH: &str = "/v1/partners/validateresellers";
const ENFORCED: &str = "policy: { rules: [{ name: reseller-standing, mode: enforce }] }\n";

fn enforced() -> Stage {
    center_with(PLENTY, "missing: 5m, recheck_after: 5m", ENFORCED, |text| text)
}

fn reseller(number: usize) -> String {
    (5_200_000 + number).to_string()
}

/// An order with a line for each reseller.
fn order_of_all(stage: &Stage, resellers: &[String]) -> Answer {
    let line = |id: &String| json!({ "offerId": LICENCE, "partnerIdOnRecord": id });
    let lines: Vec<Value> = resellers.iter().map(line).collect();
    let body = json!({ "lineItems": lines }).to_string();
    stage.send("POST", &orders(CUSTOMER), &[], body.as_bytes())
}

/// Of every question, the ids in order.
fn questions(stage: &Stage) -> Vec<Vec<String>> {
    stage.standin.validated()
}

/// What the last records say of standings: reseller and status, or why there is none.
fn recorded(records: &[Value]) -> Vec<(String, String)> {
    let needs = records.iter().flat_map(|record| record["needs"].as_array().cloned().unwrap_or_default());
    let of_standing = needs.filter(|need| need["agreement"] == "standing");
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    of_standing
        .map(|need| {
            let told = if need["failure"].is_string() { &need["failure"] } else { &need["status"] };
            (text(&need["id"]), text(told))
        })
        .collect()
}

#[test]
fn an_enforced_rule_denies_a_reseller_that_is_not_valid_and_passes_one_that_is() {
    let stage = enforced();
    let (valid, invalid) = (reseller(1), reseller(2));
    stage.standin.set_standing(&invalid, false);
    assert_eq!(order_of(&stage, CUSTOMER, &valid, &[]).status, 201);
    for (locale, detail, who) in [
        ("en", "does not take 5200002 for a valid reseller", "settles it with Microsoft"),
        ("fr", "ne reconnaît pas 5200002", "règle la question"),
        ("de", "erkennt 5200002 nicht", "klärt es mit Microsoft"),
        ("es", "no reconoce a 5200002", "lo resuelve con Microsoft"),
    ] {
        let denied = order_of(&stage, CUSTOMER, &invalid, &[("X-Locale", locale)]);
        assert_eq!(said(&denied), is(403, "agreement_missing"), "{locale}: {denied:?}");
        let problem = denied.json();
        assert_eq!(problem["code"], 900_400, "{locale}");
        assert_eq!(problem["findings"][0]["rule"], "reseller-standing", "{locale}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{locale}: {problem}");
        assert!(problem["findings"][0]["who"].as_str().unwrap().contains(who), "{locale}: {problem}");
    }
    assert_eq!(questions(&stage), [[valid], [invalid]]);
}

#[test]
fn the_resellers_of_an_order_are_one_question_and_each_has_its_own_answer() {
    let stage = enforced();
    let all: Vec<String> = (0..3).map(reseller).collect();
    stage.standin.set_standing(&all[1], false);
    let denied = order_of_all(&stage, &all);
    assert_eq!(said(&denied), is(403, "agreement_missing"), "{denied:?}");
    let problem = denied.json();
    let findings: Vec<&str> =
        problem["findings"].as_array().unwrap().iter().map(|found| found["id"].as_str().unwrap()).collect();
    assert_eq!(findings, [&all[1]], "{problem}");
    assert_eq!(questions(&stage), std::slice::from_ref(&all));
    // What is known is not asked again.
    assert_eq!(order_of_all(&stage, &[all[0].clone(), all[2].clone()]).status, 201);
    assert_eq!(questions(&stage), [all]);
}

#[test]
fn many_orders_at_once_are_few_questions_and_no_reseller_is_asked_about_twice() {
    const ORDERS: usize = 120;
    let stage = enforced();
    assert_eq!(order_of(&stage, CUSTOMER, "4847383", &[]).status, 201);
    stage.standin.fault("POST", PATH, "delay=400ms", None);
    std::thread::scope(|scope| {
        for number in 0..ORDERS {
            let stage = &stage;
            scope.spawn(move || {
                let answer = order_of(stage, CUSTOMER, &reseller(number), &[]);
                assert_eq!(answer.status, 201, "{number}: {answer:?}");
            });
        }
    });
    let questions = questions(&stage);
    let sizes: Vec<usize> = questions.iter().map(Vec::len).collect();
    assert!(questions.len() <= ORDERS / 10 && sizes.iter().all(|size| *size <= 50), "{sizes:?}");
    let mut ids: Vec<String> = questions.into_iter().skip(1).flatten().collect();
    ids.sort();
    assert_eq!(ids, (0..ORDERS).map(reseller).collect::<Vec<_>>());
}

#[test]
fn what_is_not_said_is_not_known() {
    let stage = enforced();
    let bodies = [
        r#"{"validationResults":[]}"#,
        r#"{"validationResults":{}}"#,
        r#"{"validationResults":[{"partnerId":"1","isValidPartnerIdOnRecord":true}]}"#,
    ];
    let bodies = bodies.iter().map(|body| crate::center::as_fault(body));
    let faults: Vec<String> = FAULTS.iter().map(|fault| (*fault).to_owned()).chain(bodies).collect();
    for (number, fault) in faults.iter().enumerate() {
        stage.standin.fault("POST", PATH, fault, None);
        let answer = order_of(&stage, CUSTOMER, &reseller(number), &[]);
        assert_eq!(said(&answer), is(503, "agreement_unknown"), "{fault}: {answer:?}");
        stage.standin.clear_faults();
    }
    // The agreements are asked for all the while.
    assert_eq!(stage.standin.count("partner_status"), faults.len() as u64);
}

#[test]
fn a_reseller_without_an_mpn_id_is_not_asked_about() {
    let stage = enforced();
    let answer = order_of(&stage, CUSTOMER, "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0b01", &[]);
    assert_eq!(answer.reason(), "agreement_unrecorded", "{answer:?}");
    assert_eq!(stage.standin.count("validate_resellers"), 0);
}

#[test]
fn in_shadow_it_is_told_and_changes_nothing() {
    let mut stage = center(PLENTY, "");
    let invalid = reseller(1);
    stage.standin.set_standing(&invalid, false);
    assert_eq!(order_of(&stage, CUSTOMER, &invalid, &[]).status, 201);
    // It is asked behind the order: once the answer is there, the next one tells it.
    eventually(|| {
        let answer = order_of(&stage, CUSTOMER, &invalid, &[]);
        assert_eq!((answer.status, answer.header("countersign-notice")), (201, None), "{answer:?}");
        recorded(&stage.records()).contains(&(invalid.clone(), "missing".to_owned()))
    });
    assert_eq!(questions(&stage), [[invalid]]);
    for record in stage.stop().iter().filter(|record| record["needs"].is_array()) {
        let findings = record["findings"].as_array().unwrap();
        let told: Vec<(&Value, &Value)> =
            findings.iter().map(|found| (&found["rule"], &found["effect"])).collect();
        assert_eq!(told, [(&json!("reseller-standing"), &json!("shadow"))], "{record}");
    }
}

#[test]
fn in_shadow_no_order_waits_and_failures_keep_nothing_else_from_being_asked() {
    // Whoever waited for it would wait that long.
    let stage = center_with("", "deadline: 20s", "", |text| text.replace("timeout: 3s", "timeout: 20s"));
    stage.standin.fault("POST", PATH, "hang", None);
    let started = Instant::now();
    for number in 0..4 {
        assert_eq!(order_of(&stage, CUSTOMER, &reseller(number), &[]).status, 201, "{number}");
    }
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    let stage = center(PLENTY, "");
    stage.standin.fault("POST", PATH, "status=500", None);
    let mut number = 0;
    // As many different questions in a row as would keep a server from being asked.
    eventually(|| {
        number += 1;
        assert_eq!(order_of(&stage, CUSTOMER, &reseller(number), &[]).status, 201, "{number}");
        stage.standin.count("validate_resellers") >= 5
    });
    assert_eq!(order_of(&stage, &customer(9), &reseller(number + 1), &[]).status, 201);
    assert_eq!(stage.standin.count("partner_status"), number as u64 + 1);
}

#[test]
fn where_no_source_can_say_anything_a_rule_in_shadow_costs_nothing_and_one_in_force_denies() {
    let mut stage = Stage::start();
    for _ in 0..3 {
        assert_eq!(order_of(&stage, CUSTOMER, "4847383", &[]).status, 201);
        assert_eq!(stage.metric("countersign_lookup_questions_total"), 3.0);
    }
    assert_eq!(recorded(&stage.stop()), []);
    let stage = Stage::with(ENFORCED);
    let answer = order_of(&stage, CUSTOMER, "4847383", &[]);
    assert_eq!(said(&answer), is(409, "agreement_unrecorded"), "{answer:?}");
}

#[test]
fn a_ledger_that_records_it_is_asked() {
    let stage = Stage::edited(ENFORCED, |text, folder| {
        let records = "  - { reseller: \"4847383\", standing: missing }\n  \
            - { reseller: \"4847384\", mpa: { accepted: undated }, standing: { accepted: undated } }\n";
        let ledger = crate::stage::LEDGER.to_owned() + records;
        std::fs::write(folder.join("agreements.yaml"), ledger).unwrap();
        text
    });
    let denied = order_of(&stage, CUSTOMER, "4847383", &[]);
    assert_eq!((denied.status, &denied.json()["code"]), (403, &json!(900_400)), "{denied:?}");
    assert_eq!(order_of(&stage, CUSTOMER, "4847384", &[]).status, 201);
}

#[test]
fn a_need_that_decides_is_asked_whatever_a_source_may_say() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let party = Party::Reseller(PartnerRef::Mpn(MpnId::parse("1").unwrap()).into());
        let key = Key { cloud: Cloud::Commercial, agreement: STANDING, party, scope: Scope::None };
        let sources = Arc::new(Sources::default());
        for (decides, expected, asked) in
            [(false, Some(Status::failed(Failure::Unrecorded)), 0), (true, None, 1)]
        {
            let agreements = Agreements::new(10, Handle::current());
            let need = Need { key, decides };
            assert_eq!(told::at_hand(&agreements, &sources, need, Now::read()), expected, "{decides}");
            let answer = told::look_up(&agreements, &sources, need, Now::read()).await;
            assert_eq!(answer, Status::failed(Failure::Unrecorded), "{decides}");
            assert_eq!(agreements.asked(), asked, "{decides}");
        }
    });
}
