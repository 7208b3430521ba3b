//! Fetching: what the control runtime asks of other servers now and then, over HTTP.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, USER_AGENT};
use http::uri::Authority;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;

/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How long a connection waits for another question.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// A URL that may be asked: https, or http where nobody else can listen or the operator accepts that they do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Uri);

impl Endpoint {
    /// Reads a URL. The error says what is wrong with it.
    pub fn parse(text: &str, insecure_plaintext: bool) -> Result<Endpoint, String> {
        let expected = || format!("`{text}` is no https URL without credentials or fragment");
        let url = parse_url(text).ok_or_else(expected)?;
        match url.is_tls || insecure_plaintext || is_loopback(url.authority.host()) {
            true => Ok(Endpoint(url.uri)),
            false => Err(format!("`{text}` would be asked in the clear: anyone between could answer")),
        }
    }
}

/// A URL of the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether it says https; http otherwise.
    pub is_tls: bool,
    /// Host and port.
    pub authority: Authority,
    /// All of it.
    pub uri: Uri,
}

/// Reads an http or https URL without credentials or fragment.
pub fn parse_url(text: &str) -> Option<Url> {
    let uri: Uri = text.parse().ok()?;
    let authority = uri.authority()?.clone();
    let is_tls = match uri.scheme_str()? {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    // A fragment never travels: whoever writes one means something else.
    let plain = !text.contains('#') && !authority.as_str().contains('@');
    plain.then_some(Url { is_tls, authority, uri })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A host as it is looked up: an IPv6 address stands in brackets in URLs only (RFC 3986 section 3.2.2).
pub fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Whether a host is this machine.
pub fn is_loopback(host: &str) -> bool {
    let host = without_brackets(host);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status. Redirects are answers: nobody but the operator says who is asked.
    pub status: StatusCode,
    /// Its content.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchFailure {
    /// No connection, a certificate that is not trusted, or one that broke.
    Broken(String),
    /// It did not come in time.
    Timeout,
    /// It is larger than 1 MiB.
    TooLarge,
}

impl fmt::Display for FetchFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchFailure::Broken(why) => f.write_str(why),
            FetchFailure::Timeout => f.write_str("no answer in time"),
            FetchFailure::TooLarge => f.write_str("the answer is larger than 1 MiB"),
        }
    }
}

/// Asks servers that a TLS configuration trusts.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Fetcher {
    /// A fetcher with this trust. It opens nothing yet.
    pub fn new(tls: &Arc<ClientConfig>) -> Fetcher {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(ClientConfig::clone(tls))
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(1)
            .build(connector);
        Fetcher { client }
    }

    /// Asks for a JSON document. `timeout` is for the whole exchange.
    pub async fn get(&self, endpoint: &Endpoint, timeout: Duration) -> Result<Answer, FetchFailure> {
        let request = Request::get(endpoint.0.clone())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .expect("a URL and two fixed headers");
        match tokio::time::timeout(timeout, self.exchange(request)).await {
            Ok(answered) => answered,
            Err(_) => Err(FetchFailure::Timeout),
        }
    }

    async fn exchange(&self, request: Request<Empty<Bytes>>) -> Result<Answer, FetchFailure> {
        let response = self.client.request(request).await.map_err(|error| broken(&error))?;
        let (parts, mut incoming) = response.into_parts();
        let mut body = BytesMut::new();
        while let Some(frame) = incoming.frame().await {
            let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
            if body.len() + data.len() > ANSWER_BYTES_MAX {
                return Err(FetchFailure::TooLarge);
            }
            body.extend_from_slice(&data);
        }
        Ok(Answer { status: parts.status, body: body.freeze() })
    }
}

/// An error with its causes: the outermost one alone seldom says what to do.
fn broken(error: &dyn std::error::Error) -> FetchFailure {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let why = inner.to_string();
        if !text.ends_with(&why) {
            text.push_str(": ");
            text.push_str(&why);
        }
        cause = inner.source();
    }
    FetchFailure::Broken(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_leaves_the_host_unless_the_operator_says_otherwise() {
        for (url, good, insecure) in [
            ("https://login.example/keys", true, true),
            ("https://login.example/keys?p=1", true, true),
            ("http://login.example/keys", false, true),
            ("http://127.0.0.1:8080/keys", true, true),
            ("http://[::1]/keys", true, true),
            ("http://localhost/keys", true, true),
            ("http://localhost.example/keys", false, true),
            ("http://127.0.0.1.example/keys", false, true),
            ("https://user@login.example/keys", false, false),
            ("https://login.example/keys#a", false, false),
            ("ftp://login.example/keys", false, false),
            ("login.example/keys", false, false),
            ("/keys", false, false),
            ("", false, false),
        ] {
            assert_eq!(Endpoint::parse(url, false).is_ok(), good, "{url}");
            assert_eq!(Endpoint::parse(url, true).is_ok(), insecure, "{url}, in the clear");
        }
    }
}
