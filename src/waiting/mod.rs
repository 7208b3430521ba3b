//! Waiting: how long to leave a server alone, because it failed or because it says so.

pub mod backoff;
pub mod retry_after;
