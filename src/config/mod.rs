//! Configuration.

pub mod node;
pub mod policy;
pub mod problem;
pub mod read;
