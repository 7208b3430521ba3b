//! Configuration.

pub mod node;
pub mod problem;
pub mod read;
