//! The sections `identity.claims` and `identity.roles`: where tenant and roles stand in a token, and what roles mean.

use crate::config::node::Node;
use crate::config::read::{Reader, Section};
use crate::identity::claim::ClaimPath;
use crate::identity::roles::{RoleClaims, RoleValues, role_value};
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
    let (roles, values) = match section.node("roles") {
        None => default_roles(),
        Some(node) => role_table(reader, node)?,
    };
    let (partner, paths) = section.nested("claims", |claims| {
        let partner = claims.get("partner", |node| claim_path(reader, node));
        let roles = claims.get("roles", |node| reader.list(node, |item| claim_path(reader, item)));
        let default = || ["roles", "wids", "groups"].map(ClaimPath::top).to_vec();
        (partner.unwrap_or_else(|| ClaimPath::top("tid")), roles.unwrap_or_else(default))
    })?;
    Some((partner, RoleClaims { paths, values }, roles))
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
            values.entry((*value).to_owned()).or_default().push((None, set));
        }
    }
    (table, values)
}

fn role_table(reader: &Reader, node: &Node) -> Option<(NameTable, RoleValues)> {
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
            // A group has another id in every tenant: such a value counts in one tenant only.
            let (tenant, value) = match item.get("value") {
                None => (None, reader.text(item)?),
                Some(_) => {
                    let section = reader.section(item)?;
                    let tenant = section.require("tenant", |node| reader.guid(node));
                    let value = section.require("value", |node| reader.text(node));
                    section.finish();
                    (Some(tenant?), value?)
                }
            };
            values.entry(role_value(&value).into_owned()).or_default().push((tenant, set));
            Some(())
        })?;
    }
    Some((table, values))
}
