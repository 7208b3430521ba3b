//! Files that are watched: looked at and read where nothing waits for it, and handed over once they were.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;

/// What shows that a file was changed: when it was written and when it came to its place, its length, and which file it
/// is.
type Stamp = (SystemTime, (i64, i64), u64, u64);

/// How files looked when they were last read.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    /// They were read at this moment, but nobody looked.
    At(SystemTime),
    As(Vec<Option<Stamp>>),
}

/// Files that make one thing.
pub struct Watch<T> {
    files: Vec<PathBuf>,
    read: Arc<dyn Fn() -> T + Send + Sync>,
    seen: Seen,
    looking: Option<JoinHandle<(Seen, Option<T>)>>,
}

impl<T: Send + 'static> Watch<T> {
    /// Watches files that were read at a moment, or were not: those are read at the first look. `read` reads them again.
    pub fn new(
        files: Vec<PathBuf>,
        read_at: Option<SystemTime>,
        read: impl Fn() -> T + Send + Sync + 'static,
    ) -> Watch<T> {
        let seen = read_at.map_or_else(|| Seen::As(Vec::new()), Seen::At);
        Watch { files, read: Arc::new(read), seen, looking: None }
    }

    /// What was read since the last look; then looks once more, on a thread that may hang. No look begins before the last
    /// one has ended: files that hang cost one thread.
    pub async fn look(&mut self) -> Option<T> {
        let mut found = None;
        if let Some(looking) = self.looking.take_if(|looking| looking.is_finished()) {
            match looking.await {
                Ok((seen, read)) => (self.seen, found) = (seen, read),
                Err(_) => tracing::error!(files = ?self.files, "reading files that are watched failed"),
            }
        }
        if self.looking.is_none() {
            let (files, read, seen) = (self.files.clone(), Arc::clone(&self.read), self.seen.clone());
            self.looking = Some(tokio::task::spawn_blocking(move || {
                // The look comes before the reading: a change in between is read once more.
                let stamps: Vec<Option<Stamp>> = files.iter().map(stamp).collect();
                let read = has_changed(&seen, &stamps).then(|| read());
                (Seen::As(stamps), read)
            }));
        }
        found
    }
}

fn has_changed(seen: &Seen, stamps: &[Option<Stamp>]) -> bool {
    match seen {
        Seen::As(known) => known != stamps,
        // What may have changed since is read once more.
        Seen::At(moment) => stamps.iter().any(|stamp| {
            stamp.is_none_or(|(written, (seconds, nanoseconds), ..)| {
                let placed = SystemTime::UNIX_EPOCH
                    + Duration::new(seconds.max(0).cast_unsigned(), nanoseconds as u32);
                written.max(placed) + Duration::from_secs(2) >= *moment
            })
        }),
    }
}

fn stamp(path: &PathBuf) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    let placed = (metadata.ctime(), metadata.ctime_nsec());
    Some((metadata.modified().ok()?, placed, metadata.len(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// Looks until something was read.
    async fn next<T: Send + 'static>(watch: &mut Watch<T>) -> T {
        loop {
            match watch.look().await {
                Some(read) => return read,
                None => thread::yield_now(),
            }
        }
    }

    /// Looks to the end of one look that began now; what was read.
    async fn whole<T: Send + 'static>(watch: &mut Watch<T>) -> Option<T> {
        for _ in 0..2 {
            while watch.looking.as_ref().is_some_and(|looking| !looking.is_finished()) {
                thread::yield_now();
            }
            if let Some(read) = watch.look().await {
                return Some(read);
            }
        }
        None
    }

    /// What was read last once nothing changes any more. A look in the middle of a change may cost further readings.
    async fn last(watch: &mut Watch<String>) -> String {
        let mut read = next(watch).await;
        for _ in 0..4 {
            match whole(watch).await {
                Some(again) => read = again,
                None => return read,
            }
        }
        panic!("it is read again and again: {read}");
    }

    #[tokio::test]
    async fn what_changed_is_read_and_then_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let [file, other] = ["file", "other"].map(|name| folder.path().join(name));
        std::fs::write(&file, "one").unwrap();
        let path = file.clone();
        let mut watch =
            Watch::new(vec![file.clone()], None, move || std::fs::read_to_string(&path).unwrap_or_default());
        assert_eq!(next(&mut watch).await, "one", "nobody had read it");
        assert_eq!(whole(&mut watch).await, None);
        // In one step: a look may be under way. The second is of the same length.
        for text in ["longer", "others"] {
            std::fs::write(&other, text).unwrap();
            std::fs::rename(&other, &file).unwrap();
            assert_eq!(last(&mut watch).await, text);
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(last(&mut watch).await, "");
    }

    #[tokio::test]
    async fn what_was_read_is_read_again_only_where_it_may_have_changed_since() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "one").unwrap();
        let now = SystemTime::now();
        for (read_at, is_read) in [(now, true), (now + Duration::from_secs(60), false)] {
            let mut watch = Watch::new(vec![file.clone()], Some(read_at), || ());
            assert_eq!(whole(&mut watch).await.is_some(), is_read, "{read_at:?}");
        }
        // Older than the reading by its own word, but it came later.
        let old = std::fs::FileTimes::new().set_modified(now - Duration::from_secs(3600));
        std::fs::File::options().write(true).open(&file).unwrap().set_times(old).unwrap();
        assert!(whole(&mut Watch::new(vec![file], Some(now), || ())).await.is_some());
    }

    #[tokio::test]
    async fn files_that_hang_hold_up_nothing_and_cost_one_thread() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "one").unwrap();
        let (began, begun) = mpsc::channel();
        let (go, gone) = mpsc::channel();
        let gone = std::sync::Mutex::new(gone);
        let mut hanging = Watch::new(vec![file.clone()], None, move || {
            began.send(()).unwrap();
            gone.lock().unwrap().recv().unwrap()
        });
        let mut other = Watch::new(vec![file], None, || "other");
        assert_eq!(hanging.look().await, None);
        begun.recv().unwrap();
        assert_eq!(hanging.look().await, None, "it is still being read");
        assert_eq!(next(&mut other).await, "other");
        assert_eq!(hanging.look().await, None);
        assert!(begun.try_recv().is_err(), "one thread");
        go.send("at last").unwrap();
        assert_eq!(next(&mut hanging).await, "at last");
    }
}
