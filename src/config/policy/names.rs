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
    /// Tenants by MPN id, of those entries that have one.
    pub tenants: HashMap<MpnId, Guid>,
    /// For each entry: where it stands, what it is, and whether it has a country and a region.
    pub entries: Vec<(Span, PartnerKind, bool, bool)>,
}

impl PartnerFacts {
    /// Notes the first entry that lacks what a rule asks of it.
    pub fn check(&self, reader: &Reader, rule: &str, when: &When) {
        let concerned =
            |kind: &PartnerKind| when.partner_kinds.as_ref().is_none_or(|kinds| kinds.contains(kind));
        let mut entries = self.entries.iter().filter(|(_, kind, ..)| concerned(kind));
        let lacking = entries.find_map(|(span, _, country, region)| {
            if asks_country(when) && !country {
                Some((*span, "country"))
            } else if asks_region(when) && !region {
                Some((*span, "region"))
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
