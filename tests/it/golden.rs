//! The public surface, held by golden files: reasons, metrics, audit fields, configuration keys, answers, operations.
//!
//! A change of one of them is a change that operators see: `UPDATE_GOLDEN=1 cargo test golden` writes the files anew, and
//! the change log in the README says what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use countersign::policy::reason::{Reason, UnrecordedStatus};
use countersign::standin::{Issuer, IssuerAlgorithm, PartnerStatus, TokenEndpoint};
use serde_json::Value;

use crate::center::center;
use crate::center_identity::endpoint;
use crate::http::Connection;
use crate::key_server::KeyServer;
use crate::stage::{BLOCKED, CUSTOMER, ISSUERS, PARTNER, Stage, eventually};
use crate::support;

fn hold(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (golden_lines, found_lines) = (lines(&golden), lines(found));
    let gone: Vec<&String> = golden_lines.difference(&found_lines).collect();
    let new: Vec<&String> = found_lines.difference(&golden_lines).collect();
    assert_eq!(golden, found, "{name} differs; gone: {gone:#?}, new: {new:#?}");
}

#[test]
fn reasons() {
    let mut text = String::new();
    for reason in Reason::ALL {
        writeln!(
            text,
            "{reason} {} code {} retry {:?}",
            reason.status(UnrecordedStatus::Conflict),
            reason.fault_code(),
            reason.retry_after()
        )
        .unwrap();
    }
    hold("reasons.txt", &text);
}

#[test]
fn every_reason_has_its_texts_in_every_language() {
    for language in LANGUAGES {
        let text = messages(language);
        for reason in Reason::ALL {
            assert!(text.contains(&format!("\ntitle.{reason}: ")), "{language}: title.{reason}");
            let kinds = ["missing", "too_old", "unknown", "unrecorded"];
            let about_agreements = reason.is_about_agreements();
            assert!(
                about_agreements
                    && kinds.iter().all(|kind| text.contains(&format!("\ndetail.{kind}.customer: ")))
                    || text.contains(&format!("\ndetail.{reason}: ")),
                "{language}: detail.{reason}"
            );
        }
    }
}

/// The languages of the binary: those of the files in `config/messages`.
const LANGUAGES: [&str; 4] = ["de", "en", "es", "fr"];

fn messages(language: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("config/messages/{language}.yaml"));
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_language_has_every_text_with_the_same_places() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/messages");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, LANGUAGES.iter().map(|name| format!("{name}.yaml")).collect());
    let places = |text: &str| {
        let mut places: Vec<String> =
            text.split('{').skip(1).map(|rest| rest.split('}').next().unwrap().to_owned()).collect();
        places.sort();
        places
    };
    let texts = |language: &str| {
        let text = messages(language);
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let pairs: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{language}: {line}")))
            .map(|(key, text)| (key.to_owned(), text.to_owned()))
            .collect();
        let count = pairs.len();
        let texts: BTreeMap<String, String> = pairs.into_iter().collect();
        assert_eq!(texts.len(), count, "{language} has a key twice");
        texts
    };
    let english = texts("en");
    for language in LANGUAGES.into_iter().filter(|language| *language != "en") {
        let translated = texts(language);
        assert_eq!(
            translated.keys().collect::<Vec<_>>(),
            english.keys().collect::<Vec<_>>(),
            "{language} has other keys"
        );
        for (key, text) in &translated {
            assert_eq!(places(text), places(&english[key]), "{language}: {key}: {text}");
            assert_ne!(text, &english[key], "{language}: {key} is not translated");
        }
    }
}

#[test]
fn metrics() {
    let server = KeyServer::start();
    server.answer("/keys", 200, Issuer::fresh(IssuerAlgorithm::Es256, "k9").jwks());
    let published = format!(
        "{{ issuer: https://other.example, partners: [{PARTNER}], audiences: [a], algorithms: [ES256], \
         keys: {{ jwks_url: \"{}\", ca_file: \"{}\" }} }}]",
        server.url("/keys"),
        server.ca_file().display()
    );
    let stage = Stage::with_issuers(&format!("{}, {published}", ISSUERS.trim_end_matches(']')), "");
    let fetched = "countersign_keys_fetches_total{issuer=\"https://other.example\",outcome=\"ok\"}";
    eventually(|| stage.metric(fetched) == 1.0);
    stage.order(CUSTOMER, &[]);
    stage.order(BLOCKED, &[]);
    stage.order(CUSTOMER, &[("Standin-Fault", "reset")]);
    // What only happens where Partner Center is asked.
    let asking = center(", bulk_load: true", "file: facts.jsonl");
    asking.order(CUSTOMER, &[]);
    asking.send("POST", &format!("/v1/customers/{CUSTOMER}/carts/c/checkout"), &[], b"");
    let attested = r#"{"type":"MicrosoftCustomerAgreement","dateAgreed":"2024-01-01",
        "templateId":"117a77b0-9360-443b-8795-c6dedc750cf9"}"#;
    asking.send("POST", &format!("/v1/customers/{CUSTOMER}/agreements"), &[], attested.as_bytes());
    asking.standin.refuse_orders(CUSTOMER, Some(13_605));
    asking.order(CUSTOMER, &[]);
    eventually(|| {
        let read =
            |list| format!("countersign_warming_total{{list=\"{list}\",outcome=\"ok\",source=\"center\"}}");
        asking.metric(&read("customers")) == 1.0 && asking.metric(&read("resellers")) == 1.0
    });
    // What only happens where tokens can be read.
    let readable = center("", "");
    readable
        .standin
        .set_token_endpoint(TokenEndpoint { tenant: Some(PARTNER.to_owned()), ..endpoint("refresh", None) });
    readable.order(CUSTOMER, &[]);
    let pages = [&stage, &asking, &readable]
        .map(|stage| String::from_utf8(stage.admin_request("GET", "/metrics", &[]).body).unwrap());
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut name = String::new();
    for line in pages.iter().flat_map(|page| page.lines()) {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            name = rest.to_owned();
            known.entry(name.clone()).or_default();
        } else if let Some((_, rest)) = line.split_once('{') {
            let names =
                rest.split("\",").filter_map(|pair| pair.split_once('=')).map(|(label, _)| label.to_owned());
            known.get_mut(&name).expect("a metric says what it is first").extend(names);
        }
    }
    let line = |(name, labels): (&String, &BTreeSet<String>)| {
        format!("{name} {{{}}}\n", labels.iter().cloned().collect::<Vec<String>>().join(","))
    };
    hold("metrics.txt", &known.iter().map(line).collect::<String>());
    let ids = [PARTNER, CUSTOMER, BLOCKED, "/v1/"];
    let named = |page: &String| ids.iter().any(|id| page.contains(id));
    assert!(!pages.iter().any(named), "no label holds a partner, a customer or a path");
}

fn paths(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| paths(value, &format!("{at}.{name}"), found));
        }
        Value::Array(items) => items.iter().for_each(|item| paths(item, &format!("{at}[]"), found)),
        other => {
            let kind = match other {
                Value::String(_) => "text",
                Value::Number(_) => "number",
                Value::Bool(_) => "flag",
                _ => "null",
            };
            found.insert(format!("{at} {kind}"));
        }
    }
}

#[test]
fn audit_fields() {
    let mut stage = Stage::start();
    let ids = [("MS-RequestId", "4fa6dad6-a89f-4875-8247-8294a10ae1cf")];
    stage.order(CUSTOMER, &ids);
    stage.order(BLOCKED, &[]);
    stage.order("c0a80101-6d2b-4c1e-8f10-0000000000ff", &[]);
    stage.order(CUSTOMER, &[("Standin-Fault", "reset")]);
    let resellers =
        r#"{"lineItems":[{"offerId":"a","partnerIdOnRecord":"4847383"},{"partnerIdOnRecord":"6204417"}]}"#;
    stage.send("POST", &format!("/v1/customers/{CUSTOMER}/orders"), &[], resellers.as_bytes());
    stage.send("POST", &format!("/v1/customers/{CUSTOMER}/carts/c/checkout"), &[], b"");
    // What a token says that does not do.
    let token = |change: fn(&mut Value)| {
        let mut claims = Stage::claims(PARTNER, &["x", "SalesAgent"]);
        change(&mut claims);
        format!("Bearer {}", stage.issuer.token(&claims))
    };
    let unlisted = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0aff";
    for token in [
        token(|claims| claims["aud"] = "another".into()),
        format!("Bearer {}", stage.token(unlisted, &[])),
        token(|claims| claims["roles"] = "x".into()),
    ] {
        stage.order(CUSTOMER, &[("Authorization", &token)]);
    }
    let helpdesk = Stage::edited("", |text, _| {
        let roles = "identity:\n  roles: { helpdesk: [HelpDesk] }\n";
        text.replace("identity:\n", roles)
    });
    let mut claims = Stage::claims(PARTNER, &["HelpDesk"]);
    claims["hasgroups"] = true.into();
    let token = format!("Bearer {}", helpdesk.issuer.token(&claims));
    assert_eq!(helpdesk.order(CUSTOMER, &[("Authorization", &token)]).reason(), "role_missing");
    // All in one second, on however slow a machine: what is beyond the first fifty is counted in a summary.
    let mut connection = Connection::open(stage.address());
    let refused = stage.request("GET", "/v1/customers", &[("Authorization", "Bearer a.b.c")], b"");
    eventually(|| {
        connection.send(&refused.repeat(60));
        (0..60).for_each(|_| assert_eq!(connection.read().status, 401));
        stage.records().iter().any(|record| record["kind"] == "summary")
    });
    // What only happens where Partner Center is asked.
    let mut asking = center("", "");
    let reseller = r#"{"lineItems":[{"offerId":"a","partnerIdOnRecord":"5130400"}]}"#;
    asking.standin.set_partner_status("5130400", PartnerStatus::Code(2201));
    asking.send("POST", &format!("/v1/customers/{CUSTOMER}/orders"), &[], reseller.as_bytes());
    asking.standin.fault("GET", "/carts/", "status=500", None);
    asking.send("POST", &format!("/v1/customers/{CUSTOMER}/carts/c/checkout"), &[], b"");
    let forget = format!("/facts/mca/{CUSTOMER}/forget");
    asking.admin_request("POST", &forget, &[("Countersign-Admin", "1")]);
    let mut found = BTreeSet::new();
    let mut helpdesk = helpdesk;
    let records = stage.stop().into_iter().chain(asking.stop()).chain(helpdesk.stop());
    for mut record in records {
        let kind = record["kind"].as_str().unwrap().to_owned();
        if let Some(policy) = record.get_mut("policy") {
            // What is in force is held by the golden file of operations.
            *policy = Value::Null;
        }
        paths(&record, &kind, &mut found);
    }
    hold("audit-fields.txt", &found.into_iter().fold(String::new(), |text, line| text + &line + "\n"));
}

#[test]
fn a_denial() {
    let stage = Stage::start();
    let body = r#"{"LineItems":[{"OfferId":"DZH318Z0BPS6:0001:x"},{"OfferId":"CFQ7TTC0LH18","PartnerIdOnRecord":"6204417"}]}"#;
    let answer = stage.send("POST", &format!("/v1/customers/{BLOCKED}/orders"), &[], body.as_bytes());
    let mut problem = answer.json();
    problem["decision_id"] = "ID".into();
    for finding in problem["findings"].as_array_mut().unwrap() {
        finding["observed_at"] = "TIME".into();
    }
    let mut text = serde_json::to_string_pretty(&problem).unwrap() + "\n";
    let mut names: Vec<String> = answer.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    writeln!(text, "headers: {}", names.join(" ")).unwrap();
    hold("denial.txt", &text);
}

#[test]
fn operations_of_the_presets() {
    let policy = support::preset("csp-2026");
    let mut text = String::new();
    for operation in &policy.operations {
        writeln!(text, "{} {}", operation.name, operation.class).unwrap();
    }
    for name in ["csp-2020", "csp-2026"] {
        let policy = support::preset(name);
        for rule in &policy.rules {
            let date = |at: Option<jiff::Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
            writeln!(
                text,
                "{name} {} announce {} enforce {} code {}",
                rule.name,
                date(rule.announce_from),
                date(rule.enforce_from),
                rule.code
            )
            .unwrap();
        }
        assert_eq!(policy.operations.len(), support::preset("csp-2026").operations.len());
    }
    hold("presets.txt", &text);
}

/// Every section with a key that does not exist: the answer lists those that do.
#[test]
fn configuration_keys() {
    let spoiled = "unknown: 1\nlisten: { unknown: 1, tls: { unknown: 1 } }\nupstream: { url: http://127.0.0.1:1, unknown: 1, tls: { unknown: 1 } }\nadmin: { unknown: 1 }\nheaders: { unknown: 1, keep_back: { unknown: 1 } }\n\
        identity:\n  unknown: 1\n  claims: { unknown: 1 }\n  roles: { x: [{ value: x, unknown: 1 }] }\n  issuers:\n    - { issuer: \"x\", unknown: 1, keys: { unknown: 1 } }\n\
        partners:\n  unknown: 1\n  default: { kind: direct_bill, unknown: 1 }\n  known: [{ unknown: 1 }]\n\
        agreements:\n  unknown: 1\n  cache: { unknown: 1 }\n  sources: { ledger: { type: file, unknown: 1 }, h: { type: http, unknown: 1, headers: { A: { unknown: 1 } } }, c: { type: partner_center, url: https://a.example, token: { unknown: 1 }, unknown: 1 } }\n\
        policy:\n  unknown: 1\n  agreements: [{ name: nda, unknown: 1, doubt_codes: { unknown: 1 } }]\n  operations: [{ name: a, unknown: 1 }, { name: b, class: purchase, match: \"POST /v1/customers/{customer}/b\", reads: subscription, shapes: [{ unknown: 1 }], changes: [{ unknown: 1 }] }, { name: c, class: cure, match: \"POST /v1/customers/{customer}/c\", learns: { unknown: 1 } }]\n  \
        rules: [{ name: r, unknown: 1, when: { unknown: 1 }, requires: { unknown: 1 } }]\n  waivers: [{ unknown: 1 }]\n\
        messages: { unknown: 1 }\naudit: { unknown: 1 }\nlimits: { unknown: 1 }\nlog: { unknown: 1 }\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("countersign.yaml");
    std::fs::write(&file, spoiled).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["check", "--config", file.to_str().unwrap()])
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let report = String::from_utf8(output.stderr).unwrap();
    let known: BTreeSet<&str> =
        report.lines().filter_map(|line| Some(line.split_once("known here: ")?.1)).collect();
    hold("configuration-keys.txt", &known.into_iter().fold(String::new(), |text, line| text + line + "\n"));
}
