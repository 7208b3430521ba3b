//! A source, or the endpoint of its tokens, that says when to come back: nobody passes as unknown for it.

use crate::center::{PLENTY, assert_unknown, center_with, customer, order_of, unsigned};
use crate::shop::shop;
use crate::stage::Stage;

/// Rules that let pass what is not known.
fn lenient() -> String {
    let rule = |name: &str| format!("{{ name: {name}, on_unknown: allow }}");
    let names = ["azure-plan-mca", "customer-mca", "customer-mca-renewed", "reseller-mpa"];
    format!("policy: {{ rules: [{}] }}\n", names.map(rule).join(", "))
}

fn center() -> Stage {
    center_with(PLENTY, "deadline: 500ms", &lenient(), |text| text)
}

fn questions(stage: &Stage, source: &str, outcome: &str) -> f64 {
    stage.metric(&format!("countersign_source_questions_total{{outcome=\"{outcome}\",source=\"{source}\"}}"))
}

/// Faults by method and part of a path.
type Faults = &'static [(&'static str, &'static str, &'static str)];

const WAITS: &[Faults] = &[
    &[("GET", "/v1/", "status=503,wait=60")],
    &[("GET", "/v1/", "status=429")],
    &[("POST", "/oauth2/token", "status=503,wait=60")],
    &[("POST", "/oauth2/token", "status=429")],
];
/// One half of an answer fails, and the other one is told to wait.
const HALVES: &[Faults] = &[
    &[("GET", "/directSigned", "status=500"), ("GET", "/agreements", "delay=100ms,status=503,wait=60")],
    &[("GET", "/directSigned", "delay=100ms,status=503,wait=60"), ("GET", "/agreements", "status=500")],
];
const FAILS: &[Faults] = &[
    &[("GET", "/v1/", "status=503")],
    &[("GET", "/v1/", "status=500")],
    &[("POST", "/oauth2/token", "status=503")],
    &[("POST", "/oauth2/token", "status=400")],
];

fn at_fault(stage: &Stage, faults: Faults) {
    for (method, path, fault) in faults {
        stage.standin.fault(method, path, fault, None);
    }
}

#[test]
fn the_order_that_meets_it_is_denied_like_those_after_it() {
    for faults in WAITS.iter().chain(HALVES) {
        let stage = center();
        at_fault(&stage, faults);
        for number in 0..4 {
            assert_unknown(&stage.order(&unsigned(number), &[]), &format!("{faults:?} {number}"));
        }
        if HALVES.contains(faults) {
            continue;
        }
        assert_eq!(questions(&stage, "center", "source"), 0.0, "{faults:?}");
        assert!(questions(&stage, "center", "throttled") >= 4.0, "{faults:?}");
    }
    for faults in WAITS {
        let stage = center();
        at_fault(&stage, faults);
        for number in 0..2 {
            let answer = order_of(&stage, &customer(number), "5130400", &[]);
            assert_unknown(&answer, &format!("a reseller, {faults:?} {number}"));
        }
    }
}

#[test]
fn what_fails_without_saying_so_is_let_through_where_the_rule_says_so() {
    for faults in FAILS {
        let stage = center();
        at_fault(&stage, faults);
        for number in 0..2 {
            let answer = stage.order(&unsigned(number), &[]);
            assert_eq!(answer.status, 201, "{faults:?} {number}: {answer:?}");
        }
    }
}

#[test]
fn an_endpoint_of_the_operators_own_and_a_read_before_judging_do_the_same() {
    let stage = shop("accepted: /ok", &lenient());
    stage.standin.fault("GET", "/v1/shop/", "status=503,wait=60", None);
    for number in 0..4 {
        assert_unknown(&stage.order(&customer(number), &[]), &format!("shop {number}"));
    }
    assert_eq!(questions(&stage, "shop", "source"), 0.0);
    for (fault, expected) in [("status=503,wait=60", 503), ("status=500", 201)] {
        let stage = center();
        assert_eq!(stage.order(&customer(1), &[]).status, 201);
        stage.standin.fault("GET", "/carts/", fault, None);
        for number in 0..2 {
            let checkout = format!("/v1/customers/{}/carts/k{number}/checkout", customer(1));
            let answer = stage.send("POST", &checkout, &[], b"");
            assert_eq!(answer.status, expected, "{fault} {number}: {answer:?}");
        }
    }
}
