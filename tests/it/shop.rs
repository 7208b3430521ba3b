//! An endpoint of the operator's own as a source, behind a whole gateway.

use serde_json::{Value, json};

use crate::center::{as_fault, assert_unknown, customer};
use crate::stage::Stage;

/// A gateway whose customers are looked for at an endpoint of the stand-in's, with further keys.
pub fn shop(keys: &str, extra: &str) -> Stage {
    Stage::edited(extra, |text, folder| {
        let start = text.find("url: ").unwrap() + "url: ".len();
        let url = &text[start..start + text[start..].find(',').unwrap()];
        std::fs::write(folder.join("secret"), "hush").unwrap();
        let source = format!(
            "  sources:\n    shop: {{ type: http, url: \"{url}/v1/shop/{{id}}\", timeout: 3s, \
             requests_per_minute: 1000000, caller_share: 100, {keys} }}\n"
        );
        text.replace("  sources:\n", &source).replace("customer: [ledger]", "customer: [shop]")
    })
}

/// The answer about a customer.
pub fn tell(stage: &Stage, customer: &str, answer: Value) {
    stage.standin.set_resource(&format!("/v1/shop/{customer}"), answer, None);
}

/// The value of a header of each question since the last call.
fn sent(stage: &Stage, header: &str) -> Vec<String> {
    let value = |headers: &[(String, Vec<u8>)]| {
        let found = headers.iter().find(|(name, _)| name == header);
        found.map_or_else(String::new, |(_, value)| String::from_utf8(value.clone()).unwrap())
    };
    let recorded = stage.standin.recorded();
    let questions = recorded.iter().filter(|one| one.target.starts_with("/v1/shop/"));
    questions.map(|one| value(&one.headers)).collect()
}

#[test]
fn a_changed_header_has_parties_asked_again_and_a_changed_secret_does_not() {
    let stage = shop("accepted: /ok, headers: { X-Shop: one, Authorization: { file: secret } }", "");
    let (known, other) = (customer(1), customer(2));
    for party in [&known, &other] {
        tell(&stage, party, json!({ "ok": true }));
    }
    assert_eq!(stage.order(&known, &[]).status, 201);
    assert_eq!(sent(&stage, "authorization"), ["hush"]);
    tell(&stage, &known, json!({ "ok": false }));
    std::fs::write(stage.path("secret"), "whist").unwrap();
    assert_eq!(stage.reload().status, 200);
    assert_eq!(stage.order(&known, &[]).status, 201);
    assert_eq!(sent(&stage, "authorization"), [""; 0]);
    assert_eq!(stage.order(&other, &[]).status, 201);
    assert_eq!(sent(&stage, "authorization"), ["whist"]);
    let path = stage.path("countersign.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("X-Shop: one", "X-Shop: two")).unwrap();
    assert_eq!(stage.reload().status, 200);
    assert_eq!(stage.order(&known, &[]).json()["code"], 13605);
    assert_eq!(sent(&stage, "x-shop")[0], "two");
}

#[test]
fn an_answer_that_says_both_yes_and_no_is_unknown() {
    let stage = shop("accepted: /ok, missing: /open", "");
    for (number, answer, expected) in [
        (1, r#"{"ok":true,"open":false}"#, 201),
        (2, r#"{"ok":false,"open":true}"#, 403),
        (3, r#"{"ok":true,"open":true}"#, 503),
        (4, r#"{"ok":false,"open":true,"ok":true}"#, 503),
        (5, r#"{"ok":true,"ok":true}"#, 503),
        (6, r#"{"ok":true,"more":{"a":1,"a":2}}"#, 503),
        (7, r#"{"ok":true,"OK":false}"#, 201),
    ] {
        stage.standin.clear_faults();
        stage.standin.fault("GET", "/v1/shop/", &as_fault(answer), None);
        let answered = stage.order(&customer(number), &[]);
        match expected {
            503 => assert_unknown(&answered, answer),
            _ => assert_eq!(answered.status, expected, "{answer}: {answered:?}"),
        }
    }
}
