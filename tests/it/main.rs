//! Every integration test, in one binary.

mod architecture;
mod authority;
mod cli;
mod facade;
mod facts;
mod framing;
mod gateway;
mod golden;
mod http;
mod http2;
mod intake;
mod key_server;
mod keys;
mod life;
mod limits;
mod minting;
mod policy_tables;
mod properties;
mod rows;
mod stage;
mod support;
mod tls;
mod tokens;
mod verdicts;
