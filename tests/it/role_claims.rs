//! Roles over real sockets: where they stand in a token, and what their values mean there.

use serde_json::{Value, json};

use crate::http::Answer;
use crate::stage::{CUSTOMER, PARTNER, Stage, UNSIGNED};

/// A stage whose `identity` has further keys, given as lines.
pub fn with_identity(keys: &str) -> Stage {
    Stage::edited("", |text, _| text.replace("identity:\n", &format!("identity:\n{keys}")))
}

/// An order with a token of a partner whose claims differ from an ordinary one's: `null` leaves a claim out.
pub fn order(stage: &Stage, partner: &str, changes: &Value) -> Answer {
    let mut claims = Stage::claims(partner, &[]);
    claims.as_object_mut().unwrap().remove("roles");
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    let token = format!("Bearer {}", stage.issuer.token(&claims));
    stage.order(CUSTOMER, &[("Authorization", &token)])
}

/// The roles that the upstream was told of, where it saw the order.
pub fn told(stage: &Stage) -> Option<String> {
    let seen = stage.standin.recorded();
    let headers = &seen.last()?.headers;
    let (_, value) = headers.iter().find(|(name, _)| name == "countersign-roles")?;
    Some(String::from_utf8(value.clone()).unwrap())
}

#[test]
fn tenant_and_roles_are_found_by_json_pointer() {
    let stage = with_identity("  claims: { partner: /ctx/tenant, roles: [/realm_access/roles, /list/1] }\n");
    let ctx = json!({ "tenant": PARTNER, "roles": ["AdminAgent"] });
    for (claims, roles) in [
        (json!({ "ctx": ctx, "realm_access": { "roles": ["SalesAgent"] } }), Some("sales_agent")),
        (json!({ "ctx": ctx, "tid": null, "realm_access": { "roles": "SalesAgent" } }), Some("sales_agent")),
        (json!({ "ctx": ctx, "list": ["GlobalAdmin", "AdminAgent"] }), Some("admin_agent")),
        (
            json!({ "ctx": ctx, "realm_access": { "roles": ["x"] }, "list": [[], ["SalesAgent"]] }),
            Some("sales_agent"),
        ),
        (json!({ "ctx": ctx, "realm_access.roles": ["SalesAgent"] }), None),
        (json!({ "ctx": ctx, "realm_access": { "Roles": ["SalesAgent"] } }), None),
        (json!({ "ctx": ctx, "realm_access": ["SalesAgent"] }), None),
        (json!({ "ctx": ctx, "roles": ["SalesAgent"] }), None),
    ] {
        let answer = order(&stage, PARTNER, &claims);
        match roles {
            Some(_) => assert_eq!(answer.status, 201, "{claims}"),
            None => assert_eq!(answer.reason(), "role_missing", "{claims}"),
        }
        assert_eq!(told(&stage).as_deref(), roles, "{claims}");
    }
    for claims in [
        json!({ "realm_access": { "roles": ["SalesAgent"] } }),
        json!({ "ctx": PARTNER, "realm_access": { "roles": ["SalesAgent"] } }),
        json!({ "ctx": { "tenant": UNSIGNED }, "realm_access": { "roles": ["SalesAgent"] } }),
        json!({ "ctx": ctx, "realm_access": { "roles": [{ "name": "SalesAgent" }] } }),
    ] {
        assert_eq!(order(&stage, PARTNER, &claims).reason(), "token_invalid", "{claims}");
    }
}

#[test]
fn names_of_roles_count_in_roles_and_where_the_mapping_says_so() {
    let stage = with_identity("");
    const GLOBAL_ADMIN: &str = "62e90394-69f5-4237-9190-012177145e10";
    for (claims, roles) in [
        (json!({ "roles": ["SalesAgent"] }), Some("sales_agent")),
        (json!({ "groups": ["SalesAgent"] }), None),
        (json!({ "wids": ["SalesAgent"] }), None),
        (json!({ "groups": ["GlobalAdmin", "AdminAgent"], "wids": "AdminAgent" }), None),
        (json!({ "groups": ["AdminAgent"], "roles": ["SalesAgent"] }), Some("sales_agent")),
        (json!({ "wids": [GLOBAL_ADMIN] }), Some("global_admin")),
        (json!({ "roles": [GLOBAL_ADMIN] }), Some("global_admin")),
    ] {
        let answer = order(&stage, PARTNER, &claims);
        assert_eq!(told(&stage).as_deref(), roles, "{claims}: {}", answer.status);
    }
    let stage = with_identity(&format!(
        "  roles:\n    sales_agent: [{{ claim: groups, value: Sellers }}, \
         {{ claim: groups, tenant: {PARTNER}, value: Locals }}, {{ claim: groups, tenant: {UNSIGNED}, value: Others }}]\n"
    ));
    for (claims, roles) in [
        (json!({ "groups": ["Sellers"] }), Some("sales_agent")),
        (json!({ "groups": ["Locals"] }), Some("sales_agent")),
        (json!({ "groups": ["Others"] }), None),
        (json!({ "groups": ["sellers"] }), None),
        (json!({ "roles": ["Sellers", "Locals"] }), None),
        (json!({ "wids": ["Sellers"] }), None),
    ] {
        let answer = order(&stage, PARTNER, &claims);
        assert_eq!(told(&stage).as_deref(), roles, "{claims}: {}", answer.status);
    }
}

#[test]
fn a_token_that_lists_no_groups_because_there_are_too_many_gets_no_default_roles() {
    let elsewhere = json!({ "groups": "src1" });
    // In the entry of this partner stands `roles: [admin_agent]`.
    for (keys, claims, roles) in [
        ("", json!({}), Some("admin_agent")),
        ("", json!({ "_claim_names": elsewhere }), None),
        ("", json!({ "hasgroups": true }), None),
        ("", json!({ "_claim_names": elsewhere, "roles": ["SalesAgent"] }), Some("sales_agent")),
        ("", json!({ "_claim_names": elsewhere, "roles": ["x"] }), None),
        ("", json!({ "_claim_names": { "address": "src1" } }), Some("admin_agent")),
        ("  groups_overage: deny\n", json!({ "_claim_names": elsewhere }), None),
        ("  groups_overage: default_roles\n", json!({ "_claim_names": elsewhere }), Some("admin_agent")),
        ("  groups_overage: default_roles\n", json!({ "hasgroups": true }), Some("admin_agent")),
        ("  groups_overage: default_roles\n", json!({ "hasgroups": true, "roles": ["x"] }), None),
        ("  claims: { roles: [roles] }\n", json!({ "hasgroups": true }), Some("admin_agent")),
    ] {
        let stage = with_identity(keys);
        let answer = order(&stage, UNSIGNED, &claims);
        let reason = answer.reason();
        // Who has the role is asked for the agreement, which this partner has not signed.
        match roles {
            Some(_) => assert_eq!(reason, "agreement_missing", "{keys}{claims}"),
            None => assert_eq!(reason, "role_missing", "{keys}{claims}"),
        }
    }
}

#[test]
fn a_denial_records_what_was_found_and_names_what_would_do() {
    let mut stage = with_identity("  roles:\n    admin_agent: [AdminAgent]\n    helpdesk: [HelpDesk]\n");
    const SELLERS: [&str; 3] = ["global_admin", "admin_agent", "sales_agent"];
    const UNLISTED: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0aff";
    let long = "x".repeat(300);
    let cut = "x".repeat(200) + "~";
    let rows = [
        (
            json!({ "roles": ["HelpDesk", "SalesAgent", "caf\u{e9}\n"], "groups": [long, "AdminAgent"] }),
            "role_missing",
            json!({ "roles": ["helpdesk"], "unmatched": ["SalesAgent", "caf??", cut, "AdminAgent"], "accepted": SELLERS }),
        ),
        (json!({}), "role_missing", json!({ "accepted": SELLERS })),
        (
            json!({ "hasgroups": true, "wids": "w" }),
            "role_missing",
            json!({ "unmatched": ["w"], "accepted": SELLERS, "incomplete": true }),
        ),
        (
            json!({ "tid": UNLISTED, "iss": format!("https://login.example/{UNLISTED}/v2.0") }),
            "partner_unlisted",
            json!({ "tenant": UNLISTED }),
        ),
        (
            json!({ "aud": ["api://elsewhere", long], "roles": ["secret-role"] }),
            "token_invalid",
            json!({ "iss": format!("https://login.example/{PARTNER}/v2.0"), "aud": ["api://elsewhere", cut], "kid": "k1" }),
        ),
        (
            json!({ "iss": "https://evil.example/\u{202e}", "aud": 7 }),
            "token_invalid",
            json!({ "iss": "https://evil.example/?", "kid": "k1" }),
        ),
    ];
    for (claims, reason, found) in &rows {
        let answer = order(&stage, PARTNER, claims);
        assert_eq!(answer.reason(), *reason, "{claims}");
        let problem = answer.json();
        let (detail, whole) = (problem["detail"].as_str().unwrap(), problem.to_string());
        if *reason == "role_missing" {
            assert!(detail.contains("global_admin, admin_agent, sales_agent"), "{claims}: {detail}");
            assert!(problem["data"][0].as_str().unwrap().starts_with(detail), "{claims}: {problem}");
            assert_eq!(detail.contains("app roles"), found["incomplete"] == true, "{claims}: {detail}");
        }
        for told in ["HelpDesk", "xxx", UNLISTED, "evil", "elsewhere", "secret-role"] {
            assert!(!whole.contains(told), "{claims}: the answer holds `{told}`: {whole}");
        }
    }
    stage.order(CUSTOMER, &[("Authorization", "Bearer x.y.z")]);
    stage.order(CUSTOMER, &[]);
    let records = stage.stop();
    let decisions: Vec<&Value> = records.iter().filter(|record| record["kind"] == "decision").collect();
    assert_eq!(decisions.len(), rows.len() + 2);
    for ((claims, _, found), record) in rows.iter().zip(&decisions) {
        assert_eq!(&record["found"], found, "{claims}");
        assert!(!record.to_string().contains("secret-role"), "{record}");
    }
    for record in &decisions[rows.len()..] {
        assert_eq!(record.get("found"), None, "{record}");
    }
}
