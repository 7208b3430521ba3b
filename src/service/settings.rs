//! Settings: as whom the gateway asks for tokens, and where.

use std::time::Duration;

use crate::fetch::Endpoint;
use crate::service::secret::Secret;

/// How the gateway gets its own access token. Equal settings make the same identity: one that runs can be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What it has to show for it.
    pub grant: Grant,
    /// The token endpoint (RFC 6749 section 3.2).
    pub url: Endpoint,
    /// The id of its registration.
    pub client_id: String,
    /// What proves that it is the one registered; a public client has none (RFC 6749 section 2.1).
    pub client_secret: Option<Secret>,
    /// What the token is for.
    pub scope: Option<Scope>,
    /// The longest that a renewal waits for an answer, and for a file.
    pub timeout: Duration,
    /// The text of the file of authorities that are trusted to name the endpoint; `None` trusts the platform's.
    pub authorities: Option<String>,
}

/// What an access token is given for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The consent of a person, once given, as a refresh token (RFC 6749 section 6): Microsoft's Secure Application Model.
    RefreshToken(Secret),
    /// The gateway's own registration (RFC 6749 section 4.4).
    ClientCredentials,
}

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The parameter `scope` (RFC 6749 section 3.3): Microsoft's endpoints of version 2.
    Scope(String),
    /// The parameter `resource`: Microsoft's endpoints of version 1.
    Resource(String),
}
