//! Time: read once a request and passed on as a value.

use std::time::Instant;

use jiff::Timestamp;

/// One moment, on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Wall-clock time: for rules, tokens and records.
    pub wall: Timestamp,
    /// Monotonic time: for freshness, deadlines and durations.
    pub mono: Instant,
}

impl Now {
    /// This moment.
    pub fn read() -> Now {
        Now { wall: Timestamp::now(), mono: Instant::now() }
    }
}
