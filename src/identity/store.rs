//! The key store: the rings of all issuers that publish their keys, and the tasks that tend them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::sleep_until;

use crate::identity::claims::{IssuerKeys, Verifier};
use crate::identity::issuer::IssuerName;
use crate::identity::ring::{Ring, Settings};
use crate::metrics::Metrics;
use crate::random::random;

/// The rings in use. The store outlives every configuration, and so does a ring that the next one still names.
#[derive(Debug)]
pub struct KeyStore {
    tended: Mutex<Vec<Tended>>,
    generation: Arc<AtomicU64>,
    control: Handle,
    metrics: Metrics,
}

#[derive(Clone, Debug)]
struct Tended {
    ring: Arc<Ring>,
    task: AbortHandle,
}

impl KeyStore {
    /// An empty store; keys are fetched on the control runtime.
    pub fn new(control: Handle, metrics: Metrics) -> KeyStore {
        KeyStore { tended: Mutex::default(), generation: Arc::default(), control, metrics }
    }

    /// Moves on whenever a set changed or was given up: what was verified before may not hold any more.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Puts the rings that are there in place of a configuration's new ones where they are the same. The answer is the
    /// others, which nobody tends yet; they know what is known of their origin.
    pub fn recognise(&self, verifier: &mut Verifier) -> Vec<Arc<Ring>> {
        let tended = self.tended();
        let mut fresh: Vec<Arc<Ring>> = Vec::new();
        for issuer in &mut verifier.issuers {
            let IssuerKeys::Published(ring) = &mut issuer.keys else { continue };
            let mut known = tended.iter().map(|tended| &tended.ring).chain(&fresh);
            if let Some(known) = known.find(|known| known.settings == ring.settings) {
                *ring = Arc::clone(known);
                continue;
            }
            // Kept in another way, the last good keys are as good as they were.
            if let Some(known) =
                tended.iter().find(|known| known.ring.settings.origin == ring.settings.origin)
            {
                ring.inherit(&known.ring);
            }
            fresh.push(Arc::clone(ring));
        }
        fresh
    }

    /// Fetches the keys of rings that have none to go on with, once and all at a time. The answer is why some could not
    /// be.
    pub async fn fill(&self, fresh: &[Arc<Ring>]) -> Vec<(IssuerName, String)> {
        let begin = |ring: &Arc<Ring>| {
            let (ring, generation, metrics) =
                (Arc::clone(ring), Arc::clone(&self.generation), self.metrics.clone());
            ring.begin();
            let issuer = ring.settings.origin.issuer.clone();
            (issuer, self.control.spawn(async move { fetch(&ring, &generation, &metrics).await }))
        };
        let begun: Vec<_> = fresh.iter().filter(|ring| !ring.is_usable()).map(begin).collect();
        let mut failures = Vec::new();
        for (issuer, fetched) in begun {
            let fetched = fetched.await.unwrap_or_else(|_| Err("the fetch failed".to_owned()));
            failures.extend(fetched.err().map(|why| (issuer, why)));
        }
        failures
    }

    /// Tends the rings that a configuration names, and lets go of all others.
    pub fn adopt(&self, verifier: &Verifier) {
        let mut tended = self.tended();
        let mut kept: Vec<Tended> = Vec::new();
        for issuer in &verifier.issuers {
            let IssuerKeys::Published(ring) = &issuer.keys else { continue };
            let is_it = |tended: &&Tended| Arc::ptr_eq(&tended.ring, ring);
            if kept.iter().any(|known| is_it(&known)) {
                continue;
            }
            kept.push(tended.iter().find(is_it).cloned().unwrap_or_else(|| self.begin(ring)));
        }
        for old in tended.iter() {
            if !kept.iter().any(|known| Arc::ptr_eq(&known.ring, &old.ring)) {
                old.task.abort();
            }
        }
        *tended = kept;
    }

    fn begin(&self, ring: &Arc<Ring>) -> Tended {
        if ring.tried().is_none() {
            // Requests that come from here on wait for the first fetch.
            ring.begin();
        }
        let task = tend(Arc::clone(ring), Arc::clone(&self.generation), self.metrics.clone());
        Tended { ring: Arc::clone(ring), task: self.control.spawn(task).abort_handle() }
    }

    /// Whether every ring was tried to be filled, well or not.
    pub fn was_tried(&self) -> bool {
        self.tended().iter().all(|tended| tended.ring.tried().is_some())
    }

    /// Brings the metrics up to date.
    pub fn report(&self) {
        let now = Instant::now();
        let tended = self.tended();
        let ages = tended.iter().filter_map(|tended| {
            let fetched = tended.ring.held().fetched?;
            Some((tended.ring.settings.origin.issuer.to_string(), now.saturating_duration_since(fetched)))
        });
        self.metrics.keys_aged(ages);
    }

    fn tended(&self) -> MutexGuard<'_, Vec<Tended>> {
        self.tended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fetches a ring's keys: at once unless that was done, when it is time, and when a request wants it. The fetch that is
/// due at once is under way already.
async fn tend(ring: Arc<Ring>, generation: Arc<AtomicU64>, metrics: Metrics) {
    let issuer = ring.settings.origin.issuer.to_string();
    let mut tried = ring.tried();
    loop {
        let ok = match tried.take() {
            Some(ok) => ok,
            None => fetch(&ring, &generation, &metrics).await.is_ok(),
        };
        let due = Instant::now() + pause(&ring.settings, ok);
        loop {
            tokio::select! {
                biased;
                () = reached(ring.expires()) => {
                    ring.expire(&generation);
                    tracing::error!(issuer, "the keys are too old to go on with: tokens are answered 503");
                }
                () = ring.wanted() => break,
                () = sleep_until(due.into()) => if ring.begin() { break },
            }
        }
    }
}

/// Does the fetch that is under way. The error says why there is no set.
async fn fetch(ring: &Arc<Ring>, generation: &AtomicU64, metrics: &Metrics) -> Result<(), String> {
    let fetch = {
        let ring = Arc::clone(ring);
        async move { ring.fetch().await }
    };
    // A task of its own: what an answer could do to it must not end the fetching.
    let fetched = tokio::spawn(fetch).await.unwrap_or_else(|_| Err("reading the answer failed".to_owned()));
    let issuer = ring.settings.origin.issuer.to_string();
    metrics.keys_fetched(&issuer, fetched.is_ok());
    match fetched {
        Ok(set) => {
            for why in &set.ignored {
                tracing::debug!(issuer, why, "a published key is not used");
            }
            ring.land(Some(set), generation);
            Ok(())
        }
        Err(why) => {
            tracing::warn!(issuer, why, "the keys could not be fetched; the last good ones are kept");
            ring.land(None, generation);
            Err(why)
        }
    }
}

/// How long after a fetch the next one is due, at most a tenth off: gateways that started together must not ask together
/// for ever.
fn pause(settings: &Settings, ok: bool) -> Duration {
    match ok {
        // Earlier rather than later, so that a set is never older than it should be.
        true => settings.refresh.mul_f64(1.0 - 0.1 * random()),
        false => settings.refetch_after.min(settings.refresh).mul_f64(1.0 + 0.1 * random()),
    }
}

/// Waits for a moment; for ever, where there is none.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
