//! The names and partner facts that rules may ask for.

use std::collections::HashMap;

use crate::config::problem::Span;
use crate::config::read::Reader;
use crate::policy::AgreementInfo;
use crate::policy::condition::When;
use crate::policy::facts::PartnerKind;
use crate::policy::id::{Guid, MpnId};
use crate::policy::operation::Operation;
use crate::policy::role::NameTable;

/// The names that rules may use.
pub struct Names<'a> {
    /// Operations.
    pub operations: &'a [Operation],
    /// Product classes.
    pub product_classes: &'a NameTable,
    /// Roles.
    pub roles: &'a NameTable,
    /// Labels that partners carry.
    pub labels: &'a NameTable,
    /// Agreements.
    pub agreements: &'a [AgreementInfo],
}

/// What the partners table can tell rules.
#[derive(Clone, Debug, Default)]
pub struct PartnerFacts {
    /// The labels that partners carry.
    pub labels: NameTable,
    /// Tenants by MPN id, of those entries that have some.
    pub tenants: HashMap<MpnId, Guid>,
    /// The first MPN id of those entries.
    pub mpn_ids: HashMap<Guid, MpnId>,
    /// The entries.
    pub entries: Vec<PartnerEntry>,
}

/// An entry of the partners table, as far as rules and reads depend on it.
#[derive(Clone, Copy, Debug)]
pub struct PartnerEntry {
    /// Its place.
    pub span: Span,
    /// The partner's kind.
    pub kind: PartnerKind,
    /// True where it has a country.
    pub has_country: bool,
    /// True where it has a region.
    pub has_region: bool,
    /// True where it has an MPN id.
    pub has_mpn: bool,
}

impl PartnerFacts {
    /// Notes the first entry that lacks what a rule asks of it.
    pub fn check(&self, reader: &Reader, rule: &str, when: &When) {
        let concerned = |entry: &&PartnerEntry| {
            when.partner_kinds.as_ref().is_none_or(|kinds| kinds.contains(&entry.kind))
        };
        let lacking = self.entries.iter().filter(concerned).find_map(|entry| {
            if asks_country(when) && !entry.has_country {
                Some((entry.span, "country"))
            } else if asks_region(when) && !entry.has_region {
                Some((entry.span, "region"))
            } else {
                None
            }
        });
        if let Some((span, fact)) = lacking {
            let message = format!("the entry has no `{fact}`, which rule `{rule}` asks");
            reader.error(span, message, Some(format!("add `{fact}`, or set the rule's mode to `off`")));
        }
    }
}

fn asks_country(when: &When) -> bool {
    when.countries.is_some() || when.not.iter().any(asks_country)
}

fn asks_region(when: &When) -> bool {
    when.regions.is_some() || when.not.iter().any(asks_region)
}
