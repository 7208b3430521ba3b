//! Standing: Partner Center's word on resellers that may be named on orders, asked for many of them at a time.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::agreements::partner_center::answers::{member, number, object};
use crate::agreements::partner_center::ask::id_headers;
use crate::fetch::Answer;
use crate::policy::agreement::{Failure, Status};
use crate::policy::id::{Guid, MpnId};
use crate::random::random;
use crate::remote::breaker::Breaker;
use crate::remote::client::{Asked, Remote};
use crate::remote::guard::Leave;
use crate::remote::reading::{Unanswered, Unusable};

/// The most resellers of one question.
const BATCH_MAX: usize = 50;
/// The most resellers that wait for theirs.
const WAITING_MAX: usize = 2_000;
/// The wait of the first one for others: the look-ups of one order begin one after the other.
const GATHER: Duration = Duration::from_millis(5);
/// The most callers whose share is tried for one question: every one that may wait for it.
const ASKERS_MAX: usize = BATCH_MAX;
/// Partner Center's code for a partner that may not be named on orders ("Validate a reseller partner of record").
const NOT_VALID: u64 = 900_400;

/// The resellers that are asked about, one question at a time.
#[derive(Debug)]
pub struct Standings {
    remote: Arc<Remote>,
    /// Beside the server's own: a resource of its own, whose failures must not keep the agreements from being asked for.
    breaker: Breaker,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    is_under_way: bool,
}

/// One that waits for the answer about a reseller.
#[derive(Debug)]
struct Waiting {
    reseller: MpnId,
    asker: Option<Guid>,
    /// Until when it waits for its turn.
    until: Instant,
    told: oneshot::Sender<Result<Status, Failure>>,
}

/// Standings by reseller. A reseller without a clear result is left out.
type Told = HashMap<MpnId, Status>;

impl Standings {
    /// Nobody was asked about yet.
    pub fn new(remote: Arc<Remote>) -> Standings {
        let breaker = Breaker::new(remote.settings.limits.failures_max, random);
        Standings { remote, breaker, queue: Mutex::default() }
    }

    /// Asks about one reseller, together with all that wait when the question leaves: once the one under way has come back,
    /// or after a moment where none is. Dropping the future withdraws nothing from the others.
    pub async fn ask(
        self: &Arc<Self>,
        reseller: MpnId,
        asker: Option<Guid>,
        patience: Duration,
    ) -> Result<Status, Failure> {
        let (told, answer) = oneshot::channel();
        let is_first = {
            let mut queue = self.queue();
            if queue.waiting.len() >= WAITING_MAX {
                return Err(Failure::Throttled);
            }
            queue.waiting.push(Waiting { reseller, asker, until: Instant::now() + patience, told });
            !std::mem::replace(&mut queue.is_under_way, true)
        };
        if is_first {
            tokio::spawn(Run { standings: Arc::clone(self), is_over: false }.run());
        }
        answer.await.unwrap_or(Err(Failure::Source))
    }

    /// The next batch; `None`, with nothing under way any more, where nobody waits.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut queue = self.queue();
        let mut resellers: Vec<MpnId> = Vec::new();
        let fits = |waiting: &Waiting| {
            let is_known = resellers.contains(&waiting.reseller);
            let fits = is_known || resellers.len() < BATCH_MAX;
            if fits && !is_known {
                resellers.push(waiting.reseller);
            }
            fits
        };
        let (batch, rest): (Vec<Waiting>, _) = std::mem::take(&mut queue.waiting).into_iter().partition(fits);
        queue.waiting = rest;
        queue.is_under_way = !batch.is_empty();
        queue.is_under_way.then_some(batch)
    }

    async fn settle(&self, batch: Vec<Waiting>) {
        let told = self.ask_all(&batch).await;
        for waiting in batch {
            let said = match &told {
                Ok(told) => told.get(&waiting.reseller).copied().ok_or(Failure::Source),
                Err(failure) => Err(*failure),
            };
            // Whoever waited may be gone.
            let _ = waiting.told.send(said);
        }
    }

    async fn ask_all(&self, batch: &[Waiting]) -> Result<Told, Failure> {
        let pass = self.breaker.admit(Instant::now()).map_err(|_| Failure::Unavailable)?;
        let mut resellers: Vec<MpnId> = batch.iter().map(|waiting| waiting.reseller).collect();
        resellers.sort_unstable();
        resellers.dedup();
        let answered = self.exchange(batch, &resellers).await;
        let ok = match &answered {
            Err(Unanswered::Failed(failure)) if failure.is_own() => {
                self.breaker.withdraw(&pass);
                return Err(*failure);
            }
            Err(Unanswered::Failed(_) | Unanswered::Unusable(Unusable::Broken(_))) => false,
            Ok(_) | Err(Unanswered::Unusable(Unusable::Silent(_))) => true,
        };
        let mut about = DefaultHasher::new();
        resellers.hash(&mut about);
        self.breaker.note(&pass, Instant::now(), about.finish(), ok);
        answered.map_err(Unanswered::failure)
    }

    async fn exchange(&self, batch: &[Waiting], resellers: &[MpnId]) -> Result<Told, Unanswered> {
        let now = Instant::now();
        let patience = batch.iter().map(|waiting| waiting.until.saturating_duration_since(now)).max();
        let patience = patience.unwrap_or_default();
        let (asker, leave) = self.leave(batch, patience).await?;
        let ids: Vec<String> = resellers.iter().map(MpnId::to_string).collect();
        let asked = Asked {
            target: "/v1/partners/validateresellers".to_owned(),
            headers: id_headers(None)?,
            body: Some(Bytes::from(json!({ "partnerIds": ids }).to_string())),
            is_apart: true,
            asker,
            patience,
            leave: Some(leave),
        };
        let read = |answer: &Answer| standings(answer.status.as_u16(), &answer.body, resellers);
        self.remote.ask(&asked, read).await
    }

    /// One place of the budget for all: that of the first caller whose share has one.
    async fn leave(&self, batch: &[Waiting], patience: Duration) -> Result<(Option<Guid>, Leave), Failure> {
        let mut askers: Vec<Option<Guid>> = Vec::new();
        for asker in batch.iter().map(|waiting| waiting.asker).filter(Option::is_some) {
            if askers.len() < ASKERS_MAX && !askers.contains(&asker) {
                askers.push(asker);
            }
        }
        if askers.is_empty() {
            askers.push(None);
        }
        for asker in askers {
            match self.remote.enter(asker, 1, patience).await {
                Err(Failure::Throttled) => {}
                entered => return entered.map(|leave| (asker, leave)),
            }
        }
        Err(Failure::Throttled)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that asks as long as somebody waits.
struct Run {
    standings: Arc<Standings>,
    is_over: bool,
}

impl Run {
    async fn run(mut self) {
        tokio::time::sleep(GATHER).await;
        while let Some(batch) = self.standings.next() {
            self.standings.settle(batch).await;
        }
        self.is_over = true;
    }
}

impl Drop for Run {
    /// A task that ends before its time leaves nobody waiting, and the next one begins another.
    fn drop(&mut self) {
        if !self.is_over {
            *self.standings.queue() = Queue::default();
        }
    }
}

/// Reads the standing of these resellers (Partner Center, "Validate a reseller partner of record").
fn standings(status: u16, body: &[u8], asked: &[MpnId]) -> Result<Told, Unusable> {
    if status != 200 {
        return Err(Unusable::Silent("its status is not 200"));
    }
    let body = object(body)?;
    let Some(Value::Array(results)) = member(&body, "validationResults") else {
        return Err(Unusable::Broken("it holds no list"));
    };
    // `None` for one of whom it says two things, or nothing that is known.
    let mut told: HashMap<MpnId, Option<Status>> = HashMap::new();
    for result in results {
        let Some(id) = member(result, "partnerId").and_then(partner_id).filter(|id| asked.contains(id))
        else {
            continue;
        };
        let says = standing(result);
        told.entry(id).and_modify(|said| *said = said.filter(|said| Some(*said) == says)).or_insert(says);
    }
    let told: Told = told.into_iter().filter_map(|(id, said)| Some((id, said?))).collect();
    match told.is_empty() {
        true => Err(Unusable::Silent("it says nothing of any partner that was asked about")),
        false => Ok(told),
    }
}

fn standing(result: &Value) -> Option<Status> {
    match member(result, "isValidPartnerIdOnRecord")? {
        Value::Bool(true) => Some(Status::UNDATED),
        Value::Bool(false) if number(result, "errorCode") == Some(NOT_VALID) => Some(Status::MISSING),
        _ => None,
    }
}

fn partner_id(value: &Value) -> Option<MpnId> {
    match value {
        Value::String(text) => MpnId::parse(text),
        Value::Number(number) => MpnId::from_number(number.as_u64()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_definite_or_nothing() {
        let valid = Some(Status::UNDATED);
        let invalid = Some(Status::MISSING);
        let yes = json!({ "partnerId": "12345", "isValidPartnerIdOnRecord": true });
        let no = json!({ "partnerId": "12345", "isValidPartnerIdOnRecord": false, "errorCode": 900_400 });
        for (results, expected) in [
            (json!([yes]), valid),
            (json!([no]), invalid),
            (json!([{ "PartnerId": 12345, "IsValidPartnerIdOnRecord": true }]), valid),
            (
                json!([{ "partnerId": 12345, "isValidPartnerIdOnRecord": false, "errorCode": "900400" }]),
                invalid,
            ),
            (
                json!([{ "partnerId": "12345", "isValidPartnerIdOnRecord": false, "errorCode": 900_401 }]),
                None,
            ),
            (json!([{ "partnerId": "12345", "isValidPartnerIdOnRecord": false }]), None),
            (json!([{ "partnerId": "12345", "isValidPartnerIdOnRecord": "true" }]), None),
            (json!([{ "partnerId": "12345" }]), None),
            (json!([{ "partnerId": "012345", "isValidPartnerIdOnRecord": true }]), None),
            (json!([{ "isValidPartnerIdOnRecord": true }]), None),
            (json!(["12345", null, 7]), None),
            (json!([yes, yes]), valid),
            (json!([no, no]), invalid),
            (json!([yes, no]), None),
            (json!([no, yes]), None),
            (json!([yes, no, yes]), None),
            (json!([yes, { "partnerId": "12345" }]), None),
            (json!([]), None),
        ] {
            let other = json!({ "partnerId": "67890", "isValidPartnerIdOnRecord": true });
            let mut all = results.as_array().unwrap().clone();
            all.push(other);
            let body = json!({ "validationResults": all }).to_string();
            let asked = [MpnId::parse("12345").unwrap(), MpnId::parse("67890").unwrap()];
            let told = standings(200, body.as_bytes(), &asked).unwrap();
            assert_eq!(told.get(&asked[0]).copied(), expected, "{results}");
            assert_eq!(told.get(&asked[1]).copied(), valid, "{results}");
        }
    }

    #[test]
    fn an_answer_that_says_nothing_of_anybody_is_unusable() {
        let asked = [MpnId::parse("12345").unwrap()];
        let yes = r#"{"validationResults":[{"partnerId":"12345","isValidPartnerIdOnRecord":true}]}"#;
        assert!(standings(200, yes.as_bytes(), &asked).is_ok());
        for (status, body) in [
            (400, yes),
            (201, yes),
            (200, ""),
            (200, "[]"),
            (200, "{}"),
            (200, r#"{"validationResults":{}}"#),
            (200, r#"{"validationResults":[]}"#),
            (
                200,
                r#"{"validationResults":[
                    {"partnerId":"12345","isValidPartnerIdOnRecord":false,"IsValidPartnerIdOnRecord":true}]}"#,
            ),
            (200, r#"{"validationResults":[{"partnerId":"67890","isValidPartnerIdOnRecord":true}]}"#),
        ] {
            assert!(standings(status, body.as_bytes(), &asked).is_err(), "{status} {body}");
        }
    }
}
