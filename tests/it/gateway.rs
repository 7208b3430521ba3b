//! The gateway over real sockets: what is forwarded, and what both sides see of it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::http::Connection;
use crate::stage::{BLOCKED, CUSTOMER, LICENCE, PARTNER, Stage, order, orders};

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
    // A read is not recorded; a write of any class is, and its outcome by and by.
    let records = stage.records();
    let mut recorded = kinds(&records);
    recorded.retain(|kind| *kind != "outcome");
    assert_eq!(recorded, ["revision", "decision"]);
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
fn a_configured_purchase_by_get_is_judged_with_empty_segments_too_and_recorded_as_sent() {
    let mut stage = Stage::with(
        "policy:\n  operations:\n    \
         - { name: buy, match: \"GET /v1/customers/{customer}/offers/{offer}/buy\", class: purchase }\n",
    );
    let rows = |customer: &str| {
        [
            format!("/v1/customers/{customer}/offers/o1/buy"),
            format!("/v1//customers/{customer}/offers/o1/buy"),
            format!("/v1/customers///{customer}//offers/o1/%62uy//"),
            format!("/V1/Customers/{customer}/OFFERS//o1/buy?a=//b"),
        ]
    };
    for target in rows(BLOCKED) {
        let answer = stage.send("GET", &target, &[], b"");
        assert_eq!((answer.status, answer.reason().as_str()), (403, "agreement_missing"), "{target}");
    }
    assert!(stage.standin.recorded().is_empty());
    for target in rows(CUSTOMER) {
        let answer = stage.send("GET", &target, &[], b"");
        assert!(answer.header("content-type") != Some("application/problem+json"), "{target}: {answer:?}");
        assert_eq!(stage.standin.recorded()[0].target, target);
    }
    let pending = stage.send("GET", "/.countersign//pending", &[], b"");
    assert_eq!(pending.status, 200, "{pending:?}");
    assert!(stage.standin.recorded().is_empty());
    let records = stage.stop();
    let decided = records.iter().filter(|record| record["kind"] == "decision");
    let found: Vec<&str> = decided.map(|record| record["path"].as_str().unwrap()).collect();
    let sent: Vec<String> = rows(BLOCKED).into_iter().chain(rows(CUSTOMER)).collect();
    let sent: Vec<&str> = sent.iter().map(|target| target.split('?').next().unwrap()).collect();
    assert_eq!(found, sent);
}

#[test]
fn ids_are_recorded_as_they_are_forwarded_and_malformed_ones_replaced() {
    const NAMES: [&str; 3] = ["ms-requestid", "ms-correlationid", "traceparent"];
    let trace = |trace: &str| format!("00-{trace}-b7ad6b7169203331-01");
    let good = trace("0af7651916cd43dd8448eb211c80319c");
    let (long, null) = ("a".repeat(65), trace(&"0".repeat(32)));
    let rows: [([&str; 3], bool); 4] = [
        (["a", "b c", &good], true),
        ([&long, "\u{e9}", "00"], false),
        (["a\tb", &long, &null], false),
        (["\u{a0}", "a\tb", &format!("{good}-x")], false),
    ];
    let mut stage = Stage::start();
    let mut forwarded = Vec::new();
    for (given, is_kept) in rows {
        let agent = stage.agent();
        let mut headers = vec![("Authorization", agent.as_str()), ("Content-Type", "application/json")];
        headers.extend(NAMES.into_iter().zip(given));
        let answer = stage.send("POST", &orders(CUSTOMER), &headers, order().as_bytes());
        assert_eq!(answer.status, 201, "{given:?}: {answer:?}");
        let seen = stage.standin.recorded().remove(0);
        let found = NAMES.map(|name| {
            let values: Vec<String> = seen
                .headers
                .iter()
                .filter(|(known, _)| known == name)
                .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
                .collect();
            assert_eq!(values.len(), 1, "{given:?}: {values:?}");
            values[0].clone()
        });
        for (at, sent) in given.into_iter().enumerate() {
            let length = if at == 2 { 55 } else { 36 };
            let fits =
                if is_kept { found[at] == sent } else { found[at] != sent && found[at].len() == length };
            assert!(fits, "{} {sent}: {}", NAMES[at], found[at]);
        }
        for name in &NAMES[..2] {
            let at = NAMES.iter().position(|known| known == name).unwrap();
            assert_eq!(answer.header(name), Some(found[at].as_str()), "{given:?}");
        }
        forwarded.push((found[0].clone(), found[1].clone()));
    }
    let records = stage.stop();
    let decided = records.iter().filter(|record| record["kind"] == "decision");
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let recorded: Vec<(String, String)> =
        decided.map(|record| (text(&record["ms_request_id"]), text(&record["ms_correlation_id"]))).collect();
    assert_eq!(recorded, forwarded);
}

#[test]
fn the_configuration_says_which_further_headers_are_kept_back_and_which_are_not() {
    let stage = Stage::with(
        "headers: { keep_back: { add: [X-Mine-*, y_own, Cookie], allow: [X-Real-IP, X-Mine-Not, Forwarded] } }\n",
    );
    let rows = [
        ("X-Mine-A", false),
        ("x_mine.b", false),
        ("Y-Own", false),
        ("Cookie", false),
        ("X-Client-IP", false),
        ("Countersign-Partner-Id", false),
        ("X-Mine-Not", true),
        ("X-Mine", true),
        ("Y-Owner", true),
        ("X-Real-IP", true),
        ("x_real_ip", true),
        ("Forwarded", true),
    ];
    let body = order();
    let streamed = format!("/v1/customers/{CUSTOMER}/users");
    for (name, passes) in rows {
        for target in [orders(CUSTOMER), streamed.clone()] {
            stage.send("POST", &target, &[(name, "a")], body.as_bytes());
            let seen = stage.standin.recorded().remove(0);
            let found = seen.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
            assert_eq!(found, passes, "{name} to {target}");
        }
        let agent = stage.agent();
        let headers =
            [("Authorization", agent.as_str()), ("Transfer-Encoding", "chunked"), ("Trailer", name)];
        let mut connection = Connection::open(stage.address());
        connection.send(&crate::http::request("POST", &streamed, &headers, b""));
        connection.send(format!("2\r\n{{}}\r\n0\r\n{name}: a\r\nMS-RequestId: b\r\n\r\n").as_bytes());
        connection.read();
        let trailers = stage.standin.recorded().remove(0).trailers;
        // No trailer is a cookie or an id.
        assert_eq!(trailers.len(), usize::from(passes), "{name}: {trailers:?}");
    }
}
