//! Intake over real sockets: the tables of `tests/data/intake/` on paths, bodies and headers.

use crate::http::{Answer, send};
use crate::rows::{self, Protocol, Request, Row, Run};
use crate::stage::{BLOCKED, CUSTOMER, PARTNER, Stage};

/// Sends the rows of a table that a protocol can say, each also about a customer without an agreement: it must be
/// denied wherever the first was let through as a purchase, and refused alike wherever the first was refused.
fn run(file: &str, protocol: Option<Protocol>, transport: impl Fn(&Stage, &Request) -> Answer) {
    let stage = Stage::start();
    let token = stage.token(PARTNER, &["AdminAgent"]);
    let mut run = Run::new(&stage);
    for row in rows::read(file) {
        if row.only.is_some() && row.only != protocol {
            continue;
        }
        run.check(&row, CUSTOMER, &token, |request| transport(&stage, request));
        run.check(&about_a_blocked_customer(row), BLOCKED, &token, |request| transport(&stage, request));
    }
    run.finish();
}

fn about_a_blocked_customer(mut row: Row) -> Row {
    if row.reason.is_none() && !row.ungated {
        row.status = 403;
        row.reason = Some("agreement_missing".to_owned());
    }
    row
}

fn over_http1(stage: &Stage, request: &Request) -> Answer {
    send(stage.address(), request)
}

#[test]
fn a_path_has_one_reading_or_is_refused() {
    run("paths.json", Some(Protocol::Http1), over_http1);
}

#[test]
fn a_body_is_judged_as_it_is_forwarded_or_refused() {
    run("bodies.json", Some(Protocol::Http1), over_http1);
}

#[test]
fn a_head_has_one_reading_and_carries_no_identity_of_its_own() {
    run("headers.json", Some(Protocol::Http1), over_http1);
}
