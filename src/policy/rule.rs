//! Rules: when they apply, what they require, from when, and for whom they are waived.

use jiff::Timestamp;

use crate::policy::agreement::{Agreement, PartyKind, named_enum};
use crate::policy::condition::When;
use crate::policy::id::{Guid, PartnerRef};
use crate::policy::role::NameSet;

named_enum! {
    /// How much a rule counts.
    Mode {
        /// Judged, and denies.
        Enforce = "enforce",
        /// Judged and reported; changes no verdict.
        Shadow = "shadow",
        /// Not judged.
        Off = "off",
    }
}

named_enum! {
    /// What happens when a rule's agreement status can not be learnt.
    OnUnknown {
        /// The request is denied: 503, or the status of what nobody has recorded.
        Deny = "deny",
        /// The request passes, unless the last definite answer was missing or the not-knowing is our own doing.
        Allow = "allow",
    }
}

named_enum! {
    /// What an acceptance without a date is worth to a rule that asks for one.
    Undated {
        /// It counts.
        Accept = "accept",
        /// It is not known whether it counts.
        Unknown = "unknown",
    }
}

/// The agreement a rule requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Which.
    pub agreement: Agreement,
    /// Whose acceptance.
    pub of: PartyKind,
    /// Acceptances before this moment do not count.
    pub accepted_since: Option<Timestamp>,
    /// What one without a date is worth then.
    pub undated: Undated,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The name in configuration, records and metrics.
    pub name: String,
    /// When it applies.
    pub when: When,
    /// The agreement it requires.
    pub requires: Option<Requirement>,
    /// The caller has to hold any of these roles.
    pub roles: Option<NameSet>,
    /// From when an unmet rule is told of.
    pub announce_from: Option<Timestamp>,
    /// From when it denies; always, where neither date is given.
    pub enforce_from: Option<Timestamp>,
    /// How much it counts, already capped by `policy.mode`.
    pub mode: Mode,
    /// What not knowing means.
    pub on_unknown: OnUnknown,
    /// The fault code of a denial by it.
    pub code: u32,
}

/// What a rule is at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not yet announced, or off.
    Dormant,
    /// Judged only to be reported.
    Shadow,
    /// Announced, not yet enforced.
    Announced,
    /// Enforced.
    Enforced,
}

impl Rule {
    /// What the rule is at a moment: the time of the request, never of the purchase it changes.
    pub fn phase(&self, at: Timestamp) -> Phase {
        let enforced = match (self.announce_from, self.enforce_from) {
            (None, None) => true,
            (_, Some(from)) => at >= from,
            (Some(_), None) => false,
        };
        let announced = self.announce_from.is_some_and(|from| at >= from);
        match self.mode {
            Mode::Off => Phase::Dormant,
            _ if !enforced && !announced => Phase::Dormant,
            Mode::Shadow => Phase::Shadow,
            Mode::Enforce if enforced => Phase::Enforced,
            Mode::Enforce => Phase::Announced,
        }
    }
}

/// Whom a waiver spares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waived {
    /// A partner, for its own agreements and roles.
    Partner(Guid),
    /// A reseller.
    Reseller(PartnerRef),
    /// A customer of one billing partner.
    Customer {
        /// The customer.
        customer: Guid,
        /// The billing partner.
        partner: Guid,
    },
}

/// A dated, reasoned exception to one rule for one party.
#[derive(Clone, Debug)]
pub struct Waiver {
    /// Index of the rule in the policy.
    pub rule: usize,
    /// For whom.
    pub party: Waived,
    /// Why, for the record.
    pub reason: String,
    /// Where it was agreed, for the record.
    pub ticket: String,
    /// When it ends.
    pub until: Timestamp,
}
