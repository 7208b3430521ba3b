//! Book: all that a stand-in was told and has stored, beyond its requests.

use crate::standin::counts::Counts;
use crate::standin::lists::Lists;
use crate::standin::parties::Parties;
use crate::standin::refusals::Refusals;
use crate::standin::replays::Replays;
use crate::standin::shelf::Shelf;
use crate::standin::steering::Steering;
use crate::standin::throttle::Throttle;
use crate::standin::tokens::Tokens;

/// The state behind the answers; each part has a lock of its own, which an order without set-up never takes.
#[derive(Default)]
pub struct Book {
    /// Requests by kind.
    pub counts: Counts,
    /// Acceptances.
    pub parties: Parties,
    /// Carts, subscriptions, transfers.
    pub shelf: Shelf,
    /// Purchases to refuse.
    pub refusals: Refusals,
    /// Collections for bulk reads, and the size of pages.
    pub lists: Lists,
    /// The token endpoint.
    pub tokens: Tokens,
    /// The limit of reads.
    pub throttle: Throttle,
    /// Answers to used ids.
    pub replays: Replays,
    /// Faults by path.
    pub steering: Steering,
}
