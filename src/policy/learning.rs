//! Learning: which of the upstream's own answers tell that an agreement was accepted.

use crate::policy::agreement::{Agreement, named_enum};
use crate::policy::endpoint::CustomerAt;
use crate::policy::pattern::Pattern;

named_enum! {
    /// How a customer accepted.
    By {
        /// Its partner attested it: that counts for this partner only, and has a date.
        Attestation = "attestation",
        /// By itself: that counts for every partner, and has no date.
        Direct = "direct",
    }
}

/// A value that tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A text, in either letter case.
    Text(String),
    /// `true` or `false`.
    Flag(bool),
}

/// What the answers of one operation tell of its customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learning {
    /// Of which agreement.
    pub agreement: Agreement,
    /// How it was accepted.
    pub by: By,
    /// The customer, which stands in the path.
    pub customer: CustomerAt,
    /// The status of an answer that tells it.
    pub status: u16,
    /// Members that such an answer has, each with one of these values.
    pub when: Vec<(Pattern, Vec<Told>)>,
    /// Where it says when.
    pub date: Option<Pattern>,
}
