//! What the field sends: requests as SDKs put them on the wire, and small ones from public reports, replayed over sockets
//! with every party signed and with one missing, with what they are about read and unread.

use std::path::Path;

use countersign::standin::Standin;
use serde::Deserialize;
use serde_json::Value;

use crate::center::{PLENTY, center, center_with, customer, unsigned};
use crate::http::Answer;
use crate::stage::{CUSTOMER, PARTNER, Stage};

const OTHER: &str = "656218b1-80c9-40b2-83ae-3a2703b55271";
const SUBSCRIPTION: &str = "aa20b222-abde-4317-a4e3-4db1ecc66730";
const SIGNED: &str = "4847383";
const UNSIGNED: &str = "5130400";

/// The requests of two SDKs.
#[derive(Deserialize)]
struct Sdks {
    heads: Vec<Vec<(String, String)>>,
    /// By SDK, the subscription that is changed as it is before.
    subscriptions: std::collections::BTreeMap<String, Value>,
    cases: Vec<SdkCase>,
}

#[derive(Deserialize)]
struct SdkCase {
    sdk: String,
    call: String,
    method: String,
    target: String,
    head: usize,
    body: String,
    customer_missing: String,
    reseller_missing: String,
    unread: Option<[String; 2]>,
    resource: Option<String>,
}

#[derive(Deserialize)]
struct Field {
    cases: Vec<FieldCase>,
}

#[derive(Deserialize)]
struct FieldCase {
    name: String,
    party: String,
    method: String,
    target: String,
    body: Option<Value>,
    reads: Option<Value>,
    /// What becomes of the reading instead.
    read_fault: Option<String>,
    #[serde(default)]
    no_etag: bool,
    /// The one rule that is in force.
    only_rule: Option<String>,
    /// Which answer begins with a byte order mark.
    mark: Option<String>,
    signed: String,
    unsigned: String,
}

fn load<T: for<'d> Deserialize<'d>>(file: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A text with its places filled.
fn filled(text: &str, customer: &str, reseller: &str) -> String {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT00:00:00Z").to_string();
    let places = [
        ("{C}", customer),
        ("{R}", reseller),
        ("{P}", PARTNER),
        ("{OTHER}", OTHER),
        ("{S}", SUBSCRIPTION),
        ("{K}", "5d9c2a0e-4b57-4a41-9c0d-6b1e6a7f2c11"),
        ("{G}", "0f5cfb83-6b3e-4a53-8d1c-8b1bcb5e2b10"),
        ("{SSP}", "P1"),
        ("{D}", now.as_str()),
    ];
    places.into_iter().fold(text.to_owned(), |text, (place, value)| text.replace(place, value))
}

/// What came of a request: `forward`, where the upstream saw it as it was sent, or status and code of the denial.
fn outcome(standin: &Standin, answer: &Answer, (method, target, body): (&str, &str, &str)) -> String {
    let recorded = standin.recorded();
    let seen: Vec<_> = recorded.iter().filter(|one| one.method == method && one.target == target).collect();
    if answer.header("content-type") != Some("application/problem+json") {
        let same = seen.iter().any(|one| one.body == body.as_bytes() && one.complete);
        return if same { "forward".to_owned() } else { format!("{} unseen: {recorded:?}", answer.status) };
    }
    // What is read before judging is a GET of the gateway's own.
    match seen.is_empty() || method == "GET" {
        true => format!("{} {}", answer.status, answer.json()["code"]),
        false => format!("{} and yet forwarded", answer.status),
    }
}

/// What a request about a customer and a reseller comes to.
fn replay(stage: &Stage, head: &[(String, String)], (method, target, body): (&str, &str, &str)) -> String {
    let headers: Vec<(&str, &str)> =
        head.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    stage.standin.recorded();
    let answer = stage.send(method, target, &headers, body.as_bytes());
    outcome(&stage.standin, &answer, (method, target, body))
}

#[test]
fn what_sdks_send_is_forwarded_as_it_is_and_held_up_only_where_something_is_missing() {
    let sdks: Sdks = load("sdk.json");
    let with_reads = center(PLENTY, "");
    let without = center_with(PLENTY, "", "", |text| text.replace("reads: center, ", ""));
    let (mut faults, mut count) = (Vec::new(), 0);
    for case in &sdks.cases {
        let party = unsigned(1);
        let rows = [
            ("all signed", CUSTOMER, SIGNED, "forward", "forward"),
            (
                "customer missing",
                &party,
                SIGNED,
                &case.customer_missing,
                case.unread.as_ref().map_or(&*case.customer_missing, |unread| &unread[0]),
            ),
            (
                "reseller missing",
                CUSTOMER,
                UNSIGNED,
                &case.reseller_missing,
                case.unread.as_ref().map_or(&*case.reseller_missing, |unread| &unread[1]),
            ),
        ];
        for (row, customer, reseller, read, unread) in rows {
            let fill = |text: &str| filled(text, customer, reseller);
            let head: Vec<_> =
                sdks.heads[case.head].iter().map(|(name, value)| (name.clone(), fill(value))).collect();
            let (target, body) = (fill(&case.target), fill(&case.body));
            for (reading, stage, expected) in [("read", &with_reads, read), ("unread", &without, unread)] {
                if case.resource.is_some() {
                    let there = fill(&sdks.subscriptions[&case.sdk].to_string());
                    let there = serde_json::from_str(&there).unwrap();
                    let path = target.strip_suffix("/upgrades").unwrap_or(&target);
                    stage.standin.set_resource(path, there, Some("\"v1\""));
                }
                let found = replay(stage, &head, (&case.method, &target, &body));
                count += 1;
                if found != expected {
                    faults.push(format!(
                        "{} {} ({row}, {reading}): {found}, not {expected}",
                        case.sdk, case.call
                    ));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} of {count}:\n{}", faults.len(), faults.join("\n"));
    assert_eq!(count, 79 * 6);
}

#[test]
fn what_was_reported_passes_or_is_held_up_by_its_meaning() {
    let field: Field = load("field.json");
    let (mut faults, mut count) = (Vec::new(), 0);
    let stage = center(PLENTY, "");
    let without = center_with(PLENTY, "", "", |text| text.replace("reads: center, ", ""));
    let only_azure = center_with(PLENTY, "", ONLY_AZURE, |text| text);
    for case in &field.cases {
        // Nothing is known yet of customers whose status is to come with a mark.
        let (accepted, open) = match case.mark.as_deref() {
            Some("status") => (customer(9), unsigned(9)),
            _ => (CUSTOMER.to_owned(), unsigned(2)),
        };
        let missing = match case.party.as_str() {
            "reseller" => (accepted.clone(), UNSIGNED),
            _ => (open, SIGNED),
        };
        let rows = [("signed", (accepted, SIGNED), &case.signed), ("unsigned", missing, &case.unsigned)];
        for (row, (customer, reseller), expected) in rows {
            let stage = match (&case.only_rule, &case.reads, &case.read_fault) {
                (Some(_), ..) => &only_azure,
                (None, None, None) => &without,
                _ => &stage,
            };
            let fill = |text: &str| filled(text, &customer, reseller);
            let target = fill(&case.target);
            let body = case.body.as_ref().map_or_else(String::new, |body| fill(&body.to_string()));
            let path = match case.method.as_str() {
                "POST" => target.rsplit_once('/').unwrap().0.to_owned(),
                _ => target.clone(),
            };
            stage.standin.clear_faults();
            if let Some(there) = &case.reads {
                let there: Value = serde_json::from_str(&fill(&there.to_string())).unwrap();
                let etag = if case.no_etag { None } else { Some("\"v1\"") };
                stage.standin.set_resource(&path, there.clone(), etag);
            }
            if let Some(fault) = &case.read_fault {
                stage.standin.fault("GET", "/subscriptions/", fault, None);
            }
            // The stand-in puts a mark before whatever it answers.
            match case.mark.as_deref() {
                Some("status") => {
                    for path in ["/agreements", "/directSigned"] {
                        stage.standin.fault("GET", path, "mark", None);
                    }
                }
                Some(_) => stage.standin.fault("GET", "/carts/", "mark", None),
                None => {}
            }
            let found = replay(stage, &[], (&case.method, &target, &body));
            stage.standin.clear_faults();
            count += 1;
            if found != *expected {
                faults.push(format!("{} ({row}): {found}, not {expected}", case.name));
            }
        }
    }
    assert!(faults.is_empty(), "{} of {count}:\n{}", faults.len(), faults.join("\n"));
}

/// No rule but that of Azure plans.
const ONLY_AZURE: &str = "policy:\n  rules:\n    - { name: partner-mpa, mode: off }\n    - { name: france-mpa, mode: off }\n    \
    - { name: reseller-mpa, mode: off }\n    - { name: customer-mca, mode: off }\n    - { name: customer-mca-increase, mode: off }\n    \
    - { name: customer-mca-renewed, mode: off }\n    - { name: selling-role, mode: off }\n";
