//! Properties of the decision core, over policies, requests and statuses made at random.

use std::panic::AssertUnwindSafe;
use std::sync::LazyLock;

use countersign::extract::{self, Sent, json::Document};
use countersign::judge::{Known, Question, judge};
use countersign::policy::agreement::{Answer, Fact, Failure, Status, Statuses};
use countersign::policy::decision::{Decision, Effect, Finding, Outcome, Verdict};
use countersign::policy::endpoint::Endpoint;
use countersign::policy::facts::{Caller, Facts, Request};
use countersign::policy::id::{Guid, Name};
use countersign::policy::operation::Method;
use countersign::policy::path::Path;
use countersign::policy::role::NameSet;
use countersign::policy::rule::Mode;
use countersign::policy::shape::Shape;
use countersign::policy::{Policy, Route};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support;

const CUSTOMER: &str = "c0a80101-6d2b-4c1e-8f10-000000000001";

static POLICIES: LazyLock<Vec<Policy>> = LazyLock::new(policies);

/// The shipped presets, and variations that operators make: shadow and dated rules, `on_unknown`, waivers, conditions.
fn policies() -> Vec<Policy> {
    let variations = [
        "preset: csp-2026",
        "preset: csp-2020",
        "preset: csp-2026\nmode: shadow",
        "preset: csp-2026\nrules:\n  - { name: customer-mca, mode: shadow }\n  - { name: reseller-mpa, on_unknown: allow }\n  \
         - { name: partner-mpa, announce_from: 2020-01-01T00:00:00Z, enforce_from: 2030-01-01T00:00:00Z }\n  \
         - name: terms\n    when: { product_class: [azure_plan, license], not: { reseller_present: true } }\n    \
         requires: { agreement: mca, of: customer, accepted_since: 2025-01-01T00:00:00Z, undated: unknown }\n  \
         - { name: watch, mode: shadow, requires: { agreement: mca, of: reseller } }\n\
         waivers:\n  - { partner: 11111111-aaaa-4bbb-8ccc-000000000001, customer: c0a80101-6d2b-4c1e-8f10-000000000001, \
         rule: customer-mca-renewed, reason: r, ticket: t, until: 2026-12-01T00:00:00Z }\n",
    ];
    variations.iter().map(|text| support::compile(text).policy).collect()
}

fn product() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!("DZH318Z0BPS6:0001:DZH318Z0BML6")),
        Just(json!("CFQ7TTC0LH18:0001:CFQ7TTC0K971")),
        Just(json!("031C9E47-4802-4248-838E-778FB1D2CC05")),
        Just(Value::Null),
        "[A-Z0-9]{1,12}".prop_map(Value::from),
    ]
}

fn reseller() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!("")),
        Just(json!("4847383")),
        Just(json!(6_204_417)),
        Just(json!("7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a09")),
    ]
}

fn line() -> impl Strategy<Value = Value> {
    (product(), reseller(), proptest::option::of(product()), proptest::collection::vec(reseller(), 0..3))
        .prop_map(|(product, reseller, addon, more)| {
            let mut line = Map::from_iter([
                ("offerId".to_owned(), product),
                ("partnerIdOnRecord".to_owned(), reseller),
                ("additionalPartnerIdsOnRecord".to_owned(), Value::Array(more)),
            ]);
            if let Some(addon) = addon {
                line.insert("addonItems".to_owned(), json!([{ "catalogItemId": addon }]));
            }
            Value::Object(line)
        })
}

/// A request that the route judges, as method, path and body.
fn asked() -> impl Strategy<Value = (Method, String, Value)> {
    let below = |rest: &str| format!("/v1/customers/{CUSTOMER}/{rest}");
    let lines = || proptest::collection::vec(line(), 0..5);
    prop_oneof![
        lines().prop_map(move |lines| (Method::Post, below("orders"), json!({ "lineItems": lines }))),
        lines().prop_map(move |lines| (Method::Put, below("carts/c1"), json!({ "LineItems": lines }))),
        members().prop_map(move |body| (Method::Patch, below("subscriptions/s1"), Value::Object(body))),
        members().prop_map(move |body| (Method::Patch, below("orders/o1"), Value::Object(body))),
        Just((Method::Post, below("carts/c1/checkout"), Value::Null)),
        reseller().prop_map(move |id| (
            Method::Post,
            below("somethingNew"),
            json!({ "deep": [{ "partnerId": id }] })
        )),
    ]
}

fn member() -> impl Strategy<Value = (String, Value)> {
    prop_oneof![
        Just(("status", json!("suspended"))),
        Just(("Status", json!("active"))),
        Just(("status", json!("deleted"))),
        Just(("status", json!("cancelled"))),
        Just(("status", Value::Null)),
        Just(("quantity", json!(7))),
        Just(("friendlyName", json!("x"))),
        Just(("autoRenewEnabled", json!(false))),
        Just(("autoRenewEnabled", json!(true))),
        Just(("id", json!("1"))),
        Just(("attributes", json!({}))),
        Just(("relationshipToPartner", json!("none"))),
        Just(("overageEnabled", json!(false))),
        Just(("somethingNew", json!([1]))),
    ]
    .prop_map(|(name, value)| (name.to_owned(), value))
}

/// Members whose names differ also without regard to case.
fn members() -> impl Strategy<Value = Map<String, Value>> {
    proptest::collection::vec(member(), 0..6).prop_map(|members| {
        let mut map = Map::new();
        for (name, value) in members {
            if !map.keys().any(|known| known.eq_ignore_ascii_case(&name)) {
                map.insert(name, value);
            }
        }
        map
    })
}

fn at() -> impl Strategy<Value = Timestamp> {
    // 2019 to 2029: before, between and after every date of the presets.
    (1_546_300_800i64..1_861_920_000).prop_map(|second| Timestamp::from_second(second).unwrap())
}

fn answer(at: Timestamp) -> impl Strategy<Value = Answer> {
    let source = Name::new("ledger").unwrap();
    let fact = move |status, age: i64| {
        let when = at - SignedDuration::from_secs(age);
        Fact { status, observed_at: when, asked_at: when, source }
    };
    let status = prop_oneof![
        Just(Status::MISSING),
        Just(Status::NotApplicable),
        Just(Status::Accepted { at: None, undated: true }),
        (1_546_300_800i64..1_861_920_000).prop_map(|second| Status::Accepted {
            at: Some(Timestamp::from_second(second).unwrap()),
            undated: false
        }),
    ];
    let failure = prop_oneof![
        Just(None),
        Just(Some(Failure::Source)),
        Just(Some(Failure::Deadline)),
        Just(Some(Failure::Unrecorded)),
    ];
    (proptest::option::of((status, 0i64..100_000)), failure).prop_map(move |(last, failure)| {
        match (last, failure) {
            (None, None) => Answer::failed(Failure::Source),
            (last, failure) => Answer { last: last.map(|(status, age)| fact(status, age)), failure },
        }
    })
}

/// Resources that a PATCH changes.
const PATCHED: [&str; 4] = ["subscriptions/s1", "orders/o1", "transfers/t1", ""];

fn endpoint<'p>(policy: &'p Policy, method: Method, path: &str) -> &'p Endpoint {
    match policy.route(method, &Path::parse(path).unwrap()) {
        Route::Judge(endpoint) => endpoint,
        other => panic!("{path}: {other:?}"),
    }
}

fn read(policy: &Policy, method: Method, path: &str, body: &Value) -> Option<Request> {
    let path = Path::of_request(method, path).unwrap();
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    match policy.route(method, &path) {
        Route::Judge(endpoint) => {
            let sent =
                Sent { path: &path, caller: &support::caller(policy), body: &body, is_merge_patch: false };
            extract::read_request(policy, endpoint, &sent).ok()
        }
        _ => None,
    }
}

fn decide(
    policy: &Policy,
    caller: &Caller,
    request: &Request,
    at: Timestamp,
    answers: &[Answer],
) -> Decision {
    let plan = policy.plan(Facts { caller, request, at }).unwrap();
    let answers = answers.iter().cycle().take(plan.needs().len()).copied().collect();
    plan.decide(&Statuses { answers, stale_max: SignedDuration::from_hours(13) })
}

fn allowed(decision: &Decision) -> bool {
    decision.verdict() == Verdict::Allow
}

/// An answer that says no more than another did: an acceptance gone, or older, or everything unknown.
fn weaker(answer: Answer, how: u8, at: Timestamp) -> Answer {
    let missing = |fact: Fact| Answer::known(Fact { status: Status::MISSING, ..fact });
    match (how % 4, answer.last) {
        (0, Some(fact)) => missing(fact),
        (1, Some(fact)) => match fact.status {
            Status::Accepted { at: Some(accepted), .. } => {
                let older = Status::Accepted {
                    at: Some(accepted - SignedDuration::from_hours(24 * 3650)),
                    undated: false,
                };
                Answer { last: Some(Fact { status: older, ..fact }), ..answer }
            }
            _ => missing(fact),
        },
        (2, _) => Answer::failed(Failure::Deadline),
        _ => {
            let source = Name::new("ledger").unwrap();
            missing(Fact { status: Status::MISSING, observed_at: at, asked_at: at, source })
        }
    }
}

/// A read's path in another spelling: of each segment its letters' case, an escape, and the empty segments before it.
fn respelt(path: &str, how: &[u8]) -> String {
    let mut how = how.iter().copied().cycle();
    let mut spelt = String::new();
    for (at, segment) in path.split('/').skip(1).enumerate() {
        let bits = how.next().unwrap_or(0);
        // An empty first segment is refused.
        let slashes = if at == 0 { 1 } else { 1 + usize::from(bits & 3) };
        spelt.push_str(&"/".repeat(slashes));
        let segment = if bits & 4 == 0 { segment.to_ascii_lowercase() } else { segment.to_ascii_uppercase() };
        match segment.chars().next().filter(|_| bits & 8 != 0) {
            Some(first) => spelt.push_str(&format!("%{:02x}{}", u32::from(first), &segment[1..])),
            None => spelt.push_str(&segment),
        }
    }
    spelt + &"/".repeat(usize::from(how.next().unwrap_or(0) & 3))
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn fewer_agreements_never_allow_more(
        (method, path, body) in asked(),
        (at, answers) in at().prop_flat_map(|at| (Just(at), proptest::collection::vec(answer(at), 1..6))),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for policy in POLICIES.iter() {
            let caller = support::caller(policy);
            let Some(request) = read(policy, method, &path, &body) else { continue };
            let plan = policy.plan(Facts { caller: &caller, request: &request, at }).unwrap();
            let before: Vec<Answer> = answers.iter().cycle().take(plan.needs().len()).copied().collect();
            let mut after = before.clone();
            for (which, how) in &changes {
                if !after.is_empty() {
                    let which = which.index(after.len());
                    after[which] = weaker(after[which], *how, at);
                }
            }
            let statuses = |answers| Statuses { answers, stale_max: SignedDuration::from_hours(13) };
            let (before, after) = (plan.decide(&statuses(before)), plan.decide(&statuses(after)));
            prop_assert!(allowed(&before) || !allowed(&after), "{before:?}\n{after:?}");
        }
    }

    #[test]
    fn without_its_shadow_rules_a_policy_gives_the_same_verdict(
        (method, path, body) in asked(),
        (at, status) in at().prop_flat_map(|at| (Just(at), answer(at))),
    ) {
        for policy in POLICIES.iter() {
            let caller = support::caller(policy);
            let Some(request) = read(policy, method, &path, &body) else { continue };
            let mut without = policy.clone();
            for rules in &mut without.rules_of {
                rules.retain(|rule| policy.rules[*rule].mode != Mode::Shadow);
            }
            let with = decide(policy, &caller, &request, at, &[status]);
            let without = decide(&without, &caller, &request, at, &[status]);
            prop_assert_eq!(with.verdict(), without.verdict());
            let told = |decision: &Decision| {
                let told = decision.findings().iter().filter(|finding| finding.effect != Effect::Shadow && finding.effect != Effect::Pass);
                told.map(|finding: &Finding| (finding.rule, finding.effect, finding.lines)).collect::<Vec<_>>()
            };
            prop_assert_eq!(told(&with), told(&without));
        }
    }

    #[test]
    fn needs_suffice_and_those_that_do_not_decide_change_no_verdict(
        (method, path, body) in asked(),
        (at, answers, others) in at().prop_flat_map(|at| (
            Just(at),
            proptest::collection::vec(answer(at), 1..6),
            proptest::collection::vec(answer(at), 1..6),
        )),
    ) {
        for policy in POLICIES.iter() {
            let caller = support::caller(policy);
            let Some(request) = read(policy, method, &path, &body) else { continue };
            let plan = policy.plan(Facts { caller: &caller, request: &request, at }).unwrap();
            let answers: Vec<Answer> = answers.iter().cycle().take(plan.needs().len()).copied().collect();
            let mut changed = answers.clone();
            for (at, need) in plan.needs().iter().enumerate().filter(|(_, need)| !need.decides) {
                let _ = need;
                changed[at] = others[at % others.len()];
            }
            let statuses = |answers| Statuses { answers, stale_max: SignedDuration::from_hours(13) };
            let (first, second) = (plan.decide(&statuses(answers)), plan.decide(&statuses(changed)));
            prop_assert_eq!(first.verdict(), second.verdict());
            // Every finding on an agreement rests on one of the needs, but for whoever was not read.
            for finding in first.findings() {
                let asks = policy.rules[finding.rule].requires.is_some();
                let is_unread = matches!(finding.outcome, Outcome::Unknown(Failure::Unread));
                prop_assert_eq!(asks && !is_unread, finding.need.is_some());
                prop_assert!(finding.need.is_none_or(|need| need < plan.needs().len()));
            }
        }
    }

    #[test]
    fn adding_a_member_that_opens_no_shape_never_weakens_the_class(body in members(), (name, value) in member()) {
        let mut more = body.clone();
        if more.keys().any(|known| known.eq_ignore_ascii_case(&name)) {
            return Ok(());
        }
        more.insert(name.clone(), value);
        for policy in POLICIES.iter() {
            for rest in PATCHED {
                let path = format!("/v1/customers/{CUSTOMER}/{rest}");
                // A cancellation is one because of its status: such a member is the reason why the others buy nothing.
                let opens = |shape: &Shape| shape.when.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name));
                if endpoint(policy, Method::Patch, &path).shapes.iter().any(opens) {
                    continue;
                }
                let class = |body: &Map<String, Value>| {
                    read(policy, Method::Patch, &path, &Value::Object(body.clone())).map(|request| request.class)
                };
                if let (Some(less), Some(more)) = (class(&body), class(&more)) {
                    prop_assert!(more >= less, "{path} {body:?}: {less} -> {more}");
                }
            }
        }
    }

    #[test]
    fn a_null_never_weakens_the_class_and_removes_no_party(body in members(), (name, _) in member(), other in "[a-zA-Z]{1,12}") {
        for policy in POLICIES.iter() {
            for rest in PATCHED {
                let path = format!("/v1/customers/{CUSTOMER}/{rest}");
                for name in [&name, &other] {
                    let mut more = body.clone();
                    if more.keys().any(|known| known.eq_ignore_ascii_case(name)) {
                        continue;
                    }
                    more.insert(name.clone(), Value::Null);
                    let read = |body: &Map<String, Value>| read(policy, Method::Patch, &path, &Value::Object(body.clone()));
                    let (Some(less), Some(more)) = (read(&body), read(&more)) else { continue };
                    prop_assert!(more.class >= less.class, "{path} {body:?} + {name}: {} -> {}", less.class, more.class);
                    prop_assert_eq!(&more.resellers, &less.resellers);
                }
            }
        }
    }

    #[test]
    fn explaining_ends_in_the_verdict_of_deciding((method, path, body) in asked(), at in at(), bits in any::<u8>()) {
        let ledger = "agreements:\n  - { partner: 11111111-aaaa-4bbb-8ccc-000000000001, mpa: { accepted: 2018-12-01T00:00:00Z } }\n  \
                      - { reseller: \"4847383\", mpa: { accepted: 2018-12-01T00:00:00Z } }\n  - { customer: c0a80101-6d2b-4c1e-8f10-000000000001, mca: missing }\n";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ledger.yaml");
        std::fs::write(&file, ledger).unwrap();
        let ledger = countersign::config::ledger::load_ledger(&file, at, &Default::default()).unwrap_or_else(|error| panic!("{error}"));
        for policy in POLICIES.iter() {
            let mut caller = support::caller(policy);
            if bits & 1 == 1 {
                caller.roles = NameSet::EMPTY;
            }
            let body_bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
            let question = Question { method, path: path.clone(), body: body_bytes, caller, at };
            let judged = judge(policy, &question, &Known::Ledger(ledger.clone()));
            let Some(request) = read(policy, method, &path, &body) else { continue };
            let plan = policy.plan(Facts { caller: &caller, request: &request, at }).unwrap();
            let statuses = Statuses { answers: judged.answers.clone(), stale_max: SignedDuration::MAX };
            let decided = plan.decide(&statuses);
            match plan.decide_roles() {
                // A missing role settles it before anything is looked up; with the statuses it is denied as well.
                Some(_) => prop_assert!(!allowed(&judged.decision) && !allowed(&decided)),
                None => prop_assert_eq!(judged.decision.verdict(), decided.verdict()),
            }
        }
    }

    #[test]
    fn the_letter_case_of_members_paths_and_ids_changes_nothing((method, path, body) in asked(), at in at(), upper in any::<bool>()) {
        let recase = |text: &str| if upper { text.to_ascii_uppercase() } else { text.to_ascii_lowercase() };
        let other_body = recased(&body, &recase);
        for policy in POLICIES.iter() {
            let caller = support::caller(policy);
            let first = read(policy, method, &path, &body);
            let second = read(policy, method, &recase(&path), &other_body);
            prop_assert_eq!(first.is_some(), second.is_some());
            if let (Some(first), Some(second)) = (first, second) {
                prop_assert_eq!((first.operation, first.class, first.customer), (second.operation, second.class, second.customer));
                let needs = |request: &Request| {
                    let plan = policy.plan(Facts { caller: &caller, request, at }).unwrap();
                    let mut keys: Vec<String> = plan.needs().iter().map(|need| format!("{:?}", need.key)).collect();
                    keys.sort();
                    keys
                };
                prop_assert_eq!(needs(&first), needs(&second));
            }
        }
    }

    #[test]
    fn a_configured_purchase_by_get_is_judged_in_every_spelling(how in proptest::collection::vec(any::<u8>(), 1..8)) {
        let policy = support::compile("preset: csp-2026\noperations:\n  \
            - { name: buy, match: \"GET /v1/customers/{customer}/offers/{offer}/buy\", class: purchase }\n").policy;
        let plain = format!("/v1/customers/{CUSTOMER}/offers/o1/buy");
        let expected = read(&policy, Method::Get, &plain, &Value::Null).expect("it is judged");
        let path = respelt(&plain, &how);
        let found = read(&policy, Method::Get, &path, &Value::Null);
        prop_assert_eq!(found.map(|request| (request.operation, request.class, request.customer)),
            Some((expected.operation, expected.class, expected.customer)), "{}", path);
        let question = Question { method: Method::Get, path: path.clone(), body: Vec::new(), caller: support::caller(&policy), at: Timestamp::UNIX_EPOCH };
        let judged = judge(&policy, &question, &Known::Unreachable).request;
        prop_assert_eq!(judged.map(|request| request.operation), Some(expected.operation), "{}", path);
    }

    #[test]
    fn no_bytes_make_it_panic(path in "\\PC{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..200), json in json_like()) {
        let policy = support::preset("csp-2026");
        let _ = Document::parse(&bytes);
        let _ = Document::parse(json.as_bytes());
        let _ = Path::parse(&path);
        let _ = Path::of_request(Method::Get, &path);
        let judged = std::panic::catch_unwind(AssertUnwindSafe(|| {
            for path in [format!("/v1/customers/{CUSTOMER}/orders"), format!("/v1/customers/{CUSTOMER}/subscriptions/s"), "/v1/productUpgrades".to_owned()] {
                for method in [Method::Post, Method::Patch] {
                    let caller = support::caller(&policy);
                    let question = Question { method, path: path.clone(), body: json.clone().into_bytes(), caller, at: Timestamp::UNIX_EPOCH };
                    judge(&policy, &question, &Known::Unreachable);
                }
            }
        }));
        prop_assert!(judged.is_ok());
    }

    #[test]
    fn guids_read_back_as_they_are_written(bits in any::<u128>()) {
        let guid = Guid::from_bits(bits);
        prop_assert_eq!(Guid::parse(&guid.to_string()), Some(guid));
        prop_assert_eq!(Guid::parse(&guid.to_string().to_ascii_uppercase()), Some(guid));
    }
}

fn recased(value: &Value, recase: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| recased(item, recase)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (recase(name), recased(value, recase))).collect()
        }
        Value::String(text) => Value::String(recase(text)),
        other => other.clone(),
    }
}

/// Texts that are JSON or nearly so, made of the names that matter.
fn json_like() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?[0-9]{1,20}",
        Just("1e999".to_owned()),
        "\"[A-Za-z0-9:~/ -]{0,40}\"",
        Just("\"\\ud800\"".to_owned()),
    ];
    let name = prop_oneof![
        Just("lineItems"),
        Just("LINEITEMS"),
        Just("offerId"),
        Just("participants"),
        Just("value"),
        Just("partnerId"),
        Just("status"),
        Just("customerId"),
        Just("addonItems"),
        Just("scheduledNextTermInstructions"),
        Just("product"),
    ];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec((name.clone(), inner), 0..6).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}
