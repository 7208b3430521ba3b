//! Roles: the claims of a token that hold them.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::extract::json::{Document, Value};
use crate::identity::claim::ClaimPath;
use crate::identity::fault::TokenFault::{self, Invalid};
use crate::policy::id::Guid;
use crate::policy::role::NameSet;

/// Which role a value of a role claim means: for every tenant, or for one.
pub type RoleValues = HashMap<String, Vec<(Option<Guid>, NameSet)>>;

/// A value of a role claim as it is compared: ids without regard to case, names as they are.
pub fn role_value(value: &str) -> Cow<'_, str> {
    match Guid::parse(value) {
        Some(_) => Cow::Owned(value.to_ascii_lowercase()),
        None => Cow::Borrowed(value),
    }
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
        for path in &self.paths {
            let Some(node) = path.find(claims) else { continue };
            if claims.node(node).value == Value::Null {
                continue;
            }
            let found = roles.get_or_insert(NameSet::EMPTY);
            let mut add = |value: &Value<'_>| match value {
                Value::Text(text) => {
                    for (only, set) in self.values.get(role_value(text).as_ref()).into_iter().flatten() {
                        if only.is_none_or(|only| only == tenant) {
                            *found = found.union(*set);
                        }
                    }
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
}
