//! Every request of the ordering API, classified and judged under both presets, in every letter case of its members.

use std::collections::BTreeSet;

use countersign::extract::{self, Refusal, Sent};
use countersign::policy::facts::{Facts, Product, Request};
use countersign::policy::operation::{Class, Method};
use countersign::policy::path::Path;
use countersign::policy::{Policy, Route};
use serde_json::{Map, Value, json};

use crate::support;

const TABLES: [&str; 5] = ["purchases", "wind-downs", "cures", "reads", "administration"];

fn rows() -> Vec<Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/requests");
    let table = |name: &&str| {
        let text = std::fs::read_to_string(format!("{folder}/{name}.json")).expect("the table is there");
        serde_json::from_str::<Vec<Value>>(&text).expect("the table is JSON")
    };
    TABLES.iter().flat_map(table).collect()
}

/// The letter cases in which the property names of a body are tried.
const CASES: [fn(&str) -> String; 4] = [
    str::to_owned,
    |name| name.to_ascii_uppercase(),
    |name| {
        let mut letters = name.chars();
        letters
            .next()
            .map_or(String::new(), |first| first.to_ascii_lowercase().to_string() + letters.as_str())
    },
    |name| {
        let mut letters = name.chars();
        letters
            .next()
            .map_or(String::new(), |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    },
];

fn recased(value: &Value, case: fn(&str) -> String) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| recased(item, case)).collect(),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (case(name), recased(value, case)));
            Value::Object(members.collect::<Map<String, Value>>())
        }
        other => other.clone(),
    }
}

/// What the gateway makes of a row: the request, or where it is streamed as what.
fn read(policy: &Policy, row: &Value, case: fn(&str) -> String) -> Result<Request, Refusal> {
    let method = Method::parse(row["method"].as_str().unwrap()).unwrap();
    let target = row["path"].as_str().unwrap();
    let path = Path::parse(target.split('?').next().unwrap()).expect("a plain path");
    let body = match (row.get("body"), row.get("body_text")) {
        (Some(body), _) => recased(body, case).to_string().into_bytes(),
        (None, Some(text)) => text.as_str().unwrap().as_bytes().to_vec(),
        (None, None) => Vec::new(),
    };
    match policy.route(method, &path) {
        Route::Judge(endpoint) => {
            let sent =
                Sent { path: &path, caller: &support::caller(policy), body: &body, is_merge_patch: false };
            extract::read_request(policy, endpoint, &sent)
        }
        Route::Stream(operation, class) => Ok(Request::bare(operation, class)),
        other => panic!("{}: {other:?}", row["name"]),
    }
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// Where a row says another thing than what the gateway makes of it.
fn faults(
    policy: &Policy,
    row: &Value,
    case: fn(&str) -> String,
    needs_column: &str,
    at: &str,
) -> Vec<String> {
    let name = row["name"].as_str().unwrap();
    let request = match read(policy, row, case) {
        Ok(request) => request,
        Err(refusal) => return vec![format!("{name}: {refusal:?}")],
    };
    let operation = &policy.operations[request.operation.index()].name;
    let mut found = vec![
        ("operation", json!(operation), row["operation"].clone()),
        ("class", json!(request.class.as_str()), row["class"].clone()),
        ("notice", json!(request.notice.map(|notice| notice.as_str())), row["notice"].clone()),
        ("unread", json!(request.unread.map(|resource| resource.as_str())), row["unread"].clone()),
    ];
    if request.class.is_gated() {
        found.push(("customer", json!(request.customer.map(|id| id.to_string())), row["customer"].clone()));
        let lines: Vec<Value> = request
            .lines
            .iter()
            .map(|line| {
                let products = match &line.product {
                    Product::Unknown => Vec::new(),
                    Product::Named { ids, .. } => ids.clone(),
                };
                json!({ "at": line.at.to_ascii_lowercase(), "products": products })
            })
            .filter(|line| line["products"] != json!([]))
            .collect();
        let expected: Vec<Value> = row["lines"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| json!({ "at": line["at"].as_str().unwrap().to_ascii_lowercase(), "products": line["products"] }))
            .collect();
        found.push(("lines", json!(lines), json!(expected)));
        // As sets: rewriting the names of a body sorts its members.
        let resellers: BTreeSet<String> =
            request.resellers.iter().map(|reseller| reseller.id.to_string()).collect();
        let expected =
            texts(&row["resellers"]).iter().map(|id| id.to_ascii_lowercase()).collect::<BTreeSet<_>>();
        found.push(("resellers", json!(resellers), json!(expected)));
    }
    let caller = support::caller(policy);
    let plan = policy.plan(Facts { caller: &caller, request: &request, at: support::time(at) }).unwrap();
    found.push((needs_column, json!(support::kinds(plan.needs())), row[needs_column].clone()));
    let differs = found.into_iter().filter(|(_, found, expected)| found != expected);
    differs.map(|(what, found, expected)| format!("{name}: {what} is {found}, not {expected}")).collect()
}

#[test]
fn every_request_is_classified_under_both_presets_in_every_letter_case() {
    let rows = rows();
    assert!(rows.len() >= 200, "{} rows", rows.len());
    for (preset, column, at) in [
        ("csp-2020", "needs_2020", "2020-02-01T00:00:00Z"),
        ("csp-2026", "needs_2026", "2026-01-21T00:00:00Z"),
    ] {
        let policy = support::preset(preset);
        for case in CASES {
            let faults: Vec<String> =
                rows.iter().flat_map(|row| faults(&policy, row, case, column, at)).collect();
            assert!(faults.is_empty(), "{preset}:\n{}", faults.join("\n"));
        }
    }
}

#[test]
fn what_is_never_gated_needs_no_agreement_and_no_body() {
    for preset in ["csp-2020", "csp-2026"] {
        let policy = support::preset(preset);
        for row in rows() {
            let class = Class::parse(row["class"].as_str().unwrap()).unwrap();
            if matches!(class, Class::Administration | Class::Cure | Class::Read) && row["unread"].is_null() {
                let request = read(&policy, &row, str::to_owned).unwrap();
                let caller = support::caller(&policy);
                let at = support::time("2027-06-01T00:00:00Z");
                let plan = policy.plan(Facts { caller: &caller, request: &request, at }).unwrap();
                assert_eq!(plan.needs(), [], "{}", row["name"]);
            }
        }
    }
}

#[test]
fn the_actions_that_cancel_a_term_are_the_operators_to_list() {
    let own = support::compile("preset: csp-2026\nlists: { cancelling_actions: [Terminate] }").policy;
    for (policy, action, class) in [
        (support::preset("csp-2026"), "cancelAtEndOfTerm", Class::WindDown),
        (support::preset("csp-2026"), "terminate", Class::Change),
        (own.clone(), "terminate", Class::WindDown),
        (own, "cancelAtEndOfTerm", Class::Change),
    ] {
        let row = json!({
            "name": action,
            "method": "PATCH",
            "path": "/v1/customers/fab5ef54-cf76-4be1-b352-3483f91595d4/subscriptions/s1",
            "body": { "scheduledActions": [{ "actionType": action }] },
        });
        assert_eq!(read(&policy, &row, str::to_owned).unwrap().class, class, "{action}");
    }
}
