//! The world of the random histories: a ledger and a server, the words that they gave, and what has ended some of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use countersign::agreements::cache::Settings;
use countersign::agreements::learnt::Teacher;
use countersign::agreements::source::{Question, Said, Saying, Source};
use countersign::clock::{Moment, Now};
use countersign::policy::agreement::{Cloud, Key, MCA, Party, Scope, Status};
use countersign::policy::id::{Guid, Name};
use jiff::Timestamp;
use tokio::sync::watch;

/// A generator that makes the same history of the same number on every machine (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

pub fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn settings() -> Settings {
    Settings {
        entries: 1000,
        accepted: Duration::from_secs(1000),
        missing: Duration::from_secs(30),
        stale: Duration::from_secs(300),
        learnt: Duration::from_secs(5000),
        recheck_after: Duration::from_secs(5),
        // Nothing here takes long by the clock of the machine.
        deadline: Duration::from_secs(24 * 3600),
    }
}

/// A customer's agreement, as its partner orders for it.
pub fn billed(customer: Guid, partner: u64) -> Key {
    let (party, scope) =
        (Party::Customer(customer), Scope::Billing(Guid::from_bits(u128::from(partner) + 1)));
    Key { cloud: Cloud::Commercial, agreement: MCA, party, scope }
}

/// A word that the gateway was given.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    pub at: Moment,
    pub mono: Instant,
    pub said: Said,
    pub epoch: u64,
}

/// The state of the world behind one source.
#[derive(Debug)]
pub struct Behind {
    pub name: Name,
    pub is_local: bool,
    /// For each key what would be said now.
    pub says: Mutex<HashMap<Key, Said>>,
    pub now: Mutex<Now>,
    pub epoch: Mutex<u64>,
    /// Every answer that was given.
    pub given: Mutex<Vec<(Key, Given)>>,
    /// While it is false, answers wait: they are what would have been said when the question came.
    pub gate: watch::Sender<bool>,
}

impl Behind {
    pub fn new(name: &str, is_local: bool, now: Now) -> Arc<Behind> {
        Arc::new(Behind {
            name: Name::new(name).unwrap(),
            is_local,
            says: Mutex::default(),
            now: Mutex::new(now),
            epoch: Mutex::new(u64::from(!is_local)),
            given: Mutex::default(),
            gate: watch::Sender::new(true),
        })
    }

    pub fn says(&self, key: &Key) -> Said {
        self.says.lock().unwrap().get(key).copied().unwrap_or(Said::Nothing)
    }

    pub fn say(&self, key: Key, said: Said) {
        self.says.lock().unwrap().insert(key, said);
    }
}

impl Source for Behind {
    fn name(&self) -> Name {
        self.name
    }

    fn epoch(&self) -> u64 {
        *self.epoch.lock().unwrap()
    }

    fn is_local(&self) -> bool {
        self.is_local
    }

    fn look_up<'a>(&'a self, question: &'a Question) -> Saying<'a> {
        let now = *self.now.lock().unwrap();
        let said = match self.says(&question.key) {
            // A server says what it says when it is asked.
            Said::Definite { status, .. } if !self.is_local => {
                Said::Definite { status, observed: now.moment() }
            }
            Said::AtLeast { status, failure, .. } => {
                Said::AtLeast { status, observed: now.moment(), failure }
            }
            said => said,
        };
        let given = Given { at: now.moment(), mono: now.mono, said, epoch: self.epoch() };
        let mut gate = self.gate.subscribe();
        Box::pin(async move {
            gate.wait_for(|open| *open).await.unwrap();
            self.given.lock().unwrap().push((question.key, given));
            said
        })
    }
}

/// Something that an acceptance does not outlive.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub at: Moment,
    pub key: Key,
    /// Everything that is known of the key, not only acceptances.
    pub is_forgotten: bool,
    /// Only what was learnt.
    pub is_learnt_only: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Learning {
    pub at: Moment,
    pub key: Key,
    pub status: Status,
    pub teacher: Teacher,
    pub terms: u64,
}
