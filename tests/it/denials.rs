//! What a caller's program is told, as far as programs keep it: status, code, description and data.

use serde_json::{Value, json};

use crate::center::{PLENTY, agent_of, center_with, customer};
use crate::http::Answer;
use crate::stage::{BLOCKED, CUSTOMER, LEDGER, LICENCE, PARTNER, Stage, UNSIGNED, orders};

/// A partner of which no ledger says anything.
const NOBODY: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a09";
/// A customer that the source can not tell of.
const FAILING: &str = "c0a80101-6d2b-4c1e-8f13-000000000001";
/// Resellers with and without the partner agreement.
const SIGNED: &str = "4847383";
const MISSING: &str = "6204417";

/// A gateway that asks the stand-in, with a partner that nobody has recorded.
fn stage(edit: impl Fn(String) -> String) -> Stage {
    let stage = center_with(PLENTY, "", "", |text| {
        let known = format!("  known:\n    - {{ tenant: {NOBODY}, kind: direct_bill, country: DE }}\n");
        edit(text.replace("  known:\n", &known))
    });
    stage.standin.set_partner_status(SIGNED, countersign::standin::PartnerStatus::Signed);
    stage.standin.set_partner_status(MISSING, countersign::standin::PartnerStatus::Code(2203));
    stage.standin.fault("GET", FAILING, "status=500", None);
    stage
}

fn buy(stage: &Stage, partner: &str, customer: &str, reseller: &str, headers: &[(&str, &str)]) -> Answer {
    let body = json!({ "lineItems": [{ "offerId": LICENCE, "partnerIdOnRecord": reseller }] }).to_string();
    let agent = agent_of(stage, partner);
    let headers = [headers, &[("Authorization", agent.as_str())]].concat();
    stage.send("POST", &orders(customer), &headers, body.as_bytes())
}

fn text<'a>(problem: &'a Value, name: &str) -> &'a str {
    problem[name].as_str().unwrap_or_else(|| panic!("{name}: {problem}"))
}

#[test]
fn what_is_missing_comes_before_what_is_unrecorded_and_that_before_what_is_unknown() {
    const CODES: [(&str, u16, u32, bool); 3] = [
        ("agreement_missing", 403, 900_123, false),
        ("agreement_unrecorded", 409, 1_000_002, false),
        ("agreement_unknown", 503, 1_000_001, true),
    ];
    let stage = stage(|text| text);
    let accepted = customer(1);
    for (partner, customer, reseller, expected) in [
        (PARTNER, accepted.as_str(), SIGNED, None),
        (PARTNER, accepted.as_str(), MISSING, Some("agreement_missing")),
        (PARTNER, FAILING, SIGNED, Some("agreement_unknown")),
        (PARTNER, FAILING, MISSING, Some("agreement_missing")),
        (NOBODY, FAILING, SIGNED, Some("agreement_unrecorded")),
        (NOBODY, FAILING, MISSING, Some("agreement_missing")),
        // Of another partner's customers the source says nothing.
        (NOBODY, accepted.as_str(), SIGNED, Some("agreement_unrecorded")),
    ] {
        let row = format!("{partner} {customer} {reseller}");
        let answer = buy(&stage, partner, customer, reseller, &[]);
        let Some(reason) = expected else {
            assert_eq!(answer.status, 201, "{row}: {answer:?}");
            continue;
        };
        let (_, status, code, again) = CODES.into_iter().find(|row| row.0 == reason).unwrap();
        let problem = answer.json();
        assert_eq!((answer.status, answer.reason().as_str()), (status, reason), "{row}: {answer:?}");
        assert_eq!(problem["code"], code, "{row}");
        assert_eq!(answer.header("retry-after").is_some(), again, "{row}: {answer:?}");
        assert_eq!(problem.get("retry_after").is_some(), again, "{row}: {answer:?}");
        let nothing = text(&problem, "description").starts_with("Nothing was ordered. ");
        assert_eq!(nothing, reason == "agreement_unrecorded", "{row}: {problem}");
        for finding in problem["findings"].as_array().unwrap() {
            let who = text(finding, "who");
            let signer = who.contains("administrator") || finding.get("action").is_some();
            assert_eq!(signer, finding["reason"] == "agreement_missing", "{row}: {finding}");
            assert_eq!(who.contains("operator of this gateway"), !signer, "{row}: {finding}");
        }
    }
}

#[test]
fn the_status_of_what_nobody_has_recorded_is_the_operators_choice() {
    for (key, status) in [("", 409), ("unrecorded_status: 409", 409), ("unrecorded_status: 503", 503)] {
        let mut stage = Stage::edited("", |text, _| {
            text.replace("agreements:\n  sources:", &format!("agreements:\n  {key}\n  sources:"))
        });
        let unknown = "c0a80101-6d2b-4c1e-8f10-0000000000ff";
        let answer = stage.order(unknown, &[]);
        let problem = answer.json();
        assert_eq!((answer.status, answer.reason().as_str()), (status, "agreement_unrecorded"), "{key}");
        assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(1_000_002)), "{key}");
        assert_eq!(answer.header("retry-after"), None, "{key}");
        assert!(
            text(&problem, "description").starts_with("Nothing was ordered. No record says"),
            "{problem}"
        );
        let metric = "countersign_requests_total{operation=\"order.create\",reason=\"agreement_unrecorded\",\
                      verdict=\"deny\"}";
        assert_eq!(stage.metric(metric), 1.0, "{key}");
        let records = stage.stop();
        assert_eq!(records[1]["reason"], "agreement_unrecorded", "{key}: {records:?}");
    }
}

#[test]
fn data_says_of_each_party_what_is_found_where_and_who_can_act() {
    let stage = Stage::start();
    let body = json!({ "lineItems": [
        { "offerId": "DZH318Z0BPS6:0001:x" },
        { "offerId": LICENCE, "partnerIdOnRecord": MISSING },
        { "offerId": LICENCE, "partnerIdOnRecord": MISSING },
    ] });
    for (locale, reseller, customer) in [
        (
            "en",
            "The Microsoft Partner Agreement has not been signed by the reseller 6204417. \
             Lines: /lineItems/1, /lineItems/2. The global administrator of the reseller signs",
            "Lines: /lineItems/0, /lineItems/1, /lineItems/2. A global administrator of the customer accepts",
        ),
        (
            "fr",
            "Lignes : /lineItems/1, /lineItems/2. L'administrateur général du revendeur",
            "Un administrateur",
        ),
    ] {
        let answer =
            stage.send("POST", &orders(BLOCKED), &[("X-Locale", locale)], body.to_string().as_bytes());
        let problem = answer.json();
        let data: Vec<&str> =
            problem["data"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
        assert_eq!(data.len(), 2, "the three rules about the customer say the same: {problem}");
        assert!(data[0].contains(reseller) && data[1].contains(customer), "{locale}: {data:?}");
        let action = problem["findings"].as_array().unwrap().last().unwrap()["action"].as_str().unwrap();
        assert!(data[1].ends_with(action) && !data[0].contains("https://"), "{locale}: {data:?}");
        assert!(data[0].starts_with(text(&problem, "description")), "{locale}: {problem}");
    }
}

#[test]
fn data_is_bounded_whatever_is_ordered() {
    let stage = Stage::edited("", |text, folder| {
        let known: String =
            (0..60).map(|number| format!("  - {{ reseller: \"77{number:02}\", mpa: missing }}\n")).collect();
        std::fs::write(folder.join("agreements.yaml"), LEDGER.to_owned() + &known).unwrap();
        text
    });
    let lines: Vec<Value> = (0..240)
        .map(|line| json!({ "offerId": LICENCE, "partnerIdOnRecord": format!("77{:02}", line % 60) }))
        .collect();
    let body = json!({ "lineItems": lines }).to_string();
    let problem = stage.send("POST", &orders(CUSTOMER), &[], body.as_bytes()).json();
    let data = problem["data"].as_array().unwrap();
    assert_eq!(data.len(), 32, "{problem}");
    assert_eq!(data[31], "Further findings: 29.");
    assert_eq!(problem["findings"].as_array().unwrap().len(), 60, "the findings themselves are whole");
    let first = data[0].as_str().unwrap();
    assert!(
        first.contains("Lines: /lineItems/0, /lineItems/60, /lineItems/120, /lineItems/180. "),
        "{first}"
    );
}

/// What a caller is told of a request whose answer did not come.
const ORDERED: &str = "The order may have been placed.";
const CHANGED: &str = "The request may have been carried out.";
const READ: &str = "The request only reads: nothing was ordered or changed.";

#[test]
fn an_exchange_that_breaks_off_says_what_may_have_come_of_it() {
    let stage = Stage::edited("", |text, _| text.replace("response_timeout: 2s", "response_timeout: 300ms"));
    let below = |rest: &str| format!("/v1/customers/{CUSTOMER}/{rest}");
    let lines = json!({ "lineItems": [{ "offerId": LICENCE, "quantity": 1 }] });
    let rows = [
        ("POST", below("orders"), lines.clone(), ORDERED),
        ("POST", below("carts/c/checkout"), Value::Null, ORDERED),
        ("PATCH", below("subscriptions/s"), json!({ "quantity": 5 }), ORDERED),
        ("POST", below("unheardOf"), lines.clone(), ORDERED),
        ("POST", below("carts"), lines, CHANGED),
        ("PATCH", below("subscriptions/s"), json!({ "status": "suspended" }), CHANGED),
        ("POST", below("users"), json!({}), CHANGED),
        ("POST", below("agreements"), json!({}), CHANGED),
        ("DELETE", below("users/u"), Value::Null, CHANGED),
        ("GET", "/v1/customers".to_owned(), Value::Null, READ),
        ("GET", below("orders/o"), Value::Null, READ),
        ("GET", below("directSignedMicrosoftCustomerAgreementStatus"), Value::Null, READ),
        ("POST", below("promotionEligibilities"), json!({}), READ),
    ];
    for (fault, reason, cause) in [
        ("reset", "upstream_interrupted", "The ordering API broke off without an answer."),
        ("upgrade", "upstream_invalid", "The ordering API gave no usable answer."),
        ("hang", "upstream_timeout", "The ordering API did not answer in time."),
    ] {
        for (method, path, body, told) in &rows {
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let answer = stage.send(method, path, &[("Standin-Fault", fault)], body.as_bytes());
            let row = format!("{fault}: {method} {path} {body}: {answer:?}");
            assert_eq!(answer.reason(), reason, "{row}");
            assert_eq!(text(&answer.json(), "description"), format!("{cause} {told}"), "{row}");
        }
    }
}

#[test]
fn an_exchange_that_breaks_off_is_told_in_the_callers_language() {
    let stage = Stage::start();
    for language in [("X-Locale", "fr-FR"), ("Accept-Language", "fr")] {
        let answer = stage.order(CUSTOMER, &[language, ("Standin-Fault", "reset"), ("MS-RequestId", "r1")]);
        assert_eq!(answer.header("ms-requestid"), Some("r1"));
        let description = text(&answer.json(), "description").to_owned();
        assert!(description.ends_with("La commande a pu être passée."), "{language:?}: {description}");
    }
}

#[test]
fn every_language_of_the_program_is_spoken() {
    let stage = Stage::start();
    let unsigned = format!("Bearer {}", stage.token(UNSIGNED, &["GlobalAdmin"]));
    let unrecorded = "c0a80101-6d2b-4c1e-8f10-0000000000ff";
    for (locale, title, nothing, mca, who, more) in [
        (
            "en-US",
            "Agreement missing",
            "Nothing was ordered. ",
            "Microsoft Customer Agreement",
            "You, as",
            "See ",
        ),
        (
            "de-AT",
            "Vereinbarung fehlt",
            "Es wurde nichts bestellt. ",
            "Microsoft-Kundenvereinbarung",
            "Sie als",
            "Siehe ",
        ),
        (
            "es-MX",
            "Falta el contrato",
            "No se ha pedido nada. ",
            "Contrato de cliente de Microsoft",
            "Usted, como",
            "Consulte ",
        ),
        (
            "fr-FR",
            "Contrat manquant",
            "Rien n'a été commandé. ",
            "Contrat client Microsoft",
            "Vous, ",
            "Voir ",
        ),
    ] {
        let problem = stage.order(BLOCKED, &[("X-Locale", locale)]).json();
        assert_eq!(problem["title"], title, "{locale}");
        let data = problem["data"][0].as_str().unwrap();
        assert!(data.contains(mca) && data.contains(&format!("{more}https://")), "{locale}: {data}");
        let problem = stage.order(CUSTOMER, &[("X-Locale", locale), ("Authorization", &unsigned)]).json();
        assert!(text(&problem["findings"][0], "who").starts_with(who), "{locale}: {problem}");
        let problem = stage.order(unrecorded, &[("Accept-Language", locale)]).json();
        let description = text(&problem, "description");
        assert!(description.starts_with(nothing) && description.contains(mca), "{locale}: {description}");
    }
}
