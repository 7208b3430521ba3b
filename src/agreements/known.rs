//! The knowledge of agreements: answered from the cache where it is fresh, asked for where it is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use crate::agreements::asking::{Asking, LookupCounts};
use crate::agreements::cache::{FactCache, Freshness, Kept, LEARNED, stand_in};
use crate::agreements::flights::{Flights, Lane, Waiter};
use crate::agreements::inquiry::Inquiry;
use crate::agreements::learnt::Learnt;
use crate::agreements::near::NearFacts;
use crate::agreements::precedence::Wanted;
use crate::agreements::sources::Sources;
use crate::agreements::words::{LearntWords, Words};
use crate::clock::Moment;
use crate::policy::agreement::{Answer, Fact, Failure, Key, Statuses};
use crate::policy::decision::Need;

/// The facts, shared by all workers. It outlives every configuration.
#[derive(Clone, Debug)]
pub struct Agreements {
    pub(super) cache: FactCache,
    pub(super) learnt: LearntWords,
    pub(super) flights: Flights,
    /// The sources in force: of who learns, some work with older ones.
    pub(super) in_force: Arc<ArcSwap<Sources>>,
    /// The count of what was forgotten by hand: who asks then shares no question that was asked before.
    pub(super) forgets: Arc<AtomicU64>,
    pub(super) generations: Arc<AtomicU64>,
    /// The count of what was learnt, doubted or forgotten: copies from before are not used any more.
    pub(super) changes: Arc<AtomicU64>,
    pub(super) asked: Arc<AtomicU64>,
}

impl Agreements {
    /// An empty cache; questions are asked on the control runtime.
    pub fn new(entries: u64, control: Handle) -> Agreements {
        Agreements {
            cache: FactCache::new(entries),
            learnt: LearntWords::new(entries),
            in_force: Arc::default(),
            forgets: Arc::default(),
            flights: Flights::new(control),
            generations: Arc::default(),
            changes: Arc::default(),
            asked: Arc::default(),
        }
    }

    /// Says that what these sources answer may have changed: what is kept of them is asked for again.
    pub fn renew(&self, sources: &Arc<Sources>) {
        let next = self.generations.fetch_add(1, Ordering::AcqRel) + 1;
        sources.generation.store(next, Ordering::Release);
        self.in_force.store(Arc::clone(sources));
    }

    /// The count of questions that sources were asked.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// The count of answers that are kept.
    pub fn kept(&self) -> u64 {
        self.cache.len()
    }

    /// The answers to a plan's needs, if all of them are at hand: no waiting, and for what this worker used a moment ago
    /// not even a look at what workers share. What will not be fresh much longer is refreshed behind.
    pub fn at_hand(&self, near: &mut NearFacts, asking: &Asking<'_>, needs: &[Need]) -> Option<Statuses> {
        let (settings, now, generation) = (asking.settings, asking.now, asking.generation());
        let changes = self.changes.load(Ordering::Acquire);
        let mut answers = Vec::with_capacity(needs.len());
        for need in needs {
            let is_fresh = |kept: &Kept| kept.freshness(settings, generation, now) == Freshness::Fresh;
            let kept = match near.get(&need.key, now.mono, changes).filter(is_fresh) {
                Some(kept) => kept,
                None => {
                    let mut kept = match self.cache.get(&need.key) {
                        Some(kept) => kept,
                        None if is_moot(asking, need) => {
                            answers.push(Answer::failed(Failure::Unrecorded));
                            continue;
                        }
                        None => return None,
                    };
                    if self.is_superseded(asking, &need.key, &kept) {
                        return None;
                    }
                    match kept.freshness(settings, generation, now) {
                        Freshness::Hard => return None,
                        Freshness::Soft => kept = self.refresh_behind(asking, need.key).unwrap_or(kept),
                        Freshness::Fresh => {}
                    }
                    near.put(need.key, kept, now.mono, changes);
                    kept
                }
            };
            answers.push(kept.answer_at(now));
        }
        Some(Statuses { answers, stale_max: settings.stale_max() })
    }

    /// True where learnt words say something else by now: an answer that denies is older than one of them, or an answer that
    /// rests on them has lost its ground. They are looked up only for such answers.
    fn is_superseded(&self, asking: &Asking<'_>, key: &Key, kept: &Kept) -> bool {
        let words = || Words::about(key, &self.learnt, asking.sources, asking.settings, asking.now);
        match kept.answer.last {
            Some(fact) if fact.source == LEARNED => {
                let ground = kept.holds_since.unwrap_or(kept.asked);
                !words().bear(fact.status, ground, asking.sources.demand(key))
            }
            Some(fact) if fact.status.is_accepted() => false,
            _ => words().last().is_some_and(|learnt| learnt.uptime > kept.weighed),
        }
    }

    /// The answer that may stand in for one that can not be had: kept, or what was learnt where nothing is kept.
    fn standing(&self, asking: &Asking<'_>, key: &Key) -> Option<Kept> {
        let (sources, settings, now) = (asking.sources, asking.settings, asking.now);
        match self.cache.get(key) {
            Some(kept) => {
                let holds = kept.holds_since.is_none_or(|since| now.age(since) < settings.learnt);
                let stands = holds && sources.stands(&kept, key) && !self.is_superseded(asking, key, &kept);
                stands.then_some(kept)
            }
            None => {
                let words = Words::about(key, &self.learnt, sources, settings, now);
                let terms = sources.terms(key.party.kind());
                let word = words.in_force().into_iter().flatten().find(|word| word.terms == terms);
                word.map(|word| kept_of(asking, key, &word))
            }
        }
    }

    /// The reason why an acceptance that stands in (see `standing`) serves beyond its time without waiting for a newer one: asking for it went wrong before, or is
    /// likely to now.
    fn serves_stale(&self, asking: &Asking<'_>, key: &Key, kept: &Kept) -> Option<Failure> {
        let fact = kept.answer.last.filter(|fact| fact.status.is_accepted())?;
        let settings = asking.settings;
        let holds = kept.doubted.is_none()
            && kept.generation == asking.generation()
            && asking.now.age(kept.asked) <= settings.serves_max()
            && asking.sources.demand(key).is_met_by(fact.status);
        let ailing = || asking.sources.are_ailing(key.party.kind()).then_some(Failure::Unavailable);
        kept.answer.failure.or_else(ailing).filter(|_| holds)
    }

    /// Has an answer that still serves asked for again, unless somebody does already. What is kept meanwhile.
    fn refresh_behind(&self, asking: &Asking<'_>, key: Key) -> Option<Kept> {
        if self.cache.claim_refresh(key, asking.now.uptime) {
            let aside = Asking { asker: None, ..*asking };
            let (settings, now, generation) = (*asking.settings, asking.now, asking.generation());
            drop(self.ask(&aside, key, Wanted::Anew, Lane::Aside, move |kept| {
                kept.freshness(&settings, generation, now) == Freshness::Fresh
                    && kept.asked.uptime >= now.uptime
            }));
        }
        self.cache.get(&key)
    }

    /// The answers to a plan's needs, from the cache where they are fresh. Only needs that decide are waited for.
    pub async fn look_up(&self, asking: &Asking<'_>, needs: &[Need]) -> (Statuses, LookupCounts) {
        let (settings, now, generation) = (asking.settings, asking.now, asking.generation());
        let mut counts = LookupCounts::default();
        let mut statuses =
            Statuses { answers: Vec::with_capacity(needs.len()), stale_max: settings.stale_max() };
        let mut waiting = Vec::new();
        for (at, need) in needs.iter().enumerate() {
            let kept = self.cache.get(&need.key);
            let serves = |kept: &Kept| {
                kept.freshness(settings, generation, now) != Freshness::Hard
                    && !self.is_superseded(asking, &need.key, kept)
            };
            if let Some(kept) = kept.filter(serves) {
                counts.hits += 1;
                statuses.answers.push(kept.answer_at(now));
                continue;
            }
            if kept.is_none() && is_moot(asking, need) {
                statuses.answers.push(Answer::failed(Failure::Unrecorded));
                continue;
            }
            counts.misses += 1;
            // Nobody waits for this one: requests come first, and it takes the budget that they leave over.
            let (asking, lane) = match need.decides {
                true => (*asking, Lane::Shared),
                false => (Asking { asker: None, ..*asking }, Lane::Aside),
            };
            let asking = &asking;
            let fresh = *settings;
            let looked_at = kept.map(|kept| kept.weighed);
            let kept = self.standing(asking, &need.key);
            let waiter = self.ask(asking, need.key, Wanted::Fresh, lane, move |kept| {
                // The answer that was not good enough a moment ago still is not.
                looked_at != Some(kept.weighed) && kept.freshness(&fresh, generation, now) != Freshness::Hard
            });
            if let Some(failure) = kept.and_then(|kept| self.serves_stale(asking, &need.key, &kept)) {
                statuses.answers.push(stand_in(kept, now, failure));
                continue;
            }
            statuses.answers.push(stand_in(kept, now, Failure::NotAsked));
            if need.decides {
                waiting.push((at, need.key, waiter));
            }
        }
        self.wait(asking, waiting, &mut statuses).await;
        (statuses, counts)
    }

    /// Asks anew for the needs of these indexes, whatever is kept, and puts what comes into `statuses`.
    pub async fn look_again(
        &self,
        asking: &Asking<'_>,
        needs: &[Need],
        which: &[usize],
        statuses: &mut Statuses,
    ) {
        let mut waiting = Vec::with_capacity(which.len());
        for &at in which {
            let key = needs[at].key;
            waiting.push((at, key, self.ask_again(asking, key, Lane::Shared)));
        }
        self.wait(asking, waiting, statuses).await;
    }

    /// Asks anew, at most once in `recheck_after`, whoever asks.
    pub(super) fn ask_again(&self, asking: &Asking<'_>, key: Key, lane: Lane) -> Waiter {
        let (settings, now, generation) = (*asking.settings, asking.now, asking.generation());
        self.ask(asking, key, Wanted::Anew, lane, move |kept| {
            // A worker's own copy may be from before the failure.
            let has_failed = kept.answer.failure.is_some_and(|failure| failure != Failure::Unrecorded);
            let is_held = has_failed && kept.by_age(&settings, now) != Freshness::Hard;
            let is_young = now.age(kept.asked) < settings.recheck_after;
            kept.generation == generation && kept.doubted.is_none() && (is_young || is_held)
        })
    }

    async fn wait(&self, asking: &Asking<'_>, waiting: Vec<(usize, Key, Waiter)>, statuses: &mut Statuses) {
        if waiting.is_empty() {
            return;
        }
        let deadline = tokio::time::Instant::from_std(asking.until);
        for (at, key, waiter) in waiting {
            let joined = waiter.joined;
            let landed = tokio::time::timeout_at(deadline, waiter.landed()).await;
            let landed = match landed {
                // Somebody else had asked too much: that is no matter of this caller's.
                Ok(Some(landed)) if joined && landed.answer.failure == Some(Failure::Throttled) => {
                    let lane = asking.asker.map_or(Lane::Shared, Lane::Own);
                    let waiter = self.ask_again(asking, key, lane);
                    tokio::time::timeout_at(deadline, waiter.landed()).await
                }
                landed => landed,
            };
            statuses.answers[at] = match landed {
                Ok(Some(landed)) => landed.answer_at(asking.now),
                // As it is now: it may have been doubted while this request waited.
                Ok(None) => stand_in(self.standing(asking, &key), asking.now, Failure::Source),
                // The flight goes on for the next request.
                Err(_) => stand_in(self.standing(asking, &key), asking.now, Failure::Deadline),
            };
        }
    }

    /// Joins the flight for a key. One that starts looks once more at what is kept: another may have landed since the
    /// caller looked, and what it brought is good enough if `suffices` says so.
    pub(super) fn ask(
        &self,
        asking: &Asking<'_>,
        key: Key,
        wanted: Wanted,
        lane: Lane,
        suffices: impl Fn(&Kept) -> bool + Send + 'static,
    ) -> Waiter {
        let generation = asking.generation();
        let forgets = self.forgets.load(Ordering::Acquire);
        self.flights.join((key, generation, forgets, wanted, lane), || {
            let inquiry = Inquiry {
                sources: Arc::clone(asking.sources),
                settings: *asking.settings,
                cache: self.cache.clone(),
                learnt: self.learnt.clone(),
                asked: Arc::clone(&self.asked),
                key,
                generation,
                asker: asking.asker,
                now: asking.now,
                wanted,
            };
            inquiry.fly(suffices)
        })
    }
}

/// True for a need that nobody waits for and that no source can answer: a question would start a flight for nothing.
fn is_moot(asking: &Asking<'_>, need: &Need) -> bool {
    !need.decides && !asking.sources.may_say(&need.key)
}

/// A word that was learnt, as the answer that it is if no source says otherwise.
pub(super) fn kept_of(asking: &Asking<'_>, key: &Key, word: &Learnt) -> Kept {
    let Moment { wall, .. } = word.at;
    let fact = Fact { status: word.status, observed_at: wall, asked_at: wall, source: LEARNED };
    let kept = Kept::new(key, Answer::known(fact), word.at, 0, asking.settings);
    Kept { epoch: word.teacher.under(word.terms), ..kept }
}
