//! The cache of facts: moka, with freshness judged here and older answers kept from overwriting newer ones.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use jiff::SignedDuration;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::clock::{Moment, Now, Uptime};
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
    /// An acceptance that was learnt from a passing answer, where no source says anything of the party.
    pub learnt: Duration,
    /// A denial rests on nothing older than this.
    pub recheck_after: Duration,
    /// The longest a request waits for look-ups.
    pub deadline: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        const HOUR: Duration = Duration::from_secs(3600);
        Settings {
            entries: 1_000_000,
            accepted: 12 * HOUR,
            missing: Duration::from_secs(30),
            stale: HOUR,
            learnt: 30 * 24 * HOUR,
            recheck_after: Duration::from_secs(5),
            deadline: Duration::from_secs(2),
        }
    }
}

impl Settings {
    /// The greatest age of an acceptance that serves.
    pub fn serves_max(&self) -> Duration {
        self.accepted + self.stale
    }

    /// The same, as rules compare it.
    pub fn stale_max(&self) -> SignedDuration {
        SignedDuration::try_from(self.serves_max()).unwrap_or(SignedDuration::MAX)
    }
}

/// The use that an answer can be put to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It answers.
    Fresh,
    /// It answers, and is refreshed behind.
    Soft,
    /// It answers only where nothing newer can be learnt.
    Hard,
}

/// The answer to one look-up, as it is kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// The answer.
    pub answer: Answer,
    /// The moment from which its last status ages: its source was asked then, or it was learnt then.
    pub asked: Moment,
    /// The moment at which the words about it were weighed last. A later weighing replaces an earlier one.
    pub weighed: Uptime,
    /// The generation of the sources it was asked of.
    pub generation: u64,
    /// The epoch of the source that answered, or the teacher of what was learnt.
    pub epoch: u64,
    /// The status that this source told by itself, where others told of one too.
    pub own: Option<Status>,
    /// The moment at which it was learnt, where no source says anything of the party.
    pub holds_since: Option<Moment>,
    /// The last moment at which every remote source had nothing to say of the party, and their terms then.
    pub silent: Option<(Moment, u64)>,
    /// From when on it is refreshed behind.
    pub refresh_at: Uptime,
    /// How much earlier than others it ends: 0 to 255 for none to a tenth.
    pub early: u8,
    /// When the upstream answered as if it did not hold: it is asked for again before it is used.
    pub doubted: Option<Uptime>,
    /// When a doubt of it was last settled.
    pub doubt_settled: Option<Uptime>,
    /// True for what an operator has forgotten: it only keeps out answers that were asked for before.
    pub is_forgotten: bool,
}

impl Kept {
    /// Keeps the answer to a question.
    pub fn new(key: &Key, answer: Answer, asked: Moment, generation: u64, settings: &Settings) -> Kept {
        let early = spread(key, asked.uptime);
        // From 75 to 90 % of the time: what was looked up together is not refreshed together.
        let share = 0.75 + 0.15 * f64::from(early) / 255.0;
        Kept {
            answer,
            asked,
            weighed: asked.uptime,
            generation,
            epoch: 0,
            own: None,
            holds_since: None,
            silent: None,
            refresh_at: asked.uptime.after(settings.accepted.mul_f64(share)),
            early,
            doubted: None,
            doubt_settled: None,
            is_forgotten: false,
        }
    }

    /// Keeps that a key was forgotten at a moment.
    fn forgotten(key: &Key, now: Now, generation: u64, settings: &Settings) -> Kept {
        let kept = Kept::new(key, Answer::failed(Failure::Unrecorded), now.moment(), generation, settings);
        Kept { is_forgotten: true, ..kept }
    }

    /// The use of the answer now.
    pub fn freshness(&self, settings: &Settings, generation: u64, now: Now) -> Freshness {
        match self.generation == generation && self.doubted.is_none() {
            true => self.by_age(settings, now),
            false => Freshness::Hard,
        }
    }

    /// The use of the answer if nothing but time had passed.
    pub fn by_age(&self, settings: &Settings, now: Now) -> Freshness {
        let early = |lifetime: Duration| lifetime.mul_f64(1.0 - 0.1 * f64::from(self.early) / 255.0);
        let status = self.answer.last.map(|fact| fact.status);
        let (is_young, is_soft) = match (self.answer.failure, status) {
            // Somebody has to record it, and may have.
            (Some(Failure::Unrecorded), _) => {
                let lifetime = early(settings.missing.min(settings.recheck_after));
                (now.uptime.since(self.weighed) < lifetime, false)
            }
            (Some(_), _) => (now.uptime.since(self.weighed) < FAILURE_HELD, false),
            (None, Some(Status::Accepted { .. } | Status::NotApplicable)) => {
                let holds = self.holds_since.is_none_or(|since| now.age(since) < settings.learnt);
                (holds && now.age(self.asked) < settings.accepted, now.uptime >= self.refresh_at)
            }
            (None, _) => (now.age(self.asked) < early(settings.missing), false),
        };
        match (is_young, is_soft) {
            (false, _) => Freshness::Hard,
            (true, true) => Freshness::Soft,
            (true, false) => Freshness::Fresh,
        }
    }

    /// The answer to whoever asks now: its age shows whatever became of the wall clock meanwhile.
    pub fn answer_at(&self, now: Now) -> Answer {
        let asked_at = now.wall_of(self.asked);
        Answer { last: self.answer.last.map(|fact| Fact { asked_at, ..fact }), ..self.answer }
    }

    /// The answer to whoever asks now and can get no newer one. An acceptance that is in doubt is not known; what is known
    /// to be missing stays so.
    pub fn stand_in(&self, now: Now, failure: Failure) -> Answer {
        let Answer { last, .. } = self.answer_at(now);
        let last = last.filter(|fact| self.doubted.is_none() || !fact.status.is_accepted());
        Answer { last, failure: Some(failure) }
    }

    /// The fact, where it is no stand-in for one that could not be had.
    pub fn fact(&self) -> Option<Fact> {
        self.answer.last.filter(|_| self.answer.failure.is_none())
    }
}

/// A number for a key and moment that says nothing of either.
fn spread(key: &Key, asked: Uptime) -> u8 {
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

    /// The answer kept under a key, fresh or not.
    pub fn get(&self, key: &Key) -> Option<Kept> {
        self.entries.get(key).filter(|kept| !kept.is_forgotten)
    }

    /// Keeps an answer, unless one to a later question is there already. moka by itself lets a slow load overwrite
    /// what was inserted meanwhile.
    pub fn put(&self, key: Key, kept: Kept) {
        self.entries.entry(key).and_compute_with(|entry| match entry {
            Some(entry) if is_newer(entry.value(), &kept) || is_kept_out(entry.value(), kept.weighed) => {
                Op::Nop
            }
            // A doubt that came after the question is not settled by its answer.
            Some(entry) if entry.value().doubted > Some(kept.weighed) => {
                Op::Put(Kept { doubted: entry.value().doubted, ..kept })
            }
            _ => Op::Put(kept),
        });
    }

    /// Changes what is kept under a key; `None` from `change` leaves it. The answer is whether it was changed.
    pub fn change(&self, key: Key, change: impl FnOnce(Option<&Kept>) -> Option<Kept>) -> bool {
        let mut changed = false;
        self.entries.entry(key).and_compute_with(|entry| {
            let entry = entry.as_ref().map(|entry| entry.value());
            match change(entry.filter(|kept| !kept.is_forgotten)) {
                Some(kept) if entry.is_some_and(|entry| is_kept_out(entry, kept.asked.uptime)) => Op::Nop,
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
    pub fn claim_refresh(&self, key: Key, now: Uptime) -> bool {
        self.change(key, |kept| {
            let kept = kept.filter(|kept| kept.refresh_at <= now)?;
            Some(Kept { refresh_at: now.after(REFRESH_HELD), ..*kept })
        })
    }

    /// Forgets what is kept under a key, and what comes of questions that were asked before.
    pub fn forget(&self, key: Key, now: Now, generation: u64, settings: &Settings) {
        let forgotten = Kept::forgotten(&key, now, generation, settings);
        self.entries.insert(key, forgotten);
    }

    /// Everything that is kept, in no order. It is for what is done now and then.
    pub fn all(&self) -> impl Iterator<Item = (Key, Kept)> + '_ {
        self.entries.iter().map(|(key, kept)| (*key, kept)).filter(|(_, kept)| !kept.is_forgotten)
    }

    /// The count of answers that are kept.
    pub fn len(&self) -> u64 {
        self.entries.entry_count()
    }

    /// True where none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// True where a known answer is to a later question than another one.
fn is_newer(known: &Kept, kept: &Kept) -> bool {
    (known.generation, known.weighed) > (kept.generation, kept.weighed)
}

/// True for an answer that was asked for before its key was forgotten.
fn is_kept_out(known: &Kept, asked: Uptime) -> bool {
    known.is_forgotten && asked < known.weighed
}

/// The answer where a newer one could not be had: what is known, and why there is nothing newer.
pub fn stand_in(kept: Option<Kept>, now: Now, failure: Failure) -> Answer {
    kept.map_or_else(|| Answer::failed(failure), |kept| kept.stand_in(now, failure))
}
