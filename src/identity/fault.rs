//! Faults: why a token proves nothing.

/// The most issuers that a configuration may have: each has a bit in [`Places`].
pub const ISSUERS_MAX: usize = 64;

/// Issuers, by their places in the configuration. Several may fit one `iss`: a tenant's own, and one with `{tid}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places(u64);

impl Places {
    /// Adds one.
    pub fn add(&mut self, place: usize) {
        self.0 |= 1 << place;
    }

    /// Both together.
    #[must_use]
    pub fn union(self, other: Places) -> Places {
        Places(self.0 | other.0)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether an issuer is among them.
    pub fn has(self, place: usize) -> bool {
        self.0 & (1 << place) != 0
    }
}

/// Why a token proves nothing. The texts hold nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// It is malformed, forged, or not for us.
    Invalid(&'static str),
    /// It was valid.
    Expired,
    /// Its key is not in the sets of these issuers as far as they were fetched. All but the signature would do.
    KeyUnknown(Places),
    /// Its issuer's keys are not at hand.
    KeysUnavailable,
}
