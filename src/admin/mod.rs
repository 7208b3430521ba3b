//! The admin listener: metrics, health, facts and reload, for operators and their tools only.

pub mod facts;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::admin::facts::{Facts, Wrong};
use crate::fetch::without_brackets;

/// How the admin listener is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens.
    pub address: SocketAddr,
    /// The bearer token it asks for; required off loopback.
    pub token: Option<String>,
    /// Host names it answers beside loopback ones.
    pub hosts: Vec<String>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("address", &self.address).field("hosts", &self.hosts).finish()
    }
}

/// What the admin listener asks of the application.
pub enum Command {
    /// Load the configuration anew.
    Reload(oneshot::Sender<ReloadReport>),
    /// Everything in the Prometheus text format.
    Metrics(oneshot::Sender<Vec<u8>>),
    /// Whether requests are taken.
    Ready(oneshot::Sender<bool>),
    /// Something about facts, asked from an address.
    Facts(Facts, IpAddr, oneshot::Sender<FactsReport>),
}

/// What came of a request about facts.
#[derive(Clone, Debug)]
pub enum FactsReport {
    /// The facts, as JSON.
    Facts(Vec<u8>),
    /// Nothing is kept of the party.
    Nothing,
    /// The act could not be recorded, so it was not done.
    NotRecorded,
}

/// What a reload brought.
#[derive(Clone, Debug)]
pub struct ReloadReport {
    /// Whether the configuration is in force.
    pub ok: bool,
    /// Its revision, or that of the one that stays in force.
    pub revision: String,
    /// Problems, and what needs a restart.
    pub report: String,
}

/// Serves the admin listener until it is dropped.
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    commands: mpsc::Sender<Command>,
) -> io::Result<()> {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "an admin connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (settings, commands) = (settings.clone(), commands.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let (settings, commands) = (&settings, &commands);
                async move { Ok::<_, Infallible>(answer(request, peer.ip(), settings, commands).await) }
            });
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
            // A peer that misbehaves ends its own connection.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Answer = Response<Full<Bytes>>;

async fn answer(
    request: Request<Incoming>,
    peer: IpAddr,
    settings: &Settings,
    commands: &mpsc::Sender<Command>,
) -> Answer {
    if let Some(refused) = refuse(&request, settings) {
        return refused;
    }
    let method = match *request.method() {
        Method::HEAD => Method::GET,
        ref other => other.clone(),
    };
    match (method, request.uri().path()) {
        (Method::GET, "/livez") => text(StatusCode::OK, "alive\n"),
        (Method::GET, "/readyz") => match ask(commands, Command::Ready).await {
            Some(true) => text(StatusCode::OK, "ready\n"),
            _ => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        },
        (Method::GET, "/metrics") => match ask(commands, Command::Metrics).await {
            Some(metrics) => {
                let mut answer = Response::new(Full::from(metrics));
                let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                answer.headers_mut().insert(CONTENT_TYPE, kind);
                answer
            }
            None => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        },
        (Method::POST, "/reload") => match ask(commands, Command::Reload).await {
            Some(report) => {
                let status = if report.ok { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
                let word = if report.ok { "in force" } else { "refused; still in force" };
                text(status, &format!("{word}: revision {}\n{}", report.revision, report.report))
            }
            None => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        },
        (_, "/livez" | "/readyz" | "/metrics" | "/reload") => {
            text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n")
        }
        (method, path) => match Facts::parse(&method, path) {
            Ok(facts) => {
                let asked = |answer| Command::Facts(facts, peer, answer);
                match ask(commands, asked).await {
                    Some(report) => facts_answer(report),
                    None => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
                }
            }
            Err(Wrong::Method) => text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n"),
            Err(Wrong::Party) => text(StatusCode::BAD_REQUEST, "the party is no tenant id and no MPN id\n"),
            Err(Wrong::Agreement) => {
                text(StatusCode::BAD_REQUEST, "the agreement is no name such as `mca` or `mpa`\n")
            }
            Err(Wrong::Path) => text(
                StatusCode::NOT_FOUND,
                "known: /metrics /livez /readyz /facts/AGREEMENT/PARTY, POST /reload, \
                 POST /facts/AGREEMENT/PARTY/refresh and /forget\n",
            ),
        },
    }
}

fn facts_answer(report: FactsReport) -> Answer {
    match report {
        FactsReport::Facts(json) => {
            let mut answer = Response::new(Full::from(json));
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            answer
        }
        FactsReport::Nothing => text(StatusCode::NOT_FOUND, "nothing is kept of it\n"),
        FactsReport::NotRecorded => {
            text(StatusCode::SERVICE_UNAVAILABLE, "it could not be recorded, so it was not done\n")
        }
    }
}

async fn ask<T>(
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    commands.send(command(sender)).await.ok()?;
    receiver.await.ok()
}

/// A page in the operator's browser must not be able to speak to this listener: foreign names (DNS rebinding) and
/// foreign origins are refused, and writes want a header that a form can not send.
fn refuse(request: &Request<Incoming>, settings: &Settings) -> Option<Answer> {
    let headers = request.headers();
    if !is_known_host(headers, settings) {
        return Some(text(StatusCode::MISDIRECTED_REQUEST, "this host name is not served here\n"));
    }
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if headers.contains_key("origin") || site.is_some_and(|site| site != b"none" && site != b"same-origin") {
        return Some(text(StatusCode::FORBIDDEN, "no requests from web pages\n"));
    }
    if let Some(token) = &settings.token
        && !has_token(headers, token)
    {
        let mut answer = text(StatusCode::UNAUTHORIZED, "a bearer token is needed\n");
        answer.headers_mut().insert("www-authenticate", HeaderValue::from_static("Bearer"));
        return Some(answer);
    }
    let is_write = !matches!(*request.method(), Method::GET | Method::HEAD);
    let is_meant = headers.get("countersign-admin").is_some_and(|value| value == "1");
    (is_write && !is_meant).then(|| text(StatusCode::FORBIDDEN, "writes need `Countersign-Admin: 1`\n"))
}

fn is_known_host(headers: &HeaderMap, settings: &Settings) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = without_brackets(authority.host());
    let is_loopback =
        name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    is_loopback || settings.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
    aws_lc_rs::constant_time::verify_slices_are_equal(given, token.as_bytes()).is_ok()
}

fn text(status: StatusCode, text: &str) -> Answer {
    let mut answer = Response::new(Full::from(text.to_owned()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
