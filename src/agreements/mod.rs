//! Agreement facts: where statuses come from, and how long they are believed.

pub mod cache;
pub mod file;
pub mod flights;
pub mod http;
pub mod inquiry;
pub mod learnt;
pub mod near;
pub mod partner_center;
pub mod pointer;
pub mod precedence;
pub mod saved;
pub mod source;
pub mod template;
pub mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::runtime::Handle;

use crate::agreements::cache::{FactCache, Freshness, Kept, LEARNED, Settings, stand_in};
use crate::agreements::flights::{Flights, Lane, Waiter};
use crate::agreements::inquiry::{Inquiry, Wanted};
use crate::agreements::learnt::{Learnt, Teacher};
use crate::agreements::near::NearFacts;
use crate::agreements::source::Sources;
use crate::agreements::words::{LearntWords, Words, everyones};
use crate::clock::{Moment, Now};
use crate::policy::agreement::{Agreement, Answer, Fact, Failure, Key, Status, Statuses};
use crate::policy::decision::Need;
use crate::policy::id::{Guid, PartnerRef};
use crate::policy::learning::By;

/// What look-ups cost, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookupCounts {
    /// Answered from the cache.
    pub hits: u32,
    /// Not, or no longer, in the cache.
    pub misses: u32,
}

/// Who asks, when, and how long answers are believed.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'s> {
    /// The sources.
    pub sources: &'s Arc<Sources>,
    /// How long they are believed.
    pub settings: &'s Settings,
    /// The caller's tenant; `None` for what is done beside requests.
    pub asker: Option<Guid>,
    /// When.
    pub now: Now,
    /// Until when the answer is waited for.
    pub until: Instant,
}

impl<'s> Asking<'s> {
    /// A question that is asked now, and waited for as long as the settings say.
    pub fn new(
        sources: &'s Arc<Sources>,
        settings: &'s Settings,
        asker: Option<Guid>,
        now: Now,
    ) -> Asking<'s> {
        Asking { sources, settings, asker, now, until: now.mono + settings.deadline }
    }

    fn generation(&self) -> u64 {
        self.sources.generation()
    }
}

/// The facts, shared by all workers. It outlives every configuration.
#[derive(Clone, Debug)]
pub struct Agreements {
    cache: FactCache,
    learnt: LearntWords,
    flights: Flights,
    /// The sources in force: of who learns, some work with older ones.
    in_force: Arc<ArcSwap<Sources>>,
    /// How often something was forgotten by hand: who asks then shares no question that was asked before.
    forgets: Arc<AtomicU64>,
    generations: Arc<AtomicU64>,
    /// How much was learnt, doubted or forgotten: copies from before are not used any more.
    changes: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
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

    /// How many questions sources were asked so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// How many answers are kept.
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

    /// Whether what was learnt says something else by now: an answer that denies is older than what was learnt, or one that
    /// rests on what was learnt has lost its ground. Looked at only for such answers.
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

    /// Why an acceptance serves beyond its time without waiting for a newer one: asking for it went wrong before, or is
    /// likely to now.
    fn serves_stale(&self, asking: &Asking<'_>, key: &Key, kept: &Kept) -> Option<Failure> {
        let fact = kept.answer.last.filter(|fact| fact.status.is_accepted())?;
        let settings = asking.settings;
        let holds = kept.doubted.is_none()
            && kept.generation == asking.generation()
            && asking.now.age(kept.asked) <= settings.accepted + settings.stale
            && kept.holds_since.is_none_or(|since| asking.now.age(since) < settings.learnt)
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
            // What nobody waits for takes only of the budget what requests leave over.
            let (asking, lane) = match need.decides {
                true => (*asking, Lane::Shared),
                false => (Asking { asker: None, ..*asking }, Lane::Aside),
            };
            let asking = &asking;
            let fresh = *settings;
            let looked_at = kept.map(|kept| kept.weighed);
            let waiter = self.ask(asking, need.key, Wanted::Fresh, lane, move |kept| {
                // What was found wanting is so still.
                looked_at != Some(kept.weighed) && kept.freshness(&fresh, generation, now) != Freshness::Hard
            });
            let kept = kept.filter(|kept| asking.sources.stands(kept, &need.key));
            if let Some(failure) = kept.and_then(|kept| self.serves_stale(asking, &need.key, &kept)) {
                statuses.answers.push(stand_in(kept, now, failure));
                continue;
            }
            statuses.answers.push(stand_in(kept, now, Failure::NotAsked));
            if need.decides {
                waiting.push((at, need.key, waiter, kept));
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
            let kept = self.cache.get(&key).filter(|kept| asking.sources.stands(kept, &key));
            waiting.push((at, key, self.ask_again(asking, key, Lane::Shared), kept));
        }
        self.wait(asking, waiting, statuses).await;
    }

    /// Asks anew, at most once in `recheck_after`, whoever asks.
    fn ask_again(&self, asking: &Asking<'_>, key: Key, lane: Lane) -> Waiter {
        let (recheck_after, now) = (asking.settings.recheck_after, asking.now);
        let generation = asking.generation();
        self.ask(asking, key, Wanted::Anew, lane, move |kept| {
            kept.generation == generation && kept.doubted.is_none() && now.age(kept.asked) < recheck_after
        })
    }

    async fn wait(
        &self,
        asking: &Asking<'_>,
        waiting: Vec<(usize, Key, Waiter, Option<Kept>)>,
        statuses: &mut Statuses,
    ) {
        if waiting.is_empty() {
            return;
        }
        let deadline = tokio::time::Instant::from_std(asking.until);
        for (at, key, waiter, kept) in waiting {
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
                Ok(None) => stand_in(kept, asking.now, Failure::Source),
                // The flight goes on for the next request.
                Err(_) => stand_in(kept, asking.now, Failure::Deadline),
            };
        }
    }

    /// Joins the flight for a key. One that starts looks once more at what is kept: another may have landed since the
    /// caller looked, and what it brought is good enough if `suffices` says so.
    fn ask(
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

    /// Learns from the upstream's own answer that an agreement was accepted: what is kept counts at once, beside what was
    /// known already. An acceptance that is not enough for a rule denies nothing: there may be another one. False where it
    /// teaches nothing: its teacher is not in force any more, or it repeats what the upstream has contradicted since.
    pub fn learn(&self, asking: &Asking<'_>, key: Key, by: By, status: Status, teacher: Teacher) -> bool {
        let (now, settings) = (asking.now, asking.settings);
        let sources = self.in_force.load();
        let terms = sources.terms(key.party.kind());
        let is_young = |word: &Learnt| now.age(word.confirmed) < settings.learnt;
        let known = self.learnt.get(&key).into_iter().flatten().filter(is_young);
        let refused = known.filter_map(|known| known.refused).next();
        // A source that can be asked decides. Where there is none, a status that is read is of now; the answer to an
        // attestation the upstream may have given before.
        let decides = terms != 0 || by == By::Attestation;
        let repeats = decides && refused.is_some_and(|refused| refused.merged(status) == refused);
        if !sources.is_taught_by(teacher) || repeats {
            return false;
        }
        let holds =
            |word: &Learnt| word.status.is_accepted() && sources.is_taught_by(word.teacher) && is_young(word);
        let word = Learnt::new(status, now, teacher, terms);
        let for_all = everyones(&key).filter(|_| by == By::Direct);
        let of = for_all.unwrap_or(key);
        self.learnt.take(of, word, holds);
        for key in [Some(key), for_all].into_iter().flatten() {
            self.keep_learnt(&sources, asking, key, &word);
        }
        self.changed();
        true
    }

    /// Keeps the answer that a word amounts to which was learnt now.
    fn keep_learnt(&self, sources: &Sources, asking: &Asking<'_>, key: Key, word: &Learnt) {
        let (now, settings, status) = (asking.now, asking.settings, word.status);
        let (generation, demand) = (sources.generation(), sources.demand(&key));
        self.cache.change(key, |kept| {
            let holds = |kept: &&Kept| kept.freshness(settings, generation, now) != Freshness::Hard;
            let known = kept.filter(holds).and_then(|kept| Some((*kept, kept.fact()?)));
            let before = known.filter(|(_, fact)| fact.status.is_accepted());
            let merged = before.map_or(status, |(_, fact)| fact.status.merged(status));
            if !demand.is_met_by(merged) {
                // Before anything is denied, the sources are asked.
                return kept.map(|kept| Kept { doubted: Some(now.uptime), ..*kept });
            }
            if let Some((kept, fact)) = before
                && !demand.is_met_by(status)
            {
                // The older acceptance satisfies the rules: keep its age, or merging would make it look fresh.
                return Some(Kept { answer: Answer::known(Fact { status: merged, ..fact }), ..kept });
            }
            let fact = Fact { status: merged, observed_at: now.wall, asked_at: now.wall, source: LEARNED };
            let learnt = Kept::new(&key, Answer::known(fact), now.moment(), generation, settings);
            // A doubt that came since is not settled by it.
            let doubted = kept.and_then(|kept| kept.doubted).filter(|doubted| *doubted > now.uptime);
            Some(Kept { epoch: word.teacher.under(word.terms), own: Some(status), doubted, ..learnt })
        });
    }

    /// Takes from the upstream's own answer that an acceptance may not hold any more: it is asked for again before its
    /// next use, at most once in `recheck_after`. Whether an acceptance is held that it speaks against.
    pub fn doubt(&self, settings: &Settings, key: Key, now: Now) -> bool {
        let doubt = |key| {
            let mut held = None;
            let doubted = self.cache.change(key, |kept| {
                let fact = kept.and_then(|kept| kept.answer.last).filter(|fact| fact.status.is_accepted());
                let kept = kept.zip(fact).map(|(kept, fact)| {
                    held = Some(fact.status);
                    kept
                })?;
                let again = |at| now.uptime.since(at) >= settings.recheck_after;
                kept.doubt_settled.is_none_or(again).then_some(Kept { doubted: Some(now.uptime), ..*kept })
            });
            (held, doubted)
        };
        let (held, doubted) = doubt(key);
        match held {
            Some(status) => self.learnt.put(key, Learnt::contradicted(now, status)),
            None => self.learnt.forget(&key),
        }
        // What all partners share is in doubt with it; what they have of their own is not.
        let also = everyones(&key).is_some_and(|shared| {
            self.learnt.forget(&shared);
            doubt(shared).1
        });
        if doubted || also {
            self.changed();
        }
        held.is_some()
    }

    /// Takes a hint that something was accepted at a moment, which can not be told: what is missing is asked for again
    /// before its next use, what is accepted behind it. Whether anything was asked before that moment.
    pub fn hint(&self, key: Key, at: Timestamp, now: Now) -> bool {
        let hinted = self.cache.change(key, |kept| {
            let kept = kept.filter(|kept| kept.answer.last.is_some() && now.wall_of(kept.asked) < at)?;
            let is_accepted = kept.answer.last.is_some_and(|fact| fact.status.is_accepted());
            Some(match is_accepted {
                true => Kept { refresh_at: kept.refresh_at.min(now.uptime), ..*kept },
                false => Kept { doubted: Some(now.uptime), ..*kept },
            })
        });
        if hinted {
            self.changed();
        }
        hinted
    }

    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// The answers and words about an agreement of a party, whatever its kind, cloud, region or billing partner.
    pub fn find(&self, asking: &Asking<'_>, agreement: Agreement, id: PartnerRef) -> Vec<(Key, Kept)> {
        let is_it = |key: &Key| key.agreement == agreement && key.party.ids().include(id);
        let mut found: Vec<(Key, Kept)> = self.cache.all().filter(|(key, _)| is_it(key)).collect();
        for (key, word) in self.learnt.all().filter(|(key, word)| is_it(key) && word.status.is_accepted()) {
            if !found.iter().any(|(known, _)| *known == key) {
                found.push((key, kept_of(asking, &key, &word, 0)));
            }
        }
        found
    }

    /// Asks now for one key, beside the requests, whatever was asked a moment ago. The answer, where it came in time.
    pub async fn refresh(&self, asking: &Asking<'_>, key: Key) -> Option<Kept> {
        let deadline = tokio::time::Instant::from_std(asking.until);
        let mut landed = None;
        // A question that was under way already may have been answered before: it is waited for, and another one asked.
        for _ in 0..2 {
            let waiter = self.ask(asking, key, Wanted::Anew, Lane::ByHand, |_| false);
            let joined = waiter.joined;
            landed = tokio::time::timeout_at(deadline, waiter.landed()).await.ok().flatten();
            if !joined {
                break;
            }
        }
        self.changed();
        landed
    }

    /// Asks for one key within what the budget leaves over, at most once in `recheck_after`.
    pub async fn warm(&self, asking: &Asking<'_>, key: Key) -> Option<Kept> {
        let waiter = self.ask_again(asking, key, Lane::Aside);
        let landed = tokio::time::timeout(asking.settings.deadline, waiter.landed()).await;
        self.changed();
        landed.ok().flatten()
    }

    /// The keys of an agreement of a party that are asked for now.
    pub fn under_way(&self, agreement: Agreement, id: PartnerRef) -> Vec<Key> {
        let is_it = |key: &Key| key.agreement == agreement && key.party.ids().include(id);
        self.flights.keys().into_iter().filter(is_it).collect()
    }

    /// Forgets what is kept and learnt under a key: the next request asks. An answer that was asked for before is dropped.
    pub fn forget(&self, asking: &Asking<'_>, key: &Key) {
        self.forgets.fetch_add(1, Ordering::AcqRel);
        self.learnt.forget(key);
        self.cache.forget(*key, asking.now, self.generations.load(Ordering::Acquire), asking.settings);
        self.changed();
    }

    /// Every answer, in no order; for saving it.
    pub fn all(&self) -> impl Iterator<Item = (Key, Kept)> + '_ {
        self.cache.all()
    }

    /// Every word that was learnt, in no order; for saving it.
    pub fn all_learnt(&self) -> impl Iterator<Item = (Key, Learnt)> + '_ {
        self.learnt.all()
    }

    /// A number that is another one once anything was learnt.
    pub fn state(&self) -> u64 {
        self.asked().wrapping_add(self.changes.load(Ordering::Acquire) << 32)
    }

    /// Takes a fact that a source told earlier or elsewhere, unless this source was asked already, or there is a later one;
    /// whether it was taken. Before its first use it is held against the sources that cost nothing to ask.
    pub fn take(&self, asking: &Asking<'_>, key: Key, fact: Fact, epoch: u64) -> bool {
        let asked = asking.now.at_wall(fact.asked_at);
        let kept = Kept::new(&key, Answer::known(fact), asked, 0, asking.settings);
        let demand = asking.sources.demand(&key);
        let taken = self.cache.change(key, |known| {
            let is_enough = |status: Status| status.is_accepted() && demand.is_met_by(status);
            let gives_way = |known: &Kept| {
                let was_asked = known.epoch == epoch && known.generation != kept.generation;
                let says_more =
                    known.fact().is_some_and(|known| is_enough(known.status)) && !is_enough(fact.status);
                !was_asked && !says_more && known.doubted.is_none() && asked.uptime >= known.asked.uptime
            };
            let doubt_settled = known.and_then(|known| known.doubt_settled);
            // An absence from elsewhere denies nothing: it is asked for again before its first use.
            let doubted = (!fact.status.is_accepted()).then_some(asking.now.uptime);
            known.is_none_or(gives_way).then_some(Kept { epoch, doubt_settled, doubted, ..kept })
        });
        if taken {
            self.changed();
        }
        taken
    }

    /// Takes a word that was learnt in another process, unless more was learnt since.
    pub fn take_learnt(&self, key: Key, word: Learnt) {
        self.learnt.take(key, word, |_| true);
        self.changed();
    }
}

/// A word that was learnt, as the answer that it is if no source says otherwise.
fn kept_of(asking: &Asking<'_>, key: &Key, word: &Learnt, generation: u64) -> Kept {
    let Moment { wall, .. } = word.at;
    let fact = Fact { status: word.status, observed_at: wall, asked_at: wall, source: LEARNED };
    let kept = Kept::new(key, Answer::known(fact), word.at, generation, asking.settings);
    Kept { epoch: word.teacher.under(word.terms), ..kept }
}

/// True for a need that nobody waits for and that no source can answer: a question would start a flight for nothing.
fn is_moot(asking: &Asking<'_>, need: &Need) -> bool {
    !need.decides && !asking.sources.may_say(&need.key)
}
