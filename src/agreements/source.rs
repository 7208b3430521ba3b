//! Sources: where statuses come from, and how several are asked in turn.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use crate::agreements::cache::{Kept, LEARNED};
use crate::policy::agreement::{Agreement, Demand, Fact, Failure, Key, PartyKind, Status};
use crate::policy::id::{Guid, Name};

/// What a source says to one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// A definite answer.
    Definite {
        /// The status.
        status: Status,
        /// When the source learnt it.
        observed_at: Timestamp,
    },
    /// An acceptance, though not all that could be known of it: there may be a newer one, or one with a date.
    AtLeast {
        /// The status.
        status: Status,
        /// When the source learnt it.
        observed_at: Timestamp,
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
    /// The generation.
    pub generation: AtomicU64,
}

/// What asking the sources in turn brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reply {
    /// What sources told.
    pub settled: Option<Settled>,
    /// Why there may be more, or nothing was told.
    pub failure: Option<Failure>,
}

/// A status that sources told.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    /// The status.
    pub status: Status,
    /// When its source learnt it.
    pub observed_at: Timestamp,
    /// Which source said so.
    pub by: By,
}

/// Who said something.
#[derive(Clone, Copy, Debug)]
pub struct By {
    /// The source.
    pub source: Name,
    /// Its epoch.
    pub epoch: u64,
    /// Whether it is local.
    pub is_local: bool,
    /// Whether it was not asked, but had said so before.
    pub reused: bool,
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

    /// The epoch of what is learnt of a party: it stands for what a source would say that costs something to ask, as long as
    /// that would say the same.
    pub fn learnt_epoch(&self, kind: PartyKind) -> u64 {
        self.of(kind).iter().find(|source| !source.is_local()).map_or(0, |source| source.epoch())
    }

    /// Whether what is kept may stand in for what these sources could not be asked: it is of now, or what a source that is
    /// remote has said and would say still. What a ledger said it can always be asked for.
    pub fn stands(&self, kept: &Kept, key: &Key) -> bool {
        let mut remote = self.of(key.party.kind()).iter().filter(|source| !source.is_local());
        kept.generation == self.generation()
            || kept.answer.last.is_some_and(|fact| remote.any(|source| is_of(kept, &fact, &**source)))
    }

    /// True where a source of the party's kind may answer for this key.
    pub fn may_say(&self, key: &Key) -> bool {
        self.of(key.party.kind()).iter().any(|source| source.may_say(key))
    }

    /// Whether a source is likely to take long and bring nothing.
    pub fn are_ailing(&self, kind: PartyKind) -> bool {
        self.of(kind).iter().any(|source| source.is_ailing())
    }

    /// Asks the sources in turn; the first definite answer wins. Missing, and accepted too long ago, need every source
    /// asked before it to have been definite: a failed one may hold the acceptance. What is `kept` stands for the source it
    /// came from.
    pub async fn ask(
        &self,
        key: &Key,
        asker: Option<Guid>,
        patience: Duration,
        kept: Option<&Kept>,
    ) -> Reply {
        let sources = self.of(key.party.kind());
        let demand = self.demand(key);
        let mut stack = Stack::new(demand);
        for (at, source) in sources.iter().enumerate() {
            let last = at + 1 == sources.len();
            let again = kept.and_then(|kept| said_before(kept, &**source, demand));
            let said = match again {
                Some(fact) => Said::Definite { status: fact.status, observed_at: fact.observed_at },
                None => source.look_up(&Question { key: *key, demand, last, asker, patience }).await,
            };
            let by = By {
                source: again.map_or(source.name(), |fact| fact.source),
                epoch: source.epoch(),
                is_local: source.is_local(),
                reused: again.is_some(),
            };
            if stack.settle(said, by) {
                break;
            }
        }
        stack.reply()
    }
}

/// What a source that costs something to ask has said, where that still holds and is enough. What was learnt from the
/// upstream is as good as what it would say.
fn said_before(kept: &Kept, source: &dyn Source, demand: Demand) -> Option<Fact> {
    let fact = kept.answer.last.filter(|_| kept.answer.failure.is_none() && !source.is_local())?;
    let is_enough = !fact.status.is_accepted() || demand.is_met_by(fact.status);
    (is_of(kept, &fact, source) && is_enough).then_some(fact)
}

/// Whether a source has said what is kept, or would have if it was not learnt, and nothing about it has changed since.
fn is_of(kept: &Kept, fact: &Fact, source: &dyn Source) -> bool {
    (fact.source == source.name() || fact.source == LEARNED) && kept.epoch == source.epoch()
}

/// What sources asked in turn have said so far.
#[derive(Debug, Default)]
pub struct Stack {
    demand: Demand,
    reply: Reply,
}

impl Stack {
    /// Nothing was said yet; `demand` is what rules ask of the date.
    pub fn new(demand: Demand) -> Stack {
        Stack { demand, reply: Reply::default() }
    }

    /// Takes what the next source says; whether that settles the question.
    pub fn settle(&mut self, said: Said, by: By) -> bool {
        match said {
            Said::Nothing => false,
            Said::Failed(why) => {
                self.reply.failure.get_or_insert(why);
                false
            }
            Said::AtLeast { status, observed_at, failure } => {
                self.reply.failure.get_or_insert(failure);
                self.tell(status, observed_at, by);
                false
            }
            Said::Definite { status: Status::Missing(_), .. } if self.reply.failure.is_some() => false,
            Said::Definite { status, observed_at } => {
                self.tell(status, observed_at, by);
                let is_enough = !status.is_accepted() || self.demand.is_met_by(status);
                let is_settled = self.reply.failure.is_none() || is_enough;
                if is_settled {
                    self.reply.failure = None;
                }
                is_settled
            }
        }
    }

    /// Of what several have told, nothing is lost.
    fn tell(&mut self, status: Status, observed_at: Timestamp, by: By) {
        let status = match self.reply.settled {
            Some(told) => told.status.merged(status),
            None => status,
        };
        self.reply.settled = Some(Settled { status, observed_at, by });
    }

    /// What came of it.
    pub fn reply(&self) -> Reply {
        self.reply
    }
}
