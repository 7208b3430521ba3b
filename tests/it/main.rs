//! Every integration test, in one binary.

mod architecture;
mod cli;
mod facade;
mod facts;
mod framing;
mod gateway;
mod golden;
mod http;
mod life;
mod policy_tables;
mod properties;
mod stage;
mod support;
mod tokens;
mod verdicts;
