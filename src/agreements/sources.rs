//! The sources of a configuration, asked in turn.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::agreements::cache::{Kept, LEARNED};
use crate::agreements::learnt::Teacher;
use crate::agreements::precedence::{Speaker, Weighing};
use crate::agreements::source::{Question, Source};
use crate::policy::agreement::{Agreement, Demand, Key, PartyKind};
use crate::policy::id::Guid;

/// The sources of each kind of party, asked in turn.
///
/// The generation grows whenever what they would answer may have changed: kept answers of an older one are asked for
/// again, of sources that are local or have changed. It belongs to the sources rather than to the cache, so that a
/// request that still works with older sources can not pass off their answer as a newer one.
#[derive(Debug, Default)]
pub struct Sources {
    /// For the billing partner.
    pub partner: Vec<Arc<dyn Source>>,
    /// For resellers.
    pub reseller: Vec<Arc<dyn Source>>,
    /// For customers.
    pub customer: Vec<Arc<dyn Source>>,
    /// The dates that rules ask for.
    pub demands: Vec<(Agreement, PartyKind, Demand)>,
    /// The upstream whose passing answers teach: its URL.
    pub upstream: String,
    /// The teachers in force: this upstream, by the rules of now.
    pub teachers: HashSet<Teacher>,
    /// The generation.
    pub generation: AtomicU64,
}

impl Sources {
    /// The generation they are of.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The sources to ask of a kind of party.
    pub fn of(&self, kind: PartyKind) -> &[Arc<dyn Source>] {
        match kind {
            PartyKind::Partner => &self.partner,
            PartyKind::Reseller => &self.reseller,
            PartyKind::Customer => &self.customer,
        }
    }

    /// The dates of acceptances that rules ask for.
    pub fn demand(&self, key: &Key) -> Demand {
        Demand::among(&self.demands, key)
    }

    /// The terms of what is learnt of a kind of party, a number of the epochs of all sources that it stands for; zero for
    /// none. Under other terms they may say something else.
    pub fn terms(&self, kind: PartyKind) -> u64 {
        let remote = self.of(kind).iter().filter(|source| !source.is_local());
        remote.fold(0, |terms: u64, source| terms.rotate_left(7) ^ source.epoch() ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// True where the teacher of an acceptance is in force.
    pub fn is_taught_by(&self, teacher: Teacher) -> bool {
        self.teachers.contains(&teacher)
    }

    /// True where a kept answer may stand in for what these sources could not be asked: it is of now, or what a source that is
    /// remote, or the upstream, has said and would say still. What a ledger said it can always be asked for.
    pub fn stands(&self, kept: &Kept, key: &Key) -> bool {
        let Some(fact) = kept.answer.last else { return false };
        if fact.source == LEARNED {
            let terms = self.terms(key.party.kind());
            return self.teachers.iter().any(|teacher| teacher.under(terms) == kept.epoch);
        }
        let mut remote = self.of(key.party.kind()).iter().filter(|source| !source.is_local());
        kept.generation == self.generation()
            || remote.any(|source| fact.source == source.name() && kept.epoch == source.epoch())
    }

    /// True where a source of the party's kind may answer for this key.
    pub fn may_say(&self, key: &Key) -> bool {
        self.of(key.party.kind()).iter().any(|source| source.may_say(key))
    }

    /// True where a source is likely to take long and bring nothing.
    pub fn are_ailing(&self, kind: PartyKind) -> bool {
        self.of(kind).iter().any(|source| source.is_ailing())
    }

    /// Asks the sources in turn, as far as it takes to settle the question.
    pub async fn ask(
        &self,
        key: &Key,
        asker: Option<Guid>,
        patience: Duration,
        mut weighing: Weighing,
    ) -> Weighing {
        let sources = self.of(key.party.kind());
        let demand = self.demand(key);
        for (at, source) in sources.iter().enumerate() {
            let last = at + 1 == sources.len();
            let (name, epoch, is_local) = (source.name(), source.epoch(), source.is_local());
            let speaker = Speaker { name, epoch, is_local };
            if !is_local && (!source.may_say(key) || weighing.is_silent(speaker)) {
                continue;
            }
            let is_settled = match weighing.instead_of(speaker) {
                Some(word) => weighing.settle(word),
                None => {
                    let question = Question { key: *key, demand, last, asker, patience };
                    weighing.take(speaker, source.look_up(&question).await)
                }
            };
            if is_settled {
                break;
            }
        }
        weighing
    }
}
