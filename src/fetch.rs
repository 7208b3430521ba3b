//! Fetching: what the control runtime asks of other servers now and then, over HTTP.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{ACCEPT, USER_AGENT};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;

use crate::mark::skip_mark;

/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How long a connection waits for another question.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// How a question names its sender where it does not do so itself.
const NAME: HeaderValue = HeaderValue::from_static(concat!("countersign/", env!("CARGO_PKG_VERSION")));

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

    /// All of it.
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// Scheme, host and port (RFC 6454 section 6.2), such as `https://api.example`.
    pub fn origin(&self) -> String {
        let scheme = self.0.scheme_str().expect("an endpoint has a scheme");
        format!("{scheme}://{}", self.0.authority().expect("an endpoint has an authority"))
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
    /// Its headers.
    pub headers: HeaderMap,
    /// Its content, without a leading byte order mark.
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
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Fetcher {
    /// A fetcher with this trust that keeps one connection to a host. It opens nothing yet.
    pub fn new(tls: &Arc<ClientConfig>) -> Fetcher {
        Fetcher::with_connections(tls, 1)
    }

    /// A fetcher with this trust that keeps up to `idle_max` connections to a host while nothing is asked.
    pub fn with_connections(tls: &Arc<ClientConfig>, idle_max: usize) -> Fetcher {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(ClientConfig::clone(tls))
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(idle_max)
            // A kept connection may have been closed by the other side in the meantime. Such a question is asked again,
            // whatever its method, because no byte of it was written; one that may have been read never is: a refresh
            // token may be good for one use only.
            .retry_canceled_requests(true)
            .build(connector);
        Fetcher { client }
    }

    /// Asks for a JSON document. `timeout` is for the whole exchange.
    pub async fn get(&self, endpoint: &Endpoint, timeout: Duration) -> Result<Answer, FetchFailure> {
        let request = Request::get(endpoint.0.clone())
            .header(ACCEPT, "application/json")
            .body(Bytes::new())
            .expect("a URL and a fixed header");
        self.send(request, timeout).await
    }

    /// Asks anything. `timeout` is for the whole exchange.
    ///
    /// The URL is the caller's to have checked, by [`Endpoint::parse`] or by building on one.
    pub async fn send(&self, request: Request<Bytes>, timeout: Duration) -> Result<Answer, FetchFailure> {
        match tokio::time::timeout(timeout, self.exchange(request)).await {
            Ok(answered) => answered,
            Err(_) => Err(FetchFailure::Timeout),
        }
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Answer, FetchFailure> {
        let mut request = request.map(Full::new);
        request.headers_mut().entry(USER_AGENT).or_insert(NAME);
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
        let mut body = body.freeze();
        let mark = body.len() - skip_mark(&body).len();
        body.advance(mark);
        Ok(Answer { status: parts.status, headers: parts.headers, body })
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
    #[test]
    fn an_origin_ends_before_the_path() {
        for (url, origin) in [
            ("https://api.example/v1/customers?a=b", "https://api.example"),
            ("https://api.example", "https://api.example"),
            ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080"),
            ("http://[::1]:8080/", "http://[::1]:8080"),
        ] {
            assert_eq!(Endpoint::parse(url, false).unwrap().origin(), origin, "{url}");
        }
    }

    /// Answers each connection once and closes it; tells of each what was asked.
    async fn serve_once_a_connection() -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let (asked, told) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let asked = asked.clone();
                let answer = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                    let asked = asked.clone();
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let agent = parts.headers[USER_AGENT].to_str().unwrap().to_owned();
                        let body = String::from_utf8(body.to_vec()).unwrap();
                        asked.send(format!("{} {} {agent} {body}", parts.method, parts.uri)).unwrap();
                        http::Response::builder()
                            .status(418)
                            .header("x-told", "yes")
                            .body(Full::new(Bytes::from("short")))
                    }
                });
                hyper::server::conn::http1::Builder::new()
                    .keep_alive(false)
                    .serve_connection(hyper_util::rt::TokioIo::new(stream), answer)
                    .await
                    .unwrap();
            }
        });
        (url, told)
    }

    fn fetcher() -> Fetcher {
        Fetcher::with_connections(&crate::tls::client::load(&Default::default()).unwrap(), 4)
    }

    #[tokio::test]
    async fn a_question_is_sent_whole_and_once_and_its_answer_has_headers() {
        let (url, mut told) = serve_once_a_connection().await;
        let fetcher = fetcher();
        for agent in [None, Some("other/1")] {
            let mut request = Request::post(&url).body(Bytes::from("a=b")).unwrap();
            if let Some(agent) = agent {
                request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(agent));
            }
            let answer = fetcher.send(request, Duration::from_secs(10)).await.unwrap();
            assert_eq!((answer.status.as_u16(), &answer.body[..]), (418, &b"short"[..]));
            assert_eq!(answer.headers["x-told"], "yes");
            let agent = agent.unwrap_or(concat!("countersign/", env!("CARGO_PKG_VERSION")));
            assert_eq!(told.recv().await.unwrap(), format!("POST /token {agent} a=b"));
        }
        assert!(told.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_connection_that_breaks_under_a_question_does_not_have_it_asked_again() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let mut bytes = [0; 1];
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut bytes).await.unwrap();
            drop(stream);
            listener
        });
        let request = Request::post(&url).body(Bytes::from("a=b")).unwrap();
        let failure = fetcher().send(request, Duration::from_secs(10)).await.unwrap_err();
        assert!(matches!(failure, FetchFailure::Broken(_)), "{failure}");
        // Whatever connected a second time would be waiting.
        let listener = server.await.unwrap().into_std().unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}
