//! Renewals: one question to the endpoint, with the secrets as they stand now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use rustls::ClientConfig;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::fetch::Fetcher;
use crate::metrics::Metrics;
use crate::service::exchange::{Issued, TokenFailure, question, read};
use crate::service::secret::{Replaced, Secret, Text};
use crate::service::settings::{Grant, Settings};
use crate::waiting::retry_after;

/// Asks for tokens, one at a time.
#[derive(Debug)]
pub struct Renewal {
    /// As whom, and where.
    pub settings: Settings,
    fetcher: Fetcher,
    metrics: Metrics,
    kept: Mutex<Option<Kept>>,
}

/// A refresh token that could not be stored.
#[derive(Clone, Debug)]
struct Kept {
    token: Text,
    /// What stands where it should. Once it is something else, the operator has put it there.
    instead_of: Text,
}

/// A refresh token, and where it is from.
struct Shown<'s> {
    token: Text,
    stands: Text,
    place: &'s Secret,
}

impl Renewal {
    /// It asks nothing yet.
    pub fn new(settings: Settings, tls: &Arc<ClientConfig>, metrics: Metrics) -> Renewal {
        Renewal { settings, fetcher: Fetcher::new(tls), metrics, kept: Mutex::default() }
    }

    /// Asks for a token. A refresh token that came with it is stored by the time that it is handed out. With a failure may
    /// come how long the endpoint wants to be left alone.
    pub async fn renew(&self) -> Result<Issued, (TokenFailure, Option<Duration>)> {
        let mended = |why: String| (TokenFailure::Secret(why), None);
        let client_secret = match &self.settings.client_secret {
            Some(secret) => Some(self.look(secret).await.map_err(mended)?),
            None => None,
        };
        let shown = match &self.settings.grant {
            Grant::RefreshToken(place) => Some(self.shown(place).await.map_err(mended)?),
            Grant::ClientCredentials => None,
        };
        let refresh_token = shown.as_ref().map(|shown| &shown.token);
        let request = question(&self.settings, client_secret.as_ref(), refresh_token);
        let answer = self.fetcher.send(request, self.settings.timeout).await;
        let answer = answer.map_err(|failure| (TokenFailure::Unanswered(failure), None))?;
        match read(&answer) {
            Ok(issued) => {
                if let Some(shown) = shown {
                    self.settle(shown, issued.refresh_token.as_ref()).await;
                }
                Ok(issued)
            }
            Err(failure) => {
                if matches!(&failure, TokenFailure::Refused { error: Some(error), .. } if error == "invalid_grant")
                {
                    // It is worth nothing any more; what stands in its place may be.
                    *self.kept() = None;
                }
                let is_busy =
                    [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&answer.status);
                let wait = || retry_after::parse(&answer.headers, &answer.body, Timestamp::now());
                Err((failure, is_busy.then(wait).flatten()))
            }
        }
    }

    /// The refresh token to show: the one that could not be stored, unless the operator has put another one there since.
    async fn shown<'s>(&self, place: &'s Secret) -> Result<Shown<'s>, String> {
        let stands = self.look(place).await?;
        let mut kept = self.kept();
        if kept.as_ref().is_some_and(|kept| kept.instead_of != stands) {
            *kept = None;
        }
        let token = kept.as_ref().map_or(&stands, |kept| &kept.token).clone();
        Ok(Shown { token, stands, place })
    }

    /// Sees to it that the newest refresh token stands where the one before it stood.
    async fn settle(&self, shown: Shown<'_>, rotated: Option<&Text>) {
        let Shown { token, stands, place } = shown;
        let newest = rotated.cloned().unwrap_or(token);
        if newest == stands {
            *self.kept() = None;
            return;
        }
        let stored = {
            let (place, stands, newest) = (place.clone(), stands.clone(), newest.clone());
            self.blocking(move || place.replace(&stands, &newest)).await
        };
        let is_lost = match stored {
            Ok(Replaced::Stored) => {
                self.metrics.service_token_stored(true);
                false
            }
            Ok(Replaced::Overruled) => {
                tracing::warn!(%place, "a rotated refresh token was dropped: another one was put there");
                false
            }
            Err(why) => {
                self.metrics.service_token_stored(false);
                match place {
                    Secret::File(_) => {
                        tracing::error!(why, "a rotated refresh token is in memory only: a restart loses it");
                    }
                    Secret::Variable(_) => {
                        tracing::warn!(why, "a rotated refresh token is in memory only: a restart loses it");
                    }
                }
                true
            }
        };
        *self.kept() = is_lost.then_some(Kept { token: newest, instead_of: stands });
    }

    async fn look(&self, secret: &Secret) -> Result<Text, String> {
        let secret = secret.clone();
        self.blocking(move || secret.read()).await
    }

    /// Does what may wait for a disk, away from the control runtime and not for ever.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        match timeout(self.settings.timeout, spawn_blocking(work)).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err("the file could not be worked on".to_owned()),
            Err(_) => Err("the file took too long".to_owned()),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
