//! Tokens: what the token endpoint issued, and to whom it issues more.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::standin::locked::locked;

/// Access tokens known at a time; the oldest one makes room.
const ACCESS_TOKENS_MAX: usize = 4096;

/// Lifetime of tokens as long as nothing else is set, in seconds.
const LIFETIME_SECONDS: u64 = 3599;

/// Longest lifetime of a token, in seconds: a year.
const LIFETIME_SECONDS_MAX: u64 = 366 * 24 * 60 * 60;

/// What the token endpoint asks for and gives.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenEndpoint {
    /// The one client it knows.
    pub client_id: String,
    /// The secret of that client.
    pub client_secret: String,
    /// The refresh token it accepts; without one it accepts none.
    #[serde(default)]
    pub refresh_token: Option<String>,
    /// Seconds until an access token expires; at most a year.
    #[serde(default = "default_lifetime_seconds")]
    pub lifetime_seconds: u64,
    /// Whether each refresh gives a new refresh token, with which the old one ends.
    #[serde(default)]
    pub rotate: bool,
    /// The tenant that access tokens name; without one they are opaque.
    #[serde(default)]
    pub tenant: Option<String>,
    /// The status of every answer while the endpoint is to fail.
    #[serde(default)]
    pub status: Option<u16>,
}

fn default_lifetime_seconds() -> u64 {
    LIFETIME_SECONDS
}

/// What a client sent to the token endpoint.
#[derive(Debug, Default)]
pub struct GrantRequest {
    /// `refresh_token` or `client_credentials`.
    pub grant_type: String,
    /// Name of the client.
    pub client_id: String,
    /// Secret of the client.
    pub client_secret: String,
    /// Refresh token, for the grant of that name.
    pub refresh_token: String,
}

/// What a client gets.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant {
    /// The access token.
    pub access_token: String,
    /// The next refresh token, where they rotate.
    pub refresh_token: Option<String>,
    /// Lifetime of the access token.
    pub lifetime_seconds: u64,
}

/// Why a client gets nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// The endpoint was told to fail with this status.
    Failing(u16),
    /// Another client than the known one.
    UnknownClient,
    /// The secret is wrong.
    WrongSecret,
    /// The refresh token is wrong, or is used up.
    WrongRefreshToken,
    /// Neither of the two grants.
    UnknownGrant,
}

/// All tokens of one stand-in.
pub struct Tokens {
    required: AtomicBool,
    /// Part of every token, so that those of another stand-in are not taken for one's own.
    seal: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    endpoint: Option<TokenEndpoint>,
    /// Expiry of each access token by its number.
    issued: BTreeMap<u64, Timestamp>,
    last_number: u64,
}

impl Default for Tokens {
    fn default() -> Tokens {
        let seal = RandomState::new().hash_one("tokens of a stand-in");
        Tokens { required: AtomicBool::new(false), seal, state: Mutex::default() }
    }
}

impl Tokens {
    /// Sets whether reads need a token.
    pub fn require(&self, on: bool) {
        self.required.store(on, Ordering::Release);
    }

    /// Whether reads need a token.
    pub fn is_required(&self) -> bool {
        self.required.load(Ordering::Acquire)
    }

    /// Sets what the endpoint asks for and gives. Tokens issued before stay good.
    pub fn set_endpoint(&self, endpoint: TokenEndpoint) {
        locked(&self.state).endpoint = Some(endpoint);
    }

    /// The refresh token that is accepted now.
    pub fn refresh_token(&self) -> Option<String> {
        locked(&self.state).endpoint.as_ref()?.refresh_token.clone()
    }

    /// Ends all access tokens.
    pub fn revoke(&self) {
        locked(&self.state).issued.clear();
    }

    /// Issues an access token.
    ///
    /// # Errors
    /// Why there is none.
    pub fn grant(&self, asked: &GrantRequest, now: Timestamp) -> Result<Grant, Refused> {
        let mut state = locked(&self.state);
        if let Some(endpoint) = &state.endpoint {
            endpoint.check(asked)?;
        } else if !is_known_grant(&asked.grant_type) {
            return Err(Refused::UnknownGrant);
        }
        state.last_number += 1;
        let number = state.last_number;
        let endpoint = state.endpoint.as_mut();
        let lifetime_seconds = endpoint.as_ref().map_or(LIFETIME_SECONDS, |set| set.lifetime_seconds);
        let lifetime_seconds = lifetime_seconds.min(LIFETIME_SECONDS_MAX);
        let seal = format!("standin-access-{number}-{:016x}", self.seal);
        let tenant = endpoint.as_ref().and_then(|set| set.tenant.as_deref());
        let access_token = tenant.map_or_else(|| seal.clone(), |tenant| readable(tenant, &seal));
        let rotating = endpoint.filter(|set| set.rotate && asked.grant_type == "refresh_token");
        let refresh_token = rotating.map(|set| {
            let next = format!("standin-refresh-{number}-{:016x}", self.seal);
            set.refresh_token.insert(next).clone()
        });
        let lifetime = SignedDuration::from_secs(lifetime_seconds.cast_signed());
        // Only beyond the year 9999 is there no such time; the token is then expired at once.
        let end = now.checked_add(lifetime).unwrap_or(now);
        state.issued.insert(number, end);
        while state.issued.len() > ACCESS_TOKENS_MAX {
            state.issued.pop_first();
        }
        Ok(Grant { access_token, refresh_token, lifetime_seconds })
    }

    /// Whether a token was issued here and is neither expired nor revoked.
    pub fn is_good(&self, token: &str, now: Timestamp) -> bool {
        // A readable one has its seal in place of a signature.
        let seal = token.rsplit_once('.').map_or(token, |(_, seal)| seal);
        let parts = seal.strip_prefix("standin-access-").and_then(|rest| rest.split_once('-'));
        let Some((number, seal)) = parts else { return false };
        if seal != format!("{:016x}", self.seal) {
            return false;
        }
        let end =
            number.parse().ok().and_then(|number: u64| locked(&self.state).issued.get(&number).copied());
        end.is_some_and(|end| now < end)
    }
}

impl TokenEndpoint {
    fn check(&self, asked: &GrantRequest) -> Result<(), Refused> {
        if let Some(status) = self.status {
            return Err(Refused::Failing(status));
        }
        if asked.client_id != self.client_id {
            return Err(Refused::UnknownClient);
        }
        if asked.client_secret != self.client_secret {
            return Err(Refused::WrongSecret);
        }
        if !is_known_grant(&asked.grant_type) {
            return Err(Refused::UnknownGrant);
        }
        if asked.grant_type == "refresh_token" && self.refresh_token.as_ref() != Some(&asked.refresh_token) {
            return Err(Refused::WrongRefreshToken);
        }
        Ok(())
    }
}

/// A token in the shape of those that Entra ID issues (RFC 7519), of which nobody but its issuer believes a word.
fn readable(tenant: &str, seal: &str) -> String {
    let part = |claims: Value| URL_SAFE_NO_PAD.encode(claims.to_string());
    let header = part(json!({ "typ": "JWT", "alg": "RS256" }));
    format!(
        "{header}.{}.{seal}",
        part(json!({ "tid": tenant, "aud": "https://api.partnercenter.microsoft.com" }))
    )
}

fn is_known_grant(grant_type: &str) -> bool {
    matches!(grant_type, "refresh_token" | "client_credentials")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> TokenEndpoint {
        TokenEndpoint {
            client_id: "id".to_owned(),
            client_secret: "secret".to_owned(),
            refresh_token: Some("first".to_owned()),
            lifetime_seconds: 60,
            rotate: true,
            tenant: None,
            status: None,
        }
    }

    fn asked(grant_type: &str, client_id: &str, client_secret: &str, refresh_token: &str) -> GrantRequest {
        GrantRequest {
            grant_type: grant_type.to_owned(),
            client_id: client_id.to_owned(),
            client_secret: client_secret.to_owned(),
            refresh_token: refresh_token.to_owned(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_750_000_000 + second).unwrap()
    }

    #[test]
    fn a_token_is_good_until_it_expires_or_is_revoked() {
        let (tokens, other) = (Tokens::default(), Tokens::default());
        tokens.set_endpoint(endpoint());
        let asked = asked("client_credentials", "id", "secret", "");
        let token = tokens.grant(&asked, at(0)).unwrap().access_token;
        other.grant(&asked, at(0)).unwrap();
        assert!(tokens.is_good(&token, at(59)));
        assert!(!tokens.is_good(&token, at(60)));
        assert!(!other.is_good(&token, at(0)));
        tokens.set_endpoint(TokenEndpoint { tenant: Some("t".to_owned()), ..endpoint() });
        let readable = tokens.grant(&asked, at(0)).unwrap().access_token;
        assert_eq!(readable.split('.').count(), 3, "{readable}");
        assert!(tokens.is_good(&readable, at(59)) && !tokens.is_good(&readable, at(60)));
        for token in [
            "",
            "standin-access-1",
            "standin-access-1-0",
            &token[1..],
            "a.b.c",
            &readable[..readable.len() - 1],
        ] {
            assert!(!tokens.is_good(token, at(0)), "{token}");
        }
        tokens.revoke();
        assert!(!tokens.is_good(&token, at(0)));
    }

    #[test]
    fn a_grant_is_refused_for_its_reason() {
        let rows = [
            (asked("refresh_token", "id", "secret", "second"), Refused::WrongRefreshToken),
            (asked("refresh_token", "id", "wrong", "first"), Refused::WrongSecret),
            (asked("client_credentials", "other", "secret", ""), Refused::UnknownClient),
            (asked("password", "id", "secret", ""), Refused::UnknownGrant),
        ];
        let tokens = Tokens::default();
        tokens.set_endpoint(endpoint());
        for (asked, refused) in rows {
            assert_eq!(tokens.grant(&asked, at(0)), Err(refused), "{asked:?}");
        }
        tokens.set_endpoint(TokenEndpoint { status: Some(503), ..endpoint() });
        let asked = asked("client_credentials", "id", "secret", "");
        assert_eq!(tokens.grant(&asked, at(0)), Err(Refused::Failing(503)));
    }

    #[test]
    fn a_rotated_refresh_token_ends() {
        let tokens = Tokens::default();
        tokens.set_endpoint(endpoint());
        let refresh = |token: &str| tokens.grant(&asked("refresh_token", "id", "secret", token), at(0));
        let second = refresh("first").unwrap().refresh_token.unwrap();
        assert_eq!(tokens.refresh_token(), Some(second.clone()));
        assert_eq!(refresh("first"), Err(Refused::WrongRefreshToken));
        assert!(refresh(&second).is_ok());
        tokens.set_endpoint(TokenEndpoint { rotate: false, ..endpoint() });
        for _ in 0..2 {
            assert_eq!(refresh("first").unwrap().refresh_token, None);
        }
    }

    #[test]
    fn without_a_set_up_any_client_is_accepted() {
        let tokens = Tokens::default();
        let grant = tokens.grant(&asked("refresh_token", "any", "thing", "goes"), at(0)).unwrap();
        assert_eq!(grant.lifetime_seconds, LIFETIME_SECONDS);
        assert!(tokens.is_good(&grant.access_token, at(0)));
        assert!(tokens.grant(&GrantRequest::default(), at(0)).is_err());
    }
}
