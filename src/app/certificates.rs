//! Certificates of the listener: watched for changes, and put in force without a connection lost.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::app::ledgers::{Stamp, stamp};
use crate::metrics::Metrics;
use crate::tls::server::{Live, Loaded, Settings, load};

/// The TLS of the listener, with the files it was read from.
pub struct Certificates {
    live: Arc<Live>,
    settings: Settings,
    seen: Vec<Option<Stamp>>,
    reading: Option<JoinHandle<Result<Loaded, String>>>,
}

impl Certificates {
    /// Reads the files for the first time.
    pub fn start(settings: &Settings) -> Result<Certificates, String> {
        // The look comes before the reading: a change in between is read once more.
        let seen = stamps(settings);
        let live = Arc::new(Live::new(load(settings)?));
        Ok(Certificates { live, settings: settings.clone(), seen, reading: None })
    }

    /// What the listener does handshakes with.
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live)
    }

    /// Takes other settings, which have been found good: the next look reads their files.
    pub fn follow(&mut self, settings: &Settings) {
        self.settings = settings.clone();
        self.seen = Vec::new();
    }

    /// Has the files read if they have changed, and puts in force what was read since the last look. Broken files
    /// change nothing and show.
    pub async fn look(&mut self, metrics: &Metrics) {
        if let Some(reading) = self.reading.take_if(|reading| reading.is_finished()) {
            match reading.await {
                Ok(Ok(loaded)) => {
                    self.live.replace(loaded);
                    metrics.tls_reloaded(true);
                    tracing::info!("certificates in force");
                }
                Ok(Err(why)) => {
                    metrics.tls_reloaded(false);
                    tracing::error!(why, "certificates refused; the last good ones stay in force");
                }
                Err(_) => tracing::error!("reading the certificates failed"),
            }
        }
        let seen = stamps(&self.settings);
        if self.reading.is_none() && seen != self.seen {
            self.seen = seen;
            let settings = self.settings.clone();
            self.reading = Some(tokio::task::spawn_blocking(move || load(&settings)));
        }
    }
}

fn stamps(settings: &Settings) -> Vec<Option<Stamp>> {
    settings.files().into_iter().map(stamp).collect()
}
