//! Acceptances learnt from passing answers of the upstream, each with the upstream and the rule that taught it.

use std::time::Duration;

use aws_lc_rs::digest;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::clock::{Moment, Now};
use crate::policy::agreement::{Key, Status};
use crate::policy::learning::{Learning, Told};

/// A number for what taught an acceptance: an upstream, an operation, and the values that its answer had. It is the same
/// in every process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Teacher(pub u64);

impl Teacher {
    /// The teacher of an answer that had these values at the places that the rule names, in the order of the rule.
    pub fn of(upstream: &str, operation: &str, learning: &Learning, found: &[&Told]) -> Teacher {
        let mut text = format!(
            "{upstream}\n{operation}\n{}\n{}\n{:?}\n{}\n",
            learning.agreement,
            learning.by.as_str(),
            learning.customer,
            learning.status,
        );
        for ((place, _), told) in learning.when.iter().zip(found) {
            let told = match told {
                Told::Text(text) => format!("\"{}\"", text.to_ascii_lowercase()),
                Told::Flag(flag) => flag.to_string(),
            };
            text += &format!("{place}={told}\n");
        }
        text += &learning.date.as_ref().map_or_else(String::new, ToString::to_string);
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        Teacher(u64::from_be_bytes(hash.as_ref()[..8].try_into().expect("a hash has more than eight bytes")))
    }

    /// A number for what this has taught under the terms of a source.
    pub fn under(self, terms: u64) -> u64 {
        self.0 ^ terms.rotate_left(17)
    }

    /// Every teacher that a rule stands for: one for each combination of values that tells of an acceptance. A rule that
    /// loses a value thus ends what that value has taught, and nothing else.
    pub fn all(upstream: &str, operation: &str, learning: &Learning) -> Vec<Teacher> {
        let mut combinations: Vec<Vec<&Told>> = vec![Vec::new()];
        for (_, values) in &learning.when {
            let longer = |found: &Vec<_>| {
                let found = found.clone();
                values
                    .iter()
                    .map(move |told| found.iter().copied().chain([told]).collect())
                    .collect::<Vec<_>>()
            };
            combinations = combinations.iter().flat_map(longer).collect();
        }
        combinations.iter().map(|found| Teacher::of(upstream, operation, learning, found)).collect()
    }
}

/// The last word that passing answers taught of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learnt {
    /// An acceptance; or "missing", where a later word has ended one that counts for every partner.
    pub status: Status,
    /// The moment of the passing answer. Of what was learnt more than once, the oldest that is needed for the status.
    pub at: Moment,
    /// The last moment at which a remote source told of an acceptance too. Ledgers written before stay ended.
    pub confirmed: Moment,
    /// What taught it.
    pub teacher: Teacher,
    /// The epoch of the remote source that it stands for; zero for none. Under other terms that source may say otherwise.
    pub terms: u64,
    /// True once that source was asked, and had nothing to say of the party: then it stands for nobody.
    pub is_alone: bool,
    /// The acceptance that the upstream has contradicted since. An answer that only repeats it teaches nothing.
    pub refused: Option<Status>,
}

impl Learnt {
    /// A word learnt now.
    pub fn new(status: Status, now: Now, teacher: Teacher, terms: u64) -> Learnt {
        let at = now.moment();
        Learnt { status, at, confirmed: at, teacher, terms, is_alone: false, refused: None }
    }

    /// A later word has ended now what was learnt.
    pub fn ended(now: Now, teacher: Teacher) -> Learnt {
        Learnt::new(Status::MISSING, now, teacher, 0)
    }

    /// The upstream has contradicted now an acceptance.
    pub fn contradicted(now: Now, status: Status) -> Learnt {
        Learnt { refused: Some(status), ..Learnt::ended(now, Teacher(0)) }
    }

    /// The later word, with what only the earlier one tells: that makes it as old as the earlier one.
    #[must_use]
    pub fn over(self, earlier: Learnt) -> Learnt {
        let merged = earlier.status.merged(self.status);
        if merged == self.status || !earlier.status.is_accepted() || !self.status.is_accepted() {
            return self;
        }
        let confirmed =
            if earlier.confirmed.uptime > self.confirmed.uptime { earlier } else { self }.confirmed;
        Learnt { status: merged, confirmed, ..earlier }
    }
}

/// The words by key. They outlive the answers that are kept, so that a later question can weigh them again.
#[derive(Clone, Debug)]
pub struct LearntWords {
    words: Cache<Key, Learnt>,
}

impl LearntWords {
    /// No word; at most `entries` will be kept.
    pub fn new(entries: u64) -> LearntWords {
        LearntWords {
            words: Cache::builder().max_capacity(entries).eviction_policy(EvictionPolicy::lru()).build(),
        }
    }

    /// The word about a key that is young enough.
    pub fn get(&self, key: &Key, now: Now, age_max: Duration) -> Option<Learnt> {
        self.words.get(key).filter(|word| now.age(word.confirmed) < age_max)
    }

    /// Takes a word, beside what is known already and `holds` still. Where a word `is_enough` by itself, nothing that is older
    /// is needed.
    pub fn take(
        &self,
        key: Key,
        word: Learnt,
        holds: impl Fn(&Learnt) -> bool,
        is_enough: impl Fn(Status) -> bool,
    ) {
        self.words.entry(key).and_compute_with(|known| {
            let known = known.map(|known| *known.value()).filter(|known| holds(known));
            let word = Learnt { is_alone: known.is_some_and(|known| known.is_alone), ..word };
            Op::Put(match known {
                Some(known) if known.at.uptime > word.at.uptime => known.over(word),
                Some(known) if !is_enough(word.status) => word.over(known),
                _ => word,
            })
        });
    }

    /// Replaces a word that is still the one it was.
    pub fn replace(&self, key: Key, known: Option<Learnt>, word: Option<Learnt>) {
        self.words.entry(key).and_compute_with(|entry| {
            let is_same = entry.as_ref().map(|entry| *entry.value()) == known;
            match word {
                Some(word) if is_same => Op::Put(word),
                None if is_same && entry.is_some() => Op::Remove,
                _ => Op::Nop,
            }
        });
    }

    /// Puts a word in place of whatever is known.
    pub fn put(&self, key: Key, word: Learnt) {
        self.words.insert(key, word);
    }

    /// Drops what was learnt of a key.
    pub fn forget(&self, key: &Key) {
        self.words.invalidate(key);
    }

    /// Every word, in no order. It is for what is done now and then.
    pub fn all(&self) -> impl Iterator<Item = (Key, Learnt)> + '_ {
        self.words.iter().map(|(key, word)| (*key, word))
    }
}
