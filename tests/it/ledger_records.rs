//! Records of a ledger beside each other: which contradict, and which counts.

use std::collections::HashMap;
use std::fs;

use countersign::agreements::file::Ledger;
use countersign::config::ledger::load_ledger;
use countersign::policy::agreement::{Cloud, Key, MCA, PartnerIds, Party, Region, Scope, Status};
use countersign::policy::id::{Guid, MpnId, Name};
use jiff::Timestamp;
use proptest::prelude::*;

use crate::ledgers::{PARTY, report};
use crate::stage::{CUSTOMER, LEDGER, Stage, eventually};

/// A partner with two MPN ids, and one that attests.
const SHOP: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a0b";
const FIRST: &str = "5139005";
const SECOND: &str = "4847383";

fn tenants() -> HashMap<MpnId, Guid> {
    [FIRST, SECOND].map(|mpn| (MpnId::parse(mpn).unwrap(), Guid::parse(SHOP).unwrap())).into()
}

#[test]
fn records_of_one_scope_that_contradict_each_other_are_refused_with_both_places() {
    const ACCEPTED: &str = "{ accepted: 2024-03-01T00:00:00Z }";
    let row = |party: &str, status: &str| format!("{{ {party}, {status} }}");
    let mpa = |party: &str, status: &str| row(party, &format!("mpa: {status}"));
    let mca = |party: &str, status: &str| row(party, &format!("mca: {status}"));
    let of = |reseller: &str| format!("reseller: \"{reseller}\"");
    let attested = format!("{PARTY}, attested_by: {SHOP}");
    for (first, second, is_refused) in [
        (mca(PARTY, ACCEPTED), mca(PARTY, "missing"), true),
        (mca(PARTY, "missing"), mca(PARTY, "{ accepted: undated }"), true),
        (mca(PARTY, "missing"), mca(PARTY, "not_applicable"), true),
        (mca(PARTY, "not_applicable"), mca(PARTY, ACCEPTED), true),
        (mca(&attested, ACCEPTED), mca(&attested, "missing"), true),
        // A customer's acceptance is of no region.
        (mca(&format!("{PARTY}, region: europe"), ACCEPTED), mca(PARTY, "missing"), true),
        (mpa(&of("77"), ACCEPTED), mpa(&of("77"), "missing"), true),
        (
            mpa(&format!("{}, region: europe", of("77")), "missing"),
            mpa(&format!("{}, region: europe", of("77")), ACCEPTED),
            true,
        ),
        // By its MPN ids and by its tenant.
        (mpa(&of(FIRST), ACCEPTED), mpa(&of(SHOP), "missing"), true),
        (mpa(&of(SHOP), ACCEPTED), mpa(&of(SECOND), "missing"), true),
        (mpa(&of(FIRST), "missing"), mpa(&of(SECOND), ACCEPTED), true),
        (mpa(&format!("partner: {SHOP}"), ACCEPTED), mpa(&format!("mpn_id: \"{SECOND}\""), "missing"), true),
        (row(PARTY, "terms: missing"), row(PARTY, &format!("terms: {ACCEPTED}")), true),
        // The same twice, and acceptances of several dates.
        (mca(PARTY, "missing"), mca(PARTY, "missing"), false),
        (mca(PARTY, ACCEPTED), mca(PARTY, "{ accepted: 2020-03-01T00:00:00Z }"), false),
        (mca(PARTY, ACCEPTED), mca(PARTY, "{ accepted: undated }"), false),
        (mpa(&of(FIRST), ACCEPTED), mpa(&of(SHOP), "{ accepted: undated }"), false),
        // Of other scopes.
        (mca(PARTY, ACCEPTED), row(PARTY, "mpa: missing"), false),
        (mca(PARTY, ACCEPTED), mca(&attested, "missing"), false),
        (mca(PARTY, ACCEPTED), mca(&format!("{PARTY}, cloud: us_government"), "not_applicable"), false),
        (mpa(&of("77"), ACCEPTED), mpa(&format!("{}, region: europe", of("77")), "missing"), false),
        (mpa(&of("77"), ACCEPTED), mpa(&of("78"), "missing"), false),
        (mpa(&of(SHOP), ACCEPTED), mpa(&format!("partner: {SHOP}"), "missing"), false),
        (mpa(&of("77"), ACCEPTED), mpa(&of(SHOP), "missing"), false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agreements.yaml");
        for (first, second) in [(&first, &second), (&second, &first)] {
            fs::write(&file, format!("agreements:\n  - {first}\n  -   {second}\n")).unwrap();
            let read = load_ledger(&file, Timestamp::now(), &tenants());
            let Err(report) = read else {
                assert!(!is_refused, "{first} {second}");
                continue;
            };
            assert!(is_refused, "{first} {second}: {report}");
            let agreement = ["mpa: ", "mca: ", "terms: "].into_iter().find_map(|name| first.find(name));
            let column = "  - ".len() + agreement.unwrap() + 1;
            let place = format!("{}:2:{column}", file.display());
            for part in [place.as_str(), "agreements.yaml:3:", "here, and", "keep the record that holds"] {
                assert!(report.contains(part), "expected `{part}`: {report}");
            }
        }
    }
}

#[test]
fn check_shows_records_that_contradict_each_other() {
    let text = report(&format!(
        "agreements:\n  - {{ {PARTY}, mca: missing }}\n  - {{ {PARTY}, mca: {{ accepted: undated }} }}\n"
    ));
    let message =
        "`mca` of the customer `c0a80101-6d2b-4c1e-8f10-000000000001` is `accepted` here, and `missing` at ";
    assert!(text.contains(message), "{text}");
    assert!(text.contains("agreements.yaml:2:55") && text.contains("agreements.yaml:3:55"), "{text}");
    // The shipped configuration lists this partner's MPN id.
    let text = report(
        "agreements:\n  - { mpn_id: \"5139005\", mpa: missing }\n  \
         - { partner: 7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01, mpa: { accepted: undated } }\n",
    );
    assert!(text.contains("is `accepted` here, and `missing` at "), "{text}");
    let other = ", of the partner `5139005` that `partners` lists as the same";
    assert!(text.contains(other), "{text}");
}

#[test]
fn an_edit_that_contradicts_itself_keeps_the_last_good_ledger_and_new_identities_refuse_a_reload() {
    let stage = Stage::start();
    let edit = |more: &str| fs::write(stage.path("agreements.yaml"), LEDGER.to_owned() + more).unwrap();
    edit(&format!("  - {{ customer: {CUSTOMER}, mca: missing }}\n"));
    eventually(|| stage.metric("countersign_ledger_last_reload_ok{source=\"ledger\"}") == 0.0);
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
    let refused = stage.reload();
    assert_eq!(refused.status, 422);
    let report = String::from_utf8(refused.body).unwrap();
    assert!(report.contains("is `missing` here, and `accepted` at "), "{report}");
    // Nothing says that the two are one.
    edit(&format!("  - {{ reseller: {SHOP}, mpa: missing }}\n"));
    assert_eq!(stage.reload().status, 200);
    let file = stage.path("countersign.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let listed = format!(
        "partners:\n  known:\n    - {{ tenant: {SHOP}, kind: indirect_reseller, country: DE, mpn_ids: [\"1\", \"{SECOND}\"] }}\n"
    );
    fs::write(&file, text.replace("partners:\n  known:\n", &listed)).unwrap();
    let refused = stage.reload();
    assert_eq!(refused.status, 422, "the configuration says that they are");
    edit("");
    assert_eq!(stage.reload().status, 200);
    edit(&format!("  - {{ reseller: {SHOP}, mpa: missing }}\n"));
    eventually(|| stage.metric("countersign_ledger_last_reload_ok{source=\"ledger\"}") == 0.0);
}

#[test]
fn a_record_by_one_of_several_mpn_ids_counts_for_them_all_but_for_standings() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agreements.yaml");
    for agreement in ["mpa", "standing"] {
        for (recorded, named, is_told) in [
            (FIRST, FIRST, true),
            (FIRST, SECOND, agreement == "mpa"),
            (SECOND, FIRST, agreement == "mpa"),
            (SHOP, FIRST, true),
            (SHOP, SECOND, true),
            ("77", FIRST, false),
        ] {
            let record = format!("  - {{ reseller: \"{recorded}\", {agreement}: missing }}\n");
            fs::write(&file, format!("agreements:\n{record}")).unwrap();
            let ledger = load_ledger(&file, Timestamp::now(), &tenants()).unwrap();
            let ids = PartnerIds { tenant: Guid::parse(SHOP), mpn: MpnId::parse(named) };
            let agreement = Name::new(agreement).unwrap();
            let key = Key { agreement, party: Party::Reseller(ids), ..key(1, false) };
            let is_missing = ledger.say(&key, true) == Some(Status::MISSING);
            assert_eq!(is_missing, is_told, "{agreement} by {recorded} of {named}");
        }
    }
}

/// One record of a small world: whose, for what, and what it says.
#[derive(Clone, Debug)]
struct Record {
    party: usize,
    spelling: usize,
    is_narrow: bool,
    status: usize,
}

const STATUSES: [&str; 5] = [
    "missing",
    "not_applicable",
    "{ accepted: undated }",
    "{ accepted: 2020-01-01T00:00:00Z }",
    "{ accepted: 2024-01-01T00:00:00Z }",
];

impl Record {
    fn text(&self) -> String {
        let mut text = match self.party {
            0 => PARTY.to_owned(),
            1 => format!("reseller: \"{}\"", [SHOP, FIRST, SECOND][self.spelling]),
            _ => format!("partner: \"{}\"", [SHOP, FIRST, SECOND][self.spelling]),
        };
        match (self.party, self.is_narrow) {
            (0, true) => text += &format!(", attested_by: {SHOP}"),
            (_, true) => text += ", region: europe",
            (_, false) => {}
        }
        format!("  - {{ {text}, mca: {} }}\n", STATUSES[self.status])
    }

    /// The kind of what it says.
    fn kind(&self) -> &str {
        if self.status > 1 { "accepted" } else { STATUSES[self.status] }
    }
}

fn record() -> impl Strategy<Value = Record> {
    // Mostly such as do not contradict each other.
    let status = prop_oneof![1 => 0..2usize, 4 => 2..5usize];
    (0..3usize, 0..3usize, any::<bool>(), status).prop_map(|(party, spelling, is_narrow, status)| Record {
        party,
        spelling,
        is_narrow,
        status,
    })
}

fn key(party: usize, is_narrow: bool) -> Key {
    let tenant = Guid::parse(SHOP);
    let ids = PartnerIds { tenant, mpn: MpnId::parse(FIRST) };
    let (party, scope) = match party {
        0 => {
            let customer = Guid::parse("c0a80101-6d2b-4c1e-8f10-000000000001").unwrap();
            (Party::Customer(customer), Scope::Billing(tenant.unwrap()))
        }
        1 => (Party::Reseller(ids), Scope::Region(Region::Europe)),
        _ => (Party::Partner(ids), Scope::Region(Region::Europe)),
    };
    let scope = if is_narrow { scope } else { Scope::None };
    Key { cloud: Cloud::Commercial, agreement: MCA, party, scope }
}

/// The word of records about a key, read in no order: the kind, and whether there is an acceptance of 2024.
fn expected(records: &[Record], party: usize, is_narrow: bool) -> Option<(&str, bool)> {
    let of = |narrow: bool| -> Vec<&Record> {
        records.iter().filter(|record| record.party == party && record.is_narrow == narrow).collect()
    };
    let (narrow, wide) = (if is_narrow { of(true) } else { Vec::new() }, of(false));
    let kind = narrow.first().or(wide.first())?.kind();
    let counts = |record: &&&Record| record.kind() == "accepted";
    let agree =
        [&narrow, &wide].into_iter().all(|records| records.iter().filter(counts).count() == records.len());
    let counted = if agree {
        [narrow, wide].concat()
    } else if narrow.is_empty() {
        wide
    } else {
        narrow
    };
    Some((kind, counted.iter().any(|record| record.status == 4)))
}

proptest! {
    #[test]
    fn the_order_of_records_never_matters(
        (records, shuffled) in proptest::collection::vec(record(), 0..5)
            .prop_flat_map(|records| (Just(records.clone()), Just(records).prop_shuffle()))
    ) {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str, records: &[Record]| {
            let file = folder.path().join(name);
            let texts: String = records.iter().map(Record::text).collect();
            let list = if texts.is_empty() { "agreements: []\n".to_owned() } else { format!("agreements:\n{texts}") };
            fs::write(&file, list).unwrap();
            load_ledger(&file, Timestamp::now(), &tenants())
        };
        let contradict = records.iter().any(|one| records.iter().any(|other| {
            (one.party, one.is_narrow) == (other.party, other.is_narrow) && one.kind() != other.kind()
        }));
        let (first, second) = (read("first", &records), read("second", &shuffled));
        prop_assert_eq!(first.is_err(), contradict, "{:?}", first);
        prop_assert_eq!(second.is_err(), contradict, "{:?}", second);
        let (Ok(first), Ok(second)) = (first, second) else { return Ok(()) };
        prop_assert_eq!(&first.entries, &second.entries);
        for (party, is_narrow) in [0, 1, 2].into_iter().flat_map(|party| [(party, false), (party, true)]) {
            let key = key(party, is_narrow);
            let status = |ledger: &Ledger| ledger.say(&key, true);
            let is_newest = |status: Status| {
                matches!(status, Status::Accepted { at: Some(at), .. } if at.to_string().starts_with("2024"))
            };
            prop_assert_eq!(status(&first), status(&second), "{:?}", key);
            let told = status(&first).map(|status| (status.as_str(), is_newest(status)));
            prop_assert_eq!(told, expected(&records, party, is_narrow), "{:?}", key);
        }
    }
}
