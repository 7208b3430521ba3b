//! Audit: one record for each decision, written before the request goes upstream.

mod line;
pub mod record;
pub mod writer;
