//! Identity: who sent a request, from its bearer token and the partners table.

pub mod claim;
pub mod claims;
pub mod fault;
pub mod found;
pub mod header;
pub mod issuer;
pub mod keys;
pub mod ring;
pub mod roles;
pub mod store;
pub mod tokens;

use std::collections::HashMap;
use std::sync::Arc;

use crate::clock::Now;
use crate::identity::claims::{Claims, Issuer, IssuerKeys, Verifier};
use crate::identity::fault::TokenFault;
use crate::identity::ring::Ring;
use crate::identity::tokens::{Generation, NearTokens, TokenCache, TokenLookup};
use crate::policy::agreement::{Cloud, Region};
use crate::policy::facts::{Caller, Country, PartnerKind, Profile};
use crate::policy::id::Guid;
use crate::policy::reason::Reason;
use crate::policy::role::NameSet;

/// A partner of the table: what no token says of it.
#[derive(Clone, Copy, Debug)]
pub struct Partner {
    /// Its profile.
    pub profile: Profile,
    /// The roles of its callers whose token has no role claim at all; never the global administrator.
    pub roles: NameSet,
}

/// What an unlisted tenant is taken for.
#[derive(Clone, Copy, Debug)]
pub struct DefaultPartner {
    /// Kind in the programme.
    pub kind: PartnerKind,
    /// Cloud.
    pub cloud: Cloud,
    /// Country.
    pub country: Option<Country>,
    /// CSP region.
    pub region: Option<Region>,
    /// Labels.
    pub labels: NameSet,
    /// Roles, as in [`Partner`].
    pub roles: NameSet,
}

/// The partners table.
#[derive(Clone, Debug, Default)]
pub struct Partners {
    /// By tenant.
    pub known: HashMap<Guid, Partner>,
    /// For tenants that are not listed; `None` denies them.
    pub unlisted: Option<DefaultPartner>,
    /// The tenant that is billed, where it is not the caller.
    pub billing: Option<Guid>,
    /// The CSP region of the orders, where it is not the billing partner's.
    pub region: Option<Region>,
}

impl Partners {
    /// The partner of a tenant.
    pub fn find(&self, tenant: Guid) -> Option<Partner> {
        self.known.get(&tenant).copied().or_else(|| {
            self.unlisted.map(|default| Partner {
                profile: Profile {
                    tenant,
                    mpn: None,
                    kind: default.kind,
                    cloud: default.cloud,
                    country: default.country,
                    region: default.region,
                    labels: default.labels,
                },
                roles: default.roles,
            })
        })
    }

    /// The caller that claims describe.
    pub fn caller(&self, claims: &Claims) -> Result<Caller, Reason> {
        let partner = self.find(claims.tenant).ok_or(Reason::PartnerUnlisted)?;
        let billing = self.billing.unwrap_or(claims.tenant);
        let mut billing = self.find(billing).ok_or(Reason::PartnerUnlisted)?.profile;
        billing.region = self.region.or(billing.region);
        let roles = claims.roles.held.unwrap_or(partner.roles);
        Ok(Caller { partner: partner.profile, billing, roles })
    }
}

/// Who sent a request.
#[derive(Clone, Debug)]
pub struct Identified {
    /// The caller.
    pub caller: Caller,
    /// The claims of its token.
    pub claims: Arc<Claims>,
}

/// Why a request has no caller.
#[derive(Clone, Debug)]
pub enum Unidentified {
    /// It is denied; the text says what was found.
    Denied(Reason, Option<&'static str>),
    /// These rings do not have the key of its token: fetched anew, they may.
    KeyUnknown(Vec<Arc<Ring>>),
}

/// The caller of a bearer token, or why there is none. Nothing is waited for.
pub fn identify(
    verifier: &Verifier,
    partners: &Partners,
    cache: &TokenCache,
    near: &mut NearTokens,
    generation: Generation,
    token: &str,
    now: Now,
) -> (Result<Identified, Unidentified>, TokenLookup) {
    let (claims, lookup) = cache.verify(near, verifier, generation, token, now);
    let denied = |reason, detail| Err(Unidentified::Denied(reason, detail));
    let identified = match claims {
        Err(TokenFault::Invalid(detail)) => denied(Reason::TokenInvalid, Some(detail)),
        Err(TokenFault::Expired) => denied(Reason::TokenExpired, None),
        Err(TokenFault::KeysUnavailable) => denied(Reason::KeysUnavailable, None),
        Err(TokenFault::KeyUnknown(places)) => {
            let ring = |(place, issuer): (usize, &Issuer)| match &issuer.keys {
                IssuerKeys::Published(ring) if places.has(place) => Some(Arc::clone(ring)),
                _ => None,
            };
            Err(Unidentified::KeyUnknown(verifier.issuers.iter().enumerate().filter_map(ring).collect()))
        }
        Ok(claims) => match partners.caller(&claims) {
            Ok(caller) => Ok(Identified { caller, claims }),
            Err(reason) => denied(reason, None),
        },
    };
    (identified, lookup)
}
