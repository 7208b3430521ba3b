//! Verdicts over real sockets: who is denied, for what reason, in which words.

use serde_json::{Value, json};

use crate::stage::{BLOCKED, CUSTOMER, LEDGER, LICENCE, PARTNER, Stage, UNSIGNED, orders};

#[test]
fn texts_follow_the_callers_language_and_role() {
    let stage = Stage::start();
    let unsigned = |role: &str| format!("Bearer {}", stage.token(UNSIGNED, &[role]));
    let french = stage.order(CUSTOMER, &[("Authorization", &unsigned("GlobalAdmin")), ("X-Locale", "fr-FR")]);
    let problem = french.json();
    assert_eq!((french.status, &problem["code"]), (403, &json!(900_124)));
    assert_eq!(problem["title"], "Contrat manquant");
    assert!(problem["findings"][0]["who"].as_str().unwrap().starts_with("Vous, administrateur général"));
    assert!(problem["findings"][0]["action"].as_str().unwrap().starts_with("https://partner.microsoft.com/"));
    let agent = stage.order(CUSTOMER, &[("Authorization", &unsigned("AdminAgent"))]).json();
    assert!(agent["findings"][0]["who"].as_str().unwrap().contains("global administrator of your company"));
    assert_eq!(agent["findings"][0]["action"], Value::Null);
}

#[test]
fn only_a_global_administrator_sees_what_is_pending() {
    let stage = Stage::start();
    let pending = |partner: &str, role: &str| {
        let token = format!("Bearer {}", stage.token(partner, &[role]));
        let answer = stage.send("GET", "/.countersign/pending", &[("Authorization", &token)], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let admin = pending(UNSIGNED, "GlobalAdmin");
    assert_eq!(admin["partner"], UNSIGNED);
    assert_eq!(
        (&admin["pending"][0]["agreement"], &admin["pending"][0]["status"]),
        (&json!("mpa"), &json!("missing"))
    );
    let agent = pending(UNSIGNED, "AdminAgent");
    assert_eq!(agent["pending"], json!([]));
    assert!(agent["notice"].as_str().unwrap().contains("Only the global administrator"));
    assert_eq!(pending(PARTNER, "GlobalAdmin")["notice"], "Nothing is pending.");
    assert_eq!(stage.send("GET", "/.countersign/other", &[], b"").status, 404);
    assert_eq!(stage.send("POST", "/.Countersign/pending", &[], b"").status, 405);
    assert_eq!(stage.send("GET", "/.countersign/pending", &[("Authorization", "")], b"").status, 401);
    assert_eq!(stage.standin.request_count(), 0);
}

#[test]
fn one_reseller_has_one_verdict_however_it_is_named() {
    let tenant = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a09";
    let stage = Stage::start();
    let path = stage.path("countersign.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let entry = format!(
        "  known:\n    - {{ tenant: {tenant}, kind: indirect_reseller, country: DE, mpn_id: \"6204417\" }}\n"
    );
    std::fs::write(&path, text.replace("  known:\n", &entry)).unwrap();
    assert_eq!(stage.reload().status, 200);
    for id in ["6204417", tenant, &tenant.to_ascii_uppercase()] {
        let body = json!({ "lineItems": [{ "offerId": LICENCE, "partnerIdOnRecord": id }] }).to_string();
        let answer = stage.send("POST", &orders(CUSTOMER), &[], body.as_bytes());
        assert_eq!((answer.status, answer.reason().as_str()), (403, "agreement_missing"), "{id}");
    }
}

#[test]
fn a_rule_with_a_role_and_an_agreement_asks_both() {
    let rule = "{ name: careful, when: { class: [purchase] }, requires: { agreement: mca, of: customer }, roles: [global_admin], on_unknown: allow }";
    let off = ["customer-mca", "customer-mca-renewed", "azure-plan-mca"]
        .map(|name| format!("{{ name: {name}, mode: off }}"));
    let stage = Stage::with(&format!("policy: {{ rules: [{rule}, {}] }}\n", off.join(", ")));
    let unknown = "c0a80101-6d2b-4c1e-8f10-0000000000ff";
    assert_eq!(stage.order(unknown, &[]).reason(), "role_missing");
    let admin = format!("Bearer {}", stage.token(PARTNER, &["GlobalAdmin"]));
    assert_eq!(stage.order(unknown, &[("Authorization", &admin)]).status, 201);
    assert_eq!(stage.order(BLOCKED, &[("Authorization", &admin)]).reason(), "agreement_missing");
}

#[test]
fn notices_tell_of_roles_and_waivers_that_end() {
    let soon = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 8))
        .strftime("%Y-%m-%dT00:00:00Z")
        .to_string();
    let waiver = format!(
        "{{ partner: {PARTNER}, customer: {BLOCKED}, rule: customer-mca, reason: r, ticket: t, until: {soon} }}"
    );
    let renewed = waiver.replace("rule: customer-mca,", "rule: customer-mca-renewed,");
    let role =
        "{ name: selling-role, announce_from: 2026-01-01T00:00:00Z, enforce_from: 2099-01-01T00:00:00Z }";
    let stage = Stage::with(&format!("policy: {{ rules: [{role}], waivers: [{waiver}, {renewed}] }}\n"));
    let answer = stage.order(BLOCKED, &[]);
    assert_eq!(answer.status, 201);
    assert!(
        answer
            .header("countersign-notice")
            .unwrap()
            .contains("customer-mca: a waiver for the Microsoft Customer Agreement")
    );
    let helpdesk = format!("Bearer {}", stage.token(PARTNER, &["HelpdeskAgent"]));
    let answer = stage.order(CUSTOMER, &[("Authorization", &helpdesk)]);
    assert_eq!(
        answer.header("countersign-notice"),
        Some("selling-role: the caller will need a selling role from 2099-01-01")
    );
}

#[test]
fn a_direct_acceptance_counts_beside_an_old_attestation() {
    let stage = Stage::start();
    let records = format!(
        "  - {{ customer: {BLOCKED}, mca: {{ accepted: undated }} }}\n  - {{ customer: {BLOCKED}, attested_by: {PARTNER}, mca: {{ accepted: 2021-05-20T00:00:00Z }} }}\n"
    );
    let missing = format!("  - {{ customer: {BLOCKED}, mca: missing }}\n");
    std::fs::write(stage.path("agreements.yaml"), LEDGER.replace(&missing, &records)).unwrap();
    assert_eq!(stage.reload().status, 200);
    assert_eq!(stage.order(BLOCKED, &[]).status, 201);
}

#[test]
fn a_caller_without_a_selling_role_is_told_so_before_anything_is_looked_up() {
    let stage = Stage::start();
    let token = format!("Bearer {}", stage.token(PARTNER, &["HelpdeskAgent"]));
    let answer = stage.order(BLOCKED, &[("Authorization", &token)]);
    assert_eq!((answer.status, answer.reason().as_str()), (403, "role_missing"));
    assert_eq!(stage.metric("countersign_lookups_total{outcome=\"miss\"}"), 0.0);
    // A token without any role claim has the roles of its partner's entry; this partner's entry has none.
    let mut claims = Stage::claims(PARTNER, &[]);
    claims.as_object_mut().unwrap().remove("roles");
    let token = format!("Bearer {}", stage.issuer.token(&claims));
    assert_eq!(stage.order(CUSTOMER, &[("Authorization", &token)]).reason(), "role_missing");
    let mut claims = Stage::claims(UNSIGNED, &[]);
    claims.as_object_mut().unwrap().remove("roles");
    let token = format!("Bearer {}", stage.issuer.token(&claims));
    assert_eq!(stage.order(CUSTOMER, &[("Authorization", &token)]).reason(), "agreement_missing");
}

#[test]
fn shadow_mode_blocks_nothing_and_reports() {
    let mut stage = Stage::with("policy: { mode: shadow }\n");
    assert_eq!(stage.order(BLOCKED, &[]).status, 201);
    assert_eq!(stage.send("POST", "/v1/newThings", &[], b"{}").status, 404, "the stand-in's own answer");
    let records = stage.stop();
    let findings = records[1]["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| finding["effect"] == "shadow"), "{findings:?}");
}

#[test]
fn options_pass_only_where_configured_and_carry_nothing() {
    let stage = Stage::with("policy: { options: allow }\n");
    let answer = stage.send("OPTIONS", &orders(CUSTOMER), &[("Cookie", "a=b")], b"");
    assert!(answer.status < 500);
    let seen = &stage.standin.recorded()[0];
    assert!(!seen.headers.iter().any(|(name, _)| name == "authorization" || name == "cookie"));
}
