//! Every integration test, in one binary.

mod gateway;
mod http;
mod policy_tables;
mod stage;
mod support;
