//! Ledger files: watched, and put in force when they change.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::agreements::file::{FileSource, Ledger};
use crate::agreements::source::Source;
use crate::app::files::Watch;
use crate::config::ledger::load_ledger;
use crate::policy::id::{Guid, MpnId};
use crate::proxy::snapshot::Shared;

/// A source, and the file that feeds it.
pub struct WatchedLedger {
    /// The source.
    pub source: Arc<FileSource>,
    watch: Watch<Result<Ledger, String>>,
}

impl WatchedLedger {
    /// Watches the file of a source that holds what was read at a moment. `tenants` are those of the partners in force by
    /// their MPN ids.
    pub fn new(
        source: &Arc<FileSource>,
        read_at: jiff::Timestamp,
        tenants: &Arc<HashMap<MpnId, Guid>>,
    ) -> WatchedLedger {
        let path = source.path().to_owned();
        let read = {
            let (path, tenants) = (path.clone(), Arc::clone(tenants));
            move || load_ledger(&path, jiff::Timestamp::now(), &tenants)
        };
        let watch = Watch::new(vec![path], Some(SystemTime::from(read_at)), read);
        WatchedLedger { source: Arc::clone(source), watch }
    }

    /// Has the file read if it has changed, and puts in force what was read since the last look. A broken edit keeps the
    /// last good reading and shows.
    pub async fn look(&mut self, shared: &Shared) {
        let Some(read) = self.watch.look().await else { return };
        let name = self.source.name();
        shared.metrics.ledger_reloaded(name.as_str(), read.is_ok());
        match read {
            Ok(ledger) => {
                self.source.replace(ledger);
                shared.agreements.renew(&shared.snapshot().sources);
                tracing::info!(source = %name, "ledger in force");
            }
            Err(report) => {
                tracing::error!(source = %name, %report, "ledger refused; the last good one stays in force");
            }
        }
    }
}
