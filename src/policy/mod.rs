//! The decision core: pure functions from facts and statuses to a decision.

pub mod agreement;
pub mod condition;
pub mod decision;
pub mod facts;
pub mod id;
pub mod operation;
pub mod path;
pub mod pattern;
pub mod product;
pub mod reason;
pub mod role;
pub mod rule;

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::policy::agreement::{
    Agreement, Answer, Demand, Failure, Key, PartnerIds, Party, PartyKind, Scope, Status, Statuses,
    named_enum,
};
use crate::policy::condition::Truth;
use crate::policy::decision::{Decision, Effect, Finding, LineSet, NEEDS_MAX, Need, Outcome};
use crate::policy::facts::{Caller, Facts, Product};
use crate::policy::id::{Guid, MpnId, PartnerRef};
use crate::policy::operation::{Class, Endpoint, Method, Operation, OperationId, Router};
use crate::policy::path::Path;
use crate::policy::pattern::Pattern;
use crate::policy::product::Products;
use crate::policy::reason::Reason;
use crate::policy::role::NameTable;
use crate::policy::rule::{Mode, OnUnknown, Phase, Requirement, Rule, Undated, Waived, Waiver};

/// How long before its end a waiver is announced to its callers.
const WAIVER_NOTICE: SignedDuration = SignedDuration::from_hours(14 * 24);

named_enum! {
    /// What a write that no operation lists is (`policy.unlisted`).
    Unlisted {
        /// Below a customer's path a purchase of an unknown product, elsewhere denied.
        Purchase = "purchase",
        /// Denied.
        Deny = "deny",
        /// Forwarded.
        Allow = "allow",
    }
}

named_enum! {
    /// What OPTIONS is (`policy.options`).
    Options {
        /// Refused.
        Deny = "deny",
        /// Forwarded without token, body or credentials.
        Allow = "allow",
    }
}

/// What stands behind an agreement's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgreementInfo {
    /// The name.
    pub name: Agreement,
    /// The fault code of a denial, where a rule gives none.
    pub code: u32,
    /// Where it is accepted.
    pub action: Option<String>,
}

/// All operations and rules of one configuration, compiled.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Every operation; [`OperationId`] is the index.
    pub operations: Vec<Operation>,
    /// Every endpoint.
    pub endpoints: Vec<Endpoint>,
    /// From method and path to an endpoint.
    pub router: Router,
    /// Product classes.
    pub products: Products,
    /// Where resellers are named, whatever the operation.
    pub reseller_members: Vec<Pattern>,
    /// Top-level members that repeat the customer of the path.
    pub customer_members: Vec<String>,
    /// Every rule, in the order in which a verdict names them.
    pub rules: Vec<Rule>,
    /// For each operation, the rules that may apply to it.
    pub rules_of: Vec<Vec<usize>>,
    /// Exceptions.
    pub waivers: Vec<Waiver>,
    /// What an unlisted write is.
    pub unlisted: Unlisted,
    /// What OPTIONS is.
    pub options: Options,
    /// Whether nothing is denied for its rules.
    pub shadow: bool,
    /// Role names.
    pub roles: NameTable,
    /// Label names.
    pub labels: NameTable,
    /// The agreements that rules may name.
    pub agreements: Vec<AgreementInfo>,
    /// The tenants of listed partners by their MPN ids.
    pub tenants: HashMap<MpnId, Guid>,
    /// The MPN ids of listed partners by their tenants.
    pub mpn_ids: HashMap<Guid, MpnId>,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub enum Route<'p> {
    /// Its body is read and judged.
    Judge(&'p Endpoint),
    /// It is forwarded as it comes, once its caller is known.
    Stream(OperationId, Class),
    /// OPTIONS that is forwarded without a caller, a body or credentials.
    Bare,
    /// It is denied whatever it holds.
    Deny(OperationId, Reason),
}

impl Route<'_> {
    /// The operation, as far as method and path tell.
    pub fn operation(&self) -> OperationId {
        match self {
            Route::Judge(endpoint) => endpoint.operation,
            Route::Stream(operation, _) | Route::Deny(operation, _) => *operation,
            Route::Bare => OperationId::OPTIONS,
        }
    }
}

impl Policy {
    /// Which operation a request may be, and whether it is judged, from its method and path alone.
    pub fn route(&self, method: Method, path: &Path<'_>) -> Route<'_> {
        if method == Method::Options {
            return match self.options {
                Options::Allow => Route::Bare,
                Options::Deny => Route::Deny(OperationId::OPTIONS, Reason::MethodRefused),
            };
        }
        // A batch holds other requests, which nobody here would read (OData 4.01 part 1, section 11.7).
        let is_batch = (0..path.len()).any(|at| path.segment(at).eq_ignore_ascii_case("$batch"));
        if is_batch && !method.is_read() && !self.shadow {
            return Route::Deny(OperationId::UNLISTED, Reason::UnlistedOperation);
        }
        let listed = self.router.find(method, path).map(|at| &self.endpoints[at]);
        if let Some(endpoint) = listed {
            return match endpoint.is_judged() {
                true => Route::Judge(endpoint),
                false => Route::Stream(endpoint.operation, endpoint.class),
            };
        }
        if method.is_read() {
            return Route::Stream(OperationId::READ, Class::Read);
        }
        let below_customer = self.router.find_customer_path(path).map(|at| &self.endpoints[at]);
        match (self.unlisted, below_customer) {
            (Unlisted::Allow, _) => Route::Stream(OperationId::UNLISTED, Class::Administration),
            // In shadow mode nothing is blocked for being unlisted, nor for a body that can not be read.
            _ if self.shadow => Route::Stream(OperationId::UNLISTED, Class::Administration),
            (Unlisted::Purchase, Some(endpoint)) => Route::Judge(endpoint),
            _ => Route::Deny(OperationId::UNLISTED, Reason::UnlistedOperation),
        }
    }

    /// A reseller named in a request, as the party it is, with all ids that are known of it. Who names itself or its
    /// provider is that very partner.
    fn reseller(&self, caller: &Caller, id: PartnerRef) -> Party {
        if caller.billing.is(id) {
            return Party::Partner(caller.billing.ids());
        }
        if caller.partner.is(id) {
            return Party::Reseller(caller.partner.ids());
        }
        let known = PartnerIds::from(id);
        let tenant = known.tenant.or_else(|| self.tenants.get(&known.mpn?).copied());
        let mpn = known.mpn.or_else(|| self.mpn_ids.get(&known.tenant?).copied());
        Party::Reseller(PartnerIds { tenant, mpn })
    }

    /// What rules ask of the dates of acceptances, at whatever time.
    pub fn demands(&self) -> Vec<(Agreement, PartyKind, Demand)> {
        let mut demands: Vec<(Agreement, PartyKind, Demand)> = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.mode != Mode::Off) {
            let Some(requirement) = &rule.requires else { continue };
            let since = requirement.accepted_since;
            let dated = since.is_some() && requirement.undated == Undated::Unknown;
            let demand = Demand { since, dated };
            let same = |of: &&mut (Agreement, PartyKind, Demand)| {
                (of.0, of.1) == (requirement.agreement, requirement.of)
            };
            match demands.iter_mut().find(same) {
                Some((.., known)) => *known = known.and(demand),
                None => demands.push((requirement.agreement, requirement.of, demand)),
            }
        }
        demands
    }

    /// The rules that apply to a request and the statuses a decision on it needs.
    pub fn plan<'a>(&'a self, facts: Facts<'a>) -> Result<Plan<'a>, Reason> {
        let request = facts.request;
        let candidates = &self.rules_of[request.operation.index()];
        let mut plan = Plan {
            policy: self,
            facts,
            applicable: Vec::with_capacity(candidates.len()),
            needs: Vec::with_capacity(4),
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
    need: Option<usize>,
    lines: LineSet,
}

/// A classified request: the rules that apply to it and the statuses they need.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    policy: &'a Policy,
    facts: Facts<'a>,
    applicable: Vec<Applicable>,
    needs: Vec<Need>,
}

impl<'a> Plan<'a> {
    /// The statuses that a decision needs, without repetition.
    pub fn needs(&self) -> &[Need] {
        &self.needs
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
            self.applicable.push(Applicable { rule: at, phase, need: None, lines });
        }
        let Some(requirement) = &rule.requires else { return Ok(()) };
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
        (!lines.is_empty()).then_some(lines)
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
        let same = self.applicable.iter_mut().find(|known| known.rule == rule && known.need == Some(need));
        match same {
            Some(known) => known.lines = known.lines.union(lines),
            None => self.applicable.push(Applicable { rule, phase, need: Some(need), lines }),
        }
        Ok(())
    }

    /// The decision, where a missing role settles it before any status is known.
    pub fn decide_roles(&self) -> Option<Decision> {
        let denied = self.applicable.iter().any(|applicable| {
            applicable.need.is_none()
                && matches!(self.finding(applicable, None), Finding { effect: Effect::Deny, .. })
        });
        denied.then(|| {
            let findings = self.applicable.iter().filter(|applicable| applicable.need.is_none());
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
        let answer = applicable.need.and_then(|need| Some(statuses?.answers[need]));
        let stale_max = statuses.map_or(SignedDuration::ZERO, |statuses| statuses.stale_max);
        let outcome = match (&rule.requires, applicable.need, answer) {
            (Some(requirement), Some(_), Some(answer)) => self.judge(requirement, answer, stale_max),
            (_, Some(_), _) => Outcome::Unknown(Failure::NotAsked),
            (_, None, _) => {
                let holds = rule.roles.is_none_or(|roles| self.facts.caller.roles.meets(roles));
                if holds { Outcome::Met } else { Outcome::Unmet(Reason::RoleMissing) }
            }
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
            (Outcome::Unknown(_), Phase::Announced) => Effect::Pass,
            (Outcome::Unknown(failure), Phase::Enforced)
                if rule.on_unknown == OnUnknown::Allow && !last_unmet && !failure.is_own() =>
            {
                Effect::Pass
            }
            (_, Phase::Enforced) => Effect::Deny,
        };
        Finding {
            rule: applicable.rule,
            need: applicable.need,
            fact: answer.and_then(|answer| answer.last),
            outcome,
            effect,
            lines: applicable.lines,
        }
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
        let party = applicable.need.map(|need| self.needs[need].key.party);
        let spares = |waiver: &&Waiver| {
            let fits = match (waiver.party, party) {
                (Waived::Partner(tenant), None) => tenant == caller.partner.tenant,
                (Waived::Partner(tenant), Some(Party::Partner(ids))) => ids.tenant == Some(tenant),
                (Waived::Reseller(id), Some(Party::Reseller(ids))) => names(ids, id),
                (Waived::Customer { customer, partner }, Some(Party::Customer(named))) => {
                    customer == named && partner == caller.billing.tenant
                }
                _ => false,
            };
            fits && waiver.rule == applicable.rule && self.facts.at < waiver.until
        };
        self.policy.waivers.iter().filter(spares).map(|waiver| waiver.until).max()
    }

    /// The unmet facts older than `age_max` that a denial rests on, as indexes of needs: look again before denying.
    pub fn old_unmet(&self, decision: &Decision, age_max: SignedDuration) -> Vec<usize> {
        let mut needs: Vec<usize> = Vec::new();
        for finding in decision.findings() {
            let old = finding.fact.is_some_and(|fact| self.facts.at.duration_since(fact.asked_at) > age_max);
            if finding.effect == Effect::Deny && matches!(finding.outcome, Outcome::Unmet(_)) && old {
                needs.extend(finding.need.filter(|need| !needs.contains(need)));
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

fn names(ids: PartnerIds, id: PartnerRef) -> bool {
    match id {
        PartnerRef::Tenant(tenant) => ids.tenant == Some(tenant),
        PartnerRef::Mpn(mpn) => ids.mpn == Some(mpn),
    }
}
