//! One contract for every source: it answers what it is asked and nothing else, a known absence is "missing", and
//! ignorance never is.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::agreements::file::{Entry, FileSource, Ledger, Subject};
use countersign::agreements::http::{self, HttpSource, Test};
use countersign::agreements::partner_center::answers::Terms;
use countersign::agreements::partner_center::{self, PartnerCenter};
use countersign::agreements::pointer::Pointer;
use countersign::agreements::source::{Question, Said, Source};
use countersign::agreements::template::Template;
use countersign::fetch::Endpoint;
use countersign::metrics::Metrics;
use countersign::policy::agreement::{
    Absence, Cloud, Demand, Failure, Key, MCA, MPA, PartnerIds, Party, Region, Scope, Status,
};
use countersign::policy::id::{Guid, MpnId, Name, PartnerRef};
use countersign::remote::client::{Remote, Settings};
use countersign::remote::guard::Limits;
use countersign::standin::{PartnerStatus, Standin};
use countersign::tls;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::center::{FAULTS, TEMPLATE, as_fault, counting};

const CUSTOMER: &str = "c0a80101-6d2b-4c1e-8f10-000000000001";
const PARTNER: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01";
const MPN: &str = "4847383";
const REGION: Region = Region::Europe;

/// A source under test, with the server that it asks, where it asks one.
struct Tested {
    kind: &'static str,
    source: Arc<dyn Source>,
    standin: Option<Standin>,
}

/// The two keys that every source is told of: a customer's agreement attested for a billing partner, and a reseller's
/// agreement for a region.
fn customer() -> Key {
    Key {
        cloud: Cloud::Commercial,
        agreement: MCA,
        party: Party::Customer(guid(CUSTOMER)),
        scope: Scope::Billing(guid(PARTNER)),
    }
}

fn reseller() -> Key {
    let ids = PartnerIds { tenant: None, mpn: MpnId::parse(MPN) };
    Key {
        cloud: Cloud::Commercial,
        agreement: MPA,
        party: Party::Reseller(ids),
        scope: Scope::Region(REGION),
    }
}

fn guid(text: &str) -> Guid {
    Guid::parse(text).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn date() -> Timestamp {
    "2024-05-13T00:00:00Z".parse().unwrap()
}

fn question(key: Key) -> Question {
    Question { key, demand: Demand::default(), last: true, asker: None, patience: Duration::from_secs(2) }
}

/// What a source says, asked on a runtime of its own.
fn ask(tested: &Tested, question: &Question) -> Said {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tested.source.look_up(question))
}

const TIMEOUT: Duration = Duration::from_millis(700);

fn remote(standin: &Standin) -> Arc<Remote> {
    let settings = Settings {
        name: "tested".to_owned(),
        url: Endpoint::parse(&format!("{}/", standin.url()), true).unwrap(),
        partner: None,
        headers: Vec::new(),
        // It is never left alone here: each row is about one answer.
        limits: Limits { per_minute: 1_000_000, share_percent: 100, failures_max: u32::MAX },
        timeout: TIMEOUT,
        authorities: None,
    };
    let tls = tls::client::load(&tls::client::Settings::default()).unwrap();
    Arc::new(Remote::new(settings, &tls, None, Metrics::new()))
}

fn standin() -> Standin {
    Standin::start(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
}

/// A ledger that says this of both keys.
fn ledger(status: Option<Status>) -> Tested {
    let entry = |agreement, region, attested_by, status| Entry {
        cloud: Cloud::Commercial,
        agreement,
        region,
        attested_by,
        status,
    };
    let mut entries: HashMap<Subject, Vec<Entry>> = HashMap::new();
    if let Some(status) = status {
        let of_customer = entry(MCA, None, Some(guid(PARTNER)), status);
        entries.insert(Subject::Customer(guid(CUSTOMER)), vec![of_customer]);
        let of_reseller = entry(MPA, Some(REGION), None, status);
        entries.insert(Subject::Reseller(PartnerRef::parse(MPN).unwrap()), vec![of_reseller]);
    }
    let ledger = Ledger {
        entries,
        mpn_ids: HashMap::new(),
        complete: Default::default(),
        loaded_at: Timestamp::now(),
        written_at: Timestamp::now(),
    };
    let source = FileSource::new(name("ledger"), "ledger.yaml".into(), ledger);
    Tested { kind: "file", source: Arc::new(source), standin: None }
}

/// Partner Center, which says this of both keys; of a customer that nothing was said of it knows no acceptance.
fn center(status: Option<Status>) -> Tested {
    let standin = standin();
    if let Some(status) = status {
        let attestations = if status.is_accepted() { vec![counting("2024-05-13T00:00:00")] } else { vec![] };
        standin.set_attestations(CUSTOMER, attestations);
        standin.set_direct(CUSTOMER, false);
        let signed = if status.is_accepted() { PartnerStatus::Signed } else { PartnerStatus::Code(2203) };
        standin.set_partner_status(MPN, signed);
    }
    let settings = partner_center::Settings {
        name: name("center"),
        partner: guid(PARTNER),
        region: Some(REGION),
        cloud: Cloud::Commercial,
        not_applicable: vec![Cloud::UsGovernment],
        terms: Terms {
            agreement_type: "MicrosoftCustomerAgreement".to_owned(),
            templates: vec![TEMPLATE.to_owned()],
        },
    };
    let source = PartnerCenter::new(settings, remote(&standin), 1);
    Tested { kind: "partner_center", source: Arc::new(source), standin: Some(standin) }
}

/// What an endpoint has of a key.
fn resource(status: Status) -> Value {
    match status {
        Status::Accepted { .. } => json!({ "isSigned": true, "at": "2024-05-13T00:00:00Z" }),
        _ => json!({ "isSigned": false }),
    }
}

/// An endpoint whose target names all that a key has, which says this of both keys.
fn endpoint(kind: &'static str, scope: &str, status: Option<Status>) -> Tested {
    let standin = standin();
    if let Some(status) = status {
        for path in [
            format!("/v1/shop/mca/customer/{CUSTOMER}/commercial/{PARTNER}"),
            format!("/v1/shop/mpa/reseller/{MPN}/commercial/{REGION}"),
        ] {
            standin.set_resource(&path, resource(status), None);
        }
    }
    let settings = http::Settings {
        name: name("shop"),
        target: Template::parse(&format!("/v1/shop/{{agreement}}/{{kind}}/{{id}}/{{cloud}}/{{{scope}}}"))
            .unwrap(),
        accepted: Test::parse("/isSigned").unwrap(),
        missing: None,
        date: Some(Pointer::parse_whole("/at").unwrap()),
        not_found_is_missing: false,
    };
    let source = HttpSource::new(settings, remote(&standin), 1);
    Tested { kind, source: Arc::new(source), standin: Some(standin) }
}

/// Every source with the keys that it can be told of, told the same of both.
fn all(status: Option<Status>) -> Vec<(Tested, Vec<Key>)> {
    vec![
        (ledger(status), vec![customer(), reseller()]),
        (center(status), vec![customer(), reseller()]),
        (endpoint("http of customers", "billing", status), vec![customer()]),
        (endpoint("http of resellers", "region", status), vec![reseller()]),
    ]
}

/// Keys that differ from the two in one thing.
fn others() -> Vec<(&'static str, Key)> {
    let (customer, reseller) = (customer(), reseller());
    let party = |bits: u128| Party::Customer(Guid::from_bits(bits));
    let of = |tenant, mpn| PartnerIds { tenant, mpn };
    let both = of(Some(guid(CUSTOMER)), None);
    vec![
        ("another agreement", Key { agreement: MPA, ..customer }),
        ("an agreement of the operator's", Key { agreement: name("terms"), ..customer }),
        ("another cloud", Key { cloud: Cloud::China, ..customer }),
        ("another billing partner", Key { scope: Scope::Billing(Guid::from_bits(9)), ..customer }),
        ("a partner of that tenant", Key { party: Party::Partner(both), ..customer }),
        ("a reseller of that tenant", Key { party: Party::Reseller(both), ..customer }),
        ("another agreement", Key { agreement: MCA, ..reseller }),
        ("another cloud", Key { cloud: Cloud::UsGovernment, ..reseller }),
        ("another region", Key { scope: Scope::Region(Region::Japan), ..reseller }),
        ("no region", Key { scope: Scope::None, ..reseller }),
        ("a partner of that id", Key { party: Party::Partner(of(None, MpnId::parse(MPN))), ..reseller }),
        ("a customer", Key { party: party(7), agreement: MPA, ..reseller }),
        ("a reseller without an id", Key { party: Party::Reseller(of(None, None)), ..reseller }),
    ]
}

fn status(said: Said) -> Option<Status> {
    match said {
        Said::Definite { status, .. } | Said::AtLeast { status, .. } => Some(status),
        Said::Nothing | Said::Failed(_) => None,
    }
}

#[test]
fn what_a_source_was_told_it_says_of_that_key_and_of_no_other() {
    for told in [Status::accepted(date()), Status::MISSING] {
        for (tested, keys) in all(Some(told)) {
            let before = Timestamp::now() - jiff::SignedDuration::from_secs(60);
            for key in &keys {
                let said = ask(&tested, &question(*key));
                let Said::Definite { status, observed } = said else {
                    panic!("{} of {key:?}: {said:?}", tested.kind)
                };
                // Partner Center does not tell when a partner signed.
                let dated = tested.kind != "partner_center" || key.agreement == MCA;
                let expected = if told.is_accepted() && !dated { Status::UNDATED } else { told };
                assert_eq!(status, expected, "{} of {key:?}", tested.kind);
                let observed_at = observed.wall;
                assert!(observed_at > before && observed_at <= Timestamp::now(), "{observed_at}");
            }
            for (row, key) in others() {
                let said = ask(&tested, &question(key));
                assert_eq!(said, Said::Nothing, "{} of {row}: {key:?}", tested.kind);
            }
        }
    }
}

#[test]
fn of_whom_a_source_knows_nothing_it_says_nothing() {
    for (tested, keys) in all(None) {
        for key in keys {
            let said = ask(&tested, &question(key));
            match tested.kind {
                // It knows of everybody.
                "partner_center" => assert!(matches!(said, Said::Definite { .. }), "{said:?}"),
                _ => assert_eq!(said, Said::Nothing, "{} of {key:?}", tested.kind),
            }
        }
    }
}

#[test]
fn where_there_is_no_customer_agreement_none_is_asked_for() {
    let tested = center(None);
    let said = ask(&tested, &question(Key { cloud: Cloud::UsGovernment, ..customer() }));
    assert_eq!(status(said), Some(Status::NotApplicable));
    assert_eq!(tested.standin.unwrap().request_count(), 0);
}

#[test]
fn an_answer_that_can_not_be_used_is_a_failure_and_says_nothing_of_the_party() {
    for (tested, keys) in all(Some(Status::accepted(date()))) {
        let Some(standin) = &tested.standin else { continue };
        for fault in FAULTS.iter().copied().chain(["status=429", "status=410", "status=501"]) {
            for key in &keys {
                standin.clear_faults();
                standin.fault("GET", "", fault, None);
                let said = ask(&tested, &question(*key));
                let row = format!("{} {fault} {}", tested.kind, key.party.kind());
                // An endpoint may know nobody of that name, or tell of something else.
                let may_be_silent = tested.kind.starts_with("http")
                    && (matches!(fault, "status=404" | "echo") || fault.starts_with("body="));
                match said {
                    Said::Failed(_) => {}
                    Said::Nothing if may_be_silent => {}
                    _ => panic!("{row}: {said:?}"),
                }
                if fault == "status=429" {
                    assert_eq!(said, Said::Failed(Failure::Throttled), "{row}");
                    // It asked to be left alone, and would be.
                    break;
                }
                standin.clear_faults();
                let said = ask(&tested, &question(*key));
                assert!(status(said).is_some_and(Status::is_accepted), "{row}, and then: {said:?}");
            }
            if fault == "status=429" {
                break;
            }
        }
    }
}

#[test]
fn values_of_another_type_are_no_answer() {
    let rows = [
        json!({ "isSigned": "true", "isAgreementSigned": "true", "items": "none" }),
        json!({ "isSigned": "false", "isAgreementSigned": "false", "items": 0 }),
        json!({ "isSigned": 0, "isAgreementSigned": 0, "items": { "0": counting("2024-05-13") } }),
        json!({ "isSigned": null, "isAgreementSigned": null, "items": null }),
        json!({ "isSigned": [], "isAgreementSigned": [false], "items": false }),
        json!({ "isSigned": { "isSigned": false }, "isAgreementSigned": {}, "items": [null] }),
        json!([{ "isSigned": false, "isAgreementSigned": false, "items": [] }]),
        json!("false"),
        json!(false),
    ];
    for (tested, keys) in all(None) {
        let Some(standin) = &tested.standin else { continue };
        for row in &rows {
            standin.clear_faults();
            standin.fault("GET", "", &as_fault(&row.to_string()), None);
            for key in &keys {
                let said = ask(&tested, &question(*key));
                assert_eq!(status(said), None, "{} {row} of {:?}: {said:?}", tested.kind, key.party);
            }
        }
    }
}

#[test]
fn an_answer_that_says_two_things_says_neither() {
    // One member twice, in the same letters; and twice where letter case does not matter.
    let rows = [
        (r#"{"isSigned":false,"isSigned":true,"isAgreementSigned":false,"isAgreementSigned":true}"#, true),
        (r#"{"isSigned":true,"isSigned":true,"isAgreementSigned":true,"isAgreementSigned":true}"#, true),
        (r#"{"isSigned":false,"isAgreementSigned":false,"items":[],"more":[{"a":1,"a":1}]}"#, true),
        (r#"{"isSigned":false,"IsSigned":true,"isAgreementSigned":false,"IsAgreementSigned":true}"#, false),
        (r#"{"isSigned":true,"isAgreementSigned":true,"items":[],"links":{"self":1,"Self":2}}"#, false),
    ];
    for (tested, keys) in all(None) {
        let Some(standin) = &tested.standin else { continue };
        for (row, is_exact) in rows {
            standin.clear_faults();
            standin.fault("GET", "", &as_fault(row), None);
            for key in &keys {
                let said = ask(&tested, &question(*key));
                // Names of an operator's own endpoint are what they are.
                let is_unusable = is_exact || tested.kind == "partner_center";
                let is_failed = matches!(said, Said::Failed(_));
                assert_eq!(is_failed, is_unusable, "{} {row} of {:?}: {said:?}", tested.kind, key.party);
            }
        }
    }
}

#[test]
fn one_byte_order_mark_before_an_answer_is_skipped() {
    for told in [Status::accepted(date()), Status::MISSING] {
        for (tested, keys) in all(Some(told)) {
            let Some(standin) = &tested.standin else { continue };
            for key in &keys {
                let plain = status(ask(&tested, &question(*key)));
                standin.fault("GET", "", "mark", None);
                let said = ask(&tested, &question(*key));
                assert!(plain.is_some() && status(said) == plain, "{} of {key:?}: {said:?}", tested.kind);
                standin.clear_faults();
            }
        }
    }
    let answer = json!({ "isSigned": true, "isAgreementSigned": true, "items": [] });
    for (tested, keys) in all(None) {
        let Some(standin) = &tested.standin else { continue };
        for (marks, is_read) in [("", true), ("\u{feff}", true), ("\u{feff}\u{feff}", false)] {
            standin.clear_faults();
            standin.fault("GET", "", &as_fault(&format!("{marks}{answer}")), None);
            for key in &keys {
                let said = ask(&tested, &question(*key));
                assert_eq!(status(said).is_some(), is_read, "{} {marks:?}: {said:?}", tested.kind);
            }
        }
    }
}

#[test]
fn a_source_that_hangs_is_waited_for_as_long_as_it_may_take() {
    for (tested, keys) in all(Some(Status::accepted(date()))) {
        let Some(standin) = &tested.standin else { continue };
        for (fault, key) in ["hang", "hold", "delay=30s"].into_iter().zip(keys.iter().cycle()) {
            standin.clear_faults();
            standin.fault("GET", "", fault, None);
            let started = Instant::now();
            let said = ask(&tested, &question(*key));
            let took = started.elapsed();
            assert!(matches!(said, Said::Failed(_)), "{} {fault}: {said:?}", tested.kind);
            assert!(took < TIMEOUT + Duration::from_millis(500), "{} {fault}: {took:?}", tested.kind);
        }
    }
}

#[test]
fn a_source_that_is_gone_is_a_failure() {
    for (tested, keys) in all(Some(Status::MISSING)) {
        let Some(standin) = &tested.standin else { continue };
        standin.pause();
        for key in &keys {
            let said = ask(&tested, &question(*key));
            assert!(matches!(said, Said::Failed(_)), "{}: {said:?}", tested.kind);
        }
        standin.resume();
        for key in &keys {
            assert_eq!(status(ask(&tested, &question(*key))), Some(Status::MISSING), "{}", tested.kind);
        }
    }
}

#[test]
fn every_way_of_not_having_signed_is_missing() {
    let tested = center(None);
    let standin = tested.standin.as_ref().unwrap();
    for (told, expected) in [
        (PartnerStatus::False, Some(Absence::NotAccepted)),
        (PartnerStatus::Code(2203), Some(Absence::NotAccepted)),
        (PartnerStatus::Code(2206), Some(Absence::NotAccepted)),
        (PartnerStatus::Code(2200), Some(Absence::UnknownPartner)),
        (PartnerStatus::Code(2205), Some(Absence::UnknownPartner)),
        (PartnerStatus::Code(2201), Some(Absence::WrongRegion)),
        (PartnerStatus::Code(2204), Some(Absence::NotEnrolled)),
        (PartnerStatus::Code(2000), None),
        (PartnerStatus::Code(2001), None),
        (PartnerStatus::Code(13605), None),
    ] {
        standin.set_partner_status(MPN, told);
        let said = ask(&tested, &question(reseller()));
        assert_eq!(status(said), expected.map(Status::Missing), "{told:?}: {said:?}");
    }
}

#[test]
fn a_ledger_that_names_all_of_a_kind_says_missing_only_where_nobody_else_is_asked() {
    use countersign::policy::agreement::PartyKind;
    let complete = [PartyKind::Customer].into_iter().collect();
    let ledger = Ledger {
        entries: HashMap::new(),
        mpn_ids: HashMap::new(),
        complete,
        loaded_at: Timestamp::now(),
        written_at: Timestamp::now(),
    };
    let source = FileSource::new(name("ledger"), "ledger.yaml".into(), ledger);
    let tested = Tested { kind: "file", source: Arc::new(source), standin: None };
    for (key, last, expected) in [
        (customer(), true, Some(Status::MISSING)),
        (customer(), false, None),
        (reseller(), true, None),
        (reseller(), false, None),
    ] {
        let said = ask(&tested, &Question { last, ..question(key) });
        assert_eq!(status(said), expected, "{key:?} {last}");
    }
}

#[test]
fn an_endpoint_says_missing_only_where_it_says_so() {
    let tested = |not_found_is_missing, missing: Option<&str>| {
        let standin = standin();
        let settings = http::Settings {
            name: name("shop"),
            target: Template::parse("/v1/shop/{id}").unwrap(),
            accepted: Test::parse("/state=signed").unwrap(),
            missing: missing.map(|text| Test::parse(text).unwrap()),
            date: Some(Pointer::parse_whole("/at").unwrap()),
            not_found_is_missing,
        };
        let source = HttpSource::new(settings, remote(&standin), 1);
        Tested { kind: "http", source: Arc::new(source), standin: Some(standin) }
    };
    let stated = tested(true, Some("/state=open"));
    let silent = tested(false, None);
    let ahead = Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let local = ahead.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    // Fourteen hours earlier, whatever the parts of its second.
    let hour = local.parse::<jiff::civil::DateTime>().unwrap().to_zoned(jiff::tz::TimeZone::UTC).unwrap();
    let earliest = hour.timestamp() - jiff::SignedDuration::from_hours(14);
    let now = ahead.to_string();
    let failed = Err(());
    for (tested, resource, expected) in [
        (&stated, None, Ok(Some(Status::MISSING))),
        (&silent, None, Ok(None)),
        (&stated, Some(json!({ "state": "open" })), Ok(Some(Status::MISSING))),
        (&stated, Some(json!({ "state": "OPEN" })), Ok(Some(Status::MISSING))),
        (&stated, Some(json!({ "state": "other" })), Ok(None)),
        (&stated, Some(json!({ "state": false })), Ok(None)),
        (&stated, Some(json!({})), Ok(None)),
        (&silent, Some(json!({ "state": "open" })), Ok(None)),
        (&silent, Some(json!({ "state": "Signed" })), Ok(Some(Status::UNDATED))),
        (&silent, Some(json!({ "state": "signed", "at": "2024-05-13" })), Ok(Some(Status::accepted(date())))),
        (&silent, Some(json!({ "state": "signed", "at": now })), failed),
        (&silent, Some(json!({ "state": "signed", "at": local })), Ok(Some(Status::accepted(earliest)))),
        (&silent, Some(json!({ "state": "signed", "at": "soon" })), failed),
        (&silent, Some(json!({ "state": "signed", "at": "0001-01-01T00:00:00" })), failed),
        (&silent, Some(json!({ "state": "signed", "at": "1970-01-01T00:00:00Z" })), failed),
        (&silent, Some(json!({ "state": "signed", "at": 1_715_558_400 })), failed),
        (&silent, Some(json!({ "state": ["signed"] })), Ok(None)),
    ] {
        let standin = tested.standin.as_ref().unwrap();
        let path = format!("/v1/shop/{CUSTOMER}");
        match &resource {
            Some(resource) => standin.set_resource(&path, resource.clone(), None),
            None => standin.forget_resource(&path),
        }
        let said = ask(tested, &question(customer()));
        let found = if matches!(said, Said::Failed(_)) { Err(()) } else { Ok(status(said)) };
        assert_eq!(found, expected, "{resource:?}: {said:?}");
    }
    for (tested, fault) in [(&stated, "status=403"), (&stated, "status=410"), (&stated, "status=500")] {
        tested.standin.as_ref().unwrap().fault("GET", "", fault, Some(1));
        let said = ask(tested, &question(customer()));
        assert!(matches!(said, Said::Failed(_)), "{fault}: {said:?}");
    }
}

#[test]
fn an_acceptance_whose_moment_is_not_known_exactly_is_definite_where_no_rule_asks_for_more() {
    let local =
        (Timestamp::now() + jiff::SignedDuration::from_hours(1)).strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let shop = endpoint("http", "billing", None);
    let path = format!("/v1/shop/mca/customer/{CUSTOMER}/commercial/{PARTNER}");
    shop.standin.as_ref().unwrap().set_resource(&path, json!({ "isSigned": true, "at": local }), None);
    let center = center(None);
    let standin = center.standin.as_ref().unwrap();
    standin.set_attestations(CUSTOMER, vec![counting(&local)]);
    standin.set_direct(CUSTOMER, false);
    for tested in [shop, center] {
        for (since_hours_ago, is_definite) in [(None, true), (Some(20), true), (Some(5), false)] {
            let since =
                since_hours_ago.map(|hours| Timestamp::now() - jiff::SignedDuration::from_hours(hours));
            let demand = Demand { since, dated: true };
            let said = ask(&tested, &Question { demand, ..question(customer()) });
            let kind = tested.kind;
            match said {
                Said::Definite { status, .. } => {
                    assert!(is_definite && status.is_accepted(), "{kind} {since:?}")
                }
                Said::AtLeast { status, failure, .. } => {
                    assert!(!is_definite && status.is_accepted(), "{kind} {since:?}");
                    assert_eq!(failure, Failure::Source, "{kind}");
                }
                said => panic!("{kind} {since:?}: {said:?}"),
            }
        }
    }
}

#[test]
fn an_endpoint_may_list_what_stands_where() {
    let standin = standin();
    let settings = http::Settings {
        name: name("shop"),
        target: Template::parse("/v1/shop/{id}").unwrap(),
        accepted: Test::parse("/items/[kind={agreement}]/state=signed").unwrap(),
        missing: Some(Test::parse("/items/[kind={agreement}]/state=open").unwrap()),
        date: Some(Pointer::parse_whole("/items/[kind={agreement}]/at").unwrap()),
        not_found_is_missing: false,
    };
    let source = HttpSource::new(settings, remote(&standin), 1);
    let tested = Tested { kind: "http", source: Arc::new(source), standin: None };
    let other = json!({ "kind": "mpa", "state": "open" });
    let of = |items: Vec<Value>| json!({ "items": items });
    for (resource, expected) in [
        (of(vec![other.clone(), json!({ "kind": "mca", "state": "signed" })]), Ok(Some(Status::UNDATED))),
        (
            of(vec![json!({ "kind": "MCA", "state": "Signed", "at": "2024-05-13" }), other.clone()]),
            Ok(Some(Status::accepted(date()))),
        ),
        (of(vec![other.clone(), json!({ "kind": "mca", "state": "open" })]), Ok(Some(Status::MISSING))),
        (of(vec![other.clone(), json!({ "kind": "mca", "state": "else" })]), Ok(None)),
        (of(vec![other.clone()]), Ok(None)),
        (of(vec![]), Ok(None)),
        (json!({ "items": { "kind": "mca", "state": "signed" } }), Ok(None)),
        (json!({}), Ok(None)),
        (
            of(vec![
                json!({ "kind": "mca", "state": "signed" }),
                json!({ "kind": "mca", "state": "signed" }),
            ]),
            Err(()),
        ),
    ] {
        standin.set_resource(&format!("/v1/shop/{CUSTOMER}"), resource.clone(), None);
        let said = ask(&tested, &question(customer()));
        let found = if matches!(said, Said::Failed(_)) { Err(()) } else { Ok(status(said)) };
        assert_eq!(found, expected, "{resource}: {said:?}");
    }
}

#[test]
fn a_question_goes_where_it_should_and_nothing_of_the_caller_with_it() {
    for (tested, keys) in all(Some(Status::accepted(date()))) {
        let Some(standin) = &tested.standin else { continue };
        standin.record(true);
        for key in &keys {
            ask(&tested, &question(*key));
            for one in standin.recorded() {
                assert_eq!((one.method.as_str(), one.body.len()), ("GET", 0), "{}", tested.kind);
                let header = |wanted: &str| {
                    let values = one.headers.iter().filter(|(name, _)| name == wanted);
                    values.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect::<Vec<_>>()
                };
                assert_eq!(header("accept"), ["application/json"]);
                assert_eq!(header("accept-encoding"), ["identity"]);
                assert_eq!(header("host"), [standin.address().to_string()]);
                assert_eq!(header("authorization"), Vec::<String>::new());
                if tested.kind == "partner_center" {
                    assert_eq!(header("ms-requestid").len(), 1);
                    assert_eq!(header("ms-correlationid").len(), 1);
                }
            }
        }
    }
}

#[test]
fn an_attestation_in_a_ledger_is_no_acceptance_for_everybody() {
    let tested = ledger(Some(Status::accepted(date())));
    for scope in [Scope::None, Scope::Region(REGION)] {
        assert_eq!(ask(&tested, &question(Key { scope, ..customer() })), Said::Nothing, "{scope:?}");
    }
}
