//! One request on its way through, and what is recorded, counted and told of it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use http::Response;
use http::header::{HeaderMap, HeaderValue};
use http::request::Parts;

use crate::agreements::LookupCounts;
use crate::audit::record::DecisionParts;
use crate::audit::writer::{NotRecorded, Receipt};
use crate::clock::Now;
use crate::extract::Refusal;
use crate::identity::Identified;
use crate::policy::agreement::Statuses;
use crate::policy::decision::{Decision, Effect, Need, Outcome, Verdict};
use crate::policy::facts::Request;
use crate::policy::operation::OperationId;
use crate::proxy::deny::{self, Denial};
use crate::proxy::exchange::AnswerBody;
use crate::proxy::forwarded;
use crate::proxy::headers::{self, MS_CORRELATION_ID, MS_REQUEST_ID};
use crate::proxy::ids::DecisionId;
use crate::proxy::peer::Peer;
use crate::proxy::worker::{InForce, Worker};

/// One request on its way through.
pub struct Passage {
    /// Whose it is.
    pub worker: Rc<Worker>,
    /// The configuration that it is judged by.
    pub snapshot: Rc<InForce>,
    /// Its decision's id.
    pub id: DecisionId,
    /// When it came.
    pub now: Now,
    /// Where it came from.
    pub peer: Rc<Peer>,
    /// Whether its body is read, by whomever.
    pub took_body: Cell<bool>,
    /// Since when it has waited for other servers to know what to decide.
    pub waits_since: Cell<Option<Instant>>,
}

/// What is known when the decision is recorded.
#[derive(Clone, Copy, Default)]
pub struct Known<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its path, without the query.
    pub path: &'a str,
    /// What it does.
    pub operation: Option<OperationId>,
    /// Who sent it.
    pub identified: Option<&'a Identified>,
    /// What it says.
    pub request: Option<&'a Request>,
    /// What it needs, and what is known of that.
    pub statuses: Option<(&'a [Need], &'a Statuses)>,
}

impl Passage {
    /// Records a decision.
    pub fn record(
        &self,
        received: &HeaderMap,
        decision: &Decision,
        known: Known<'_>,
    ) -> Result<Receipt, NotRecorded> {
        let snapshot = &*self.snapshot;
        let operation = known.operation.unwrap_or(OperationId::UNKNOWN);
        let parts = DecisionParts {
            id: self.id.as_str(),
            revision: &snapshot.revision,
            policy: &snapshot.policy,
            decision,
            caller: known.identified.map(|identified| &identified.caller),
            oid: known.identified.and_then(|identified| identified.claims.oid.as_deref()),
            appid: known.identified.and_then(|identified| identified.claims.appid.as_deref()),
            address: forwarded::origin(received, &self.peer, &snapshot.trusted),
            ms_request_id: headers::text(received, &MS_REQUEST_ID),
            ms_correlation_id: headers::text(received, &MS_CORRELATION_ID),
            method: known.method,
            path: known.path,
            operation: &snapshot.policy.operations[operation.index()].name,
            request: known.request,
            statuses: known.statuses,
            at: self.now.wall,
            duration_us: self.now.mono.elapsed().as_micros() as u64,
            found: &|| self.found(received, decision, known),
        };
        self.worker.lane.borrow_mut().decision(&parts)
    }

    /// Refuses what can not be read or served.
    pub fn refuse(&self, parts: &Parts, refusal: Refusal, known: Known<'_>) -> Response<AnswerBody> {
        let decision = Decision::refused(refusal.reason, Some(refusal.detail));
        self.deny(&parts.headers, &decision, known)
    }

    /// Records a denial and answers it. One that can not be recorded is still a denial.
    pub fn deny(&self, received: &HeaderMap, decision: &Decision, known: Known<'_>) -> Response<AnswerBody> {
        let _ = self.record(received, decision, known);
        self.count_findings(decision);
        self.answer_denied(received, decision, known)
    }

    /// Answers a denial that is recorded already, or can not be.
    pub fn answer_denied(
        &self,
        received: &HeaderMap,
        decision: &Decision,
        known: Known<'_>,
    ) -> Response<AnswerBody> {
        let snapshot = &*self.snapshot;
        let operation = known.operation.unwrap_or(OperationId::UNKNOWN);
        if let Verdict::Deny(reason) = decision.verdict() {
            let name = &snapshot.policy.operations[operation.index()].name;
            self.worker.shared.metrics.denied(name, reason.as_str());
        }
        self.worker.shared.metrics.decided(self.now.mono.elapsed());
        deny::answer(&self.denial(received, decision, known), received)
    }

    fn denial<'a>(&'a self, received: &HeaderMap, decision: &'a Decision, known: Known<'a>) -> Denial<'a> {
        Denial {
            policy: &self.snapshot.policy,
            decision,
            id: self.id.as_str(),
            caller: known.identified.map(|identified| &identified.caller),
            method: known.method,
            roles_left_out: known.identified.is_some_and(|identified| identified.claims.roles.is_incomplete),
            request: known.request,
            needs: known.statuses.map_or(&[], |(needs, _)| needs),
            language: self.snapshot.catalogue.choose(received),
            at: self.now.wall,
        }
    }

    /// What the caller is told: of rules that will be enforced, and of what the request does beside.
    pub fn notice(&self, received: &HeaderMap, decision: &Decision, known: Known<'_>) -> Option<HeaderValue> {
        let notice = known.request.and_then(|request| request.notice);
        if let Some(notice) = notice {
            self.worker.shared.metrics.noticed(notice.as_str());
        }
        let by_rules = decision.findings().iter().any(|finding| finding.effect == Effect::Notice);
        let told = notice.is_some() || by_rules;
        told.then(|| deny::notice(&self.denial(received, decision, known))).flatten()
    }

    /// Counts where statuses came from.
    pub fn count(&self, counts: LookupCounts) {
        let metrics = &self.worker.shared.metrics;
        metrics.lookup_hits.inc_by(counts.hits.into());
        metrics.lookup_misses.inc_by(counts.misses.into());
    }

    /// Counts what rules found.
    pub fn count_findings(&self, decision: &Decision) {
        for finding in decision.findings() {
            let name = match (finding.outcome, finding.effect) {
                (Outcome::Met, _) => continue,
                (Outcome::Waived(_), _) => "waived",
                (_, effect) => effect.as_str(),
            };
            self.worker.shared.metrics.finding(&self.snapshot.policy.rules[finding.rule].name, name);
        }
    }
}
