//! A byte order mark before a text: skipped in what other servers answer and in what an operator's editor writes.

use std::path::Path;
use std::process::Command;

use countersign::standin::PartnerStatus;
use serde_json::json;

use crate::center::{
    PLENTY, as_fault, asked, assert_unknown, center, center_with, counting, customer, is, order_of, said,
    unsigned,
};
use crate::key_server::KeyServer;
use crate::keys::{fresh, issuer, issuers, published};
use crate::stage::{CUSTOMER, LICENCE, PARTNER, Stage, eventually, orders};

const FOR_EVER: &str = "missing: 1h, recheck_after: 1h";

fn questions(stage: &Stage, outcome: &str) -> f64 {
    stage.metric(&format!("countersign_source_questions_total{{outcome=\"{outcome}\",source=\"center\"}}"))
}

/// A stage whose stand-in puts a mark before everything that it answers, to tokens too.
fn marked(cache: &str) -> Stage {
    let stage = center(PLENTY, cache);
    stage.standin.require_token(true);
    stage.standin.fault("", "", "mark", None);
    stage
}

#[test]
fn what_is_looked_up_or_read_behind_a_mark_decides() {
    let stage = marked("");
    assert_eq!(said(&stage.order(CUSTOMER, &[])), is(201, ""));
    assert_eq!(said(&stage.order(&unsigned(1), &[])), is(403, "agreement_missing"));
    stage.standin.set_attestations(&unsigned(2), vec![counting("2024-05-13T00:00:00")]);
    assert_eq!(said(&stage.order(&unsigned(2), &[])), is(201, ""), "by an attestation");
    for (mpn, status) in [("4847383", 201), ("5130400", 403)] {
        assert_eq!(order_of(&stage, CUSTOMER, mpn, &[]).status, status, "{mpn}");
    }
    let path = format!("/v1/customers/{CUSTOMER}/subscriptions/s1");
    let subscription = json!({ "id": "s1", "quantity": 10, "status": "active", "partnerId": "5130400" });
    stage.standin.set_resource(&path, subscription, Some("\"v1\""));
    let answer = stage.send("PATCH", &path, &[], br#"{"quantity":11}"#);
    assert_eq!((answer.status, &answer.json()["code"]), (403, &json!(900_123)), "{answer:?}");
    assert_eq!(questions(&stage, "source"), 0.0);
}

#[test]
fn what_passes_behind_a_mark_is_learnt_from_and_recorded() {
    let mut stage = marked(FOR_EVER);
    let party = unsigned(1);
    assert_eq!(stage.order(&party, &[]).status, 403);
    let path = format!("/v1/customers/{party}/agreements");
    let attested = counting("2024-05-13T00:00:00Z").to_string();
    let answer = stage.send("POST", &path, &[], attested.as_bytes());
    assert!(
        answer.status == 201 && answer.body.starts_with(b"\xef\xbb\xbf"),
        "it passes as it is: {answer:?}"
    );
    assert_eq!(stage.order(&party, &[]).status, 201);
    assert_eq!(stage.metric("countersign_learnt_total{agreement=\"mca\"}"), 1.0);
    // A refusal, and one inside a checkout that went well.
    let before = asked(&stage);
    stage.standin.refuse_orders(&party, Some(13605));
    assert_eq!(stage.order(&party, &[]).status, 403);
    assert_eq!(stage.metric("countersign_drift_total{agreement=\"mca\"}"), 1.0);
    let party = customer(1);
    assert_eq!(stage.order(&party, &[]).status, 201);
    stage.standin.refuse_in_checkout(&party, Some(13605));
    let checkout = format!("/v1/customers/{party}/carts/k1/checkout");
    assert_eq!(stage.send("POST", &checkout, &[], b"").status, 201);
    assert_eq!(stage.metric("countersign_drift_total{agreement=\"mca\"}"), 2.0);
    assert_eq!(asked(&stage), (before.0 + 1, before.1 + 1), "only of the second party was anything asked");
    let records = stage.stop();
    assert!(records.iter().any(|record| record["orders"][0].is_string()), "{records:?}");
}

#[test]
fn lists_behind_a_mark_are_read_at_start() {
    let mut stage = center(", bulk_load: true", "");
    stage.stop();
    let record = json!({ "customerTenantId": unsigned(1), "lastAgreementDateEpoch": 1_715_558_400,
        "partnerAttestationCompleted": true });
    stage.standin.set_agreement_records(vec![record]);
    stage.standin.fault("", "", "mark", None);
    stage.begin();
    let read = "countersign_warming_total{list=\"customers\",outcome=\"ok\",source=\"center\"}";
    eventually(|| stage.metric(read) == 1.0);
    let before = asked(&stage);
    assert_eq!(said(&stage.order(&unsigned(1), &[])), is(201, ""));
    assert_eq!(asked(&stage), before);
}

#[test]
fn an_answer_that_can_not_be_read_counts_as_failed_and_several_open_the_breaker() {
    let open = "countersign_source_left_alone{source=\"center\"}";
    let signed = json!({ "isSigned": true, "isAgreementSigned": true, "items": [] }).to_string();
    for (fault, opens) in [
        (as_fault(&format!("\u{feff}\u{feff}{signed}")), true),
        (as_fault("{\"isSigned\":tr"), true),
        (as_fault("{\"isAgreementSigned\":\"true\"}"), true),
        // What it says of one party says nothing of it.
        ("status=403".to_owned(), false),
        ("status=404".to_owned(), false),
    ] {
        // What is asked behind the orders would count too.
        let off = "policy: { rules: [{ name: reseller-standing, mode: off }] }\n";
        let stage = center_with(PLENTY, "", off, |text| text);
        assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
        let answered = questions(&stage, "ok");
        stage.standin.fault("GET", "agreementstatus", &fault, None);
        for number in 0..8 {
            assert_unknown(&order_of(&stage, CUSTOMER, &format!("48400{number:02}"), &[]), &fault);
        }
        assert_eq!(questions(&stage, "ok"), answered, "{fault}");
        assert!(questions(&stage, "source") >= 5.0, "{fault}: {}", questions(&stage, "source"));
        assert_eq!(stage.metric(open), f64::from(u8::from(opens)), "{fault}");
    }
    // The same id over and over is about one thing.
    let stage = center(PLENTY, "");
    stage.standin.set_partner_status("4840000", PartnerStatus::Signed);
    stage.standin.fault("GET", "agreementstatus", "garbage", None);
    for _ in 0..8 {
        assert_unknown(&order_of(&stage, CUSTOMER, "4840000", &[]), "garbage");
    }
    assert_eq!(stage.metric(open), 0.0);
    stage.standin.clear_faults();
    assert_eq!(order_of(&stage, CUSTOMER, "4840000", &[]).status, 201);
}

#[test]
fn keys_and_discovery_documents_behind_a_mark_are_read() {
    let key = issuer("k1");
    let server = KeyServer::start();
    let document =
        json!({ "issuer": "https://login.example/{tenantid}/v2.0", "jwks_uri": server.url("/keys") });
    for (marks, expected) in [("\u{feff}", 201), ("\u{feff}\u{feff}", 503)] {
        server.answer("/keys", 200, format!("{marks}{}", key.jwks()));
        server.answer("/document", 200, format!("{marks}{document}"));
        let discovered =
            published(&server, "").replace("jwks_url", "discovery_url").replace("/keys", "/document");
        for keys in [published(&server, ""), discovered] {
            let stage = Stage::with_issuers(&issuers(&keys), "");
            assert_eq!(fresh(&stage, &key).status, expected, "{keys}");
        }
    }
}

/// Puts a mark before every file of a folder.
fn mark_all(folder: &Path) {
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, format!("\u{feff}{text}")).unwrap();
        }
    }
}

#[test]
fn files_that_an_editor_wrote_with_a_mark_are_read() {
    let mut stage = center(PLENTY, "");
    stage.stop();
    let path = stage.path("countersign.yaml");
    let text = std::fs::read_to_string(&path).unwrap() + "messages: { directory: texts }\n";
    std::fs::write(&path, text).unwrap();
    std::fs::create_dir(stage.path("texts")).unwrap();
    let dutch = "language: nl\nagreement.mca: Klantovereenkomst\n";
    std::fs::write(stage.path("texts/nl.yaml"), dutch).unwrap();
    // Configuration, ledger, keys, client secret, refresh token, texts.
    mark_all(stage.folder.path());
    mark_all(&stage.path("texts"));
    stage.standin.require_token(true);
    stage.begin();
    assert_eq!(said(&stage.order(CUSTOMER, &[])), is(201, ""));
    assert_eq!(said(&order_of(&stage, CUSTOMER, "5130400", &[])), is(403, "agreement_missing"));
    let denied = stage.order(&unsigned(1), &[("X-Locale", "nl")]);
    assert!(denied.json()["detail"].as_str().unwrap().contains("Klantovereenkomst"), "{denied:?}");
}

#[test]
fn cases_requests_and_claims_with_a_mark_are_read_and_a_body_is_judged_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("\u{feff}{text}")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/cases/csp-2020.yaml");
    let cases = write("cases.yaml", &std::fs::read_to_string(shipped).unwrap());
    let body = json!({ "lineItems": [{ "offerId": LICENCE }] });
    let asked = json!({ "method": "POST", "path": orders(CUSTOMER), "body": body });
    let asked = write("request.json", &asked.to_string());
    let claims = write("claims.json", &json!({ "tid": PARTNER, "roles": ["AdminAgent"] }).to_string());
    let body = write("body.json", &body.to_string());
    let path = orders(CUSTOMER);
    let explain =
        |rest: [&str; 4]| ["explain"].into_iter().chain(rest).map(str::to_owned).collect::<Vec<_>>();
    for (arguments, expected) in [
        (vec!["test".to_owned(), cases], "0 failed"),
        (explain(["--request", &asked, "--partner", PARTNER]), "order.create (purchase)"),
        (explain(["--path", &path, "--claims", &claims]), "roles: admin_agent"),
        // The body is what a caller sends.
        (
            [explain(["--path", &path, "--partner", PARTNER]), vec!["--body".to_owned(), body]].concat(),
            "byte order mark",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(&arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("NO_COLOR", "1")
            .output()
            .expect("the program runs");
        let [told, complaint] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert!(told.contains(expected), "{arguments:?}: {told}{complaint}");
    }
}
