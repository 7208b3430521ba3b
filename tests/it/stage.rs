//! A gateway on free loopback ports, before a stand-in ordering API, with a key, a ledger and a configuration of its own.

use std::fs::{File, FileTimes};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use countersign::app::{App, file_loader};
use countersign::config;
use countersign::standin::{Issuer, IssuerAlgorithm, Standin};
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Answer, Connection, PATIENCE, request};

pub const PARTNER: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01";
pub const UNSIGNED: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a02";
pub const CUSTOMER: &str = "c0a80101-6d2b-4c1e-8f10-000000000001";
pub const BLOCKED: &str = "c0a80101-6d2b-4c1e-8f10-000000000002";
pub const LICENCE: &str = "CFQ7TTC0LH18:0001:CFQ7TTC0K971";

/// Everything a gateway test needs; it is stopped when it is dropped.
pub struct Stage {
    pub standin: Standin,
    pub issuer: Issuer,
    pub folder: TempDir,
    app: Option<App>,
}

/// The issuer of most stages, with its key in a file.
pub const ISSUERS: &str = "[{ issuer: \"https://login.example/{tid}/v2.0\", audiences: [api://countersign], \
    algorithms: [RS256, ES256], keys: { jwks_file: keys.json } }]";

/// A configuration with places for what differs between tests.
fn configuration(upstream: &str, issuers: &str, extra: &str) -> String {
    format!(
        "listen: {{ address: 127.0.0.1:0, workers: 2 }}\n\
         upstream: {{ url: {upstream}, response_timeout: 2s, connect_timeout: 500ms }}\n\
         admin: {{ address: 127.0.0.1:0 }}\n\
         identity:\n  issuers: {issuers}\n\
         partners:\n  known:\n\
         {pad}- {{ tenant: {PARTNER}, kind: direct_bill, country: DE }}\n\
         {pad}- {{ tenant: {UNSIGNED}, kind: direct_bill, country: DE, roles: [admin_agent] }}\n\
         agreements:\n  sources:\n    ledger: {{ type: file, path: agreements.yaml }}\n  \
         partner: [ledger]\n  reseller: [ledger]\n  customer: [ledger]\n\
         audit: {{ path: audit.jsonl }}\n{extra}",
        pad = "    "
    )
}

pub const LEDGER: &str = "agreements:\n\
    \x20 - { partner: 7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01, mpa: { accepted: 2020-01-15T00:00:00Z } }\n\
    \x20 - { partner: 7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a02, mpa: missing }\n\
    \x20 - { reseller: \"4847383\", mpa: { accepted: 2020-01-28T00:00:00Z } }\n\
    \x20 - { reseller: \"6204417\", mpa: missing }\n\
    \x20 - { customer: c0a80101-6d2b-4c1e-8f10-000000000001, mca: { accepted: 2024-03-01T00:00:00Z } }\n\
    \x20 - { customer: c0a80101-6d2b-4c1e-8f10-000000000002, mca: missing }\n";

impl Stage {
    pub fn start() -> Stage {
        Stage::with("")
    }

    /// A stage whose configuration has further sections.
    pub fn with(extra: &str) -> Stage {
        Stage::edited(extra, |text, _| text)
    }

    /// A stage that accepts the tokens of other issuers.
    pub fn with_issuers(issuers: &str, extra: &str) -> Stage {
        Stage::built(issuers, extra, |text, _| text)
    }

    /// A stage whose configuration is edited, once the folder is there that it may name files of.
    pub fn edited(extra: &str, edit: impl Fn(String, &Path) -> String) -> Stage {
        Stage::built(ISSUERS, extra, edit)
    }

    fn built(issuers: &str, extra: &str, edit: impl Fn(String, &Path) -> String) -> Stage {
        let mut stage = Stage::unstarted(issuers, extra, edit);
        stage.begin();
        stage
    }

    /// A stage whose gateway is not started: its stand-in, its key and its files.
    pub fn unstarted(issuers: &str, extra: &str, edit: impl Fn(String, &Path) -> String) -> Stage {
        let standin = Standin::start(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let issuer = Issuer::fresh(IssuerAlgorithm::Es256, "k1");
        let folder = TempDir::new().expect("a folder");
        std::fs::write(folder.path().join("keys.json"), issuer.jwks()).unwrap();
        std::fs::write(folder.path().join("agreements.yaml"), LEDGER).unwrap();
        let path = folder.path().join("countersign.yaml");
        std::fs::write(&path, edit(configuration(&standin.url(), issuers, extra), folder.path())).unwrap();
        standin.record(true);
        Stage { standin, issuer, folder, app: None }
    }

    /// Stops the gateway and starts it again, with the files that it left.
    pub fn restart(&mut self) {
        self.stop();
        self.begin();
    }

    /// Starts the gateway that was stopped.
    pub fn begin(&mut self) {
        self.app = Some(start(self.path("countersign.yaml")));
    }

    pub fn address(&self) -> SocketAddr {
        self.app.as_ref().expect("it runs").address
    }

    pub fn admin(&self) -> SocketAddr {
        self.app.as_ref().expect("it runs").admin_address
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces a file in one step. Its change time is later than the time of this call; so is its modification time, unless
    /// one is given.
    pub fn place(&self, name: &str, text: &str, modified: Option<SystemTime>) {
        let (before, beside) = (SystemTime::now(), self.path("placed"));
        loop {
            // File times come from a coarser clock: a file written at once can have a time before this call.
            std::fs::write(&beside, text).unwrap();
            if std::fs::metadata(&beside).unwrap().modified().unwrap() > before {
                break;
            }
        }
        if let Some(modified) = modified {
            let file = File::options().write(true).open(&beside).unwrap();
            file.set_times(FileTimes::new().set_modified(modified)).unwrap();
        }
        std::fs::rename(&beside, self.path(name)).unwrap();
    }

    /// Rewrites the configuration with further sections.
    pub fn configure(&self, extra: &str) {
        self.configure_issuers(ISSUERS, extra);
    }

    /// Rewrites the configuration with other issuers.
    pub fn configure_issuers(&self, issuers: &str, extra: &str) {
        let text = configuration(&self.standin.url(), issuers, extra);
        std::fs::write(self.path("countersign.yaml"), text).unwrap();
    }

    pub fn claims(partner: &str, roles: &[&str]) -> Value {
        let now = Timestamp::now().as_second();
        json!({
            "iss": format!("https://login.example/{partner}/v2.0"),
            "aud": "api://countersign",
            "tid": partner,
            "roles": roles,
            "oid": "1f0c2d3e-0000-4000-8000-00000000d3e0",
            "exp": now + 600,
        })
    }

    pub fn token(&self, partner: &str, roles: &[&str]) -> String {
        self.issuer.token(&Stage::claims(partner, roles))
    }

    /// The Authorization of an agent of the partner that has signed.
    pub fn agent(&self) -> String {
        format!("Bearer {}", self.token(PARTNER, &["AdminAgent"]))
    }

    /// Sends one request on a connection of its own, with the agent's token unless another is given.
    pub fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut connection = Connection::open(self.address());
        connection.send(&self.request(method, target, headers, body));
        connection.try_read(method == "HEAD").expect("an answer")
    }

    /// A request as bytes, with the agent's token unless another is given, and as JSON unless it says otherwise.
    pub fn request(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let agent = self.agent();
        let mut all: Vec<(&str, &str)> = headers.to_vec();
        let has = |name: &str| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if !has("authorization") {
            all.push(("Authorization", &agent));
        }
        if !body.is_empty() && !has("content-type") {
            all.push(("Content-Type", "application/json"));
        }
        all.retain(|(_, value)| !value.is_empty());
        request(method, target, &all, body)
    }

    pub fn order(&self, customer: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("POST", &orders(customer), headers, order().as_bytes())
    }

    /// The audit records so far, once the gateway has stopped.
    pub fn stop(&mut self) -> Vec<Value> {
        self.app.take().expect("it runs").stop();
        self.records()
    }

    pub fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("audit.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// A request to the admin listener.
    pub fn admin_request(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let mut connection = Connection::open(self.admin());
        let host = ("Host", "localhost");
        let all: Vec<(&str, &str)> = headers.iter().copied().chain([host]).collect();
        connection.send(&request(method, target, &all, b""));
        connection.read()
    }

    pub fn reload(&self) -> Answer {
        self.admin_request("POST", "/reload", &[("Countersign-Admin", "1")])
    }

    /// The value of a metric, by its whole name with labels.
    pub fn metric(&self, name: &str) -> f64 {
        let page = self.admin_request("GET", "/metrics", &[]);
        let text = String::from_utf8(page.body).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(app) = self.app.take() {
            // A held request must not keep the drain waiting.
            self.standin.release();
            app.stop();
        }
    }
}

fn start(path: PathBuf) -> App {
    let loaded = config::load(&path, Timestamp::now()).unwrap();
    let report = loaded.report(false);
    let settings = loaded.settings.unwrap_or_else(|| panic!("{report}"));
    App::start(settings, file_loader(path), false).unwrap()
}

pub fn orders(customer: &str) -> String {
    format!("/v1/customers/{customer}/orders")
}

pub fn order() -> String {
    json!({ "lineItems": [{ "offerId": LICENCE, "quantity": 1 }] }).to_string()
}

/// Waits for what happens within a bounded time; each attempt is a real request, which takes its own time.
pub fn eventually(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "it did not happen");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
