//! Decisions: a verdict with the findings it rests on, and the permit that only an allowing one gives.

use jiff::Timestamp;

use crate::policy::agreement::{Fact, Failure, Key, named_enum};
use crate::policy::facts::LINES_MAX;
use crate::policy::reason::Reason;

/// The most statuses one request may need.
pub const NEEDS_MAX: usize = 64;

const LINE_WORDS: usize = LINES_MAX.div_ceil(64);

/// The lines that a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineSet([u64; LINE_WORDS]);

impl LineSet {
    /// No line.
    pub const NONE: LineSet = LineSet([0; LINE_WORDS]);

    /// The first `count` lines.
    pub fn first(count: usize) -> LineSet {
        let mut set = LineSet::NONE;
        (0..count).for_each(|line| set.insert(line));
        set
    }

    /// Adds a line; numbers from [`LINES_MAX`] on do not occur.
    pub fn insert(&mut self, line: usize) {
        self.0[line / 64] |= 1 << (line % 64);
    }

    /// The lines in both.
    #[must_use]
    pub fn intersection(mut self, other: LineSet) -> LineSet {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= other);
        self
    }

    /// The lines in either.
    #[must_use]
    pub fn union(mut self, other: LineSet) -> LineSet {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
        self
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; LINE_WORDS]
    }

    /// The numbers of the lines, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        let words = self.0;
        (0..LINE_WORDS * 64).filter(move |line| words[line / 64] >> (line % 64) & 1 == 1)
    }
}

/// A status that a decision needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// What to look up.
    pub key: Key,
    /// Whether the verdict can depend on it; nobody waits for the others.
    pub decides: bool,
}

/// What a rule found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is met.
    Met,
    /// It is not met, definitely.
    Unmet(Reason),
    /// It can not be told whether it is met.
    Unknown(Failure),
    /// It is not met or not known, and waived until then.
    Waived(Timestamp),
}

impl Outcome {
    /// The reason of a denial that rests on this.
    pub fn reason(self) -> Reason {
        match self {
            Outcome::Unmet(reason) => reason,
            Outcome::Unknown(Failure::Unrecorded | Failure::Undated | Failure::Unread) => {
                Reason::AgreementUnrecorded
            }
            Outcome::Unknown(_) | Outcome::Met | Outcome::Waived(_) => Reason::AgreementUnknown,
        }
    }
}

named_enum! {
    /// What a finding does.
    Effect {
        /// Nothing.
        Pass = "pass",
        /// Reported, nothing else.
        Shadow = "shadow",
        /// The caller is told.
        Notice = "notice",
        /// The request is denied.
        Deny = "deny",
    }
}

/// What one rule found about one party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Index of the rule in the policy.
    pub rule: usize,
    /// Index of the status it rests on among the plan's needs; `None` for roles,
    /// and for whoever could not be read.
    pub need: Option<usize>,
    /// The fact it rests on.
    pub fact: Option<Fact>,
    /// What was found.
    pub outcome: Outcome,
    /// What it does.
    pub effect: Effect,
    /// The lines it is about; empty where it is about the whole request.
    pub lines: LineSet,
}

/// Whether the request goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Allow,
    /// It does not.
    Deny(Reason),
}

/// A verdict with its findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    verdict: Verdict,
    findings: Vec<Finding>,
    decisive: Option<usize>,
    detail: Option<&'static str>,
}

/// Proof that a decision allowed. It can be made nowhere else, and not twice.
#[derive(Debug)]
pub struct Permit(());

impl Decision {
    /// A decision without findings: the request can not be judged, or its caller not be known.
    pub fn refused(reason: Reason, detail: Option<&'static str>) -> Decision {
        Decision { verdict: Verdict::Deny(reason), findings: Vec::new(), decisive: None, detail }
    }

    /// An allowing decision for what needs no agreement.
    pub fn ungated() -> Decision {
        Decision { verdict: Verdict::Allow, findings: Vec::new(), decisive: None, detail: None }
    }

    /// The verdict over findings in order of their rules: the first definite denial; else the first that somebody has to
    /// record, since no repetition changes it; else the first that may be known in a moment.
    pub(super) fn of(findings: Vec<Finding>) -> Decision {
        let decisive = findings
            .iter()
            .enumerate()
            .filter(|(_, finding)| finding.effect == Effect::Deny)
            .map(|(at, finding)| (at, finding.outcome.reason()))
            .min_by_key(|(_, reason)| match reason {
                Reason::AgreementUnknown => 2,
                Reason::AgreementUnrecorded => 1,
                _ => 0,
            });
        let verdict = decisive.map_or(Verdict::Allow, |(_, reason)| Verdict::Deny(reason));
        Decision { verdict, findings, decisive: decisive.map(|(at, _)| at), detail: None }
    }

    /// Whether the request goes on.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Every finding of a rule that applies, in order of the rules.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The finding that the verdict names.
    pub fn decisive(&self) -> Option<&Finding> {
        self.decisive.map(|at| &self.findings[at])
    }

    /// More about a refusal, in words that hold nothing of the request.
    pub fn detail(&self) -> Option<&'static str> {
        self.detail
    }

    /// The permit, if this decision allows. Taking it twice is taking two decisions: it consumes nothing else.
    pub fn permit(&self) -> Option<Permit> {
        (self.verdict == Verdict::Allow).then_some(Permit(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_definite_comes_first_then_what_has_to_be_recorded() {
        use Effect::{Deny, Notice, Pass, Shadow};
        const MISSING: Outcome = Outcome::Unmet(Reason::AgreementMissing);
        const OLD: Outcome = Outcome::Unmet(Reason::AgreementTooOld);
        const DOWN: Outcome = Outcome::Unknown(Failure::Source);
        const LATE: Outcome = Outcome::Unknown(Failure::Deadline);
        const NOBODY: Outcome = Outcome::Unknown(Failure::Unrecorded);
        const UNDATED: Outcome = Outcome::Unknown(Failure::Undated);
        let denied = |reason, at| (Verdict::Deny(reason), Some(at));
        let allowed = (Verdict::Allow, None);
        for (findings, expected) in [
            (vec![], allowed),
            (vec![(Outcome::Met, Pass), (NOBODY, Notice), (MISSING, Shadow), (DOWN, Pass)], allowed),
            (vec![(DOWN, Deny)], denied(Reason::AgreementUnknown, 0)),
            (vec![(DOWN, Deny), (LATE, Deny)], denied(Reason::AgreementUnknown, 0)),
            (vec![(DOWN, Deny), (NOBODY, Deny)], denied(Reason::AgreementUnrecorded, 1)),
            (vec![(NOBODY, Deny), (DOWN, Deny)], denied(Reason::AgreementUnrecorded, 0)),
            (vec![(UNDATED, Deny), (NOBODY, Deny)], denied(Reason::AgreementUnrecorded, 0)),
            (vec![(DOWN, Deny), (NOBODY, Deny), (MISSING, Deny)], denied(Reason::AgreementMissing, 2)),
            (vec![(OLD, Deny), (MISSING, Deny)], denied(Reason::AgreementTooOld, 0)),
            (vec![(MISSING, Shadow), (NOBODY, Pass), (LATE, Deny)], denied(Reason::AgreementUnknown, 2)),
        ] {
            let found = findings.iter().map(|&(outcome, effect)| Finding {
                rule: 0,
                need: None,
                fact: None,
                outcome,
                effect,
                lines: LineSet::NONE,
            });
            let decision = Decision::of(found.collect());
            assert_eq!((decision.verdict(), decision.decisive), expected, "{findings:?}");
        }
    }
}
