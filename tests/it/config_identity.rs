//! What `check` says of the claims of tokens and of what their values mean.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// The shipped configuration, and its folder.
fn shipped() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for name in ["keys.json", "agreements.yaml"] {
        std::fs::copy(shipped.join(name), folder.path().join(name)).unwrap();
    }
    (folder, std::fs::read_to_string(shipped.join("countersign.yaml")).unwrap())
}

fn check(change: (&str, &str)) -> (Output, String) {
    let (folder, good) = shipped();
    let (from, to) = change;
    assert!(good.contains(from), "{from}");
    let file = folder.path().join("countersign.yaml");
    std::fs::write(&file, good.replacen(from, to, 1)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["check", "--config", file.to_str().unwrap()])
        .env("NO_COLOR", "1")
        .output()
        .expect("the program runs");
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, report)
}

const TENANT: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01";

/// One fault a row: keys of `identity`, what is said of them, and the text that is pointed at.
const FAULTS: &[(&str, &str, &str)] = &[
    (
        "claims: { partner: \"/a~\" }",
        "`/a~` is neither the name of a claim nor a JSON pointer to one",
        "\"/a~\"",
    ),
    ("claims: { roles: [roles, \"/a//b\"] }", "`/a//b` is neither the name", "\"/a//b\""),
    (
        "claims: { roles: [wids, groups] }, roles: { sales_agent: [SalesAgents] }",
        "no claim can hold `SalesAgents`: in `wids`, `groups` only ids count",
        "SalesAgents",
    ),
    (
        "claims: { roles: [/wids, groups] }, roles: { sales_agent: [{ tenant: TENANT, value: SalesAgents }] }",
        "write `{ claim: wids, value: SalesAgents }` to let it count there all the same",
        "SalesAgents",
    ),
    ("claims: { roles: [] }, roles: { sales_agent: [x] }", "`identity.claims.roles` is empty", "x]"),
    (
        "roles: { sales_agent: [{ claim: group, value: SalesAgents }] }",
        "`group` is not among `identity.claims.roles`",
        "group,",
    ),
    ("roles: { sales_agent: [{ claim: groups }] }", "expected a text", "{ claim"),
    (
        "roles: { sales_agent: [{ value: SalesAgents }] }",
        "the value is for no tenant and no claim",
        "{ value",
    ),
    ("groups_overage: allow", "expected one of `deny`, `default_roles`", "allow"),
    ("roles: { sales_agent: [{ tenant: x, value: SalesAgents }] }", "expected a tenant id", "x,"),
];

#[test]
fn every_fault_of_identity_says_where_what_and_what_instead() {
    for (keys, message, at) in FAULTS {
        let keys = &keys.replace("TENANT", TENANT).replace("}, roles", "}\n  roles");
        let (output, report) = check(("identity:\n", &format!("identity:\n  {keys}\n")));
        assert_eq!(output.status.code(), Some(1), "{keys}\n{report}");
        assert!(report.contains(message), "{keys}: expected `{message}`\n{report}");
        let place = keys.find(at).unwrap_or_else(|| panic!("{at} in {keys}"));
        let begin = keys[..place].rfind('\n').map_or(0, |end| end + 1);
        let column = place - begin + if begin == 0 { 3 } else { 1 };
        let line =
            shipped().1.lines().position(|line| line == "identity:").unwrap() + 2 + usize::from(begin > 0);
        assert!(
            report.contains(&format!("countersign.yaml:{line}:{column}")),
            "{keys}: expected {line}:{column}\n{report}"
        );
    }
}

/// One warning a row: keys of `identity`, and what is said of them; nothing where the text is empty.
const WARNINGS: &[(&str, &str)] = &[
    (
        "claims: { roles: [realm_access.roles] }",
        "write `/realm_access/roles` for a member inside a claim, or `/realm_access.roles`",
    ),
    ("claims: { partner: ctx.tenant }", "`ctx.tenant` is the name of one claim at the top of the token"),
    ("claims: { roles: [\"https://example.com/roles\", \"urn:x.y:roles\", example.com/roles] }", ""),
    ("claims: { roles: [/realm_access/roles, /realm_access.roles] }", ""),
    ("claims: { roles: [groups, wids] }", "nobody holds `admin_agent` or `sales_agent`"),
    ("claims: { roles: [groups, /realm_access/roles] }", ""),
    (
        "roles: { sales_agent: [{ claim: groups, value: SalesAgents }, { claim: wids, tenant: TENANT, value: x }] }",
        "",
    ),
];

#[test]
fn what_may_not_be_meant_is_warned_of() {
    for (keys, message) in WARNINGS {
        let keys = keys.replace("TENANT", TENANT);
        let (output, report) = check(("identity:\n", &format!("identity:\n  {keys}\n")));
        assert_eq!(output.status.code(), Some(0), "{keys}\n{report}");
        let (_, plain) = check(("identity:\n", "identity:\n"));
        match message.is_empty() {
            true => assert_eq!(
                report.matches("warning").count(),
                plain.matches("warning").count(),
                "{keys}\n{report}"
            ),
            false => assert!(report.contains(message), "{keys}: expected `{message}`\n{report}"),
        }
    }
}

#[test]
fn default_roles_are_warned_of_once() {
    for (change, message) in [
        (("country: DE }", "country: DE, roles: [sales_agent] }"), "1 entry has `roles`"),
        (
            (
                "country: DE, mpn_id: \"5139005\" }\n",
                "country: DE, roles: [admin_agent] }\n    \
            - { tenant: 7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a0e, kind: direct_bill, country: DE, roles: [admin_agent] }\n",
            ),
            "2 entries have `roles`",
        ),
        (
            (
                "  known:\n",
                "  unlisted: default\n  default: { kind: direct_bill, country: DE, roles: [admin_agent] }\n  known:\n",
            ),
            "1 entry has `roles`",
        ),
        (("country: DE }", "country: DE, roles: [] }"), ""),
    ] {
        let (output, report) = check(change);
        assert_eq!(output.status.code(), Some(0), "{report}");
        let told = report.matches("a token without any role claim gets them").count();
        assert_eq!(told, usize::from(!message.is_empty()), "{change:?}\n{report}");
        assert!(report.contains(message), "{change:?}\n{report}");
    }
}
