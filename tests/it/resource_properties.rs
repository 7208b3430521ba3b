//! Properties of requests beside their resources: whoever a resource names is asked, whatever is left out of the request.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use countersign::extract::resource::enrich;
use countersign::extract::{self, Sent};
use countersign::policy::agreement::{Answer, Fact, Failure, Status, Statuses};
use countersign::policy::decision::Verdict;
use countersign::policy::facts::{Facts, Request};
use countersign::policy::id::Name;
use countersign::policy::operation::Method;
use countersign::policy::path::Path;
use countersign::policy::{Policy, Route};
use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support;

static POLICY: LazyLock<Policy> = LazyLock::new(|| support::preset("csp-2026"));

const CUSTOMER: &str = "c0a80101-6d2b-4c1e-8f10-000000000001";
const RESELLERS: [&str; 4] = ["4847383", "6204417", "5130400", "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a09"];
const ETAG: &str = "\"v1\"";

fn reseller() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        1 => Just(json!("")),
        4 => (0..RESELLERS.len()).prop_map(|at| json!(RESELLERS[at])),
    ]
}

fn line() -> impl Strategy<Value = Value> {
    (0u8..3, 1u8..5, reseller(), proptest::option::of(reseller())).prop_map(|(number, quantity, record, more)| {
        let mut line = json!({
            "lineItemNumber": number, "offerId": "CFQ7TTC0LH18:0001", "quantity": quantity, "partnerIdOnRecord": record,
        });
        if let Some(more) = more {
            line["additionalPartnerIdsOnRecord"] = json!([more]);
        }
        line
    })
}

/// A member that a subscription, an order or a transfer may have.
fn member() -> impl Strategy<Value = (String, Value)> {
    let next =
        (reseller(), 1u8..9).prop_map(|(id, quantity)| json!({ "partnerId": id, "quantity": quantity }));
    prop_oneof![
        (1u8..9).prop_map(|count| ("quantity", json!(count))),
        reseller().prop_map(|id| ("partnerId", id)),
        reseller().prop_map(|id| ("PartnerId", id)),
        reseller().prop_map(|id| ("partnerOnRecord", id)),
        next.prop_map(|next| ("scheduledNextTermInstructions", next)),
        Just(("scheduledNextTermInstructions", json!({}))),
        Just(("scheduledNextTermInstructions", Value::Null)),
        proptest::collection::vec(line(), 0..3).prop_map(|lines| ("lineItems", Value::Array(lines))),
        Just(("lineItems", Value::Null)),
        prop_oneof![Just("active"), Just("suspended"), Just("cancelled"), Just("Complete")]
            .prop_map(|status| ("status", json!(status))),
        Just(("friendlyName", json!("x"))),
        Just(("autoRenewEnabled", json!(false))),
        Just(("billingCycle", json!("annual"))),
    ]
    .prop_map(|(name, value)| (name.to_owned(), value))
}

fn resource() -> impl Strategy<Value = Map<String, Value>> {
    proptest::collection::vec(member(), 1..7).prop_map(|members| {
        let mut map = Map::new();
        for (name, value) in members {
            if !map.keys().any(|known| known.eq_ignore_ascii_case(&name)) {
                map.insert(name, value);
            }
        }
        map
    })
}

/// What a PATCH is beside its resource; `None` where that could not be read.
fn judged(policy: &Policy, path: &str, body: &Value, there: Option<&Value>, etag: bool) -> Option<Request> {
    let path = Path::parse(path).unwrap();
    let Route::Judge(endpoint) = policy.route(Method::Patch, &path) else { panic!("it is judged") };
    let (caller, text) = (support::caller(policy), body.to_string());
    let sent = Sent { path: &path, caller: &caller, body: text.as_bytes(), is_merge_patch: false };
    let request = extract::read_request(policy, endpoint, &sent).ok()?;
    if request.unread.is_none() {
        return Some(request);
    }
    match there {
        None => Some(Request { unread_because: Some(Failure::Throttled), ..request }),
        Some(there) => {
            let etag = etag.then_some(ETAG);
            let enriched = enrich(policy, endpoint, &sent, &request, there.to_string().as_bytes(), etag);
            enriched.ok().map(|enriched| enriched.request)
        }
    }
}

/// The resellers that are asked, and whether there may be more.
fn parties(request: &Request) -> (BTreeSet<String>, bool) {
    let named = request.resellers.iter().map(|named| named.id.to_string()).collect();
    (named, request.resellers_unread().is_some())
}

/// The places of members, at any depth.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let at = format!("{at}/{name}");
                places(value, &at, found);
                found.push(at);
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{number}"), found);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn leaving_out_or_nulling_a_member_takes_nobody_away_that_it_did_not_name(
        there in resource(),
        body in resource(),
        which in any::<proptest::sample::Index>(),
        is_nulled in any::<bool>(),
        etag in any::<bool>(),
        (first_fails, second_fails) in (proptest::bool::weighted(0.2), proptest::bool::weighted(0.2)),
    ) {
        let policy = &*POLICY;
        let (there, body) = (Value::Object(there), Value::Object(body));
        let mut found = Vec::new();
        places(&body, "", &mut found);
        let place = &found[which.index(found.len())];
        let (parent, name) = place.rsplit_once('/').unwrap();
        let mut less = body.clone();
        let members = less.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        let removed = match is_nulled {
            true => members.insert(name.to_owned(), Value::Null),
            false => members.remove(name),
        };
        let removed = removed.unwrap().to_string();
        for rest in ["subscriptions/s1", "orders/o1", "transfers/t1"] {
            let path = format!("/v1/customers/{CUSTOMER}/{rest}");
            let read = |fails: bool| (!fails).then_some(&there);
            let before = judged(policy, &path, &body, read(first_fails), etag);
            let after = judged(policy, &path, &less, read(second_fails), etag);
            let (Some(before), Some(after)) = (before, after) else { continue };
            if !before.class.is_gated() || !after.class.is_gated() {
                continue;
            }
            let ((asked, _), (still, may_be_more)) = (parties(&before), parties(&after));
            let gone: Vec<&String> = asked.difference(&still).filter(|id| !removed.contains(id.as_str())).collect();
            prop_assert!(gone.is_empty() || may_be_more, "{path} {body} without {place} beside {there}: {gone:?}");
        }
    }

    #[test]
    fn whoever_a_resource_names_is_asked_unless_another_stands_in_the_place(
        there in resource(),
        body in resource(),
        etag in any::<bool>(),
    ) {
        let policy = &*POLICY;
        let resource = Value::Object(there.clone());
        for rest in ["subscriptions/s1", "orders/o1", "transfers/t1"] {
            let path = format!("/v1/customers/{CUSTOMER}/{rest}");
            let Some(request) = judged(policy, &path, &Value::Object(body.clone()), Some(&resource), etag) else { continue };
            if !request.class.is_gated() {
                continue;
            }
            let (asked, _) = parties(&request);
            for (name, value) in &there {
                let sent = body.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value);
                let is_replaced = |inner: Option<&str>| {
                    let value = inner.map_or(sent, |inner| sent.and_then(|sent| sent.get(inner)));
                    value.and_then(Value::as_str).is_some_and(|text| !text.is_empty())
                };
                let named: Vec<(&Value, bool)> = match name.as_str() {
                    "lineItems" => value.as_array().into_iter().flatten().map(|line| (&line["partnerIdOnRecord"], false)).collect(),
                    "scheduledNextTermInstructions" => vec![(&value["partnerId"], is_replaced(Some("partnerId")))],
                    "partnerId" | "PartnerId" | "partnerOnRecord" => vec![(value, is_replaced(None))],
                    _ => continue,
                };
                for (id, is_replaced) in named {
                    let Some(id) = id.as_str().filter(|id| !id.is_empty() && !is_replaced) else { continue };
                    prop_assert!(asked.contains(id), "{path} {body:?} beside {resource}: {id} is not asked");
                }
            }
        }
    }

    #[test]
    fn what_could_not_be_read_is_never_forwarded_where_it_is_gated(body in resource()) {
        let policy = &*POLICY;
        let at = support::time("2026-11-28T00:00:00Z");
        for rest in ["subscriptions/s1", "orders/o1", "transfers/t1"] {
            let path = format!("/v1/customers/{CUSTOMER}/{rest}");
            let Some(request) = judged(policy, &path, &Value::Object(body.clone()), None, true) else { continue };
            let caller = support::caller(policy);
            let plan = policy.plan(Facts { caller: &caller, request: &request, at }).unwrap();
            let fact = Fact {
                status: Status::UNDATED,
                observed_at: at,
                asked_at: at,
                source: Name::new("ledger").unwrap(),
            };
            let answers = vec![Answer::known(fact); plan.needs().len()];
            let decision = plan.decide(&Statuses { answers, stale_max: SignedDuration::from_hours(1) });
            let is_open = request.unread.is_none() || !request.class.is_gated();
            prop_assert_eq!(decision.verdict() == Verdict::Allow, is_open, "{} {:?}", path, body);
        }
    }
}
