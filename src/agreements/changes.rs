//! Changes of what is known between look-ups: learnings, doubts and hints of passing answers, what operators do by hand, and
//! what is taken from elsewhere.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use jiff::Timestamp;

use crate::agreements::asking::Asking;
use crate::agreements::cache::{Freshness, Kept, LEARNED, Settings};
use crate::agreements::flights::Lane;
use crate::agreements::known::{Agreements, kept_of};
use crate::agreements::learnt::{Learnt, Teacher};
use crate::agreements::precedence::Wanted;
use crate::agreements::sources::Sources;
use crate::agreements::words::everyones;
use crate::clock::Now;
use crate::policy::agreement::{Agreement, Answer, Fact, Key, Status};
use crate::policy::id::PartnerRef;
use crate::policy::learning::By;

impl Agreements {
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
        // A source that can be asked decides. Where there is none, nothing else could lift the block.
        let mut remote = sources.of(key.party.kind()).iter().filter(|source| !source.is_local());
        let decides = remote.any(|source| source.may_say(&key));
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
            let (epoch, silent) = (word.teacher.under(word.terms), kept.and_then(|kept| kept.silent));
            Some(Kept { epoch, own: Some(status), silent, doubted, ..learnt })
        });
    }

    /// Takes from the upstream's own answer that an acceptance may not hold any more: it is asked for again before its
    /// next use, at most once in `recheck_after`. Whether an acceptance is held that it speaks against.
    pub fn doubt(&self, settings: &Settings, key: Key, now: Now) -> bool {
        let doubt = |key| {
            let mut held = None;
            self.cache.change(key, |kept| {
                let fact = kept.and_then(|kept| kept.answer.last).filter(|fact| fact.status.is_accepted());
                let kept = kept.zip(fact).map(|(kept, fact)| {
                    held = Some(fact.status);
                    kept
                })?;
                let again = |at| now.uptime.since(at) >= settings.recheck_after;
                kept.doubt_settled.is_none_or(again).then_some(Kept { doubted: Some(now.uptime), ..*kept })
            });
            held
        };
        let held = doubt(key);
        match held {
            Some(status) => self.learnt.put(key, Learnt::contradicted(now, status)),
            None => self.learnt.contradict(&key, now),
        }
        // The upstream also contradicts the acceptance that counts for all partners, but not the attestations of others.
        if let Some(shared) = everyones(&key) {
            self.learnt.forget(&shared);
            doubt(shared);
        }
        self.changed();
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
        let is_it = |key: &Key| is_about(key, agreement, id);
        let mut found: Vec<(Key, Kept)> = self.cache.all().filter(|(key, _)| is_it(key)).collect();
        for (key, word) in self.learnt.all().filter(|(key, word)| is_it(key) && word.status.is_accepted()) {
            if !found.iter().any(|(known, _)| *known == key) {
                found.push((key, kept_of(asking, &key, &word)));
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

    /// Forgets everything about an agreement of a party: the next request asks. What is asked for now comes too late.
    /// The answer is how many keys there were.
    pub fn forget_all(&self, asking: &Asking<'_>, agreement: Agreement, id: PartnerRef) -> usize {
        let is_it = |key: &Key| is_about(key, agreement, id);
        let kept = self.cache.all().map(|(key, _)| key);
        let all = kept.chain(self.learnt.all().map(|(key, _)| key)).chain(self.flights.keys());
        let keys: HashSet<Key> = all.filter(is_it).collect();
        keys.iter().for_each(|key| self.forget(asking, key));
        keys.len()
    }

    /// Forgets what is kept and learnt under a key. An answer that was asked for before is dropped.
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

/// True for a key of this agreement and party, whatever its cloud, region or billing partner.
fn is_about(key: &Key, agreement: Agreement, id: PartnerRef) -> bool {
    key.agreement == agreement && key.party.ids().include(id)
}
