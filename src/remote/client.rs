//! Remote servers: asked within their limits, as whom the gateway is, with what became of it counted.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Request, StatusCode, Uri};
use jiff::Timestamp;
use rustls::ClientConfig;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::fetch::{Answer, Endpoint, FetchFailure, Fetcher};
use crate::metrics::Metrics;
use crate::policy::agreement::Failure;
use crate::policy::id::Guid;
use crate::policy::path::Path;
use crate::random::{guid, random};
use crate::remote::guard::{Guard, Leave, Limits, Outcome, Why};
use crate::remote::reading::{Read, Unanswered};
use crate::remote::tenant::LastToken;
use crate::service::Service;
use crate::service::exchange::{Bearer, TokenFailure};
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
    /// The tenant whose access token it is asked with, where it takes one.
    pub partner: Option<Guid>,
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
    last_token: LastToken,
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
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The path and query, from the root of the API.
    pub target: String,
    /// Headers of this question.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// JSON that is sent with POST; `None` asks with GET. Either only reads: it may be sent twice.
    pub body: Option<Bytes>,
    /// Keeps its failures out of the server's breaker: they say nothing of other resources there.
    pub is_apart: bool,
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
            last_token: LastToken::default(),
            metrics,
        }
    }

    /// Asks. `read` takes from an answer what it says; its status says something of the question: 2xx, or a refusal
    /// that is about it. Whatever else comes, and what cannot be read, is a failure to learn: counted as such, and logged
    /// without its content.
    pub async fn ask<T>(&self, asked: &Asked, read: impl Read<T>) -> Result<T, Unanswered> {
        let name = self.settings.name.as_str();
        let answered = self.ask_as_oneself(asked, &read).await;
        let outcome = match &answered {
            Ok(_) => "ok",
            Err(why) => why.failure().as_str(),
        };
        self.metrics.remote.asked(name, outcome);
        answered
    }

    async fn ask_as_oneself<T>(&self, asked: &Asked, read: &impl Read<T>) -> Result<T, Unanswered> {
        let started = Instant::now();
        let mut renewed = false;
        // For the first exchange: whoever asks again asks for leave again.
        let mut had = asked.leave;
        loop {
            let bearer = self.bearer().await.inspect_err(|_| {
                if let Some(leave) = &had {
                    self.guard.withdraw(leave);
                }
            })?;
            let authorization = bearer.as_ref().map(|bearer| bearer.header().clone());
            if let Some(read) = self.exchange(asked, had.take(), authorization, started, read).await? {
                return Ok(read);
            }
            // A token may be revoked before its time: once, another one is tried.
            let another = match (&self.service, &bearer) {
                (Some(service), Some(bearer)) if !renewed => service.refuse(bearer),
                _ => false,
            };
            if !another {
                tracing::error!(source = self.settings.name, "the gateway's own identity is refused (401)");
                return Err(Failure::Source.into());
            }
            renewed = true;
        }
    }

    async fn bearer(&self) -> Result<Option<Bearer>, Failure> {
        let Some(service) = &self.service else { return Ok(None) };
        let token = service.token().await.map_err(|error| {
            // The identity tells of it once; each question need not.
            tracing::debug!(source = self.settings.name, %error, "there is no token to ask with");
            match error {
                TokenFailure::Throttled { .. } => Failure::Throttled,
                _ => Failure::Source,
            }
        })?;
        if let Some(partner) = self.settings.partner {
            self.last_token.note(&self.settings.name, partner, &token);
        }
        Ok(Some(token))
    }

    /// Gets leave for so many questions at once, and waits until they may be asked.
    pub async fn enter(&self, asker: Option<Guid>, count: u32, patience: Duration) -> Result<Leave, Failure> {
        let started = Instant::now();
        let entered = async {
            // Without a token nothing can be asked, and leave would be for nothing.
            self.bearer().await?;
            self.leave(asker, count, patience.saturating_sub(started.elapsed())).await
        };
        let entered = entered.await;
        if let Err(failure) = &entered {
            self.metrics.remote.asked(&self.settings.name, failure.as_str());
        }
        entered
    }

    async fn leave(&self, asker: Option<Guid>, count: u32, patience: Duration) -> Result<Leave, Failure> {
        let leave = self.guard.enter(asker, count, Instant::now(), patience);
        let leave = leave.map_err(|refused| failure_of(refused.why))?;
        if !leave.wait.is_zero() {
            tokio::time::sleep(leave.wait).await;
        }
        Ok(leave)
    }

    /// One exchange; `None` where the gateway's own identity is refused.
    async fn exchange<T>(
        &self,
        asked: &Asked,
        had: Option<Leave>,
        authorization: Option<HeaderValue>,
        started: Instant,
        read: &impl Read<T>,
    ) -> Result<Option<T>, Unanswered> {
        let name = self.settings.name.as_str();
        let left = asked.patience.saturating_sub(started.elapsed());
        let leave = match had {
            Some(leave) => leave,
            None => self.leave(asked.asker, 1, left).await?,
        };
        let begun = self.begin(asked, authorization, &leave, left.saturating_sub(leave.wait)).await;
        let (request, _place) = begun.inspect_err(|_| self.guard.withdraw(&leave))?;
        let sent = Instant::now();
        let answered = match self.fetcher.send(request.clone(), self.settings.timeout).await {
            // A kept connection may have ended while it was written to. Asking twice changes nothing there.
            Err(FetchFailure::Broken(_)) if self.guard.again(Instant::now()) => {
                self.fetcher.send(request, self.settings.timeout.saturating_sub(sent.elapsed())).await
            }
            answered => answered,
        };
        let (outcome, read) = match answered {
            Ok(answer) => self.read(&answer, read),
            Err(failure) => {
                tracing::warn!(source = name, %failure, "no answer");
                // How large a thing is says nothing of the server.
                let is_of_server = !matches!(failure, FetchFailure::TooLarge);
                let outcome = if is_of_server { Outcome::Failed } else { Outcome::Answered };
                (outcome, Err(Failure::Source.into()))
            }
        };
        match outcome {
            Outcome::Answered | Outcome::Failed if asked.is_apart => self.guard.withdraw(&leave),
            outcome => self.guard.note(&leave, Instant::now(), about(asked), outcome),
        }
        read
    }

    /// How a question ended, and what its answer says.
    fn read<T>(&self, answer: &Answer, read: &impl Read<T>) -> (Outcome, Result<Option<T>, Unanswered>) {
        let (name, status) = (self.settings.name.as_str(), answer.status.as_u16());
        let (outcome, judged) = judged(answer);
        if let Err(failure) = judged {
            if outcome != Outcome::Failed {
                let failure = failure.as_str();
                tracing::warn!(source = name, failure, ?outcome, "an answer that says nothing");
            }
            return (outcome, Err(failure.into()));
        }
        if answer.status == StatusCode::UNAUTHORIZED {
            return (outcome, Ok(None));
        }
        match read(answer) {
            Ok(read) => (outcome, Ok(Some(read))),
            Err(why) => {
                tracing::warn!(
                    source = name,
                    status,
                    why = why.why(),
                    "an answer that says nothing of what was asked"
                );
                (why.outcome(), Err(Unanswered::Unusable(why)))
            }
        }
    }

    /// What is sent, and the place it takes.
    async fn begin(
        &self,
        asked: &Asked,
        authorization: Option<HeaderValue>,
        leave: &Leave,
        patience: Duration,
    ) -> Result<(Request<Bytes>, SemaphorePermit<'_>), Failure> {
        let request = self.request(asked, authorization).ok_or(Failure::Source)?;
        // Not beyond its patience: what waits longer would be asked when nobody wants it any more, all at a time.
        let place = tokio::time::timeout(patience.max(PLACE_WAIT_MIN), self.places.acquire());
        let Ok(Ok(place)) = place.await else { return Err(Failure::Throttled) };
        // While it waited, the server may have asked to be left alone, or turned out to be down.
        self.guard.confirm(leave, Instant::now()).map_err(|refused| failure_of(refused.why))?;
        Ok((request, place))
    }

    fn request(&self, asked: &Asked, authorization: Option<HeaderValue>) -> Option<Request<Bytes>> {
        let base = self.settings.url.uri();
        let prefix = base.path().trim_end_matches('/');
        let target = format!("{prefix}{}", asked.target);
        let uri = Uri::builder().scheme(base.scheme()?.clone()).authority(base.authority()?.clone());
        let uri = uri.path_and_query(target).build().ok()?;
        let mut request = match &asked.body {
            Some(body) => Request::post(uri).body(body.clone()).ok()?,
            None => Request::get(uri).body(Bytes::new()).ok()?,
        };
        let headers = request.headers_mut();
        if asked.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
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

    /// True where the access token it is asked with names another tenant than it should; `None` where none can be read.
    pub fn has_token_of_another(&self) -> Option<bool> {
        self.last_token.is_of_another()
    }

    /// Whether it is left alone because it keeps failing.
    pub fn is_open(&self) -> bool {
        self.guard.is_open(Instant::now())
    }
}

/// A number for what a question is about, the same for every spelling of it.
fn about(asked: &Asked) -> u64 {
    let mut hash = DefaultHasher::new();
    asked.body.hash(&mut hash);
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    match Path::parse(path) {
        Ok(path) => {
            (0..path.len()).for_each(|at| path.segment(at).to_ascii_lowercase().hash(&mut hash));
        }
        Err(_) => path.hash(&mut hash),
    }
    query.hash(&mut hash);
    hash.finish()
}

fn failure_of(why: Why) -> Failure {
    match why {
        Why::Paused | Why::Budget => Failure::Throttled,
        Why::Open => Failure::Unavailable,
    }
}

/// What an answer says of the server, and whether it says anything of the question.
fn judged(answer: &Answer) -> (Outcome, Result<(), Failure>) {
    let status = answer.status;
    let wait = || retry_after::parse(&answer.headers, &answer.body, Timestamp::now());
    if status == StatusCode::TOO_MANY_REQUESTS {
        let wait = wait().unwrap_or(Duration::from_secs(1));
        return (Outcome::Throttled(wait), Err(Failure::Throttled));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE
        && let Some(wait) = wait()
    {
        return (Outcome::Throttled(wait), Err(Failure::Throttled));
    }
    if status.is_server_error() {
        return (Outcome::Failed, Err(Failure::Source));
    }
    if status == StatusCode::UNAUTHORIZED {
        return (Outcome::Answered, Ok(()));
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
        true => (Outcome::Answered, Ok(())),
        false => (Outcome::Answered, Err(Failure::Source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about_get(target: &str) -> u64 {
        about(&Asked { target: target.to_owned(), ..Asked::default() })
    }

    #[test]
    fn every_spelling_of_a_question_is_about_the_same() {
        let plain = about_get("/v1/customers/c/carts/k?a=1");
        for same in
            ["/V1/customers/c/Carts/k?a=1", "/v1/customers/c/%63arts/k?a=1", "/v1/customers/c/carts/k/?a=1"]
        {
            assert_eq!(about_get(same), plain, "{same}");
        }
        for other in ["/v1/customers/c/carts/j?a=1", "/v1/customers/c/carts/k?a=2", "/v1/customers/c/carts/k"]
        {
            assert_ne!(about_get(other), plain, "{other}");
        }
        let target = "/v1/customers/c/carts/k?a=1".to_owned();
        let sent = Asked { target, body: Some(Bytes::from_static(b"{}")), ..Asked::default() };
        assert_ne!(about(&sent), plain);
    }
}
