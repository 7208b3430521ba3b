//! The life of a gateway: reloads, drains, records, full disks, callers that go away.

use countersign::standin::{Issuer, IssuerAlgorithm};
use serde_json::{Value, json};

use crate::http::{Connection, PATIENCE, request};
use crate::stage::{BLOCKED, CUSTOMER, LEDGER, Stage, eventually, order, orders};

/// An order that the upstream has received and, by that fault, not answered.
fn order_in_flight(stage: &Stage, fault: &str) -> Connection {
    let mut connection = Connection::open(stage.address());
    connection.send(&stage.request(
        "POST",
        &orders(CUSTOMER),
        &[("Standin-Fault", fault)],
        order().as_bytes(),
    ));
    assert!(stage.standin.wait_for_requests(1, PATIENCE));
    connection
}

#[test]
fn audit_records_stay_within_their_bound() {
    let mut stage = Stage::start();
    let line = |n: u32| {
        let ids: Vec<String> = (0..5).map(|_| "\"4847383\"".to_owned()).collect();
        format!(
            "{{\"offerId\":\"{}:{n}\",\"additionalPartnerIdsOnRecord\":[{}]}}",
            "X".repeat(190),
            ids.join(",")
        )
    };
    let lines: Vec<String> = (0..300).map(line).collect();
    let body = format!("{{\"lineItems\":[{}]}}", lines.join(","));
    assert_eq!(stage.send("POST", &orders(CUSTOMER), &[], body.as_bytes()).status, 201);
    let records = stage.stop();
    let decision = &records[1];
    assert_eq!((&decision["truncated"], decision["lines"].as_array().unwrap().len()), (&json!(true), 50));
    let text = std::fs::read_to_string(stage.path("audit.jsonl")).unwrap();
    assert!(text.lines().skip(1).all(|line| line.len() <= 64 * 1024));
}

#[test]
fn a_purchase_runs_to_its_end_though_its_caller_has_gone() {
    let mut stage = Stage::start();
    let connection = order_in_flight(&stage, "hold");
    drop(connection);
    stage.standin.release();
    let records = stage.stop();
    let outcome = records.iter().find(|record| record["kind"] == "outcome").expect("an outcome");
    assert_eq!(outcome["status"], 201);
}

#[test]
fn draining_finishes_what_is_in_flight() {
    let mut stage = Stage::start();
    let mut connection = order_in_flight(&stage, "hold");
    std::thread::scope(|scope| {
        let standin = &stage.standin;
        let reading = scope.spawn(move || {
            standin.release();
            connection.read().status
        });
        assert_eq!(reading.join().unwrap(), 201);
    });
    assert_eq!(stage.stop().last().unwrap()["kind"], "outcome");
}

#[test]
fn a_ledger_edit_lifts_a_block_and_a_broken_one_keeps_the_last_good_one() {
    let stage = Stage::start();
    assert_eq!(stage.order(BLOCKED, &[]).status, 403);
    let good =
        LEDGER.replace("000000000002, mca: missing", "000000000002, mca: { accepted: 2026-01-01T00:00:00Z }");
    std::fs::write(stage.path("agreements.yaml"), good).unwrap();
    eventually(|| stage.order(BLOCKED, &[]).status == 201);
    std::fs::write(stage.path("agreements.yaml"), "agreements: [ { customer: nobody, mca: missing } ]")
        .unwrap();
    eventually(|| stage.metric("countersign_ledger_last_reload_ok{source=\"ledger\"}") == 0.0);
    assert_eq!(stage.order(BLOCKED, &[]).status, 201);
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
}

#[test]
fn reloads_are_all_or_nothing() {
    let stage = Stage::start();
    stage.configure("policy: { rules: [{ name: customer-mca, mode: shadow }, { name: customer-mca-renewed, mode: shadow }] }\n");
    let answer = stage.reload();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(stage.order(BLOCKED, &[]).status, 201);
    assert_eq!(stage.metric("countersign_findings_total{rule=\"customer-mca\",effect=\"shadow\"}"), 0.0);
    stage.configure("polcy: {}\n");
    let answer = stage.reload();
    let text = String::from_utf8(answer.body.clone()).unwrap();
    assert_eq!(answer.status, 422, "{text}");
    assert!(text.contains("unknown key `polcy`") && text.contains("did you mean `policy`?"), "{text}");
    assert_eq!(stage.metric("countersign_config_last_reload_ok"), 0.0);
    assert_eq!(stage.order(BLOCKED, &[]).status, 201, "the old configuration stays in force");
    stage.configure("");
    assert_eq!(stage.reload().status, 200);
    assert_eq!(stage.order(BLOCKED, &[]).status, 403);
    assert_eq!(stage.metric("countersign_config_last_reload_ok"), 1.0);
}

#[test]
fn a_revoked_key_is_refused_after_a_reload_though_its_tokens_were_cached() {
    let stage = Stage::start();
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    // A set without any key is half a rotation: the last good one stays.
    std::fs::write(stage.path("keys.json"), "{\"keys\":[]}").unwrap();
    let refused = stage.reload();
    assert_eq!(refused.status, 422);
    assert!(String::from_utf8_lossy(&refused.body).contains("now has none"));
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    let other = Issuer::fresh(IssuerAlgorithm::Es256, "k1");
    std::fs::write(stage.path("keys.json"), other.jwks()).unwrap();
    assert_eq!(stage.reload().status, 200);
    assert_eq!(stage.order(CUSTOMER, &[]).reason(), "token_invalid");
}

#[test]
fn an_abandoned_order_does_not_keep_the_drain_waiting() {
    let mut stage = Stage::start();
    let connection = order_in_flight(&stage, "hang");
    drop(connection);
    let records = stage.stop();
    let outcome = records.iter().find(|record| record["kind"] == "outcome").expect("an outcome");
    assert_eq!(outcome["failure"], "upstream_timeout");
}

#[test]
fn the_orders_of_a_caller_that_has_gone_are_recorded() {
    let mut stage = Stage::start();
    let connection = order_in_flight(&stage, "hold");
    drop(connection);
    // The gateway has seen the caller go once the next request on the same worker is answered; then the answer comes.
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    stage.standin.release();
    let records = stage.stop();
    let outcomes: Vec<&Value> = records.iter().filter(|record| record["kind"] == "outcome").collect();
    assert_eq!(outcomes.len(), 2);
    for outcome in outcomes {
        assert_eq!(
            (&outcome["status"], outcome["orders"].as_array().map(Vec::len)),
            (&json!(201), Some(1)),
            "{outcome}"
        );
    }
}

#[test]
fn a_large_ledger_is_read_and_a_pipe_is_not() {
    let stage = Stage::start();
    let mut ledger = LEDGER.to_owned();
    for number in 0..40_000 {
        ledger += &format!(
            "  - {{ customer: c0a80101-6d2b-4c1e-8f11-{number:012}, mca: {{ accepted: 2024-03-01T00:00:00Z }} }}\n"
        );
    }
    std::fs::write(stage.path("agreements.yaml"), ledger).unwrap();
    let answer = stage.reload();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(stage.order("c0a80101-6d2b-4c1e-8f11-000000039999", &[]).status, 201);
    std::fs::remove_file(stage.path("agreements.yaml")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(stage.path("agreements.yaml")).status().unwrap();
    assert!(made.success());
    eventually(|| stage.metric("countersign_ledger_last_reload_ok{source=\"ledger\"}") == 0.0);
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
}

#[test]
fn a_full_disk_stops_purchases_and_nothing_else() {
    let stage = Stage::with("# the audit file is a device that is always full\n");
    let full = std::path::Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let audit = stage.path("audit.jsonl");
    std::fs::remove_file(&audit).unwrap();
    std::os::unix::fs::symlink(full, &audit).unwrap();
    // A fresh gateway on the same files opens the device.
    let loaded = countersign::config::load(&stage.path("countersign.yaml"), jiff::Timestamp::now()).unwrap();
    let loader = countersign::app::file_loader(stage.path("countersign.yaml"));
    let app = countersign::app::App::start(loaded.settings.unwrap(), loader, false).unwrap();
    let send = |method: &str, target: &str, body: &str| {
        let mut connection = Connection::open(app.address);
        connection.send(&stage.request(method, target, &[], body.as_bytes()));
        connection.read()
    };
    let answer = send("POST", &orders(CUSTOMER), &order());
    assert_eq!((answer.status, answer.reason().as_str()), (503, "audit_unavailable"));
    let subscription = format!("/v1/customers/{CUSTOMER}/subscriptions/3f1d6a0e-91b5-4d7c-8a55-2f4b7c0d1e11");
    assert_eq!(send("PATCH", &subscription, "{\"status\":\"suspended\"}").status, 200);
    assert_eq!(send("GET", "/v1/customers", "").status, 200);
    assert!(send("POST", &format!("/v1/customers/{CUSTOMER}/agreements"), "{}").status < 500);
    assert_eq!(stage.standin.mutation_count(), 2);
    app.stop();
}

#[test]
fn the_admin_listener_answers_operators_only() {
    let stage = Stage::start();
    assert_eq!(stage.admin_request("GET", "/livez", &[]).status, 200);
    assert_eq!(stage.admin_request("GET", "/readyz", &[]).status, 200);
    assert_eq!(stage.admin_request("GET", "/nothing", &[]).status, 404);
    assert_eq!(stage.admin_request("POST", "/reload", &[]).status, 403);
    assert_eq!(stage.admin_request("GET", "/reload", &[]).status, 405);
    assert_eq!(stage.admin_request("GET", "/livez", &[("Origin", "https://evil.example")]).status, 403);
    assert_eq!(stage.admin_request("GET", "/livez", &[("Sec-Fetch-Site", "cross-site")]).status, 403);
    let mut connection = Connection::open(stage.admin());
    connection.send(&request("GET", "/metrics", &[("Host", "rebound.example")], b""));
    assert_eq!(connection.read().status, 421);
    let metrics = String::from_utf8(stage.admin_request("GET", "/metrics", &[]).body).unwrap();
    for name in ["countersign_build_info", "process_resident_memory_bytes", "process_cpu_seconds_total"] {
        assert!(metrics.contains(name), "{name}");
    }
}

#[test]
fn a_flood_of_refusals_is_summarised() {
    let mut stage = Stage::start();
    for _ in 0..100 {
        assert_eq!(stage.order(CUSTOMER, &[("Authorization", "Bearer a.b.c")]).status, 401);
    }
    let records = stage.stop();
    let decisions = records.iter().filter(|record| record["kind"] == "decision").count() as u64;
    let summed: u64 = records.iter().filter_map(|record| record["refused"].as_u64()).sum();
    assert_eq!(decisions + summed, 100, "every refusal is counted once");
}

#[test]
fn an_old_connection_ends_with_an_answer_that_says_so() {
    let stage = Stage::with("limits: { connection_age: 1s }\n");
    let request = stage.request("POST", &orders(CUSTOMER), &[], order().as_bytes());
    let mut connection = Connection::open(stage.address());
    eventually(|| {
        connection.send(&request);
        let answer = connection.read();
        assert_eq!(answer.status, 201);
        answer.header("connection") == Some("close")
    });
}

#[test]
fn lanes_number_their_records_without_gaps() {
    let mut stage = Stage::start();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
                }
            });
        }
    });
    let records = stage.stop();
    let mut next = std::collections::HashMap::new();
    for record in &records {
        let expected = next.entry(record["lane"].as_u64().unwrap()).or_insert(0);
        assert_eq!(record["seq"].as_u64().unwrap(), *expected, "{record}");
        *expected += 1;
    }
    assert_eq!(records.iter().filter(|record| record["kind"] == "decision").count(), 100);
    assert_eq!(records.iter().filter(|record| record["kind"] == "outcome").count(), 100);
}

#[test]
fn a_reload_is_held_against_what_runs() {
    let stage = Stage::with("limits: { idle_timeout: 3s }\n");
    let reload = || {
        let answer = stage.reload();
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    stage.configure("limits: { idle_timeout: 60s }\n");
    for _ in 0..2 {
        let (status, report) = reload();
        assert_eq!(status, 200, "{report}");
        assert!(report.contains("needs a restart: listen"), "{report}");
    }
    // It waits for answers only as long as it did when it was started.
    let path = stage.path("countersign.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("response_timeout: 2s", "response_timeout: 20s")).unwrap();
    let (status, report) = reload();
    assert_eq!(status, 422, "{report}");
    assert!(report.contains("the running `limits.idle_timeout`"), "{report}");
    std::fs::write(&path, text.replace("connect_timeout: 500ms", "connect_timeout: 1s")).unwrap();
    let (status, report) = reload();
    assert_eq!(status, 422, "{report}");
    assert!(
        report.contains("`upstream.connect_timeout` plus `upstream.response_timeout`, which is 3s"),
        "{report}"
    );
    stage.configure("limits: { idle_timeout: 3s }\n");
    let (status, report) = reload();
    assert_eq!(status, 200);
    assert!(!report.contains("needs a restart"), "what was started is asked for again: {report}");
}
