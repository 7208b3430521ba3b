//! Ledger: what the serving thread and its owner share about the requests received.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::standin::locked::locked;

/// Requests kept while recording is on; the oldest one makes room.
const RECORDED_MAX: usize = 1024;

/// One request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// `POST`
    pub method: String,
    /// The request target as sent, with its query.
    pub target: String,
    /// Names in lower case, in the order of arrival per name.
    pub headers: Vec<(String, Vec<u8>)>,
    /// What arrived of the body.
    pub body: Vec<u8>,
    /// Trailer fields behind a chunked body; names in lower case.
    pub trailers: Vec<(String, String)>,
    /// False when the body broke off, was too large, or was left unread by the `early` fault.
    pub complete: bool,
}

/// Counters, recorded requests and the release of held ones.
pub struct Ledger {
    counts: Mutex<Counts>,
    arrived: Condvar,
    recording: AtomicBool,
    recorded: Mutex<VecDeque<Recorded>>,
    releases: watch::Sender<u64>,
    serial: AtomicU64,
}

#[derive(Default)]
struct Counts {
    requests: u64,
    mutations: u64,
    /// Threads in `wait_for_requests`; without any, a request does not pay for a wake-up call.
    waiting: u32,
}

impl Ledger {
    /// An empty ledger that records nothing.
    pub fn new() -> Ledger {
        Ledger {
            counts: Mutex::default(),
            arrived: Condvar::new(),
            recording: AtomicBool::new(false),
            recorded: Mutex::default(),
            releases: watch::Sender::new(0),
            serial: AtomicU64::new(0),
        }
    }

    /// Counts one request whose head was received.
    pub fn received(&self, is_mutation: bool) {
        let mut counts = locked(&self.counts);
        counts.requests += 1;
        counts.mutations += u64::from(is_mutation);
        if counts.waiting > 0 {
            self.arrived.notify_all();
        }
    }

    /// Requests counted so far.
    pub fn requests(&self) -> u64 {
        locked(&self.counts).requests
    }

    /// Mutations counted so far.
    pub fn mutations(&self) -> u64 {
        locked(&self.counts).mutations
    }

    /// Blocks until `count` requests were counted; false when `timeout` passed before.
    pub fn wait_for_requests(&self, count: u64, timeout: Duration) -> bool {
        let mut counts = locked(&self.counts);
        counts.waiting += 1;
        let (mut counts, _) = self
            .arrived
            .wait_timeout_while(counts, timeout, |counts| counts.requests < count)
            .unwrap_or_else(PoisonError::into_inner);
        counts.waiting -= 1;
        counts.requests >= count
    }

    /// The number that makes the ids in the next answer unique.
    pub fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Switches recording.
    pub fn record(&self, on: bool) {
        self.recording.store(on, Ordering::Release);
    }

    /// Whether the next request is to be kept.
    pub fn is_recording(&self) -> bool {
        self.recording.load(Ordering::Acquire)
    }

    /// Keeps one request.
    pub fn keep(&self, request: Recorded) {
        let mut recorded = locked(&self.recorded);
        if recorded.len() == RECORDED_MAX {
            recorded.pop_front();
        }
        recorded.push_back(request);
    }

    /// Takes what was kept, oldest first.
    pub fn take_recorded(&self) -> Vec<Recorded> {
        std::mem::take(&mut *locked(&self.recorded)).into()
    }

    /// A place in the queue of held requests: `changed` resolves at the first release after this call.
    pub fn hold(&self) -> watch::Receiver<u64> {
        self.releases.subscribe()
    }

    /// Lets all held requests go on.
    pub fn release(&self) {
        self.releases.send_modify(|generation| *generation += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_requests_are_kept() {
        let ledger = Ledger::new();
        for number in 0..RECORDED_MAX + 3 {
            ledger.keep(Recorded {
                method: "GET".to_owned(),
                target: format!("/{number}"),
                headers: Vec::new(),
                body: Vec::new(),
                trailers: Vec::new(),
                complete: true,
            });
        }
        let recorded = ledger.take_recorded();
        assert_eq!(recorded.len(), RECORDED_MAX);
        assert_eq!(recorded[0].target, "/3");
    }

    #[test]
    fn a_waiter_is_woken_by_the_request_it_waits_for() {
        let ledger = Ledger::new();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| ledger.wait_for_requests(2, Duration::from_secs(30)));
            ledger.received(true);
            ledger.received(false);
            assert!(waiter.join().unwrap());
        });
        assert_eq!((ledger.requests(), ledger.mutations()), (2, 1));
    }

    #[test]
    fn a_release_reaches_the_holds_made_before_it_only() {
        let ledger = Ledger::new();
        let before = ledger.hold();
        ledger.release();
        let after = ledger.hold();
        assert!(before.has_changed().unwrap());
        assert!(!after.has_changed().unwrap());
    }
}
