//! Sources: where statuses come from, and how several are asked in turn.

use std::collections::HashSet;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::agreements::cache::{Kept, LEARNED};
use crate::agreements::learnt::Teacher;
use crate::agreements::precedence::{Speaker, Weighing};
use crate::clock::Moment;
use crate::policy::agreement::{Agreement, Demand, Failure, Key, PartyKind, Status};
use crate::policy::id::{Guid, Name};

/// What a source says to one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// A definite answer.
    Definite {
        /// The status.
        status: Status,
        /// The moment at which the source learnt it: for a ledger, when it was written.
        observed: Moment,
    },
    /// An acceptance, though not all that could be known of it: there may be a newer one, or one with a date.
    AtLeast {
        /// The status.
        status: Status,
        /// The moment at which the source learnt it: for a ledger, when it was written.
        observed: Moment,
        /// Why there is no more.
        failure: Failure,
    },
    /// The source does not know the party; a further source may.
    Nothing,
    /// The source could not be asked.
    Failed(Failure),
}

/// A question to a source.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Where what stands.
    pub key: Key,
    /// What rules ask of the date.
    pub demand: Demand,
    /// Whether no further source follows.
    pub last: bool,
    /// The caller's tenant whose request asks; `None` for what is done beside requests.
    pub asker: Option<Guid>,
    /// How long the question may wait for its turn.
    pub patience: Duration,
}

/// An answer to come.
pub type Saying<'a> = Pin<Box<dyn Future<Output = Said> + Send + 'a>>;

/// A source of statuses.
pub trait Source: Debug + Send + Sync {
    /// Its name in configuration, findings and records.
    fn name(&self) -> Name;

    /// A number that is another one once earlier answers need not hold any more. Where it comes from settings alone, it
    /// is the same in every process.
    fn epoch(&self) -> u64;

    /// Whether asking costs nothing: then nothing that it said is used again in its place.
    fn is_local(&self) -> bool;

    /// Whether asking it now is likely to take long and bring nothing.
    fn is_ailing(&self) -> bool {
        false
    }

    /// True where a question about this key may bring an answer. It is called on the way of a request: no allocation.
    fn may_say(&self, key: &Key) -> bool {
        let _ = key;
        true
    }

    /// Asks where an agreement stands.
    fn look_up<'a>(&'a self, question: &'a Question) -> Saying<'a>;
}

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
    /// What rules ask of dates.
    pub demands: Vec<(Agreement, PartyKind, Demand)>,
    /// The upstream whose passing answers teach: its URL.
    pub upstream: String,
    /// What may have taught an acceptance: this upstream by the rules in force.
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

    /// What rules ask of the date of an acceptance.
    pub fn demand(&self, key: &Key) -> Demand {
        let fits = |of: &&(Agreement, PartyKind, Demand)| of.0 == key.agreement && of.1 == key.party.kind();
        self.demands.iter().find(fits).map_or_else(Demand::default, |(.., demand)| *demand)
    }

    /// The terms of what is learnt of a kind of party: the epoch of the source that it stands for.
    pub fn terms(&self, kind: PartyKind) -> u64 {
        self.of(kind).iter().find(|source| !source.is_local()).map_or(0, |source| source.epoch())
    }

    /// Whether what taught an acceptance is in force.
    pub fn is_taught_by(&self, teacher: Teacher) -> bool {
        self.teachers.contains(&teacher)
    }

    /// Whether what is kept may stand in for what these sources could not be asked: it is of now, or what a source that is
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

    /// Whether a source is likely to take long and bring nothing.
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
            let instead = weighing.instead_of(speaker).filter(|_| source.may_say(key));
            let is_settled = match instead {
                Some(word) => weighing.take_instead(word),
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
