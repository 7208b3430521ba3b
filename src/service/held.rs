//! What is held: the token in use, whether another is on its way, and when one may be asked for.

use std::time::{Duration, Instant};

use crate::service::exchange::{Bearer, Issued, TokenFailure};
use crate::waiting::backoff::backoff;

/// The longest time before its end that a token is renewed.
const RENEW_BEFORE_MAX: Duration = Duration::from_secs(300);
/// A token that is refused so soon after it was given is not too old: another one would be no better.
const FRESH: Duration = Duration::from_secs(10);

/// What is known of the gateway's own token.
#[derive(Debug, Default)]
pub struct Held {
    current: Option<Current>,
    is_under_way: bool,
    /// Failed renewals in a row.
    failures: u32,
    /// The last of them.
    failure: Option<TokenFailure>,
    /// No renewal begins before.
    withheld_until: Option<Instant>,
}

#[derive(Debug)]
struct Current {
    bearer: Bearer,
    got: Instant,
    renew_at: Instant,
    expires: Instant,
    /// It was refused: another one is wanted, and this one serves only while none can be had.
    is_suspect: bool,
}

/// What asking for a token brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The answer; `None` is to wait for the renewal that is under way.
    pub answer: Option<Result<Bearer, TokenFailure>>,
    /// Whether the caller is the one to begin a renewal.
    pub begins: bool,
}

impl Held {
    /// Asks for a token. Where it is time, a renewal counts as under way from here on.
    pub fn ask(&mut self, now: Instant) -> Asked {
        let is_due =
            self.current.as_ref().is_none_or(|current| current.is_suspect || now >= current.renew_at);
        let begins = is_due && !self.is_under_way && !self.is_withheld(now);
        self.is_under_way |= begins;
        let answer = match &self.current {
            Some(current) if now < current.expires && !(current.is_suspect && self.is_under_way) => {
                Some(Ok(current.bearer.clone()))
            }
            _ if self.is_under_way => None,
            _ => Some(Err(self.failure.clone().unwrap_or(TokenFailure::Lost))),
        };
        Asked { answer, begins }
    }

    /// Ends the renewal that is under way and was asked for at a moment, well.
    pub fn land(&mut self, issued: &Issued, asked: Instant, now: Instant) {
        // From when it was asked for: how long the answer took to come is not known to have been spent before.
        let expires = asked + issued.lifetime;
        let renew_at = expires - (issued.lifetime / 5).min(RENEW_BEFORE_MAX);
        let bearer = issued.bearer.clone();
        let current = Current { bearer, got: now, renew_at, expires, is_suspect: false };
        *self = Held { current: Some(current), ..Held::default() };
    }

    /// Ends the renewal that is under way, with a failure. What is held stays in use; the answer is that, if it is good
    /// still. The endpoint may have said when to come back; `jitter` is from 0 to 1.
    pub fn fail(
        &mut self,
        failure: TokenFailure,
        retry_after: Option<Duration>,
        now: Instant,
        jitter: f64,
    ) -> Option<Bearer> {
        self.is_under_way = false;
        self.failures = self.failures.saturating_add(1);
        self.failure = Some(failure);
        let pause = backoff(self.failures, jitter).max(retry_after.unwrap_or_default());
        self.withheld_until = Some(now + pause);
        let current = self.current.as_mut().filter(|current| now < current.expires)?;
        // Whether it is good shows with the next question.
        current.is_suspect = false;
        Some(current.bearer.clone())
    }

    /// Suspects a token that was refused, unless it is not the one in use or fresh. Whether another one can be had.
    pub fn refuse(&mut self, bearer: &Bearer, now: Instant) -> bool {
        if let Some(current) = &mut self.current {
            if current.bearer != *bearer {
                return true;
            }
            if now.saturating_duration_since(current.got) <= FRESH {
                return false;
            }
            current.is_suspect = true;
        }
        self.is_under_way || !self.is_withheld(now)
    }

    fn is_withheld(&self, now: Instant) -> bool {
        self.withheld_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use crate::fetch::Answer;
    use crate::service::exchange::read;

    fn issued(token: &str, expires_in: u64) -> Issued {
        let body = Bytes::from(format!(r#"{{"access_token":"{token}","expires_in":{expires_in}}}"#));
        read(&Answer { status: StatusCode::OK, headers: HeaderMap::new(), body }).unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const REFUSED: TokenFailure = TokenFailure::Refused { status: 400, error: None };

    fn waits(begins: bool) -> Asked {
        Asked { answer: None, begins }
    }

    fn has(issued: &Issued, begins: bool) -> Asked {
        Asked { answer: Some(Ok(issued.bearer.clone())), begins }
    }

    fn fails() -> Asked {
        Asked { answer: Some(Err(REFUSED)), begins: false }
    }

    #[test]
    fn of_all_who_find_none_one_begins() {
        let (mut held, now, token) = (Held::default(), Instant::now(), issued("a", 3600));
        assert_eq!(held.ask(now), waits(true));
        assert_eq!(held.ask(now), waits(false));
        held.land(&token, now, now);
        assert_eq!(held.ask(now), has(&token, false));
    }

    #[test]
    fn it_is_renewed_behind_before_it_ends_and_not_used_after() {
        for (lifetime, before) in [(3600, 300), (1500, 300), (1000, 200), (60, 12)] {
            let (mut held, now, token) = (Held::default(), Instant::now(), issued("a", lifetime));
            held.ask(now);
            held.land(&token, now, now + seconds(2));
            let renew_at = now + seconds(lifetime - before);
            assert_eq!(held.ask(renew_at - seconds(1)), has(&token, false), "{lifetime}");
            assert_eq!(held.ask(renew_at), has(&token, true), "{lifetime}");
            assert_eq!(held.ask(renew_at), has(&token, false), "{lifetime}");
            assert_eq!(held.ask(now + seconds(lifetime)), waits(false), "{lifetime}");
        }
    }

    #[test]
    fn failures_are_not_repeated_before_their_time_and_what_is_held_stays() {
        let (mut held, now, token) = (Held::default(), Instant::now(), issued("a", 3600));
        held.ask(now);
        held.land(&token, now, now);
        let mut at = now + seconds(3300);
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(held.ask(at), has(&token, true), "{pause}");
            held.fail(REFUSED, None, at, 0.0);
            assert_eq!(
                held.ask(at + seconds(pause) - Duration::from_millis(1)),
                has(&token, false),
                "{pause}"
            );
            at += seconds(pause);
        }
        let end = now + seconds(3600);
        assert_eq!(held.ask(end), waits(true));
        held.fail(REFUSED, Some(seconds(90)), end, 0.0);
        assert_eq!(held.ask(end + seconds(89)), fails());
        assert_eq!(held.ask(end + seconds(90)), waits(true));
    }

    #[test]
    fn a_refused_token_is_given_up_unless_it_is_fresh_or_another_one_is_held() {
        let (mut held, now) = (Held::default(), Instant::now());
        let (old, token) = (issued("old", 3600), issued("a", 3600));
        held.ask(now);
        held.land(&token, now, now);
        assert!(held.refuse(&old.bearer, now));
        assert!(!held.refuse(&token.bearer, now + seconds(10)));
        assert_eq!(held.ask(now + seconds(10)), has(&token, false));
        assert!(held.refuse(&token.bearer, now + seconds(11)));
        assert!(held.refuse(&token.bearer, now + seconds(11)));
        assert_eq!(held.ask(now + seconds(11)), waits(true));
        assert!(held.refuse(&token.bearer, now + seconds(11)));
        held.fail(REFUSED, None, now + seconds(11), 0.0);
        assert!(!held.refuse(&token.bearer, now + seconds(11)));
        assert!(held.refuse(&token.bearer, now + seconds(12)));
    }
}
