//! The cache of facts: moka, with freshness judged here and older answers kept from overwriting newer ones.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::clock::Now;
use crate::policy::agreement::{Answer, Fact, Failure, Key, Status};
use crate::policy::id::Name;

/// The source of what was learnt from the upstream's own answers.
pub const LEARNED: Name = Name::new("upstream").expect("a plain name");

/// How long it is not asked again for a party whose look-up failed, while an older answer can stand in.
const FAILURE_HELD: Duration = Duration::from_secs(1);
/// How long a refresh behind an answer has before another one is begun.
const REFRESH_HELD: Duration = Duration::from_secs(30);

/// How long answers stay fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The most answers that are kept.
    pub entries: u64,
    /// An acceptance. From three quarters of it on it is refreshed while it still answers.
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

impl Settings {
    /// The greatest age of an acceptance that serves.
    pub fn stale_max(&self) -> SignedDuration {
        SignedDuration::try_from(self.accepted + self.stale).unwrap_or(SignedDuration::MAX)
    }
}

/// What an answer is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It answers.
    Fresh,
    /// It answers, and is refreshed behind.
    Soft,
    /// It answers only where nothing newer can be learnt.
    Hard,
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
    /// The epoch of the source that answered.
    pub epoch: u64,
    /// From when on it is refreshed behind.
    pub refresh_at: Instant,
    /// How much earlier than others it ends: 0 to 255 for none to a tenth.
    pub early: u8,
    /// When the upstream answered as if it did not hold: it is asked for again before it is used.
    pub doubted: Option<Instant>,
    /// When a doubt of it was last settled.
    pub doubt_settled: Option<Instant>,
}

impl Kept {
    /// Keeps the answer to a question.
    pub fn new(key: &Key, answer: Answer, asked: Instant, generation: u64, settings: &Settings) -> Kept {
        let early = spread(key, asked);
        // From 75 to 90 % of the time: what was looked up together is not refreshed together.
        let share = 0.75 + 0.15 * f64::from(early) / 255.0;
        Kept {
            answer,
            asked,
            generation,
            epoch: 0,
            refresh_at: asked + settings.accepted.mul_f64(share),
            early,
            doubted: None,
            doubt_settled: None,
        }
    }

    /// What it is good for now.
    pub fn freshness(&self, settings: &Settings, generation: u64, now: Now) -> Freshness {
        match self.generation == generation && self.doubted.is_none() {
            true => self.by_age(settings, now),
            false => Freshness::Hard,
        }
    }

    /// What it would be good for if nothing but time had passed.
    pub fn by_age(&self, settings: &Settings, now: Now) -> Freshness {
        let age = now.mono.saturating_duration_since(self.asked);
        let early = |lifetime: Duration| lifetime.mul_f64(1.0 - 0.1 * f64::from(self.early) / 255.0);
        let status = self.answer.last.map(|fact| fact.status);
        let (lifetime, is_soft) = match (self.answer.failure, status) {
            (Some(failure), _) if failure != Failure::Unrecorded => (FAILURE_HELD, false),
            (None, Some(Status::Accepted { .. } | Status::NotApplicable)) => {
                (settings.accepted, now.mono >= self.refresh_at)
            }
            _ => (early(settings.missing), false),
        };
        match (age < lifetime, is_soft) {
            (false, _) => Freshness::Hard,
            (true, true) => Freshness::Soft,
            (true, false) => Freshness::Fresh,
        }
    }

    /// The fact, where it is no stand-in for one that could not be had.
    pub fn fact(&self) -> Option<Fact> {
        self.answer.last.filter(|_| self.answer.failure.is_none())
    }
}

/// A number for a key and moment that says nothing of either.
fn spread(key: &Key, asked: Instant) -> u8 {
    thread_local!(static STATE: RandomState = RandomState::new());
    STATE.with(|state| state.hash_one((key, asked)) as u8)
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
        self.entries.entry(key).and_compute_with(|entry| match entry {
            Some(entry) if is_newer(entry.value(), &kept) => Op::Nop,
            // A doubt that came after the question is not settled by its answer.
            Some(entry) if entry.value().doubted > Some(kept.asked) => {
                Op::Put(Kept { doubted: entry.value().doubted, ..kept })
            }
            _ => Op::Put(kept),
        });
    }

    /// Changes what is kept under a key; `None` from `change` leaves it. The answer is whether it was changed.
    pub fn change(&self, key: Key, change: impl FnOnce(Option<&Kept>) -> Option<Kept>) -> bool {
        let mut changed = false;
        self.entries.entry(key).and_compute_with(|entry| {
            match change(entry.as_ref().map(|entry| entry.value())) {
                Some(kept) => {
                    changed = true;
                    Op::Put(kept)
                }
                None => Op::Nop,
            }
        });
        changed
    }

    /// Takes the refresh of an answer upon oneself: whoever asks next finds it taken.
    pub fn claim_refresh(&self, key: Key, now: Instant) -> bool {
        self.change(key, |kept| {
            let kept = kept.filter(|kept| kept.refresh_at <= now)?;
            Some(Kept { refresh_at: now + REFRESH_HELD, ..*kept })
        })
    }

    /// Forgets what is kept under a key.
    pub fn forget(&self, key: &Key) {
        self.entries.invalidate(key);
    }

    /// Everything that is kept, in no order. It is for what is done now and then.
    pub fn all(&self) -> impl Iterator<Item = (Key, Kept)> + '_ {
        self.entries.iter().map(|(key, kept)| (*key, kept))
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

/// Whether what is known answers a later question.
fn is_newer(known: &Kept, kept: &Kept) -> bool {
    (known.generation, known.asked) > (kept.generation, kept.asked)
}

/// The answer to give when a newer one could not be had: what was last known, and why there is nothing newer. What is in
/// doubt is not known.
pub fn fallback(kept: Option<Kept>, failure: Failure) -> Answer {
    let known = kept.filter(|kept| kept.doubted.is_none());
    Answer { last: known.and_then(|kept| kept.answer.last), failure: Some(failure) }
}
