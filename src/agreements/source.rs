//! Sources: where statuses come from.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use jiff::Timestamp;

use crate::policy::agreement::{Failure, Key, PartyKind, Status};
use crate::policy::id::Name;

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
    /// The source does not know the party; a further source may.
    Nothing,
    /// The source could not be asked.
    Failed(Failure),
}

/// A source of statuses.
pub trait Source: Debug + Send + Sync {
    /// Its name in configuration, findings and records.
    fn name(&self) -> Name;

    /// Asks where an agreement stands. `last` says that no further source follows.
    fn look_up<'a>(&'a self, key: &'a Key, last: bool) -> Pin<Box<dyn Future<Output = Said> + Send + 'a>>;
}

/// The sources of each kind of party, asked in turn.
///
/// The generation grows whenever what they would answer may have changed: kept answers of an older one are asked for
/// again. It belongs to the sources rather than to the cache, so that a request that still works with older sources can
/// not pass off their answer as a newer one.
#[derive(Debug, Default)]
pub struct Sources {
    /// For the billing partner.
    pub partner: Vec<Arc<dyn Source>>,
    /// For resellers.
    pub reseller: Vec<Arc<dyn Source>>,
    /// For customers.
    pub customer: Vec<Arc<dyn Source>>,
    /// The generation.
    pub generation: AtomicU64,
}

impl Sources {
    /// The sources to ask of a kind of party.
    pub fn of(&self, kind: PartyKind) -> &[Arc<dyn Source>] {
        match kind {
            PartyKind::Partner => &self.partner,
            PartyKind::Reseller => &self.reseller,
            PartyKind::Customer => &self.customer,
        }
    }

    /// Asks the sources in turn; the first definite answer wins. Missing needs every source asked before it to have
    /// been definite: a failed one may hold the acceptance.
    pub async fn ask(&self, key: &Key) -> (Said, Option<Name>) {
        let sources = self.of(key.party.kind());
        let mut stack = Stack::default();
        for (at, source) in sources.iter().enumerate() {
            if let Some(said) = stack.settle(source.look_up(key, at + 1 == sources.len()).await) {
                return (said, Some(source.name()));
            }
        }
        (stack.nothing(), None)
    }
}

/// What sources asked in turn have said so far.
#[derive(Debug, Default)]
pub struct Stack {
    failure: Option<Failure>,
}

impl Stack {
    /// Takes what the next source says; `Some` where that settles the question.
    pub fn settle(&mut self, said: Said) -> Option<Said> {
        match (said, self.failure) {
            (Said::Nothing, _) | (Said::Definite { status: Status::Missing, .. }, Some(_)) => None,
            (Said::Failed(why), _) => {
                self.failure.get_or_insert(why);
                None
            }
            (definite, _) => Some(definite),
        }
    }

    /// What is to be said where no source settled it.
    pub fn nothing(&self) -> Said {
        self.failure.map_or(Said::Nothing, Said::Failed)
    }
}
