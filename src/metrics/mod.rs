//! Metrics: every one there is, its labels, and typed ways to record them.

mod process;
mod register;
pub mod remote;

use std::time::Duration;

use prometheus::{
    Encoder, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
};

use crate::metrics::register::Register;
use crate::metrics::remote::RemoteMetrics;

/// Every metric of the process. It outlives every configuration.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// Of servers that are asked something.
    pub remote: RemoteMetrics,
    /// Requests by operation, verdict and reason.
    requests: IntCounterVec,
    /// Findings by rule and effect.
    findings: IntCounterVec,
    notices: IntCounterVec,
    /// From the request's head to its verdict.
    decision_seconds: Histogram,
    /// From the verdict to the head of the upstream's answer.
    upstream_seconds: Histogram,
    /// Answers of the upstream by class of status.
    upstream_responses: [IntCounter; 5],
    /// Exchanges with the upstream that failed, by reason.
    upstream_failures: IntCounterVec,
    /// Connections opened to the upstream.
    pub upstream_connections: IntCounter,
    /// Connections by what became of them.
    connections: IntCounterVec,
    /// Connections that are open.
    pub connections_open: IntGauge,
    /// Requests being answered.
    pub requests_in_flight: IntGauge,
    /// Bytes of bodies that are held for judging.
    pub buffered_bytes: IntGauge,
    /// Tokens found in the cache.
    pub tokens_cached: IntCounter,
    /// Tokens that were verified.
    pub tokens_verified: IntCounter,
    /// Seconds since an issuer's published keys were last fetched, by issuer.
    keys_age: IntGaugeVec,
    /// Fetches of published keys by issuer and outcome.
    keys_fetches: IntCounterVec,
    /// Statuses found fresh in the cache.
    pub lookup_hits: IntCounter,
    /// Statuses that were not there, or no longer fresh.
    pub lookup_misses: IntCounter,
    /// Questions that sources were asked.
    pub lookups_asked: IntCounter,
    /// Acceptances that passing answers told of, by agreement.
    learnt: IntCounterVec,
    /// Acceptances that the upstream contradicted, by agreement.
    drift: IntCounterVec,
    /// Denials that were looked up once more before they were given.
    pub rechecks: IntCounter,
    /// Statuses that are kept.
    pub facts: IntGauge,
    /// Acceptances that were saved last.
    facts_saved: IntGauge,
    /// Whether saving them went well.
    facts_saved_ok: IntGauge,
    /// Audit records written, by kind.
    audit_records: IntCounterVec,
    /// Audit records that could not be written.
    pub audit_failures: IntCounter,
    /// Requests that panicked.
    pub panics: IntCounter,
    /// Reloads of the configuration by outcome.
    reloads: IntCounterVec,
    /// Whether the last reload succeeded.
    pub reload_ok: IntGauge,
    /// When a configuration was last put in force.
    pub loaded_at: IntGauge,
    /// Reloads of ledgers by source and outcome.
    ledger_reloads: IntCounterVec,
    /// Whether the last reading of a ledger succeeded, by source.
    ledger_ok: IntGaugeVec,
    /// Readings of changed TLS files by outcome.
    tls_reloads: IntCounterVec,
    /// Whether the last reading of TLS files succeeded.
    pub tls_ok: IntGauge,
    /// One, labelled with version and revision.
    info: IntGaugeVec,
    /// Waivers in force.
    pub waivers: IntGauge,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// Registers every metric.
    pub fn new() -> Metrics {
        let register = Register::default();
        let responses = register.counters(
            "countersign_upstream_responses_total",
            "Answers of the upstream, by class of status.",
            &["status"],
        );
        let tokens =
            register.counters("countersign_tokens_total", "Tokens by how they were read.", &["outcome"]);
        let lookups =
            register.counters("countersign_lookups_total", "Statuses by where they came from.", &["outcome"]);
        register.collector(Box::new(process::ProcessCollector::new()));
        Metrics {
            requests: register.counters(
                "countersign_requests_total",
                "Requests by operation, verdict and reason.",
                &["operation", "verdict", "reason"],
            ),
            notices: register.counters(
                "countersign_notices_total",
                "Requests that are never gated and whose caller was told something of them.",
                &["notice"],
            ),
            findings: register.counters(
                "countersign_findings_total",
                "Findings of rules that were not simply met, by rule and effect.",
                &["rule", "effect"],
            ),
            decision_seconds: register.histogram(
                "countersign_decision_seconds",
                "From the head of a request to its verdict, in seconds.",
            ),
            upstream_seconds: register.histogram(
                "countersign_upstream_seconds",
                "From the verdict to the head of the upstream's answer, in seconds.",
            ),
            upstream_responses: ["1xx", "2xx", "3xx", "4xx", "5xx"]
                .map(|class| responses.with_label_values(&[class])),
            upstream_failures: register.counters(
                "countersign_upstream_failures_total",
                "Exchanges with the upstream that failed, by reason.",
                &["reason"],
            ),
            upstream_connections: register
                .counter("countersign_upstream_connections_total", "Connections opened to the upstream."),
            connections: register.counters(
                "countersign_connections_total",
                "Connections by what became of them.",
                &["outcome"],
            ),
            connections_open: register.gauge("countersign_connections_open", "Connections that are open."),
            requests_in_flight: register.gauge("countersign_requests_in_flight", "Requests being answered."),
            buffered_bytes: register.gauge("countersign_buffered_bytes", "Bytes of bodies held for judging."),
            tokens_cached: tokens.with_label_values(&["cached"]),
            tokens_verified: tokens.with_label_values(&["verified"]),
            keys_age: register.gauges(
                "countersign_keys_age_seconds",
                "Since the keys that an issuer publishes were last fetched, in seconds.",
                &["issuer"],
            ),
            keys_fetches: register.counters(
                "countersign_keys_fetches_total",
                "Fetches of the keys that an issuer publishes, by outcome.",
                &["issuer", "outcome"],
            ),
            lookup_hits: lookups.with_label_values(&["hit"]),
            lookup_misses: lookups.with_label_values(&["miss"]),
            lookups_asked: register
                .counter("countersign_lookup_questions_total", "Questions that sources were asked."),
            learnt: register.counters(
                "countersign_learnt_total",
                "Acceptances that the upstream's own answers told of, by agreement.",
                &["agreement"],
            ),
            drift: register.counters(
                "countersign_drift_total",
                "Acceptances that the upstream contradicted, by agreement.",
                &["agreement"],
            ),
            rechecks: register.counter(
                "countersign_rechecks_total",
                "Denials whose facts were looked up once more before they were given.",
            ),
            facts: register.gauge("countersign_facts", "Statuses that are kept."),
            facts_saved: register.gauge("countersign_facts_saved", "Acceptances that were saved last."),
            facts_saved_ok: register
                .gauge("countersign_facts_last_save_ok", "Whether the last saving of acceptances succeeded."),
            audit_records: register.counters(
                "countersign_audit_records_total",
                "Audit records written.",
                &["kind"],
            ),
            audit_failures: register
                .counter("countersign_audit_failures_total", "Audit records that could not be written."),
            panics: register
                .counter("countersign_panics_total", "Requests that ended in a fault of the gateway."),
            reloads: register.counters(
                "countersign_config_reloads_total",
                "Reloads of the configuration, by outcome.",
                &["outcome"],
            ),
            reload_ok: register.gauge(
                "countersign_config_last_reload_ok",
                "Whether the last reload of the configuration succeeded.",
            ),
            loaded_at: register.gauge(
                "countersign_config_loaded_timestamp_seconds",
                "When the configuration in force was loaded.",
            ),
            ledger_reloads: register.counters(
                "countersign_ledger_reloads_total",
                "Readings of changed ledgers, by source and outcome.",
                &["source", "outcome"],
            ),
            ledger_ok: register.gauges(
                "countersign_ledger_last_reload_ok",
                "Whether the last reading of a ledger succeeded, by source.",
                &["source"],
            ),
            tls_reloads: register.counters(
                "countersign_tls_reloads_total",
                "Readings of changed certificates, keys and revocation lists, by outcome.",
                &["outcome"],
            ),
            tls_ok: register.gauge(
                "countersign_tls_last_reload_ok",
                "Whether the last reading of certificates, keys and revocation lists succeeded.",
            ),
            info: register.gauges(
                "countersign_build_info",
                "Always one; version of the program and revision of the configuration.",
                &["version", "revision"],
            ),
            waivers: register.gauge("countersign_waivers", "Waivers in force."),
            remote: RemoteMetrics::new(&register),
            registry: register.into_registry(),
        }
    }

    /// The counter of allowed requests of an operation.
    pub fn allowed(&self, operation: &str) -> IntCounter {
        self.requests.with_label_values(&[operation, "allow", "none"])
    }

    /// Counts a denied request.
    pub fn denied(&self, operation: &str, reason: &str) {
        self.requests.with_label_values(&[operation, "deny", reason]).inc();
    }

    /// Counts what became of a connection.
    pub fn connection(&self, outcome: &str) {
        self.connections.with_label_values(&[outcome]).inc();
    }

    /// Counts a reading of TLS files.
    pub fn tls_reloaded(&self, ok: bool) {
        self.tls_reloads.with_label_values(&[if ok { "ok" } else { "refused" }]).inc();
        self.tls_ok.set(i64::from(ok));
    }

    /// Counts a finding.
    pub fn finding(&self, rule: &str, effect: &str) {
        self.findings.with_label_values(&[rule, effect]).inc();
    }

    /// Notes how long a verdict took.
    pub fn decided(&self, took: Duration) {
        self.decision_seconds.observe(took.as_secs_f64());
    }

    /// Notes an answer of the upstream.
    pub fn answered(&self, status: u16, took: Duration) {
        self.upstream_seconds.observe(took.as_secs_f64());
        let class = usize::from(status / 100).clamp(1, 5);
        self.upstream_responses[class - 1].inc();
    }

    /// Counts an exchange that failed.
    pub fn upstream_failed(&self, reason: &str) {
        self.upstream_failures.with_label_values(&[reason]).inc();
    }

    /// The counter of audit records of a kind.
    pub fn audited(&self, kind: &str) -> IntCounter {
        self.audit_records.with_label_values(&[kind])
    }

    /// Counts a reload of the configuration.
    pub fn reloaded(&self, ok: bool) {
        self.reloads.with_label_values(&[if ok { "ok" } else { "refused" }]).inc();
        self.reload_ok.set(i64::from(ok));
    }

    /// Counts a reading of a ledger.
    pub fn ledger_reloaded(&self, source: &str, ok: bool) {
        self.ledger_reloads.with_label_values(&[source, if ok { "ok" } else { "refused" }]).inc();
        self.ledger_ok.with_label_values(&[source]).set(i64::from(ok));
    }

    /// Notes how many acceptances were saved; `None` where that failed.
    pub fn facts_saved(&self, count: Option<usize>) {
        self.facts_saved_ok.set(i64::from(count.is_some()));
        if let Some(count) = count {
            self.facts_saved.set(count as i64);
        }
    }

    /// Counts an acceptance that a passing answer told of.
    pub fn learnt(&self, agreement: &str) {
        self.learnt.with_label_values(&[agreement]).inc();
    }

    /// Counts a request whose caller is told something beside what rules found.
    pub fn noticed(&self, notice: &str) {
        self.notices.with_label_values(&[notice]).inc();
    }

    /// Counts an acceptance that the upstream contradicted.
    pub fn drifted(&self, agreement: &str) {
        self.drift.with_label_values(&[agreement]).inc();
    }

    /// Counts a fetch of an issuer's keys.
    pub fn keys_fetched(&self, issuer: &str, ok: bool) {
        self.keys_fetches.with_label_values(&[issuer, if ok { "ok" } else { "failed" }]).inc();
    }

    /// Notes how old the keys of issuers are. Of several sets of one issuer the oldest counts.
    pub fn keys_aged(&self, ages: impl Iterator<Item = (String, Duration)>) {
        self.keys_age.reset();
        for (issuer, age) in ages {
            let gauge = self.keys_age.with_label_values(&[issuer.as_str()]);
            gauge.set(gauge.get().max(age.as_secs() as i64));
        }
    }

    /// Says which configuration is in force.
    pub fn in_force(&self, version: &str, revision: &str, at_second: i64) {
        self.info.reset();
        self.info.with_label_values(&[version, revision]).set(1);
        self.loaded_at.set(at_second);
    }

    /// Everything in the Prometheus text format.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(64 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("writing to memory");
        text
    }
}
