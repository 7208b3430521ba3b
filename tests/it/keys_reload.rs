//! Keys that issuers publish, across reloads: kept, let go of, or fetched before anything else is put in force.

use serde_json::json;

use crate::key_server::{KeyServer, Mood};
use crate::keys::{claims, entry, fetches, fresh, issuer, issuers, published, ready, send, serving};
use crate::stage::{PARTNER, Stage, eventually};

#[test]
fn a_reload_keeps_the_keys_and_lets_go_of_those_it_does_not_name() {
    let known = issuer("k1");
    let server = serving(&known);
    let same = issuers(&published(&server, ""));
    let stage = Stage::with_issuers(&same, "");
    assert_eq!(fresh(&stage, &known).status, 201);
    stage.configure_issuers(&same, "policy: { mode: shadow }\n");
    assert_eq!(stage.reload().status, 200);
    assert_eq!(fresh(&stage, &known).status, 201);
    assert_eq!(server.asked("/keys"), 1, "the same settings, the same keys");

    // Kept in another way, while the server is down: the keys are as good as they were.
    server.set(Mood::Down);
    let often = ", refresh: 100ms, refetch_after: 100ms, keep: 1h";
    stage.configure_issuers(&issuers(&published(&server, often)), "");
    assert_eq!(stage.reload().status, 200);
    eventually(|| fetches(&stage, "failed") >= 2.0);
    assert_eq!(fresh(&stage, &known).status, 201);
    assert!(ready(&stage));

    // A set that is no longer named is no longer fetched: another one tells the time.
    server.set(Mood::Well);
    server.answer("/other", 200, known.jwks());
    stage.configure_issuers(&issuers(&published(&server, often).replace("/keys", "/other")), "");
    assert_eq!(stage.reload().status, 200);
    let asked = server.asked("/keys");
    server.wait("/other", 4);
    // One may have been on its way.
    assert!(server.asked("/keys") <= asked + 1);
    assert_eq!(fresh(&stage, &known).status, 201);

    std::fs::write(stage.path("keys.json"), "{\"keys\":[]}").unwrap();
    stage.configure("");
    assert_eq!(stage.reload().status, 422, "an issuer with keys would have none");
    assert_eq!(fresh(&stage, &known).status, 201);
}

#[test]
fn a_reload_that_would_leave_an_issuer_without_keys_is_refused_and_says_why() {
    let (known, later) = (issuer("k1"), issuer("k2"));
    let server = serving(&known);
    server.answer("/empty", 200, "{\"keys\":[]}");
    server.answer("/later", 200, later.jwks());
    let at = |path: &str| issuers(&published(&server, ", timeout: 5s").replace("/keys", path));
    let reload = |stage: &Stage, issuers: &str| {
        stage.configure_issuers(issuers, "");
        let answer = stage.reload();
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    // From a file, and from a ring.
    for before in [issuers("jwks_file: here.json"), at("/keys")] {
        let stage = Stage::edited("", |text, folder| {
            std::fs::write(folder.join("here.json"), known.jwks()).unwrap();
            text.replace(crate::stage::ISSUERS, &before)
        });
        assert_eq!(fresh(&stage, &known).status, 201);
        for (path, said) in [("/empty", "/empty holds no key that fits"), ("/absent", "/absent answered 404")]
        {
            let (status, report) = reload(&stage, &at(path));
            assert_eq!(status, 422, "{before} {path}: {report}");
            assert!(report.contains("https://login.example/{tid}/v2.0 had usable keys"), "{report}");
            assert!(report.contains(said), "{path}: {report}");
            assert_eq!(fresh(&stage, &known).status, 201, "{before} {path}");
        }
        // What was fetched for the reload is not fetched again, and nobody waits for it.
        let asked = server.asked("/later");
        assert_eq!(reload(&stage, &at("/later")).0, 200, "{before}");
        assert_eq!(fresh(&stage, &later).status, 201, "{before}");
        assert_eq!(server.asked("/later"), asked + 1, "{before}");
    }
}

#[test]
fn a_reload_may_name_an_issuer_whose_keys_are_not_there_yet() {
    let known = issuer("k1");
    let (server, down) = (serving(&known), KeyServer::start());
    down.set(Mood::Down);
    let first = entry("https://login.example/{tid}/v2.0", &published(&server, ""));
    let second = entry("https://other.example/{tid}/v2.0", &published(&down, ", refetch_after: 100ms"));
    let stage = Stage::with_issuers(&format!("[{first}]"), "");
    assert_eq!(fresh(&stage, &known).status, 201);
    stage.configure_issuers(&format!("[{first}, {second}]"), "");
    for _ in 0..2 {
        let answer = stage.reload();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }
    assert_eq!(fresh(&stage, &known).status, 201);
    let mut theirs = claims();
    theirs["iss"] = json!(format!("https://other.example/{PARTNER}/v2.0"));
    down.answer("/keys", 200, known.jwks());
    down.set(Mood::Well);
    eventually(|| send(&stage, &known.token(&theirs)).status == 201);
}
