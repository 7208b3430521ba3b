//! Roles: the claims of a token that hold them.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::extract::json::{Document, Value};
use crate::identity::claim::{self, ClaimPath};
use crate::identity::fault::TokenFault::{self, Invalid};
use crate::policy::agreement::named_enum;
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

named_enum! {
    /// What a token is taken for that has no role claim, but says that it leaves one out.
    GroupsOverage {
        /// For one without any role.
        Deny = "deny",
        /// For one whose issuer knows nothing of roles: the roles of its partner's entry count.
        DefaultRoles = "default_roles",
    }
}

/// The roles that a token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRoles {
    /// Those that its values mean; `None` where those of its partner's entry count.
    pub held: Option<NameSet>,
    /// Whether it says that it leaves a role claim out.
    pub is_incomplete: bool,
}

/// The claims that hold roles.
#[derive(Clone, Debug)]
pub struct RoleClaims {
    /// Where they stand.
    pub paths: Vec<ClaimPath>,
    /// What their values mean.
    pub values: RoleValues,
    /// What a token is taken for that leaves one out.
    pub overage: GroupsOverage,
}

impl RoleClaims {
    /// The roles that a token names.
    pub fn of(&self, claims: &Document<'_>, tenant: Guid) -> Result<TokenRoles, TokenFault> {
        let is_incomplete = self.are_left_out(claims);
        let held = match (self.held(claims, tenant)?, self.overage) {
            // Its user is in too many groups to say which: that is no token without groups.
            (None, GroupsOverage::Deny) if is_incomplete => Some(NameSet::EMPTY),
            (held, _) => held,
        };
        Ok(TokenRoles { held, is_incomplete })
    }

    /// Whether a token leaves out one of these claims because it has too many values: it names it in `_claim_names`
    /// (OpenID Connect Core 1.0 section 5.6.2), or has `hasgroups` (Microsoft identity platform, access token claims).
    fn are_left_out(&self, claims: &Document<'_>) -> bool {
        let is_ours = |name: &str| self.paths.iter().any(|path| path.is_top(name));
        let elsewhere = claim::member(claims, "_claim_names");
        let is_elsewhere =
            elsewhere.is_some_and(|node| claims.children(node).any(|(_, named)| is_ours(&named.key)));
        let has_groups = claim::member(claims, "hasgroups").map(|node| &claims.node(node).value);
        let are_many = has_groups.is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)));
        is_elsewhere || (are_many && is_ours("groups"))
    }

    fn held(&self, claims: &Document<'_>, tenant: Guid) -> Result<Option<NameSet>, TokenFault> {
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
    pub fn meaning_of(&self, text: &str, place: usize, tenant: Guid) -> NameSet {
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
            overage: GroupsOverage::Deny,
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
            let found = claims.of(&document, tenant).unwrap().held.expect("it has a role claim");
            assert_eq!(table.of(found).collect::<Vec<_>>().join(" "), roles, "{token}");
        }
    }

    #[test]
    fn a_token_that_leaves_groups_out_is_not_one_without_roles() {
        let tenant = Guid::parse(HERE).unwrap();
        let with = |paths: &[&str], overage| RoleClaims {
            paths: paths.iter().map(|path| ClaimPath::parse(path).unwrap()).collect(),
            values: RoleValues::new(),
            overage,
        };
        const ALL: &[&str] = &["roles", "wids", "groups"];
        // Whether it leaves out a role claim, and whether it has one all the same.
        for (paths, token, is_incomplete, has_one) in [
            (ALL, r#"{}"#, false, false),
            (ALL, r#"{"_claim_names":{"groups":"src1"}}"#, true, false),
            (ALL, r#"{"_claim_names":{"groups":"src1"},"groups":null}"#, true, false),
            (ALL, r#"{"_claim_names":{"wids":"src1"}}"#, true, false),
            (ALL, r#"{"_claim_names":{"x":"src1","roles":"src1"}}"#, true, false),
            (
                ALL,
                r#"{"_claim_names":{"groups":"src1"},"_claim_sources":{"src1":{"endpoint":"https://x"}}}"#,
                true,
                false,
            ),
            (ALL, r#"{"_claim_names":{"groups":"src1"},"roles":[]}"#, true, true),
            (ALL, r#"{"_claim_names":{"groups":"src1"},"wids":["x"]}"#, true, true),
            (ALL, r#"{"_claim_names":{"address":"src1"}}"#, false, false),
            (ALL, r#"{"_claim_names":{"Groups":"src1"}}"#, false, false),
            (ALL, r#"{"_claim_names":{}}"#, false, false),
            (ALL, r#"{"_claim_names":"groups"}"#, false, false),
            (ALL, r#"{"_claim_sources":{"groups":{}}}"#, false, false),
            (ALL, r#"{"hasgroups":true}"#, true, false),
            (ALL, r#"{"hasgroups":"true"}"#, true, false),
            (ALL, r#"{"hasgroups":true,"roles":["x"]}"#, true, true),
            (ALL, r#"{"hasgroups":false}"#, false, false),
            (ALL, r#"{"hasgroups":null}"#, false, false),
            (&["roles"], r#"{"hasgroups":true}"#, false, false),
            (&["roles"], r#"{"_claim_names":{"groups":"src1"}}"#, false, false),
            (&["/groups"], r#"{"_claim_names":{"groups":"src1"}}"#, true, false),
            (&["/realm/groups"], r#"{"hasgroups":true,"_claim_names":{"groups":"src1"}}"#, false, false),
        ] {
            let document = Document::parse(token.as_bytes()).unwrap();
            for &overage in GroupsOverage::ALL {
                let found = with(paths, overage).of(&document, tenant).unwrap();
                assert_eq!(found.is_incomplete, is_incomplete, "{paths:?} {token}");
                let counts_as_one = has_one || is_incomplete && overage == GroupsOverage::Deny;
                assert_eq!(found.held.is_some(), counts_as_one, "{paths:?} {token} {overage}");
            }
        }
    }
}
