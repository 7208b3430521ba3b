//! The gateway over real sockets: what is forwarded, what is not, and what both sides see of it.

use std::time::Duration;

use countersign::standin::{Issuer, IssuerAlgorithm};
use serde_json::{Value, json};

use crate::http::{Connection, PATIENCE, request};
use crate::stage::{BLOCKED, CUSTOMER, LEDGER, LICENCE, PARTNER, Stage, UNSIGNED, order, orders};

fn kinds(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["kind"].as_str().unwrap()).collect()
}

#[test]
fn an_allowed_order_is_forwarded_as_the_very_bytes_that_were_judged() {
    let mut stage = Stage::start();
    let body = format!(
        "{{ \"lineItems\" : [ {{\"offerId\":\"{LICENCE}\", \"quantity\":1e0,\"note\":\"\\u00e9\"}} ] }}\n"
    );
    let answer = stage.send(
        "POST",
        &orders(CUSTOMER),
        &[
            ("X-Partner-Tenant", "forged"),
            ("Countersign_Roles", "global_admin"),
            ("Connection", "keep-alive, X-Mine"),
            ("X-Mine", "1"),
            ("X-Forwarded-For", "203.0.113.9"),
            ("MS-RequestId", "4fa6dad6-a89f-4875-8247-8294a10ae1cf"),
            ("If-Match", "\"e\""),
        ],
        body.as_bytes(),
    );
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = answer.header("countersign-decision").unwrap().to_owned();
    assert_eq!(answer.header("ms-requestid"), Some("4fa6dad6-a89f-4875-8247-8294a10ae1cf"));
    let recorded = stage.standin.recorded();
    assert_eq!(recorded.len(), 1);
    let seen = &recorded[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", orders(CUSTOMER).as_str()));
    assert_eq!(seen.body, body.as_bytes());
    let all = |name: &str| {
        let values = seen.headers.iter().filter(|(known, _)| known == name);
        values.map(|(_, value)| String::from_utf8(value.clone()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(all("countersign-partner"), [PARTNER]);
    assert_eq!(all("countersign-roles"), ["admin_agent"]);
    assert_eq!(all("countersign-decision"), std::slice::from_ref(&id));
    assert_eq!(all("host"), [stage.standin.address().to_string()]);
    assert_eq!(all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(all("if-match"), ["\"e\""]);
    assert_eq!(all("content-length"), [body.len().to_string()]);
    assert_eq!(all("traceparent").len(), 1);
    for name in ["x-partner-tenant", "countersign_roles", "x-mine", "connection", "transfer-encoding"] {
        assert_eq!(all(name), Vec::<String>::new(), "{name}");
    }
    let order_id = answer.json()["id"].as_str().unwrap().to_owned();
    let records = stage.stop();
    assert_eq!(kinds(&records), ["revision", "decision", "outcome"]);
    assert_eq!(records[1]["id"], json!(id));
    assert_eq!(records[1]["verdict"], "allow");
    assert_eq!(records[1]["operation"], "order.create");
    assert_eq!(records[1]["lines"], json!([{ "at": "/lineItems/0", "products": [LICENCE] }]));
    assert_eq!(records[2]["id"], json!(id));
    assert_eq!((&records[2]["status"], &records[2]["orders"]), (&json!(201), &json!([order_id])));
    let text = std::fs::read_to_string(stage.path("audit.jsonl")).unwrap();
    assert!(!text.contains("eyJ"), "no token is ever recorded");
}

#[test]
fn a_blocked_customer_is_denied_and_the_upstream_sees_nothing() {
    let mut stage = Stage::start();
    let answer = stage.order(BLOCKED, &[]);
    assert_eq!((answer.status, answer.reason().as_str()), (403, "agreement_missing"));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["code"], 13605);
    assert_eq!(problem["source"], "Countersign");
    assert_eq!(problem["findings"][0]["lines"], json!(["/lineItems/0"]));
    assert_eq!(problem["decision_id"].as_str(), answer.header("countersign-decision"));
    assert_eq!(stage.standin.request_count(), 0);
    let records = stage.stop();
    assert_eq!(kinds(&records), ["revision", "decision"]);
    assert_eq!(
        (&records[1]["reason"], &records[1]["rule"]),
        (&json!("agreement_missing"), &json!("customer-mca"))
    );
}

#[test]
fn texts_follow_the_callers_language_and_role() {
    let stage = Stage::start();
    let unsigned = |role: &str| format!("Bearer {}", stage.token(UNSIGNED, &[role]));
    let french = stage.order(CUSTOMER, &[("Authorization", &unsigned("GlobalAdmin")), ("X-Locale", "fr-FR")]);
    let problem = french.json();
    assert_eq!((french.status, &problem["code"]), (403, &json!(900_124)));
    assert_eq!(problem["title"], "Contrat manquant");
    assert!(problem["findings"][0]["who"].as_str().unwrap().starts_with("Vous, administrateur général"));
    assert!(problem["findings"][0]["action"].as_str().unwrap().starts_with("https://partner.microsoft.com/"));
    let agent = stage.order(CUSTOMER, &[("Authorization", &unsigned("AdminAgent"))]).json();
    assert!(agent["findings"][0]["who"].as_str().unwrap().contains("global administrator of your company"));
    assert_eq!(agent["findings"][0]["action"], Value::Null);
}

#[test]
fn only_a_global_administrator_sees_what_is_pending() {
    let stage = Stage::start();
    let pending = |partner: &str, role: &str| {
        let token = format!("Bearer {}", stage.token(partner, &[role]));
        let answer = stage.send("GET", "/.countersign/pending", &[("Authorization", &token)], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let admin = pending(UNSIGNED, "GlobalAdmin");
    assert_eq!(admin["partner"], UNSIGNED);
    assert_eq!(
        (&admin["pending"][0]["agreement"], &admin["pending"][0]["status"]),
        (&json!("mpa"), &json!("missing"))
    );
    let agent = pending(UNSIGNED, "AdminAgent");
    assert_eq!(agent["pending"], json!([]));
    assert!(agent["notice"].as_str().unwrap().contains("Only the global administrator"));
    assert_eq!(pending(PARTNER, "GlobalAdmin")["notice"], "Nothing is pending.");
    assert_eq!(stage.send("GET", "/.countersign/other", &[], b"").status, 404);
    assert_eq!(stage.send("POST", "/.Countersign/pending", &[], b"").status, 405);
    assert_eq!(stage.send("GET", "/.countersign/pending", &[("Authorization", "")], b"").status, 401);
    assert_eq!(stage.standin.request_count(), 0);
}

#[test]
fn every_refusal_has_its_reason() {
    let stage = Stage::start();
    let orders_path = orders(CUSTOMER);
    let json = ("Content-Type", "application/json");
    let body = order();
    let big = format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20));
    let lines = format!("{{\"lineItems\":[{}]}}", vec!["{}"; 301].join(","));
    let long_name = format!("{{\"{}\":1}}", "x".repeat(257));
    let participants: Vec<String> = (1..2000).map(|id| format!("{{\"value\":\"{id}\"}}")).collect();
    let many_resellers = format!("{{\"lineItems\":[{{}}],\"participants\":[{}]}}", participants.join(","));
    for (method, target, headers, body, status, reason) in [
        ("POST", orders_path.as_str(), vec![("Authorization", "")], body.as_str(), 401, "token_missing"),
        ("POST", &orders_path, vec![("Authorization", "Bearer x.y.z")], &body, 401, "token_invalid"),
        ("POST", &orders_path, vec![("Authorization", "Basic eA==")], &body, 401, "token_invalid"),
        ("GET", "/v1/customers", vec![("Authorization", "")], "", 401, "token_missing"),
        ("POST", "/v1/x", vec![("Authorization", "")], "", 401, "token_missing"),
        ("POST", "/v1/newThings", vec![], "{}", 403, "unlisted_operation"),
        ("POST", "/v1//orders", vec![], &body, 400, "ambiguous_path"),
        ("POST", "/v1/customers/x/../y/orders", vec![], &body, 400, "ambiguous_path"),
        ("POST", "/v1/customers/%2e%2e/orders", vec![], &body, 400, "ambiguous_path"),
        ("POST", "/v1/customers/not-a-guid/orders", vec![], &body, 400, "invalid_customer"),
        ("POST", &orders_path, vec![("Content-Type", "text/plain")], &body, 415, "unsupported_media_type"),
        (
            "POST",
            &orders_path,
            vec![json, ("Content-Encoding", "gzip")],
            &body,
            415,
            "unsupported_media_type",
        ),
        ("POST", &orders_path, vec![], "", 400, "invalid_body"),
        ("POST", &orders_path, vec![], "{\"a\":1,\"A\":2}", 400, "invalid_body"),
        ("POST", &orders_path, vec![], "{\"lineItems\":{}}", 400, "unreadable_lines"),
        ("POST", &orders_path, vec![], "{\"lineItems\":[1]}", 400, "unreadable_lines"),
        ("POST", &orders_path, vec![], "{\"partnerIdOnRecord\":\"05\"}", 400, "invalid_reseller"),
        (
            "POST",
            &orders_path,
            vec![],
            "{\"x\":[{\"participants\":[{\"value\":true}]}]}",
            400,
            "invalid_reseller",
        ),
        (
            "POST",
            &orders_path,
            vec![],
            "{\"referenceCustomerId\":\"c0a80101-6d2b-4c1e-8f10-000000000002\"}",
            400,
            "customer_mismatch",
        ),
        ("POST", &orders_path, vec![], &lines, 400, "too_many_lines"),
        ("POST", &orders_path, vec![], &big, 413, "body_too_large"),
        ("POST", &orders_path, vec![("X-HTTP-Method-Override", "GET")], &body, 400, "method_override"),
        ("POST", &orders_path, vec![("X-Original-URL", "/v1")], &body, 400, "ambiguous_request"),
        ("POST", &orders_path, vec![("Host", "a"), ("Host", "b")], &body, 400, "ambiguous_request"),
        (
            "POST",
            &orders_path,
            vec![("Content-Type", "application/json; charset =utf-7")],
            &body,
            415,
            "unsupported_media_type",
        ),
        ("POST", &orders_path, vec![json, ("Content_Type", "text/plain")], &body, 400, "ambiguous_request"),
        ("POST", &orders_path, vec![], "\"success\"", 400, "invalid_body"),
        ("POST", &orders_path, vec![], &long_name, 400, "invalid_body"),
        ("POST", &orders_path, vec![], &many_resellers, 400, "too_many_lines"),
        ("OPTIONS", &orders_path, vec![], "", 405, "method_refused"),
        ("TRACE", &orders_path, vec![], "", 405, "method_refused"),
        ("post", &orders_path, vec![], &body, 405, "method_refused"),
    ] {
        let answer = stage.send(method, target, &headers, body.as_bytes());
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (status, reason),
            "{method} {target} {headers:?}"
        );
        let challenge = answer.header("www-authenticate").is_some();
        assert_eq!(challenge, status == 401, "{answer:?}");
    }
    assert_eq!(stage.standin.request_count(), 0);
}

#[test]
fn a_body_that_says_nothing_is_none_where_none_is_asked_for() {
    let stage = Stage::start();
    let checkout = format!("/v1/customers/{CUSTOMER}/carts/c1/checkout");
    // SDKs send one of these with a request that has no body.
    for body in ["", "\"success\"", "null", "\"\"", "{}"] {
        assert_eq!(stage.send("POST", &checkout, &[], body.as_bytes()).status, 201, "{body}");
        let seen = stage.standin.recorded();
        assert_eq!(seen[0].body, body.as_bytes());
    }
    for body in ["[]", "nul", "\"a\" \"b\"", "\"\\ud800\""] {
        assert_eq!(stage.send("POST", &checkout, &[], body.as_bytes()).reason(), "invalid_body", "{body}");
    }
    let unlisted = format!("/v1/customers/{CUSTOMER}/somethingNew");
    assert_eq!(stage.send("POST", &unlisted, &[], b"\"6204417\"").reason(), "invalid_body");
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
fn one_reseller_has_one_verdict_however_it_is_named() {
    let tenant = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a09";
    let stage = Stage::start();
    let path = stage.path("countersign.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let entry = format!(
        "  known:\n    - {{ tenant: {tenant}, kind: indirect_reseller, country: DE, mpn_id: \"6204417\" }}\n"
    );
    std::fs::write(&path, text.replace("  known:\n", &entry)).unwrap();
    assert_eq!(stage.reload().status, 200);
    for id in ["6204417", tenant, &tenant.to_ascii_uppercase()] {
        let body = json!({ "lineItems": [{ "offerId": LICENCE, "partnerIdOnRecord": id }] }).to_string();
        let answer = stage.send("POST", &orders(CUSTOMER), &[], body.as_bytes());
        assert_eq!((answer.status, answer.reason().as_str()), (403, "agreement_missing"), "{id}");
    }
}

#[test]
fn a_rule_with_a_role_and_an_agreement_asks_both() {
    let rule = "{ name: careful, when: { class: [purchase] }, requires: { agreement: mca, of: customer }, roles: [global_admin], on_unknown: allow }";
    let off = ["customer-mca", "customer-mca-renewed", "azure-plan-mca"]
        .map(|name| format!("{{ name: {name}, mode: off }}"));
    let stage = Stage::with(&format!("policy: {{ rules: [{rule}, {}] }}\n", off.join(", ")));
    let unknown = "c0a80101-6d2b-4c1e-8f10-0000000000ff";
    assert_eq!(stage.order(unknown, &[]).reason(), "role_missing");
    let admin = format!("Bearer {}", stage.token(PARTNER, &["GlobalAdmin"]));
    assert_eq!(stage.order(unknown, &[("Authorization", &admin)]).status, 201);
    assert_eq!(stage.order(BLOCKED, &[("Authorization", &admin)]).reason(), "agreement_missing");
}

#[test]
fn notices_tell_of_roles_and_waivers_that_end() {
    let soon = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 8))
        .strftime("%Y-%m-%dT00:00:00Z")
        .to_string();
    let waiver = format!(
        "{{ partner: {PARTNER}, customer: {BLOCKED}, rule: customer-mca, reason: r, ticket: t, until: {soon} }}"
    );
    let renewed = waiver.replace("rule: customer-mca,", "rule: customer-mca-renewed,");
    let role =
        "{ name: selling-role, announce_from: 2026-01-01T00:00:00Z, enforce_from: 2099-01-01T00:00:00Z }";
    let stage = Stage::with(&format!("policy: {{ rules: [{role}], waivers: [{waiver}, {renewed}] }}\n"));
    let answer = stage.order(BLOCKED, &[]);
    assert_eq!(answer.status, 201);
    assert!(
        answer
            .header("countersign-notice")
            .unwrap()
            .contains("customer-mca: a waiver for the Microsoft Customer Agreement")
    );
    let helpdesk = format!("Bearer {}", stage.token(PARTNER, &["HelpdeskAgent"]));
    let answer = stage.order(CUSTOMER, &[("Authorization", &helpdesk)]);
    assert_eq!(
        answer.header("countersign-notice"),
        Some("selling-role: the caller will need a selling role from 2099-01-01")
    );
}

#[test]
fn a_direct_acceptance_counts_beside_an_old_attestation() {
    let stage = Stage::start();
    let records = format!(
        "  - {{ customer: {BLOCKED}, mca: {{ accepted: undated }} }}\n  - {{ customer: {BLOCKED}, attested_by: {PARTNER}, mca: {{ accepted: 2021-05-20T00:00:00Z }} }}\n"
    );
    std::fs::write(stage.path("agreements.yaml"), LEDGER.to_owned() + &records).unwrap();
    assert_eq!(stage.reload().status, 200);
    assert_eq!(stage.order(BLOCKED, &[]).status, 201);
}

#[test]
fn a_caller_without_a_selling_role_is_told_so_before_anything_is_looked_up() {
    let stage = Stage::start();
    let token = format!("Bearer {}", stage.token(PARTNER, &["HelpdeskAgent"]));
    let answer = stage.order(BLOCKED, &[("Authorization", &token)]);
    assert_eq!((answer.status, answer.reason().as_str()), (403, "role_missing"));
    assert_eq!(stage.metric("countersign_lookups_total{outcome=\"miss\"}"), 0.0);
    // A token without any role claim has the roles of its partner's entry; this partner's entry has none.
    let mut claims = Stage::claims(PARTNER, &[]);
    claims.as_object_mut().unwrap().remove("roles");
    let token = format!("Bearer {}", stage.issuer.token(&claims));
    assert_eq!(stage.order(CUSTOMER, &[("Authorization", &token)]).reason(), "role_missing");
    let mut claims = Stage::claims(UNSIGNED, &[]);
    claims.as_object_mut().unwrap().remove("roles");
    let token = format!("Bearer {}", stage.issuer.token(&claims));
    assert_eq!(stage.order(CUSTOMER, &[("Authorization", &token)]).reason(), "agreement_missing");
}

#[test]
fn bodies_of_every_framing_arrive_whole() {
    let stage = Stage::start();
    let (agent, body) = (stage.agent(), order());
    let mut connection = Connection::open(stage.address());
    // Chunked, in pieces.
    let (first, second) = body.split_at(10);
    let chunked = format!(
        "POST {} HTTP/1.1\r\nHost: a\r\nAuthorization: {agent}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        orders(CUSTOMER),
        first.len(),
        second.len()
    );
    connection.send(chunked.as_bytes());
    assert_eq!(connection.read().status, 201);
    // With `Expect: 100-continue`, on the same connection: the body only after the go-ahead.
    let head = stage.request(
        "POST",
        &orders(CUSTOMER),
        &[("Expect", "100-continue"), ("Authorization", &agent)],
        body.as_bytes(),
    );
    let (head, rest) = head.split_at(head.len() - body.len());
    connection.send(head);
    connection.read_continue();
    connection.send(rest);
    assert_eq!(connection.read().status, 201);
    // What is denied by its head alone is denied without the body.
    let refused = request("POST", &orders(CUSTOMER), &[("Expect", "100-continue")], body.as_bytes());
    let mut other = Connection::open(stage.address());
    other.send(&refused[..refused.len() - body.len()]);
    assert_eq!(other.read().status, 401);
    let recorded = stage.standin.recorded();
    assert_eq!(recorded.len(), 2);
    for seen in recorded {
        assert_eq!(seen.body, body.as_bytes());
    }
}

#[test]
fn what_is_not_gated_streams_both_ways() {
    let stage = Stage::start();
    let agent = stage.agent();
    // An upload that is no JSON, larger than what is judged.
    let upload = vec![b'x'; 3 << 20];
    let answer = stage.send(
        "POST",
        &format!("/v1/customers/{BLOCKED}/orders/o1/attachment"),
        &[("Content-Type", "multipart/form-data; boundary=x")],
        &upload,
    );
    assert!(answer.status < 300, "{}", answer.status);
    assert_eq!(stage.standin.recorded()[0].body.len(), upload.len());

    let fault = |fault: &str, method: &str| {
        stage.send(method, "/v1/customers", &[("Standin-Fault", fault), ("Authorization", &agent)], b"")
    };
    let large = fault("large=8MiB", "GET");
    assert_eq!((large.status, large.body.len()), (200, 8 << 20));
    let chunked = fault("chunked=1MiB", "GET");
    assert_eq!((chunked.status, chunked.body.len()), (200, 1 << 20));
    assert_eq!(
        chunked.trailers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-partner-tenant")).count(),
        0
    );
    assert_eq!(fault("nocontent", "GET").status, 204);
    assert_eq!(fault("notmodified", "GET").status, 304);
    let head = fault("large=8MiB", "HEAD");
    assert_eq!((head.status, head.header("content-length")), (200, Some("8388608")));
    let hop = fault("hop", "GET");
    for name in ["x-hop", "keep-alive", "proxy-authenticate", "countersign-decision"] {
        assert_eq!(hop.header(name), None, "{name}");
    }
    // A read is not recorded; a write of any class is.
    assert_eq!(kinds(&stage.records()), ["revision", "decision"]);
}

#[test]
fn upstream_trouble_is_told_apart_and_nothing_is_sent_twice() {
    let stage = Stage::start();
    let count = || stage.standin.request_count();
    for (fault, status, reason) in [
        ("reset", 502, "upstream_interrupted"),
        ("upgrade", 502, "upstream_invalid"),
        ("hang", 504, "upstream_timeout"),
    ] {
        let before = count();
        // A kept connection first, so that a repeated attempt would find one to use.
        assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
        let answer = stage.order(CUSTOMER, &[("Standin-Fault", fault)]);
        assert_eq!((answer.status, answer.reason().as_str()), (status, reason), "{fault}");
        assert_eq!(count() - before, 2, "{fault}");
    }
    assert_eq!(stage.order(CUSTOMER, &[("Standin-Fault", "status=503")]).status, 503);
    // A truncated answer is not passed off as a whole one.
    let mut connection = Connection::open(stage.address());
    connection.send(&stage.request("GET", "/v1/customers", &[("Standin-Fault", "truncate")], b""));
    assert!(connection.try_read(false).is_err());
    assert_eq!(stage.metric("countersign_upstream_failures_total{reason=\"upstream_timeout\"}"), 1.0);
}

#[test]
fn an_unreachable_upstream_is_a_502() {
    let mut stage = Stage::start();
    // Nothing listens on the discard port of this machine.
    let text = std::fs::read_to_string(stage.path("countersign.yaml")).unwrap();
    std::fs::write(stage.path("countersign.yaml"), text.replace(&stage.standin.url(), "http://127.0.0.1:9"))
        .unwrap();
    assert_eq!(stage.reload().status, 200);
    let answer = stage.order(CUSTOMER, &[]);
    assert_eq!((answer.status, answer.reason().as_str()), (502, "upstream_unreachable"));
    let records = stage.stop();
    let outcome = records.last().unwrap();
    assert_eq!((&outcome["kind"], &outcome["failure"]), (&json!("outcome"), &json!("upstream_unreachable")));
}

#[test]
fn a_purchase_runs_to_its_end_though_its_caller_has_gone() {
    let mut stage = Stage::start();
    let mut connection = Connection::open(stage.address());
    connection.send(&stage.request(
        "POST",
        &orders(CUSTOMER),
        &[("Standin-Fault", "hold")],
        order().as_bytes(),
    ));
    assert!(stage.standin.wait_for_requests(1, PATIENCE));
    drop(connection);
    stage.standin.release();
    let records = stage.stop();
    let outcome = records.iter().find(|record| record["kind"] == "outcome").expect("an outcome");
    assert_eq!(outcome["status"], 201);
}

#[test]
fn draining_finishes_what_is_in_flight() {
    let mut stage = Stage::start();
    let mut connection = Connection::open(stage.address());
    connection.send(&stage.request(
        "POST",
        &orders(CUSTOMER),
        &[("Standin-Fault", "hold")],
        order().as_bytes(),
    ));
    assert!(stage.standin.wait_for_requests(1, PATIENCE));
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

/// Waits for what happens within a bounded time; each attempt is a real request, which takes its own time.
fn eventually(mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "it did not happen");
        std::thread::park_timeout(Duration::from_millis(10));
    }
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
    let mut connection = Connection::open(stage.address());
    connection.send(&stage.request(
        "POST",
        &orders(CUSTOMER),
        &[("Standin-Fault", "hang")],
        order().as_bytes(),
    ));
    assert!(stage.standin.wait_for_requests(1, PATIENCE));
    drop(connection);
    let records = stage.stop();
    let outcome = records.iter().find(|record| record["kind"] == "outcome").expect("an outcome");
    assert_eq!(outcome["failure"], "upstream_timeout");
}

#[test]
fn the_orders_of_a_caller_that_has_gone_are_recorded() {
    let mut stage = Stage::start();
    let mut connection = Connection::open(stage.address());
    connection.send(&stage.request(
        "POST",
        &orders(CUSTOMER),
        &[("Standin-Fault", "hold")],
        order().as_bytes(),
    ));
    assert!(stage.standin.wait_for_requests(1, PATIENCE));
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
fn a_request_without_a_body_says_so() {
    let stage = Stage::start();
    for path in [
        format!("/v1/customers/{CUSTOMER}/carts/c/checkout"),
        format!("/v1/customers/{CUSTOMER}/subscriptions/s/registrations"),
    ] {
        stage.send("POST", &path, &[("Content-Length", "0")], b"");
        let seen = &stage.standin.recorded()[0];
        let length = seen.headers.iter().find(|(name, _)| name == "content-length");
        assert_eq!(length.map(|(_, value)| value.as_slice()), Some(&b"0"[..]), "{path}");
    }
}

#[test]
fn a_slow_body_leaves_time_for_look_ups_and_a_slow_upload_is_no_slow_upstream() {
    let stage = Stage::with("limits: { body_timeout: 20s }\n");
    let text = std::fs::read_to_string(stage.path("countersign.yaml")).unwrap();
    let short = text
        .replace("  partner: [ledger]", "  cache: { deadline: 300ms }\n  partner: [ledger]")
        .replace("response_timeout: 2s", "response_timeout: 500ms");
    std::fs::write(stage.path("countersign.yaml"), short).unwrap();
    assert_eq!(stage.reload().status, 200);
    let body = order();
    for path in [orders(CUSTOMER), format!("/v1/customers/{CUSTOMER}/users")] {
        let mut connection = Connection::open(stage.address());
        let whole = stage.request("POST", &path, &[], body.as_bytes());
        // Ten pieces, a hundred milliseconds apart: longer than either limit, never still for as long.
        let (head, rest) = whole.split_at(whole.len() - body.len());
        connection.send(head);
        for piece in rest.chunks(rest.len().div_ceil(10)) {
            std::thread::park_timeout(Duration::from_millis(100));
            connection.send(piece);
        }
        assert_eq!(connection.read().status, 201, "{path}");
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
fn shadow_mode_blocks_nothing_and_reports() {
    let mut stage = Stage::with("policy: { mode: shadow }\n");
    assert_eq!(stage.order(BLOCKED, &[]).status, 201);
    assert_eq!(stage.send("POST", "/v1/newThings", &[], b"{}").status, 404, "the stand-in's own answer");
    let records = stage.stop();
    let findings = records[1]["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| finding["effect"] == "shadow"), "{findings:?}");
}

#[test]
fn options_pass_only_where_configured_and_carry_nothing() {
    let stage = Stage::with("policy: { options: allow }\n");
    let answer = stage.send("OPTIONS", &orders(CUSTOMER), &[("Cookie", "a=b")], b"");
    assert!(answer.status < 500);
    let seen = &stage.standin.recorded()[0];
    assert!(!seen.headers.iter().any(|(name, _)| name == "authorization" || name == "cookie"));
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
