//! Plans: the rules that apply to one request, what they need, and what they decide.

use jiff::{SignedDuration, Timestamp};

use crate::policy::agreement::{Answer, Failure, Key, Party, PartyKind, Scope, Status, Statuses};
use crate::policy::compiled::{Drafts, Policy, UnreadResellers};
use crate::policy::condition::Truth;
use crate::policy::decision::{Decision, Effect, Finding, LineSet, NEEDS_MAX, Need, Outcome};
use crate::policy::facts::{Facts, Product};
use crate::policy::operation::Class;
use crate::policy::reason::Reason;
use crate::policy::rule::{OnUnknown, Phase, Requirement, Rule, Undated, Waived, Waiver};

/// How long before its end a waiver is announced to its callers.
const WAIVER_NOTICE: SignedDuration = SignedDuration::from_hours(14 * 24);

impl Policy {
    /// The rules that apply to a request and the statuses a decision on it needs.
    pub fn plan<'a>(&'a self, facts: Facts<'a>) -> Result<Plan<'a>, Reason> {
        let request = facts.request;
        if let Some(unreadable) = request.refused() {
            return Err(unreadable.reason);
        }
        let candidates = &self.rules_of[request.operation.index()];
        let mut plan = Plan {
            policy: self,
            facts,
            applicable: Vec::with_capacity(candidates.len()),
            needs: Vec::with_capacity(4),
            may_deny: false,
        };
        for &rule in candidates {
            plan.apply(rule)?;
        }
        Ok(plan)
    }
}

/// A rule that applies to a request, for one party.
#[derive(Clone, Copy, Debug)]
struct Applicable {
    rule: usize,
    phase: Phase,
    about: About,
    lines: LineSet,
}

/// What a rule asks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// The caller's roles.
    Roles,
    /// A status, by its number.
    Need(usize),
    /// Whoever else a resource names that could not be read.
    Unread(Failure),
}

impl About {
    fn need(self) -> Option<usize> {
        match self {
            About::Need(need) => Some(need),
            About::Roles | About::Unread(_) => None,
        }
    }
}

/// A classified request: the rules that apply to it and the statuses they need.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    policy: &'a Policy,
    facts: Facts<'a>,
    applicable: Vec<Applicable>,
    needs: Vec<Need>,
    may_deny: bool,
}

impl<'a> Plan<'a> {
    /// The statuses that a decision needs, without repetition.
    pub fn needs(&self) -> &[Need] {
        &self.needs
    }

    /// Whether an agreement can deny the request or put a notice on it, whoever else it turns out to name.
    pub fn may_deny(&self) -> bool {
        self.may_deny
    }

    fn apply(&mut self, at: usize) -> Result<(), Reason> {
        let rule = &self.policy.rules[at];
        let phase = rule.phase(self.facts.at);
        if phase == Phase::Dormant {
            return Ok(());
        }
        let Some(lines) = self.lines_of(rule) else { return Ok(()) };
        // A role is asked of the caller whatever the agreement's party, and whether or not there is one.
        if rule.roles.is_some() {
            self.applicable.push(Applicable { rule: at, phase, about: About::Roles, lines });
        }
        let Some(requirement) = &rule.requires else { return Ok(()) };
        self.may_deny |= matches!(phase, Phase::Enforced | Phase::Announced);
        let facts = self.facts;
        let caller = facts.caller;
        match requirement.of {
            PartyKind::Partner => {
                self.need(at, phase, requirement, Party::Partner(caller.billing.ids()), lines)
            }
            PartyKind::Customer => match facts.request.customer {
                Some(customer) => self.need(at, phase, requirement, Party::Customer(customer), lines),
                None => Ok(()),
            },
            PartyKind::Reseller => {
                if let Some(failure) = facts.request.resellers_unread() {
                    let about = About::Unread(failure);
                    self.applicable.push(Applicable { rule: at, phase, about, lines });
                } else if facts.request.resellers_never_read()
                    && self.policy.unread_resellers != UnreadResellers::Allow
                {
                    let about = About::Unread(Failure::Unread);
                    self.applicable.push(Applicable { rule: at, phase, about, lines });
                }
                if caller.is_reseller() {
                    self.need(at, phase, requirement, Party::Reseller(caller.partner.ids()), lines)?;
                }
                for named in &facts.request.resellers {
                    let about = match named.line {
                        None => lines,
                        Some(line) => {
                            let mut only = LineSet::NONE;
                            only.insert(usize::from(line));
                            only.intersection(lines)
                        }
                    };
                    // A rule that asks for a product leaves out the resellers of other lines.
                    if named.line.is_some() && about.is_empty() {
                        continue;
                    }
                    self.need(at, phase, requirement, self.policy.reseller(caller, named.id), about)?;
                }
                Ok(())
            }
        }
    }

    /// The lines a rule applies to, `None` where it does not apply at all.
    fn lines_of(&self, rule: &Rule) -> Option<LineSet> {
        let request = self.facts.request;
        if request.lines.is_empty() || !rule.when.asks_products() {
            let applies = rule.when.holds(&self.facts, &Product::Unknown) != Truth::False;
            return applies.then(|| LineSet::first(request.lines.len()));
        }
        let mut lines = LineSet::NONE;
        for (at, line) in request.lines.iter().enumerate() {
            if rule.when.holds(&self.facts, &line.product) != Truth::False {
                lines.insert(at);
            }
        }
        // An unread resource may hold any product beside the lines.
        let may_be_more =
            request.may_hold_more() && rule.when.holds(&self.facts, &Product::Unknown) != Truth::False;
        (may_be_more || !lines.is_empty()).then_some(lines)
    }

    fn need(
        &mut self,
        rule: usize,
        phase: Phase,
        requirement: &Requirement,
        party: Party,
        lines: LineSet,
    ) -> Result<(), Reason> {
        let billing = &self.facts.caller.billing;
        let scope = match party {
            Party::Customer(_) => Scope::Billing(billing.tenant),
            Party::Partner(_) | Party::Reseller(_) => billing.region.map_or(Scope::None, Scope::Region),
        };
        let key = Key { cloud: billing.cloud, agreement: requirement.agreement, party, scope };
        let decides = matches!(phase, Phase::Enforced | Phase::Announced);
        let need = match self.needs.iter().position(|need| need.key == key) {
            Some(at) => {
                self.needs[at].decides |= decides;
                at
            }
            None if decides && self.needs.iter().filter(|need| need.decides).count() >= NEEDS_MAX => {
                return Err(Reason::TooManyLines);
            }
            // What only shadow rules want to know must not stop a request: beyond the bound it is not told.
            None if !decides && self.needs.len() >= NEEDS_MAX => return Ok(()),
            None => {
                self.needs.push(Need { key, decides });
                self.needs.len() - 1
            }
        };
        // One finding for each rule and party: lines that name the same reseller are told together.
        let same =
            self.applicable.iter_mut().find(|known| known.rule == rule && known.about == About::Need(need));
        match same {
            Some(known) => known.lines = known.lines.union(lines),
            None => self.applicable.push(Applicable { rule, phase, about: About::Need(need), lines }),
        }
        Ok(())
    }

    /// The decision, where a missing role settles it before any status is known.
    pub fn decide_roles(&self) -> Option<Decision> {
        let denied = self.applicable.iter().any(|applicable| {
            applicable.about == About::Roles
                && matches!(self.finding(applicable, None), Finding { effect: Effect::Deny, .. })
        });
        denied.then(|| {
            let findings = self.applicable.iter().filter(|applicable| applicable.about == About::Roles);
            Decision::of(findings.map(|applicable| self.finding(applicable, None)).collect())
        })
    }

    /// The decision on these statuses, which stand in the order of [`needs`](Plan::needs).
    pub fn decide(&self, statuses: &Statuses) -> Decision {
        assert_eq!(statuses.answers.len(), self.needs.len(), "one answer for each need");
        Decision::of(
            self.applicable.iter().map(|applicable| self.finding(applicable, Some(statuses))).collect(),
        )
    }

    fn finding(&self, applicable: &Applicable, statuses: Option<&Statuses>) -> Finding {
        let rule = &self.policy.rules[applicable.rule];
        let need = applicable.about.need();
        let answer = need.and_then(|need| Some(statuses?.answers[need]));
        let stale_max = statuses.map_or(SignedDuration::ZERO, |statuses| statuses.stale_max);
        let outcome = match (&rule.requires, applicable.about, answer) {
            (Some(requirement), About::Need(_), Some(answer)) => self.judge(requirement, answer, stale_max),
            (_, About::Need(_), _) => Outcome::Unknown(Failure::NotAsked),
            (_, About::Unread(failure), _) => Outcome::Unknown(failure),
            (_, About::Roles, _) => {
                let holds = rule.roles.is_none_or(|roles| self.facts.caller.roles.meets(roles));
                if holds { Outcome::Met } else { Outcome::Unmet(Reason::RoleMissing) }
            }
        };
        let outcome = match (outcome, self.facts.request.class_unread()) {
            // It may be that nothing is asked for which the agreement is needed: that is no denial, but not knowing.
            (Outcome::Unmet(_) | Outcome::Unknown(Failure::Unrecorded | Failure::Undated), Some(failure))
                if need.is_some() =>
            {
                Outcome::Unknown(failure)
            }
            _ => outcome,
        };
        let outcome = match outcome {
            Outcome::Unmet(_) | Outcome::Unknown(_) => {
                self.waived(applicable).map_or(outcome, Outcome::Waived)
            }
            _ => outcome,
        };
        let last_unmet = answer
            .and_then(|answer| answer.last)
            .zip(rule.requires.as_ref())
            .is_some_and(|(fact, requirement)| matches!(meets(requirement, fact.status), Outcome::Unmet(_)));
        let effect = match (outcome, applicable.phase) {
            (Outcome::Met, _) | (_, Phase::Dormant) => Effect::Pass,
            (Outcome::Waived(until), Phase::Enforced | Phase::Announced) => {
                let ends_soon = until.duration_since(self.facts.at) <= WAIVER_NOTICE;
                if ends_soon { Effect::Notice } else { Effect::Pass }
            }
            (_, Phase::Shadow) => Effect::Shadow,
            (Outcome::Unmet(_), Phase::Announced) => Effect::Notice,
            (_, Phase::Enforced) if self.is_lenient_draft() && applicable.about != About::Roles => {
                Effect::Notice
            }
            (Outcome::Unknown(_), Phase::Announced) => Effect::Pass,
            (Outcome::Unknown(Failure::Unread), Phase::Enforced)
                if self.policy.unread_resellers == UnreadResellers::Notice =>
            {
                Effect::Notice
            }
            (Outcome::Unknown(failure), Phase::Enforced)
                if rule.on_unknown == OnUnknown::Allow && !last_unmet && !failure.is_own() =>
            {
                Effect::Pass
            }
            (_, Phase::Enforced) => Effect::Deny,
        };
        Finding {
            rule: applicable.rule,
            need,
            fact: answer.and_then(|answer| answer.last),
            outcome,
            effect,
            lines: applicable.lines,
        }
    }

    /// Whether the request is a draft that passes with a notice.
    fn is_lenient_draft(&self) -> bool {
        self.facts.request.class == Class::Draft && self.policy.drafts == Drafts::Notice
    }

    /// What an answer means to a requirement. Only here do age and failure become "unknown".
    fn judge(&self, requirement: &Requirement, answer: Answer, stale_max: SignedDuration) -> Outcome {
        let Some(failure) = answer.failure else {
            return answer
                .last
                .map_or(Outcome::Unknown(Failure::Source), |fact| meets(requirement, fact.status));
        };
        // While nothing newer can be learnt, an old acceptance serves for a while; an old "no" is no answer.
        let serves = answer.last.filter(|fact| self.facts.at.duration_since(fact.asked_at) <= stale_max);
        match serves.map(|fact| (fact.status, meets(requirement, fact.status))) {
            Some((Status::Accepted { .. }, Outcome::Met)) => Outcome::Met,
            _ => Outcome::Unknown(failure),
        }
    }

    /// Until when the rule is waived for the party of a finding.
    fn waived(&self, applicable: &Applicable) -> Option<Timestamp> {
        let caller = self.facts.caller;
        let party = applicable.about.need().map(|need| self.needs[need].key.party);
        if matches!(applicable.about, About::Unread(_)) {
            return None;
        }
        let spares = |waiver: &&Waiver| {
            let fits = match (waiver.party, party) {
                (Waived::Partner(tenant), None) => tenant == caller.partner.tenant,
                (Waived::Partner(tenant), Some(Party::Partner(ids))) => ids.tenant == Some(tenant),
                (Waived::Reseller(id), Some(Party::Reseller(ids))) => ids.include(id),
                (Waived::Customer { customer, partner }, Some(Party::Customer(named))) => {
                    customer == named && partner == caller.billing.tenant
                }
                _ => false,
            };
            fits && waiver.rule == applicable.rule && self.facts.at < waiver.until
        };
        self.policy.waivers.iter().filter(spares).map(|waiver| waiver.until).max()
    }

    /// The needs whose facts a denial rests on and are older than `age_max` by now: look again before denying. They are unmet,
    /// or lack what a rule asks for. What could not be learnt was asked for a moment ago.
    pub fn old_grounds(
        &self,
        decision: &Decision,
        statuses: &Statuses,
        age_max: SignedDuration,
        now: Timestamp,
    ) -> Vec<usize> {
        let mut needs: Vec<usize> = Vec::new();
        for finding in decision.findings().iter().filter(|finding| finding.effect == Effect::Deny) {
            let Some(need) = finding.need.filter(|need| !needs.contains(need)) else { continue };
            let Answer { last, failure } = statuses.answers[need];
            let is_old = last.is_some_and(|fact| now.duration_since(fact.asked_at) > age_max);
            if is_old && failure.is_none() {
                needs.push(need);
            }
        }
        needs
    }
}

/// What a definite status means to a requirement.
fn meets(requirement: &Requirement, status: Status) -> Outcome {
    let (at, undated) = match status {
        Status::NotApplicable => return Outcome::Met,
        Status::Missing(_) => return Outcome::Unmet(Reason::AgreementMissing),
        Status::Accepted { at, undated } => (at, undated),
    };
    let Some(since) = requirement.accepted_since else { return Outcome::Met };
    match (at.is_some_and(|at| at >= since), undated, requirement.undated) {
        (true, ..) | (_, true, Undated::Accept) => Outcome::Met,
        (_, true, Undated::Unknown) => Outcome::Unknown(Failure::Undated),
        (_, false, _) => Outcome::Unmet(Reason::AgreementTooOld),
    }
}
