//! Countersign: a compliance gateway in front of the ordering APIs of the Microsoft CSP programme.

pub mod agreements;
pub mod clock;
pub mod config;
pub mod extract;
pub mod identity;
pub mod policy;
