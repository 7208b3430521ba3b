//! Tokens: what is accepted, and every way in which one that looks right is not (`tests/data/intake/tokens.json`).

use std::collections::HashSet;
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use countersign::standin::{Issuer, IssuerAlgorithm};
use serde_json::json;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::minting::{Mint, TokenChange};
use crate::rows::{self, Protocol, Run};
use crate::stage::{CUSTOMER, PARTNER, Stage};
use crate::transport::Transport;

const TOKENS: &str = "countersign_tokens_total";

#[test]
fn a_token_proves_what_it_says_or_nothing_and_is_told_nowhere() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        run(protocol);
    }
}

/// Sends the tokens that a protocol can say, and looks for any piece of them in all that the gateway says.
fn run(protocol: Protocol) {
    let log = Log::of_this_process();
    let (stage, transport) = Transport::start(protocol);
    let mint = Mint::for_stage(&stage);
    let (mut tokens, mut answers) = (Vec::new(), Vec::new());
    let mut run = Run::new(&stage, transport);
    for row in rows::read("tokens.json").into_iter().filter_map(|row| row.by(protocol)) {
        let token = mint.token(&stage, row.token.as_ref().unwrap_or(&TokenChange::default()));
        let answer = run.check(&row, CUSTOMER, &token);
        tokens.push(token);
        answers.push(format!("{:?} {}", answer.headers, String::from_utf8_lossy(&answer.body)));
    }
    run.finish();

    let pieces = Pieces::of(&tokens);
    assert!(pieces.first_in(&format!("x{}", &tokens[0][60..90])).is_some(), "a piece that is there is found");
    let page = stage.admin_request("GET", "/metrics", &[]);
    let metrics = String::from_utf8(page.body).unwrap();
    assert!(metrics.contains("token_invalid"), "{metrics}");
    let audit = std::fs::read_to_string(stage.path("audit.jsonl")).unwrap();
    assert!(audit.contains("token_invalid") && audit.contains(PARTNER));
    let log = log.text();
    assert!(log.contains(LOGGED), "the log is read: {log}");
    let answers = answers.join("\n");
    for (place, text) in [("answer", answers), ("metrics", metrics), ("audit", audit), ("log", log)] {
        assert_eq!(pieces.first_in(&text), None, "a piece of a token in the {place}");
    }
}

/// The pieces of twenty characters of the claims and signatures of tokens.
struct Pieces(HashSet<Vec<u8>>);

impl Pieces {
    const LENGTH: usize = 20;

    fn of(tokens: &[String]) -> Pieces {
        let parts = tokens.iter().flat_map(|token| token.split('.').skip(1));
        Pieces(parts.flat_map(|part| part.as_bytes().windows(Self::LENGTH)).map(<[u8]>::to_vec).collect())
    }

    fn first_in(&self, text: &str) -> Option<String> {
        let found = text.as_bytes().windows(Self::LENGTH).find(|piece| self.0.contains(*piece));
        found.map(|piece| String::from_utf8_lossy(piece).into_owned())
    }
}

const LOGGED: &str = "the log of the tests has begun";

/// Everything that the gateway logs in this process, at any level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Begins with the first test that asks for it.
    fn of_this_process() -> &'static Log {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Log::default();
            let writer = log.clone();
            let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_ansi(false);
            let trace = LevelFilter::TRACE;
            let ours = Targets::new().with_target("countersign", trace).with_target("it", trace);
            let subscriber = tracing_subscriber::registry().with(lines.with_filter(ours));
            tracing::subscriber::set_global_default(subscriber).expect("nothing else reads the log");
            tracing::info!(LOGGED);
            log
        })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn every_pinned_algorithm_is_verified_once_and_then_cached() {
    for (algorithm, pinned, name) in [
        (IssuerAlgorithm::Rs256, "RS256", "RS256"),
        (IssuerAlgorithm::Ps256, "PS256", "PS256"),
        (IssuerAlgorithm::Es256, "ES256", "ES256"),
        // One algorithm by two names (RFC 9864).
        (IssuerAlgorithm::EdDsa, "EdDSA", "EdDSA"),
        (IssuerAlgorithm::EdDsa, "EdDSA", "Ed25519"),
        (IssuerAlgorithm::EdDsa, "Ed25519", "EdDSA"),
        (IssuerAlgorithm::EdDsa, "Ed25519", "Ed25519"),
    ] {
        for pem in [false, true] {
            let stage = Stage::start();
            let issuer = Issuer::fresh(algorithm, "fresh");
            let keys = if pem { issuer.public_pem() } else { issuer.jwks() };
            let file = if pem { "keys.pem" } else { "keys.json" };
            std::fs::write(stage.path(file), keys).unwrap();
            let path = stage.path("countersign.yaml");
            let text = std::fs::read_to_string(&path).unwrap();
            let key = if pem { "pem_file: keys.pem" } else { "jwks_file: keys.json" };
            let text =
                text.replace("[RS256, ES256]", &format!("[{pinned}]")).replace("jwks_file: keys.json", key);
            std::fs::write(&path, text).unwrap();
            let reloaded = stage.reload();
            assert_eq!(reloaded.status, 200, "{name}: {}", String::from_utf8_lossy(&reloaded.body));
            let header = json!({ "alg": name, "kid": "fresh", "typ": "JWT" });
            let claims = Stage::claims(PARTNER, &["AdminAgent"]);
            let token = format!("Bearer {}", issuer.token_with_header(&header, &claims));
            for _ in 0..3 {
                assert_eq!(
                    stage.order(CUSTOMER, &[("Authorization", &token)]).status,
                    201,
                    "{name}, PEM {pem}"
                );
            }
            assert_eq!(stage.metric(&format!("{TOKENS}{{outcome=\"verified\"}}")), 1.0, "{name}");
            assert_eq!(stage.metric(&format!("{TOKENS}{{outcome=\"cached\"}}")), 2.0, "{name}");
        }
    }
}
