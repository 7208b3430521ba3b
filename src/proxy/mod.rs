//! The request path, top to bottom: route, caller, intake, plan, statuses, decision, record, answer.

mod caller;
mod data;
pub mod deny;
mod echoed;
mod enrich;
pub mod exchange;
mod faults;
pub mod forward;
pub mod forwarded;
mod guard;
pub mod headers;
pub mod ids;
pub mod intake;
pub mod keep_back;
pub mod messages;
pub mod orders;
mod passage;
pub mod peer;
pub mod pending;
pub mod snapshot;
mod tidings;
mod trace;
pub mod worker;

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, COOKIE, HeaderMap, HeaderValue, TRAILER};
use http::request::Parts;
use http::{Request as HttpRequest, Response, Version};
use hyper::body::{Body, Incoming};

use crate::agreements::Asking;
use crate::audit::writer::OnFailure;
use crate::client::Outgoing;
use crate::clock::Now;
use crate::extract::Refusal;
use crate::identity::Identified;
use crate::policy::Route;
use crate::policy::decision::{Decision, Permit};
use crate::policy::facts::{Facts, Request};
use crate::policy::operation::{Class, OperationId};
use crate::policy::path::Path;
use crate::policy::reason::Reason;
use crate::proxy::echoed::Echoed;
use crate::proxy::enrich::Ended;
use crate::proxy::exchange::{AnswerBody, Recorded, RunToEnd, Watching};
use crate::proxy::forwarded::Forwarded;
use crate::proxy::guard::{CatchUnwind, InFlight};
use crate::proxy::headers::{Added, Head, MS_REQUEST_ID, NOTICE};
use crate::proxy::passage::{Known, Passage};
use crate::proxy::peer::Peer;
use crate::proxy::tidings::Tidings;
use crate::proxy::worker::Worker;
use crate::server::Fault;

/// The first segment of the gateway's own paths; they are never forwarded.
const OWN_PATHS: &str = ".countersign";

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
        took_body: Cell::new(false),
        waits_since: Cell::new(None),
    };
    let has_body = !request.body().is_end_stream();
    let answer = CatchUnwind(pin!(passage.answer(request))).await;
    let answer = answer.unwrap_or_else(|()| {
        worker.shared.metrics.panics.inc();
        tracing::error!(decision = passage.id.as_str(), "a request panicked");
        let decision = Decision::refused(Reason::Internal, None);
        passage.deny(&HeaderMap::new(), &decision, Known::default())
    });
    let mut answer = answer.map(|body| body.counted(in_flight));
    if has_body && !passage.took_body.get() {
        // What is left of the body is not waited for, so nothing can follow it; the caller is to know.
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

impl Passage {
    async fn answer(&self, request: HttpRequest<Incoming>) -> Response<AnswerBody> {
        let (mut parts, body) = request.into_parts();
        let repeated_id = self.give_ids(&mut parts.headers);
        if let Some(refusal) = self.shed(&parts) {
            return self.refuse(&parts, refusal, Known::default());
        }
        let head = match headers::inspect(&parts, &self.snapshot.keep_back) {
            Ok(head) => head,
            Err(refusal) => return self.refuse(&parts, refusal, Known::default()),
        };
        let uri = parts.uri.clone();
        let known = Known { method: head.method.as_str(), path: uri.path(), ..Known::default() };
        let path = match Path::of_request(head.method, uri.path()) {
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
        if let (Route::Judge(_), Some(detail)) = (&route, repeated_id) {
            // Which of them it is recorded under, the upstream would not have to take for it.
            return self.refuse(&parts, Refusal { reason: Reason::AmbiguousRequest, detail }, known);
        }
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
                self.took_body.set(true);
                let request = Request::bare(operation, class);
                let known = Known { request: Some(&request), ..known };
                let outgoing = if head.method.is_read() {
                    Outgoing::Whole(Bytes::new())
                } else if self.teaches(operation) && intake::is_small(&body) {
                    match intake::read_small(body, &self.snapshot.limits, &self.worker, self.now).await {
                        Ok(bytes) => Outgoing::Whole(bytes),
                        Err(refusal) => return self.refuse(&parts, refusal, known),
                    }
                } else {
                    let snapshot = Rc::clone(&self.snapshot);
                    let strip = move |trailers: &mut HeaderMap| {
                        headers::strip_request_trailers(trailers, &snapshot.keep_back);
                    };
                    Outgoing::streamed(body, self.now.mono, Box::new(strip))
                };
                self.judge(parts, &head, outgoing, &request, &identified, known).await
            }
            Route::Judge(endpoint) => {
                self.took_body.set(true);
                let held = match intake::read_body(body, &self.snapshot.limits, &self.worker, self.now).await
                {
                    Ok(held) => held,
                    Err(refusal) => return self.refuse(&parts, refusal, known),
                };
                let headers = &mut parts.headers;
                let read =
                    self.read_judged(headers, endpoint, &path, uri.path(), &held.bytes, &identified).await;
                let request = match read {
                    Ok(request) => request,
                    Err(Ended::Refused(refusal)) => return self.refuse(&parts, refusal, known),
                    Err(Ended::Denied(denied)) => {
                        let (decision, request) = *denied;
                        let operation = Some(request.operation);
                        let known = Known { operation, request: Some(&request), ..known };
                        return self.deny(&parts.headers, &decision, known);
                    }
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
        let ceiling = self.worker.shared.requests_ceiling.load(Ordering::Relaxed);
        let most = self.snapshot.limits.requests_max.min(ceiling);
        let is_full = usize::try_from(in_flight).is_ok_and(|count| count > most);
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
        let (freshness, needs) = (&snapshot.freshness, plan.needs());
        let asker = Some(identified.caller.partner.tenant);
        let mut asking = Asking::new(&snapshot.sources, freshness, asker, now);
        if let Some(since) = self.waits_since.get() {
            asking.until = asking.until.min(since + freshness.deadline);
        }
        let at_hand = agreements.at_hand(&mut self.worker.near_facts.borrow_mut(), &asking, needs);
        let mut statuses = match at_hand {
            Some(statuses) => {
                self.worker.shared.metrics.lookup_hits.inc_by(needs.len() as u64);
                statuses
            }
            None => {
                let (statuses, counts) = agreements.look_up(&asking, needs).await;
                self.count(counts);
                statuses
            }
        };
        let mut decision = plan.decide(&statuses);
        // Before a denial rests on something old, it is asked once more: it may have been signed a moment ago.
        let recheck_after = freshness.recheck_after.try_into().unwrap_or(jiff::SignedDuration::MAX);
        let old = plan.old_grounds(&decision, &statuses, recheck_after, now.wall);
        if !old.is_empty() {
            self.worker.shared.metrics.rechecks.inc();
            agreements.look_again(&asking, needs, &old, &mut statuses).await;
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
        let mut echoed = Echoed::of(&parts.headers);
        if self.teaches(operation) {
            let id = self.taught_id(&parts, &body, known);
            parts.headers.insert(MS_REQUEST_ID, id);
            echoed.was_replaced = true;
        }
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
        let rests_on = match known.statuses {
            Some((needs, _)) if class.is_gated() => needs.iter().map(|need| need.key).collect(),
            _ => Vec::new(),
        };
        let caller = known.identified.map(|identified| &identified.caller);
        let tidings = Tidings::of(&self.snapshot, operation, (head.method, known.path), caller, rests_on);
        let learns = tidings.as_ref().is_some_and(|tidings| tidings.learns());
        if learns || (tidings.is_some() && parts.headers.contains_key(ACCEPT_ENCODING)) {
            // What is compressed tells nothing here.
            parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        let recorded = is_recorded.then(|| Recorded {
            id: self.id,
            since: decided,
            names_orders: class.is_gated() && class != Class::Draft,
        });
        let (worker, configuration) = (Rc::clone(&self.worker), Rc::clone(&self.snapshot));
        let exchange = async move {
            let watching = Watching { recorded, tidings };
            forward::forward(worker, &configuration.upstream, parts, body, decided, watching, permit, receipt)
                .await
        };
        let forwarded = match class.is_gated() || learns {
            // What is recorded as allowed runs to its end, whether or not its caller stays; so does what lifts a block.
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
                self.answer_denied(&echoed.into_received(), &refused, known)
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
}
