//! Tidings: what an answer of the upstream tells of agreements, on its way to the caller.

use std::rc::Rc;

use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use serde_json::Value;

use crate::agreements::Asking;
use crate::agreements::learnt::Teacher;
use crate::agreements::partner_center::answers::{code, member};
use crate::clock::Now;
use crate::extract::moment::accepted_at;
use crate::extract::strict::{self, Names};
use crate::mark::skip_mark;
use crate::policy::agreement::{Key, Party, Scope, Status};
use crate::policy::endpoint::CustomerAt;
use crate::policy::facts::Caller;
use crate::policy::id::Guid;
use crate::policy::learning::{By, Learning, Told};
use crate::policy::operation::{Method, OperationId};
use crate::policy::path::Path;
use crate::policy::pattern::{Pattern, Step};
use crate::proxy::worker::{InForce, Worker};

/// What to look for in an answer, and whose it is.
pub struct Tidings {
    snapshot: Rc<InForce>,
    /// What the operation's answers tell, and of whom.
    learning: Option<(OperationId, Key)>,
    /// What the upstream may contradict.
    rests_on: Vec<Key>,
}

impl Tidings {
    /// What the answer to an operation may tell, if anything. `rests_on` are the keys that its verdict rests on.
    pub fn of(
        snapshot: &Rc<InForce>,
        operation: OperationId,
        (method, path): (Method, &str),
        caller: Option<&Caller>,
        rests_on: Vec<Key>,
    ) -> Option<Box<Tidings>> {
        let learning = snapshot.policy.learning[operation.index()].as_ref();
        let learning = learning.zip(caller).and_then(|(learning, caller)| {
            let billing = &caller.billing;
            let party = Party::Customer(customer(learning, method, path)?);
            let scope = Scope::Billing(billing.tenant);
            Some((operation, Key { cloud: billing.cloud, agreement: learning.agreement, party, scope }))
        });
        if learning.is_none() && rests_on.is_empty() {
            return None;
        }
        Some(Box::new(Tidings { snapshot: Rc::clone(snapshot), learning, rests_on }))
    }

    /// Whether the operation's answers tell of an acceptance.
    pub fn learns(&self) -> bool {
        self.learning.is_some()
    }

    /// Whether an answer of that head has to be read. What is compressed is not: the upstream was asked not to.
    pub fn wants(&self, status: u16, headers: &HeaderMap) -> bool {
        let is_plain = headers.get(CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity");
        let tells = match status {
            200..=299 => self.learns() || !self.rests_on.is_empty(),
            403 => !self.rests_on.is_empty(),
            _ => false,
        };
        is_plain && tells
    }

    /// Takes what a whole answer tells.
    pub fn take(&self, worker: &Worker, status: u16, body: &[u8]) {
        if let Some((operation, key)) = self.learning {
            // What says two things of one member tells of no acceptance.
            let answer = strict::value(skip_mark(body), Names::AnyCase).unwrap_or(Value::Null);
            self.learn(worker, operation, key, status, &answer);
        }
        // Most answers to a purchase name no error at all.
        let names_none = !self.learns() && status != 403 && memchr::memmem::find(body, b"rrors").is_none();
        if self.rests_on.is_empty() || names_none {
            return;
        }
        let answer: Value = serde_json::from_slice(skip_mark(body)).unwrap_or(Value::Null);
        let refusal = (status == 403).then(|| code(&answer)).flatten();
        let mut codes: Vec<u64> = refusal.into_iter().chain(errors_within(&answer)).collect();
        codes.sort_unstable();
        codes.dedup();
        for code in codes {
            self.doubt(worker, code);
        }
    }

    /// An acceptance that the answer tells of counts at once; one that it may tell of is asked for.
    fn learn(&self, worker: &Worker, operation: OperationId, key: Key, status: u16, answer: &Value) {
        let snapshot = &*self.snapshot;
        let Some(learning) = &snapshot.policy.learning[operation.index()] else { return };
        let now = Now::read();
        let accepted = (status == learning.status).then(|| accepted(learning, answer, now)).flatten();
        let agreements = &worker.shared.agreements;
        let asking = Asking::new(&snapshot.sources, &snapshot.freshness, None, now);
        let learnt = accepted.is_some_and(|(status, found)| {
            let operation = &snapshot.policy.operations[operation.index()].name;
            let teacher = Teacher::of(&snapshot.sources.upstream, operation, learning, &found);
            agreements.learn(&asking, key, learning.by, status, teacher)
        });
        match learning.by {
            _ if learnt => worker.shared.metrics.learnt(key.agreement.as_str()),
            By::Attestation => {
                agreements.hint(key, now.wall, now);
            }
            // That a customer has not accepted directly says nothing of attestations.
            By::Direct => {}
        }
    }

    /// The upstream misses an agreement that was held for accepted.
    fn doubt(&self, worker: &Worker, code: u64) {
        let snapshot = &*self.snapshot;
        let is_doubted = |key: &&Key| {
            let mut agreements = snapshot.policy.agreements.iter();
            agreements.any(|info| info.name == key.agreement && info.is_doubted_by(code, key.party.kind()))
        };
        for key in self.rests_on.iter().filter(is_doubted) {
            if !worker.shared.agreements.doubt(&snapshot.freshness, *key, Now::read()) {
                continue;
            }
            worker.shared.metrics.drifted(key.agreement.as_str());
            let (agreement, party) = (key.agreement, key.party.kind().as_str());
            tracing::warn!(%agreement, party, code, "the upstream misses an agreement that was known to be accepted");
        }
    }
}

/// The customer that a path names.
fn customer(learning: &Learning, method: Method, path: &str) -> Option<Guid> {
    let CustomerAt::Segment(at) = learning.customer else { return None };
    let path = Path::of_request(method, path).ok()?;
    Guid::parse(path.segment(at))
}

/// The acceptance that an answer tells of, if it is of the right kind and not of the future, and the values that say so.
fn accepted<'l>(learning: &'l Learning, answer: &Value, now: Now) -> Option<(Status, Vec<&'l Told>)> {
    let is = |told: &Told, found: &Value| match (told, found) {
        (Told::Text(wanted), Value::String(text)) => wanted.eq_ignore_ascii_case(text),
        (Told::Flag(wanted), Value::Bool(flag)) => wanted == flag,
        _ => false,
    };
    let told = |(place, values): &'l (Pattern, Vec<Told>)| {
        let found = at(answer, place)?;
        values.iter().find(|told| is(told, found))
    };
    let told: Vec<&Told> = learning.when.iter().map(told).collect::<Option<_>>()?;
    let status = match &learning.date {
        None => Some(Status::UNDATED),
        Some(place) => {
            let date = accepted_at(at(answer, place)?.as_str()?, now.wall).ok()?;
            Some(Status::accepted(date.earliest()))
        }
    };
    Some((status?, told))
}

/// The one value at a place of plain members.
fn at<'a>(answer: &'a Value, place: &Pattern) -> Option<&'a Value> {
    place.steps.iter().try_fold(answer, |value, step| match step {
        Step::Member(name) => member(value, name),
        Step::Each => None,
    })
}

/// The codes of what failed inside an answer that went well: a checkout may place some orders and not others.
fn errors_within(answer: &Value) -> Vec<u64> {
    let lists =
        ["orderErrors", "transferErrors"].into_iter().filter_map(|name| member(answer, name)?.as_array());
    lists.flatten().filter_map(code).collect()
}
