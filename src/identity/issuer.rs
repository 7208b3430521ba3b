//! Issuers: what an `iss` claim has to be.

use std::fmt;

use crate::policy::id::Guid;

/// What an `iss` claim has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerName {
    /// This very text.
    Exact(String),
    /// This text around the tenant of the token.
    OfTenant {
        /// Before the tenant.
        prefix: String,
        /// After it.
        suffix: String,
    },
}

impl IssuerName {
    /// Reads an issuer; `{tid}` stands for one whole path segment.
    pub fn parse(text: &str) -> Option<IssuerName> {
        match text.split_once("{tid}") {
            None => (!text.is_empty()).then(|| IssuerName::Exact(text.to_owned())),
            Some((prefix, suffix)) => {
                let whole = prefix.ends_with('/') && (suffix.is_empty() || suffix.starts_with('/'));
                (whole && !suffix.contains("{tid}"))
                    .then(|| IssuerName::OfTenant { prefix: prefix.to_owned(), suffix: suffix.to_owned() })
            }
        }
    }

    /// Reads an issuer as issuers themselves write it, with `{tenantid}` for the tenant (Microsoft identity platform,
    /// OpenID Connect metadata and signing keys of the multi-tenant endpoints).
    pub fn parse_published(text: &str) -> Option<IssuerName> {
        IssuerName::parse(&text.replace("{tenantid}", "{tid}"))
    }

    /// Whether an `iss` claim is this issuer, for a token of this tenant.
    pub fn fits(&self, iss: &str, tenant: Guid) -> bool {
        match self {
            IssuerName::Exact(name) => name == iss,
            IssuerName::OfTenant { prefix, suffix } => iss
                .strip_prefix(prefix.as_str())
                .and_then(|rest| rest.strip_suffix(suffix.as_str()))
                .is_some_and(|middle| Guid::parse(middle) == Some(tenant)),
        }
    }
}

impl fmt::Display for IssuerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IssuerName::Exact(name) => f.write_str(name),
            IssuerName::OfTenant { prefix, suffix } => write!(f, "{prefix}{{tid}}{suffix}"),
        }
    }
}
