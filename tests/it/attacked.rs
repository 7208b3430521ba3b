//! Attacked: histories by which an acceptance outlived what ended it, or a source was asked without end. None does any more.

use std::time::Instant;

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::belief::{ADMIN, DATE, DATED, SECOND, learns};
use crate::center::{
    OTHER, PLENTY, TEMPLATE, as_fault, asked, attestation, counting, customer, is, said, unsigned,
    unstarted_center,
};
use crate::shifted_clock::{Process, Shift, hours};
use crate::stage::{PARTNER, eventually};

const LEDGER: &str = "[ledger]";
const CENTER: &str = "[center]";
const BOTH: &str = "[ledger, center]";
const TWO_CENTERS: &str = "[center, second]";
const SHOP: &str = "[shop]";

/// A gateway that asks these sources about customers. The center speaks for the first partner, the second one for the other;
/// the shop is of `type: http`.
fn gateway_with(sources: &str, cache: &str, extra: &str) -> Process {
    let stage = unstarted_center(PLENTY, cache, extra, |text| {
        let center = text.lines().find(|line| line.starts_with("    center:")).expect("a source").to_owned();
        let second = center.replace("    center:", "    second:").replace(PARTNER, OTHER);
        let url = center.split("url: ").nth(1).unwrap().split(',').next().unwrap();
        let shop =
            format!("    shop: {{ type: http, url: \"{url}/v1/shop/{{id}}\", accepted: /ok{PLENTY} }}");
        let more = match sources {
            TWO_CENTERS => format!("{center}\n{second}"),
            SHOP => format!("{center}\n{shop}"),
            _ => center.clone(),
        };
        text.replace(&center, &more).replace("customer: [center]", &format!("customer: {sources}"))
    });
    let process = Process::start(stage);
    // The second reading of a ledger that was written just before the start makes the gateway ask sources again.
    eventually(|| ledgers_read(&process) >= 1);
    process
}

fn gateway(sources: &str, cache: &str) -> Process {
    gateway_with(sources, cache, "")
}

/// Readings of the ledger so far that the watcher made because the file looked changed.
fn ledgers_read(process: &Process) -> u64 {
    let page = String::from_utf8(process.admin_request("GET", "/metrics", &[]).body).unwrap();
    let name = "countersign_ledger_reloads_total{outcome=\"ok\",source=\"ledger\"} ";
    let value = page.lines().find_map(|line| line.strip_prefix(name));
    value.map_or(0, |value| value.parse().unwrap())
}

/// Puts a ledger with further records in force, and waits until it was read a second time.
fn record(process: &Process, records: &str) {
    let before = ledgers_read(process);
    process.record(records);
    eventually(|| ledgers_read(process) > before);
}

fn missing(customer: &str) -> String {
    format!("  - {{ customer: {customer}, mca: missing }}\n")
}

fn reload(process: &Process) {
    let answer = process.admin_request("POST", "/reload", &[ADMIN]);
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Replaces a part of the configuration and puts it in force.
fn reconfigure(process: &Process, from: &str, to: &str) {
    let path = process.stage.path("countersign.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from) && from != to, "nothing was edited");
    std::fs::write(path, text.replace(from, to)).unwrap();
    reload(process);
}

/// Passes an attestation through the gateway, then removes it from Partner Center.
fn attest(process: &Process, partner: &str, customer: &str, body: &Value) {
    let path = format!("/v1/customers/{customer}/agreements");
    assert_eq!(process.send(partner, "POST", &path, &[], body.to_string().as_bytes()).status, 201);
    process.stage.standin.set_attestations(customer, Vec::new());
}

/// Passes the reading of a direct acceptance, which counts for every partner. Only the gateway knows of it.
fn read_direct(process: &Process, partner: &str, customer: &str) {
    let path = format!("/v1/customers/{customer}/directSignedMicrosoftCustomerAgreementStatus");
    let signed = as_fault("{\"isSigned\":true}");
    let answer = process.send(partner, "GET", &path, &[("Standin-Fault", &signed)], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn order(process: &Process, partner: &str, customer: &str) -> (u16, String) {
    said(&process.order_by(partner, customer))
}

/// Has the upstream refuse an order, which contradicts what was learnt.
fn refuse_order(process: &Process, partner: &str, customer: &str) {
    process.stage.standin.refuse_orders(customer, Some(13605));
    assert_eq!(order(process, partner, customer), is(403, ""), "it is the upstream that refuses");
    process.stage.standin.refuse_orders(customer, None);
}

fn shop_asked(process: &Process) -> usize {
    let recorded = process.stage.standin.recorded();
    recorded.iter().filter(|request| request.target.starts_with("/v1/shop/")).count()
}

fn wall(by: SignedDuration) -> Shift {
    Shift { wall: by, ..Shift::default() }
}

#[test]
fn a_ledger_stays_as_old_as_it_was_though_the_wall_clock_is_set() {
    for sources in [LEDGER, BOTH] {
        let mut process = gateway(sources, "file: facts.jsonl");
        let party = unsigned(1);
        attest(&process, PARTNER, &party, &counting(DATE));
        assert_eq!(order(&process, PARTNER, &party), is(201, ""), "{sources}");
        record(&process, &missing(&party));
        for by in [2, 48] {
            process.shift(wall(hours(by)));
            reload(&process);
            assert_eq!(order(&process, PARTNER, &party), is(403, "agreement_missing"), "{sources} {by} h");
        }

        let mut process = gateway(sources, "file: facts.jsonl");
        record(&process, &missing(&party));
        assert_eq!(order(&process, PARTNER, &party), is(403, "agreement_missing"), "{sources}");
        attest(&process, PARTNER, &party, &counting(DATE));
        process.shift(wall(hours(-1)));
        reload(&process);
        assert_eq!(order(&process, PARTNER, &party), is(201, ""), "{sources}, learnt since");
    }
}

#[test]
fn what_a_partner_confirms_does_not_pass_for_another_one_beyond_its_time() {
    for reader in [PARTNER, OTHER] {
        let mut process = gateway(CENTER, "file: facts.jsonl");
        let party = unsigned(1);
        process.stage.standin.set_attestations(&party, vec![counting(DATE)]);
        read_direct(&process, reader, &party);
        for day in (0..100).step_by(10) {
            assert_eq!(order(&process, PARTNER, &party), is(201, ""), "{reader}, day {day}");
            let expected = if day < 30 { is(201, "") } else { is(409, "agreement_unrecorded") };
            assert_eq!(order(&process, OTHER, &party), expected, "{reader}, day {day}");
            process.sleep(hours(240));
        }
    }
}

#[test]
fn what_a_partner_confirms_does_not_outlive_the_ledger_for_another_one() {
    for confirms in [false, true] {
        let mut process = gateway(BOTH, "");
        let party = unsigned(1);
        process.stage.standin.set_attestations(&party, vec![counting(DATE)]);
        read_direct(&process, PARTNER, &party);
        assert_eq!(order(&process, OTHER, &party), is(201, ""));
        record(&process, &format!("  - {{ customer: {party}, attested_by: {OTHER}, mca: missing }}\n"));
        if confirms {
            process.sleep(hours(13));
            let before = asked(&process.stage);
            assert_eq!(order(&process, PARTNER, &party), is(201, ""));
            assert!(asked(&process.stage) > before, "it was not confirmed");
        }
        assert_eq!(order(&process, OTHER, &party), is(403, "agreement_missing"), "confirmed: {confirms}");
    }
}

#[test]
fn what_a_ledger_ended_does_not_come_back_with_an_attestation_that_is_too_old() {
    for still_recorded in [false, true] {
        let process = gateway(LEDGER, "");
        let party = unsigned(1);
        read_direct(&process, PARTNER, &party);
        assert_eq!(order(&process, PARTNER, &party), is(201, ""));
        record(&process, &missing(&party));
        assert_eq!(order(&process, PARTNER, &party), is(403, "agreement_missing"));
        if !still_recorded {
            record(&process, "");
        }
        attest(&process, PARTNER, &party, &counting("2019-09-01T00:00:00Z"));
        let row = format!("still recorded: {still_recorded}");
        assert_eq!(order(&process, PARTNER, &party), is(403, "agreement_too_old"), "{row}");
    }
}

#[test]
fn what_a_source_ended_does_not_come_back_once_a_later_attestation_is_retired() {
    let (both, first) = (learns(&[TEMPLATE, SECOND]), learns(&[TEMPLATE]));
    let process = gateway_with(CENTER, "file: facts.jsonl", &both);
    let party = unsigned(1);
    read_direct(&process, PARTNER, &party);
    assert_eq!(order(&process, PARTNER, &party), is(201, ""));
    let refresh = format!("/facts/mca/{party}/refresh");
    assert_eq!(process.admin_request("POST", &refresh, &[ADMIN]).status, 200);
    assert_eq!(order(&process, PARTNER, &party), is(403, "agreement_missing"));
    attest(&process, PARTNER, &party, &attestation("MicrosoftCustomerAgreement", SECOND, DATE));
    assert_eq!(order(&process, PARTNER, &party), is(201, ""));
    reconfigure(&process, &both, &first);
    assert_eq!(order(&process, PARTNER, &party), is(403, "agreement_missing"));
}

#[test]
fn what_was_contradicted_stands_in_for_no_source_of_another_partner() {
    for fault in ["status=403", "hang"] {
        for (reader, is_stale) in [(PARTNER, false), (PARTNER, true), (OTHER, false), (OTHER, true)] {
            let mut process = gateway(TWO_CENTERS, "deadline: 400ms, stale: 1h");
            let party = unsigned(1);
            let row = format!("{fault}, read by {reader}, stale: {is_stale}");
            read_direct(&process, reader, &party);
            for partner in [PARTNER, OTHER] {
                assert_eq!(order(&process, partner, &party), is(201, ""), "{row}");
            }
            process.stage.standin.fault("GET", &format!("{party}/"), fault, None);
            if is_stale {
                process.sleep(SignedDuration::from_mins(12 * 60 + 10));
            }
            assert_eq!(order(&process, OTHER, &party), is(201, ""), "{row}: nobody contradicted it");
            refuse_order(&process, PARTNER, &party);
            for _ in 0..4 {
                assert_eq!(order(&process, OTHER, &party), is(503, "agreement_unknown"), "{row}");
                // A failure is kept for a moment.
                process.sleep(SignedDuration::from_secs(2));
            }
        }
    }
}

#[test]
fn beyond_its_time_nothing_that_was_learnt_serves_while_a_source_hangs() {
    for hints in [false, true] {
        let mut process = gateway(SHOP, "learnt: 30m, stale: 1h, deadline: 300ms");
        let party = unsigned(1);
        attest(&process, PARTNER, &party, &counting(DATE));
        assert_eq!(order(&process, PARTNER, &party), is(201, ""));
        if hints {
            // An attestation of another agreement has the source asked.
            let body = attestation("MicrosoftCloudAgreement", SECOND, DATE);
            attest(&process, PARTNER, &party, &body);
            assert_eq!(order(&process, PARTNER, &party), is(201, ""));
        }
        process.stage.standin.fault("GET", "/v1/shop/", "hang", None);
        process.sleep(SignedDuration::from_mins(31));
        for _ in 0..4 {
            assert_eq!(order(&process, PARTNER, &party), is(503, "agreement_unknown"), "hinted: {hints}");
            process.sleep(SignedDuration::from_secs(2));
        }
    }
}

#[test]
fn a_second_refusal_keeps_the_memory_of_the_first() {
    for twice in [false, true] {
        let process = gateway(BOTH, "recheck_after: 1h");
        let standin = &process.stage.standin;
        let party = unsigned(1);
        attest(&process, PARTNER, &party, &counting(DATE));
        assert_eq!(order(&process, PARTNER, &party), is(201, ""));
        standin.refuse_orders(&party, Some(13605));
        if twice {
            standin.fault("POST", &format!("{party}/orders"), "hold", Some(1));
        }
        let before = standin.request_count();
        std::thread::scope(|scope| {
            let held = twice.then(|| scope.spawn(|| order(&process, PARTNER, &party)));
            eventually(|| !twice || standin.request_count() > before);
            assert_eq!(order(&process, PARTNER, &party), is(403, ""), "it is the upstream that refuses");
            assert_eq!(order(&process, PARTNER, &party), is(403, "agreement_missing"));
            standin.release();
            let held = held.map(|held| held.join().unwrap());
            assert_eq!(held, twice.then(|| is(403, "")));
        });
        standin.refuse_orders(&party, None);
        attest(&process, PARTNER, &party, &counting(DATE));
        assert_eq!(order(&process, PARTNER, &party), is(403, "agreement_missing"), "twice: {twice}");
    }
}

#[test]
fn a_source_that_fails_is_asked_once_a_second_at_most_for_what_is_not_enough() {
    for (row, extra, items, denial) in [
        ("undated", DATED, vec![], is(409, "agreement_unrecorded")),
        ("too old", "", vec![counting("2019-09-01T00:00:00Z")], is(403, "agreement_too_old")),
    ] {
        let mut process = gateway_with(CENTER, "recheck_after: 100ms", extra);
        let party = unsigned(1);
        process.stage.standin.set_direct(&party, items.is_empty());
        process.stage.standin.set_attestations(&party, items);
        assert_eq!(order(&process, PARTNER, &party), denial, "{row}");
        process.stage.standin.fault("GET", &format!("{party}/"), "status=403", None);
        process.sleep(SignedDuration::from_secs(2));
        let (before, started) = (asked(&process.stage), Instant::now());
        for _ in 0..100 {
            assert_ne!(order(&process, PARTNER, &party).0, 201, "{row}");
        }
        let (seconds, after) = (started.elapsed().as_secs(), asked(&process.stage));
        for pairs in [after.0 - before.0, after.1 - before.1] {
            assert!((1..=seconds + 2).contains(&pairs), "{row}: {pairs} in {seconds} s");
        }
    }
}

#[test]
fn what_no_source_knows_any_more_ends_with_its_time_and_is_not_asked_for_by_every_order() {
    let mut process = gateway(SHOP, "");
    let party = unsigned(1);
    let resource = format!("/v1/shop/{party}");
    attest(&process, PARTNER, &party, &counting(DATE));
    process.stage.standin.set_resource(&resource, json!({ "ok": true }), None);
    process.sleep(hours(20 * 24));
    assert_eq!(order(&process, PARTNER, &party), is(201, ""));
    assert_eq!(shop_asked(&process), 1, "it was confirmed");
    process.stage.standin.forget_resource(&resource);
    for day in (20..70).step_by(5) {
        let answers: Vec<_> = (0..5).map(|_| order(&process, PARTNER, &party)).collect();
        let asked = shop_asked(&process);
        assert!(asked <= 1, "day {day}: {asked} questions, {answers:?}");
        let expected = if day < 30 { is(201, "") } else { is(409, "agreement_unrecorded") };
        assert_eq!(answers, vec![expected; 5], "day {day}");
        process.sleep(hours(120));
    }
}

#[test]
fn what_a_partner_says_whom_no_source_speaks_for_counts_again_after_a_refusal() {
    for sources in [LEDGER, BOTH] {
        let process = gateway(sources, "");
        for (by, party) in [("attestation", unsigned(1)), ("reading", unsigned(2))] {
            let teach = || match by {
                "attestation" => attest(&process, OTHER, &party, &counting(DATE)),
                _ => read_direct(&process, OTHER, &party),
            };
            teach();
            assert_eq!(order(&process, OTHER, &party), is(201, ""), "{sources} {by}");
            refuse_order(&process, OTHER, &party);
            assert_ne!(order(&process, OTHER, &party).0, 201, "{sources} {by}");
            teach();
            assert_eq!(order(&process, OTHER, &party), is(201, ""), "{sources} {by}, again");
        }
    }
}

#[test]
fn what_was_learnt_serves_the_first_order_after_a_restart_while_the_source_hangs() {
    for restarts in [false, true] {
        let mut process = gateway(CENTER, "file: facts.jsonl, deadline: 500ms");
        let (learnt, known) = (unsigned(1), customer(2));
        attest(&process, PARTNER, &learnt, &counting(DATE));
        for party in [&learnt, &known] {
            assert_eq!(order(&process, PARTNER, party), is(201, ""), "{party}");
        }
        process.sleep(SignedDuration::from_mins(12 * 60 + 10));
        if restarts {
            process.restart();
        }
        process.stage.standin.fault("GET", "/v1/customers/", "hang", None);
        for party in [&learnt, &known] {
            assert_eq!(order(&process, PARTNER, party), is(201, ""), "{party}, restarts: {restarts}");
            // The record is written behind the answer.
            let told = || {
                let records = process.stage.records();
                let last = records.into_iter().rev().find(|record| record["customer"] == **party).unwrap();
                last["needs"][1]["failure"] == "deadline"
            };
            eventually(told);
        }
    }
}

#[test]
fn members_of_a_rule_in_another_order_keep_what_it_taught() {
    let rule = learns(&[TEMPLATE]);
    let reordered = rule.replace(
        &format!("/type: [MicrosoftCustomerAgreement], /templateId: [{TEMPLATE}]"),
        &format!("/templateId: [{TEMPLATE}], /type: [MicrosoftCustomerAgreement]"),
    );
    let mut process = gateway_with(LEDGER, "file: facts.jsonl", &rule);
    let party = unsigned(1);
    attest(&process, PARTNER, &party, &counting(DATE));
    assert_eq!(order(&process, PARTNER, &party), is(201, ""));
    reconfigure(&process, &rule, &reordered);
    assert_eq!(order(&process, PARTNER, &party), is(201, ""));
    process.restart();
    assert_eq!(order(&process, PARTNER, &party), is(201, ""), "after a restart");
}
