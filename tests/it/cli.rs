//! The program as its users run it: what it prints and how it exits.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::http::{Connection, request};

fn countersign(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("NO_COLOR", "1")
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A copy of the shipped configuration folder, to spoil.
fn copied_config() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for name in ["countersign.yaml", "keys.json", "agreements.yaml"] {
        std::fs::copy(shipped.join(name), folder.path().join(name)).unwrap();
    }
    let file = folder.path().join("countersign.yaml");
    (folder, file)
}

#[test]
fn the_shipped_configuration_is_good() {
    let output = countersign(&["check", "--config", "config/countersign.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("good, revision"));
    let belief = "no remote source is asked: an acceptance that is withdrawn and that a ledger records can still pass until the \
                  ledger says otherwise, one that was learnt of a party that no source knows for 30d (`learnt`)\n";
    assert!(text(&output.stdout).ends_with(belief), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("no key fits"), "the empty key file is told of");
}

#[test]
fn a_pipe_is_no_file_of_a_configuration() {
    for (key, pipe) in
        [("admin: { token_file: pipe }\n", "pipe"), ("messages: { directory: texts }\n", "texts/nl.yaml")]
    {
        let (folder, file) = copied_config();
        let good = std::fs::read_to_string(&file).unwrap();
        let section = key.split(':').next().unwrap();
        let others: Vec<&str> = good.split("\n\n").filter(|part| !part.starts_with(section)).collect();
        std::fs::write(&file, others.join("\n\n") + key).unwrap();
        std::fs::create_dir(folder.path().join("texts")).unwrap();
        let made = Command::new("mkfifo").arg(folder.path().join(pipe)).status().unwrap();
        assert!(made.success());
        let output = countersign(&["check", "--config", file.to_str().unwrap()]);
        let report = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{key}: {report}");
        assert!(report.contains("it is no regular file"), "{key}: {report}");
    }
}

#[test]
fn three_faults_are_told_at_once_with_their_places() {
    let (_folder, file) = copied_config();
    let good = std::fs::read_to_string(&file).unwrap();
    let bad = good
        .replace("authorization: forward", "authorisation: forward")
        .replace("algorithms: [RS256]", "algorithms: [HS256]")
        .replace("preset: csp-2026 ", "preset: csp-2062 ");
    std::fs::write(&file, &bad).unwrap();
    let output = countersign(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let report = text(&output.stderr);
    let line = |part: &str| bad.lines().position(|line| line.contains(part)).unwrap() + 1;
    for (message, place) in [
        ("unknown key `authorisation`", format!("countersign.yaml:{}:3", line("authorisation"))),
        ("expected one of `RS256`", format!("countersign.yaml:{}:", line("HS256"))),
        ("unknown preset", format!("countersign.yaml:{}:", line("csp-2062"))),
        ("did you mean `authorization`?", String::new()),
    ] {
        assert!(report.contains(message) && report.contains(&place), "{message} at {place}:\n{report}");
    }
    assert!(text(&output.stdout).contains("refused (3 errors"), "{}", text(&output.stdout));
}

#[test]
fn a_check_asks_nobody() {
    let (folder, file) = copied_config();
    let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap().cert.pem();
    std::fs::write(folder.path().join("ca.pem"), certificate).unwrap();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("jwks_url: \"https://{}/keys\", ca_file: ca.pem", server.local_addr().unwrap());
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("jwks_file: keys.json", &url)).unwrap();
    let output = countersign(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    server.set_nonblocking(true).unwrap();
    assert_eq!(server.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

/// One fault a row: a text of the shipped file, what stands there instead, and what is said of it.
const FAULTS: &[(&str, &str, &str)] = &[
    (
        "address: 127.0.0.1:8080",
        "address: 0.0.0.0:8080",
        "bearer tokens would cross the network in the clear",
    ),
    (
        "url: http://127.0.0.1:9000",
        "url: http://orders.example",
        "orders would cross the network in the clear",
    ),
    (
        "url: http://127.0.0.1:9000",
        "url: ftp://orders.example",
        "expected a URL without query, fragment or credentials",
    ),
    (
        "url: http://127.0.0.1:9000",
        "url: \"https://orders.example?x\"",
        "expected a URL without query, fragment or credentials",
    ),
    (
        "upstream:\n  url: http://127.0.0.1:9000",
        "upstream:\n  tls: { ca_file: absent.pem }\n  url: https://orders.example",
        "can not read",
    ),
    ("listen:", "listen:\n  tls: { certificate: absent.pem, private_key: absent.key }", "can not read"),
    ("listen:", "listen:\n  tls: { private_key: absent.key }", "missing key `certificate`"),
    (
        "listen:",
        "listen:\n  tls: { certificate: a, private_key: b, client_crl: c }",
        "there is no `client_ca` to check client certificates with",
    ),
    ("listen:", "listen:\n  trusted_proxies: [10.0.0.0/33]", "expected an address or a network"),
    ("audit:", "limits: { header_bytes: 4KiB }\naudit:", "a size from 8KiB to 1MiB"),
    ("address: 127.0.0.1:9090", "address: 0.0.0.0:9090", "off loopback the admin listener needs a token"),
    (
        "issuer: https://login.example/{tid}/v2.0",
        "issuer: https://login.example/common",
        "could name any partner",
    ),
    ("issuer: https://login.example/{tid}/v2.0", "issuer: https://login.example/x{tid}/v2.0", "is no issuer"),
    ("jwks_file: keys.json", "jwks_file: absent.json", "can not be read"),
    ("jwks_file: keys.json", "jwks_ulr: https://x", "did you mean `jwks_url`?"),
    ("jwks_file: keys.json", "jwks_url: http://login.example/keys", "would be asked in the clear"),
    ("jwks_file: keys.json", "discovery_url: ftp://login.example/x", "is no https URL"),
    (
        "jwks_file: keys.json",
        "jwks_url: https://x, pem_file: x",
        "expected one of `jwks_url`, `discovery_url`",
    ),
    ("jwks_file: keys.json", "jwks_file: keys.json, refresh: 1m", "`refresh` says nothing of a file"),
    ("jwks_file: keys.json", "jwks_url: https://x, refresh: 0s", "`refresh` is at least 100ms"),
    ("jwks_file: keys.json", "jwks_url: https://x, keep: 1h", "`keep` has to be longer than `refresh`"),
    ("jwks_file: keys.json", "jwks_url: https://x, ca_file: absent.pem", "can not read"),
    ("jwks_file: keys.json", "jwks_url: https://x, ca_file: keys.json", "holds no certificate in PEM form"),
    (
        "kind: direct_bill, country: DE, mpn_id",
        "kind: direct, country: DE, mpn_id",
        "expected one of `indirect_provider`",
    ),
    (
        "kind: direct_bill, country: DE, mpn_id",
        "kind: direct_bill, mpn_id",
        "has no `country`, which rule `france-mpa` asks",
    ),
    ("mpn_id: \"5139005\"", "mpn_id: \"05139005\"", "is no MPN id"),
    ("path: agreements.yaml", "path: absent.yaml", "can not read"),
    ("customer: [ledger]", "customer: [leger]", "did you mean `ledger`?"),
    (
        "customer: [ledger]",
        "customer: [ledger]\n  unrecorded_status: 500",
        "expected a status: `409` or `503`",
    ),
    (
        "customer: [ledger]",
        "customer: [ledger]\n  unrecorded_status: deny",
        "expected a status: `409` or `503`",
    ),
    ("mode: enforce  ", "mode: off  ", "expected one of `enforce`, `shadow`"),
    (
        "mode: enforce  ",
        "rules: [{ name: customer-mca, requires: { agreement: mcaa, of: customer } }]  ",
        "unknown agreement `mcaa`",
    ),
    (
        "mode: enforce  ",
        "rules: [{ name: x, when: { class: [cure] }, requires: { agreement: mca, of: customer } }]  ",
        "which is never gated",
    ),
    ("mode: enforce  ", "rules: [{ name: x, roles: [global_admn] }]  ", "did you mean `global_admin`?"),
    ("mode: enforce  ", "rules: [{ name: x }]  ", "asks nothing"),
    (
        "mode: enforce  ",
        "operations: [{ name: shop.buy, match: POST /buy, class: purchase }]  ",
        "says where its customer is",
    ),
    (
        "mode: enforce  ",
        "operations: [{ name: twice, match: \"POST /v1/customers/{customer}/orders\", class: purchase }]  ",
        "has the same method and path already",
    ),
    ("mode: enforce  ", "drafts: notice  ", "leaves the cart to its checkout, which can not read it"),
    (
        "mode: enforce  ",
        "waivers: [{ rule: reseller-mpa, reason: r, ticket: t, until: 2099-01-01T00:00:00Z, reseller: \"1\" }]  ",
        "at most 90 days ahead",
    ),
    (
        "mode: enforce  ",
        "waivers: [{ rule: customer-mca, reason: r, ticket: t, until: 2026-12-01T00:00:00Z, reseller: \"1\" }]  ",
        "the waiver can not apply",
    ),
    ("format: json", "format: xml", "expected one of `json`, `text`"),
    ("listen:", "listen:\n  workers: many", "a whole number from 1 to 1024"),
    ("upstream:", "upstream:\n  response_timeout: 5 minutes", "a duration such as"),
    (
        "upstream:",
        "upstream:\n  response_timeout: 80s\n  connect_timeout: 10s",
        "`upstream.connect_timeout` plus `upstream.response_timeout`, which is 90s",
    ),
    (
        "jwks_file: keys.json",
        "jwks_url: \"http://127.0.0.1:1/keys\", timeout: 90s",
        "`keys.timeout` of issuer https://login.example/{tid}/v2.0, which is 90s",
    ),
    (
        "url: http://127.0.0.1:9000",
        "url: \"https://orders.example/x#y\"",
        "expected a URL without query, fragment or credentials",
    ),
    (
        "url: http://127.0.0.1:9000",
        "tls: { http2: false }\n  url: http://127.0.0.1:9000",
        "`tls` is only used with https",
    ),
    ("upstream:", "upstream:\n  connect_timeout: 0s", "found `0s`, expected a duration from 100ms to 3600s"),
    ("upstream:", "upstream:\n  response_timeout: 99ms", "a duration from 100ms to"),
    ("upstream:", "upstream:\n  idle_timeout: 2h", "a duration from 100ms to 3600s"),
    ("audit:", "limits: { header_timeout: 0s }\naudit:", "a duration from 100ms to"),
    ("audit:", "limits: { body_timeout: 0ms }\naudit:", "a duration from 100ms to"),
    ("audit:", "limits: { idle_timeout: 2h }\naudit:", "a duration from 100ms to 3600s"),
    ("audit:", "limits: { connection_age: 0s }\naudit:", "a duration from 100ms to 2592000s"),
    ("audit:", "limits: { body_bytes: 1023 }\naudit:", "`body_bytes` is 1023; it has to be from 1KiB"),
    (
        "audit:",
        "limits: { body_bytes: 2KiB, buffered_bytes: 1KiB }\naudit:",
        "to `buffered_bytes`, which is 1024",
    ),
    ("audit:", "limits: { body_bytes: 1MB }\naudit:", "a size such as"),
    (
        "audit:",
        "headers: { keep_back: { allow: [Countersign_Partner] } }\naudit:",
        "only the gateway says it",
    ),
    (
        "audit:",
        "headers: { keep_back: { allow: X-Original-URL } }\naudit:",
        "names another path than the one that is judged",
    ),
    ("audit:", "headers: { keep_back: { allow: [content_length] } }\naudit:", "it imitates the framing"),
    (
        "audit:",
        "headers: { keep_back: { allow: [X-HTTP-Method-Override] } }\naudit:",
        "it asks for another method than the one that is judged",
    ),
    (
        "audit:",
        "headers: { keep_back: { allow: [Keep-Alive] } }\naudit:",
        "it is of the caller's own connection",
    ),
    ("audit:", "headers: { keep_back: { allow: [x-forwarded-for] } }\naudit:", "in `listen.trusted_proxies`"),
    (
        "audit:",
        "headers: { keep_back: { allow: [X-MS-Token-*] } }\naudit:",
        "`X-MS-Token-*` is no header's name",
    ),
    (
        "audit:",
        "headers: { keep_back: { allow: [X-A], add: [x_a] } }\naudit:",
        "`X-A` is in `add` and in `allow`",
    ),
    (
        "audit:",
        "headers: { keep_back: { add: [\"*\"] } }\naudit:",
        "expected a name such as `X-Name`, or `X-Name-*`",
    ),
    (
        "audit:",
        "headers: { keep_back: { add: [Content-*] } }\naudit:",
        "`Content-*` keeps back `content-type`, which has to go through",
    ),
    (
        "audit:",
        "headers: { keep_back: { add: [MS-*] } }\naudit:",
        "`MS-*` keeps back `ms-requestid`, which has to go through",
    ),
    (
        "audit:",
        "headers: { keep_back: { add: [authorization] } }\naudit:",
        "set `upstream.authorization: remove`",
    ),
    ("audit:", "audit:\n  durability: synced", "expected one of `written`"),
    ("audit:", "audit: [", "did not find expected"),
];

#[test]
fn every_fault_says_where_what_and_what_instead() {
    let (_folder, file) = copied_config();
    let good = std::fs::read_to_string(&file).unwrap();
    for (from, to, message) in FAULTS {
        assert!(good.contains(from), "{from}");
        std::fs::write(&file, good.replacen(from, to, 1)).unwrap();
        let output = countersign(&["check", "--config", file.to_str().unwrap()]);
        let report = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{to}\n{report}");
        assert!(report.contains(message), "{to}: expected `{message}`\n{report}");
        assert!(report.contains("countersign.yaml:"), "{to}: it has a place\n{report}");
        let run = countersign(&["run", "--config", file.to_str().unwrap()]);
        assert_eq!(run.status.code(), Some(1), "what `check` refuses does not run: {to}");
    }
}

#[test]
fn fewer_descriptors_than_connections_are_no_reason_to_restart() {
    let (_folder, file) = copied_config();
    let good = std::fs::read_to_string(&file).unwrap();
    let open = good.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:9090", "127.0.0.1:0");
    std::fs::write(&file, open).unwrap();
    let mut gateway = Command::new("sh")
        .args(["-c", "ulimit -n 256 && exec \"$0\" run --config \"$1\""])
        .args([env!("CARGO_BIN_EXE_countersign"), file.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(gateway.stderr.take().unwrap());
    let mut lines =
        log.lines().map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap_or_default());
    let message = |line: &serde_json::Value, text: &str| {
        line["message"].as_str().is_some_and(|found| found.contains(text))
    };
    let is_told = lines.any(|line| message(&line, "fewer file descriptors"));
    let listening = lines.find(|line| message(line, "listening"));
    let reloaded = listening.map(|line| {
        let mut connection = Connection::open(line["admin"].as_str().unwrap().parse().unwrap());
        let headers = [("Host", "localhost"), ("Countersign-Admin", "1")];
        connection.send(&request("POST", "/reload", &headers, b""));
        connection.read()
    });
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    let answer = reloaded.expect("it runs");
    assert!(is_told && answer.status == 200, "{}", text(&answer.body));
    assert!(!text(&answer.body).contains("needs a restart"), "{}", text(&answer.body));
}

#[test]
fn the_shipped_cases_pass_and_cover_every_rule_both_ways() {
    let output = countersign(&["test", "--require-coverage"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let report = text(&output.stdout);
    assert!(report.contains("rules covered by csp-2020") && report.contains("rules covered by csp-2026"));
    assert!(!report.contains("not covered"));
}

#[test]
fn the_right_verdict_for_the_wrong_rule_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("case.yaml");
    let cases =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/cases/csp-2020.yaml"))
            .unwrap();
    std::fs::write(&file, cases.replacen("rule: partner-mpa", "rule: reseller-mpa", 1)).unwrap();
    let output = countersign(&["test", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let report = text(&output.stdout);
    assert!(report.contains("rule: expected reseller-mpa, found partner-mpa"), "{report}");
    assert!(report.contains("1 failed"), "{report}");
}

#[test]
fn explain_shows_every_rule_and_ends_in_the_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let body = folder.path().join("order.json");
    std::fs::write(&body, r#"{"lineItems":[{"offerId":"DZH318Z0BPS6:0001","partnerIdOnRecord":"4847383"}]}"#)
        .unwrap();
    let arguments = [
        "explain",
        "--path",
        "/v1/customers/c0a80101-6d2b-4c1e-8f10-000000000002/orders",
        "--body",
        body.to_str().unwrap(),
        "--partner",
        "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01",
        "--role",
        "admin_agent",
        "--at",
        "2026-06-01T00:00:00Z",
    ];
    let output = countersign(&arguments);
    let report = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{report}{}", text(&output.stderr));
    for part in [
        "operation  order.create (purchase)",
        "line       /lineItems/0: DZH318Z0BPS6:0001 (azure_plan)",
        "reseller   4847383 at /lineItems/0/partnerIdOnRecord",
        "mca of customer c0a80101-6d2b-4c1e-8f10-000000000002: missing",
        "france-mpa               not yet announced",
        "verdict    deny agreement_missing by azure-plan-mca (code 13605), status 403",
    ] {
        assert!(report.contains(part), "{part}\n{report}");
    }
    let mut given = arguments.to_vec();
    given.extend([
        "--agreement",
        "{ customer: c0a80101-6d2b-4c1e-8f10-000000000002, mca: { accepted: undated } }",
    ]);
    given.extend([
        "--agreement",
        "{ partner: 7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01, mpa: { accepted: undated } }",
    ]);
    given.extend(["--agreement", "{ reseller: \"4847383\", mpa: { accepted: undated } }"]);
    let output = countersign(&given);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).ends_with("verdict    allow\n"));
}

#[test]
fn explain_asks_stacked_ledgers_in_the_configured_order() {
    let (folder, file) = copied_config();
    let customer = "c0a80101-6d2b-4c1e-8f10-000000000002";
    let second = format!("agreements: [{{ customer: {customer}, mca: {{ accepted: undated }} }}]\n");
    std::fs::write(folder.path().join("second.yaml"), second).unwrap();
    let good = std::fs::read_to_string(&file).unwrap();
    let stacked = good.replace(
        "    ledger: { type: file, path: agreements.yaml }",
        "    ledger: { type: file, path: agreements.yaml }\n    second: { type: file, path: second.yaml }",
    );
    let checkout = format!("/v1/customers/{customer}/carts/c/checkout");
    for (order, code) in [("[ledger, second]", 1), ("[second, ledger]", 0), ("[ledger]", 1)] {
        std::fs::write(&file, stacked.replace("customer: [ledger]", &format!("customer: {order}"))).unwrap();
        let partner = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01";
        let arguments =
            ["explain", "--config", file.to_str().unwrap(), "--path", &checkout, "--partner", partner];
        let output = countersign(&[&arguments[..], &["--role", "admin_agent"]].concat());
        assert_eq!(output.status.code(), Some(code), "{order}: {}", text(&output.stdout));
    }
}

#[test]
fn explain_says_with_which_status_and_code_an_unrecorded_agreement_is_denied() {
    let (_folder, file) = copied_config();
    let good = std::fs::read_to_string(&file).unwrap();
    let checkout = "/v1/customers/c0a80101-6d2b-4c1e-8f10-0000000000ff/carts/c/checkout";
    for (key, status) in [("", 409), ("\n  unrecorded_status: 503", 503)] {
        std::fs::write(&file, good.replace("customer: [ledger]", &format!("customer: [ledger]{key}")))
            .unwrap();
        let partner = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01";
        let output = countersign(&[
            "explain",
            "--config",
            file.to_str().unwrap(),
            "--path",
            checkout,
            "--partner",
            partner,
            "--role",
            "admin_agent",
        ]);
        let expected =
            format!("deny agreement_unrecorded by azure-plan-mca (code 1000002), status {status}\n");
        assert!(text(&output.stdout).ends_with(&expected), "{key}: {}", text(&output.stdout));
    }
}

#[test]
fn what_has_no_answer_exits_two() {
    for arguments in [
        &["check", "--config", "absent.yaml"][..],
        &["run", "--config", "absent.yaml"],
        &["nonsense"],
        &["check", "--nonsense"],
        &["test", "absent"],
        &["explain", "--path", "/v1/x", "--partner", "not-a-guid"],
        &[
            "explain",
            "--path",
            "/v1/x",
            "--partner",
            "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01",
            "--role",
            "boss",
        ],
        &["explain", "--path", "/v1/x", "--partner", "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0aff"],
    ] {
        let output = countersign(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stdout));
        assert!(!output.stderr.is_empty(), "{arguments:?} says why");
    }
    assert_eq!(countersign(&["--help"]).status.code(), Some(0));
    assert_eq!(countersign(&["--version"]).status.code(), Some(0));
}

#[test]
fn the_surroundings_do_not_matter() {
    use std::os::unix::ffi::OsStrExt;
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.arg("check").current_dir(env!("CARGO_MANIFEST_DIR"));
    command.env("ODD", std::ffi::OsStr::from_bytes(b"\xff"));
    assert_eq!(command.output().unwrap().status.code(), Some(0), "a variable that is not UTF-8");
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full()).stderr(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "nobody who reads what is printed");
}

#[test]
fn the_demo_shows_what_it_should() {
    let output = countersign(&["demo"]);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{table}{}", text(&output.stderr));
    for part in
        ["201 with a notice", "code 900124", "code 900123", "code 13605", "role-missing", "token-invalid"]
    {
        assert!(table.contains(part), "{part}\n{table}");
    }
}
