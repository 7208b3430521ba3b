//! Ids of requests whose answers teach: an acceptance that the upstream repeats under a used `MS-RequestId` lifts the
//! block of nobody else, and a retry keeps its idempotency.

use serde_json::{Value, json};

use crate::center::{
    OTHER, PLENTY, TEMPLATE, agent_of, as_fault, attestation, center, center_with, counting, is, said,
    unsigned,
};
use crate::http::{Answer, Connection, request};
use crate::stage::{Stage, order, orders};

/// An id of a caller's own, and another one.
const ID: &str = "4fa6dad6-a89f-4875-8247-8294a10ae1cf";
const OTHER_ID: &str = "4fa6dad6-a89f-4875-8247-8294a10ae1d0";
/// Nothing is looked up again by itself: what lifts a block here was learnt.
const FOR_EVER: &str = "missing: 1h, recheck_after: 1h";

fn agreements(customer: &str) -> String {
    format!("/v1/customers/{customer}/agreements")
}

fn attest(stage: &Stage, customer: &str, body: &Value, id: &str) -> Answer {
    stage.send("POST", &agreements(customer), &[("MS-RequestId", id)], body.to_string().as_bytes())
}

/// The only `MS-RequestId` that the upstream saw since the last time.
fn seen(stage: &Stage) -> String {
    let recorded = stage.standin.recorded();
    let ids: Vec<String> = recorded
        .iter()
        .flat_map(|request| &request.headers)
        .filter(|(name, _)| name == "ms-requestid")
        .map(|(_, value)| String::from_utf8(value.clone()).unwrap())
        .collect();
    assert_eq!((recorded.len(), ids.len()), (1, 1), "{recorded:?}");
    ids.into_iter().next().unwrap()
}

#[test]
fn an_acceptance_that_is_repeated_under_a_used_id_lifts_no_other_block() {
    let stage = center(PLENTY, FOR_EVER);
    stage.standin.replay(true);
    let (signed, blocked) = (unsigned(1), unsigned(2));
    for party in [&signed, &blocked] {
        assert_eq!(said(&stage.order(party, &[])), is(403, "agreement_missing"));
    }
    // The upstream itself does repeat an acceptance to whoever names its id.
    let direct = |customer: &str, body: &Value| {
        let body = body.to_string();
        let headers = [("MS-RequestId", OTHER_ID), ("Content-Type", "application/json")];
        let mut connection = Connection::open(stage.standin.address());
        connection.send(&request("POST", &agreements(customer), &headers, body.as_bytes()));
        connection.read().body
    };
    let good = counting("2024-05-13T00:00:00Z");
    assert_eq!(direct(&unsigned(3), &good), direct(&unsigned(4), &json!({})));

    assert_eq!(attest(&stage, &signed, &good, ID).status, 201);
    assert_eq!(stage.order(&signed, &[]).status, 201);
    // Of its own it has only the agreement before this one to show.
    let other = attestation("MicrosoftCloudAgreement", TEMPLATE, "2024-05-13T00:00:00Z");
    for (body, id) in [(&other, ID), (&other, OTHER_ID)] {
        assert_eq!(attest(&stage, &blocked, body, id).status, 201, "{body}");
        assert_eq!(said(&stage.order(&blocked, &[])), is(403, "agreement_missing"), "{body} {id}");
    }
    assert_eq!(stage.metric("countersign_learnt_total{agreement=\"mca\"}"), 1.0);
}

/// What a request is, its method, target, headers and body, and whether it has the id of the first one.
type Row<'r> = (&'r str, &'r str, String, Vec<(&'r str, &'r str)>, &'r str, bool);

#[test]
fn a_request_whose_answer_teaches_has_an_id_of_its_own_upstream() {
    let mut stage = center(PLENTY, FOR_EVER);
    let (party, other_party) = (unsigned(1), unsigned(2));
    let (path, body) = (agreements(&party), counting("2024-05-13T00:00:00Z").to_string());
    let other = agent_of(&stage, OTHER);
    let direct = |party: &str| format!("/v1/customers/{party}/directSignedMicrosoftCustomerAgreementStatus");
    let with = |id| vec![("MS-RequestId", id)];
    let large = json!({ "type": "x", "note": "n".repeat(17 * 1024) }).to_string();
    let rows: Vec<Row<'_>> = vec![
        ("itself", "POST", path.clone(), with(ID), &body, true),
        ("with other headers", "POST", path.clone(), vec![("MS-RequestId", ID), ("X-A", "1")], &body, true),
        ("another customer", "POST", agreements(&other_party), with(ID), &body, false),
        ("another spelling of its path", "POST", format!("{path}/"), with(ID), &body, false),
        ("a query", "POST", format!("{path}?a=1"), with(ID), &body, false),
        ("another body", "POST", path.clone(), with(ID), "{}", false),
        ("no body", "POST", path.clone(), with(ID), "", false),
        ("another id", "POST", path.clone(), with(OTHER_ID), &body, false),
        ("no id", "POST", path.clone(), vec![], &body, false),
        ("no id once more", "POST", path.clone(), vec![], &body, false),
        (
            "another partner",
            "POST",
            path.clone(),
            vec![("MS-RequestId", ID), ("Authorization", &other)],
            &body,
            false,
        ),
        ("a read", "GET", direct(&party), with(ID), "", false),
        ("a read of another customer", "GET", direct(&other_party), with(ID), "", false),
        ("a large body", "POST", path.clone(), with(ID), &large, false),
        ("a large body once more", "POST", path.clone(), with(ID), &large, false),
    ];
    stage.standin.recorded();
    stage.send("POST", &path, &with(ID), body.as_bytes());
    let first = seen(&stage);
    let mut known = vec![first.clone(), ID.to_owned(), OTHER_ID.to_owned()];
    for (what, method, target, headers, body, is_same) in &rows {
        let answer = stage.send(method, target, headers, body.as_bytes());
        let sent = headers.iter().find(|(name, _)| *name == "MS-RequestId").map(|(_, id)| *id);
        let ids: Vec<&str> = answer
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("ms-requestid"))
            .map(|(_, id)| id.as_str())
            .collect();
        let found = seen(&stage);
        assert_eq!(ids.len(), 1, "{what}: {answer:?}");
        assert!(
            sent.is_none_or(|sent| ids[0] == sent) && ids[0] != found,
            "{what}: {ids:?}, {found} upstream"
        );
        assert_eq!(&found[14..15], "8", "{what}: {found}");
        assert_eq!(found == first, *is_same, "{what}: {found}");
        assert!(*is_same || !known.contains(&found), "{what}: {found} of {known:?}");
        known.push(found);
    }
    // All workers derive alike, and what does not say its length has an id that no other request has.
    for _ in 0..8 {
        stage.send("POST", &path, &with(ID), body.as_bytes());
        assert_eq!(seen(&stage), first);
        let agent = stage.agent();
        let headers = [
            ("MS-RequestId", ID),
            ("Authorization", &agent),
            ("Content-Type", "application/json"),
            ("Transfer-Encoding", "chunked"),
        ];
        let mut connection = Connection::open(stage.address());
        connection.send(&request("POST", &path, &headers, b""));
        connection.send(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).as_bytes());
        assert_eq!(connection.read().status, 201);
        let found = seen(&stage);
        assert!(!known.contains(&found), "{found} of {known:?}");
        known.push(found);
    }
    // What does not teach keeps the caller's.
    stage.send("POST", &orders(&party), &with(ID), order().as_bytes());
    assert_eq!(seen(&stage), ID);
    let records = stage.stop();
    let taught = records.iter().filter(|record| record["operation"] == "agreement.attest");
    let recorded: Vec<&str> = taught.map(|record| record["ms_request_id"].as_str().unwrap()).collect();
    assert!(recorded.contains(&ID) && !recorded.contains(&first.as_str()), "{recorded:?}");
}

#[test]
fn an_answer_that_fails_names_the_callers_own_id() {
    let stage = center(PLENTY, FOR_EVER);
    for fault in ["reset", "status=409", "status=503", "echo", "hop"] {
        let headers = [("MS-RequestId", ID), ("Standin-Fault", fault)];
        let body = counting("2024-05-13T00:00:00Z").to_string();
        let answer = stage.send("POST", &agreements(&unsigned(1)), &headers, body.as_bytes());
        assert_eq!(answer.header("ms-requestid"), Some(ID), "{fault}: {answer:?}");
    }
}

#[test]
fn an_attestation_whose_body_does_not_come_is_given_up_before_it_is_sent() {
    let stage = center_with_little_patience();
    stage.standin.recorded();
    let body = counting("2024-05-13T00:00:00Z").to_string();
    let whole = stage.request("POST", &agreements(&unsigned(1)), &[("MS-RequestId", ID)], body.as_bytes());
    let mut connection = Connection::open(stage.address());
    connection.send(&whole[..whole.len() - 1]);
    let answer = connection.read();
    assert_eq!((answer.status, answer.reason().as_str()), (408, "body_timeout"));
    assert!(stage.standin.recorded().is_empty());
    // One that may be short of room for judging is no reason to refuse a cure.
    let told = as_fault(&counting("2024-05-13T00:00:00Z").to_string());
    let headers = [("MS-RequestId", ID), ("Standin-Fault", told.as_str())];
    let padded = json!({ "note": "n".repeat(8 * 1024) }).to_string();
    let answer = stage.send("POST", &agreements(&unsigned(1)), &headers, padded.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Bodies that are judged have to come within a moment, and are small.
fn center_with_little_patience() -> Stage {
    let limits = "limits: { body_timeout: 200ms, body_bytes: 1KiB, buffered_bytes: 1KiB }\n";
    center_with(PLENTY, FOR_EVER, limits, |text| text)
}
