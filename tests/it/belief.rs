//! Belief: how long a word about an acceptance counts, what ends it, and that nothing else does.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use countersign::standin::Standin;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::center::{
    PLENTY, TEMPLATE, as_fault, asked, assert_unknown, attestation, center, center_ledger, center_with,
    counting, customer, is, said, unsigned,
};
use crate::http::Answer;
use crate::stage::{BLOCKED, LEDGER, Stage, eventually};

pub const ADMIN: (&str, &str) = ("Countersign-Admin", "1");
pub const DATE: &str = "2024-05-13T00:00:00Z";
/// Rules that forward an order while the customer's agreement is unknown.
const LENIENT: &str = "policy: { rules: [{ name: customer-mca, on_unknown: allow }, \
                       { name: customer-mca-renewed, on_unknown: allow }] }\n";
/// Rules of which none asks for the date of a customer's acceptance.
const UNDATED_DOES: &str = "policy: { rules: [{ name: customer-mca-renewed, mode: off }] }\n";
/// A rule to which an acceptance without a date is unknown.
pub const DATED: &str = "policy: { rules: [{ name: dated, when: { class: [purchase] }, requires: { agreement: mca, \
                     of: customer, accepted_since: 2023-04-01T00:00:00Z, undated: unknown } }] }\n";

/// A gateway whose only source is its ledger.
fn ledger_only(cache: &str, extra: &str) -> Stage {
    Stage::edited(extra, |text, _| {
        text.replace("customer: [ledger]\n", &format!("customer: [ledger]\n  cache: {{ {cache} }}\n"))
    })
}

fn attest(stage: &Stage, customer: &str, body: &Value) -> Answer {
    let path = format!("/v1/customers/{customer}/agreements");
    stage.send("POST", &path, &[], body.to_string().as_bytes())
}

/// Sends an attestation through the gateway, then removes it from Partner Center: only the gateway knows of it.
fn teach(stage: &Stage, customer: &str) {
    assert_eq!(attest(stage, customer, &counting(DATE)).status, 201, "{customer}");
    withdraw(stage, customer);
    assert_eq!(said(&stage.order(customer, &[])), is(201, ""), "{customer}: it was learnt");
}

/// Removes every acceptance of a customer from Partner Center.
fn withdraw(stage: &Stage, customer: &str) {
    stage.standin.set_direct(customer, false);
    stage.standin.set_attestations(customer, Vec::new());
}

/// Answers questions about a customer with 403, which fails them but does not open the circuit breaker.
fn refuse(stage: &Stage, customer: &str) {
    stage.standin.fault("GET", &format!("{customer}/"), "status=403", None);
}

/// Edits the configuration and puts it in force, by a restart or a reload.
fn reconfigure(stage: &mut Stage, restarts: bool, edit: impl FnOnce(&str) -> String) {
    if restarts {
        stage.stop();
    }
    let path = stage.path("countersign.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let edited = edit(&text);
    assert_ne!(edited, text, "nothing was edited");
    std::fs::write(&path, edited).unwrap();
    match restarts {
        true => stage.begin(),
        false => assert_eq!(stage.reload().status, 200),
    }
}

/// Replaces the ledger by one that revokes an acceptance and keeps an old modification time, as `cp -p`, `tar` and image
/// layers do.
fn place_old(stage: &Stage, ledger: &str, customer: &str) {
    let revoked = format!("{ledger}  - {{ customer: {customer}, mca: missing }}\n");
    stage.place("agreements.yaml", &revoked, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1)));
}

#[test]
fn a_revocation_from_a_file_that_looks_old_ends_what_was_learnt() {
    let mut stage = ledger_only("file: facts.jsonl", "");
    let party = unsigned(1);
    teach(&stage, &party);
    place_old(&stage, LEDGER, &party);
    eventually(|| said(&stage.order(&party, &[])) == is(403, "agreement_missing"));
    stage.restart();
    assert_eq!(said(&stage.order(&party, &[])), is(403, "agreement_missing"), "after a restart");
}

#[test]
fn a_revocation_that_comes_while_the_gateway_is_down_ends_what_was_saved() {
    let mut stage = ledger_only("file: facts.jsonl", "");
    let party = unsigned(1);
    teach(&stage, &party);
    stage.stop();
    place_old(&stage, LEDGER, &party);
    stage.begin();
    assert_eq!(said(&stage.order(&party, &[])), is(403, "agreement_missing"));
}

#[test]
fn a_revocation_from_a_file_that_looks_old_goes_before_a_source_that_answers() {
    let stage =
        center_with(PLENTY, "", "", |text| text.replace("customer: [center]", "customer: [ledger, center]"));
    let party = unsigned(1);
    teach(&stage, &party);
    place_old(&stage, &center_ledger(""), &party);
    eventually(|| said(&stage.order(&party, &[])) == is(403, "agreement_missing"));
}

#[test]
fn what_was_learnt_is_unknown_again_after_its_time_where_nobody_can_be_asked() {
    let stage = ledger_only("learnt: 2s", "");
    let party = unsigned(1);
    let started = Instant::now();
    teach(&stage, &party);
    eventually(|| match said(&stage.order(&party, &[])) {
        answer if answer == is(201, "") => false,
        answer => {
            assert_eq!(answer, is(409, "agreement_unrecorded"));
            true
        }
    });
    // Lifetimes end up to a tenth early, so that facts learnt together are not looked up together.
    assert!(started.elapsed() >= Duration::from_millis(1800), "{:?}", started.elapsed());
    assert_eq!(said(&stage.order(&party, &[])), is(409, "agreement_unrecorded"));
    // A second attestation counts again.
    teach(&stage, &party);
}

#[test]
fn what_was_learnt_ends_with_the_word_of_the_source_after_the_time_of_acceptances() {
    let stage = center(PLENTY, "accepted: 1s");
    let party = unsigned(1);
    let started = Instant::now();
    teach(&stage, &party);
    eventually(|| said(&stage.order(&party, &[])) == is(403, "agreement_missing"));
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(said(&stage.order(&party, &[])), is(403, "agreement_missing"));
}

#[test]
fn what_was_learnt_serves_while_the_source_fails_no_longer_than_any_acceptance() {
    let stage = center(PLENTY, "accepted: 500ms, stale: 1s");
    let party = unsigned(1);
    teach(&stage, &party);
    refuse(&stage, &party);
    let learnt = Instant::now();
    eventually(|| match said(&stage.order(&party, &[])) {
        answer if answer == is(201, "") => {
            assert!(learnt.elapsed() < Duration::from_secs(4), "it serves for ever");
            false
        }
        answer => {
            assert_eq!(answer, is(503, "agreement_unknown"));
            true
        }
    });
}

#[test]
fn a_source_that_does_not_know_the_party_ends_nothing_that_was_learnt() {
    let stage = shop("accepted: 200ms");
    let party = unsigned(1);
    teach(&stage, &party);
    let mut asked = 0;
    // Each question is answered 404, which says nothing of the party.
    eventually(|| {
        assert_eq!(said(&stage.order(&party, &[])), is(201, ""), "asked {asked} times");
        asked += shop_asked(&stage);
        asked >= 3
    });
}

/// An edit that replaces `upstream.url` by the address of a second stand-in.
fn at_another(standin: &Standin, stage: &Stage) -> impl Fn(&str) -> String + use<> {
    let (old, new) = (format!("url: {},", stage.standin.url()), format!("url: {},", standin.url()));
    move |text| text.replacen(&old, &new, 1)
}

#[test]
fn what_one_upstream_taught_says_nothing_of_another() {
    for restarts in [false, true] {
        let other = Standin::start(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let party = unsigned(1);

        let mut stage = ledger_only("file: facts.jsonl", "");
        teach(&stage, &party);
        let edit = at_another(&other, &stage);
        reconfigure(&mut stage, restarts, edit);
        let row = format!("ledger, restarts: {restarts}");
        assert_eq!(said(&stage.order(&party, &[])), is(409, "agreement_unrecorded"), "{row}");
        assert_eq!(other.count("orders"), 0, "{row}");

        let mut stage = center(PLENTY, "file: facts.jsonl");
        teach(&stage, &party);
        let (edit, before) = (at_another(&other, &stage), asked(&stage));
        reconfigure(&mut stage, restarts, edit);
        let row = format!("center, restarts: {restarts}");
        assert_eq!(said(&stage.order(&party, &[])), is(403, "agreement_missing"), "{row}");
        assert_eq!(asked(&stage), (before.0 + 1, before.1 + 1), "{row}");
    }
}

#[test]
fn a_configuration_that_changes_elsewhere_leaves_what_was_learnt() {
    for restarts in [false, true] {
        for mut stage in [ledger_only("file: facts.jsonl", ""), center(PLENTY, "file: facts.jsonl")] {
            let party = unsigned(1);
            teach(&stage, &party);
            let before = asked(&stage);
            reconfigure(&mut stage, restarts, |text| {
                text.replace("response_timeout: 2s", "response_timeout: 3s")
            });
            assert_eq!(said(&stage.order(&party, &[])), is(201, ""), "restarts: {restarts}");
            assert_eq!(asked(&stage), before, "restarts: {restarts}");
        }
    }
}

/// The template of the agreement's predecessor.
pub const SECOND: &str = "998b88de-aa99-4388-a42c-1b3517d49490";

/// A `learns` rule for attestations with these templates.
pub fn learns(templates: &[&str]) -> String {
    format!(
        "policy: {{ operations: [{{ name: agreement.attest, learns: {{ agreement: mca, by: attestation, when: \
         {{ /type: [MicrosoftCustomerAgreement], /templateId: [{}] }}, date: /dateAgreed }} }}] }}\n",
        templates.join(", ")
    )
}

#[test]
fn what_a_rule_taught_holds_as_long_as_the_rule_would_teach_it() {
    let (both, first): (&[&str], &[&str]) = (&[TEMPLATE, SECOND], &[TEMPLATE]);
    for (before, taught_by, after, is_believed) in [
        (both, SECOND, first, false),
        (first, TEMPLATE, &[SECOND][..], false),
        (first, TEMPLATE, both, true),
        (both, SECOND, &[SECOND, TEMPLATE][..], true),
    ] {
        for restarts in [false, true] {
            let mut stage = ledger_only("file: facts.jsonl", &learns(before));
            let party = unsigned(1);
            let body = attestation("MicrosoftCustomerAgreement", taught_by, DATE);
            assert_eq!(attest(&stage, &party, &body).status, 201);
            assert_eq!(said(&stage.order(&party, &[])), is(201, ""), "{before:?} {taught_by}");
            reconfigure(&mut stage, restarts, |text| text.replace(&learns(before), &learns(after)));
            let expected = if is_believed { is(201, "") } else { is(409, "agreement_unrecorded") };
            let row = format!("{before:?} {taught_by} {after:?}, restarts: {restarts}");
            assert_eq!(said(&stage.order(&party, &[])), expected, "{row}");
        }
    }
}

/// A gateway whose only source for customers is of `type: http`.
fn shop(cache: &str) -> Stage {
    Stage::edited("", |text, folder| {
        std::fs::write(folder.join("secret"), "first").unwrap();
        let start = text.find("url: ").unwrap() + "url: ".len();
        let url = &text[start..start + text[start..].find(',').unwrap()];
        let source = format!(
            "  sources:\n    shop: {{ type: http, url: \"{url}/v1/shop/{{id}}\", accepted: /ok, \
             headers: {{ X-Shop: one, X-Key: {{ file: secret }} }} }}\n"
        );
        text.replace("  sources:\n", &source)
            .replace("customer: [ledger]\n", &format!("customer: [shop]\n  cache: {{ {cache} }}\n"))
    })
}

/// Questions to the `http` source since the last call.
fn shop_asked(stage: &Stage) -> usize {
    stage.standin.recorded().iter().filter(|request| request.target.starts_with("/v1/shop/")).count()
}

#[test]
fn an_endpoint_that_is_asked_with_another_plain_header_is_another_one() {
    for restarts in [false, true] {
        let mut stage = shop("file: facts.jsonl");
        let party = customer(1);
        let says = |stage: &Stage, ok: bool| {
            stage.standin.set_resource(&format!("/v1/shop/{party}"), json!({ "ok": ok }), None);
        };
        says(&stage, true);
        assert_eq!(said(&stage.order(&party, &[])), is(201, ""));
        assert_eq!(shop_asked(&stage), 1);
        says(&stage, false);
        // The value of a secret header does not identify a source: secrets are rotated.
        std::fs::write(stage.path("secret"), "second").unwrap();
        reconfigure(&mut stage, restarts, |text| {
            text.replace("response_timeout: 2s", "response_timeout: 3s")
        });
        assert_eq!(said(&stage.order(&party, &[])), is(201, ""), "restarts: {restarts}");
        assert_eq!(shop_asked(&stage), 0, "restarts: {restarts}");
        reconfigure(&mut stage, restarts, |text| text.replace("X-Shop: one", "X-Shop: two"));
        assert_eq!(said(&stage.order(&party, &[])), is(403, "agreement_missing"), "restarts: {restarts}");
        assert_eq!(shop_asked(&stage), 1, "restarts: {restarts}");
    }
}

/// Asserts that orders for a customer are denied as unknown and not forwarded.
fn assert_withheld(stage: &Stage, customer: &str, row: &str) {
    let before = stage.standin.count("orders");
    for _ in 0..3 {
        assert_unknown(&stage.order(customer, &[]), row);
    }
    assert_eq!(stage.standin.count("orders"), before, "{row}");
}

#[test]
fn a_missing_acceptance_of_a_later_source_is_not_passed_for_an_earlier_one_that_fails() {
    let stage = center_with(PLENTY, "", LENIENT, |text| {
        text.replace("customer: [center]", "customer: [center, ledger]")
    });
    let nobody = customer(1);
    for party in [BLOCKED, &nobody] {
        refuse(&stage, party);
    }
    assert_withheld(&stage, BLOCKED, "the ledger says missing");
    assert_eq!(said(&stage.order(&nobody, &[])), is(201, ""), "nobody says anything");
}

#[test]
fn what_is_known_to_be_missing_stays_so_beside_a_hint() {
    let stage = center_with(PLENTY, "missing: 1h, recheck_after: 1h", LENIENT, |text| text);
    let party = unsigned(1);
    assert_eq!(said(&stage.order(&party, &[])), is(403, "agreement_missing"));
    refuse(&stage, &party);
    // An attestation of another agreement is only a hint.
    let body = attestation("MicrosoftCloudAgreement", SECOND, DATE);
    assert_eq!(attest(&stage, &party, &body).status, 201);
    assert_withheld(&stage, &party, "known to be missing, hinted at, and then not to be asked");
}

#[test]
fn what_is_known_to_be_missing_is_so_after_a_restart_into_an_outage() {
    let mut stage = center_with(PLENTY, "file: facts.jsonl", LENIENT, |text| text);
    let (missing, nobody) = (unsigned(1), unsigned(2));
    assert_eq!(said(&stage.order(&missing, &[])), is(403, "agreement_missing"));
    for party in [&missing, &nobody] {
        refuse(&stage, party);
    }
    stage.restart();
    assert_withheld(&stage, &missing, "saved as missing");
    assert_eq!(said(&stage.order(&nobody, &[])), is(201, ""), "nothing was ever known of it");
    // A saved "missing" is asked for again before it denies.
    stage.standin.clear_faults();
    stage.standin.set_direct(&missing, true);
    eventually(|| said(&stage.order(&missing, &[])) == is(201, ""));
}

#[test]
fn who_meets_a_source_that_says_to_wait_is_not_let_through() {
    for fault in ["status=503, wait=30", "status=429, wait=30"] {
        let stage = center_with(PLENTY, "", LENIENT, |text| text);
        let party = unsigned(1);
        stage.standin.fault("GET", &format!("{party}/"), fault, None);
        assert_withheld(&stage, &party, fault);
    }
}

/// Default values of date types, which programs send for a date that was never set.
const UNSET: [&str; 6] = [
    "0001-01-01T00:00:00",
    "0001-01-01T00:00:00Z",
    "1601-01-01T00:00:00Z",
    "1900-01-01T00:00:00",
    "1970-01-01T00:00:00Z",
    "1970-01-01",
];

#[test]
fn a_date_that_was_never_set_is_unclear() {
    for extra in ["", UNDATED_DOES] {
        let stage = center_with(PLENTY, "", extra, |text| text);
        for (number, date) in (0..).zip(UNSET) {
            let row = format!("{date}, {extra}");
            let party = unsigned(number);
            stage.standin.set_attestations(&party, vec![counting(date)]);
            assert_unknown(&stage.order(&party, &[]), &row);
            // Another attestation with a real date counts.
            let party = unsigned(100 + number);
            stage.standin.set_attestations(&party, vec![counting(date), counting(DATE)]);
            assert_eq!(said(&stage.order(&party, &[])), is(201, ""), "{row}");
        }
        // A passing attestation with such a date teaches nothing.
        let party = unsigned(1000);
        assert_eq!(attest(&stage, &party, &counting(UNSET[0])).status, 201);
        assert_unknown(&stage.order(&party, &[]), extra);
    }
    let stage = ledger_only("", UNDATED_DOES);
    let party = unsigned(1);
    assert_eq!(attest(&stage, &party, &counting(UNSET[0])).status, 201);
    assert_eq!(said(&stage.order(&party, &[])), is(409, "agreement_unrecorded"));
}

#[test]
fn a_ledger_with_a_date_that_was_never_set_is_refused() {
    let stage = Stage::start();
    let party = unsigned(1);
    for date in UNSET.iter().filter(|date| date.ends_with('Z')) {
        let record = format!("  - {{ customer: {party}, mca: {{ accepted: {date} }} }}\n");
        stage.place("agreements.yaml", &(LEDGER.to_owned() + &record), None);
        let answer = stage.reload();
        assert_eq!(answer.status, 422, "{date}: {answer:?}");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["check", "--config", stage.path("countersign.yaml").to_str().unwrap()])
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{date}: {report}");
        assert!(report.contains("agreements.yaml:8:"), "{date}: {report}");
    }
}

fn facts(stage: &Stage, customer: &str, act: &str) -> Answer {
    let method = if act.is_empty() { "GET" } else { "POST" };
    stage.admin_request(method, &format!("/facts/mca/{customer}{act}"), &[ADMIN])
}

#[test]
fn a_refresh_by_hand_asks_at_once() {
    let stage = center(PLENTY, "recheck_after: 1h, missing: 1h");
    let party = customer(1);
    assert_eq!(stage.order(&party, &[]).status, 201);
    for (accepted, status, expected) in
        [(false, "missing", is(403, "agreement_missing")), (true, "accepted", is(201, ""))]
    {
        stage.standin.set_direct(&party, accepted);
        stage.standin.set_attestations(&party, Vec::new());
        let before = asked(&stage);
        let answer = facts(&stage, &party, "/refresh");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["facts"][0]["status"], status, "{answer:?}");
        assert_eq!(asked(&stage), (before.0 + 1, before.1 + 1), "{status}");
        assert_eq!(said(&stage.order(&party, &[])), expected, "{status}");
        assert_eq!(asked(&stage), (before.0 + 1, before.1 + 1), "{status}: once");
    }
}

#[test]
fn an_answer_that_was_asked_for_before_its_party_was_forgotten_is_dropped() {
    let stage = center(PLENTY, "deadline: 15s, recheck_after: 1ms");
    // The held question is a refresh by hand of a known party, then an order for an unknown one.
    for (number, is_known) in [(1, true), (2, false)] {
        let party = customer(number);
        if is_known {
            assert_eq!(stage.order(&party, &[]).status, 201);
        }
        stage.standin.fault("GET", &format!("{party}/"), "hold", None);
        let before = asked(&stage);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| match is_known {
                true => facts(&stage, &party, "/refresh").status,
                false => stage.order(&party, &[]).status,
            });
            eventually(|| asked(&stage) == (before.0 + 1, before.1 + 1));
            let forgotten = facts(&stage, &party, "/forget");
            assert!(!is_known || forgotten.status == 200, "{forgotten:?}");
            stage.standin.clear_faults();
            stage.standin.release();
            assert_eq!(asking.join().unwrap(), if is_known { 200 } else { 201 }, "known: {is_known}");
        });
        let before = asked(&stage);
        assert_eq!(stage.order(&party, &[]).status, 201, "known: {is_known}");
        assert_eq!(asked(&stage), (before.0 + 1, before.1 + 1), "known: {is_known}");
    }
}

/// Waits for the second reading of a ledger that was written just before the start: it makes the gateway ask sources again.
fn settle(stage: &Stage) {
    let name = "countersign_ledger_reloads_total{outcome=\"ok\",source=\"ledger\"}";
    eventually(|| stage.metric(name) >= 2.0);
}

#[test]
fn an_acceptance_without_a_date_is_asked_for_again_where_a_rule_needs_one() {
    let stage = center_with(PLENTY, "recheck_after: 200ms", DATED, |text| text);
    let party = customer(1);
    settle(&stage);
    stage.standin.set_attestations(&party, Vec::new());
    assert_eq!(said(&stage.order(&party, &[])), is(409, "agreement_unrecorded"));
    stage.standin.set_attestations(&party, vec![counting(DATE)]);
    let attested_at = Instant::now();
    eventually(|| stage.order(&party, &[]).status == 201);
    assert!(attested_at.elapsed() < Duration::from_secs(2), "{:?}", attested_at.elapsed());
}

#[test]
fn an_acceptance_without_a_date_is_not_asked_for_again_and_again() {
    let stage = center_with(PLENTY, "recheck_after: 1h", DATED, |text| text);
    let party = customer(1);
    settle(&stage);
    stage.standin.set_attestations(&party, Vec::new());
    for _ in 0..5 {
        assert_eq!(said(&stage.order(&party, &[])), is(409, "agreement_unrecorded"));
    }
    assert_eq!(asked(&stage), (1, 1));
}

#[test]
fn today_without_a_zone_counts_wherever_it_was_written() {
    const MISSING: (u16, &str) = (403, "agreement_missing");
    let ahead = |hours: i64| Timestamp::now() + SignedDuration::from_hours(hours);
    let without_zone =
        |at: Timestamp| at.to_zoned(TimeZone::UTC).datetime().round(jiff::Unit::Second).unwrap();
    for extra in ["", UNDATED_DOES] {
        let stage = center_with(PLENTY, "", extra, |text| text);
        for (number, date, expected) in [
            (1, without_zone(ahead(10)).to_string(), (201, "")),
            (2, without_zone(ahead(13)).to_string(), (201, "")),
            (3, without_zone(ahead(-10)).to_string(), (201, "")),
            (4, without_zone(ahead(20)).to_string(), MISSING),
            (5, ahead(10).to_string(), MISSING),
            (6, (Timestamp::now() + SignedDuration::from_secs(60)).to_string(), (201, "")),
        ] {
            let party = unsigned(number);
            stage.standin.set_attestations(&party, vec![counting(&date)]);
            let expected = is(expected.0, expected.1);
            assert_eq!(said(&stage.order(&party, &[])), expected, "{date}, {extra}");
            // The date is judged in the same way when the attestation passes through the gateway.
            let party = unsigned(100 + number);
            assert_eq!(attest(&stage, &party, &counting(&date)).status, 201);
            stage.standin.set_attestations(&party, vec![counting(&date)]);
            assert_eq!(said(&stage.order(&party, &[])), expected, "{date}, passing, {extra}");
        }
    }
}

#[test]
fn an_old_date_of_one_source_hides_no_newer_one_of_the_next() {
    let stage =
        center_with(PLENTY, "", "", |text| text.replace("customer: [center]", "customer: [ledger, center]"));
    let parties: Vec<String> = (1..=4).map(unsigned).collect();
    let record =
        |party: &String| format!("  - {{ customer: {party}, mca: {{ accepted: 2019-09-01T00:00:00Z }} }}\n");
    let records: String = parties.iter().map(record).collect();
    stage.place("agreements.yaml", &center_ledger(&records), None);
    assert_eq!(stage.reload().status, 200);
    let [newer, down, nothing, as_old] = &parties[..] else { panic!("four of them") };
    stage.standin.set_attestations(newer, vec![counting(DATE)]);
    refuse(&stage, down);
    stage.standin.set_attestations(as_old, vec![counting("2020-01-01T00:00:00")]);
    for (row, party, expected) in [
        ("a newer one", newer, is(201, "")),
        ("a failure", down, is(503, "agreement_unknown")),
        ("none", nothing, is(403, "agreement_too_old")),
        ("an old one too", as_old, is(403, "agreement_too_old")),
    ] {
        assert_eq!(said(&stage.order(party, &[])), expected, "{row}");
    }
}

#[test]
fn a_doubt_is_not_lifted_by_the_same_attestation_once_more() {
    let stage = center(PLENTY, "");
    let party = unsigned(1);
    teach(&stage, &party);
    let before = asked(&stage);
    stage.standin.refuse_orders(&party, Some(13605));
    assert_eq!(said(&stage.order(&party, &[])), is(403, ""));
    stage.standin.refuse_orders(&party, None);
    assert_eq!(attest(&stage, &party, &counting(DATE)).status, 201);
    withdraw(&stage, &party);
    assert_eq!(said(&stage.order(&party, &[])), is(403, "agreement_missing"));
    assert_eq!(asked(&stage), (before.0 + 1, before.1 + 1));
}

#[test]
fn a_doubt_of_a_direct_acceptance_is_not_lifted_by_reading_it_once_more() {
    let stage = center(PLENTY, "");
    let party = unsigned(1);
    let path = format!("/v1/customers/{party}/directSignedMicrosoftCustomerAgreementStatus");
    let read = || {
        let signed = as_fault("{\"isSigned\":true}");
        assert_eq!(stage.send("GET", &path, &[("Standin-Fault", &signed)], b"").status, 200);
    };
    read();
    assert_eq!(said(&stage.order(&party, &[])), is(201, ""));
    stage.standin.refuse_orders(&party, Some(13605));
    assert_eq!(said(&stage.order(&party, &[])), is(403, ""));
    stage.standin.refuse_orders(&party, None);
    read();
    let before = asked(&stage);
    assert_eq!(said(&stage.order(&party, &[])), is(403, "agreement_missing"));
    assert_eq!(asked(&stage), (before.0 + 1, before.1 + 1));
}
