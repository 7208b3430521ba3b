//! Audit: one record for each decision, written before the request goes upstream.

pub mod record;
pub mod writer;
