//! The key store: the rings of all issuers that publish their keys, and the tasks that tend them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::sleep_until;

use crate::identity::claims::{IssuerKeys, Verifier};
use crate::identity::keys::LoadedKeys;
use crate::identity::ring::{Ring, Settings};
use crate::metrics::Metrics;

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

    /// Puts the rings that are there in place of a configuration's new ones where they are the same, tends those that
    /// are new, and lets go of those that it does not name.
    pub fn adopt(&self, verifier: &mut Verifier) {
        let mut tended = self.tended();
        let mut kept: Vec<Tended> = Vec::new();
        for issuer in &mut verifier.issuers {
            let IssuerKeys::Published(ring) = &mut issuer.keys else { continue };
            if let Some(known) = kept.iter().find(|known| known.ring.settings == ring.settings) {
                *ring = Arc::clone(&known.ring);
                continue;
            }
            if let Some(known) = tended.iter().find(|known| known.ring.settings == ring.settings) {
                *ring = Arc::clone(&known.ring);
                kept.push(known.clone());
                continue;
            }
            // Kept in another way, the last good keys are as good as they were.
            if let Some(known) =
                tended.iter().find(|known| known.ring.settings.origin == ring.settings.origin)
            {
                ring.inherit(&known.ring);
            }
            // Requests that come from here on wait for the first fetch.
            ring.begin();
            let task = tend(Arc::clone(ring), Arc::clone(&self.generation), self.metrics.clone());
            kept.push(Tended { ring: Arc::clone(ring), task: self.control.spawn(task).abort_handle() });
        }
        for old in tended.iter() {
            if !kept.iter().any(|known| Arc::ptr_eq(&known.ring, &old.ring)) {
                old.task.abort();
            }
        }
        *tended = kept;
    }

    /// Whether every ring was tried to be filled, well or not.
    pub fn was_tried(&self) -> bool {
        self.tended().iter().all(|tended| tended.ring.was_tried())
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

/// Fetches a ring's keys: at once, for which the fetch is under way already, when it is time, and when a request wants it.
async fn tend(ring: Arc<Ring>, generation: Arc<AtomicU64>, metrics: Metrics) {
    let issuer = ring.settings.origin.issuer.to_string();
    loop {
        let fetched = fetch(&ring, &issuer).await;
        let ok = fetched.is_some();
        ring.land(fetched, &generation);
        metrics.keys_fetched(&issuer, ok);
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

async fn fetch(ring: &Arc<Ring>, issuer: &str) -> Option<LoadedKeys> {
    let fetch = {
        let ring = Arc::clone(ring);
        async move { ring.fetch().await }
    };
    // A task of its own: what an answer could do to it must not end the fetching.
    let fetched = tokio::spawn(fetch).await.unwrap_or_else(|_| Err("reading the answer failed".to_owned()));
    match fetched {
        Ok(set) => {
            for why in &set.ignored {
                tracing::debug!(issuer, why, "a published key is not used");
            }
            Some(set)
        }
        Err(why) => {
            tracing::warn!(issuer, why, "the keys could not be fetched; the last good ones are kept");
            None
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

/// A number from 0 to 1.
fn random() -> f64 {
    let mut bytes = [0u8; 4];
    // Without randomness they do ask together, which is no reason not to ask.
    let _ = SystemRandom::new().fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::random;

    #[test]
    fn jitter_stays_within_its_bounds() {
        let drawn: Vec<f64> = (0..100).map(|_| random()).collect();
        assert!(drawn.iter().all(|number| (0.0..=1.0).contains(number)), "{drawn:?}");
        assert!(drawn.iter().any(|number| *number != drawn[0]), "{drawn:?}");
    }
}
