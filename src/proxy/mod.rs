//! The request path, top to bottom: route, caller, intake, plan, statuses, decision, record, answer.

pub mod deny;
mod echoed;
pub mod exchange;
mod faults;
pub mod forward;
pub mod forwarded;
mod guard;
pub mod headers;
pub mod ids;
pub mod intake;
pub mod messages;
pub mod orders;
pub mod peer;
pub mod pending;
pub mod snapshot;
pub mod worker;

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue, TRAILER};
use http::request::Parts;
use http::{Request as HttpRequest, Response, Version};
use hyper::body::Incoming;

use crate::agreements::LookupCounts;
use crate::audit::record::DecisionParts;
use crate::audit::writer::{NotRecorded, OnFailure, Receipt};
use crate::client::Outgoing;
use crate::clock::Now;
use crate::extract::{self, Refusal};
use crate::identity::ring::{Asked, Ring};
use crate::identity::tokens::{Generation, TokenLookup};
use crate::identity::{self, Identified, Unidentified};
use crate::policy::Route;
use crate::policy::agreement::Statuses;
use crate::policy::decision::{Decision, Effect, Need, Outcome, Permit, Verdict};
use crate::policy::facts::{Facts, Request};
use crate::policy::operation::{Class, OperationId};
use crate::policy::path::Path;
use crate::policy::reason::Reason;
use crate::proxy::deny::Denial;
use crate::proxy::echoed::Echoed;
use crate::proxy::exchange::{AnswerBody, Recorded, RunToEnd};
use crate::proxy::forwarded::Forwarded;
use crate::proxy::guard::{CatchUnwind, InFlight};
use crate::proxy::headers::{Added, Head, MS_CORRELATION_ID, MS_REQUEST_ID, NOTICE, TRACEPARENT};
use crate::proxy::ids::DecisionId;
use crate::proxy::peer::Peer;
use crate::proxy::worker::{InForce, Worker};
use crate::server::Fault;

/// The first segment of the gateway's own paths; they are never forwarded.
const OWN_PATHS: &str = ".countersign";

/// One request on its way through.
struct Passage {
    worker: Rc<Worker>,
    snapshot: Rc<InForce>,
    id: DecisionId,
    now: Now,
    peer: Rc<Peer>,
}

/// What is known when the decision is recorded.
#[derive(Clone, Copy, Default)]
struct Known<'a> {
    method: &'a str,
    path: &'a str,
    operation: Option<OperationId>,
    identified: Option<&'a Identified>,
    request: Option<&'a Request>,
    statuses: Option<(&'a [Need], &'a Statuses)>,
}

/// Answers one request. A panic in it answers 500 and costs no other request anything.
pub async fn handle(
    worker: Rc<Worker>,
    request: HttpRequest<Incoming>,
    peer: Rc<Peer>,
) -> Response<AnswerBody> {
    let in_flight = InFlight::new(&worker);
    let now = Now::read();
    let passage = Passage {
        snapshot: worker.snapshot(),
        id: worker.ids.decision(now.wall),
        worker: Rc::clone(&worker),
        now,
        peer,
    };
    let answer = CatchUnwind(pin!(passage.answer(request))).await;
    let answer = answer.unwrap_or_else(|()| {
        worker.shared.metrics.panics.inc();
        tracing::error!(decision = passage.id.as_str(), "a request panicked");
        let decision = Decision::refused(Reason::Internal, None);
        passage.deny(&HeaderMap::new(), &decision, Known::default())
    });
    answer.map(|body| body.counted(in_flight))
}

impl Passage {
    async fn answer(&self, request: HttpRequest<Incoming>) -> Response<AnswerBody> {
        let (mut parts, body) = request.into_parts();
        self.give_ids(&mut parts.headers);
        if let Some(refusal) = self.shed(&parts) {
            return self.refuse(&parts, refusal, Known::default());
        }
        let head = match headers::inspect(&parts) {
            Ok(head) => head,
            Err(refusal) => return self.refuse(&parts, refusal, Known::default()),
        };
        let uri = parts.uri.clone();
        let known = Known { method: head.method.as_str(), path: uri.path(), ..Known::default() };
        let path = match Path::parse(uri.path()) {
            Ok(path) => path,
            Err(why) => {
                let refusal = Refusal { reason: Reason::AmbiguousPath, detail: why.0 };
                return self.refuse(&parts, refusal, known);
            }
        };
        let is_own = !path.is_empty() && path.segment(0).eq_ignore_ascii_case(OWN_PATHS);
        let route = match is_own {
            true => Route::Stream(OperationId::OWN, Class::Read),
            false => self.snapshot.policy.route(head.method, &path),
        };
        let known = Known { operation: Some(route.operation()), ..known };
        if matches!(route, Route::Bare) {
            return self.forward_bare(parts, &head, known).await;
        }
        let identified = match self.identify(&parts.headers).await {
            Ok(identified) => identified,
            Err((reason, detail)) => {
                let decision = Decision::refused(reason, detail);
                return self.deny(&parts.headers, &decision, known);
            }
        };
        let known = Known { identified: Some(&identified), ..known };
        match route {
            Route::Deny(_, reason) => self.deny(&parts.headers, &Decision::refused(reason, None), known),
            Route::Stream(OperationId::OWN, _) => {
                self.answer_own(&parts, &head, &path, &identified, known).await
            }
            Route::Stream(operation, class) => {
                let request = extract::streamed_request(operation, class);
                let known = Known { request: Some(&request), ..known };
                let outgoing = match head.method.is_read() {
                    true => Outgoing::Whole(Bytes::new()),
                    false => Outgoing::streamed(body, self.now.mono, headers::strip_trailers),
                };
                self.judge(parts, &head, outgoing, &request, &identified, known).await
            }
            Route::Judge(endpoint) => {
                let held = match intake::read_body(body, &self.snapshot.limits, &self.worker, self.now).await
                {
                    Ok(held) => held,
                    Err(refusal) => return self.refuse(&parts, refusal, known),
                };
                let checked = match held.bytes.is_empty() {
                    true => Ok(()),
                    false => intake::check_media_type(&parts.headers),
                };
                let read = checked.and_then(|()| {
                    extract::read_request(&self.snapshot.policy, endpoint, &path, &held.bytes)
                });
                let request = match read {
                    Ok(request) => request,
                    Err(refusal) => return self.refuse(&parts, refusal, known),
                };
                let known = Known { operation: Some(request.operation), request: Some(&request), ..known };
                let outgoing = Outgoing::Whole(held.bytes.clone());
                self.judge(parts, &head, outgoing, &request, &identified, known).await
            }
            Route::Bare => unreachable!("it was forwarded above"),
        }
    }

    /// What can be refused before anything of a request is read: a fault of its connection, or too many requests.
    fn shed(&self, parts: &Parts) -> Option<Refusal> {
        if let Some(fault) = parts.extensions.get::<Fault>() {
            return Some(faults::refusal(*fault));
        }
        let in_flight = self.worker.shared.metrics.requests_in_flight.get();
        let is_full = usize::try_from(in_flight).is_ok_and(|count| count > self.snapshot.limits.requests_max);
        is_full.then_some(Refusal {
            reason: Reason::Overloaded,
            detail: "more requests are being answered than `limits.requests`",
        })
    }

    /// Plans, looks up, decides, records, and forwards or denies.
    async fn judge(
        &self,
        parts: Parts,
        head: &Head,
        body: Outgoing,
        request: &Request,
        identified: &Identified,
        known: Known<'_>,
    ) -> Response<AnswerBody> {
        let snapshot = &*self.snapshot;
        let facts = Facts { caller: &identified.caller, request, at: self.now.wall };
        let plan = match snapshot.policy.plan(facts) {
            Ok(plan) => plan,
            Err(reason) => {
                let refusal = Refusal { reason, detail: "the request names more than 64 parties" };
                return self.refuse(&parts, refusal, known);
            }
        };
        if let Some(decision) = plan.decide_roles() {
            return self.deny(&parts.headers, &decision, known);
        }
        let agreements = &self.worker.shared.agreements;
        // The body may have taken its time: what is known is asked as of now, and waited for from now.
        let now = Now::read();
        let (sources, freshness, needs) = (&snapshot.sources, &snapshot.freshness, plan.needs());
        let at_hand =
            agreements.at_hand(&mut self.worker.near_facts.borrow_mut(), sources, freshness, needs, now);
        let mut statuses = match at_hand {
            Some(statuses) => {
                self.worker.shared.metrics.lookup_hits.inc_by(needs.len() as u64);
                statuses
            }
            None => {
                let (statuses, counts) = agreements.look_up(sources, freshness, needs, now).await;
                self.count(counts);
                statuses
            }
        };
        let mut decision = plan.decide(&statuses);
        // Before a denial rests on something old, it is asked once more: it may have been signed a moment ago.
        let recheck_after = freshness.recheck_after.try_into().unwrap_or(jiff::SignedDuration::MAX);
        let old = plan.old_unmet(&decision, recheck_after);
        if !old.is_empty() {
            self.worker.shared.metrics.rechecks.inc();
            agreements.look_again(sources, freshness, needs, &old, now, &mut statuses).await;
            decision = plan.decide(&statuses);
        }
        let known = Known { statuses: Some((needs, &statuses)), ..known };
        match decision.permit() {
            None => self.deny(&parts.headers, &decision, known),
            Some(permit) => self.forward(parts, head, body, &decision, permit, known).await,
        }
    }

    async fn forward(
        &self,
        mut parts: Parts,
        head: &Head,
        body: Outgoing,
        decision: &Decision,
        permit: Permit,
        known: Known<'_>,
    ) -> Response<AnswerBody> {
        let snapshot = &*self.snapshot;
        let class = known.request.map_or(Class::Read, |request| request.class);
        let is_recorded = class != Class::Read || snapshot.audit.reads;
        let receipt = match is_recorded {
            false => self.worker.lane.borrow().unrecorded(),
            true => match self.record(&parts.headers, decision, known) {
                Ok(receipt) => receipt,
                Err(_) if class.is_gated() && snapshot.audit.on_failure == OnFailure::Deny => {
                    let refused = Decision::refused(Reason::AuditUnavailable, None);
                    return self.answer_denied(&parts.headers, &refused, known);
                }
                Err(not_recorded) => self.worker.lane.borrow().waive(not_recorded),
            },
        };
        self.count_findings(decision);
        let operation = known.operation.unwrap_or(OperationId::UNKNOWN);
        snapshot.allowed[operation.index()].inc();
        let decided = Instant::now();
        self.worker.shared.metrics.decided(decided - self.now.mono);

        let notice = self.notice(&parts.headers, decision, known);
        let echoed = Echoed::of(&parts.headers);
        let identity = known.identified.map(|identified| self.identity_headers(identified));
        let decision_id = is_recorded.then(|| self.id.header());
        let forwarded = Forwarded::of(&parts, &self.peer, &snapshot.trusted);
        let added = Added { forwarded, identity, decision: decision_id.clone() };
        headers::prepare(&mut parts.headers, head, added);
        if parts.version == Version::HTTP_2 {
            headers::join_cookies(&mut parts.headers);
        }
        if matches!(body, Outgoing::Whole(_)) {
            // The trailers of a judged body were not judged and stay behind.
            parts.headers.remove(TRAILER);
        }
        if !snapshot.forward_authorization {
            parts.headers.remove(AUTHORIZATION);
        }
        let recorded = is_recorded.then(|| Recorded {
            id: self.id,
            since: decided,
            names_orders: class.is_gated() && class != Class::Draft,
        });
        let (worker, configuration) = (Rc::clone(&self.worker), Rc::clone(&self.snapshot));
        let exchange = async move {
            forward::forward(worker, &configuration.upstream, parts, body, decided, recorded, permit, receipt)
                .await
        };
        let forwarded = match class.is_gated() {
            // What is recorded as allowed runs to its end, whether or not its caller stays.
            true => RunToEnd::new(&self.worker, exchange).await,
            false => exchange.await,
        };
        match forwarded {
            Ok(mut response) => {
                echoed.add(response.headers_mut());
                if let Some(id) = decision_id {
                    response.headers_mut().insert(headers::DECISION, id);
                }
                if let Some(notice) = notice {
                    response.headers_mut().insert(NOTICE, notice);
                }
                response
            }
            Err(reason) => {
                let refused = Decision::refused(reason, None);
                let mut received = HeaderMap::new();
                echoed.add(&mut received);
                self.answer_denied(&received, &refused, known)
            }
        }
    }

    /// OPTIONS, where the operator lets it through: without a caller, and without anything that proves one.
    async fn forward_bare(&self, mut parts: Parts, head: &Head, known: Known<'_>) -> Response<AnswerBody> {
        for name in [AUTHORIZATION, COOKIE] {
            parts.headers.remove(name);
        }
        let decision = Decision::ungated();
        match decision.permit() {
            Some(permit) => {
                self.forward(parts, head, Outgoing::Whole(Bytes::new()), &decision, permit, known).await
            }
            None => self.deny(&parts.headers, &decision, known),
        }
    }

    async fn answer_own(
        &self,
        parts: &Parts,
        head: &Head,
        path: &Path<'_>,
        identified: &Identified,
        known: Known<'_>,
    ) -> Response<AnswerBody> {
        let is_pending = path.len() == 2 && path.segment(1).eq_ignore_ascii_case("pending");
        if !is_pending {
            return self.deny(&parts.headers, &Decision::refused(Reason::NotFound, None), known);
        }
        if !head.method.is_read() {
            return self.deny(&parts.headers, &Decision::refused(Reason::MethodRefused, None), known);
        }
        self.snapshot.allowed[OperationId::OWN.index()].inc();
        let shared = &self.worker.shared;
        pending::answer(shared, &self.snapshot, identified, &parts.headers, self.now).await
    }

    /// Who sent it. Only a key that its issuer may have published since is waited for.
    async fn identify(&self, headers: &HeaderMap) -> Result<Identified, (Reason, Option<&'static str>)> {
        let token = match headers::bearer(headers) {
            Ok(Some(token)) => token,
            Ok(None) => return Err((Reason::TokenMissing, None)),
            Err(refusal) => return Err((refusal.reason, Some(refusal.detail))),
        };
        let (identified, lookup) = self.identify_now(token);
        let metrics = &self.worker.shared.metrics;
        match lookup {
            TokenLookup::Hit => metrics.tokens_cached.inc(),
            TokenLookup::Miss => metrics.tokens_verified.inc(),
        }
        match identified {
            Ok(identified) => Ok(identified),
            Err(Unidentified::Denied(reason, detail)) => Err((reason, detail)),
            // On the heap: few requests have to wait for a key.
            Err(Unidentified::KeyUnknown(rings)) => Box::pin(self.identify_with_new_keys(token, rings)).await,
        }
    }

    /// Asks the issuers for keys that a token names and nobody knows yet.
    async fn identify_with_new_keys(
        &self,
        token: &str,
        rings: Vec<Arc<Ring>>,
    ) -> Result<Identified, (Reason, Option<&'static str>)> {
        let asked: Vec<_> = rings.iter().map(|ring| ring.ask()).collect();
        let mut is_fresh = true;
        for asked in asked {
            is_fresh &= asked.await == Asked::Fetched;
        }
        // Whatever came of it: another request's fetch may have brought the key meanwhile.
        match (self.identify_now(token).0, is_fresh) {
            (Ok(identified), _) => Ok(identified),
            (Err(Unidentified::Denied(reason, detail)), _) => Err((reason, detail)),
            (Err(Unidentified::KeyUnknown(_)), true) => {
                Err((Reason::TokenInvalid, Some("the token's key is not known")))
            }
            (Err(Unidentified::KeyUnknown(_)), false) => Err((Reason::KeysUnavailable, None)),
        }
    }

    fn identify_now(&self, token: &str) -> (Result<Identified, Unidentified>, TokenLookup) {
        let snapshot = &*self.snapshot;
        let shared = &self.worker.shared;
        // Read before the keys: what an older set proved must not pass for the work of a newer one.
        let generation = Generation { configuration: snapshot.generation, keys: shared.keys.generation() };
        identity::identify(
            &snapshot.verifier,
            &snapshot.partners,
            &shared.tokens,
            &mut self.worker.near_tokens.borrow_mut(),
            generation,
            token,
            self.now,
        )
    }

    /// Every request has the ids that Partner Center and tracing use; those that it lacks are made here.
    fn give_ids(&self, headers: &mut HeaderMap) {
        for name in [MS_REQUEST_ID, MS_CORRELATION_ID] {
            if !headers.contains_key(&name) {
                let guid = self.worker.ids.guid();
                headers.insert(name, HeaderValue::from_str(guid.as_str()).expect("a GUID is plain text"));
            }
        }
        if !headers.contains_key(TRACEPARENT) {
            headers.insert(TRACEPARENT, self.worker.ids.traceparent());
        }
    }

    /// The verified partner and roles, as headers. Callers send many requests in a row: those of the last one are kept.
    fn identity_headers(&self, identified: &Identified) -> (HeaderValue, HeaderValue) {
        let key = (identified.caller.partner.tenant, identified.caller.roles, self.snapshot.generation);
        let mut last = self.worker.last_identity.borrow_mut();
        match &*last {
            Some((known, partner, roles)) if *known == key => (partner.clone(), roles.clone()),
            _ => {
                let roles: Vec<&str> = self.snapshot.policy.roles.of(key.1).collect();
                let partner = HeaderValue::from_str(key.0.text().as_str()).expect("a GUID is plain text");
                let roles = HeaderValue::from_str(&roles.join(",")).unwrap_or(HeaderValue::from_static(""));
                *last = Some((key, partner.clone(), roles.clone()));
                (partner, roles)
            }
        }
    }

    fn record(
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
        };
        self.worker.lane.borrow_mut().decision(&parts)
    }

    fn refuse(&self, parts: &Parts, refusal: Refusal, known: Known<'_>) -> Response<AnswerBody> {
        let decision = Decision::refused(refusal.reason, Some(refusal.detail));
        self.deny(&parts.headers, &decision, known)
    }

    /// Records a denial and answers it. One that can not be recorded is still a denial.
    fn deny(&self, received: &HeaderMap, decision: &Decision, known: Known<'_>) -> Response<AnswerBody> {
        let _ = self.record(received, decision, known);
        self.count_findings(decision);
        self.answer_denied(received, decision, known)
    }

    fn answer_denied(
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
            request: known.request,
            needs: known.statuses.map_or(&[], |(needs, _)| needs),
            language: self.snapshot.catalogue.choose(received),
        }
    }

    fn notice(&self, received: &HeaderMap, decision: &Decision, known: Known<'_>) -> Option<HeaderValue> {
        let told = decision.findings().iter().any(|finding| finding.effect == Effect::Notice);
        told.then(|| deny::notice(&self.denial(received, decision, known))).flatten()
    }

    fn count(&self, counts: LookupCounts) {
        let metrics = &self.worker.shared.metrics;
        metrics.lookup_hits.inc_by(counts.hits.into());
        metrics.lookup_misses.inc_by(counts.misses.into());
    }

    fn count_findings(&self, decision: &Decision) {
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
