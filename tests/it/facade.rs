//! A facade of one's own: other paths and bodies, a further agreement, partners and texts in files, groups as roles.

use serde_json::json;

use crate::http::{Connection, request};
use crate::stage::{BLOCKED, CUSTOMER, LEDGER, PARTNER, Stage, UNSIGNED};

const DEALER: &str = "4847383";
const LISTED: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a0b";
const GROUP: &str = "9f9f9f9f-0000-4000-8000-000000000001";

fn stage() -> Stage {
    let stage = Stage::start();
    let write = |name: &str, text: String| std::fs::write(stage.path(name), text).unwrap();
    write(
        "partners.yaml",
        format!("partners:\n  - {{ tenant: {LISTED}, kind: direct_bill, country: AT, labels: [pilot] }}\n"),
    );
    std::fs::create_dir(stage.path("texts")).unwrap();
    write(
        "texts/nl.yaml",
        "language: nl\nagreement.nda: geheimhouding\ntitle.agreement_missing: Overeenkomst ontbreekt\n"
            .to_owned(),
    );
    write("admin-token", "a-long-enough-token\n".to_owned());
    let nda = format!(
        "  - {{ partner: {PARTNER}, nda: {{ accepted: undated }} }}\n  - {{ partner: {LISTED}, nda: missing, mpa: {{ accepted: undated }} }}\n"
    );
    write("agreements.yaml", LEDGER.to_owned() + &nda);
    let text = std::fs::read_to_string(stage.path("countersign.yaml")).unwrap();
    let text = text.replace("  known:\n", "  file: partners.yaml\n  known:\n").replace(
        "identity:\n",
        &format!(
            "identity:\n  roles:\n    admin_agent: [AdminAgent, {{ tenant: {LISTED}, value: {GROUP} }}]\n"
        ),
    );
    let policy = "policy:\n\
        \x20 products: { hardware: [\"HW-*\"] }\n\
        \x20 agreements: [{ name: nda, code: 700100, action: https://example.com/nda }]\n\
        \x20 operations:\n\
        \x20   - { name: shop.buy, match: \"POST /shop/{customer}/buy\", class: purchase, lines: /items/*, product: /sku, resellers: [/dealer/mpn] }\n\
        \x20   - { name: shop.browse, match: POST /shop/search, class: read }\n\
        \x20   - { name: order.create, class: administration }\n\
        \x20 rules:\n\
        \x20   - name: nda\n      when: { operation: [shop.buy], product_class: [hardware], not: { reseller_present: true } }\n      \
        requires: { agreement: nda, of: partner }\n\
        messages: { directory: texts, default: nl }\n";
    write("countersign.yaml", text + policy);
    let reloaded = stage.reload();
    assert_eq!(reloaded.status, 200, "{}", String::from_utf8_lossy(&reloaded.body));
    stage
}

#[test]
fn operations_agreements_partners_and_texts_are_the_operators() {
    let stage = stage();
    let buy = |partner: &str, role: &str, customer: &str, body: serde_json::Value| {
        let token = format!("Bearer {}", stage.token(partner, &[role]));
        stage.send(
            "POST",
            &format!("/shop/{customer}/buy"),
            &[("Authorization", &token)],
            body.to_string().as_bytes(),
        )
    };
    let items = |sku: &str, dealer: serde_json::Value| json!({ "items": [{ "sku": sku, "dealer": { "mpn": dealer } }] });
    // 404 is the stand-in's own answer: it was forwarded.
    assert_eq!(buy(PARTNER, "AdminAgent", CUSTOMER, items("HW-1", json!(null))).status, 404);
    assert_eq!(buy(PARTNER, "AdminAgent", CUSTOMER, items("x", json!(DEALER))).status, 404);
    let missing = buy(PARTNER, "AdminAgent", CUSTOMER, items("x", json!("6204417"))).json();
    assert_eq!((&missing["code"], &missing["findings"][0]["lines"]), (&json!(900_123), &json!(["/items/0"])));
    assert_eq!(buy(PARTNER, "AdminAgent", BLOCKED, items("x", json!(null))).json()["code"], 13605);

    let denied = buy(LISTED, GROUP, CUSTOMER, items("HW-1", json!(null)));
    let problem = denied.json();
    assert_eq!((denied.status, &problem["code"]), (403, &json!(700_100)), "{problem}");
    assert_eq!(problem["title"], "Overeenkomst ontbreekt");
    assert!(
        problem["detail"].as_str().unwrap().contains("The geheimhouding has not been signed"),
        "{problem}"
    );
    assert_eq!(problem["findings"][0]["action"], "https://example.com/nda");
    // Other products, and the group in another tenant.
    assert_eq!(buy(LISTED, GROUP, CUSTOMER, items("x", json!(null))).status, 404);
    assert_eq!(buy(UNSIGNED, GROUP, CUSTOMER, items("x", json!(null))).reason(), "role_missing");
    // An override by name replaces the keys it gives, and keeps the others.
    assert_eq!(stage.order(BLOCKED, &[]).status, 201);
    assert_eq!(stage.send("POST", "/shop/search", &[], b"{}").status, 404);
    assert_eq!(stage.send("POST", "/shop/other", &[], b"{}").reason(), "unlisted_operation");
}

#[test]
fn a_reseller_that_calls_is_judged_for_its_provider_and_not_told_who_that_is() {
    let stage = Stage::start();
    let text = std::fs::read_to_string(stage.path("countersign.yaml")).unwrap();
    let text = text
        .replace("response_timeout: 2s", &format!("response_timeout: 2s, billing_partner: {UNSIGNED}"))
        .replace("  known:\n", &format!("  known:\n    - {{ tenant: {LISTED}, kind: indirect_reseller, country: AT, mpn_id: \"{DEALER}\" }}\n"));
    std::fs::write(stage.path("countersign.yaml"), text).unwrap();
    assert_eq!(stage.reload().status, 200);
    let token = format!("Bearer {}", stage.token(LISTED, &["AdminAgent"]));
    let answer = stage.order(CUSTOMER, &[("Authorization", &token)]);
    assert_eq!((answer.status, &answer.json()["code"]), (403, &json!(900_124)));
    let text = String::from_utf8(answer.body).unwrap();
    assert!(!text.contains(UNSIGNED), "{text}");
    let admin = format!("Bearer {}", stage.token(LISTED, &["GlobalAdmin"]));
    let pending = stage.send("GET", "/.countersign/pending", &[("Authorization", &admin)], b"").json();
    assert_eq!(
        pending["pending"],
        json!([]),
        "the reseller has signed; what its provider lacks is not its to see"
    );
}

#[test]
fn an_admin_token_is_asked_where_it_is_set() {
    let stage = stage();
    let path = stage.path("countersign.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace(
            "admin: { address: 127.0.0.1:0 }",
            "admin: { address: 127.0.0.1:0, token_file: admin-token }",
        ),
    )
    .unwrap();
    let loaded = countersign::config::load(&path, jiff::Timestamp::now()).unwrap();
    let loader = countersign::app::file_loader(path);
    let app = countersign::app::App::start(loaded.settings.unwrap(), loader, false).unwrap();
    for (headers, status) in [
        (vec![], 401),
        (vec![("Authorization", "Bearer wrong")], 401),
        (vec![("Authorization", "Bearer a-long-enough-token")], 200),
    ] {
        let mut connection = Connection::open(app.admin_address);
        let all: Vec<(&str, &str)> = headers.into_iter().chain([("Host", "localhost")]).collect();
        connection.send(&request("GET", "/livez", &all, b""));
        assert_eq!(connection.read().status, status);
    }
    app.stop();
}
