//! The cache of facts: moka, with freshness judged here and older answers kept from overwriting newer ones.

use std::time::{Duration, Instant};

use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::clock::Now;
use crate::policy::agreement::{Answer, Failure, Key, Status};

/// How long answers stay fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The most answers that are kept.
    pub entries: u64,
    /// An acceptance.
    pub accepted: Duration,
    /// Anything else.
    pub missing: Duration,
    /// How much longer an acceptance serves while nothing newer can be learnt.
    pub stale: Duration,
    /// A denial rests on nothing older than this.
    pub recheck_after: Duration,
    /// The longest a request waits for look-ups.
    pub deadline: Duration,
}

/// What is kept of one look-up.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// What was answered.
    pub answer: Answer,
    /// When the question was asked.
    pub asked: Instant,
    /// The generation of the sources it was asked of.
    pub generation: u64,
}

impl Kept {
    /// Whether it may be used without asking again.
    pub fn is_fresh(&self, settings: &Settings, generation: u64, now: Now) -> bool {
        let lifetime = match self.answer.last.map(|fact| fact.status) {
            Some(Status::Accepted { .. } | Status::NotApplicable) => settings.accepted,
            Some(Status::Missing) | None => settings.missing,
        };
        self.generation == generation && now.mono.saturating_duration_since(self.asked) < lifetime
    }
}

/// Answers by key.
#[derive(Clone, Debug)]
pub struct FactCache {
    entries: Cache<Key, Kept>,
}

impl FactCache {
    /// A cache of at most `entries` answers.
    pub fn new(entries: u64) -> FactCache {
        // Not TinyLFU: when full it drops new keys at once, and a new customer would be looked up on every request.
        FactCache {
            entries: Cache::builder().max_capacity(entries).eviction_policy(EvictionPolicy::lru()).build(),
        }
    }

    /// What is kept under a key, fresh or not.
    pub fn get(&self, key: &Key) -> Option<Kept> {
        self.entries.get(key)
    }

    /// Keeps an answer, unless one to a later question is there already. moka by itself lets a slow load overwrite
    /// what was inserted meanwhile.
    pub fn put(&self, key: Key, kept: Kept) {
        let newer = |known: &Kept| (known.generation, known.asked) > (kept.generation, kept.asked);
        self.entries.entry(key).and_compute_with(|entry| match entry {
            Some(entry) if newer(entry.value()) => Op::Nop,
            _ => Op::Put(kept),
        });
    }

    /// How many answers are kept.
    pub fn len(&self) -> u64 {
        self.entries.entry_count()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The answer to give when a newer one could not be had: what was last known, and why there is nothing newer.
pub fn fallback(kept: Option<Kept>, failure: Failure) -> Answer {
    Answer { last: kept.and_then(|kept| kept.answer.last), failure: Some(failure) }
}
