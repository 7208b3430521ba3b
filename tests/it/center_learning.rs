//! What passing answers tell: a block is lifted by an acceptance that passes, forged ones lift nothing, and what the
//! upstream takes back is looked up again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::center::{
    OTHER, PLENTY, TEMPLATE, agent_of, as_fault, asked, attestation, center, center_with, counting,
    in_the_east, is, order_of, said, two_centers, unsigned,
};
use crate::http::{Answer, Connection};
use crate::stage::{BLOCKED, CUSTOMER, LEDGER, PARTNER, Stage, eventually, order, orders};

/// Nothing is looked up again by itself: what lifts a block here was learnt.
const FOR_EVER: &str = "missing: 1h, recheck_after: 1h";

fn attest(stage: &Stage, customer: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
    let path = format!("/v1/customers/{customer}/agreements");
    stage.send("POST", &path, headers, body.to_string().as_bytes())
}

/// Connections enough that every worker has some.
fn connections(stage: &Stage) -> Vec<Connection> {
    (0..8).map(|_| Connection::open(stage.address())).collect()
}

fn order_on(stage: &Stage, connection: &mut Connection, customer: &str) -> u16 {
    connection.send(&stage.request("POST", &orders(customer), &[], order().as_bytes()));
    connection.read().status
}

#[test]
fn an_attestation_that_passes_lifts_the_block_on_every_worker_at_once() {
    let stage = center(PLENTY, FOR_EVER);
    let party = unsigned(1);
    let mut connections = connections(&stage);
    for connection in &mut connections {
        assert_eq!(order_on(&stage, connection, &party), 403);
    }
    let before = asked(&stage);
    assert_eq!(attest(&stage, &party, &counting("2024-05-13T00:00:00Z"), &[]).status, 201);
    for connection in &mut connections {
        assert_eq!(order_on(&stage, connection, &party), 201);
    }
    assert_eq!(asked(&stage), before);
    assert_eq!(stage.metric("countersign_learnt_total{agreement=\"mca\"}"), 1.0);
}

#[test]
fn an_attestation_with_an_hour_of_the_east_lifts_the_block_at_once() {
    let stage = center(PLENTY, FOR_EVER);
    let party = unsigned(1);
    assert_eq!(stage.order(&party, &[]).status, 403);
    let before = asked(&stage);
    assert_eq!(attest(&stage, &party, &counting(&in_the_east()), &[]).status, 201);
    assert_eq!(stage.order(&party, &[]).status, 201);
    assert_eq!(asked(&stage), before);
}

#[test]
fn an_acceptance_elsewhere_lifts_the_block_within_the_time_after_which_denials_are_looked_at_again() {
    let stage = center(PLENTY, "missing: 1h, recheck_after: 300ms");
    let party = unsigned(1);
    let mut connections = connections(&stage);
    for connection in &mut connections {
        assert_eq!(order_on(&stage, connection, &party), 403);
    }
    stage.standin.set_direct(&party, true);
    let accepted_at = Instant::now();
    for connection in &mut connections {
        eventually(|| order_on(&stage, connection, &party) == 201);
    }
    assert!(accepted_at.elapsed() < Duration::from_secs(2), "{:?}", accepted_at.elapsed());
}

#[test]
fn a_denial_is_looked_at_again_at_most_once_in_its_time() {
    let stage = center(PLENTY, FOR_EVER);
    let party = unsigned(1);
    let mut connections = connections(&stage);
    for _ in 0..5 {
        for connection in &mut connections {
            assert_eq!(order_on(&stage, connection, &party), 403);
        }
    }
    assert_eq!(asked(&stage), (1, 1));
}

#[test]
fn what_the_upstream_refuses_is_looked_up_again_for_that_partner_only() {
    let stage = two_centers("");
    let (mine, other) = (agent_of(&stage, PARTNER), agent_of(&stage, OTHER));
    let order = |agent: &str| stage.order(CUSTOMER, &[("Authorization", agent)]);
    assert_eq!((order(&mine).status, order(&other).status), (201, 201));
    assert_eq!(asked(&stage), (2, 2));
    stage.standin.refuse_orders(CUSTOMER, Some(13605));
    let refused = order(&mine);
    assert_eq!((refused.status, &refused.json()["code"]), (403, &json!(13605)));
    assert_eq!(asked(&stage), (2, 2), "before its next use, not at once");
    stage.standin.refuse_orders(CUSTOMER, None);
    assert_eq!(order(&other).status, 201);
    assert_eq!(asked(&stage), (2, 2), "what another partner knows stays");
    assert_eq!(order(&mine).status, 201);
    assert_eq!(asked(&stage), (3, 3));
    // The source stands by it: it is not doubted again and again.
    stage.standin.refuse_orders(CUSTOMER, Some(13605));
    for _ in 0..5 {
        assert_eq!(order(&mine).status, 403);
    }
    assert_eq!(asked(&stage), (3, 3));
    assert_eq!(stage.metric("countersign_drift_total{agreement=\"mca\"}"), 6.0);
}

#[test]
fn an_acceptance_that_was_taken_back_is_found_out() {
    let stage = center(PLENTY, "");
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    stage.standin.set_direct(CUSTOMER, false);
    stage.standin.set_attestations(CUSTOMER, Vec::new());
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201, "it is known to have accepted");
    stage.standin.refuse_orders(CUSTOMER, Some(13605));
    assert_eq!(said(&stage.order(CUSTOMER, &[])), is(403, ""));
    let sent = stage.standin.count("orders");
    for _ in 0..3 {
        assert_eq!(said(&stage.order(CUSTOMER, &[])), is(403, "agreement_missing"));
    }
    assert_eq!(stage.standin.count("orders"), sent);
}

#[test]
fn a_checkout_that_fails_inside_its_201_is_a_refusal_too() {
    let stage = center(PLENTY, "");
    let checkout =
        || stage.send("POST", &format!("/v1/customers/{CUSTOMER}/carts/k/checkout"), &[], b"").status;
    assert_eq!(checkout(), 201);
    assert_eq!(asked(&stage), (1, 1));
    stage.standin.refuse_in_checkout(CUSTOMER, Some(13605));
    assert_eq!(checkout(), 201);
    stage.standin.refuse_in_checkout(CUSTOMER, None);
    assert_eq!(checkout(), 201);
    assert_eq!(asked(&stage), (2, 2));
}

#[test]
fn a_refused_reseller_leaves_the_customer_alone() {
    let stage = center(PLENTY, "");
    let order = || order_of(&stage, CUSTOMER, "4847383", &[]).status;
    assert_eq!(order(), 201);
    stage.standin.refuse_orders(CUSTOMER, Some(900_123));
    assert_eq!(order(), 403);
    stage.standin.refuse_orders(CUSTOMER, None);
    assert_eq!(order(), 201);
    assert_eq!((asked(&stage), stage.standin.count("partner_status")), ((1, 1), 2));
    // Nor does a code that says nothing of agreements put anything in doubt.
    stage.standin.refuse_orders(CUSTOMER, Some(900_150));
    assert_eq!(order(), 403);
    stage.standin.refuse_orders(CUSTOMER, None);
    assert_eq!(order(), 201);
    assert_eq!((asked(&stage), stage.standin.count("partner_status")), ((1, 1), 2));
}

#[test]
fn the_codes_that_put_an_acceptance_in_doubt_are_the_agreements_own() {
    let own = "rules: [{ name: customer-mca, code: 700100 }]";
    let listed =
        "agreements: [{ name: mca, code: 13605, doubt_codes: { customer: [800073], reseller: [900123] } }]";
    let other = "agreements: [{ name: mca, code: 13606, action: https://example.com }]";
    for (policy, code, is_doubted) in [
        ("", 13_605, true),
        ("", 900_123, false),
        ("", 900_124, false),
        // A code of a rule is what denials carry.
        (own, 13_605, true),
        (own, 700_100, false),
        (listed, 800_073, true),
        (listed, 900_123, false),
        (listed, 13_605, false),
        // Another code of denials leaves the built-in list.
        (other, 13_605, true),
        (other, 13_606, false),
    ] {
        let stage = center_with(PLENTY, FOR_EVER, &format!("policy: {{ {policy} }}\n"), |text| text);
        assert_eq!(stage.order(CUSTOMER, &[]).status, 201, "{policy}");
        stage.standin.refuse_orders(CUSTOMER, Some(code));
        assert_eq!(said(&stage.order(CUSTOMER, &[])), is(403, ""), "{policy} {code}");
        stage.standin.refuse_orders(CUSTOMER, None);
        assert_eq!(stage.order(CUSTOMER, &[]).status, 201, "{policy} {code}");
        let times = 1 + u64::from(is_doubted);
        assert_eq!(asked(&stage), (times, times), "{policy} {code}");
        let drift = stage.metric("countersign_drift_total{agreement=\"mca\"}");
        assert_eq!(drift, f64::from(u8::from(is_doubted)), "{policy} {code}");
    }
}

#[test]
fn an_agreement_of_the_operators_is_doubted_by_its_code_unless_it_lists_others() {
    for (doubt, code, is_doubted) in [
        ("", 700_100, true),
        ("", 700_101, false),
        (", doubt_codes: { customer: [700101, 700102] }", 700_102, true),
        (", doubt_codes: { customer: [700101] }", 700_100, false),
        (", doubt_codes: { reseller: [700100] }", 700_100, false),
        (", doubt_codes: {}", 700_100, false),
    ] {
        let policy = format!(
            "policy:\n  agreements: [{{ name: terms, code: 700100{doubt} }}]\n  rules: [{{ name: terms, \
             when: {{ class: [purchase] }}, requires: {{ agreement: terms, of: customer }} }}]\n"
        );
        let stage = Stage::edited(&policy, |text, folder| {
            let record = format!("  - {{ customer: {CUSTOMER}, terms: {{ accepted: undated }} }}\n");
            std::fs::write(folder.join("agreements.yaml"), LEDGER.to_owned() + &record).unwrap();
            text
        });
        stage.standin.refuse_orders(CUSTOMER, Some(code));
        assert_eq!(said(&stage.order(CUSTOMER, &[])), is(403, ""), "{doubt} {code}");
        let drift = stage.metric("countersign_drift_total{agreement=\"terms\"}");
        assert_eq!(drift, f64::from(u8::from(is_doubted)), "{doubt} {code}");
    }
}

#[test]
fn a_read_that_says_there_is_a_direct_acceptance_lifts_the_block_for_every_partner() {
    // Never by looking up the customer: only what was learnt can lift it.
    let stage = center_with(PLENTY, "missing: 1h, recheck_after: 200ms", "", |text| text);
    let second = two_centers("missing: 1h, recheck_after: 200ms");
    for stage in [stage, second] {
        let party = unsigned(1);
        let others = [PARTNER, OTHER].map(|partner| agent_of(&stage, partner));
        let order = |agent: &str| stage.order(&party, &[("Authorization", agent)]).status;
        let before: Vec<u16> = others.iter().map(|agent| order(agent)).collect();
        assert!(before.iter().all(|status| matches!(status, 403 | 409)), "{before:?}");
        stage.standin.set_direct(&party, true);
        let read = |agent: &str| {
            let path = format!("/v1/customers/{party}/directSignedMicrosoftCustomerAgreementStatus");
            stage.send("GET", &path, &[("Authorization", agent)], b"").status
        };
        assert_eq!(read(&others[0]), 200);
        let asked_before = asked(&stage);
        assert_eq!(order(&others[0]), 201, "at once for who asked");
        eventually(|| order(&others[1]) == 201);
        assert_eq!(asked(&stage), asked_before, "nobody was asked for it");
    }
}

#[test]
fn a_read_that_says_there_is_no_direct_acceptance_takes_nothing_away() {
    let stage = center(PLENTY, FOR_EVER);
    stage.standin.set_direct(CUSTOMER, false);
    let path = format!("/v1/customers/{CUSTOMER}/directSignedMicrosoftCustomerAgreementStatus");
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201, "it is attested");
    assert_eq!(stage.send("GET", &path, &[], b"").json()["isSigned"], false);
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    // The caller's own read is counted beside the look-up.
    assert_eq!(asked(&stage), (2, 1));
}

#[test]
fn what_is_no_acceptance_of_this_partners_customer_lifts_nothing() {
    const MCA: &str = "MicrosoftCustomerAgreement";
    const DATE: &str = "2024-05-13T00:00:00Z";
    let stage = two_centers(FOR_EVER);
    let good = || counting(DATE);
    let of_other = agent_of(&stage, OTHER);
    let echoed = as_fault(&good().to_string());
    // What the list of attestations holds then but can not be read leaves it open whether there is one.
    let unclear = [
        "a date that was never set",
        "a date that was never set, with a zone",
        "no date that can be read",
        "no date",
        "no type",
        "not at the top",
        "a list of types",
    ];
    type Row<'r> = (&'r str, Value, Vec<(&'r str, &'r str)>);
    let rows: Vec<Row<'_>> = vec![
        ("another type", attestation("MicrosoftCloudAgreement", TEMPLATE, DATE), vec![]),
        ("another template", attestation(MCA, "998b88de-aa99-4388-a42c-1b3517d49490", DATE), vec![]),
        ("the future", counting("2099-01-01T00:00:00Z"), vec![]),
        ("the future without a zone", counting("2099-01-01T00:00:00"), vec![]),
        ("a date that was never set", counting("0001-01-01T00:00:00"), vec![]),
        ("a date that was never set, with a zone", counting("1970-01-01T00:00:00Z"), vec![]),
        ("no date that can be read", counting("yesterday"), vec![]),
        ("no date", json!({ "type": MCA, "templateId": TEMPLATE }), vec![]),
        ("no type", json!({ "templateId": TEMPLATE, "dateAgreed": DATE }), vec![]),
        ("not at the top", json!({ "agreement": good() }), vec![]),
        ("a list of types", json!({ "type": [MCA], "templateId": TEMPLATE, "dateAgreed": DATE }), vec![]),
        ("compressed", good(), vec![("Standin-Fault", "gzip")]),
        ("200", good(), vec![("Standin-Fault", &echoed)]),
        ("nothing", good(), vec![("Standin-Fault", "nocontent")]),
        ("cut off", good(), vec![("Standin-Fault", "garbage")]),
        ("refused", good(), vec![("Standin-Fault", "status=400")]),
        ("refused for exists", good(), vec![("Standin-Fault", "status=409")]),
        ("failed", good(), vec![("Standin-Fault", "status=500")]),
        ("of another partner", good(), vec![("Authorization", &of_other)]),
    ];
    for (number, (row, body, headers)) in rows.into_iter().enumerate() {
        let party = unsigned(number as u32);
        assert_eq!(said(&stage.order(&party, &[])), is(403, "agreement_missing"), "{row}");
        let answer = attest(&stage, &party, &body, &headers);
        let blocked = said(&stage.order(&party, &[]));
        let expected = match unclear.contains(&row) {
            true => is(503, "agreement_unknown"),
            false => is(403, "agreement_missing"),
        };
        assert_eq!(blocked, expected, "{row}: {answer:?}");
    }
    assert_eq!(stage.metric("countersign_learnt_total{agreement=\"mca\"}"), 1.0, "the other partner's own");
}

#[test]
fn an_answer_tells_of_the_customer_of_its_path_only() {
    let stage = center(PLENTY, FOR_EVER);
    let party = unsigned(1);
    assert_eq!(stage.order(&party, &[]).status, 403);
    let mut body = counting("2024-05-13T00:00:00Z");
    for name in ["customerId", "referenceCustomerId", "customerTenantId", "partnerId"] {
        body[name] = Value::from(party.as_str());
    }
    for path in [
        format!("/v1/customers/{CUSTOMER}/agreements"),
        "/v1/attestations/enhanced".to_owned(),
        "/v1/CreateBulkReAttestation".to_owned(),
        format!("/v1/customers/{BLOCKED}/agreements?customer={party}"),
    ] {
        let answer = stage.send("POST", &path, &[], body.to_string().as_bytes());
        assert!(answer.header("content-type") != Some("application/problem+json"), "{path}: {answer:?}");
        assert_eq!(stage.order(&party, &[]).status, 403, "{path}");
    }
}

#[test]
fn an_attestation_that_can_not_be_read_has_the_customer_looked_up() {
    // The answer is told as text of another name, so that nothing is learnt; the upstream holds it all the same.
    let stage = center(PLENTY, FOR_EVER);
    let party = unsigned(1);
    assert_eq!(stage.order(&party, &[]).status, 403);
    stage.standin.set_direct(&party, true);
    assert_eq!(stage.order(&party, &[]).status, 403, "nobody told of it");
    assert_eq!(attest(&stage, &party, &json!({ "type": "x" }), &[]).status, 201);
    assert_eq!(stage.order(&party, &[]).status, 201);
    assert_eq!(asked(&stage), (2, 2));
}

#[test]
fn what_may_tell_something_is_asked_for_as_it_is() {
    let stage = center(PLENTY, "");
    let direct = format!("/v1/customers/{CUSTOMER}/directSignedMicrosoftCustomerAgreementStatus");
    let list = format!("/v1/customers/{CUSTOMER}/agreements?agreementType=MicrosoftCustomerAgreement");
    for (method, path, expected) in [
        ("GET", direct.as_str(), "identity"),
        ("POST", &format!("/v1/customers/{CUSTOMER}/agreements"), "identity"),
        ("POST", &orders(CUSTOMER), "identity"),
        ("GET", &list, "gzip, br"),
    ] {
        let body = if method == "GET" { String::new() } else { order() };
        stage.standin.recorded();
        stage.send(method, path, &[("Accept-Encoding", "gzip, br")], body.as_bytes());
        let recorded = stage.standin.recorded();
        let passed = recorded.last().unwrap();
        assert_eq!((passed.method.as_str(), passed.target.as_str()), (method, path));
        let encodings: Vec<_> = passed
            .headers
            .iter()
            .filter(|(name, _)| name == "accept-encoding")
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect();
        assert_eq!(encodings, [expected], "{method} {path}");
    }
}

#[test]
fn a_direct_acceptance_tells_of_the_customer_of_its_path_with_empty_segments_too() {
    let stage = center(PLENTY, FOR_EVER);
    let (party, other) = (unsigned(1), unsigned(2));
    for customer in [&party, &other] {
        assert_eq!(stage.order(customer, &[]).status, 403);
    }
    let signed = as_fault("{\"isSigned\":true}");
    let path = format!("/v1//customers///{party}//directSignedMicrosoftCustomerAgreementStatus//");
    stage.standin.recorded();
    assert_eq!(stage.send("GET", &path, &[("Standin-Fault", &signed)], b"").status, 200);
    assert_eq!(stage.standin.recorded()[0].target, path);
    assert_eq!(stage.order(&party, &[]).status, 201);
    assert_eq!(stage.order(&other, &[]).status, 403);
}

#[test]
fn a_read_that_tells_nothing_lifts_nothing() {
    let stage = center(PLENTY, FOR_EVER);
    let party = unsigned(1);
    assert_eq!(stage.order(&party, &[]).status, 403);
    let path = format!("/v1/customers/{party}/directSignedMicrosoftCustomerAgreementStatus");
    let told = |text: &str| as_fault(text);
    for (method, fault) in [
        ("GET", "gzip".to_owned()),
        ("GET", told("{\"isSigned\":false}")),
        ("GET", told("{\"isSigned\":1}")),
        ("GET", told("{\"isSigned\":[true]}")),
        ("GET", told("{\"isSigned\":null}")),
        ("GET", told("[{\"isSigned\":true}]")),
        ("GET", told("{\"a\":{\"isSigned\":true}}")),
        ("GET", told("{\"isSigned\":true")),
        ("GET", "nocontent".to_owned()),
        ("GET", "status=403".to_owned()),
        ("HEAD", "hop".to_owned()),
    ] {
        stage.send(method, &path, &[("Standin-Fault", &fault)], b"");
        assert_eq!(stage.order(&party, &[]).status, 403, "{method} {fault}");
    }
    let path = format!("/v1/customers/{party}/directSigned");
    stage.send("GET", &path, &[("Standin-Fault", &told("{\"isSigned\":true}"))], b"");
    assert_eq!(stage.order(&party, &[]).status, 403, "another path");
    assert_eq!(asked(&stage).1, 1);
}
