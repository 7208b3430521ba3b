//! Saving: acceptances are kept on disk now and then, and at the end, so that a restart costs no known party an order.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::agreements::saved;
use crate::agreements::saved_line::Saved;
use crate::agreements::sources::Sources;
use crate::agreements::{Agreements, Asking};
use crate::app::sources::Asked;
use crate::clock::Now;
use crate::config::Settings;
use crate::metrics::Metrics;
use crate::policy::id::Name;
use crate::proxy::snapshot::Shared;

/// How often acceptances are saved.
pub const SAVE_EVERY: Duration = Duration::from_secs(300);

/// Saves what is known, where the configuration names a file for it.
pub struct Saving {
    shared: Arc<Shared>,
    /// The state of knowledge that was saved last.
    saved: u64,
    under_way: Option<(u64, JoinHandle<bool>)>,
}

impl Saving {
    /// Nothing was saved yet.
    pub fn new(shared: Arc<Shared>) -> Saving {
        Saving { shared, saved: 0, under_way: None }
    }

    /// Saves beside everything else, unless nothing was learnt since or the last saving is not over.
    pub async fn save_now_and_then(&mut self, settings: &Settings) {
        if let Some((state, saving)) = self.under_way.take_if(|(_, saving)| saving.is_finished())
            && saving.await.is_ok_and(|saved| saved)
        {
            self.saved = state;
        }
        let state = self.shared.agreements.state();
        if state != self.saved && self.under_way.is_none() {
            self.under_way = self.begin(settings).map(|saving| (state, saving));
        }
    }

    /// Saves at the end, after whatever is under way.
    pub async fn finish(mut self, settings: &Settings) {
        if let Some((_, saving)) = self.under_way.take() {
            let _ = saving.await;
        }
        if let Some(saving) = self.begin(settings) {
            let _ = saving.await;
        }
    }

    fn begin(&self, settings: &Settings) -> Option<JoinHandle<bool>> {
        let path = settings.agreements.saved.clone()?;
        let (shared, ledgers) = (Arc::clone(&self.shared), ledger_names(settings));
        let save = move || save(&shared.agreements, &shared.metrics, &path, &ledgers);
        Some(tokio::task::spawn_blocking(save))
    }
}

/// What ledgers say is read anew from them.
fn ledger_names(settings: &Settings) -> Vec<Name> {
    settings.agreements.ledgers.iter().map(|ledger| ledger.name).collect()
}

fn save(agreements: &Agreements, metrics: &Metrics, path: &Path, ledgers: &[Name]) -> bool {
    let now = Now::read();
    let is_saved = |source: Name| !ledgers.contains(&source);
    let answers = agreements.all().filter_map(|(key, kept)| saved::of_answer(key, &kept, is_saved, now));
    let learnt = agreements.all_learnt().map(|(key, word)| saved::of_learnt(key, word, now));
    let saved = saved::save(path, answers.chain(learnt), now.wall);
    metrics.facts_saved(saved.as_ref().ok().copied());
    match saved {
        Ok(count) => {
            let took_ms = now.mono.elapsed().as_millis() as u64;
            tracing::info!(count, took_ms, "acceptances saved");
            true
        }
        Err(error) => {
            tracing::error!(%error, path = %path.display(), "acceptances could not be saved");
            false
        }
    }
}

/// Loads what was saved, before the first request.
pub fn load(agreements: &Agreements, asking: &Asking<'_>, path: &Path, remotes: &[Asked]) {
    let epoch_of = |name: Name| {
        let asked = remotes.iter().find(|asked| asked.settings.name == name)?;
        Some(asked.source.epoch())
    };
    let is_taught = |teacher| asking.sources.is_taught_by(teacher);
    match saved::load(path, asking.settings, epoch_of, is_taught, asking.now) {
        Ok(loaded) => {
            let mut count = 0;
            for saved in loaded.facts {
                count += match saved {
                    Saved::Answer(key, fact, epoch) => usize::from(agreements.take(asking, key, fact, epoch)),
                    Saved::Learnt(key, word) => {
                        agreements.take_learnt(key, word);
                        1
                    }
                };
            }
            tracing::info!(count, left_out = loaded.left_out, "saved acceptances loaded");
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            tracing::info!(path = %path.display(), "no acceptances were saved yet");
        }
        Err(error) => {
            tracing::error!(%error, path = %path.display(), "saved acceptances can not be read: every party is looked up anew");
        }
    }
}

/// What a start asks for, of nobody in particular.
pub fn at_start<'s>(settings: &'s Settings, sources: &'s Arc<Sources>) -> Asking<'s> {
    Asking::new(sources, &settings.agreements.cache, None, Now::read())
}
