//! Shared: what the serving thread and the owner of a stand-in both hold.

use crate::standin::book::Book;
use crate::standin::ledger::Ledger;
use crate::standin::line::Line;

/// Everything a request can reach.
pub struct Shared {
    /// Requests received.
    pub ledger: Ledger,
    /// What was set and stored.
    pub book: Book,
    /// The listening socket.
    pub line: Line,
}
