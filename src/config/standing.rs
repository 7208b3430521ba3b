//! The shadow rule of standings: left out where no source can tell of them.

use crate::config::agreements::Agreements;
use crate::policy::Policy;
use crate::policy::agreement::STANDING;
use crate::policy::rule::{Mode, Rule};

/// Leaves out shadow rules about standings where no source of their parties can tell one. Standings are Partner Center's to
/// tell: with ledgers only, each order through a reseller would pay for a finding that says nothing.
pub fn leave_out_untold(policy: &mut Policy, agreements: &Agreements) {
    let untold = |rule: &Rule| {
        let of = rule.requires.as_ref().filter(|requirement| requirement.agreement == STANDING);
        let Some(order) = of.map(|requirement| &agreements.order[requirement.of as usize]) else {
            return false;
        };
        let may_tell = agreements.remotes.iter().any(|remote| order.contains(&remote.name));
        let mut ledgers = agreements.ledgers.iter().filter(|ledger| order.contains(&ledger.name));
        let is_recorded = ledgers.any(|source| source.ledger.agreements().contains(&STANDING));
        rule.mode == Mode::Shadow && !may_tell && !is_recorded
    };
    let untold: Vec<usize> = (0..policy.rules.len()).filter(|at| untold(&policy.rules[*at])).collect();
    for rules in &mut policy.rules_of {
        rules.retain(|rule| !untold.contains(rule));
    }
}
