//! Limits: what is beyond them is told so or ended, and costs nobody else anything.

use std::sync::Arc;

use rustls::version::TLS13;

use crate::authority::{Authority, connect};
use crate::http::{Connection, request};
use crate::stage::{CUSTOMER, Stage, eventually, order, orders};
use crate::tls::secured;

const CONNECTIONS: &str = "countersign_connections_total";

fn count(stage: &Stage, outcome: &str) -> f64 {
    stage.metric(&format!("{CONNECTIONS}{{outcome=\"{outcome}\"}}"))
}

/// A connection that has been answered, and so is known to be open.
fn open(stage: &Stage) -> Connection {
    let mut connection = Connection::open(stage.address());
    connection.send(&request("GET", "/", &[], b""));
    assert_eq!(connection.read().status, 401);
    connection
}

#[test]
fn too_many_connections_are_told_so_and_places_come_back() {
    for limit in ["connections", "connections_per_address"] {
        let stage = Stage::with(&format!("limits: {{ {limit}: 2 }}\n"));
        let kept = [open(&stage), open(&stage)];
        let mut refused = Connection::open(stage.address());
        refused.send(&stage.request("POST", &orders(CUSTOMER), &[], order().as_bytes()));
        let answer = refused.read();
        assert_eq!((answer.status, answer.reason().as_str()), (503, "overloaded"), "{limit}");
        assert!(answer.header("retry-after").is_some());
        assert!(refused.is_closed());
        assert_eq!((count(&stage, "accepted"), count(&stage, "refused")), (2.0, 1.0));
        assert_eq!(stage.standin.request_count(), 0);
        drop(kept);
        eventually(|| stage.metric("countersign_connections_open") == 0.0);
        assert_eq!(stage.order(CUSTOMER, &[]).status, 201, "{limit}");
    }
}

#[test]
fn too_many_connections_are_told_so_over_tls_as_well() {
    let authority = Authority::new();
    let stage = secured(&authority, "", "limits: { connections: 1 }\n");
    let config = Arc::new(authority.client(None, &[&TLS13]));
    let (mut kept, _) = connect(&config, stage.address()).unwrap();
    kept.send(&request("GET", "/", &[], b""));
    assert_eq!(kept.read().status, 401);
    let (mut refused, _) = connect(&config, stage.address()).unwrap();
    refused.send(&request("GET", "/", &[], b""));
    assert_eq!(refused.read().reason(), "overloaded");
    kept.send(&request("GET", "/", &[], b""));
    assert_eq!(kept.read().status, 401, "the first one goes on");
}

#[test]
fn too_many_requests_are_told_so() {
    let stage = Stage::with("limits: { requests: 1 }\n");
    let mut held = Connection::open(stage.address());
    held.send(&stage.request("POST", &orders(CUSTOMER), &[("Standin-Fault", "hold")], order().as_bytes()));
    assert!(stage.standin.wait_for_requests(1, crate::http::PATIENCE));
    let answer = stage.order(CUSTOMER, &[]);
    assert_eq!((answer.status, answer.reason().as_str()), (503, "overloaded"));
    stage.standin.release();
    assert_eq!(held.read().status, 201);
    eventually(|| stage.order(CUSTOMER, &[]).status == 201);
}

#[test]
fn an_order_whose_caller_has_gone_still_counts() {
    let stage = Stage::with("limits: { requests: 1 }\n");
    let mut held = Connection::open(stage.address());
    held.send(&stage.request("POST", &orders(CUSTOMER), &[("Standin-Fault", "hold")], order().as_bytes()));
    assert!(stage.standin.wait_for_requests(1, crate::http::PATIENCE));
    drop(held);
    eventually(|| stage.metric("countersign_connections_open") == 0.0);
    assert_eq!(stage.order(CUSTOMER, &[]).reason(), "overloaded");
    stage.standin.release();
    eventually(|| stage.order(CUSTOMER, &[]).status == 201);
}

#[test]
fn an_answer_that_nobody_takes_is_given_up() {
    let authority = Authority::new();
    let limits = "limits: { idle_timeout: 3s }\n";
    let config = Arc::new(authority.client(None, &[&TLS13]));
    type Open<'o> = &'o dyn Fn(&Stage) -> Connection;
    let plain: Open<'_> = &|stage| Connection::open(stage.address());
    let over_tls: Open<'_> = &|stage| connect(&config, stage.address()).unwrap().0;
    for (stage, open) in [(Stage::with(limits), plain), (secured(&authority, "", limits), over_tls)] {
        let mut connection = open(&stage);
        connection.send(&stage.request("GET", "/v1/customers", &[("Standin-Fault", "large=64MiB")], b""));
        eventually(|| count(&stage, "timed_out") == 1.0);
        let mut other = open(&stage);
        other.send(&stage.request("POST", &orders(CUSTOMER), &[], order().as_bytes()));
        assert_eq!(other.read().status, 201);
    }
}

#[test]
fn an_idle_connection_is_closed() {
    let stage = Stage::with("limits: { idle_timeout: 3s }\n");
    let mut idle = [Connection::open(stage.address()), open(&stage)];
    assert!(idle.iter_mut().all(Connection::is_closed));
    eventually(|| count(&stage, "timed_out") == 2.0);
}

#[test]
fn a_cancelled_upload_and_a_cancelled_read_are_cancelled_upstream() {
    let stage = Stage::start();
    // The head and a part of the body of something that is not judged.
    let path = format!("/v1/customers/{CUSTOMER}/orders/o1/attachment");
    let whole = stage.request("POST", &path, &[("Content-Type", "application/pdf")], &vec![b'x'; 1 << 20]);
    let mut upload = Connection::open(stage.address());
    upload.send(&whole[..512 * 1024]);
    assert!(stage.standin.wait_for_requests(1, crate::http::PATIENCE));
    drop(upload);
    eventually(|| stage.standin.recorded().iter().any(|seen| !seen.complete));
    let mut reading = Connection::open(stage.address());
    reading.send(&stage.request("GET", "/v1/customers", &[("Standin-Fault", "large=64MiB")], b""));
    assert!(stage.standin.wait_for_requests(2, crate::http::PATIENCE));
    drop(reading);
    eventually(|| stage.metric("countersign_requests_in_flight") == 0.0);
    eventually(|| stage.metric("countersign_connections_open") == 0.0);
}
