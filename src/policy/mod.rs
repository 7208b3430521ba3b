//! The decision core: pure functions from facts and statuses to a decision.

pub mod agreement;
mod compiled;
pub mod condition;
pub mod decision;
pub mod endpoint;
pub mod facts;
pub mod id;
pub mod learning;
pub mod operation;
pub mod path;
pub mod pattern;
mod plan;
pub mod product;
pub mod reason;
pub mod role;
pub mod router;
pub mod rule;
pub mod shape;

pub use compiled::{AgreementInfo, Drafts, Options, Policy, Route, Unlisted, UnreadResellers};
pub use plan::Plan;
