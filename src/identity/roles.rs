//! Roles: the claims of a token that hold them.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::extract::json::{Document, Value};
use crate::identity::claim::ClaimPath;
use crate::identity::fault::TokenFault::{self, Invalid};
use crate::policy::id::Guid;
use crate::policy::role::NameSet;

/// What a value of a role claim means, and where.
#[derive(Clone, Copy, Debug)]
pub struct Meaning {
    /// The roles.
    pub roles: NameSet,
    /// The one tenant in which it means them; `None` for every tenant.
    pub tenant: Option<Guid>,
    /// The one claim in which it means them, by its place; `None` for every claim that takes such values.
    pub claim: Option<usize>,
}

/// The meanings of each value, keyed by [`role_value`].
pub type RoleValues = HashMap<String, Vec<Meaning>>;

/// A value of a role claim as it is compared: ids without regard to case, names as they are.
pub fn role_value(value: &str) -> Cow<'_, str> {
    match Guid::parse(value) {
        Some(_) => Cow::Owned(value.to_ascii_lowercase()),
        None => Cow::Borrowed(value),
    }
}

/// Whether the names of roles count in a claim whatever its mapping says. In `wids` and `groups` only ids do: the name of a
/// group is chosen by whoever made it, in any tenant.
pub fn takes_names(claim: &ClaimPath) -> bool {
    !claim.is_top("wids") && !claim.is_top("groups")
}

/// The claims that hold roles.
#[derive(Clone, Debug, Default)]
pub struct RoleClaims {
    /// Where they stand.
    pub paths: Vec<ClaimPath>,
    /// What their values mean.
    pub values: RoleValues,
}

impl RoleClaims {
    /// The roles of a token; `None` where it has none of these claims.
    pub fn of(&self, claims: &Document<'_>, tenant: Guid) -> Result<Option<NameSet>, TokenFault> {
        let mut roles = None;
        for (place, path) in self.paths.iter().enumerate() {
            let Some(node) = path.find(claims) else { continue };
            if claims.node(node).value == Value::Null {
                continue;
            }
            let found = roles.get_or_insert(NameSet::EMPTY);
            let mut add = |value: &Value<'_>| match value {
                Value::Text(text) => {
                    *found = found.union(self.meaning_of(text, place, tenant));
                    Ok(())
                }
                _ => Err(Invalid("a role claim of the token is no list of texts")),
            };
            match &claims.node(node).value {
                Value::Array => claims.children(node).try_for_each(|(_, item)| add(&item.value))?,
                other => add(other)?,
            }
        }
        Ok(roles)
    }

    /// The roles that a value means in the claim of that place.
    fn meaning_of(&self, text: &str, place: usize, tenant: Guid) -> NameSet {
        let counts = |meaning: &&Meaning| {
            let is_here = match meaning.claim {
                Some(claim) => claim == place,
                None => takes_names(&self.paths[place]) || Guid::parse(text).is_some(),
            };
            is_here && meaning.tenant.is_none_or(|only| only == tenant)
        };
        let meanings = self.values.get(role_value(text).as_ref()).into_iter().flatten();
        meanings.filter(counts).fold(NameSet::EMPTY, |roles, meaning| roles.union(meaning.roles))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::role::NameTable;

    const HERE: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01";
    const GROUP: &str = "0b6f7d1a-0000-4000-8000-00000000abcd";

    #[test]
    fn names_count_where_nobody_else_chooses_them() {
        let tenant = Guid::parse(HERE).unwrap();
        let elsewhere = Guid::parse("7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a02");
        let mut table = NameTable::default();
        let mut of =
            |name: &str, tenant, claim| Meaning { roles: table.intern(name).unwrap(), tenant, claim };
        let values = [
            ("Agent", of("agent", None, None)),
            (GROUP, of("member", None, None)),
            ("Sales", of("sales", None, Some(2))),
            ("Local", of("local", Some(tenant), Some(2))),
            ("Distant", of("distant", elsewhere, Some(2))),
        ];
        let claims = RoleClaims {
            paths: ["roles", "wids", "groups", "/realm/roles"]
                .map(|path| ClaimPath::parse(path).unwrap())
                .to_vec(),
            values: values.map(|(value, meaning)| (value.to_owned(), vec![meaning])).into(),
        };
        for (token, roles) in [
            (r#"{"roles":["Agent"]}"#, "agent"),
            (r#"{"roles":["agent"]}"#, ""),
            (r#"{"roles":"Agent"}"#, "agent"),
            (r#"{"wids":["Agent"]}"#, ""),
            (r#"{"groups":["Agent"]}"#, ""),
            (r#"{"realm":{"roles":["Agent"]}}"#, "agent"),
            (r#"{"realm":{"roles":["Agent"]},"roles":["GROUP"]}"#, "agent member"),
            (r#"{"roles":["GROUP"]}"#, "member"),
            (r#"{"wids":["GROUP"]}"#, "member"),
            (r#"{"groups":["GROUP"]}"#, "member"),
            (r#"{"roles":["Sales"]}"#, ""),
            (r#"{"wids":["Sales"]}"#, ""),
            (r#"{"groups":["Sales"]}"#, "sales"),
            (r#"{"groups":["Sales","Local","Distant"]}"#, "sales local"),
            (r#"{"roles":["Local","Distant"]}"#, ""),
        ] {
            let token = token.replace("GROUP", &GROUP.to_ascii_uppercase());
            let document = Document::parse(token.as_bytes()).unwrap();
            let found = claims.of(&document, tenant).unwrap().expect("it has a role claim");
            assert_eq!(table.of(found).collect::<Vec<_>>().join(" "), roles, "{token}");
        }
    }
}
