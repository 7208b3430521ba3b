//! Remote servers: how much they are asked, as whom, and when not at all.

pub mod breaker;
pub mod budget;
pub mod client;
pub mod guard;
pub mod reading;
mod tenant;
