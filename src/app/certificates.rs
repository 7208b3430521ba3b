//! Certificates of the listener: watched for changes, and put in force without a connection lost.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use crate::app::files::Watch;
use crate::metrics::Metrics;
use crate::tls::server::{Live, Loaded, Settings, load};

/// The TLS of the listener, with the files it was read from.
pub struct Certificates {
    live: Arc<Live>,
    watch: Watch<Result<Loaded, String>>,
}

impl Certificates {
    /// Reads the files for the first time.
    pub fn start(settings: &Settings) -> Result<Certificates, String> {
        let read_at = SystemTime::now();
        let live = Arc::new(Live::new(read(settings)?));
        Ok(Certificates { live, watch: watch(settings, Some(read_at)) })
    }

    /// What the listener does handshakes with.
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live)
    }

    /// Takes other settings, which have been found good: the next look reads their files.
    pub fn follow(&mut self, settings: &Settings) {
        self.watch = watch(settings, None);
    }

    /// Has the files read if they have changed, and puts in force what was read since the last look. Broken files
    /// change nothing and show.
    pub async fn look(&mut self, metrics: &Metrics) {
        let Some(read) = self.watch.look().await else { return };
        metrics.tls_reloaded(read.is_ok());
        match read {
            Ok(loaded) => {
                self.live.replace(loaded);
                tracing::info!("certificates in force");
            }
            Err(why) => tracing::error!(why, "certificates refused; the last good ones stay in force"),
        }
    }
}

fn watch(settings: &Settings, read_at: Option<SystemTime>) -> Watch<Result<Loaded, String>> {
    let files = settings.files().into_iter().map(Path::to_owned).collect();
    let settings = settings.clone();
    Watch::new(files, read_at, move || read(&settings))
}

fn read(settings: &Settings) -> Result<Loaded, String> {
    load(settings).map_err(|unusable| unusable.why)
}
