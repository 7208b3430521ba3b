//! Asking: who wants to know, when, and of which sources.

use std::sync::Arc;
use std::time::Instant;

use crate::agreements::cache::Settings;
use crate::agreements::sources::Sources;
use crate::clock::Now;
use crate::policy::id::Guid;

/// The cost of look-ups, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LookupCounts {
    /// Answered from the cache.
    pub hits: u32,
    /// Not, or no longer, in the cache.
    pub misses: u32,
}

/// A question: the asker, the moment, and how long answers are believed.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'s> {
    /// The sources.
    pub sources: &'s Arc<Sources>,
    /// The times for which answers are believed.
    pub settings: &'s Settings,
    /// The caller's tenant; `None` for what is done beside requests.
    pub asker: Option<Guid>,
    /// When.
    pub now: Now,
    /// Until when the answer is waited for.
    pub until: Instant,
}

impl<'s> Asking<'s> {
    /// A question that is asked now, and waited for as long as the settings say.
    pub fn new(
        sources: &'s Arc<Sources>,
        settings: &'s Settings,
        asker: Option<Guid>,
        now: Now,
    ) -> Asking<'s> {
        Asking { sources, settings, asker, now, until: now.mono + settings.deadline }
    }

    /// The generation of the sources.
    pub fn generation(&self) -> u64 {
        self.sources.generation()
    }
}
