//! One source: what it is asked, and what it says.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::clock::Moment;
use crate::policy::agreement::{Demand, Failure, Key, Status};
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
