//! Countersign: a compliance gateway in front of the ordering APIs of the Microsoft CSP programme.

pub mod admin;
pub mod agreements;
pub mod app;
pub mod audit;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod deadline;
pub mod extract;
pub mod identity;
pub mod judge;
pub mod metrics;
pub mod policy;
pub mod proxy;
pub mod server;
#[cfg(feature = "demo")]
pub mod standin;
