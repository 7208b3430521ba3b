//! Agreement facts: where statuses come from, and how long they are believed.

mod asking;
pub mod cache;
mod changes;
pub mod file;
pub mod fingerprint;
pub mod flights;
pub mod http;
pub mod inquiry;
mod known;
pub mod learnt;
pub mod near;
pub mod partner_center;
pub mod pointer;
pub mod precedence;
pub mod saved;
pub mod saved_line;
pub mod source;
pub mod sources;
pub mod template;
pub mod words;

pub use asking::{Asking, LookupCounts};
pub use known::Agreements;
