//! Keys that issuers publish: fetched over TLS, refreshed, kept through outages, and asked for when a new one turns up.

use std::fmt::Write;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use countersign::standin::{Issuer, IssuerAlgorithm};
use serde_json::{Value, json};

use crate::http::{Answer, Connection};
use crate::key_server::{KeyServer, Mood};
use crate::stage::{CUSTOMER, PARTNER, Stage, UNSIGNED, eventually, order, orders};

const FETCHES: &str = "countersign_keys_fetches_total";
const AGE: &str = "countersign_keys_age_seconds{issuer=\"https://login.example/{tid}/v2.0\"}";

pub fn issuer(kid: &str) -> Issuer {
    Issuer::fresh(IssuerAlgorithm::Es256, kid)
}

/// The issuer of most stages, with these keys.
pub fn issuers(keys: &str) -> String {
    named("https://login.example/{tid}/v2.0", keys)
}

fn named(issuer: &str, keys: &str) -> String {
    format!("[{}]", entry(issuer, keys))
}

pub fn entry(issuer: &str, keys: &str) -> String {
    format!(
        "{{ issuer: \"{issuer}\", audiences: [api://countersign], algorithms: [RS256, ES256], keys: {{ {keys} }} }}"
    )
}

/// A key set below `/keys` of a server, with further settings.
pub fn published(server: &KeyServer, more: &str) -> String {
    format!("jwks_url: \"{}\", ca_file: \"{}\"{more}", server.url("/keys"), server.ca_file().display())
}

pub fn serving(issuer: &Issuer) -> KeyServer {
    let server = KeyServer::start();
    server.answer("/keys", 200, issuer.jwks());
    server
}

/// Claims that no token had before: what is cached does not answer them.
pub fn claims() -> Value {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut claims = Stage::claims(PARTNER, &["AdminAgent"]);
    claims["jti"] = json!(NUMBER.fetch_add(1, Ordering::Relaxed));
    claims
}

pub fn send(stage: &Stage, token: &str) -> Answer {
    stage.order(CUSTOMER, &[("Authorization", &format!("Bearer {token}"))])
}

pub fn fresh(stage: &Stage, issuer: &Issuer) -> Answer {
    send(stage, &issuer.token(&claims()))
}

pub fn ready(stage: &Stage) -> bool {
    stage.admin_request("GET", "/readyz", &[]).status == 200
}

pub fn fetches(stage: &Stage, outcome: &str) -> f64 {
    let name = format!("{FETCHES}{{issuer=\"https://login.example/{{tid}}/v2.0\",outcome=\"{outcome}\"}}");
    stage.metric(&name)
}

fn assert_unavailable(answer: &Answer, what: &str) {
    assert_eq!((answer.status, answer.reason().as_str()), (503, "keys_unavailable"), "{what}");
    assert_eq!(answer.header("retry-after"), Some("30"), "{what}");
}

fn assert_invalid(answer: &Answer, what: &str) {
    assert_eq!((answer.status, answer.reason().as_str()), (401, "token_invalid"), "{what}");
}

#[test]
fn the_first_token_of_a_new_key_is_accepted_after_one_fetch() {
    let (old, new) = (issuer("k1"), issuer("k2"));
    let server = serving(&old);
    let stage = Stage::with_issuers(&issuers(&published(&server, "")), "");
    let token = old.token(&claims());
    assert_eq!(send(&stage, &token).status, 201);
    assert_eq!(server.asked("/keys"), 1);
    assert!(stage.metric(AGE) < 60.0);

    server.answer("/keys", 200, new.jwks());
    assert_eq!(send(&stage, &token).status, 201, "nobody has said yet that it is gone");
    assert_eq!(fresh(&stage, &new).status, 201);
    assert_eq!(server.asked("/keys"), 2);
    assert_eq!(fresh(&stage, &new).status, 201);
    // Its claims were cached, but with a set that holds no more; whether there is a newer one is not known yet.
    assert_unavailable(&send(&stage, &token), "a token of the key that has gone");
    assert_eq!(server.asked("/keys"), 2);
    assert_eq!(fetches(&stage, "ok"), 2.0);
}

#[test]
fn many_wait_for_one_fetch_and_one_that_hangs_up_cancels_nothing() {
    let (old, new) = (issuer("k1"), issuer("k2"));
    let server = serving(&old);
    let stage = Stage::with_issuers(&issuers(&published(&server, ", timeout: 20s")), "");
    assert_eq!(fresh(&stage, &old).status, 201);
    server.set(Mood::Hanging);
    server.answer("/keys", 200, new.jwks());
    let open = || {
        let authorization = format!("Bearer {}", new.token(&claims()));
        let mut connection = Connection::open(stage.address());
        let headers = [("Authorization", authorization.as_str())];
        connection.send(&stage.request("POST", &orders(CUSTOMER), &headers, order().as_bytes()));
        connection
    };
    let first = open();
    server.wait("/keys", 2);
    let mut others: Vec<Connection> = (0..8).map(|_| open()).collect();
    drop(first);
    // Keys that are known wait for nothing meanwhile.
    assert_eq!(fresh(&stage, &old).status, 201);
    server.set(Mood::Well);
    for connection in &mut others {
        assert_eq!(connection.read().status, 201);
    }
    assert_eq!(server.asked("/keys"), 2);
}

#[test]
fn ten_thousand_unknown_key_ids_cost_one_fetch() {
    let known = issuer("k1");
    let server = serving(&known);
    let stage = Stage::with_issuers(&issuers(&published(&server, ", refetch_after: 10m")), "");
    assert_eq!(fresh(&stage, &known).status, 201);
    let good = known.token(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let workers: Vec<_> = (0..4)
        .map(|worker| {
            let (payload, signature, address) = (parts[1].to_owned(), parts[2].to_owned(), stage.address());
            thread::spawn(move || {
                let mut connection = Connection::open(address);
                let mut statuses = [0usize; 2];
                for number in 0..2_500 {
                    let header = json!({ "alg": "ES256", "kid": format!("{worker}-{number}") }).to_string();
                    let header =
                        base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, header);
                    let authorization = format!("Bearer {header}.{payload}.{signature}");
                    let headers = [("Authorization", authorization.as_str())];
                    connection.send(&crate::http::request("GET", "/v1/customers", &headers, b""));
                    let answer = connection.read();
                    match (answer.status, answer.reason().as_str()) {
                        (401, "token_invalid") => statuses[0] += 1,
                        (503, "keys_unavailable") => statuses[1] += 1,
                        other => panic!("{other:?}"),
                    }
                }
                statuses
            })
        })
        .collect();
    let statuses = workers.into_iter().map(|worker| worker.join().unwrap());
    let [refused, unavailable] = statuses.fold([0, 0], |sum, one| [sum[0] + one[0], sum[1] + one[1]]);
    assert_eq!(refused + unavailable, 10_000);
    // Only those that waited for the one fetch know that their key is not there.
    assert!((1..=4).contains(&refused), "{refused}");
    assert_eq!(server.asked("/keys"), 2);
    assert_eq!(fresh(&stage, &known).status, 201);
}

#[test]
fn an_outage_is_not_felt_by_tokens_of_known_keys() {
    let known = issuer("k1");
    let server = serving(&known);
    let times = ", refresh: 100ms, refetch_after: 100ms, timeout: 20s, keep: 1h";
    let stage = Stage::with_issuers(&issuers(&published(&server, times)), "");
    assert_eq!(fresh(&stage, &known).status, 201);
    server.set(Mood::Down);
    eventually(|| fetches(&stage, "failed") >= 3.0);
    assert_eq!(fresh(&stage, &known).status, 201);
    // A fetch that hangs is on nobody's path.
    server.hang();
    let asked = server.asked("/keys");
    let start = Instant::now();
    assert_eq!(fresh(&stage, &known).status, 201);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(server.asked("/keys"), asked);
}

#[test]
fn a_set_that_is_kept_too_long_is_given_up_until_there_is_a_new_one() {
    let known = issuer("k1");
    let server = serving(&known);
    let times = ", refresh: 100ms, refetch_after: 100ms, timeout: 500ms, keep: 1s";
    let stage = Stage::with_issuers(&issuers(&published(&server, times)), "");
    let token = known.token(&claims());
    eventually(|| send(&stage, &token).status == 201);
    server.set(Mood::Down);
    eventually(|| send(&stage, &token).status == 503);
    assert_unavailable(&send(&stage, &token), "its claims were cached");
    assert_unavailable(&fresh(&stage, &known), "a fresh one");
    server.set(Mood::Well);
    eventually(|| send(&stage, &token).status == 201);
}

#[test]
fn an_issuer_that_was_never_reached_is_tried_before_the_gateway_is_ready() {
    let known = issuer("k1");
    let server = serving(&known);
    server.set(Mood::Hanging);
    let stage =
        Stage::with_issuers(&issuers(&published(&server, ", timeout: 20s, refetch_after: 100ms")), "");
    server.wait("/keys", 1);
    assert!(!ready(&stage));
    server.set(Mood::Down);
    eventually(|| ready(&stage));
    assert_unavailable(&fresh(&stage, &known), "nothing was fetched");
    let header = json!({ "alg": "ES256" });
    assert_unavailable(&send(&stage, &known.token_with_header(&header, &claims())), "without a key id");
    server.set(Mood::Well);
    eventually(|| fresh(&stage, &known).status == 201);

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let keys = format!("jwks_url: \"https://{closed}/keys\", ca_file: \"{}\"", server.ca_file().display());
    let stage = Stage::with_issuers(&issuers(&keys), "");
    eventually(|| ready(&stage));
    assert_unavailable(&fresh(&stage, &known), "nobody listens");
}

#[test]
fn what_no_fetch_can_help_causes_none_and_issuers_are_apart() {
    let (here, there) = (issuer("k1"), issuer("k9"));
    let (server, other) = (serving(&here), KeyServer::start());
    other.set(Mood::Down);
    let second = format!("https://other.example/{{tid}}/v2.0\", partners: [{PARTNER}, {UNSIGNED}], x: \"");
    let second = entry(&second, &published(&other, ", refetch_after: 10m")).replace(", x: \"\"", "");
    let first = entry("https://login.example/{tid}/v2.0", &published(&server, ""));
    let stage = Stage::with_issuers(&format!("[{first}, {second}]"), "");
    assert_eq!(fresh(&stage, &here).status, 201);
    eventually(|| ready(&stage));
    assert_eq!(other.asked("/keys"), 1);

    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        claims
    };
    let theirs = with("iss", json!(format!("https://other.example/{PARTNER}/v2.0")));
    assert_unavailable(&send(&stage, &there.token(&theirs)), "an issuer that is down");
    assert_eq!(fresh(&stage, &here).status, 201, "the other one is not");

    let header = |header: Value| there.token_with_header(&header, &claims());
    for (what, token) in [
        ("a signature of another key", issuer("k1").token(&claims())),
        ("no key id", header(json!({ "alg": "ES256" }))),
        ("an algorithm that is not accepted", header(json!({ "alg": "EdDSA", "kid": "x" }))),
        ("a header that asks for more", header(json!({ "alg": "ES256", "kid": "x", "crit": ["b64"] }))),
        ("a foreign issuer", there.token(&with("iss", json!("https://elsewhere.example/v2.0")))),
        ("another audience", there.token(&with("aud", json!("api://other")))),
        ("an expired one", there.token(&with("exp", json!(1_000_000)))),
        ("no partner", there.token(&with("tid", json!("contoso")))),
    ] {
        assert_invalid(&send(&stage, &token), what);
        assert_eq!((server.asked("/keys"), other.asked("/keys")), (1, 1), "{what}");
    }
    assert_invalid(&fresh(&stage, &there), "a key id that the set does not name");
    assert_eq!((server.asked("/keys"), other.asked("/keys")), (2, 1));
}

#[test]
fn an_issuer_of_one_tenant_may_stand_beside_one_of_all() {
    let (old, new) = (issuer("k1"), issuer("k2"));
    let (all, one) = (serving(&issuer("k3")), serving(&old));
    let exact = format!("https://login.example/{PARTNER}/v2.0\", partners: [{PARTNER}], x: \"");
    let exact = entry(&exact, &published(&one, "")).replace(", x: \"\"", "");
    let every = entry("https://login.example/{tid}/v2.0", &published(&all, ""));
    let stage = Stage::with_issuers(&format!("[{every}, {exact}]"), "");
    assert_eq!(fresh(&stage, &old).status, 201);
    eventually(|| ready(&stage));
    one.answer("/keys", 200, new.jwks());
    assert_eq!(fresh(&stage, &new).status, 201, "whichever of the two has it");
    assert_eq!((all.asked("/keys"), one.asked("/keys")), (2, 2));
}

#[test]
fn a_key_may_name_whose_tokens_it_signs() {
    let (ours, theirs) = (issuer("k1"), issuer("k2"));
    let server = KeyServer::start();
    let (mut one, mut two) = (ours.jwk(), theirs.jwk());
    one["issuer"] = json!("https://login.example/{tenantid}/v2.0");
    two["issuer"] = json!(format!("https://login.example/{UNSIGNED}/v2.0"));
    server.answer("/keys", 200, json!({ "keys": [one, two] }).to_string());
    let stage = Stage::with_issuers(&issuers(&published(&server, "")), "");
    assert_eq!(fresh(&stage, &ours).status, 201);
    assert_invalid(&fresh(&stage, &theirs), "the key of another tenant");
    let mut claims = Stage::claims(UNSIGNED, &["AdminAgent"]);
    claims["jti"] = json!("x");
    assert_eq!(send(&stage, &theirs.token(&claims)).reason(), "agreement_missing", "its own tenant");
    assert_eq!(server.asked("/keys"), 1);
}

#[test]
fn one_bad_key_does_not_spoil_the_others() {
    let known = issuer("k1");
    let server = KeyServer::start();
    let mut weak = json!({ "kty": "RSA", "kid": "weak", "e": "AQAB" });
    weak["n"] = json!("_".repeat(170) + "8");
    let mut number = known.jwk();
    number["kid"] = json!(7);
    let bad = [
        json!(1),
        json!(null),
        json!([]),
        json!({}),
        json!({ "kty": 5 }),
        json!({ "kty": "RSA", "kid": "r" }),
    ];
    let oct = json!({ "kty": "oct", "kid": "o", "k": "c2VjcmV0" });
    let keys: Vec<Value> = bad.into_iter().chain([weak, number, oct, known.jwk()]).collect();
    server.answer("/keys", 200, json!({ "keys": keys }).to_string());
    let stage = Stage::with_issuers(&issuers(&published(&server, "")), "");
    assert_eq!(fresh(&stage, &known).status, 201);
    let rsa = Issuer::fresh(IssuerAlgorithm::Rs256, "weak");
    assert_invalid(&fresh(&stage, &rsa), "a key that is named and not used");
    assert_eq!(server.asked("/keys"), 1, "it would be there again");
}

#[test]
fn what_is_no_set_keeps_the_last_good_one() {
    let (known, later) = (issuer("k1"), issuer("k2"));
    let server = serving(&known);
    let other_type = Issuer::fresh(IssuerAlgorithm::EdDsa, "k1");
    let times = ", refresh: 100ms, refetch_after: 100ms, keep: 1h";
    let stage = Stage::with_issuers(&issuers(&published(&server, times)), "");
    assert_eq!(fresh(&stage, &known).status, 201);
    let mut large = String::new();
    write!(large, "{{\"keys\":[{}],\"x\":\"{}\"}}", later.jwk(), "x".repeat(1 << 20)).unwrap();
    server.answer("/elsewhere", 200, later.jwks());
    for (what, status, content) in [
        ("a server that fails", 500, later.jwks()),
        ("a redirect", 302, later.jwks()),
        ("an answer that is too large", 200, large),
        ("no JSON", 200, "<html>".to_owned()),
        ("no set", 200, "{\"keys\":{}}".to_owned()),
        ("a set without keys", 200, "{\"keys\":[]}".to_owned()),
        ("a set without any key that fits", 200, other_type.jwks()),
    ] {
        server.answer("/keys", status, content);
        let failed = fetches(&stage, "failed");
        eventually(|| fetches(&stage, "failed") >= failed + 2.0);
        assert_eq!(fresh(&stage, &known).status, 201, "{what}");
        assert_unavailable(&fresh(&stage, &later), what);
    }
    server.answer("/keys", 200, later.jwks());
    eventually(|| fresh(&stage, &later).status == 201);
}

#[test]
fn a_discovery_document_says_where_the_keys_are() {
    let (old, new) = (issuer("k1"), issuer("k2"));
    let server = serving(&old);
    server.answer("/new", 200, new.jwks());
    let document = |issuer: &str, set: &str| json!({ "issuer": issuer, "jwks_uri": set }).to_string();
    let ours = "https://login.example/{tenantid}/v2.0";
    let keys = |more: &str| {
        published(&server, more).replace("jwks_url", "discovery_url").replace("/keys", "/document")
    };
    server.answer("/document", 200, document(ours, &server.url("/keys")));
    let stage = Stage::with_issuers(&issuers(&keys("")), "");
    assert_eq!(fresh(&stage, &old).status, 201);
    server.answer("/document", 200, document(ours, &server.url("/new")));
    assert_eq!(fresh(&stage, &new).status, 201);
    assert_eq!((server.asked("/document"), server.asked("/keys"), server.asked("/new")), (2, 1, 1));
    drop(stage);

    let tenant = format!("https://login.example/{PARTNER}/v2.0");
    for (what, content) in [
        ("another issuer", document("https://other.example/{tenantid}/v2.0", &server.url("/keys"))),
        ("an issuer of one tenant", document(&tenant, &server.url("/keys"))),
        ("no issuer", json!({ "jwks_uri": server.url("/keys") }).to_string()),
        ("no set", json!({ "issuer": ours }).to_string()),
        ("a set in the clear", document(ours, "http://keys.example/keys")),
        ("a set of another scheme", document(ours, "file:///etc/passwd")),
        ("no document", "[]".to_owned()),
    ] {
        server.answer("/document", 200, content);
        let stage = Stage::with_issuers(&issuers(&keys("")), "");
        eventually(|| ready(&stage));
        assert_unavailable(&fresh(&stage, &old), what);
    }
    assert_eq!(server.asked("/keys"), 1);
}

#[test]
fn a_server_that_is_not_trusted_is_not_asked() {
    let known = issuer("k1");
    let (server, other) = (serving(&known), KeyServer::start());
    let foreign =
        published(&server, "").replace(server.ca_file().to_str().unwrap(), other.ca_file().to_str().unwrap());
    let stage = Stage::with_issuers(&issuers(&foreign), "");
    eventually(|| ready(&stage));
    assert_unavailable(&fresh(&stage, &known), "a certificate of another authority");
    assert_eq!(server.asked("/keys"), 0);
    assert_eq!(fetches(&stage, "failed"), 1.0);
}
