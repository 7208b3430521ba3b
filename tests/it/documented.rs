//! Every judged operation of the preset with all that its documentation lists: sent as nulls, sent back whole, and sent back
//! beside the resource that was read.

use std::collections::BTreeSet;

use countersign::extract::resource::enrich;
use countersign::extract::{self, Sent};
use countersign::policy::facts::Request;
use countersign::policy::operation::Method;
use countersign::policy::path::Path;
use countersign::policy::{Policy, Route};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::support;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    operation: String,
    class: String,
    method: String,
    path: String,
    /// The members that make it what it is.
    minimal: Option<Map<String, Value>>,
    /// All others that are documented.
    optional: Vec<String>,
    /// What it is with all of them null, where that wipes something.
    nulls_are: Option<(String, String)>,
    whole: Value,
    /// Operation and class of that.
    whole_is: (String, String),
    /// The resource as it is there.
    beside: Option<Value>,
    beside_is: Option<(String, String)>,
}

impl Row {
    fn read(&self, policy: &Policy, body: &Value, there: Option<&Value>) -> Request {
        let path = Path::parse(&self.path).unwrap();
        let Route::Judge(endpoint) = policy.route(Method::parse(&self.method).unwrap(), &path) else {
            panic!("{} is judged", self.operation)
        };
        let (caller, text) = (support::caller(policy), body.to_string());
        let sent = Sent { path: &path, caller: &caller, body: text.as_bytes(), is_merge_patch: false };
        let request = extract::read_request(policy, endpoint, &sent)
            .unwrap_or_else(|refusal| panic!("{} {body}: {refusal:?}", self.operation));
        let Some(there) = there else { return request };
        let enriched =
            enrich(policy, endpoint, &sent, &request, there.to_string().as_bytes(), Some("\"v1\""));
        enriched.unwrap_or_else(|why| panic!("{} {body}: {why:?}", self.operation)).request
    }
}

fn is(policy: &Policy, request: &Request) -> (String, String) {
    let operation = &policy.operations[request.operation.index()].name;
    (operation.clone(), request.class.as_str().to_owned())
}

fn rows() -> Vec<Row> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/requests/documented.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn nulls_say_nothing_of_what_is_documented() {
    for policy in ["csp-2020", "csp-2026"].map(support::preset) {
        for row in rows() {
            let Some(minimal) = &row.minimal else { continue };
            let name = &row.operation;
            let plain = row.read(&policy, &Value::Object(minimal.clone()), None);
            let expected = (row.operation.clone(), row.class.clone());
            assert_eq!(is(&policy, &plain), expected, "{name}");
            let mut nulls = minimal.clone();
            nulls.extend(row.optional.iter().map(|member| (member.clone(), Value::Null)));
            let with_nulls = row.read(&policy, &Value::Object(nulls), None);
            assert_eq!(
                is(&policy, &with_nulls),
                row.nulls_are.clone().unwrap_or(expected),
                "{name} with nulls"
            );
            assert_eq!(with_nulls.resellers, plain.resellers, "{name} with nulls");
            assert!(with_nulls.class >= plain.class, "{name} with nulls");
        }
    }
}

#[test]
fn a_whole_resource_is_what_it_changes() {
    for policy in ["csp-2020", "csp-2026"].map(support::preset) {
        for row in rows() {
            let name = &row.operation;
            assert_eq!(is(&policy, &row.read(&policy, &row.whole, None)), row.whole_is, "{name} whole");
            let read =
                row.beside.as_ref().map(|there| is(&policy, &row.read(&policy, &row.whole, Some(there))));
            assert_eq!(read, row.beside_is, "{name} beside its resource");
        }
    }
}

#[test]
fn every_judged_operation_has_its_rows() {
    let policy = support::preset("csp-2026");
    let mut seen = BTreeSet::new();
    for row in rows() {
        let read = row.beside_is.as_ref().map(|(operation, _)| operation.clone());
        seen.extend([row.operation, row.whole_is.0].into_iter().chain(read));
    }
    for endpoint in policy.endpoints.iter().filter(|endpoint| endpoint.is_judged()) {
        let shapes = endpoint.shapes.iter().map(|shape| shape.operation);
        let changes = endpoint.changes.iter().map(|changes| changes.operation);
        for operation in [endpoint.operation].into_iter().chain(shapes).chain(changes) {
            let name = &policy.operations[operation.index()].name;
            assert!(name == "unlisted" || seen.contains(name), "no row is {name}");
        }
    }
}
