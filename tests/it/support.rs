//! What several tests share: policies of the shipped presets, callers, and statuses.

use std::collections::HashMap;

use countersign::config::node::Node;
use countersign::config::policy::{self, CompiledPolicy, PartnerFacts};
use countersign::config::problem::render;
use countersign::config::read::Reader;
use countersign::policy::Policy;
use countersign::policy::agreement::{Cloud, PartyKind};
use countersign::policy::decision::Need;
use countersign::policy::facts::{Caller, Country, PartnerKind, Profile};
use countersign::policy::id::Guid;
use countersign::policy::role::{NameSet, NameTable};
use jiff::Timestamp;

/// The tenant of the caller in tests of the core.
pub const PARTNER: &str = "11111111-aaaa-4bbb-8ccc-000000000001";

pub fn time(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub fn roles() -> NameTable {
    let mut roles = NameTable::default();
    for name in ["global_admin", "admin_agent", "sales_agent", "helpdesk"] {
        roles.intern(name).unwrap();
    }
    roles
}

/// Compiles a `policy` section; a problem fails the test.
pub fn compile(section: &str) -> CompiledPolicy {
    let reader = Reader::default();
    let source = reader.add_source("test.yaml".as_ref(), section);
    let node = Node::parse(section, source, &HashMap::new()).expect("YAML");
    let mut partners = PartnerFacts::default();
    partners.labels.intern("sandbox").unwrap();
    let compiled = policy::read(&reader, Some(&node), roles(), &partners, time("2026-11-22T00:00:00Z"));
    let problems = reader.problems.borrow();
    compiled.unwrap_or_else(|| panic!("{}", render(&problems, &reader.sources.borrow(), false)))
}

pub fn preset(name: &str) -> Policy {
    compile(&format!("preset: {name}")).policy
}

/// A direct-bill partner in Germany with every selling role.
pub fn caller(policy: &Policy) -> Caller {
    let partner = Profile {
        tenant: Guid::parse(PARTNER).unwrap(),
        mpn: None,
        kind: PartnerKind::DirectBill,
        cloud: Cloud::Commercial,
        country: Country::parse("DE"),
        region: None,
        labels: NameSet::EMPTY,
    };
    Caller { partner, billing: partner, roles: policy.roles.find("admin_agent").unwrap() }
}

/// The kinds of party among needs, in the order partner, reseller, customer.
pub fn kinds(needs: &[Need]) -> Vec<&'static str> {
    [PartyKind::Partner, PartyKind::Reseller, PartyKind::Customer]
        .into_iter()
        .filter(|kind| needs.iter().any(|need| need.key.party.kind() == *kind))
        .map(|kind| kind.as_str())
        .collect()
}
