//! The words learnt of a key and of everybody's: kept beside the answers, and weighed with every later question.

use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::agreements::cache::Settings;
use crate::agreements::learnt::Learnt;
use crate::agreements::precedence::{InForce, Outlook, Outlooks};
use crate::agreements::sources::Sources;
use crate::clock::{Moment, Now};
use crate::policy::agreement::{Demand, Key, Party, Scope, Status};

/// The words of one key: the last one, and an earlier one that tells of a newer date. A word that ends what was learnt
/// stands alone.
pub type Pair = [Option<Learnt>; 2];

/// The words by key. They outlive the answers that are kept, so that a later question can weigh them again.
#[derive(Clone, Debug)]
pub struct LearntWords {
    words: Cache<Key, Pair>,
}

impl LearntWords {
    /// No word; words of at most `entries` keys will be kept.
    pub fn new(entries: u64) -> LearntWords {
        LearntWords {
            words: Cache::builder().max_capacity(entries).eviction_policy(EvictionPolicy::lru()).build(),
        }
    }

    /// The words of a key.
    pub fn get(&self, key: &Key) -> Pair {
        self.words.get(key).unwrap_or_default()
    }

    /// Takes a word, beside what is known already and `holds` still: of both nothing is lost.
    pub fn take(&self, key: Key, word: Learnt, holds: impl Fn(&Learnt) -> bool) {
        self.words.entry(key).and_compute_with(|known| {
            let kept = known.map(|known| *known.value()).unwrap_or_default();
            let known = || kept.iter().flatten().filter(|known| holds(known));
            if known().any(|known| known.covers(&word) && known.at != word.at) {
                return Op::Nop;
            }
            let last = |moment: fn(&Learnt) -> Option<Moment>| {
                kept.iter().flatten().chain([&word]).filter_map(moment).max_by_key(|at| at.uptime)
            };
            // What is ended of others stays so.
            let word = Learnt { ends: last(|word| word.ends), ..word };
            let all = || known().filter(|known| !word.covers(known)).chain([&word]);
            let last = all().max_by_key(|word| word.at.uptime);
            let other = all().filter(|word| Some(*word) != last).max_by_key(|word| word.dated());
            Op::Put([last.copied(), other.copied()])
        });
    }

    /// Replaces words that are still the ones they were.
    fn replace(&self, key: Key, known: Pair, next: Pair) {
        self.words.entry(key).and_compute_with(|entry| {
            let is_same = entry.as_ref().map(|entry| *entry.value()).unwrap_or_default() == known;
            match next {
                _ if !is_same || next == known => Op::Nop,
                [None, None] => Op::Remove,
                next => Op::Put(next),
            }
        });
    }

    /// Puts a word in place of whatever is known.
    pub fn put(&self, key: Key, word: Learnt) {
        self.words.insert(key, [Some(word), None]);
    }

    /// Puts an end to what was learnt of a key, which the upstream has contradicted.
    pub fn contradict(&self, key: &Key, now: Now) {
        self.words.entry(*key).and_compute_with(|known| {
            let known = known.map(|known| *known.value()).unwrap_or_default();
            let status = known.iter().flatten().map(|word| word.status).reduce(Status::merged);
            match status.filter(|status| status.is_accepted()) {
                Some(status) => Op::Put([Some(Learnt::contradicted(now, status)), None]),
                None => Op::Nop,
            }
        });
    }

    /// Drops what was learnt of a key.
    pub fn forget(&self, key: &Key) {
        self.words.invalidate(key);
    }

    /// Every word, in no order. It is for what is done now and then.
    pub fn all(&self) -> impl Iterator<Item = (Key, Learnt)> + '_ {
        self.words.iter().flat_map(|(key, pair)| pair.into_iter().flatten().map(move |word| (*key, word)))
    }
}

/// The words about a key that are young enough and whose teachers are still in force.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// The words about the key itself, which are attestations, and those that count for every partner, which are direct
    /// acceptances; as they are kept.
    kept: [Pair; 2],
    /// The words about the key itself, then those for every partner.
    in_force: InForce,
}

impl Words {
    /// Looks them up.
    pub fn about(key: &Key, learnt: &LearntWords, sources: &Sources, settings: &Settings, now: Now) -> Words {
        let kept = [learnt.get(key), everyones(key).map(|key| learnt.get(&key)).unwrap_or_default()];
        let holds = |word: &Learnt| {
            let is_young = now.age(word.confirmed) < settings.learnt;
            word.status.is_accepted() && is_young && sources.is_taught_by(word.teacher)
        };
        // A later word about the key itself may have ended what counts for every partner.
        let ends = ends(&kept[0]);
        let is_ended = |word: &Learnt| ends.is_some_and(|ends| ends.uptime >= word.at.uptime);
        let [own, shared] = kept.map(|pair| pair.map(|word| word.filter(&holds)));
        let shared = shared.map(|word| word.filter(|word| !is_ended(word)));
        Words { kept, in_force: [own[0], own[1], shared[0], shared[1]] }
    }

    /// The acceptances that nothing has ended.
    pub fn in_force(&self) -> InForce {
        self.in_force
    }

    /// True where they still bear an answer with that status, which was given for a word of that moment.
    pub fn bear(&self, status: Status, ground: Moment, demand: Demand) -> bool {
        let words = || self.in_force.iter().flatten();
        let told = words().map(|word| word.status).reduce(Status::merged);
        words().any(|word| word.at.uptime == ground.uptime)
            && (!demand.is_met_by(status) || told.is_some_and(|told| demand.is_met_by(told)))
    }

    /// The moment of the last one in force.
    pub fn last(&self) -> Option<Moment> {
        self.in_force.iter().flatten().map(|word| word.at).max_by_key(|at| at.uptime)
    }

    /// Updates the words by the outcome of a question about their key, unless more was learnt meanwhile.
    pub fn follow(&self, key: &Key, learnt: &LearntWords, outlooks: Outlooks, now: Now) {
        if outlooks == Outlooks::default() {
            return;
        }
        let next = |at: usize| {
            let word = self.in_force[at]?;
            match outlooks[at] {
                Outlook::Holds => Some(word),
                Outlook::Confirmed(whole) => {
                    let status = whole.unwrap_or(word.status);
                    Some(Learnt { status, confirmed: now.moment(), ..word })
                }
                Outlook::Ended => None,
            }
        };
        let own = self.kept[0];
        // What counts for every partner goes on for the others: it is ended for this key alone.
        let ended = (2..4).any(|at| outlooks[at] == Outlook::Ended && self.in_force[at].is_some());
        let ends = if ended { Some(now.moment()) } else { ends(&own) };
        let own_next = match [next(0), next(1)] {
            [None, None] if own.iter().flatten().any(|word| word.refused.is_some()) => own,
            [None, None] => [ends.map(|ends| Learnt::ended(now, ends)), None],
            words => words.map(|word| word.map(|word| Learnt { ends, ..word })),
        };
        learnt.replace(*key, own, own_next);
    }
}

/// The moment up to which the words of a key end what counts for every partner.
fn ends(own: &Pair) -> Option<Moment> {
    own.iter().flatten().filter_map(|word| word.ends).max_by_key(|at| at.uptime)
}

/// The key under which an acceptance is kept that counts for every partner: a direct one follows the customer.
pub fn everyones(key: &Key) -> Option<Key> {
    let is_billed = matches!((key.party, key.scope), (Party::Customer(_), Scope::Billing(_)));
    is_billed.then_some(Key { scope: Scope::None, ..*key })
}
