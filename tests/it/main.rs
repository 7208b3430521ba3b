//! Every integration test, in one binary.

mod policy_tables;
mod support;
