//! Reading: what an answer says, or what is wrong with it.

use crate::fetch::Answer;
use crate::policy::agreement::Failure;
use crate::remote::guard::Outcome;

/// An answer that says nothing of what was asked, with what is wrong with it; nothing of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It cannot be read: its server is broken, or somebody else answered.
    Broken(&'static str),
    /// It can be read, but does not help with this question; the next one may do better.
    Silent(&'static str),
}

impl Unusable {
    /// The fault that was found in it.
    pub fn why(self) -> &'static str {
        let (Unusable::Broken(why) | Unusable::Silent(why)) = self;
        why
    }

    /// The question's end for the breaker: an answer about one party alone says nothing of the server.
    pub fn outcome(self) -> Outcome {
        match self {
            Unusable::Broken(_) => Outcome::Failed,
            Unusable::Silent(_) => Outcome::Answered,
        }
    }
}

/// Why a question was asked for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// No answer came, or one that is not the server's own.
    Failed(Failure),
    /// The answer does not help.
    Unusable(Unusable),
}

impl Unanswered {
    /// The failure to learn that it comes to.
    pub fn failure(self) -> Failure {
        match self {
            Unanswered::Failed(failure) => failure,
            Unanswered::Unusable(_) => Failure::Source,
        }
    }
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Unanswered {
        Unanswered::Failed(failure)
    }
}

/// Takes from an answer what it says of the question.
pub trait Read<T>: Fn(&Answer) -> Result<T, Unusable> + Send + Sync {}

impl<T, F: Fn(&Answer) -> Result<T, Unusable> + Send + Sync> Read<T> for F {}
