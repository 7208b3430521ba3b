//! Inquiry: one question on its flight, from what is kept over the sources to what is kept then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::agreements::cache::{FactCache, Freshness, Kept, Settings};
use crate::agreements::precedence::{Wanted, Weighing};
use crate::agreements::sources::Sources;
use crate::agreements::words::{LearntWords, Words};
use crate::clock::Now;
use crate::policy::agreement::{Failure, Key};
use crate::policy::id::Guid;

/// The longest that a question waits for its turn: what one caller waits for, others wait behind.
const PATIENCE_MAX: Duration = Duration::from_secs(5);

/// A question on its way.
pub struct Inquiry {
    /// The sources.
    pub sources: Arc<Sources>,
    /// The times for which answers are believed.
    pub settings: Settings,
    /// Where answers are kept.
    pub cache: FactCache,
    /// The words learnt from passing answers.
    pub learnt: LearntWords,
    /// Counts questions.
    pub asked: Arc<AtomicU64>,
    /// The key that is asked about.
    pub key: Key,
    /// The generation of the sources.
    pub generation: u64,
    /// The caller's tenant; `None` for what is done beside requests.
    pub asker: Option<Guid>,
    /// When it is asked.
    pub now: Now,
    /// The answers that would do.
    pub wanted: Wanted,
}

impl Inquiry {
    /// Asks, unless what is kept suffices, and keeps the answer.
    pub async fn fly(self, suffices: impl Fn(&Kept) -> bool) -> Kept {
        let before = self.cache.get(&self.key);
        if let Some(kept) = before.filter(suffices) {
            return kept;
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        let words = Words::about(&self.key, &self.learnt, &self.sources, &self.settings, self.now);
        let weighing = Weighing::new(self.settings, self.sources.demand(&self.key), self.wanted, self.now);
        let stands = before.is_some_and(|before| self.sources.stands(&before, &self.key));
        let terms = self.sources.terms(self.key.party.kind());
        let weighing = weighing.knowing(before, stands, words.in_force(), terms);
        // Half of it: an answer has to come before whoever asked gives up.
        let patience = (self.settings.deadline / 2).min(PATIENCE_MAX);
        let weighing = self.sources.ask(&self.key, self.asker, patience, weighing).await;
        // As it is now: it may have been doubted meanwhile.
        let known = self.cache.get(&self.key).filter(|known| self.sources.stands(known, &self.key));
        let words_now = Words::about(&self.key, &self.learnt, &self.sources, &self.settings, self.now);
        let (kept, outlooks) = weighing.conclude(&self.key, self.generation, known, &words_now.in_force());
        words.follow(&self.key, &self.learnt, outlooks, self.now);
        let doubt_settled = match before {
            Some(before) if before.doubted.is_some() && kept.answer.failure.is_none() => {
                Some(self.now.uptime)
            }
            before => before.and_then(|before| before.doubt_settled),
        };
        let kept = Kept { doubt_settled, ..kept };
        if self.is_kept(&kept) {
            self.cache.put(self.key, kept);
        }
        // What was learnt meanwhile is newer.
        let newest = self
            .cache
            .get(&self.key)
            .filter(|newest| newest.weighed > kept.weighed && newest.doubted.is_none());
        newest.unwrap_or(kept)
    }

    /// True for an answer that is kept. A failure is kept only beside an answer that it stands in for, so that names nobody
    /// has drive out nothing; where an acceptance still answers by itself, it goes on doing so; and that one caller may not ask is no
    /// matter of others.
    fn is_kept(&self, kept: &Kept) -> bool {
        let Some(failure) = kept.answer.failure else { return true };
        if failure == Failure::Unrecorded {
            // It has to end what was known before; else the next request may as well ask again.
            return self.cache.get(&self.key).is_some();
        }
        let still_answers = |known: Kept| {
            let holds = known.doubted.is_none() && known.by_age(&self.settings, self.now) != Freshness::Hard;
            // One that is not enough for a rule denies: that it could not be asked for again counts.
            let demand = self.sources.demand(&self.key);
            holds && known.fact().is_some_and(|fact| demand.is_met_by(fact.status))
        };
        !failure.is_own()
            && kept.answer.last.is_some()
            && !self.cache.get(&self.key).is_some_and(still_answers)
    }
}
