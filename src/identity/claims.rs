//! Claims: from a bearer token to what it proves, or why it proves nothing.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::Algorithm;

use crate::extract::json::{Document, Value};
use crate::identity::claim::{self, ClaimPath};
use crate::identity::fault::{Places, TokenFault};
use crate::identity::header;
use crate::identity::issuer::IssuerName;
use crate::identity::keys::VerifyingKey;
use crate::identity::ring::Ring;
use crate::identity::roles::{RoleClaims, TokenRoles};
use crate::policy::id::Guid;
use crate::policy::role::NameSet;

/// The longest token that is read, in bytes.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Whose tokens are accepted, and with which keys.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// What `iss` has to be.
    pub name: IssuerName,
    /// The tenants it may speak for; `None` where its name holds the tenant.
    pub partners: Option<Vec<Guid>>,
    /// What `aud` has to hold one of.
    pub audiences: Vec<String>,
    /// The algorithms that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// The keys.
    pub keys: IssuerKeys,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug)]
pub enum IssuerKeys {
    /// In the configuration's own files.
    Held(Vec<VerifyingKey>),
    /// Where the issuer publishes them.
    Published(Arc<Ring>),
}

/// How tokens are read.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// Accepted issuers.
    pub issuers: Vec<Issuer>,
    /// The claim that holds the partner's tenant.
    pub partner_claim: ClaimPath,
    /// The claims that hold roles.
    pub roles: RoleClaims,
    /// Clock difference that is forgiven, in seconds.
    pub leeway_seconds: i64,
}

/// What a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The partner's tenant.
    pub tenant: Guid,
    /// Its roles.
    pub roles: TokenRoles,
    /// When it expires, in seconds since 1970.
    pub expires: i64,
    /// Before when it is not valid, likewise.
    pub not_before: Option<i64>,
    /// The user's object id, for the record.
    pub oid: Option<String>,
    /// The application's id, for the record.
    pub appid: Option<String>,
}

use TokenFault::{Expired, Invalid, KeyUnknown, KeysUnavailable};

impl Verifier {
    /// Verifies a token and reads its claims (RFC 7515 section 5.2, RFC 7519 section 7.2).
    ///
    /// Algorithms and keys come from configuration; the token's header only chooses among them.
    pub fn verify(&self, token: &str, at: Timestamp) -> Result<Claims, TokenFault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Invalid("the token is longer than 16 KiB"));
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Invalid("the token is no compact JWS"));
        };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part);
        let (Ok(header_json), Ok(payload_json)) = (decode(header), decode(payload)) else {
            return Err(Invalid("the token is not base64url"));
        };
        let header_document =
            Document::parse(&header_json).map_err(|_| Invalid("the token's header is not JSON"))?;
        let claims =
            Document::parse(&payload_json).map_err(|_| Invalid("the token's claims are not JSON"))?;
        let (algorithm, kid) = header::read(&header_document)?;

        let tenant = self
            .partner_claim
            .text(&claims)
            .and_then(Guid::parse)
            .ok_or(Invalid("the token names no partner tenant"))?;
        let iss = claim::text(&claims, "iss").ok_or(Invalid("the token has no issuer"))?;
        let named = || self.issuers.iter().enumerate().filter(|(_, issuer)| issuer.name.fits(iss, tenant));
        if named().next().is_none() {
            return Err(Invalid("the token's issuer is not accepted"));
        }
        let pinned = || named().filter(|(_, issuer)| issuer.algorithms.contains(&algorithm));
        if pinned().next().is_none() {
            return Err(Invalid("the token's algorithm is not accepted"));
        }
        let signed = &token.as_bytes()[..header.len() + 1 + payload.len()];
        let fits = |key: &VerifyingKey| {
            key.algorithms.contains(&algorithm)
                && key.issuer.as_ref().is_none_or(|name| name.fits(iss, tenant))
        };
        let proves = |key: &VerifyingKey| key.verifies(algorithm, signed, signature);
        let mut is_ambiguous = false;
        let mut try_keys = |keys: &[VerifyingKey]| {
            let tried = try_keys(keys, kid, fits, proves);
            is_ambiguous |= tried == Tried::Ambiguous;
            tried == Tried::Proved
        };
        let mut refused = None;
        let mut is_named = false;
        let (mut unknown, mut empty) = (Places::default(), Places::default());
        for (place, issuer) in pinned() {
            // What would be refused with the key as well is worth no fetch.
            let is_wanted = || self.judge(issuer, &claims, tenant, at).is_ok();
            let proved = match &issuer.keys {
                IssuerKeys::Held(keys) => try_keys(keys),
                IssuerKeys::Published(ring) => match &ring.held().set {
                    Some(set) => {
                        let proved = try_keys(&set.keys);
                        match kid.is_none_or(|kid| set.names(kid)) {
                            true => is_named = true,
                            false if !proved && is_wanted() => unknown.add(place),
                            false => {}
                        }
                        proved
                    }
                    None => {
                        if is_wanted() {
                            empty.add(place);
                        }
                        false
                    }
                },
            };
            if proved {
                // Another entry for the same issuer may know the token's audience.
                match self.judge(issuer, &claims, tenant, at) {
                    Ok(read) => return Ok(read),
                    Err(fault) => refused = refused.or(Some(fault)),
                }
            }
        }
        if let Some(fault) = refused {
            return Err(fault);
        }
        let wanted = if is_named { empty } else { empty.union(unknown) };
        match kid {
            _ if wanted.is_empty() && is_ambiguous => {
                Err(Invalid("the token names no key, and its issuer has several"))
            }
            _ if wanted.is_empty() => Err(Invalid("the token's signature does not verify")),
            Some(_) => Err(KeyUnknown(wanted)),
            // No fetch would find what is not named.
            None => Err(KeysUnavailable),
        }
    }

    /// What claims say, and whether they are for us and hold now. Nothing here proves them.
    fn judge(
        &self,
        issuer: &Issuer,
        claims: &Document<'_>,
        tenant: Guid,
        at: Timestamp,
    ) -> Result<Claims, TokenFault> {
        if issuer.partners.as_ref().is_some_and(|partners| !partners.contains(&tenant)) {
            return Err(Invalid("the token's issuer does not speak for its partner"));
        }
        if !holds_audience(claims, &issuer.audiences) {
            return Err(Invalid("the token is for another audience"));
        }
        let read = Claims {
            tenant,
            roles: self.roles.of(claims, tenant)?,
            expires: moment(claims, "exp")?.ok_or(Invalid("the token has no expiry"))?,
            not_before: moment(claims, "nbf")?,
            oid: record_text(claims, "oid"),
            appid: record_text(claims, "appid").or_else(|| record_text(claims, "azp")),
        };
        self.check_time(&read, at)?;
        Ok(read)
    }

    /// The partner that claims name, and the roles, `None` for those of its entry; without any proof: to explain what a token would be worth.
    pub fn read_unproved(&self, claims_json: &[u8]) -> Result<(Guid, Option<NameSet>), TokenFault> {
        let claims = Document::parse(claims_json).map_err(|_| Invalid("the claims are not JSON"))?;
        let tenant = self
            .partner_claim
            .text(&claims)
            .and_then(Guid::parse)
            .ok_or(Invalid("the claims name no partner tenant"))?;
        Ok((tenant, self.roles.of(&claims, tenant)?.held))
    }

    /// Whether verified claims hold at a moment.
    pub fn check_time(&self, claims: &Claims, at: Timestamp) -> Result<(), TokenFault> {
        let now = at.as_second();
        if now >= claims.expires + self.leeway_seconds {
            return Err(Expired);
        }
        if claims.not_before.is_some_and(|not_before| now + self.leeway_seconds < not_before) {
            return Err(Invalid("the token is not valid yet"));
        }
        Ok(())
    }
}

/// How a signature fared with the keys of an issuer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tried {
    /// A key verified it.
    Proved,
    /// No key that it may be of did.
    Failed,
    /// It names no key, and not every key was tried.
    Ambiguous,
}

/// Tries the keys of the token's key id, and those without one. A token without a key id (RFC 7515 section 4.1.4 leaves
/// it optional) can only be of the key that fits it where there is just one; several are not tried in turn, or each
/// token without an id would cost as many signatures.
fn try_keys(
    keys: &[VerifyingKey],
    kid: Option<&str>,
    fits: impl Fn(&VerifyingKey) -> bool,
    proves: impl Fn(&VerifyingKey) -> bool,
) -> Tried {
    let is_only = kid.is_none() && keys.iter().filter(|key| fits(key)).count() == 1;
    let mut tried = Tried::Failed;
    for key in keys {
        match is_only || key.kid.is_none() || key.kid.as_deref() == kid {
            true if fits(key) && proves(key) => return Tried::Proved,
            false if kid.is_none() && fits(key) => tried = Tried::Ambiguous,
            _ => {}
        }
    }
    tried
}

/// The last second of the year 9999.
const MOMENT_MAX: u64 = 253_402_300_799;

/// A NumericDate (RFC 7519 section 2), its fraction left out.
fn moment(claims: &Document<'_>, name: &str) -> Result<Option<i64>, TokenFault> {
    match claim::member(claims, name).map(|node| &claims.node(node).value) {
        None => Ok(None),
        Some(Value::Natural(seconds)) if *seconds <= MOMENT_MAX => Ok(Some(*seconds as i64)),
        Some(Value::Number(seconds)) if (0.0..=MOMENT_MAX as f64).contains(seconds) => {
            Ok(Some(*seconds as i64))
        }
        Some(_) => Err(Invalid("a time in the token is no number of seconds")),
    }
}

fn holds_audience(claims: &Document<'_>, audiences: &[String]) -> bool {
    let Some(node) = claim::member(claims, "aud") else { return false };
    let ours =
        |value: &Value<'_>| matches!(value, Value::Text(text) if audiences.iter().any(|known| known == text));
    match &claims.node(node).value {
        Value::Array => claims.children(node).any(|(_, item)| ours(&item.value)),
        other => ours(other),
    }
}

fn record_text(claims: &Document<'_>, name: &str) -> Option<String> {
    claim::text(claims, name)
        .filter(|text| text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_graphic()))
        .map(str::to_owned)
}
