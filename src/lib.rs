//! Countersign: a compliance gateway in front of the ordering APIs of the Microsoft CSP programme.

pub mod config;
pub mod extract;
pub mod policy;
