//! Guarding: how much another server is asked, and when not at all; time is an argument and nothing here waits.

pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod guard;
pub mod retry_after;
