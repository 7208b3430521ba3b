//! Bodies: what is accepted means the same to other readers, in every letter case, and hides no reseller.
#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use countersign::extract::json::{Document, Value as Read};
use countersign::extract::{self, Sent};
use countersign::policy::endpoint::Endpoint;
use countersign::policy::facts::{Caller, Request};
use countersign::policy::operation::Method;
use countersign::policy::path::Path;
use countersign::policy::shape::Notice;
use countersign::policy::{Policy, Route};
use countersign_fuzz::{LETTER_CASES, caller, judged_requests, policy};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static POLICY: LazyLock<Policy> = LazyLock::new(|| policy(&[]));
static CALLER: LazyLock<Caller> = LazyLock::new(|| caller(&POLICY));
static REQUESTS: LazyLock<Vec<(Method, String)>> = LazyLock::new(|| judged_requests(&POLICY));

fuzz_target!(|body: &[u8]| {
    let document = Document::parse(body);
    let value = serde_json::from_slice::<Value>(body);
    if let Ok(document) = &document {
        let value = value.as_ref().expect("what is accepted here is JSON");
        assert!(is_same(document, 0, value), "read as another value");
    }
    let other_cases: Vec<Vec<u8>> = match &document {
        Ok(_) => LETTER_CASES.iter().map(|case| names_recased(body, *case)).collect(),
        Err(_) => Vec::new(),
    };
    for (method, path) in REQUESTS.iter() {
        let path = Path::parse(path).expect("a plain path");
        let Route::Judge(endpoint) = POLICY.route(*method, &path) else { unreachable!("it is judged") };
        let read = |body: &[u8]| {
            let sent = Sent { path: &path, caller: &CALLER, body, is_merge_patch: false };
            extract::read_request(&POLICY, endpoint, &sent)
        };
        let request = read(body);
        for other in &other_cases {
            // Pointers are in the spelling of the body; all else is the same, refusals too.
            assert_eq!(read(other).map(lowered), request.clone().map(lowered), "letter case");
        }
        let Ok(request) = &request else { continue };
        is_whole(endpoint, request);
        match &value {
            Ok(value @ Value::Object(_)) => names_every_reseller(request, value),
            // One scalar may stand where no body is asked for.
            Ok(scalar) => assert!(!scalar.is_array() && !endpoint.body_required, "{scalar}"),
            Err(_) => assert!(body.is_empty() && !endpoint.body_required, "no JSON"),
        }
    }
});

/// A class is never weaker than the weakest of its endpoint, and every line is one of the body.
fn is_whole(endpoint: &Endpoint, request: &Request) {
    let weakest = endpoint.shapes.iter().map(|shape| shape.class).chain([endpoint.class]).min();
    assert!(Some(request.class) >= weakest && request.class <= endpoint.class, "{request:?}");
    for reseller in &request.resellers {
        assert!(reseller.line.is_none_or(|line| usize::from(line) < request.lines.len()), "{reseller:?}");
    }
    if !request.class.is_gated() && request.notice != Some(Notice::Unread) {
        assert!(request.unread.is_none(), "{request:?}");
    }
}

fn is_same(document: &Document<'_>, at: usize, value: &Value) -> bool {
    match (&document.node(at).value, value) {
        (Read::Null, Value::Null) => true,
        (Read::Bool(read), Value::Bool(other)) => read == other,
        (Read::Natural(read), Value::Number(other)) => other.as_u64() == Some(*read),
        (Read::Number(read), Value::Number(other)) => {
            other.as_u64().is_none() && other.as_f64() == Some(*read)
        }
        (Read::Text(read), Value::String(other)) => read == other,
        (Read::Array, Value::Array(items)) => {
            document.children(at).count() == items.len()
                && document.children(at).zip(items).all(|((at, _), item)| is_same(document, at, item))
        }
        (Read::Object, Value::Object(members)) => {
            document.children(at).count() == members.len()
                && document
                    .children(at)
                    .all(|(at, node)| members.get(&*node.key).is_some_and(|item| is_same(document, at, item)))
        }
        _ => false,
    }
}

/// The same text with the letters of every member name in another case; escapes in names stay as they are.
fn names_recased(body: &[u8], case: fn(usize, u8) -> u8) -> Vec<u8> {
    let mut text = body.to_vec();
    let mut at = 0;
    while at < body.len() {
        if body[at] != b'"' {
            at += 1;
            continue;
        }
        let start = at + 1;
        at = start;
        while body[at] != b'"' {
            at += if body[at] == b'\\' { 2 } else { 1 };
        }
        let after = body[at + 1..].iter().find(|byte| !byte.is_ascii_whitespace());
        if after == Some(&b':') {
            let mut within = start;
            while within < at {
                match body[within] {
                    b'\\' if body[within + 1] == b'u' => within += 6,
                    b'\\' => within += 2,
                    byte => {
                        text[within] = case(within - start, byte);
                        within += 1;
                    }
                }
            }
        }
        at += 1;
    }
    text
}

/// With its pointers in lower case.
fn lowered(mut request: Request) -> Request {
    request.lines.iter_mut().for_each(|line| line.at.make_ascii_lowercase());
    request.resellers.iter_mut().for_each(|reseller| reseller.at.make_ascii_lowercase());
    request
}

/// Whoever is named anywhere in the body is among the resellers that are judged.
fn names_every_reseller(request: &Request, body: &Value) {
    let mut named = BTreeSet::new();
    collect_resellers(body, &mut named);
    let judged: BTreeSet<String> = request.resellers.iter().map(|reseller| reseller.id.to_string()).collect();
    assert_eq!(named, judged, "resellers");
}

fn collect_resellers(value: &Value, named: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_resellers(item, named)),
        Value::Object(members) => {
            for (name, value) in members {
                match name.to_ascii_lowercase().as_str() {
                    "partneridonrecord" | "partnerid" | "associatedpartnerid" => name_one(value, named),
                    "additionalpartneridsonrecord" => {
                        value.as_array().into_iter().flatten().for_each(|item| name_one(item, named));
                    }
                    "participants" => {
                        let members = value.as_array().into_iter().flatten().filter_map(Value::as_object);
                        for (name, value) in members.flatten() {
                            if name.eq_ignore_ascii_case("value") {
                                name_one(value, named);
                            }
                        }
                    }
                    _ => {}
                }
                collect_resellers(value, named);
            }
        }
        _ => {}
    }
}

fn name_one(value: &Value, named: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if !text.is_empty() => named.insert(text.to_ascii_lowercase()),
        Value::Null | Value::String(_) => false,
        other => named.insert(other.to_string()),
    };
}
