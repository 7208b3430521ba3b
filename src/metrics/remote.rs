//! Metrics of servers that are asked something: for agreements, for resources, for the gateway's own token.

use std::time::Duration;

use prometheus::{Histogram, IntCounterVec, IntGaugeVec};

use crate::metrics::register::Register;

/// What is asked of other servers.
#[derive(Clone, Debug)]
pub struct RemoteMetrics {
    /// Renewals of the gateway's own token by outcome.
    service_tokens: IntCounterVec,
    /// Whether the last rotated refresh token was stored.
    service_token_stored: IntGaugeVec,
    /// Questions to remote servers by source and outcome.
    remote_questions: IntCounterVec,
    /// Whether a remote server is left alone because it keeps failing, by source.
    remote_open: IntGaugeVec,
    /// True where the token that a remote server is asked with names another tenant than the source's, by source.
    token_mismatch: IntGaugeVec,
    /// Resources that were read before judging, by kind and outcome.
    resources: IntCounterVec,
    /// How long that took.
    resource_seconds: Histogram,
    /// What was learnt beside the requests, by source, list and outcome.
    warmed: IntCounterVec,
    /// How many parties that told of, by source and list.
    warmed_parties: IntCounterVec,
}

impl RemoteMetrics {
    pub(super) fn new(register: &Register) -> RemoteMetrics {
        RemoteMetrics {
            service_tokens: register.counters(
                "countersign_service_tokens_total",
                "Renewals of the gateway's own access token, by outcome.",
                &["outcome"],
            ),
            // Without labels, but absent until something had to be stored: a zero is an alert.
            service_token_stored: register.gauges(
                "countersign_service_token_stored_ok",
                "Whether the last refresh token that came in place of another could be stored.",
                &[],
            ),
            remote_questions: register.counters(
                "countersign_source_questions_total",
                "Questions to remote servers, by source and outcome.",
                &["source", "outcome"],
            ),
            remote_open: register.gauges(
                "countersign_source_left_alone",
                "Whether a remote server is not asked because it keeps failing, by source.",
                &["source"],
            ),
            // Absent where tokens are opaque.
            token_mismatch: register.gauges(
                "countersign_source_token_tenant_mismatch",
                "Whether the access token for a remote server names another tenant than the source's partner, by source.",
                &["source"],
            ),
            resources: register.counters(
                "countersign_resources_read_total",
                "Carts, transfers and subscriptions that were read before judging, by outcome.",
                &["resource", "outcome"],
            ),
            resource_seconds: register
                .histogram("countersign_resource_seconds", "Reading a resource before judging, in seconds."),
            warmed: register.counters(
                "countersign_warming_total",
                "Lists that were read beside the requests, by source and outcome.",
                &["source", "list", "outcome"],
            ),
            warmed_parties: register.counters(
                "countersign_warming_parties_total",
                "Parties that such lists told of, by source.",
                &["source", "list"],
            ),
        }
    }

    /// Notes a resource that was read before judging, or could not be.
    pub fn read(&self, resource: &str, outcome: &str, took: Duration) {
        self.resources.with_label_values(&[resource, outcome]).inc();
        self.resource_seconds.observe(took.as_secs_f64());
    }

    /// Counts a list that was read beside the requests, and the parties it told of.
    pub fn warmed(&self, source: &str, list: &str, ok: bool, parties: usize) {
        self.warmed.with_label_values(&[source, list, if ok { "ok" } else { "failed" }]).inc();
        self.warmed_parties.with_label_values(&[source, list]).inc_by(parties as u64);
    }

    /// Counts a question to a remote server.
    pub fn asked(&self, source: &str, outcome: &str) {
        self.remote_questions.with_label_values(&[source, outcome]).inc();
    }

    /// Notes which remote servers are left alone.
    pub fn left_alone<'s>(&self, remotes: impl Iterator<Item = (&'s str, bool)>) {
        self.remote_open.reset();
        for (source, is_open) in remotes {
            self.remote_open.with_label_values(&[source]).set(i64::from(is_open));
        }
    }

    /// Notes of which remote servers' tokens can be read whether they name another tenant than the source's.
    pub fn token_tenants<'s>(&self, tokens: impl Iterator<Item = (&'s str, bool)>) {
        self.token_mismatch.reset();
        for (source, is_of_another) in tokens {
            self.token_mismatch.with_label_values(&[source]).set(i64::from(is_of_another));
        }
    }

    /// Counts a renewal of the gateway's own access token.
    pub fn token_renewed(&self, ok: bool) {
        self.service_tokens.with_label_values(&[if ok { "ok" } else { "failed" }]).inc();
    }

    /// Notes whether a rotated refresh token was stored.
    pub fn token_stored(&self, ok: bool) {
        self.service_token_stored.with_label_values::<&str>(&[]).set(i64::from(ok));
    }
}
