//! Warming: what Partner Center tells of many parties at a time, fetched beside the requests.

use std::time::Duration;

/// What is fetched beside requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether the records of all customers are fetched at start.
    pub bulk_load: bool,
    /// How often the audit records are looked through for acceptances; `None` for never.
    pub audit_poll: Option<Duration>,
}
