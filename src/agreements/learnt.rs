//! Acceptances learnt from passing answers of the upstream, each with the upstream and the rule that taught it.

use jiff::Timestamp;

use crate::agreements::fingerprint::fingerprint;
use crate::clock::{Moment, Now};
use crate::policy::agreement::Status;
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
        let told = |told: &Told| match told {
            Told::Text(text) => format!("\"{}\"", text.to_ascii_lowercase()),
            Told::Flag(flag) => flag.to_string(),
        };
        let when = learning.when.iter().zip(found);
        let mut lines: Vec<String> =
            when.map(|((place, _), found)| format!("{place}={}\n", told(found))).collect();
        // The order in which a configuration names them means nothing.
        lines.sort_unstable();
        text += &lines.concat();
        text += &learning.date.as_ref().map_or_else(String::new, ToString::to_string);
        Teacher(fingerprint(&text))
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

/// A word that a passing answer taught of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learnt {
    /// An acceptance; or "missing", where a later word has ended one that counts for every partner.
    pub status: Status,
    /// The moment of the passing answer.
    pub at: Moment,
    /// The last moment at which a remote source told of an acceptance too. Ledgers written before stay ended.
    pub confirmed: Moment,
    /// The upstream and the rule that taught it.
    pub teacher: Teacher,
    /// The terms of the remote sources that it stands for (`Sources::terms`). Under other terms they may say otherwise.
    pub terms: u64,
    /// The moment up to which words that count for every partner are ended for this key.
    pub ends: Option<Moment>,
    /// The acceptance that the upstream has contradicted since. An answer that only repeats it teaches nothing.
    pub refused: Option<Status>,
}

impl Learnt {
    /// A word learnt now.
    pub fn new(status: Status, now: Now, teacher: Teacher, terms: u64) -> Learnt {
        let at = now.moment();
        Learnt { status, at, confirmed: at, teacher, terms, ends: None, refused: None }
    }

    /// Nothing is learnt any more; what counts for every partner is ended up to that moment.
    pub fn ended(now: Now, ends: Moment) -> Learnt {
        Learnt { ends: Some(ends), ..Learnt::new(Status::MISSING, now, Teacher(0), 0) }
    }

    /// The upstream has contradicted now an acceptance.
    pub fn contradicted(now: Now, status: Status) -> Learnt {
        Learnt { refused: Some(status), ..Learnt::ended(now, now.moment()) }
    }

    /// True where it is no older than another word, and tells everything that this one tells.
    pub fn covers(&self, other: &Learnt) -> bool {
        self.at.uptime >= other.at.uptime && self.status.merged(other.status) == self.status
    }

    /// The date of the acceptance.
    pub fn dated(&self) -> Option<Timestamp> {
        match self.status {
            Status::Accepted { at, .. } => at,
            Status::Missing(_) | Status::NotApplicable => None,
        }
    }
}
