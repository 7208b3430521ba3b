//! What `check` says of the keys of sources, of reads and of learning.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const PARTNER: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01";

/// The shipped configuration with three sources, one of each type, and its folder.
fn configuration() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for name in ["keys.json", "agreements.yaml"] {
        std::fs::copy(shipped.join(name), folder.path().join(name)).unwrap();
    }
    for (name, text) in [("secret", "hush-hush\n"), ("refresh", "hush-too\n"), ("empty", "\n")] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let sources = format!(
        "    ledger: {{ type: file, path: agreements.yaml }}\n\
         \x20   center:\n\
         \x20     type: partner_center\n\
         \x20     url: https://api.partnercenter.example\n\
         \x20     partner: {PARTNER}\n\
         \x20     region: europe\n\
         \x20     cloud: commercial\n\
         \x20     not_applicable: [us_government]\n\
         \x20     templates: [117a77b0-9360-443b-8795-c6dedc750cf9]\n\
         \x20     requests_per_minute: 300\n\
         \x20     caller_share: 20\n\
         \x20     timeout: 5s\n\
         \x20     token:\n\
         \x20       grant: refresh_token\n\
         \x20       url: https://login.example/t/oauth2/token\n\
         \x20       client_id: gateway\n\
         \x20       client_secret_file: secret\n\
         \x20       refresh_token_file: refresh\n\
         \x20   shop:\n\
         \x20     type: http\n\
         \x20     url: \"https://crm.example/agreements/{{kind}}/{{id}}\"\n\
         \x20     headers: {{ Authorization: {{ file: secret }} }}\n\
         \x20     accepted: /state=signed\n\
         \x20     missing: /state=open\n\
         \x20     date: /at\n\
         \x20     not_found: unknown\n"
    );
    let good = std::fs::read_to_string(shipped.join("countersign.yaml")).unwrap();
    let line = good.lines().find(|line| line.trim_start().starts_with("ledger: {")).expect("its ledger");
    let good = good
        .replace(&format!("{line}\n"), &sources)
        .replace("  url: http://127.0.0.1:9000", "  reads: center\n  url: http://127.0.0.1:9000")
        .replace("  customer: [ledger]", "  customer: [ledger, center, shop]");
    (folder, good)
}

fn check(folder: &Path, text: &str) -> (Output, String) {
    let file = folder.join("countersign.yaml");
    std::fs::write(&file, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["check", "--config", file.to_str().unwrap()])
        .env("NO_COLOR", "1")
        .env_remove("COUNTERSIGN_NONE")
        .output()
        .expect("the program runs");
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, report)
}

/// An operation in place of the mode of the policy.
const MODE: &str = "mode: enforce  ";

/// One fault a row: a text of the configuration, what stands there instead, and what is said of it.
const FAULTS: &[(&str, &str, &str)] = &[
    ("type: partner_center", "type: partner_centre", "expected one of `file`, `partner_center`, `http`"),
    ("      type: partner_center\n", "", "missing key `type`"),
    ("url: https://api.partnercenter.example", "url: http://api.partnercenter.example", "in the clear"),
    ("url: https://api.partnercenter.example", "url: api.partnercenter.example", "is no https URL"),
    ("      url: https://api.partnercenter.example\n", "", "missing key `url`"),
    (
        "      partner: 7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01\n",
        "",
        "nothing says for which partner this source speaks",
    ),
    ("partner: 7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01\n", "partner: contoso.example\n", "contoso.example"),
    ("      region: europe", "      region: eurpe", "expected one of `africa`"),
    ("cloud: commercial\n", "cloud: germany\n", "expected one of `commercial`"),
    ("not_applicable: [us_government]", "not_applicable: [gov]", "expected one of `commercial`"),
    ("templates: [117a77b0-9360-443b-8795-c6dedc750cf9]", "templates: [mca]", "mca"),
    ("requests_per_minute: 300", "requests_per_minute: 0", "from 10 to 1000000"),
    ("caller_share: 20", "caller_share: 0", "from 1 to 100"),
    ("caller_share: 20", "caller_share: 101", "from 1 to 100"),
    ("timeout: 5s", "timeout: 5ms", "a duration from 100ms"),
    ("timeout: 5s", "time_out: 5s", "did you mean `timeout`?"),
    ("timeout: 5s", "ca_file: absent.pem", "can not read"),
    ("timeout: 5s", "audit_poll: 1s", "a duration from 10s"),
    ("timeout: 5s", "bulk_load: maybe", "bulk_load"),
    ("grant: refresh_token", "grant: password", "expected one of `refresh_token`"),
    ("grant: refresh_token", "grant: client_credentials", "shows no refresh token"),
    ("url: https://login.example/t/oauth2/token", "url: http://login.example/token", "in the clear"),
    ("client_id: gateway", "client_id: ''", "it is empty"),
    ("client_secret_file: secret", "client_secret: hush-hush", "stands in the configuration itself"),
    ("client_secret_file: secret", "client_secret_file: absent", "can not read"),
    ("client_secret_file: secret", "client_secret_file: empty", "is empty"),
    ("client_secret_file: secret", "client_secret_env: COUNTERSIGN_NONE", "`COUNTERSIGN_NONE` is not set"),
    ("refresh_token_file: refresh", "refresh_token: hush-too", "stands in the configuration itself"),
    ("        refresh_token_file: refresh\n", "", "needs a refresh token"),
    ("      token:\n", "      tokens:\n", "missing key `token`"),
    ("{kind}/{id}", "{kind}/{party}", "`party` is no place in a URL"),
    ("{kind}/{id}", "{kind}/{id", "is no place in a URL"),
    ("{kind}/{id}", "{kind}/{id}#x", "a fragment is never sent"),
    ("https://crm.example/agreements", "http://crm.example/agreements", "in the clear"),
    ("https://crm.example/agreements", "https://{kind}.example/agreements", "is no https URL"),
    ("https://crm.example/agreements", "https://me:pass@crm.example/agreements", "without credentials"),
    ("accepted: /state=signed", "accepted: state=signed", "is no JSON pointer with a value"),
    ("accepted: /state=signed", "accepted: /state=", "is no JSON pointer with a value"),
    ("      accepted: /state=signed\n", "", "missing key `accepted`"),
    ("missing: /state=open", "missing: open", "is no JSON pointer with a value"),
    ("date: /at", "date: at", "is no JSON pointer such as `/accepted_at`"),
    ("date: /at", "date: /at=x", "is no JSON pointer such as `/accepted_at`"),
    (
        "accepted: /state=signed",
        "accepted: \"/items/[kind]/state=signed\"",
        "`[kind]` is no step `[member=value]`",
    ),
    (
        "missing: /state=open",
        "missing: \"/items/[kind={party}]/state=open\"",
        "`party` is no place in the value",
    ),
    ("date: /at", "date: \"/items/[kind=mca/at\"", "`[kind=mca/at` is no step `[member=value]`"),
    ("not_found: unknown", "not_found: absent", "expected one of `unknown`, `missing`"),
    ("Authorization: { file: secret }", "\"My header\": x", "is no name of a header"),
    ("Authorization: { file: secret }", "Authorization: { file: absent }", "can not read"),
    (
        "Authorization: { file: secret }",
        "Authorization: { file: secret, env: HOME }",
        "expected one of `file`, `env`",
    ),
    ("Authorization: { file: secret }", "X: \"a\\u0000b\"", "characters that no header can have"),
    ("    shop:\n", "    upstream:\n", "`upstream` is no name of a source"),
    ("    shop:\n", "    The Shop:\n", "`The Shop` is no name of a source"),
    ("customer: [ledger, center, shop]", "customer: [ledger, centre, shop]", "did you mean `center`?"),
    ("reads: center", "reads: ledger", "`ledger` is no source with an identity"),
    ("reads: center", "reads: shop", "`shop` is no source with an identity"),
    ("reads: center", "reads: centre", "`centre` is no source with an identity"),
    (
        MODE,
        "operations: [{ name: agreement.attest, learns: { agreement: mca, by: attestation, when: { /type: [x] } } }]  ",
        "an attestation has a date",
    ),
    (
        MODE,
        "operations: [{ name: agreement.direct_status, learns: { agreement: mca, by: direct, when: { /isSigned: [true] }, date: /at } }]  ",
        "a direct acceptance has no date",
    ),
    (
        MODE,
        "operations: [{ name: agreement.attest, learns: { agreement: mca, by: attestation, when: {}, date: /at } }]  ",
        "has at least one member that says so",
    ),
    (
        MODE,
        "operations: [{ name: agreement.attest, learns: { agreement: mcaa, by: attestation, when: { /type: [x] }, date: /at } }]  ",
        "`mcaa`, which is not known",
    ),
    (
        MODE,
        "operations: [{ name: agreement.attest, learns: { agreement: mca, by: rumour, when: { /type: [x] }, date: /at } }]  ",
        "expected one of `attestation`, `direct`",
    ),
    (
        MODE,
        "operations: [{ name: agreement.attest, learns: { agreement: mca, by: direct, when: { /type: [x] }, status: 403 } }]  ",
        "from 200 to 299",
    ),
    (
        MODE,
        "operations: [{ name: agreement.bulk_attest, learns: { agreement: mca, by: direct, when: { /type: [x] } } }]  ",
        "only an operation whose path names the customer can tell of it",
    ),
    (
        MODE,
        "operations: [{ name: overage.update, changes: [{ name: order.less, class: change, members: { quantity: lowered } }] }]  ",
        "changes show only beside what is there",
    ),
    (
        MODE,
        "operations: [{ name: overage.update, shapes: [{ name: overage.stop, class: wind_down, members: { a: { list: canceling_actions } } }] }]  ",
        "did you mean `cancelling_actions`",
    ),
    (
        MODE,
        "operations: [{ name: overage.update, shapes: [{ name: overage.stop, class: wind_down, members: any }] }]  ",
        "a shape of any members says with `when` what makes it one",
    ),
    (
        MODE,
        "operations: [{ name: overage.update, shapes: [{ name: overage.stop, class: wind_down, members: { a: any }, resource: { b: [c] } }] }]  ",
        "says what it is `unread`",
    ),
    (
        MODE,
        "operations: [{ name: subscription.update, shapes: [{ name: subscription.suspend, class: wind_down, members: { status: [off], Status: any } }] }]  ",
        "letter case does not matter",
    ),
    (
        MODE,
        "operations: [{ name: overage.update, shapes: [{ name: overage.stop, class: wind_down, members: { a: any }, resource: { b: [c] }, unread: holds }] }]  ",
        "a shape asks a resource that is not read",
    ),
    (
        MODE,
        "operations: [{ name: subscription.update, shapes: [{ name: subscription.suspend, class: wind_down, members: { status: [] } }] }]  ",
        "the list is empty",
    ),
    (
        MODE,
        "operations: [{ name: subscription.update, shapes: [{ name: subscription.suspend, class: wind_down, members: { a: { without: [] } } }] }]  ",
        "the list is empty",
    ),
    (
        MODE,
        "operations: [{ name: subscription.update, shapes: [{ name: subscription.suspend, class: wind_down, members: { a: { each: { b: any }, required: [c] } } }] }]  ",
        "is required, but not one of `each`",
    ),
    (
        MODE,
        "operations: [{ name: transfer.withdraw, class: purchase, reads: transfer }]  ",
        "what `reads` names stands in one place",
    ),
    (MODE, "operations: [{ name: order.update, reads: cart }]  ", "a cart is read for what is done below it"),
    (MODE, "operations: [{ name: order.update, reads_above: 2 }]  ", "`reads_above` has nothing to count"),
    (MODE, "operations: [{ name: overage.update, repeats_id: id }]  ", "`repeats_id` has nothing to repeat"),
    (
        MODE,
        "operations: [{ name: overage.update, neutral: { a: sometimes } }]  ",
        "expected `any`, `scalar`, `same`, `billing_partner`, `another_partner`",
    ),
    (MODE, "operations: [{ name: order.update, reads: basket }]  ", "expected one of `cart`"),
    (
        MODE,
        "operations: [{ name: subscription.update, shapes: [{ name: subscription.more, class: purchase, members: { quantity: any } }] }]  ",
        "the shape is stronger than its operation, which is `increase`",
    ),
    (
        MODE,
        "operations: [{ name: subscription.update, changes: [{ name: subscription.more, class: purchase, members: { quantity: any } }] }]  ",
        "the change is stronger than its operation, which is `increase`",
    ),
    ("  partner: [ledger]", "  cache: { entries: 0 }\n  partner: [ledger]", "from 1 to 100000000"),
    ("  partner: [ledger]", "  cache: { accepted: a while }\n  partner: [ledger]", "a duration such as"),
];

#[test]
fn three_sources_make_a_good_configuration() {
    let (folder, good) = configuration();
    let (output, report) = check(folder.path(), &good);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert!(!report.contains("hush"), "{report}");
}

#[test]
fn every_fault_of_a_source_says_what_it_is_and_shows_no_secret() {
    let (folder, good) = configuration();
    for (from, to, message) in FAULTS {
        assert!(good.contains(from), "{from}");
        let (output, report) = check(folder.path(), &good.replacen(from, to, 1));
        assert_eq!(output.status.code(), Some(1), "{to}\n{report}");
        assert!(report.contains(message), "{to}: expected `{message}`\n{report}");
        assert!(!report.contains("hush"), "{to}: a secret is shown\n{report}");
        assert!(!report.contains("panicked"), "{to}\n{report}");
    }
}

#[test]
fn faults_of_several_sources_are_told_at_once() {
    let (folder, good) = configuration();
    let bad = good
        .replace("      region: europe", "      region: eurpe")
        .replace("client_id: gateway", "client_id: ''")
        .replace("{kind}/{id}", "{kind}/{party}");
    let (output, report) = check(folder.path(), &bad);
    assert_eq!(output.status.code(), Some(1));
    for message in ["expected one of `africa`", "it is empty", "`party` is no place"] {
        assert!(report.contains(message), "{message}\n{report}");
    }
}

#[test]
fn the_summary_says_how_long_a_withdrawn_acceptance_can_pass() {
    const ORDER: &str = "customer: [ledger, center, shop]";
    let (folder, good) = configuration();
    let with = |cache: &str| good.replace(ORDER, &format!("{ORDER}\n  cache: {{ {cache} }}"));
    let ledgers = "no remote source is asked: an acceptance that is withdrawn and that a ledger records can still pass until";
    for (text, expected) in [
        (good.clone(), "can still pass for 13h (`agreements.cache`: `accepted` 12h, then `stale` 1h)"),
        (
            with("accepted: 1d, stale: 90m"),
            "pass for 1d 1h 30m (`agreements.cache`: `accepted` 1d, then `stale` 1h 30m)",
        ),
        (
            with("accepted: 10m, stale: 0s"),
            "pass for 10m (`agreements.cache`: `accepted` 10m, then `stale` 0s)",
        ),
        // A source that no kind of party is looked for in is never asked.
        (good.replace(ORDER, "customer: [ledger]"), ledgers),
    ] {
        let (output, report) = check(folder.path(), &text);
        let summary = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{report}");
        assert!(summary.contains(expected), "{expected}:\n{summary}");
        assert_eq!(summary.lines().count(), 2, "{summary}");
    }
}

#[test]
fn without_anyone_to_read_them_operations_that_would_be_are_told_of() {
    let (folder, good) = configuration();
    let (output, report) = check(folder.path(), &good.replace("  reads: center\n", ""));
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert!(report.contains("operations show what they do only beside the resource"), "{report}");
    let lenient = good.replace("  reads: center\n", "").replacen(MODE, "drafts: notice  ", 1);
    let (output, report) = check(folder.path(), &lenient);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("which can not read it"), "{report}");
}

#[test]
fn resellers_that_nobody_reads_or_nobody_can_tell_are_warned_of() {
    let (folder, good) = configuration();
    let without = good.replace("  reads: center\n", "");
    let direct = without.replace("kind: indirect_provider", "kind: direct_bill");
    let billed =
        good.replace("  reads: center\n", &format!("  reads: center\n  billing_partner: {PARTNER}\n"));
    for (text, warning, expected) in [
        (&without, "are not read", true),
        (&direct, "are not read", false),
        (&good, "are not read", false),
        (&without.replacen(MODE, "unread_resellers: deny  ", 1), "are not read", false),
        (&good, "what other partners are billed for is not read", true),
        (&billed, "what other partners are billed for is not read", false),
        (&billed, "1 reseller has no `mpn_id`", false),
        (&billed.replacen(KNOWN, &format!("{KNOWN}{NAMELESS}"), 1), "1 reseller has no `mpn_id`", true),
        (
            &billed.replacen(
                KNOWN,
                &format!("{KNOWN}{}", NAMELESS.replace(" }", ", mpn_ids: [\"4847384\"] }")),
                1,
            ),
            "no `mpn_id`",
            false,
        ),
    ] {
        let (output, report) = check(folder.path(), text);
        assert_eq!(output.status.code(), Some(0), "{report}");
        assert_eq!(report.contains(warning), expected, "{warning}\n{text}\n{report}");
    }
}

const KNOWN: &str = "  known:\n";
const NAMELESS: &str = "    - { tenant: 7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a77, kind: indirect_reseller }\n";
