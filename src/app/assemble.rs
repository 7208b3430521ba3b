//! Assembly: settings become sources and snapshots, and two settings are held against each other.

use std::path::PathBuf;
use std::sync::Arc;

use crate::admin;
use crate::app::sources::Built;
use crate::config::{Log, Settings, waits};
use crate::identity::claims::{Issuer, IssuerKeys};
use crate::identity::issuer::IssuerName;
use crate::identity::keys::VerifyingKey;
use crate::metrics::Metrics;
use crate::proxy::snapshot::Snapshot;
use crate::server;

/// What goes on as it was started, whatever later configurations say.
pub struct Started {
    listen: server::Settings,
    has_tls: bool,
    admin: admin::Settings,
    audit_path: PathBuf,
    cache_entries: u64,
    log: Log,
}

impl Started {
    /// What these settings start.
    pub fn with(settings: &Settings) -> Started {
        Started {
            listen: settings.listen.server.clone(),
            has_tls: settings.listen.tls.is_some(),
            admin: settings.admin.clone(),
            audit_path: settings.audit_path.clone(),
            cache_entries: settings.agreements.cache.entries,
            log: settings.log.clone(),
        }
    }

    /// What runs on, though other settings say otherwise, until a restart.
    pub fn needs_restart(&self, new: &Settings) -> Vec<&'static str> {
        let mut names = Vec::new();
        if self.listen != new.listen.server || self.has_tls != new.listen.tls.is_some() {
            names.push("listen and connection limits");
        }
        if self.admin != new.admin {
            names.push("admin");
        }
        if self.audit_path != new.audit_path {
            names.push("audit.path");
        }
        if self.cache_entries != new.agreements.cache.entries {
            names.push("agreements.cache.entries");
        }
        if self.log != new.log {
            names.push("log");
        }
        names
    }
}

/// What a running gateway must not be given, though it could be started so. `failures` says of issuers why their keys
/// could not be fetched.
pub fn must_not_reload(
    started: &Started,
    old: &Settings,
    new: &Settings,
    failures: &[(IssuerName, String)],
) -> Option<String> {
    let usable = |issuer: &Issuer| {
        let fits =
            |key: &VerifyingKey| key.algorithms.iter().any(|algorithm| issuer.algorithms.contains(algorithm));
        match &issuer.keys {
            IssuerKeys::Held(keys) => keys.iter().any(fits),
            IssuerKeys::Published(ring) => ring.is_usable(),
        }
    };
    // Half a key rotation must not turn every caller away.
    let emptied = new.verifier.issuers.iter().find(|issuer| {
        let before = old.verifier.issuers.iter().find(|known| known.name == issuer.name);
        before.is_some_and(usable) && !usable(issuer)
    });
    if let Some(issuer) = emptied {
        let failure = failures.iter().find(|(name, _)| *name == issuer.name);
        let why = failure.map_or_else(String::new, |(_, why)| format!(" ({why})"));
        return Some(format!(
            "issuer {} had usable keys and now has none{why}; the last good ones are kept",
            issuer.name
        ));
    }
    // The listener goes on with the time it was started with.
    let idle = started.listen.idle_timeout;
    let (what, wait) = waits(&new.upstream, &new.verifier).into_iter().find(|(_, wait)| idle <= *wait)?;
    Some(format!(
        "the running `limits.idle_timeout` ({idle:?}) has to be longer than {what}, which is {wait:?}: restart instead"
    ))
}

/// What workers need of a configuration.
pub fn build_snapshot(settings: &Settings, built: &Built, generation: u64, metrics: &Metrics) -> Snapshot {
    let policy = settings.policy.policy.clone();
    let allowed = policy.operations.iter().map(|operation| metrics.allowed(&operation.name)).collect();
    Snapshot {
        revision: settings.revision.clone(),
        generation,
        policy,
        verifier: settings.verifier.clone(),
        partners: settings.partners.clone(),
        sources: Arc::clone(&built.sources),
        resources: built.resources.clone(),
        freshness: settings.agreements.cache,
        catalogue: settings.catalogue.clone(),
        upstream: settings.upstream.client.clone(),
        forward_authorization: settings.upstream.forward_authorization,
        keep_back: settings.keep_back.clone(),
        limits: settings.limits,
        trusted: settings.listen.trusted.clone(),
        audit: settings.audit,
        allowed,
    }
}
