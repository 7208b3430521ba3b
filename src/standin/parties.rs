//! Parties: who was said to have accepted which agreement, where that differs from what the ids say.

use std::collections::HashMap;
use std::sync::Mutex;

use serde_json::Value;

use crate::standin::locked::locked;

/// Attestations kept per customer; the oldest one makes room.
const ATTESTATIONS_MAX: usize = 1024;

/// Questions about resellers of record that are remembered; the oldest one makes room.
const VALIDATED_MAX: usize = 1024;

/// What `agreementstatus` answers for one partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartnerStatus {
    /// `isAgreementSigned` is true.
    Signed,
    /// `isAgreementSigned` is false, which no page documents.
    False,
    /// 400 with that code: 2203 and 2206 say that the agreement is not signed.
    Code(u32),
}

/// What was set about customers and partners; ids are compared without regard to case.
#[derive(Default)]
pub struct Parties(Mutex<Known>);

#[derive(Default)]
struct Known {
    direct: HashMap<String, bool>,
    attestations: HashMap<String, Attestations>,
    partners: HashMap<String, PartnerStatus>,
    standings: HashMap<String, bool>,
    validated: Vec<Vec<String>>,
}

/// The attestations of one customer.
#[derive(Debug, Default, Clone)]
pub struct Attestations {
    /// Items that stand in place of those that the id of the customer stands for, told exactly as they were set.
    pub set: Option<Vec<Value>>,
    /// Items that came by `POST`, oldest first.
    pub made: Vec<Value>,
}

impl Parties {
    /// Sets whether a customer accepted directly.
    pub fn set_direct(&self, customer: &str, signed: bool) {
        locked(&self.0).direct.insert(customer.to_ascii_lowercase(), signed);
    }

    /// Whether a customer accepted directly, if that was set.
    pub fn direct(&self, customer: &str) -> Option<bool> {
        locked(&self.0).direct.get(&customer.to_ascii_lowercase()).copied()
    }

    /// Sets all attestations of a customer; those made before are gone.
    pub fn set_attestations(&self, customer: &str, items: Vec<Value>) {
        let attestations = Attestations { set: Some(items), made: Vec::new() };
        locked(&self.0).attestations.insert(customer.to_ascii_lowercase(), attestations);
    }

    /// Adds an attestation to those of a customer.
    pub fn attest(&self, customer: &str, item: Value) {
        let mut known = locked(&self.0);
        let made = &mut known.attestations.entry(customer.to_ascii_lowercase()).or_default().made;
        if made.len() == ATTESTATIONS_MAX {
            made.remove(0);
        }
        made.push(item);
    }

    /// What was set and made for a customer.
    pub fn attestations(&self, customer: &str) -> Attestations {
        locked(&self.0).attestations.get(&customer.to_ascii_lowercase()).cloned().unwrap_or_default()
    }

    /// Sets the answer for a partner, by MPN id or tenant.
    pub fn set_partner(&self, id: &str, status: PartnerStatus) {
        locked(&self.0).partners.insert(id.to_ascii_lowercase(), status);
    }

    /// Sets whether a partner may be named on orders, by MPN id.
    pub fn set_standing(&self, id: &str, valid: bool) {
        locked(&self.0).standings.insert(id.to_owned(), valid);
    }

    /// Whether a partner may be named on orders, if that was set.
    pub fn standing(&self, id: &str) -> Option<bool> {
        locked(&self.0).standings.get(id).copied()
    }

    /// Remembers of which partners one question was.
    pub fn validate(&self, ids: Vec<String>) {
        let validated = &mut locked(&self.0).validated;
        if validated.len() == VALIDATED_MAX {
            validated.remove(0);
        }
        validated.push(ids);
    }

    /// The partners of each question, oldest first.
    pub fn validated(&self) -> Vec<Vec<String>> {
        locked(&self.0).validated.clone()
    }

    /// The answer for a partner, if one was set.
    pub fn partner(&self, id: &str) -> Option<PartnerStatus> {
        locked(&self.0).partners.get(&id.to_ascii_lowercase()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_compared_without_case() {
        let parties = Parties::default();
        assert_eq!(parties.direct("c"), None);
        parties.set_direct("C-a", false);
        parties.set_partner("T-b", PartnerStatus::Code(2205));
        assert_eq!(parties.direct("c-A"), Some(false));
        assert_eq!(parties.partner("t-B"), Some(PartnerStatus::Code(2205)));
    }

    #[test]
    fn questions_about_resellers_are_remembered_up_to_a_bound() {
        let parties = Parties::default();
        assert_eq!(parties.standing("1"), None);
        parties.set_standing("1", false);
        assert_eq!(parties.standing("1"), Some(false));
        for number in 0..=VALIDATED_MAX {
            parties.validate(vec![number.to_string()]);
        }
        assert_eq!(parties.validated().len(), VALIDATED_MAX);
        assert_eq!(parties.validated()[0], ["1"]);
    }

    #[test]
    fn what_is_set_replaces_what_was_made() {
        let parties = Parties::default();
        parties.attest("c", Value::from(1));
        assert_eq!(parties.attestations("C").made, [1]);
        assert_eq!(parties.attestations("C").set, None);
        parties.set_attestations("C", vec![]);
        parties.attest("c", Value::from(2));
        let attestations = parties.attestations("c");
        assert_eq!(attestations.set, Some(vec![]));
        assert_eq!(attestations.made, [2]);
        for number in 0..ATTESTATIONS_MAX {
            parties.attest("c", Value::from(number));
        }
        assert_eq!(parties.attestations("c").made.len(), ATTESTATIONS_MAX);
    }
}
