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
                let wait = is_busy.then(wait).flatten();
                match failure {
                    TokenFailure::Refused { status, error }
                        if wait.is_some() || answer.status == StatusCode::TOO_MANY_REQUESTS =>
                    {
                        Err((TokenFailure::Throttled { status, error }, wait))
                    }
                    failure => Err((failure, wait)),
                }
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
                self.metrics.remote.token_stored(true);
                false
            }
            Ok(Replaced::Overruled) => {
                tracing::warn!(%place, "a rotated refresh token was dropped: another one was put there");
                false
            }
            Err(why) => {
                self.metrics.remote.token_stored(false);
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

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;
    use std::path::PathBuf;

    use crate::service::testing::{Endpoint, issue, settings};

    /// A renewal whose secrets and answers a test chooses.
    struct Stage {
        endpoint: Endpoint,
        renewal: Renewal,
    }

    impl Stage {
        async fn new(place: Secret) -> Stage {
            let endpoint = Endpoint::new().await;
            let tls = crate::tls::client::load(&Default::default()).unwrap();
            let settings = settings(&endpoint, Grant::RefreshToken(place));
            Stage { endpoint, renewal: Renewal::new(settings, &tls, Metrics::new()) }
        }

        /// Renews once; the answer is whether a token came, and the refresh token that was shown for it.
        async fn renew(&mut self, meanwhile: impl FnOnce(), status: u16, body: &str) -> (bool, String) {
            let (renewed, form) = tokio::join!(self.renewal.renew(), async {
                let question = self.endpoint.asked().await;
                let form = question.form.clone();
                meanwhile();
                question.answer(status, body);
                form
            });
            let shown = form.split('&').find_map(|pair| pair.strip_prefix("refresh_token="));
            (renewed.is_ok(), shown.unwrap().to_owned())
        }

        fn stored(&self) -> Option<bool> {
            let text = String::from_utf8(self.renewal.metrics.encode()).unwrap();
            let value =
                text.lines().find_map(|line| line.strip_prefix("countersign_service_token_stored_ok "))?;
            Some(value == "1")
        }
    }

    fn file(folder: &tempfile::TempDir) -> (PathBuf, Secret) {
        let path = folder.path().join("refresh");
        fs::write(&path, "first\n").unwrap();
        (path.clone(), Secret::File(path))
    }

    #[tokio::test]
    async fn a_rotated_refresh_token_is_stored_before_the_access_token_is_handed_out() {
        let folder = tempfile::tempdir().unwrap();
        let (path, place) = file(&folder);
        let mut stage = Stage::new(place).await;
        for (shown, given, stands) in [
            ("first", None, "first"),
            ("first", Some("first"), "first"),
            ("first", Some("second"), "second"),
            ("second", Some("third"), "third"),
            ("third", None, "third"),
        ] {
            let renewed = stage.renew(|| (), 200, &issue("a", 60, given)).await;
            assert_eq!(renewed, (true, shown.to_owned()));
            assert_eq!(fs::read_to_string(&path).unwrap().trim(), stands);
            assert_eq!(stage.stored(), (stands != "first").then_some(true));
        }
    }

    #[tokio::test]
    async fn one_that_can_not_be_stored_is_used_until_the_operator_puts_another_one_there() {
        let folder = tempfile::tempdir().unwrap();
        let (path, place) = file(&folder);
        let mut stage = Stage::new(place).await;
        // A file that is gone can not be replaced: rights would not stop a test that runs as root.
        let gone = || fs::remove_file(&path).unwrap();
        for (shown, given) in [("first", Some("second")), ("second", Some("third")), ("third", None)] {
            let renewed = stage.renew(gone, 200, &issue("a", 60, given)).await;
            assert_eq!((renewed, stage.stored()), ((true, shown.to_owned()), Some(false)));
            fs::write(&path, "first").unwrap();
        }
        // The disk is well again: the newest one takes the place of the first.
        let renewed = stage.renew(|| (), 200, &issue("a", 60, None)).await;
        assert_eq!((renewed, stage.stored()), ((true, "third".to_owned()), Some(true)));
        assert_eq!(fs::read_to_string(&path).unwrap(), "third\n");
    }

    #[tokio::test]
    async fn what_the_operator_puts_there_wins_over_what_is_kept_and_over_what_comes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, place) = file(&folder);
        let mut stage = Stage::new(place).await;
        let renewed =
            stage.renew(|| fs::remove_file(&path).unwrap(), 200, &issue("a", 60, Some("second"))).await;
        assert_eq!((renewed, stage.stored()), ((true, "first".to_owned()), Some(false)));
        fs::write(&path, "mine").unwrap();
        let meanwhile = || fs::write(&path, "yours").unwrap();
        let renewed = stage.renew(meanwhile, 200, &issue("a", 60, Some("third"))).await;
        assert_eq!(renewed, (true, "mine".to_owned()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "yours");
        let renewed = stage.renew(|| (), 200, &issue("a", 60, None)).await;
        assert_eq!(renewed, (true, "yours".to_owned()));
    }

    #[tokio::test]
    async fn one_from_a_variable_is_kept_in_memory_and_given_up_when_it_is_worth_nothing() {
        let mut stage = Stage::new(Secret::Variable("CARGO_PKG_NAME".to_owned())).await;
        let own = env!("CARGO_PKG_NAME");
        for (shown, status, body) in [
            (own, 200, issue("a", 60, Some("second"))),
            ("second", 200, issue("a", 60, None)),
            ("second", 503, String::new()),
            ("second", 400, r#"{"error":"invalid_grant"}"#.to_owned()),
            (own, 200, issue("a", 60, None)),
        ] {
            let renewed = stage.renew(|| (), status, &body).await;
            assert_eq!(renewed, (status == 200, shown.to_owned()));
        }
        assert_eq!(stage.stored(), Some(false));
    }

    #[tokio::test]
    async fn an_endpoint_that_asks_to_be_left_alone_is_told_from_one_that_refuses() {
        let mut stage = Stage::new(Secret::Variable("CARGO_PKG_NAME".to_owned())).await;
        let busy = r#"{"error":"busy","message":"Try again in 57 seconds."}"#;
        for (status, body, throttled, wait) in [
            (429, busy, true, Some(57)),
            (429, "{}", true, None),
            (503, busy, true, Some(57)),
            (503, "{}", false, None),
            (500, busy, false, None),
            (400, busy, false, None),
        ] {
            let (renewed, ()) = tokio::join!(stage.renewal.renew(), stage.endpoint.answers(status, body));
            let (failure, told) = renewed.unwrap_err();
            let is_throttled = matches!(failure, TokenFailure::Throttled { .. });
            assert_eq!((is_throttled, told.map(|wait| wait.as_secs())), (throttled, wait), "{status} {body}");
            let code = if body == busy { " busy" } else { "" };
            assert_eq!(failure.to_string(), format!("endpoint: {status}{code}"));
        }
    }

    #[tokio::test]
    async fn a_secret_that_can_not_be_read_asks_nobody() {
        let mut stage = Stage::new(Secret::File("/nowhere/refresh".into())).await;
        let (failure, _) = stage.renewal.renew().await.unwrap_err();
        assert!(
            matches!(&failure, TokenFailure::Secret(why) if why.contains("/nowhere/refresh")),
            "{failure}"
        );
        assert!(stage.endpoint.is_idle());
    }

    #[tokio::test]
    async fn nothing_of_it_shows_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let (path, place) = file(&folder);
        fs::write(&path, "psst").unwrap();
        let mut stage = Stage::new(place).await;
        stage.renew(|| fs::remove_file(&path).unwrap(), 200, &issue("hush", 60, Some("whist"))).await;
        let shown = format!("{:?}", stage.renewal);
        assert!(shown.contains("Kept"), "{shown}");
        for secret in ["psst", "hush", "whist"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
