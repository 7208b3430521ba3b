//! The snapshot: everything that a reload can change, as one value for the whole of a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use prometheus::IntCounter;

use crate::agreements::Agreements;
use crate::agreements::cache;
use crate::agreements::sources::Sources;
use crate::audit::writer::{AuditFile, OnFailure};
use crate::client;
use crate::identity::Partners;
use crate::identity::claims::Verifier;
use crate::identity::store::KeyStore;
use crate::identity::tokens::TokenCache;
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::proxy::ids::IdKey;
use crate::proxy::keep_back::KeepBack;
use crate::proxy::messages::Catalogue;
use crate::resources::Resources;

/// How much of a request is held, and for how long it is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest body that is judged, in bytes.
    pub body_bytes_max: usize,
    /// The most bytes of bodies that are held for judging at a time.
    pub buffered_bytes_max: usize,
    /// From the head of a judged request to the end of its body.
    pub body_timeout: Duration,
    /// The most requests at a time.
    pub requests_max: usize,
}

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// What happens to gated requests that can not be recorded.
    pub on_failure: OnFailure,
    /// Whether reads are recorded.
    pub reads: bool,
}

/// One configuration in force.
#[derive(Debug)]
pub struct Snapshot {
    /// Its identity, in every decision.
    pub revision: String,
    /// Its number in this process: cached claims of another one are verified again.
    pub generation: u64,
    /// Rules and operations.
    pub policy: Policy,
    /// How tokens are read.
    pub verifier: Verifier,
    /// What no token says.
    pub partners: Partners,
    /// Where statuses come from.
    pub sources: Arc<Sources>,
    /// Where resources are read before they are judged.
    pub resources: Option<Arc<Resources>>,
    /// The times for which answers are believed.
    pub freshness: cache::Settings,
    /// Texts of answers.
    pub catalogue: Catalogue,
    /// Where requests go.
    pub upstream: client::Settings,
    /// Whether the caller's `Authorization` goes with them.
    pub forward_authorization: bool,
    /// Which headers do not go with them.
    pub keep_back: KeepBack,
    /// What may be held.
    pub limits: Limits,
    /// Whose word on the caller's address is taken.
    pub trusted: Vec<IpNet>,
    /// What is recorded.
    pub audit: AuditSettings,
    /// The counter of allowed requests of each operation, by its number.
    pub allowed: Vec<IntCounter>,
}

/// What all workers share, and what outlives every configuration.
#[derive(Debug)]
pub struct Shared {
    snapshot: ArcSwap<Snapshot>,
    installed: AtomicU64,
    /// Agreement facts.
    pub agreements: Agreements,
    /// Keys that issuers publish.
    pub keys: KeyStore,
    /// Verified tokens.
    pub tokens: TokenCache,
    /// Metrics.
    pub metrics: Metrics,
    /// The audit file.
    pub audit: Arc<AuditFile>,
    /// Makes the ids of requests whose answers teach; all workers have to make the same.
    pub id_key: IdKey,
    /// Bytes of bodies that are held for judging now.
    pub buffered: AtomicUsize,
    /// How many requests at a time the file descriptors are enough for, whatever the configuration says.
    pub requests_ceiling: AtomicUsize,
}

impl Shared {
    /// The shared state with its first configuration.
    pub fn new(
        snapshot: Snapshot,
        agreements: Agreements,
        keys: KeyStore,
        metrics: Metrics,
        audit: Arc<AuditFile>,
    ) -> Shared {
        Shared {
            snapshot: ArcSwap::from_pointee(snapshot),
            installed: AtomicU64::new(0),
            agreements,
            keys,
            tokens: TokenCache::default(),
            metrics,
            audit,
            id_key: IdKey::default(),
            buffered: AtomicUsize::new(0),
            requests_ceiling: AtomicUsize::new(usize::MAX),
        }
    }

    /// The configuration in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// How often a configuration was put in force; workers compare it to what they hold.
    pub fn installed(&self) -> u64 {
        self.installed.load(Ordering::Acquire)
    }

    /// Puts a configuration in force. Requests under way finish with theirs.
    pub fn install(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
        self.installed.fetch_add(1, Ordering::AcqRel);
    }
}
