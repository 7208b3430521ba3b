//! HTTP/2 on both sides: the verdicts of HTTP/1.1, many at a time, and nothing that a peer can bend.

use std::sync::Arc;

use rustls::version::TLS13;
use serde_json::json;

use crate::authority::{Authority, connect};
use crate::http2_caller::{Caller, Frames};
use crate::http2_raw::{
    CONTINUATION, DATA, END_STREAM, HEADERS, PING, RST_STREAM, Raw, SETTINGS, block, raw_order, raw_read,
};
use crate::stage::{BLOCKED, CUSTOMER, order, orders};
use crate::tls::secured;

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn verdicts_are_those_of_http_1() {
    let authority = Authority::new();
    let stage = secured(&authority, "", "");
    let mut caller = Caller::connect(&authority, stage.address());
    let agent = stage.agent();
    let good = order();
    let other =
        json!({ "customerId": BLOCKED, "lineItems": [{ "offerId": "x", "quantity": 1 }] }).to_string();
    let signed = orders(CUSTOMER);
    let blocked = orders(BLOCKED);
    type Row<'r> = (&'r str, &'r str, Vec<(&'r str, &'r str)>, &'r str);
    let rows: Vec<Row<'_>> = vec![
        ("POST", &signed, vec![JSON], &good),
        ("POST", &blocked, vec![JSON], &good),
        ("POST", &signed, vec![JSON, ("authorization", "")], &good),
        ("POST", &signed, vec![JSON, ("authorization", "Bearer x.y.z")], &good),
        ("POST", &signed, vec![("content-type", "text/plain")], &good),
        ("POST", &signed, vec![JSON, ("content-encoding", "gzip")], &good),
        ("POST", &signed, vec![JSON], ""),
        ("POST", &signed, vec![JSON], "{\"lineItems\":[],\"lineItems\":[]}"),
        ("POST", &signed, vec![JSON], &other),
        ("POST", &signed, vec![JSON, ("x-http-method-override", "GET")], &good),
        ("POST", &signed, vec![JSON, ("x-original-url", "/v1/x")], &good),
        ("POST", &signed, vec![JSON, ("transfer_encoding", "chunked")], &good),
        ("POST", &signed, vec![JSON, ("host", "other.example")], &good),
        ("POST", "/v1//customers", vec![JSON], &good),
        ("POST", "/v1/customers/../x", vec![JSON], &good),
        ("POST", "/v1/$batch", vec![JSON], &good),
        ("GET", "/v1/customers", vec![], ""),
        ("GET", "/.countersign/pending", vec![], ""),
        ("GET", "/.countersign/other", vec![], ""),
        ("TRACE", "/v1/customers", vec![], ""),
        ("DELETE", "/v1/unheard/of", vec![], ""),
    ];
    let (mut plain, _) = connect(&Arc::new(authority.client(None, &[&TLS13])), stage.address()).unwrap();
    let mut statuses = Vec::new();
    for (method, target, headers, body) in rows {
        let mut all = headers.clone();
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            all.push(("authorization", &agent));
        }
        all.retain(|(_, value)| !value.is_empty());
        let over_2 = caller.send(Caller::request(method, target, &all, Frames::of(body.as_bytes(), &[])));
        if !headers.iter().any(|(name, _)| *name == "host") {
            all.push(("host", "localhost"));
        }
        if headers.iter().any(|(name, _)| *name == "host") {
            assert_eq!(over_2.reason(), "ambiguous_request", "the authority and the Host disagree");
            continue;
        }
        if plain.try_send(&crate::http::request(method, target, &all, body.as_bytes())).is_err() {
            panic!("{method} {target}: the connection is gone");
        }
        let over_1 = plain.read();
        if over_1.header("connection") == Some("close") {
            (plain, _) = connect(&Arc::new(authority.client(None, &[&TLS13])), stage.address()).unwrap();
        }
        assert_eq!(over_2.status, over_1.status, "{method} {target} {headers:?} {body}");
        if over_1.status >= 400 {
            assert_eq!(over_2.reason(), over_1.reason(), "{method} {target} {headers:?} {body}");
        }
        assert_eq!(over_2.header("connection"), None);
        statuses.push(over_1.status);
    }
    assert!(statuses.contains(&201) && statuses.contains(&403) && statuses.contains(&401), "{statuses:?}");
}

#[test]
fn many_requests_share_a_connection() {
    let authority = Authority::new();
    let stage = secured(&authority, "", "");
    let mut caller = Caller::connect(&authority, stage.address());
    let agent = stage.agent();
    let body = order();
    let request = |at: usize| {
        let customer = if at.is_multiple_of(3) { BLOCKED } else { CUSTOMER };
        let headers = [JSON, ("authorization", agent.as_str())];
        Caller::request("POST", &orders(customer), &headers, Frames::of(body.as_bytes(), &[]))
    };
    let answers = caller.send_all((0..300).map(request).collect());
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, if at.is_multiple_of(3) { 403 } else { 201 }, "{at}");
    }
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("authorization", agent.as_str())];
    assert_eq!(caller.send(Caller::request("GET", "/v1/customers", &crumbs, Frames::default())).status, 200);
    let seen = stage.standin.recorded().pop().unwrap();
    let cookies: Vec<_> = seen.headers.iter().filter(|(name, _)| name == "cookie").collect();
    assert_eq!(cookies, [&("cookie".to_owned(), b"a=1; b=2".to_vec())]);
    assert_eq!(stage.standin.mutation_count(), 200);
    assert_eq!(stage.metric("countersign_connections_total{outcome=\"accepted\"}"), 1.0);
}

#[test]
fn a_judged_body_is_whole_before_anything_goes_upstream() {
    let authority = Authority::new();
    let stage = secured(&authority, "", "limits: { body_timeout: 1s }\n");
    let mut raw = Raw::connect(&authority, stage.address());
    let agent = stage.agent();
    // A body that never ends, and one whose stream is reset: the headers alone are no order.
    raw.headers(1, &raw_order(&agent), false);
    raw.frame(DATA, 0, 1, order().as_bytes());
    raw.headers(3, &raw_order(&agent), false);
    raw.frame(DATA, 0, 3, order().as_bytes());
    raw.frame(RST_STREAM, 0, 3, &8u32.to_be_bytes());
    assert_eq!(raw.status_of(1).map(|(status, _)| status), Some(408));
    // More or less than it said.
    for (stream, length) in [(5, "5"), (7, "5000")] {
        let mut fields = raw_order(&agent);
        fields.push(("content-length", length));
        raw.headers(stream, &fields, false);
        raw.frame(DATA, END_STREAM, stream, order().as_bytes());
    }
    raw.headers(9, &raw_order(&agent), false);
    raw.frame(DATA, END_STREAM, 9, order().as_bytes());
    assert_eq!(raw.status_of(9).map(|(status, _)| status), Some(201));
    assert_eq!(stage.standin.request_count(), 1);
}

#[test]
fn floods_end_their_own_connection_only() {
    let authority = Authority::new();
    let stage = secured(&authority, "", "");
    let agent = stage.agent();
    let config = Arc::new(authority.client(None, &[&TLS13]));
    let still_serves = || {
        let (mut other, _) = connect(&config, stage.address()).unwrap();
        other.send(&stage.request("POST", &orders(CUSTOMER), &[], order().as_bytes()));
        assert_eq!(other.read().status, 201);
    };
    type Flood = fn(&mut Raw, u32, &str) -> std::io::Result<()>;
    let floods: [(&str, Flood); 6] = [
        ("rapid reset", |raw, at, agent| {
            raw.try_headers(at * 2 + 1, &raw_order(agent), false)?;
            raw.try_frame(RST_STREAM, 0, at * 2 + 1, &8u32.to_be_bytes())
        }),
        ("rapid reset of reads", |raw, at, agent| {
            let fields = raw_read(agent);
            raw.try_headers(at * 2 + 1, &fields, true)?;
            raw.try_frame(RST_STREAM, 0, at * 2 + 1, &8u32.to_be_bytes())
        }),
        ("continuation without end", |raw, at, agent| match at {
            0 => raw.try_frame(HEADERS, 0, 1, &block(&raw_order(agent))),
            _ => raw.try_frame(CONTINUATION, 0, 1, &block(&[("x-filler", "0123456789")])),
        }),
        ("more streams than allowed", |raw, at, agent| raw.try_headers(at * 2 + 1, &raw_order(agent), false)),
        ("endless empty data", |raw, at, agent| match at {
            0 => raw.try_headers(1, &raw_order(agent), false),
            _ => raw.try_frame(DATA, 0, 1, b""),
        }),
        ("a frame that is none", |raw, _, _| raw.try_frame(HEADERS, 0x28, 0, &[0xff; 40])),
    ];
    for (name, flood) in floods {
        let mut raw = Raw::connect(&authority, stage.address());
        let ended = (0..20_000).any(|at| flood(&mut raw, at, &agent).is_err()) || raw.is_over();
        assert!(ended, "{name}");
        still_serves();
    }
    // What only asks for an answer is answered or ended, and either way held within bounds.
    for (kind, payload) in [(SETTINGS, &[][..]), (PING, &[0; 8])] {
        let mut raw = Raw::connect(&authority, stage.address());
        let _ = (0..50_000).any(|_| raw.try_frame(kind, 0, 0, payload).is_err());
        still_serves();
    }
    assert!(stage.metric("process_resident_memory_bytes") < 400e6);
}

#[test]
fn too_large_a_head_is_refused() {
    let authority = Authority::new();
    let stage = secured(&authority, "", "");
    let mut caller = Caller::connect(&authority, stage.address());
    let agent = stage.agent();
    let long = "x".repeat(33 * 1024);
    let answer = caller.send(Caller::request(
        "GET",
        "/v1/customers",
        &[("authorization", &agent), ("x-long", &long)],
        Frames::default(),
    ));
    assert_eq!(answer.status, 431);
    let names: Vec<String> = (0..101).map(|at| format!("x-{at}")).collect();
    let mut many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    many.push(("authorization", &agent));
    let answer = caller.send(Caller::request("GET", "/v1/customers", &many, Frames::default()));
    assert_eq!((answer.status, answer.reason().as_str()), (431, "headers_too_large"));
    let read = Caller::request("GET", "/v1/customers", &[("authorization", &agent)], Frames::default());
    assert_eq!(caller.send(read).status, 200, "the connection goes on");
}
