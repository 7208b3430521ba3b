//! Refusals: why a request can not be judged.

use crate::policy::reason::Reason;

/// Why a request can not be judged; the detail holds nothing of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// What was found.
    pub detail: &'static str,
}

/// A refusal, as the error of whatever was being read.
pub fn refuse<T>(reason: Reason, detail: &'static str) -> Result<T, Refusal> {
    Err(Refusal { reason, detail })
}
