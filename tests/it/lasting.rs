//! Connections that last: what moves goes on, what does not ends, and what is to end does.

use std::time::{Duration, Instant};

use crate::authority::Authority;
use crate::http::{Connection, request};
use crate::http2_caller::{Caller, Frames};
use crate::http2_raw::{Raw, raw_read};
use crate::stage::{CUSTOMER, Stage, eventually, order, orders};
use crate::tls::secured;

/// Lets a slow peer be slow.
fn pause(ms: u64) {
    std::thread::park_timeout(Duration::from_millis(ms));
}

/// Uploads 80 pieces, ten a second.
fn upload(stage: &Stage, connection: &mut Connection, pieces: usize) -> std::io::Result<u16> {
    let path = format!("/v1/customers/{CUSTOMER}/orders/o1/attachment");
    let whole =
        stage.request("POST", &path, &[("Content-Type", "application/pdf")], &vec![b'x'; pieces * 1024]);
    let size = whole.len() / pieces;
    for piece in whole.chunks(size) {
        connection.try_send(piece)?;
        pause(100);
    }
    Ok(connection.try_read(false)?.status)
}

#[test]
fn an_upload_that_moves_outlives_the_age_of_its_connection() {
    for age in ["10m", "1s"] {
        let stage = Stage::with(&format!("limits: {{ idle_timeout: 4s, connection_age: {age} }}\n"));
        let mut connection = Connection::open(stage.address());
        let start = Instant::now();
        let got = upload(&stage, &mut connection, 80);
        println!("age {age}: {got:?} after {:?}", start.elapsed());
        assert!(got.is_ok(), "age {age}: {got:?} after {:?}", start.elapsed());
    }
}

#[test]
fn an_upload_that_moves_outlives_a_drain() {
    let mut stage = Stage::with("limits: { idle_timeout: 4s }\n");
    let address = stage.address();
    let path = format!("/v1/customers/{CUSTOMER}/orders/o1/attachment");
    let whole = stage.request("POST", &path, &[("Content-Type", "application/pdf")], &vec![b'x'; 80 * 1024]);
    std::thread::scope(|scope| {
        let uploading = scope.spawn(move || {
            let mut connection = Connection::open(address);
            for piece in whole.chunks(1024) {
                connection.try_send(piece)?;
                pause(100);
            }
            connection.try_read(false).map(|answer| answer.status)
        });
        pause(500);
        stage.stop();
        let got = uploading.join().unwrap();
        assert!(got.is_ok(), "{got:?}");
    });
}

#[test]
fn an_http2_connection_ends_though_its_caller_answers_no_ping() {
    let authority = Authority::new();
    let mut stage = secured(&authority, "", "limits: { idle_timeout: 4s, connection_age: 1s }\n");
    let mut raw = Raw::connect(&authority, stage.address());
    let agent = stage.agent();
    let start = Instant::now();
    std::thread::scope(|scope| {
        let stopped = scope.spawn(|| {
            pause(2000);
            stage.stop();
            start.elapsed()
        });
        let mut fields = raw_read(&agent);
        fields.push(("standin-fault", "delay=600ms"));
        let mut answers = 0;
        for at in 0..40u32 {
            // Every 400 ms: some request is always being answered. No PING is ever answered.
            if raw.try_headers(at * 2 + 1, &fields, true).is_err() {
                break;
            }
            pause(400);
            if at > 1 && raw.status_past_goaway((at - 2) * 2 + 1).is_none() {
                break;
            }
            answers += 1;
        }
        println!("{answers} answers until {:?}", start.elapsed());
        drop(raw);
        let took = stopped.join().unwrap();
        assert!(
            took < Duration::from_secs(10),
            "the drain, begun after 2 s, took {took:?}: {answers} answers"
        );
    });
}

#[test]
fn an_http2_connection_in_use_is_not_unused() {
    let authority = Authority::new();
    let stage = secured(&authority, "", "limits: { idle_timeout: 4s }\n");
    let mut caller = Caller::connect(&authority, stage.address());
    let agent = stage.agent();
    let start = Instant::now();
    for at in 0..60 {
        let read = Caller::request("GET", "/v1/customers", &[("authorization", &agent)], Frames::default());
        let answer = caller.try_send(read);
        assert!(
            answer.as_ref().is_ok_and(|answer| answer.status == 200),
            "request {at} after {:?}: {answer:?}; timed out {}",
            start.elapsed(),
            stage.metric("countersign_connections_total{outcome=\"timed_out\"}")
        );
        pause(100);
    }
}

#[test]
fn a_line_end_too_many_is_no_head() {
    let stage = Stage::with("limits: { header_timeout: 1s }\n");
    let mut connection = Connection::open(stage.address());
    let mut bytes = stage.request("POST", &orders(CUSTOMER), &[], order().as_bytes());
    bytes.extend_from_slice(b"\r\n");
    connection.send(&bytes);
    assert_eq!(connection.read().status, 201);
    pause(2500);
    let sent = connection.try_send(&stage.request("POST", &orders(CUSTOMER), &[], order().as_bytes()));
    let got = connection.try_read(false).map(|answer| answer.status);
    assert_eq!((sent.is_ok(), got.ok()), (true, Some(201)));
}

#[test]
fn requests_whose_answers_are_under_way_count() {
    let stage = Stage::with("limits: { requests: 1 }\n");
    let mut reading = Connection::open(stage.address());
    reading.send(&stage.request("GET", "/v1/customers", &[("Standin-Fault", "large=64MiB")], b""));
    assert!(stage.standin.wait_for_requests(1, crate::http::PATIENCE));
    pause(500);
    println!("in flight {}", stage.metric("countersign_requests_in_flight"));
    assert_eq!(stage.order(CUSTOMER, &[]).reason(), "overloaded");
}

#[test]
fn places_of_an_address_are_free_when_those_served_have_gone() {
    let stage = Stage::with("limits: { connections_per_address: 2 }\n");
    let open = || {
        let mut connection = Connection::open(stage.address());
        connection.send(&request("GET", "/", &[], b""));
        assert_eq!(connection.read().status, 401);
        connection
    };
    let kept = [open(), open()];
    // Two that are told to be too many, once they ask; they do not.
    let _silent = [Connection::open(stage.address()), Connection::open(stage.address())];
    eventually(|| stage.metric("countersign_connections_open") == 4.0);
    drop(kept);
    eventually(|| stage.metric("countersign_connections_open") == 2.0);
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201, "none of its connections is served");
}
