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
        let (path, prefix) = (received.path(), &self.prefix);
        // An absolute target without a path reads as the root, but holds nothing before its query, or nothing at all.
        if prefix.is_empty() && path != "/" {
            // As it came, without reading it once more; an absolute target loses its host.
            let whole = received.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
            return Ok(Uri::from(whole));
        }
        let target = match received.query() {
            Some(query) => format!("{prefix}{path}?{query}"),
            None => format!("{prefix}{path}"),
        };
        Uri::builder().path_and_query(target).build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_keep_their_path_and_query_below_the_prefix() {
        for prefix in ["", "/api"] {
            let settings = Settings {
                authority: Authority::from_static("upstream.example"),
                host: HeaderValue::from_static("upstream.example"),
                prefix: prefix.to_owned(),
                tls: None,
                connect_timeout: Duration::ZERO,
                response_timeout: Duration::ZERO,
                idle_timeout: Duration::ZERO,
            };
            for (received, path, query) in [
                ("/v1/x", "/v1/x", None),
                ("/v1/x/?", "/v1/x/", Some("")),
                ("/?a=/b?c", "/", Some("a=/b?c")),
                ("http://gateway.example/v1/x?a", "/v1/x", Some("a")),
                ("http://gateway.example", "/", None),
                ("http://gateway.example?a=/b", "/", Some("a=/b")),
                ("http://gateway.example#a/b", "/", None),
            ] {
                let sent = settings.target(&received.parse().unwrap()).unwrap();
                assert_eq!(sent.path(), format!("{prefix}{path}"), "{received}");
                assert_eq!(sent.query(), query, "{received}");
                assert_eq!(sent.authority(), None, "{received}");
            }
        }
    }
}
