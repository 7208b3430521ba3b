//! Ledger files: watched for changes, and read where nothing waits for it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::agreements::file::{FileSource, Ledger};

/// A source with what its file held, or why it could not be read.
pub type ReadLedger = (Arc<FileSource>, Result<Ledger, String>);
/// Ledgers that are being read.
pub type Reading = tokio::task::JoinHandle<Vec<ReadLedger>>;

/// Waits for a reading to end; for ever, where there is none.
pub async fn finished(reading: &mut Option<Reading>) -> Vec<ReadLedger> {
    let Some(handle) = reading else { return std::future::pending().await };
    let read = handle.await.unwrap_or_default();
    *reading = None;
    read
}

/// A ledger file as it was last seen.
pub struct Watched {
    /// The source that it feeds.
    pub source: Arc<FileSource>,
    /// How it looked when it was last read.
    pub seen: Option<Stamp>,
}

/// What shows that a file was changed: when, to what length, and which file it is.
pub type Stamp = (SystemTime, u64, u64);

/// How a file looks now.
pub fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

/// The stamp of a file, unless it may have changed since it was read: then it is read once more.
pub fn stamp_before(read_at: Timestamp, path: &Path) -> Option<Stamp> {
    let seen = stamp(path)?;
    let read_at = SystemTime::from(read_at);
    (seen.0 + Duration::from_secs(2) < read_at).then_some(seen)
}
