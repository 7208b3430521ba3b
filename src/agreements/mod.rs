//! Agreement facts: where statuses come from, and how long they are believed.

pub mod cache;
pub mod file;
pub mod flights;
pub mod near;
pub mod source;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::SignedDuration;
use tokio::runtime::Handle;

use crate::agreements::cache::{FactCache, Kept, Settings, fallback};
use crate::agreements::flights::{Flights, Waiter};
use crate::agreements::near::NearFacts;
use crate::agreements::source::{Said, Sources};
use crate::clock::Now;
use crate::policy::agreement::{Answer, Fact, Failure, Key, Statuses};
use crate::policy::decision::Need;

/// What look-ups cost, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookupCounts {
    /// Answered from the cache.
    pub hits: u32,
    /// Not, or no longer, in the cache.
    pub misses: u32,
}

/// The facts, shared by all workers. It outlives every configuration.
#[derive(Clone, Debug)]
pub struct Agreements {
    cache: FactCache,
    flights: Flights,
    generations: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
}

impl Agreements {
    /// An empty cache; questions are asked on the control runtime.
    pub fn new(entries: u64, control: Handle) -> Agreements {
        Agreements {
            cache: FactCache::new(entries),
            flights: Flights::new(control),
            generations: Arc::default(),
            asked: Arc::default(),
        }
    }

    /// Says that what these sources answer may have changed: what is kept of them is asked for again.
    pub fn renew(&self, sources: &Sources) {
        let next = self.generations.fetch_add(1, Ordering::AcqRel) + 1;
        sources.generation.store(next, Ordering::Release);
    }

    /// How many questions sources were asked so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// How many answers are kept.
    pub fn kept(&self) -> u64 {
        self.cache.len()
    }

    /// The answers to a plan's needs, if all of them are at hand and fresh: no waiting, and for what this worker used
    /// a moment ago not even a look at what workers share.
    pub fn at_hand(
        &self,
        near: &mut NearFacts,
        sources: &Sources,
        settings: &Settings,
        needs: &[Need],
        now: Now,
    ) -> Option<Statuses> {
        let generation = sources.generation.load(Ordering::Acquire);
        let mut answers = Vec::with_capacity(needs.len());
        for need in needs {
            let is_fresh = |kept: &Kept| kept.is_fresh(settings, generation, now);
            let kept = match near.get(&need.key, now.mono).filter(is_fresh) {
                Some(kept) => kept,
                None => {
                    let kept = self.cache.get(&need.key).filter(is_fresh)?;
                    near.put(need.key, kept, now.mono);
                    kept
                }
            };
            answers.push(kept.answer);
        }
        Some(Statuses { answers, stale_max: stale_max(settings) })
    }

    /// The answers to a plan's needs, from the cache where they are fresh. Only needs that decide are waited for.
    pub async fn look_up(
        &self,
        sources: &Arc<Sources>,
        settings: &Settings,
        needs: &[Need],
        now: Now,
    ) -> (Statuses, LookupCounts) {
        let mut counts = LookupCounts::default();
        let mut statuses =
            Statuses { answers: Vec::with_capacity(needs.len()), stale_max: stale_max(settings) };
        let mut waiting: Vec<(usize, Waiter, Option<Kept>)> = Vec::new();
        let generation = sources.generation.load(Ordering::Acquire);
        for (at, need) in needs.iter().enumerate() {
            let kept = self.cache.get(&need.key);
            if let Some(kept) = kept.filter(|kept| kept.is_fresh(settings, generation, now)) {
                counts.hits += 1;
                statuses.answers.push(kept.answer);
                continue;
            }
            counts.misses += 1;
            let (fresh, until) = (*settings, now);
            let waiter = self.ask(sources, need.key, generation, now, move |kept| {
                kept.is_fresh(&fresh, generation, until)
            });
            statuses.answers.push(fallback(kept, Failure::NotAsked));
            if need.decides {
                waiting.push((at, waiter, kept));
            }
        }
        self.wait(settings, waiting, now, &mut statuses).await;
        (statuses, counts)
    }

    /// Asks anew for the needs of these indexes, whatever is kept, and puts what comes into `statuses`.
    pub async fn look_again(
        &self,
        sources: &Arc<Sources>,
        settings: &Settings,
        needs: &[Need],
        which: &[usize],
        now: Now,
        statuses: &mut Statuses,
    ) {
        let generation = sources.generation.load(Ordering::Acquire);
        let mut waiting = Vec::with_capacity(which.len());
        for &at in which {
            let key = needs[at].key;
            // At most once in that time, whoever asks.
            let (recheck_after, until) = (settings.recheck_after, now.mono);
            let waiter = self.ask(sources, key, generation, now, move |kept| {
                kept.generation == generation && until.saturating_duration_since(kept.asked) < recheck_after
            });
            waiting.push((at, waiter, self.cache.get(&key)));
        }
        self.wait(settings, waiting, now, statuses).await;
    }

    async fn wait(
        &self,
        settings: &Settings,
        waiting: Vec<(usize, Waiter, Option<Kept>)>,
        now: Now,
        statuses: &mut Statuses,
    ) {
        if waiting.is_empty() {
            return;
        }
        let deadline = tokio::time::Instant::from_std(now.mono + settings.deadline);
        for (at, waiter, kept) in waiting {
            statuses.answers[at] = match tokio::time::timeout_at(deadline, waiter.landed()).await {
                Ok(Some(landed)) => landed.answer,
                Ok(None) => fallback(kept, Failure::Source),
                // The flight goes on for the next request.
                Err(_) => fallback(kept, Failure::Deadline),
            };
        }
    }

    /// Joins the flight for a key. One that starts looks once more at what is kept: another may have landed since the
    /// caller looked, and what it brought is good enough if `suffices` says so.
    fn ask(
        &self,
        sources: &Arc<Sources>,
        key: Key,
        generation: u64,
        now: Now,
        suffices: impl Fn(&Kept) -> bool + Send + 'static,
    ) -> Waiter {
        self.flights.join(key, generation, || {
            let sources = Arc::clone(sources);
            let (cache, asked) = (self.cache.clone(), Arc::clone(&self.asked));
            async move {
                if let Some(landed) = cache.get(&key).filter(suffices) {
                    return landed;
                }
                asked.fetch_add(1, Ordering::Relaxed);
                let (said, source) = sources.ask(&key).await;
                let known = cache.get(&key);
                let answer = match (said, source) {
                    (Said::Definite { status, observed_at }, Some(source)) => {
                        Answer::known(Fact { status, observed_at, asked_at: now.wall, source })
                    }
                    (Said::Failed(failure), _) => fallback(known, failure),
                    // No source names the party any more: an older acceptance is not merely stale.
                    _ => Answer::failed(Failure::Unrecorded),
                };
                let kept = Kept { answer, asked: now.mono, generation };
                // A failure is not kept: the next request asks again, and what was known stays known.
                if answer.failure.is_none_or(|failure| failure == Failure::Unrecorded) {
                    cache.put(key, kept);
                }
                kept
            }
        })
    }
}

fn stale_max(settings: &Settings) -> SignedDuration {
    SignedDuration::try_from(settings.accepted + settings.stale).unwrap_or(SignedDuration::MAX)
}
