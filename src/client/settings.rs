//! Settings: where the upstream is, and how long it may take.

use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Uri};

use crate::client::secured::Secured;

/// Where the upstream is, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Host and port.
    pub authority: Authority,
    /// The same as the `Host` of what is sent.
    pub host: HeaderValue,
    /// What stands before every path; empty, or `/..` without a slash at its end.
    pub prefix: String,
    /// TLS, where it is spoken.
    pub tls: Option<Secured>,
    /// To open a connection.
    pub connect_timeout: Duration,
    /// From the end of the request to the head of its answer.
    pub response_timeout: Duration,
    /// How long an unused connection is kept; below what upstreams keep theirs.
    pub idle_timeout: Duration,
}

impl Settings {
    /// The target of what is sent for a target that was received.
    pub fn target(&self, received: &Uri) -> Result<Uri, http::Error> {
        if self.prefix.is_empty() {
            // As it came, without reading it once more; an absolute target loses its host.
            let path = received.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
            return Ok(Uri::from(path));
        }
        let path = received.path_and_query().map_or("/", PathAndQuery::as_str);
        Uri::builder().path_and_query(format!("{}{path}", self.prefix)).build()
    }
}
