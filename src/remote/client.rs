//! Remote servers: asked within their limits, as whom the gateway is, with what became of it counted.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Request, StatusCode, Uri};
use jiff::Timestamp;
use rustls::ClientConfig;
use tokio::sync::Semaphore;

use crate::fetch::{Answer, Endpoint, FetchFailure, Fetcher};
use crate::metrics::Metrics;
use crate::policy::agreement::Failure;
use crate::policy::id::Guid;
use crate::random::{guid, random};
use crate::remote::guard::{Guard, Leave, Limits, Outcome, Why};
use crate::service::Service;
use crate::waiting::retry_after;

/// Questions to one server at the same time.
const CONCURRENT_MAX: usize = 16;
/// How long a place is waited for at least, also by what is done beside requests and has no patience.
const PLACE_WAIT_MIN: Duration = Duration::from_millis(100);

/// What is asked of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name in metrics and the log.
    pub name: String,
    /// Where it is: scheme, host, port and what comes before every path.
    pub url: Endpoint,
    /// Headers that go with every question.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How much it is asked.
    pub limits: Limits,
    /// The longest that one question takes.
    pub timeout: Duration,
    /// The text of the file of authorities that are trusted to name it; `None` trusts the platform's.
    pub authorities: Option<String>,
}

/// A server that is asked.
#[derive(Debug)]
pub struct Remote {
    /// How it is asked.
    pub settings: Settings,
    fetcher: Fetcher,
    service: Option<Arc<Service>>,
    guard: Guard<Guid>,
    places: Semaphore,
    metrics: Metrics,
}

/// The ids of one question (Partner Center, "Partner Center REST headers").
pub fn ids() -> Vec<(HeaderName, HeaderValue)> {
    let id = || HeaderValue::from_str(guid().text().as_str()).expect("a GUID is plain text");
    vec![(HeaderName::from_static("ms-requestid"), id()), (HeaderName::from_static("ms-correlationid"), id())]
}

/// One question.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The path and query, from the root of the API.
    pub target: String,
    /// Headers of this question.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The caller's tenant; `None` for what is done beside requests.
    pub asker: Option<Guid>,
    /// How long it may wait for its turn.
    pub patience: Duration,
    /// Leave that was had before.
    pub leave: Option<Leave>,
}

impl Remote {
    /// A server that nothing was asked of yet; `service` is whom the gateway is there.
    pub fn new(
        settings: Settings,
        tls: &Arc<ClientConfig>,
        service: Option<Arc<Service>>,
        metrics: Metrics,
    ) -> Remote {
        Remote {
            fetcher: Fetcher::with_connections(tls, CONCURRENT_MAX),
            guard: Guard::new(&settings.limits, random),
            places: Semaphore::new(CONCURRENT_MAX),
            settings,
            service,
            metrics,
        }
    }

    /// Asks with GET. The answer has a status that says something of the question: 2xx, or a refusal that is about it.
    /// Whatever else comes is a failure to learn, and is logged without what it said.
    pub async fn get(&self, asked: &Asked) -> Result<Answer, Failure> {
        let name = self.settings.name.as_str();
        let answered = self.ask(asked).await;
        let outcome = match &answered {
            Ok(_) => "ok",
            Err(failure) => failure.as_str(),
        };
        self.metrics.remote_asked(name, outcome);
        answered
    }

    async fn ask(&self, asked: &Asked) -> Result<Answer, Failure> {
        let started = Instant::now();
        let mut renewed = false;
        loop {
            let bearer = match &self.service {
                Some(service) => Some(service.token().await.map_err(|error| {
                    // The identity tells of it once; each question need not.
                    tracing::debug!(source = self.settings.name, %error, "there is no token to ask with");
                    Failure::Source
                })?),
                None => None,
            };
            let authorization = bearer.as_ref().map(|bearer| bearer.header().clone());
            let answer = self.exchange(asked, authorization, started, renewed).await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            // A token may be revoked before its time: once, another one is tried.
            let another = match (&self.service, &bearer) {
                (Some(service), Some(bearer)) if !renewed => service.refuse(bearer),
                _ => false,
            };
            if !another {
                tracing::error!(source = self.settings.name, "the gateway's own identity is refused (401)");
                return Err(Failure::Source);
            }
            renewed = true;
        }
    }

    /// Gets leave for so many questions at once, and waits until they may be asked.
    pub async fn enter(&self, asker: Option<Guid>, count: u32, patience: Duration) -> Result<Leave, Failure> {
        let leave = self.guard.enter(asker, count, Instant::now(), patience);
        let leave = leave.map_err(|refused| failure_of(refused.why))?;
        if !leave.wait.is_zero() {
            tokio::time::sleep(leave.wait).await;
        }
        Ok(leave)
    }

    async fn exchange(
        &self,
        asked: &Asked,
        authorization: Option<HeaderValue>,
        started: Instant,
        renewed: bool,
    ) -> Result<Answer, Failure> {
        let name = self.settings.name.as_str();
        let request = self.request(asked, authorization).ok_or(Failure::Source)?;
        let left = asked.patience.saturating_sub(started.elapsed());
        let leave = match asked.leave {
            // Once: whoever asks again asks for leave again.
            Some(leave) if !renewed => leave,
            _ => self.enter(asked.asker, 1, left).await?,
        };
        // Not beyond its patience: what waits longer would be asked when nobody wants it any more, all at a time.
        let place =
            tokio::time::timeout(left.saturating_sub(leave.wait).max(PLACE_WAIT_MIN), self.places.acquire());
        let Ok(Ok(_place)) = place.await else {
            self.guard.withdraw();
            return Err(Failure::Throttled);
        };
        // While it waited, the server may have asked to be left alone, or turned out to be down.
        if let Err(refused) = self.guard.confirm(&leave, Instant::now()) {
            self.guard.withdraw();
            return Err(failure_of(refused.why));
        }
        let answered = match self.fetcher.send(request.clone(), self.settings.timeout).await {
            // A kept connection may have ended while it was written to. Asking twice changes nothing there.
            Err(FetchFailure::Broken(_)) => self.fetcher.send(request, self.settings.timeout).await,
            answered => answered,
        };
        let (outcome, answer) = match answered {
            Ok(answer) => judged(answer),
            Err(failure) => {
                tracing::warn!(source = name, %failure, "no answer");
                (Outcome::Failed, Err(Failure::Source))
            }
        };
        if let Err(failure) = &answer
            && outcome != Outcome::Failed
        {
            tracing::warn!(
                source = name,
                failure = failure.as_str(),
                ?outcome,
                "an answer that says nothing"
            );
        }
        self.guard.note(Instant::now(), about(&asked.target), outcome);
        answer
    }

    fn request(&self, asked: &Asked, authorization: Option<HeaderValue>) -> Option<Request<Bytes>> {
        let base = self.settings.url.uri();
        let prefix = base.path().trim_end_matches('/');
        let target = format!("{prefix}{}", asked.target);
        let uri = Uri::builder().scheme(base.scheme()?.clone()).authority(base.authority()?.clone());
        let mut request = Request::get(uri.path_and_query(target).build().ok()?).body(Bytes::new()).ok()?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        // What is compressed would have to be taken apart by somebody before it can be read.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.extend(self.settings.headers.iter().chain(&asked.headers).cloned());
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        Some(request)
    }

    /// Whether what is asked now is likely to go wrong.
    pub fn is_ailing(&self) -> bool {
        self.guard.is_ailing(Instant::now())
    }

    /// Whether it is left alone because it keeps failing.
    pub fn is_open(&self) -> bool {
        self.guard.is_open(Instant::now())
    }
}

/// A number for what a question is about.
fn about(target: &str) -> u64 {
    let mut hash = DefaultHasher::new();
    target.hash(&mut hash);
    hash.finish()
}

fn failure_of(why: Why) -> Failure {
    match why {
        Why::Paused | Why::Budget => Failure::Throttled,
        Why::Open => Failure::Unavailable,
    }
}

/// What an answer says of the server, and whether it says anything of the question.
fn judged(answer: Answer) -> (Outcome, Result<Answer, Failure>) {
    let status = answer.status;
    let wait = || retry_after::parse(&answer.headers, &answer.body, Timestamp::now());
    if status == StatusCode::TOO_MANY_REQUESTS {
        let wait = wait().unwrap_or(Duration::from_secs(1));
        return (Outcome::Throttled(wait), Err(Failure::Throttled));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE
        && let Some(wait) = wait()
    {
        return (Outcome::Throttled(wait), Err(Failure::Source));
    }
    if status.is_server_error() {
        return (Outcome::Failed, Err(Failure::Source));
    }
    if status == StatusCode::UNAUTHORIZED {
        return (Outcome::Answered, Ok(answer));
    }
    // Redirects, and what is neither plain nor JSON, is somebody else's answer: a page that asks to log in, say.
    let is_json = |value: &HeaderValue| {
        let kind = value.to_str().unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
    };
    let is_readable = (status.is_success() || status.is_client_error())
        && answer.headers.get(CONTENT_TYPE).is_some_and(is_json)
        && answer.headers.get(CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity");
    // What is not there has nothing to say; a page that says so is somebody else's.
    let is_bare = status == StatusCode::NOT_FOUND && answer.body.is_empty();
    match is_readable || is_bare {
        true => (Outcome::Answered, Ok(answer)),
        false => (Outcome::Answered, Err(Failure::Source)),
    }
}
