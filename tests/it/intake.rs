//! Intake over real sockets: the tables of `tests/data/intake/` on paths, bodies and headers.

use crate::rows::{self, Protocol, Row, Run};
use crate::stage::{BLOCKED, CUSTOMER, PARTNER};
use crate::transport::Transport;

/// Sends the rows of a table over every protocol that can say them, each also about a customer without an agreement: it
/// must be denied wherever the first was let through as a purchase, and refused alike wherever the first was refused.
fn run(file: &str) {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let (stage, transport) = Transport::start(protocol);
        let token = stage.token(PARTNER, &["AdminAgent"]);
        let mut run = Run::new(&stage, transport);
        for row in rows::read(file).into_iter().filter_map(|row| row.by(protocol)) {
            run.check(&row, CUSTOMER, &token);
            run.check(&about_a_blocked_customer(row), BLOCKED, &token);
        }
        run.finish();
    }
}

fn about_a_blocked_customer(mut row: Row) -> Row {
    if row.reason.is_none() && !row.ungated {
        row.status = 403;
        row.reason = Some("agreement_missing".to_owned());
    }
    row
}

#[test]
fn a_path_has_one_reading_or_is_refused() {
    run("paths.json");
}

#[test]
fn a_body_is_judged_as_it_is_forwarded_or_refused() {
    run("bodies.json");
}

#[test]
fn a_head_has_one_reading_and_carries_no_identity_of_its_own() {
    run("headers.json");
}
