//! Reloading: another configuration takes the place of the one in force, or nothing of it does.

use std::sync::Arc;

use jiff::Timestamp;

use crate::app::assemble::{Started, build_snapshot, must_not_reload};
use crate::app::ledgers::WatchedLedger;
use crate::app::sources::SourceStore;
use crate::config::{self, Settings};
use crate::proxy::snapshot::Shared;

/// Where a reload reads the configuration from.
pub type Loader = Arc<dyn Fn(Timestamp) -> Result<config::Loaded, String> + Send + Sync>;

/// The configuration in force, and what was started with another one.
pub struct InForce {
    /// What it says.
    pub settings: Settings,
    started: Started,
    loader: Loader,
    shared: Arc<Shared>,
    /// Its sources.
    pub sources: SourceStore,
    generation: u64,
}

/// What a reload brought.
pub struct Reloaded {
    /// The ledgers to watch from now on.
    pub ledgers: Vec<WatchedLedger>,
    /// Warnings, and what needs a restart.
    pub report: String,
}

impl InForce {
    /// What was started with.
    pub fn new(
        settings: Settings,
        loader: Loader,
        shared: Arc<Shared>,
        sources: SourceStore,
        generation: u64,
    ) -> InForce {
        let started = Started::with(&settings);
        InForce { settings, started, loader, shared, sources, generation }
    }

    /// Loads the configuration anew: all of it is put in force, or nothing is. The error is the report of why not.
    pub async fn reload(&mut self) -> Result<Reloaded, String> {
        let loader = Arc::clone(&self.loader);
        let loaded = tokio::task::spawn_blocking(move || loader(Timestamp::now())).await;
        let loaded = loaded.unwrap_or_else(|_| Err("reading the configuration failed".to_owned()))?;
        let mut report = loaded.report(false);
        let Some(mut settings) = loaded.settings else { return Err(report) };
        let fresh = self.shared.keys.recognise(&mut settings.verifier);
        // Now rather than later: a slip of the pen in a URL must not turn every caller away.
        let failures = self.shared.keys.fill(&fresh).await;
        if let Some(why) = must_not_reload(&self.started, &self.settings, &settings, &failures) {
            return Err(format!("{report}{why}\n"));
        }
        let restart = self.started.needs_restart(&settings);
        if !restart.is_empty() {
            report += &format!("needs a restart: {}\n", restart.join(", "));
            tracing::warn!(settings = restart.join(", "), "changed settings need a restart");
        }
        self.generation += 1;
        let built = self.sources.build(&settings);
        self.shared.agreements.renew(&built.sources);
        self.shared.keys.adopt(&settings.verifier);
        self.shared.install(build_snapshot(&settings, &built, self.generation, &self.shared.metrics));
        self.sources.adopt(&built);
        self.settings = settings;
        Ok(Reloaded { ledgers: built.ledgers, report })
    }
}
