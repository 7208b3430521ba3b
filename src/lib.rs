//! Countersign: a compliance gateway in front of the ordering APIs of the Microsoft CSP programme.
//!
//! It reads the caller's token, works out which agreements a request needs, asks where they stand, records its decision
//! and either forwards the very bytes it judged or answers what is missing and who can act.
//!
//! # The map
//!
//! Modules in order of dependency: each imports only from those above it (`tests/it/architecture.rs` holds the table).
//!
//! ```text
//! clock        one moment on both clocks, read once a request
//! waiting      how long to leave a server alone, because it failed or says so
//! deadline     coarse deadlines of a worker's waits
//! local        tasks that stay on their worker's thread
//! mark         the byte order mark before a text
//! metrics      every metric
//! policy       THE DECISION CORE, pure: route, plan, needs, decide
//! random       numbers that keep gateways from doing the same at the same time
//! extract      strict JSON, and where a request's facts are found in it; pure
//! tls          configurations of rustls
//! fetch        what the control runtime asks of other servers
//! service      the gateway's own access token
//! remote       servers that are asked: budget, breaker, pauses, and as whom
//! resources    carts, orders, subscriptions and transfers, read before judging
//! client       connections to the upstream
//! server       acceptor, workers, connections, drain; serves any handler
//! identity     tokens, keys, partners: who is calling
//! agreements   sources (ledger, Partner Center, JSON endpoints), the cache of facts, one flight for each question
//! judge        a decision without a network: for `explain` and `test`
//! audit        records, and the lanes that write them
//! proxy        THE REQUEST PATH, top to bottom in `proxy/mod.rs`
//! admin        the operators' listener
//! config       YAML to the settings of every module, with every problem found on the way
//! app          settings to a running gateway; reload, stop
//! standin      a stand-in ordering API and token issuer, for the demo and the tests
//! cli          run, check, explain, test, demo
//! ```
//!
//! # Invariants
//!
//! - Nothing is forwarded without a [`policy::decision::Permit`] and an [`audit::writer::Receipt`]; only an allowing
//!   decision makes the one, only an audit lane the other.
//! - The bytes that are forwarded are the bytes that were judged.
//! - A failed look-up is never "missing". Facts are cached, verdicts are not.
//! - What lifts a block, ends a purchase or only reads needs no agreement, whatever the configuration says.
//! - Policy sees values only: time and statuses arrive as arguments.
//! - A request works with one [`proxy::snapshot::Snapshot`] from its first byte to its last.
//! - Worker code may be `!Send`; no `RefCell` borrow crosses an await.
//!
//! # Where do I add ..
//!
//! - a request of the ordering API: `config/presets/partner-center.yaml`, and a row in `tests/data/requests/`
//! - a way to misspell a request or a token: a row in `tests/data/intake/`
//! - a rule of the programme: a preset, and cases in `config/cases/`, met and not met
//! - a condition that rules can ask: `policy/condition.rs`, read in `config/policy/rules.rs`
//! - a source of statuses: `agreements/`, read in `config/agreements.rs`
//! - a reason: `policy/reason.rs`, texts in `config/messages/`, the table in the README
//! - a configuration key: the file of its section in `config/`, the reference in the README
//! - a header that is kept back: `proxy/keep_back.rs`, the table in the README
//! - a language: a file in `config/messages/`, named in `config/texts.rs`

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
pub mod fetch;
pub mod identity;
pub mod judge;
pub mod local;
pub mod mark;
pub mod metrics;
pub mod policy;
pub mod proxy;
pub mod random;
pub mod remote;
pub mod resources;
pub mod server;
pub mod service;
#[cfg(feature = "demo")]
pub mod standin;
pub mod tls;
pub mod waiting;
