//! Partner Center as a source, behind a whole gateway: what it says decides, and what it does not say is never "missing".

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use countersign::standin::PartnerStatus;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::http::{Answer, Connection};
use crate::stage::{CUSTOMER, ISSUERS, LEDGER, LICENCE, PARTNER, Stage, eventually, order, orders};

/// A second partner that has signed.
pub const OTHER: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a03";
/// Keys of a source that may be asked as often as a test likes.
pub const PLENTY: &str = ", requests_per_minute: 1000000, caller_share: 100";
/// The template of the customer agreement, and that of the one before it.
pub const TEMPLATE: &str = "117a77b0-9360-443b-8795-c6dedc750cf9";
const CLOUD_TEMPLATE: &str = "998b88de-aa99-4388-a42c-1b3517d49490";

/// A gateway that asks the stand-in about resellers and customers, and reads carts and subscriptions there.
pub fn center(source: &str, cache: &str) -> Stage {
    center_with(source, cache, "", |text| text)
}

/// Such a gateway with further sections, whose configuration is edited. A second partner calls it too.
pub fn center_with(source: &str, cache: &str, extra: &str, edit: impl Fn(String) -> String) -> Stage {
    Stage::edited(extra, |text, folder| edit(asks_center(&text, folder, source, cache)))
}

/// The same stage without a started gateway.
pub fn unstarted_center(source: &str, cache: &str, extra: &str, edit: impl Fn(String) -> String) -> Stage {
    Stage::unstarted(ISSUERS, extra, |text, folder| edit(asks_center(&text, folder, source, cache)))
}

/// The configuration of a stage, with the stand-in as a source and a second partner.
fn asks_center(text: &str, folder: &Path, source: &str, cache: &str) -> String {
    let start = text.find("url: ").unwrap() + "url: ".len();
    let url = &text[start..start + text[start..].find(',').unwrap()];
    for name in ["secret", "refresh"] {
        std::fs::write(folder.join(name), name).unwrap();
    }
    std::fs::write(folder.join("agreements.yaml"), center_ledger("")).unwrap();
    let token = format!(
        "{{ grant: refresh_token, url: {url}/oauth2/token, client_id: gateway, \
         client_secret_file: secret, refresh_token_file: refresh }}"
    );
    let sources = format!(
        "  sources:\n    center: {{ type: partner_center, url: {url}, partner: {PARTNER}, \
         timeout: 3s, token: {token}{source} }}\n"
    );
    let known = format!("  known:\n    - {{ tenant: {OTHER}, kind: direct_bill, country: DE, roles: [] }}\n");
    text.replace("  known:\n", &known)
        .replace("  sources:\n", &sources)
        .replace("reseller: [ledger]", "reseller: [center]")
        .replace("customer: [ledger]\n", &format!("customer: [center]\n  cache: {{ {cache} }}\n"))
        .replace("upstream: { url", "upstream: { reads: center, url")
}

/// The ledger of such a gateway, with further records.
pub fn center_ledger(records: &str) -> String {
    format!("{LEDGER}  - {{ partner: {OTHER}, mpa: {{ accepted: 2020-01-15T00:00:00Z }} }}\n{records}")
}

/// A gateway that asks as either of two billing partners.
pub fn two_centers(cache: &str) -> Stage {
    center_with(PLENTY, cache, "", |text| {
        let line = text.lines().find(|line| line.starts_with("    center:")).expect("a source").to_owned();
        let second = line.replace("    center:", "    second:").replace(PARTNER, OTHER);
        text.replace(&line, &format!("{line}\n{second}"))
            .replace("customer: [center]", "customer: [center, second]")
            .replace("reseller: [center]", "reseller: [center, second]")
    })
}

/// The Authorization of an agent of a partner.
pub fn agent_of(stage: &Stage, partner: &str) -> String {
    format!("Bearer {}", stage.token(partner, &["AdminAgent"]))
}

/// A customer by number. One whose number ends in `bad` has accepted nothing.
pub fn customer(number: u32) -> String {
    format!("c0a80101-6d2b-4c1e-8f11-{number:012x}")
}

/// A customer by number that has accepted nothing.
pub fn unsigned(number: u32) -> String {
    format!("c0a80101-6d2b-4c1e-8f12-{number:08x}0bad")
}

pub fn attestation(kind: &str, template: &str, date: &str) -> Value {
    json!({ "type": kind, "templateId": template, "dateAgreed": date })
}

/// An attestation that counts.
pub fn counting(date: &str) -> Value {
    attestation("MicrosoftCustomerAgreement", TEMPLATE, date)
}

/// An order that names a reseller.
pub fn order_of(stage: &Stage, customer: &str, reseller: &str, headers: &[(&str, &str)]) -> Answer {
    let body = json!({ "lineItems": [{ "offerId": LICENCE, "partnerIdOnRecord": reseller }] }).to_string();
    stage.send("POST", &orders(customer), headers, body.as_bytes())
}

/// How often it was asked about customers: directly, and for attestations.
pub fn asked(stage: &Stage) -> (u64, u64) {
    (stage.standin.count("direct"), stage.standin.count("attestations"))
}

/// Status and reason of an answer; an answer of the stand-in's own has no reason.
pub fn said(answer: &Answer) -> (u16, String) {
    let is_own = answer.header("content-type") == Some("application/problem+json");
    (answer.status, if is_own { answer.reason() } else { String::new() })
}

pub fn is(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

/// A denial for not knowing says when to come back.
pub fn assert_unknown(answer: &Answer, row: &str) {
    assert_eq!(said(answer), is(503, "agreement_unknown"), "{row}: {answer:?}");
    assert!(answer.header("retry-after").is_some(), "{row}: {answer:?}");
}

/// A text as the value of the fault `body`.
pub fn as_fault(text: &str) -> String {
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
    format!("body={encoded}")
}

#[test]
fn customers_and_resellers_are_looked_up_once_and_decide() {
    let stage = center("", "");
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    assert_eq!((stage.standin.count("direct"), stage.standin.count("attestations")), (1, 1));
    let denied = stage.order("c0a80101-6d2b-4c1e-8f10-000000000bad", &[]);
    assert_eq!((denied.status, &denied.json()["code"]), (403, &json!(13605)));
    for (mpn, status) in [("4847383", 201), ("5130400", 403)] {
        let body = json!({ "lineItems": [{ "offerId": LICENCE, "partnerIdOnRecord": mpn }] }).to_string();
        let answer = stage.send("POST", &orders(CUSTOMER), &[], body.as_bytes());
        assert_eq!(answer.status, status, "{mpn}: {answer:?}");
    }
    assert_eq!(stage.standin.count("partner_status"), 2);
    assert_eq!(stage.standin.count("token"), 1);
}

#[test]
fn every_answer_about_a_reseller_has_its_status_code_and_text() {
    use PartnerStatus::{Code, False, Signed};
    const MISSING: (&str, &str) = ("has not been signed by the reseller", "n'a pas signé");
    const UNKNOWN: (&str, &str) = ("is not known, so that no", "n'est pas connu");
    const REGION: (&str, &str) = ("is in another CSP region", "dans une autre région CSP");
    const ENROLLED: (&str, &str) = ("is not enrolled as an indirect reseller", "n'est pas inscrit");
    const NOTHING: (&str, &str) = ("It could not be learnt whether the reseller", "Impossible de savoir");
    let rows = [
        (Signed, 201, MISSING),
        (False, 403, MISSING),
        (Code(2000), 503, NOTHING),
        (Code(2001), 503, NOTHING),
        (Code(2200), 403, UNKNOWN),
        (Code(2201), 403, REGION),
        (Code(2202), 503, NOTHING),
        (Code(2203), 403, MISSING),
        (Code(2204), 403, ENROLLED),
        (Code(2205), 403, UNKNOWN),
        (Code(2206), 403, MISSING),
        (Code(900_123), 503, NOTHING),
    ];
    let stage = center(PLENTY, "");
    for (at, (told, status, (english, french))) in rows.into_iter().enumerate() {
        for id in [format!("48473{at:02}"), format!("7d1c4a52-2f0e-4b7a-9a51-{at:012}")] {
            stage.standin.set_partner_status(&id, told);
            for (locale, text) in [("en-US", english), ("fr", french)] {
                let answer = order_of(&stage, CUSTOMER, &id, &[("X-Locale", locale)]);
                assert_eq!(answer.status, status, "{told:?} {id}: {answer:?}");
                if status == 201 {
                    continue;
                }
                let problem = answer.json();
                let code = if status == 403 { 900_123 } else { 1_000_001 };
                assert_eq!(problem["code"], code, "{told:?} {id}");
                let reason = if status == 403 { "agreement_missing" } else { "agreement_unknown" };
                assert_eq!(problem["findings"][0]["reason"], reason, "{told:?} {id}");
                assert_eq!(problem["findings"][0]["id"], id, "{told:?} {id}");
                assert_eq!(answer.header("retry-after").is_some(), status == 503, "{told:?} {id}");
                let detail = problem["detail"].as_str().unwrap();
                assert!(detail.contains(text) && detail.contains(&id), "{told:?} {locale}: {detail}");
            }
        }
    }
}

/// What can be wrong with any answer.
pub const BROKEN: [&str; 12] = [
    "status=404",
    "status=403",
    "status=401",
    "status=500",
    "garbage",
    "html",
    "empty",
    "mistyped",
    "gzip",
    "truncate",
    "reset",
    "nocontent",
];

/// What can be wrong with the answer to a look-up.
pub const FAULTS: &[&str] = &[
    "garbage",
    "html",
    "empty",
    "mistyped",
    "gzip",
    "truncate",
    "reset",
    "nocontent",
    "notmodified",
    "upgrade",
    "large=2MiB",
    "chunked=2MiB",
    "echo",
    "status=302",
    "status=400",
    "status=401",
    "status=403",
    "status=404",
    "status=409",
    "status=500",
    "status=503",
    "body=%5B%5D",
    "body=null",
    "body=%7B%7D",
    "body=%7B%22isSigned%22%3A%22true%22%7D",
    "body=%7B%22isSigned%22%3Anull%2C%22items%22%3Anull%2C%22isAgreementSigned%22%3Anull%7D",
    "body=%7B%22isSigned%22%3A1%2C%22items%22%3A%7B%7D%2C%22isAgreementSigned%22%3A1%7D",
    "body=%7B%22isSigned%22%3A%7B%7D%2C%22items%22%3A%22%22%2C%22isAgreementSigned%22%3A%5Btrue%5D%7D",
];

#[test]
fn an_unknown_party_whose_look_up_fails_is_unknown_and_never_missing() {
    let stage = center(PLENTY, "");
    let known = customer(1);
    assert_eq!(stage.order(&known, &[]).status, 201);
    let mut number = 100;
    for fault in FAULTS {
        for (path, reseller) in
            [("/v1/customers/", None), ("directSigned", None), ("agreementstatus", Some("4847384"))]
        {
            number += 1;
            stage.standin.fault("GET", path, fault, None);
            let started = Instant::now();
            // Where only one of two questions fails, the other one has nothing to tell.
            let party = unsigned(number);
            let answer = match reseller {
                None => stage.order(&party, &[]),
                Some(mpn) => order_of(&stage, &known, mpn, &[]),
            };
            let took = started.elapsed();
            assert_unknown(&answer, &format!("{fault} at {path}"));
            assert!(took < Duration::from_millis(2200), "{fault} at {path}: {took:?}");
            assert_eq!(stage.order(&known, &[]).status, 201, "{fault} at {path}");
            stage.standin.clear_faults();
            // What answers again is not left alone.
            eventually(|| stage.order(&customer(number), &[]).status == 201);
        }
    }
    // Now that it answers, the last one is what it is.
    eventually(|| stage.order(&unsigned(number), &[]).status == 403);
}

#[test]
fn a_look_up_that_hangs_ends_with_its_deadline() {
    let stage = center(PLENTY, "");
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    stage.standin.fault("GET", "", "hang", None);
    let started = Instant::now();
    assert_unknown(&stage.order(&customer(2), &[]), "hang");
    let took = started.elapsed();
    assert!(Duration::from_millis(1900) < took && took < Duration::from_millis(2200), "{took:?}");
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
}

#[test]
fn a_source_that_throttles_leaves_parties_unknown() {
    let stage = center(PLENTY, "deadline: 500ms");
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    stage.standin.fault("GET", "", "status=429", None);
    let before = asked(&stage);
    for number in 0..20 {
        assert_unknown(&stage.order(&customer(100 + number), &[]), "status=429");
        assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    }
    // It said when to come back: until then it is left alone.
    let after = asked(&stage);
    assert!(after.0 + after.1 - before.0 - before.1 <= 2, "{before:?} {after:?}");
}

#[test]
fn a_source_that_keeps_failing_is_left_alone_and_asked_again_later() {
    let stage = center(PLENTY, "");
    stage.standin.fault("GET", "/v1/customers/", "status=500", None);
    for number in 0..50 {
        assert_unknown(&stage.order(&customer(number), &[]), "status=500");
    }
    let (direct, attested) = asked(&stage);
    assert!(direct + attested <= 20, "{direct} {attested}");
    stage.standin.clear_faults();
    eventually(|| stage.order(CUSTOMER, &[]).status == 201);
}

#[test]
fn a_known_customer_keeps_ordering_while_nothing_newer_can_be_learnt() {
    for fault in ["status=500", "status=403", "html", "reset"] {
        let stage = center(PLENTY, "accepted: 100ms, stale: 1h");
        assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
        stage.standin.fault("GET", "/v1/customers/", fault, None);
        let before = asked(&stage);
        let order = || assert_eq!(stage.order(CUSTOMER, &[]).status, 201, "{fault}");
        eventually(|| {
            order();
            asked(&stage) > before
        });
        (0..20).for_each(|_| order());
    }
    // One that hangs is waited for, but no longer than look-ups may take.
    let stage = center(PLENTY, "accepted: 100ms, stale: 1h, deadline: 500ms");
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    stage.standin.fault("GET", "/v1/customers/", "hang", None);
    let before = asked(&stage);
    eventually(|| {
        let started = Instant::now();
        assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
        assert!(started.elapsed() < Duration::from_millis(800), "{:?}", started.elapsed());
        asked(&stage) > before
    });
    // Only for so long.
    let stage = center(PLENTY, "accepted: 100ms, stale: 400ms");
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    let known_since = Instant::now();
    stage.standin.fault("GET", "/v1/customers/", "status=500", None);
    eventually(|| {
        let answer = stage.order(CUSTOMER, &[]);
        match answer.status {
            201 => assert!(known_since.elapsed() < Duration::from_secs(2), "it serves for ever"),
            _ => assert_unknown(&answer, "beyond `stale`"),
        }
        answer.status == 503
    });
    assert!(known_since.elapsed() >= Duration::from_millis(400), "it did not serve");
    assert_unknown(&stage.order(CUSTOMER, &[]), "beyond `stale`");
}

/// What there is of attestations of a customer.
const ATTESTED: [&str; 9] =
    ["new", "old", "other type", "other template", "future", "none", "fails", "unset", "today in the east"];

/// The hour of clocks that are ten hours east of UTC, without a zone.
pub fn in_the_east() -> String {
    (Timestamp::now() + SignedDuration::from_hours(10)).strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

fn set_attested(stage: &Stage, customer: &str, what: &str) {
    const MCA: &str = "MicrosoftCustomerAgreement";
    let item = match what {
        "new" => attestation(MCA, TEMPLATE, "2024-05-13T00:00:00"),
        "old" => attestation(MCA, TEMPLATE, "2021-05-13T00:00:00"),
        "other type" => attestation("MicrosoftCloudAgreement", TEMPLATE, "2024-05-13T00:00:00"),
        "other template" => attestation(MCA, CLOUD_TEMPLATE, "2024-05-13T00:00:00"),
        "future" => attestation(MCA, TEMPLATE, "2099-01-01T00:00:00"),
        "unset" => attestation(MCA, TEMPLATE, "0001-01-01T00:00:00"),
        "today in the east" => attestation(MCA, TEMPLATE, &in_the_east()),
        "none" => return stage.standin.set_attestations(customer, Vec::new()),
        _ => {
            return stage.standin.fault("GET", &format!("{customer}/agreements"), "status=500", Some(1));
        }
    };
    stage.standin.set_attestations(customer, vec![item]);
}

#[test]
fn either_acceptance_counts_and_a_denial_needs_both_answers() {
    const OK: (u16, &str) = (201, "");
    const OLD: (u16, &str) = (403, "agreement_too_old");
    const NO: (u16, &str) = (403, "agreement_missing");
    const UNKNOWN: (u16, &str) = (503, "agreement_unknown");
    const UNDATED: (u16, &str) = (409, "agreement_unrecorded");
    let dated = "policy: { rules: [{ name: dated, when: { class: [purchase] }, requires: { agreement: mca, \
                 of: customer, accepted_since: 2023-04-01T00:00:00Z, undated: unknown } }] }\n";
    // The columns are those of `ATTESTED`.
    let tables = [
        (
            "",
            [
                ("yes", [OK, OK, OK, OK, OK, OK, OK, OK, OK]),
                ("no", [OK, OLD, NO, NO, NO, NO, UNKNOWN, UNKNOWN, OK]),
                ("fails", [OK, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, OK]),
            ],
        ),
        (
            dated,
            [
                ("yes", [OK, UNDATED, UNDATED, UNDATED, UNDATED, UNDATED, UNKNOWN, UNKNOWN, OK]),
                ("no", [OK, OLD, NO, NO, NO, NO, UNKNOWN, UNKNOWN, OK]),
                ("fails", [OK, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, OK]),
            ],
        ),
    ];
    for (extra, table) in tables {
        let stage = center_with(PLENTY, "", extra, |text| text);
        let mut number = 0;
        for (direct, expected) in table {
            for (attested, (status, reason)) in ATTESTED.into_iter().zip(expected) {
                number += 1;
                let party = customer(number);
                set_attested(&stage, &party, attested);
                match direct {
                    "fails" => {
                        let path = format!("{party}/directSigned");
                        stage.standin.fault("GET", &path, "status=500", Some(1));
                    }
                    said => stage.standin.set_direct(&party, said == "yes"),
                }
                let answer = stage.order(&party, &[]);
                let row = format!("direct {direct}, attested {attested}, {extra}");
                assert_eq!(said(&answer), is(status, reason), "{row}: {answer:?}");
                // One that goes well between them, so that it is no row of failures.
                stage.standin.clear_faults();
                assert_eq!(stage.order(&customer(1000 + number), &[]).status, 201, "{row}");
            }
        }
    }
}

#[test]
fn an_hour_of_the_east_is_unclear_only_to_a_rule_whose_date_lies_within_fourteen_hours() {
    let ago = |hours: i64| Timestamp::now() - SignedDuration::from_hours(hours);
    let local = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    for (since, date, expected) in [
        (ago(1), in_the_east(), is(503, "agreement_unknown")),
        (ago(5), in_the_east(), is(201, "")),
        (ago(2), local(ago(1)), is(201, "")),
        (ago(2), local(ago(3)), is(403, "agreement_too_old")),
        (ago(2), local(ago(-15)), is(403, "agreement_missing")),
    ] {
        let rule = format!(
            "policy: {{ rules: [{{ name: dated, when: {{ class: [purchase] }}, requires: {{ agreement: mca, \
             of: customer, accepted_since: \"{since}\" }} }}] }}\n"
        );
        let stage = center_with(PLENTY, "", &rule, |text| text);
        let party = unsigned(1);
        stage.standin.set_attestations(&party, vec![counting(&date)]);
        let answer = stage.order(&party, &[]);
        assert_eq!(said(&answer), expected, "{date} since {since}: {answer:?}");
    }
}

#[test]
fn both_questions_are_asked_at_the_same_time_and_the_first_yes_answers() {
    let stage = center(PLENTY, "deadline: 15s");
    for (number, held, answers) in [(1, "agreements", true), (2, "directSigned", true), (3, "", false)] {
        let party = customer(number);
        stage.standin.fault("GET", &format!("{party}/{held}"), "hold", None);
        let before = asked(&stage);
        std::thread::scope(|scope| {
            let ordering = scope.spawn(|| stage.order(&party, &[]).status);
            eventually(|| asked(&stage) == (before.0 + 1, before.1 + 1));
            if answers {
                assert_eq!(ordering.join().unwrap(), 201, "while {held} is held");
                stage.standin.release();
            } else {
                stage.standin.release();
                assert_eq!(ordering.join().unwrap(), 201);
            }
        });
        stage.standin.clear_faults();
    }
}

#[test]
fn attestations_are_read_over_their_pages() {
    let stage = center(PLENTY, "");
    stage.standin.page_size(Some(1));
    let other = || attestation("MicrosoftCustomerAgreement", CLOUD_TEMPLATE, "2024-01-01T00:00:00");
    let good = || counting("2024-05-13T00:00:00");
    // What is listed, what becomes of an order, and how many pages that takes.
    for (number, items, expected, pages) in [
        (1, vec![other(), other(), good()], is(201, ""), 3),
        (2, vec![good(), other(), other()], is(201, ""), 1),
        (3, vec![counting("2021-01-01T00:00:00"), other(), good()], is(201, ""), 3),
        (4, vec![counting("2021-01-01T00:00:00"), other()], is(403, "agreement_too_old"), 2),
        (5, vec![other(), other()], is(403, "agreement_missing"), 2),
        // A list without an end is not read to its end, and what stands there is not known.
        (6, (0..30).map(|_| other()).collect(), is(503, "agreement_unknown"), 20),
    ] {
        let party = customer(number);
        stage.standin.set_direct(&party, false);
        stage.standin.set_attestations(&party, items);
        let before = stage.standin.count("attestations");
        assert_eq!(said(&stage.order(&party, &[])), expected, "{number}");
        assert_eq!(stage.standin.count("attestations") - before, pages, "{number}");
    }
    // A page that fails leaves open what would stand there.
    let party = customer(7);
    stage.standin.set_direct(&party, false);
    stage.standin.set_attestations(&party, vec![other(), good()]);
    stage.standin.fault("GET", &format!("{party}/agreements"), "delay=1ms", Some(1));
    stage.standin.fault("GET", &format!("{party}/agreements"), "status=500", None);
    assert_unknown(&stage.order(&party, &[]), "the second page fails");
}

#[test]
fn a_next_page_elsewhere_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let address = elsewhere.local_addr().unwrap();
    let stage = center(PLENTY, "");
    for (number, uri) in [
        (1, format!("http://{address}/v1/customers/x/agreements")),
        (2, format!("//{address}/v1/customers/x/agreements")),
        (3, format!("@{address}/v1")),
        (4, format!("/\\{address}/v1")),
        (5, "customers/x/agreements".to_owned()),
    ] {
        let party = customer(number);
        stage.standin.set_direct(&party, false);
        let page = json!({ "totalCount": 0, "items": [], "links": { "next": { "uri": uri } } });
        stage.standin.fault("GET", &format!("{party}/agreements"), &as_fault(&page.to_string()), Some(1));
        assert_unknown(&stage.order(&party, &[]), &uri);
        assert_eq!(elsewhere.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "{uri}");
    }
}

#[test]
fn five_hundred_orders_for_a_cold_customer_ask_once() {
    const CONNECTIONS: usize = 200;
    let stage = center(PLENTY, "deadline: 15s");
    stage.standin.fault("GET", "/v1/customers/", "hold", None);
    let whole = stage.request("POST", &orders(CUSTOMER), &[], order().as_bytes());
    let mut connections: Vec<(Connection, usize)> = Vec::new();
    for at in 0..CONNECTIONS {
        let mut connection = Connection::open(stage.address());
        let count = if at < 100 { 3 } else { 2 };
        connection.send(&whole.repeat(count));
        connections.push((connection, count));
    }
    eventually(|| stage.metric("countersign_requests_in_flight") >= CONNECTIONS as f64);
    assert_eq!(asked(&stage), (1, 1));
    stage.standin.clear_faults();
    stage.standin.release();
    for (connection, count) in &mut connections {
        for _ in 0..*count {
            assert_eq!(connection.read().status, 201);
        }
    }
    assert_eq!((asked(&stage), stage.standin.count("orders")), ((1, 1), 500));
}

#[test]
fn a_caller_that_hangs_up_cancels_no_look_up_of_others() {
    let stage = center(PLENTY, "deadline: 15s");
    stage.standin.fault("GET", "/v1/customers/", "hold", None);
    let whole = stage.request("POST", &orders(CUSTOMER), &[], order().as_bytes());
    let open = || {
        let mut connection = Connection::open(stage.address());
        connection.send(&whole);
        connection
    };
    let first = open();
    eventually(|| asked(&stage) == (1, 1));
    let mut others: Vec<Connection> = (0..4).map(|_| open()).collect();
    eventually(|| stage.metric("countersign_requests_in_flight") >= 5.0);
    drop(first);
    eventually(|| stage.metric("countersign_requests_in_flight") <= 4.0);
    stage.standin.release();
    for other in &mut others {
        assert_eq!(other.read().status, 201);
    }
    assert_eq!(asked(&stage), (1, 1));
}

#[test]
fn a_denial_that_can_not_be_looked_at_again_is_none() {
    let rules =
        ["customer-mca", "customer-mca-renewed"].map(|rule| format!("{{ name: {rule}, on_unknown: allow }}"));
    let lenient = format!("policy: {{ rules: [{}] }}\n", rules.join(", "));
    for extra in ["", &lenient] {
        let stage = center_with(PLENTY, "missing: 1h, recheck_after: 1ms", extra, |text| text);
        let party = unsigned(1);
        assert_eq!(said(&stage.order(&party, &[])), is(403, "agreement_missing"));
        stage.standin.fault("GET", "/v1/customers/", "status=403", None);
        for _ in 0..3 {
            // Where the last definite answer was "missing", letting pass what is unknown does not apply either.
            assert_unknown(&stage.order(&party, &[]), extra);
        }
        stage.standin.clear_faults();
        stage.standin.set_direct(&party, true);
        // The failure is kept for a moment.
        eventually(|| match stage.order(&party, &[]) {
            answer if answer.status == 503 => false,
            answer => {
                assert_eq!(answer.status, 201, "{extra}: {answer:?}");
                true
            }
        });
    }
}
