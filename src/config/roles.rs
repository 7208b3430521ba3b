//! The sections `identity.claims` and `identity.roles`: where tenant and roles stand in a token, and what roles mean.

use crate::config::node::Node;
use crate::config::read::{Reader, Section, quoted};
use crate::identity::claim::ClaimPath;
use crate::identity::roles::{GroupsOverage, Meaning, RoleClaims, RoleValues, role_value, takes_names};
use crate::policy::id::Guid;
use crate::policy::role::{GLOBAL_ADMIN, NameTable};

/// Role values that a configuration without `identity.roles` understands.
const DEFAULT_ROLES: [(&str, &[&str]); 3] = [
    // The role template id of the global administrator in `wids` claims (Microsoft Entra, access token claims).
    (GLOBAL_ADMIN, &["62e90394-69f5-4237-9190-012177145e10", "GlobalAdmin"]),
    ("admin_agent", &["AdminAgent"]),
    ("sales_agent", &["SalesAgent"]),
];

/// Reads `claims` and `roles` of `identity`: the claim of the partner, those of roles, and the names of roles.
pub fn claims_and_roles(section: &Section<'_>) -> Option<(ClaimPath, RoleClaims, NameTable)> {
    let reader = section.reader();
    let (partner, paths, claims_span) = section.nested("claims", |claims| {
        let partner = claims.get("partner", |node| claim_path(reader, node));
        let roles = claims.get("roles", |node| reader.list(node, |item| claim_path(reader, item)));
        let default = || ["roles", "wids", "groups"].map(ClaimPath::top).to_vec();
        let span = claims.node("roles").map(|node| node.span);
        (partner.unwrap_or_else(|| ClaimPath::top("tid")), roles.unwrap_or_else(default), span)
    })?;
    let (roles, values) = match (section.node("roles"), claims_span) {
        (Some(node), _) => role_table(reader, node, &paths).unwrap_or_else(default_roles),
        (None, Some(span)) if !paths.iter().any(takes_names) => {
            let hint = "add `roles`, or say in `identity.roles` which values mean a role".to_owned();
            let message = "no claim takes the names of roles: nobody holds `admin_agent` or `sales_agent`";
            reader.warning(span, message, Some(hint));
            default_roles()
        }
        (None, _) => default_roles(),
    };
    let overage = section
        .get("groups_overage", |node| reader.choice(node, GroupsOverage::parse, &["deny", "default_roles"]));
    let overage = overage.unwrap_or(GroupsOverage::Deny);
    Some((partner, RoleClaims { paths, values, overage }, roles))
}

/// Where a claim stands.
fn claim_path(reader: &Reader, node: &Node) -> Option<ClaimPath> {
    let text = reader.text(node)?;
    let path = ClaimPath::parse(&text);
    if path.is_none() {
        let hint = "such as `roles`, or `/realm_access/roles` for a member inside a claim; in the latter `~0` and `~1` stand \
            for `~` and `/`";
        let message = format!("`{text}` is neither the name of a claim nor a JSON pointer to one");
        reader.error(node.span, message, Some(hint.to_owned()));
    } else if text.contains('.') && !text.contains([':', '/']) {
        // A name that is a URL or a part of one has its dots for good (OpenID Connect Core 1.0 section 5.1.2).
        let inside = text.replace('.', "/");
        let hint =
            format!("write `/{inside}` for a member inside a claim, or `/{text}` where the name has the dot");
        reader.warning(
            node.span,
            format!("`{text}` is the name of one claim at the top of the token"),
            Some(hint),
        );
    }
    path
}

/// The names of the built-in roles.
pub fn built_in_roles() -> NameTable {
    default_roles().0
}

fn default_roles() -> (NameTable, RoleValues) {
    let (mut table, mut values) = (NameTable::default(), RoleValues::new());
    for (role, meaning) in DEFAULT_ROLES {
        let set = table.intern(role).expect("three roles fit");
        for value in meaning {
            values.entry((*value).to_owned()).or_default().push(Meaning {
                roles: set,
                tenant: None,
                claim: None,
            });
        }
    }
    (table, values)
}

fn role_table(reader: &Reader, node: &Node, claims: &[ClaimPath]) -> Option<(NameTable, RoleValues)> {
    let (mut table, mut values) = (NameTable::default(), RoleValues::new());
    // The built-in names can be asked by rules whether or not a value stands for them.
    for (role, _) in DEFAULT_ROLES {
        table.intern(role);
    }
    for (key, meaning) in reader.map(node)? {
        let Some(set) = table.intern(&key.text) else {
            reader.error(key.span, "there are more than 64 roles", None);
            return None;
        };
        reader.list(meaning, |item| {
            let (value, tenant, claim) = role_meaning(reader, item, claims)?;
            let meaning = Meaning { roles: set, tenant, claim };
            values.entry(role_value(&value).into_owned()).or_default().push(meaning);
            Some(())
        })?;
    }
    Some((table, values))
}

/// A value that means a role: by itself, or for one tenant or one claim only.
fn role_meaning(
    reader: &Reader,
    node: &Node,
    claims: &[ClaimPath],
) -> Option<(String, Option<Guid>, Option<usize>)> {
    if node.get("value").is_none() {
        let value = reader.text(node)?;
        return can_match(reader, node, &value, claims).then_some((value, None, None));
    }
    let section = reader.section(node)?;
    let value = section.require("value", |node| Some((node, reader.text(node)?)));
    // A group has another id in every tenant: such a value counts in one tenant only.
    let tenant = section.get("tenant", |node| reader.guid(node));
    let claim = section.get("claim", |node| claim_place(reader, node, claims));
    let (has_tenant, has_claim) = (section.node("tenant").is_some(), section.node("claim").is_some());
    section.finish();
    if !has_tenant && !has_claim {
        let hint = "add `tenant` or `claim`, or write the value without `value:`".to_owned();
        reader.error(node.span, "the value is for no tenant and no claim", Some(hint));
        return None;
    }
    let (node, value) = value?;
    if has_tenant != tenant.is_some() || has_claim != claim.is_some() {
        return None;
    }
    (has_claim || can_match(reader, node, &value, claims)).then_some((value, tenant, claim))
}

/// The place of a claim that a value names.
fn claim_place(reader: &Reader, node: &Node, claims: &[ClaimPath]) -> Option<usize> {
    let text = reader.text(node)?;
    let path = ClaimPath::parse(&text);
    let place = claims.iter().position(|claim| Some(claim) == path.as_ref());
    if place.is_none() {
        let hint = format!("add it there; those are {}", listed(claims));
        reader.error(node.span, format!("`{text}` is not among `identity.claims.roles`"), Some(hint));
    }
    place
}

/// Whether some claim takes a value that names none.
fn can_match(reader: &Reader, node: &Node, value: &str, claims: &[ClaimPath]) -> bool {
    let can_match = match Guid::parse(value) {
        Some(_) => !claims.is_empty(),
        None => claims.iter().any(takes_names),
    };
    if !can_match {
        let (message, hint) = match claims.first() {
            Some(claim) => (
                format!("no claim can hold `{value}`: in {} only ids count", listed(claims)),
                format!("write `{{ claim: {claim}, value: {value} }}` to let it count there all the same"),
            ),
            None => (
                format!("no claim can hold `{value}`: `identity.claims.roles` is empty"),
                "name the claims that hold roles there".to_owned(),
            ),
        };
        reader.error(node.span, message, Some(hint));
    }
    can_match
}

fn listed(claims: &[ClaimPath]) -> String {
    let names: Vec<String> = claims.iter().map(ClaimPath::to_string).collect();
    quoted(&names.iter().map(String::as_str).collect::<Vec<_>>())
}
