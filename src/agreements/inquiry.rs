//! Inquiry: one question on its flight, from what is kept over the sources to what is kept then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::agreements::cache::{FactCache, Freshness, Kept, LEARNED, Settings, fallback};
use crate::agreements::source::{Reply, Settled, Sources};
use crate::clock::Now;
use crate::extract::moment::is_future;
use crate::policy::agreement::{Answer, Fact, Failure, Key, Party, Scope};
use crate::policy::id::Guid;

/// The longest that a question waits for its turn: what one caller waits for, others wait behind.
const PATIENCE_MAX: Duration = Duration::from_secs(5);

/// What would do for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// One that is fresh: a source that costs something to ask need not repeat what it has said.
    Fresh,
    /// One that is given now.
    Anew,
}

/// A question on its way.
pub struct Inquiry {
    /// The sources.
    pub sources: Arc<Sources>,
    /// How long they are believed.
    pub settings: Settings,
    /// Where answers are kept.
    pub cache: FactCache,
    /// Counts questions.
    pub asked: Arc<AtomicU64>,
    /// Where what stands.
    pub key: Key,
    /// The generation of the sources.
    pub generation: u64,
    /// The caller's tenant; `None` for what is done beside requests.
    pub asker: Option<Guid>,
    /// When it is asked.
    pub now: Now,
    /// What would do.
    pub wanted: Wanted,
}

impl Inquiry {
    /// Asks, unless what is kept suffices, and keeps the answer.
    pub async fn fly(self, suffices: impl Fn(&Kept) -> bool) -> Kept {
        let before = self.cache.get(&self.key);
        if let Some(kept) = before.filter(suffices) {
            return kept;
        }
        let shared = self.everyones(before.as_ref());
        let kept = match shared.filter(|shared| shared.generation == self.generation) {
            Some(shared) => shared,
            None => {
                self.asked.fetch_add(1, Ordering::Relaxed);
                let holds = |kept: &Kept| {
                    let by_age = kept.by_age(&self.settings, self.now);
                    self.wanted == Wanted::Fresh && kept.doubted.is_none() && by_age != Freshness::Hard
                };
                // Of other sources than now: these are asked again, but not for what one that is remote would repeat.
                let held = shared.or(before.filter(holds));
                // Half of it: an answer has to come before whoever asked gives up.
                let patience = (self.settings.deadline / 2).min(PATIENCE_MAX);
                let reply = self.sources.ask(&self.key, self.asker, patience, held.as_ref()).await;
                // As it is now: it may have been doubted meanwhile.
                let shared = shared.and_then(|_| self.everyones(before.as_ref()));
                self.conclude(reply, held, newer(self.cache.get(&self.key), shared))
            }
        };
        let doubt_settled = match before {
            Some(before) if before.doubted.is_some() && kept.answer.failure.is_none() => Some(self.now.mono),
            before => before.and_then(|before| before.doubt_settled),
        };
        let kept = Kept { doubt_settled, ..kept };
        if self.is_kept(&kept) {
            self.cache.put(self.key, kept);
        }
        // What was learnt meanwhile is newer.
        let newest =
            self.cache.get(&self.key).filter(|newest| newest.asked > kept.asked && newest.doubted.is_none());
        newest.unwrap_or(kept)
    }

    /// Whether an answer is kept. A failure is only beside what it stands in for, so that names nobody has drive out
    /// nothing; where an acceptance still answers by itself, it goes on doing so; and that one caller may not ask is no
    /// matter of others.
    fn is_kept(&self, kept: &Kept) -> bool {
        let Some(failure) = kept.answer.failure else { return true };
        if failure == Failure::Unrecorded {
            // It has to end what was known before; else the next request may as well ask again.
            return self.cache.get(&self.key).is_some();
        }
        let still_answers = |known: Kept| {
            let holds = known.doubted.is_none() && known.by_age(&self.settings, self.now) != Freshness::Hard;
            holds && known.fact().is_some_and(|fact| fact.status.is_accepted())
        };
        !failure.is_own()
            && kept.answer.last.is_some()
            && !self.cache.get(&self.key).is_some_and(still_answers)
    }

    /// What makes the reply an answer. `held` is what stood for a source, `known` what is kept now.
    fn conclude(&self, reply: Reply, held: Option<Kept>, known: Option<Kept>) -> Kept {
        let standing = known.filter(|known| self.sources.stands(known, &self.key));
        let known_fact = known.filter(|known| known.doubted.is_none()).and_then(|known| known.answer.last);
        let (answer, epoch) = match (reply.settled, reply.failure) {
            (Some(settled), _) if settled.by.reused && reply.failure.is_none() => {
                // As old as it was.
                let held = held.expect("what was said before is held");
                return Kept { generation: self.generation, doubted: None, ..held };
            }
            (Some(settled), failure) => match since_learnt(known_fact, &settled, self.now) {
                Some(fact) => self.still_learnt(fact),
                None => {
                    let fact = self.fact(&settled);
                    // An acceptance that was known may be the one that could not be asked for; it is no younger for it.
                    let known = failure.and(standing).filter(|known| self.may_still_hold(known));
                    let (fact, epoch) = match known.and_then(|known| Some((known.answer.last?, known.epoch)))
                    {
                        Some((known, epoch)) => {
                            (Fact { status: known.status.merged(fact.status), ..known }, epoch)
                        }
                        None => (fact, settled.by.epoch),
                    };
                    (Answer { last: Some(fact), failure }, epoch)
                }
            },
            (None, Some(failure)) => (fallback(standing, failure), standing.map_or(0, |known| known.epoch)),
            (None, None) => match learnt(known_fact, self.now) {
                // No source says anything of the party, as when it was learnt.
                Some(fact) => self.still_learnt(fact),
                // No source names the party any more: an older acceptance is not merely stale.
                None => (Answer::failed(Failure::Unrecorded), 0),
            },
        };
        let kept = Kept::new(&self.key, answer, self.now.mono, self.generation, &self.settings);
        Kept { epoch, ..kept }
    }

    /// What was learnt, after no source said anything that is newer.
    fn still_learnt(&self, fact: Fact) -> (Answer, u64) {
        let answer = Answer::known(Fact { asked_at: self.now.wall, ..fact });
        (answer, self.sources.learnt_epoch(self.key.party.kind()))
    }

    fn may_still_hold(&self, known: &Kept) -> bool {
        known.doubted.is_none()
            && known.answer.last.is_some_and(|fact| {
                let age = self.now.wall.duration_since(fact.asked_at);
                fact.status.is_accepted() && age <= self.settings.stale_max()
            })
    }

    fn fact(&self, settled: &Settled) -> Fact {
        Fact {
            status: settled.status,
            observed_at: settled.observed_at,
            asked_at: self.now.wall,
            source: settled.by.source,
        }
    }

    /// An acceptance that counts for every partner, where one was learnt that is enough.
    fn everyones(&self, before: Option<&Kept>) -> Option<Kept> {
        let kept = self.cache.get(&everyones(&self.key)?)?;
        let demand = self.sources.demand(&self.key);
        let counts = before.is_none_or(|before| {
            // What was asked later is told nothing by it.
            let is_newer = kept.asked >= before.asked;
            match before.answer.last.filter(|fact| fact.status.is_accepted()) {
                // Who doubts an acceptance, or refreshes it, asks.
                Some(fact) => {
                    let is_enough = demand.is_met_by(fact.status);
                    before.doubted.is_none() && self.wanted == Wanted::Fresh && (is_newer || !is_enough)
                }
                None => is_newer,
            }
        });
        let holds = kept.doubted.is_none() && kept.by_age(&self.settings, self.now) != Freshness::Hard;
        let is_enough = demand.is_met_by(kept.fact()?.status);
        (counts && holds && is_enough).then_some(kept)
    }
}

/// The one to the later question.
fn newer(own: Option<Kept>, shared: Option<Kept>) -> Option<Kept> {
    match (own, shared) {
        (Some(own), Some(shared)) if shared.asked > own.asked => Some(shared),
        (own, shared) => own.or(shared),
    }
}

/// The key under which an acceptance is kept that counts for every partner: a direct one follows the customer.
pub fn everyones(key: &Key) -> Option<Key> {
    let is_billed = matches!((key.party, key.scope), (Party::Customer(_), Scope::Billing(_)));
    is_billed.then_some(Key { scope: Scope::None, ..*key })
}

/// What was learnt from the upstream; not what a clock has dated that was ahead.
fn learnt(known: Option<Fact>, now: Now) -> Option<Fact> {
    known.filter(|fact| fact.source == LEARNED && !is_future(fact.observed_at, now.wall))
}

/// What was learnt since a local source was last written is newer than what it says.
fn since_learnt(known: Option<Fact>, settled: &Settled, now: Now) -> Option<Fact> {
    let is_newer = |fact: &Fact| settled.by.is_local && fact.observed_at > settled.observed_at;
    let learnt = learnt(known, now).filter(is_newer)?;
    Some(Fact { status: learnt.status.merged(settled.status), ..learnt })
}
