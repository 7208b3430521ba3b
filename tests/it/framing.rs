//! Framing: raw bytes, what is answered to them, and what of them reaches the upstream.

use std::time::Duration;

use serde::Deserialize;

use crate::http::Connection;
use crate::stage::{CUSTOMER, Stage};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    shows: String,
    /// What is sent, piece by piece; `{token}` and `{customer}` stand for a good token and an allowed customer.
    send: Vec<String>,
    /// A status and the reason of each answer, in order.
    answers: Vec<String>,
    upstream: Vec<Seen>,
    /// Whether the gateway closes behind the last answer.
    closed: Option<bool>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Seen {
    method: String,
    target: String,
    body: String,
}

fn rows() -> Vec<Row> {
    serde_json::from_str(include_str!("../data/intake/framing.json")).expect("rows")
}

fn run(stage: &Stage, token: &str, row: &Row) -> Result<(), String> {
    stage.standin.record(true);
    let filled = |text: &str| text.replace("{token}", token).replace("{customer}", CUSTOMER);
    let mut connection = Connection::open(stage.address());
    for piece in &row.send {
        connection.send(filled(piece).as_bytes());
    }
    for expected in &row.answers {
        let answer =
            connection.try_read(false).map_err(|error| format!("expected {expected}, found {error}"))?;
        let found = match (answer.status, expected.contains(' ')) {
            (status, true) => format!("{status} {}", answer.reason()),
            (status, false) => status.to_string(),
        };
        if found != *expected {
            return Err(format!("expected {expected}, found {found}"));
        }
    }
    if let Some(closed) = row.closed {
        let found = match closed {
            true => connection.is_closed(),
            // It still answers.
            false => {
                connection.send(filled("GET /v1/customers HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
                connection.try_read(false).is_err()
            }
        };
        if found != closed {
            return Err(format!("expected closed: {closed}"));
        }
    }
    let seen: Vec<Seen> = stage
        .standin
        .recorded()
        .into_iter()
        .map(|seen| Seen {
            method: seen.method,
            target: seen.target,
            body: String::from_utf8_lossy(&seen.body).into_owned(),
        })
        .collect();
    let expected: Vec<Seen> = row
        .upstream
        .iter()
        .map(|seen| Seen {
            method: seen.method.clone(),
            target: filled(&seen.target),
            body: seen.body.clone(),
        })
        .collect();
    match seen == expected {
        true => Ok(()),
        false => Err(format!("the upstream saw {seen:?}")),
    }
}

#[test]
fn one_reading_or_none() {
    let stage = Stage::start();
    let token = stage.token(crate::stage::PARTNER, &["AdminAgent"]);
    let rows = rows();
    let failed: Vec<String> = rows
        .iter()
        .filter_map(|row| run(&stage, &token, row).err().map(|error| format!("{}: {error}", row.shows)))
        .collect();
    assert!(failed.is_empty(), "{} of {} rows:\n{}", failed.len(), rows.len(), failed.join("\n"));
}

#[test]
fn a_refused_head_is_recorded_and_a_slow_one_is_answered() {
    let mut stage = Stage::with("limits: { header_timeout: 1s }\n");
    let mut connection = Connection::open(stage.address());
    connection.send(b"GET / HTTP/1.1\n\n");
    assert_eq!(connection.read().reason(), "ambiguous_request");
    // Half a head, alone and behind a whole request.
    let whole = stage.request("GET", "/v1/customers", &[], b"");
    for before in [&b""[..], &whole] {
        let mut connection = Connection::open(stage.address());
        connection.send(&[before, b"GET /v1/customers HTTP/1.1\r\nHost: a\r\n"].concat());
        if !before.is_empty() {
            assert_eq!(connection.read().status, 200);
        }
        let answer = connection.read();
        assert_eq!((answer.status, answer.reason().as_str()), (408, "header_timeout"));
        assert!(connection.is_closed());
    }
    let reasons: Vec<String> =
        stage.stop().iter().filter_map(|record| Some(record["reason"].as_str()?.to_owned())).collect();
    assert_eq!(reasons, ["ambiguous_request", "header_timeout", "header_timeout"]);
}

#[test]
fn an_answer_arrives_though_its_request_is_still_being_sent() {
    let stage = Stage::start();
    // More than any buffer in between holds, and refused by its head.
    let body = vec![b' '; 16 << 20];
    for (headers, reason) in
        [(&[("Authorization", "Bearer x")][..], "token_invalid"), (&[], "body_too_large")]
    {
        let request = stage.request("POST", &crate::stage::orders(CUSTOMER), headers, &body);
        let socket = crate::http::socket(stage.address());
        socket.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut writing = socket.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                use std::io::Write;
                // The gateway may close while this is being written.
                let _ = writing.write_all(&request);
            });
            assert_eq!(Connection::over(socket).read().reason(), reason);
        });
    }
}
