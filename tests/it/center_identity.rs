//! As whom the gateway asks, how much it asks, and several sources in turn.

use std::time::Instant;

use countersign::standin::TokenEndpoint;
use serde_json::json;

use crate::center::{
    OTHER, PLENTY, agent_of, asked, assert_unknown, center, center_with, customer, is, order_of, said,
    unsigned,
};
use crate::stage::{CUSTOMER, LEDGER, PARTNER, Stage, eventually};

/// A token endpoint that knows the gateway, and whose access tokens are opaque.
pub fn endpoint(refresh_token: &str, status: Option<u16>) -> TokenEndpoint {
    TokenEndpoint {
        client_id: "gateway".to_owned(),
        client_secret: "secret".to_owned(),
        refresh_token: Some(refresh_token.to_owned()),
        lifetime_seconds: 3599,
        rotate: true,
        tenant: None,
        status,
    }
}

fn kept_refresh_token(stage: &Stage) -> String {
    std::fs::read_to_string(stage.path("refresh")).unwrap().trim().to_owned()
}

#[test]
fn look_ups_carry_the_gateways_own_token_and_a_rotated_refresh_token_is_kept() {
    let stage = center(PLENTY, "");
    stage.standin.require_token(true);
    stage.standin.set_token_endpoint(endpoint("refresh", None));
    for number in 0..3 {
        assert_eq!(stage.order(&customer(number), &[]).status, 201);
        assert_eq!(stage.order(&unsigned(number), &[]).status, 403);
    }
    assert_eq!(stage.standin.count("token"), 1);
    let rotated = stage.standin.refresh_token().unwrap();
    assert_ne!(rotated, "refresh");
    assert_eq!(kept_refresh_token(&stage), rotated);
    let recorded = stage.standin.recorded();
    let agent = stage.agent();
    for look_up in recorded.iter().filter(|one| one.method == "GET") {
        let authorization = look_up.headers.iter().find(|(name, _)| name == "authorization");
        assert!(authorization.is_some_and(|(_, value)| value != agent.as_bytes()), "{}", look_up.target);
    }
}

#[test]
fn a_token_that_is_revoked_is_replaced_and_nobody_is_denied_meanwhile() {
    let stage = center(PLENTY, "");
    stage.standin.require_token(true);
    stage.standin.set_token_endpoint(endpoint("refresh", None));
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    stage.standin.revoke_tokens();
    let mut number = 0;
    // One that was given out a moment ago is not thrown away at once, so that it takes a while.
    eventually(|| {
        number += 1;
        assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
        let answers = [stage.order(&customer(number), &[]), stage.order(&unsigned(number), &[])];
        for (answer, expected) in answers.iter().zip([201, 403]) {
            if answer.status != expected {
                assert_unknown(answer, "revoked");
            }
        }
        answers[0].status == 201 && answers[1].status == 403
    });
    assert_eq!(stage.standin.count("token"), 2);
    assert_eq!(kept_refresh_token(&stage), stage.standin.refresh_token().unwrap());
}

#[test]
fn without_a_token_nothing_is_known_and_nobody_who_is_known_is_denied() {
    for (refresh_token, status) in
        [("refresh", Some(500)), ("refresh", Some(429)), ("refresh", Some(401)), ("another one", None)]
    {
        let stage = center(PLENTY, "accepted: 100ms, missing: 1ms, recheck_after: 1ms, stale: 1h");
        stage.standin.require_token(true);
        stage.standin.set_token_endpoint(endpoint("refresh", None));
        assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
        assert_eq!(stage.order(&unsigned(1), &[]).status, 403);
        stage.standin.revoke_tokens();
        stage.standin.set_token_endpoint(endpoint(refresh_token, status));
        let row = format!("{refresh_token} {status:?}");
        for number in 0..10 {
            assert_unknown(&stage.order(&customer(number), &[]), &row);
            assert_unknown(&stage.order(&unsigned(1), &[]), &row);
            assert_eq!(stage.order(CUSTOMER, &[]).status, 201, "{row}");
        }
        assert!(stage.standin.count("token") < 12, "{row}: {}", stage.standin.count("token"));
    }
}

#[test]
fn without_a_token_no_leave_to_ask_is_taken() {
    let stage = center(", requests_per_minute: 10, caller_share: 100", "");
    stage.standin.require_token(true);
    stage.standin.set_token_endpoint(endpoint("refresh", Some(503)));
    for number in 0..10 {
        assert_unknown(&stage.order(&customer(number), &[]), "down");
    }
    let questions = |outcome| {
        stage
            .metric(&format!("countersign_source_questions_total{{outcome=\"{outcome}\",source=\"center\"}}"))
    };
    assert_eq!(questions("throttled"), 0.0);
    assert_eq!(questions("source"), 10.0);
}

#[test]
fn a_token_endpoint_that_is_down_from_the_start_is_no_denial() {
    let stage = center(PLENTY, "");
    stage.standin.require_token(true);
    stage.standin.set_token_endpoint(endpoint("refresh", Some(503)));
    for number in 0..5 {
        assert_unknown(&stage.order(&customer(number), &[]), "down");
        assert_unknown(&stage.order(&unsigned(number), &[]), "down");
    }
    assert_eq!(kept_refresh_token(&stage), "refresh");
    stage.standin.set_token_endpoint(endpoint("refresh", None));
    eventually(|| stage.order(&customer(1), &[]).status == 201);
    assert_eq!(stage.order(&unsigned(1), &[]).status, 403);
}

/// A stage whose callers are all billed by one partner: its resellers share its budget.
fn resellers(source: &str, cache: &str) -> Stage {
    center_with(source, cache, "", |text| {
        text.replace(
            "upstream: { reads: center,",
            &format!("upstream: {{ reads: center, billing_partner: {PARTNER},"),
        )
        .replace(
            &format!("tenant: {OTHER}, kind: direct_bill"),
            &format!("tenant: {OTHER}, kind: indirect_reseller"),
        )
    })
}

#[test]
fn a_partner_that_spends_its_share_leaves_others_theirs() {
    let stage = resellers(", requests_per_minute: 120, caller_share: 20", "deadline: 300ms");
    let other = agent_of(&stage, OTHER);
    let mut unknown = 0;
    for number in 0..30 {
        let answer = stage.order(&unsigned(number), &[]);
        if answer.status == 503 {
            assert_unknown(&answer, "over budget");
            unknown += 1;
        } else {
            assert_eq!(said(&answer), is(403, "agreement_missing"), "{number}");
        }
        // Who has signed is never taken for one who has not.
        let answer = stage.order(&customer(number), &[]);
        assert!(matches!(answer.status, 201 | 503), "{number}: {answer:?}");
    }
    assert!(unknown > 20, "{unknown}");
    let started = Instant::now();
    let answer = stage.order(&customer(1000), &[("Authorization", &other)]);
    assert_eq!(answer.status, 201, "{answer:?} after {:?}", started.elapsed());
}

#[test]
fn what_is_over_the_budget_is_not_let_through_where_what_is_unknown_is() {
    let rule = |name: &str| format!("{{ name: {name}, on_unknown: allow }}");
    let names = ["azure-plan-mca", "customer-mca", "customer-mca-renewed", "reseller-mpa"];
    let rules = names.map(rule).join(", ");
    let extra = format!("policy: {{ rules: [{rules}] }}\n");
    let stage =
        center_with(", requests_per_minute: 10, caller_share: 20", "deadline: 300ms", &extra, |text| text);
    let answers: Vec<_> = (0..10).map(|number| stage.order(&unsigned(number), &[])).collect();
    for answer in &answers {
        assert!(matches!(answer.status, 403 | 503), "{answer:?}");
    }
    assert!(answers.iter().filter(|answer| answer.status == 503).count() >= 8);
    // That the source fails is another thing.
    let stage = center_with(PLENTY, "", &extra, |text| text);
    stage.standin.fault("GET", "/v1/", "status=403", None);
    assert_eq!(stage.order(&unsigned(1), &[]).status, 201);
    assert_eq!(order_of(&stage, &unsigned(1), "5130400", &[]).status, 201);
    stage.standin.clear_faults();
    assert_eq!(stage.order(&unsigned(2), &[]).status, 403);
    stage.standin.fault("GET", "/v1/", "status=403", None);
    assert_eq!(said(&stage.order(&unsigned(2), &[])), is(403, "agreement_missing"), "it is known");
}

/// A stage whose customers and resellers are looked for in several sources.
fn stacked(order: &str, cache: &str, records: &str) -> Stage {
    let stage = center_with(PLENTY, cache, "", |text| {
        text.replace("customer: [center]", &format!("customer: {order}"))
            .replace("reseller: [center]", &format!("reseller: {order}"))
    });
    write_ledger(&stage, records);
    stage
}

/// Writes the ledger and has it read.
fn write_ledger(stage: &Stage, records: &str) {
    let both = format!("  - {{ partner: {OTHER}, mpa: {{ accepted: 2020-01-15T00:00:00Z }} }}\n");
    std::fs::write(stage.path("agreements.yaml"), LEDGER.to_owned() + &both + records).unwrap();
    assert_eq!(stage.reload().status, 200);
}

#[test]
fn a_ledger_before_partner_center_answers_for_whom_it_names() {
    let (accepted, missing) = (customer(1), customer(2));
    let records = format!(
        "  - {{ customer: {accepted}, mca: {{ accepted: 2024-01-01T00:00:00Z }} }}\n\
         \x20 - {{ customer: {missing}, mca: missing }}\n"
    );
    let stage = stacked("[ledger, center]", "", &records);
    assert_eq!(said(&stage.order(&missing, &[])), is(403, "agreement_missing"));
    assert_eq!(stage.order(&accepted, &[]).status, 201);
    assert_eq!(order_of(&stage, &accepted, "6204417", &[]).json()["code"], 900_123);
    assert_eq!((asked(&stage), stage.standin.count("partner_status")), ((0, 0), 0));
    assert_eq!(stage.order(&customer(3), &[]).status, 201);
    assert_eq!(stage.order(&unsigned(3), &[]).status, 403);
    assert_eq!(asked(&stage), (2, 2));
    // With Partner Center down the ledger still answers, and nobody else is denied.
    stage.standin.fault("GET", "/v1/", "status=500", None);
    assert_eq!(stage.order(&accepted, &[]).status, 201);
    assert_eq!(stage.order(&missing, &[]).status, 403);
    assert_unknown(&stage.order(&customer(4), &[]), "down");
    assert_unknown(&order_of(&stage, &accepted, "4847384", &[]), "down");
}

#[test]
fn a_ledger_behind_partner_center_stands_in_for_it() {
    let accepted = customer(1);
    let records = format!("  - {{ customer: {accepted}, mca: {{ accepted: 2024-01-01T00:00:00Z }} }}\n");
    let stage = stacked("[center, ledger]", "", &records);
    stage.standin.fault("GET", "/v1/", "status=500", None);
    assert_eq!(stage.order(&accepted, &[]).status, 201, "down, and recorded as accepted");
    assert_eq!(order_of(&stage, &accepted, "4847383", &[]).status, 201);
    // A "no" of the ledger is none while Partner Center may know better.
    assert_unknown(&stage.order(crate::stage::BLOCKED, &[]), "down, and recorded as missing");
    assert_unknown(&order_of(&stage, &accepted, "6204417", &[]), "down, and recorded as missing");
}

#[test]
fn an_edit_of_the_ledger_has_nobody_looked_up_again() {
    let stage = stacked("[ledger, center]", "", "");
    let parties = [customer(1), customer(2), unsigned(3)];
    let statuses = || parties.each_ref().map(|party| stage.order(party, &[]).status);
    assert_eq!(statuses(), [201, 201, 403]);
    assert_eq!(asked(&stage), (3, 3));
    let missing = format!("  - {{ customer: {}, mca: missing }}\n", customer(2));
    for (records, expected) in [(missing.as_str(), [201, 403, 403]), ("", [201, 201, 403])] {
        write_ledger(&stage, records);
        assert_eq!(statuses(), expected, "{records}");
    }
    // Only what the ledger had taken over is asked for once more.
    let (direct, attested) = asked(&stage);
    assert!(direct <= 4 && attested <= 4, "{direct} {attested}");
}

#[test]
fn an_edit_that_is_only_saved_counts_without_a_reload() {
    let stage = stacked("[ledger, center]", "", "");
    let party = customer(1);
    assert_eq!(stage.order(&party, &[]).status, 201);
    let record = format!("  - {{ customer: {party}, mca: missing }}\n");
    std::fs::write(stage.path("agreements.yaml"), LEDGER.to_owned() + &record).unwrap();
    eventually(|| stage.order(&party, &[]).status == 403);
    assert_eq!(asked(&stage), (1, 1));
}

#[test]
fn a_reload_keeps_what_partner_center_said() {
    let stage = center(PLENTY, "");
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    let path = stage.path("countersign.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("country: DE", "country: AT")).unwrap();
    assert_eq!(stage.reload().status, 200);
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    assert_eq!((asked(&stage), stage.standin.count("token")), ((1, 1), 1));
    // Other terms are another source.
    let text = std::fs::read_to_string(&path).unwrap();
    let other = "cache: {  }\n  # terms\n";
    let template = "998b88de-aa99-4388-a42c-1b3517d49490";
    let changed = text
        .replace("cache: {  }\n", other)
        .replace("timeout: 3s, token", &format!("timeout: 3s, templates: [{template}], token"));
    assert_ne!(changed, text);
    std::fs::write(&path, changed).unwrap();
    assert_eq!(stage.reload().status, 200);
    stage.standin.set_direct(CUSTOMER, false);
    assert_eq!(stage.order(CUSTOMER, &[]).json()["code"], json!(13605));
    assert_eq!(asked(&stage), (2, 2));
}

#[test]
fn a_reload_while_somebody_is_looked_up_loses_no_answer() {
    let stage = center(PLENTY, "deadline: 15s");
    let cart = format!("/v1/customers/{CUSTOMER}/carts/k1/checkout");
    stage.standin.fault("GET", "/v1/customers/", "hold", Some(3));
    std::thread::scope(|scope| {
        // The cart is held, and both questions of the order.
        let ordering = scope.spawn(|| stage.order(CUSTOMER, &[]).status);
        eventually(|| asked(&stage) == (1, 1));
        let checking_out = scope.spawn(|| stage.send("POST", &cart, &[], b"").status);
        eventually(|| stage.standin.count("cart") == 1);
        assert_eq!(stage.reload().status, 200);
        // Who comes with the new configuration does not wait for the old one's question.
        assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
        stage.standin.release();
        assert_eq!((ordering.join().unwrap(), checking_out.join().unwrap()), (201, 201));
    });
    let (direct, attested) = asked(&stage);
    assert!(direct <= 3 && attested <= 3, "{direct} {attested}");
}

#[test]
fn a_source_that_says_when_to_come_back_is_asked_again_then() {
    let stage = center(PLENTY, "deadline: 300ms");
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    // The first two were looked up; of the next ones none is, until a minute is over or it is lifted.
    stage.standin.throttle(Some(0));
    assert_unknown(&stage.order(&customer(1), &[]), "throttled");
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    let throttled = stage.standin.count("throttled");
    for number in 2..30 {
        assert_unknown(&stage.order(&customer(number), &[]), "throttled");
    }
    assert_eq!(stage.standin.count("throttled"), throttled, "it was left alone");
}

#[test]
fn forty_customers_at_once_are_looked_up_side_by_side() {
    const AT_A_TIME: u32 = 16;
    let stage = center(PLENTY, "deadline: 15s");
    stage.standin.fault("GET", "/v1/customers/", "hold", Some(AT_A_TIME));
    let sum = || asked(&stage).0 + asked(&stage).1;
    std::thread::scope(|scope| {
        let stage = &stage;
        let ordering: Vec<_> =
            (0..40).map(|number| scope.spawn(move || stage.order(&customer(number), &[]).status)).collect();
        eventually(|| sum() == u64::from(AT_A_TIME));
        eventually(|| stage.metric("countersign_requests_in_flight") >= 40.0);
        assert_eq!(sum(), u64::from(AT_A_TIME), "and no more than that");
        stage.standin.release();
        for (number, order) in ordering.into_iter().enumerate() {
            assert_eq!(order.join().unwrap(), 201, "{number}");
        }
    });
    assert_eq!(asked(&stage), (40, 40));
}
