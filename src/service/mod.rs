//! The service identity: the gateway's own access token, renewed before it expires.

pub mod exchange;
pub mod held;
pub mod renewal;
pub mod secret;
pub mod settings;
#[cfg(test)]
mod testing;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::metrics::Metrics;
use crate::random::random;
use crate::service::exchange::{Bearer, Issued, TokenFailure};
use crate::service::held::Held;
use crate::service::renewal::Renewal;
use crate::service::settings::Settings;

/// The gateway's own identity. It may outlive the configuration that named it: one of equal settings is the same.
#[derive(Clone, Debug)]
pub struct Service {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    renewal: Renewal,
    held: Mutex<Held>,
    /// The outcome of the last renewal, for all who wait for one.
    landed: watch::Sender<Option<Result<Bearer, TokenFailure>>>,
    control: Handle,
    metrics: Metrics,
}

impl Service {
    /// An identity without a token: the first one is asked for when it is needed. Renewals run on the control runtime.
    pub fn new(settings: Settings, tls: &Arc<ClientConfig>, control: Handle, metrics: Metrics) -> Service {
        let renewal = Renewal::new(settings, tls, metrics.clone());
        let landed = watch::Sender::default();
        Service { shared: Arc::new(Shared { renewal, held: Mutex::default(), landed, control, metrics }) }
    }

    /// What it was made of.
    pub fn settings(&self) -> &Settings {
        &self.shared.renewal.settings
    }

    /// A valid access token: the one that is held, or else the one that the next renewal brings, which is the same one for
    /// all who wait. After a failed renewal there is none before its time, and the failure is the answer at once.
    ///
    /// A caller that goes away cancels nothing. The wait is bounded by the settings' timeout, three times at worst: for the
    /// secrets, for the endpoint and for storing.
    pub async fn token(&self) -> Result<Bearer, TokenFailure> {
        self.token_at(Instant::now()).await
    }

    /// The API refused a token with 401. It is given up if it is the one in use and not a fresh one; the answer is whether
    /// another one can be had, so that asking once more makes sense.
    pub fn refuse(&self, bearer: &Bearer) -> bool {
        self.refuse_at(bearer, Instant::now())
    }

    async fn token_at(&self, now: Instant) -> Result<Bearer, TokenFailure> {
        let (asked, mut landed) = {
            let mut held = self.shared.held();
            // Under the lock: what lands from here on is the renewal that is waited for, no earlier one.
            (held.ask(now), self.shared.landed.subscribe())
        };
        if asked.begins {
            self.begin();
        }
        if let Some(answer) = asked.answer {
            return answer;
        }
        // The sender is ours: it is never gone, and a renewal always lands.
        let _ = landed.changed().await;
        let outcome = landed.borrow().clone();
        outcome.unwrap_or(Err(TokenFailure::Lost))
    }

    fn refuse_at(&self, bearer: &Bearer, now: Instant) -> bool {
        self.shared.held().refuse(bearer, now)
    }

    fn begin(&self) {
        let flight = Flight { shared: Arc::clone(&self.shared), asked: Instant::now(), has_landed: false };
        self.shared.control.spawn(async move {
            let renewed = flight.shared.renewal.renew().await;
            flight.land(renewed);
        });
    }
}

/// A renewal that is under way. It lands even where its task dies.
struct Flight {
    shared: Arc<Shared>,
    asked: Instant,
    has_landed: bool,
}

impl Flight {
    fn land(mut self, renewed: Result<Issued, (TokenFailure, Option<Duration>)>) {
        self.has_landed = true;
        self.shared.land(renewed, self.asked);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.has_landed {
            self.shared.land(Err((TokenFailure::Lost, None)), self.asked);
        }
    }
}

impl Shared {
    fn land(&self, renewed: Result<Issued, (TokenFailure, Option<Duration>)>, asked: Instant) {
        self.metrics.remote.token_renewed(renewed.is_ok());
        let mut held = self.held();
        let now = Instant::now();
        let outcome = match renewed {
            Ok(issued) => {
                held.land(&issued, asked, now);
                Ok(issued.bearer)
            }
            Err((failure, retry_after)) => {
                tell(&failure);
                held.fail(failure.clone(), retry_after, now, random()).ok_or(failure)
            }
        };
        // Nobody may be waiting.
        self.landed.send_replace(Some(outcome));
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(failure: &TokenFailure) {
    const WHAT: &str = "the gateway's own token could not be renewed";
    match failure {
        // Time does not mend these.
        TokenFailure::Secret(_) | TokenFailure::Refused { status: 400 | 401 | 403, .. } => {
            tracing::error!(why = %failure, "{WHAT}");
        }
        _ => tracing::warn!(why = %failure, "{WHAT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::service::settings::Grant;
    use crate::service::testing::{Endpoint, issue, settings};

    const HOUR: Duration = Duration::from_secs(3600);

    fn service(endpoint: &Endpoint) -> Service {
        let tls = crate::tls::client::load(&Default::default()).unwrap();
        let settings = settings(endpoint, Grant::ClientCredentials);
        Service::new(settings, &tls, Handle::current(), Metrics::new())
    }

    fn renewals(service: &Service, outcome: &str) -> String {
        let name = format!("countersign_service_tokens_total{{outcome=\"{outcome}\"}} ");
        let text = String::from_utf8(service.shared.metrics.encode()).unwrap();
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().to_owned()
    }

    fn header(bearer: &Bearer) -> &str {
        bearer.header().to_str().unwrap()
    }

    #[tokio::test]
    async fn all_who_wait_share_one_renewal_and_those_who_leave_cancel_nothing() {
        let mut endpoint = Endpoint::new().await;
        let service = service(&endpoint);
        let ask = || {
            let service = service.clone();
            tokio::spawn(async move { service.token().await })
        };
        let (leaves, stays, other) = (ask(), ask(), ask());
        let question = endpoint.asked().await;
        let secret = env!("CARGO_PKG_NAME");
        assert_eq!(
            question.form,
            format!(
                "grant_type=client_credentials&client_id=me&client_secret={secret}&resource=https%3A%2F%2Fapi.example"
            )
        );
        leaves.abort();
        assert!(leaves.await.unwrap_err().is_cancelled());
        question.answer(200, &issue("a", 3600, None));
        for waited in [stays, other] {
            assert_eq!(header(&waited.await.unwrap().unwrap()), "Bearer a");
        }
        assert_eq!(header(&service.token().await.unwrap()), "Bearer a");
        assert!(endpoint.is_idle());
        assert_eq!(renewals(&service, "ok"), "1");
    }

    #[tokio::test]
    async fn near_its_end_the_token_is_handed_out_while_one_renewal_runs() {
        let mut endpoint = Endpoint::new().await;
        let service = service(&endpoint);
        let (first, ()) = tokio::join!(service.token(), endpoint.answers(200, issue("a", 3600, None)));
        let near = Instant::now() + HOUR - Duration::from_secs(299);
        for _ in 0..3 {
            assert_eq!(service.token_at(near).await, first);
        }
        let mut landed = service.shared.landed.subscribe();
        endpoint.answers(200, issue("b", 3600, None)).await;
        landed.changed().await.unwrap();
        assert_eq!(header(&service.token().await.unwrap()), "Bearer b");
        assert!(endpoint.is_idle());
    }

    #[tokio::test]
    async fn a_failed_renewal_is_not_repeated_at_once() {
        let mut endpoint = Endpoint::new().await;
        let service = service(&endpoint);
        let refusal = r#"{"error":"invalid_client","error_description":"hush"}"#;
        let (failed, ()) = tokio::join!(service.token(), endpoint.answers(401, refusal));
        assert_eq!(failed.as_ref().unwrap_err().to_string(), "endpoint: 401 invalid_client");
        // A moment of the past is within any backoff.
        let now = Instant::now() - Duration::from_secs(1);
        assert_eq!(service.token_at(now).await, failed);
        assert!(endpoint.is_idle());
        let later = Instant::now() + Duration::from_secs(2);
        let (token, ()) =
            tokio::join!(service.token_at(later), endpoint.answers(200, issue("a", 3600, None)));
        assert_eq!(header(&token.unwrap()), "Bearer a");
        assert_eq!(renewals(&service, "failed"), "1");
    }

    #[tokio::test]
    async fn an_endpoint_that_names_a_time_is_left_alone_until_then() {
        let mut endpoint = Endpoint::new().await;
        let service = service(&endpoint);
        let busy = r#"{"message":"Try again in 57 seconds."}"#;
        let (failed, ()) = tokio::join!(service.token(), endpoint.answers(429, busy));
        assert_eq!(service.token_at(Instant::now() + Duration::from_secs(45)).await, failed);
        assert!(endpoint.is_idle());
    }

    #[tokio::test]
    async fn a_refused_token_is_renewed_once_it_is_not_fresh_any_more() {
        let mut endpoint = Endpoint::new().await;
        let service = service(&endpoint);
        let (first, ()) = tokio::join!(service.token(), endpoint.answers(200, issue("a", 3600, None)));
        let first = first.unwrap();
        assert!(!service.refuse(&first));
        assert!(service.refuse_at(&first, Instant::now() + Duration::from_secs(11)));
        let (second, ()) = tokio::join!(service.token(), endpoint.answers(200, issue("b", 3600, None)));
        let second = second.unwrap();
        assert_ne!(first, second);
        assert!(service.refuse(&first));
        assert_eq!(service.token().await, Ok(second));
    }

    #[test]
    fn a_renewal_whose_runtime_is_gone_lands_all_the_same() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let control = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let endpoint = runtime.block_on(Endpoint::new());
        let service = control.block_on(async { service(&endpoint) });
        drop(control);
        assert_eq!(runtime.block_on(service.token()), Err(TokenFailure::Lost));
    }
}
