//! Throttle: how many reads a minute are answered, and what the others are told.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::standin::answer::Answer;
use crate::standin::locked::locked;

/// The time over which reads are counted.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// How a throttled answer says when to come back.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum ThrottleShape {
    /// `Retry-After` in seconds (throttling page).
    #[default]
    Seconds,
    /// `Retry-After` as a date (RFC 9110, section 10.2.3).
    Date,
    /// Only the text of the body says it.
    BodyOnly,
    /// `Retry-After` in seconds, with a body in the shape of all other errors.
    Fault,
}

/// A limit over a sliding minute; none at first.
#[derive(Default)]
pub struct Throttle {
    /// Without a limit a read pays for one load, not for a lock.
    limited: AtomicBool,
    reads: Mutex<Reads>,
}

#[derive(Default)]
struct Reads {
    per_minute: Option<u32>,
    shape: ThrottleShape,
    /// When the reads of the last minute were let through; no more than the limit.
    passed: VecDeque<Timestamp>,
}

impl Throttle {
    /// Sets the limit, or that there is none. The count begins anew.
    pub fn limit(&self, per_minute: Option<u32>) {
        let mut reads = locked(&self.reads);
        reads.per_minute = per_minute;
        reads.passed.clear();
        self.limited.store(per_minute.is_some(), Ordering::Release);
    }

    /// Sets how throttled answers look.
    pub fn shape(&self, shape: ThrottleShape) {
        locked(&self.reads).shape = shape;
    }

    /// Lets one read through.
    ///
    /// # Errors
    /// The 429 when there were enough within the minute before `now`.
    pub fn admit(&self, now: Timestamp) -> Result<(), Answer> {
        if !self.limited.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut reads = locked(&self.reads);
        let Some(per_minute) = reads.per_minute else { return Ok(()) };
        while reads.passed.front().is_some_and(|first| now.duration_since(*first) >= WINDOW) {
            reads.passed.pop_front();
        }
        if (reads.passed.len() as u64) < u64::from(per_minute) {
            reads.passed.push_back(now);
            return Ok(());
        }
        // With a limit of zero there is no read to wait for the end of.
        let first = reads.passed.front().copied().unwrap_or(now);
        Err(refusal(reads.shape, first, now))
    }
}

fn refusal(shape: ThrottleShape, first: Timestamp, now: Timestamp) -> Answer {
    let status = StatusCode::TOO_MANY_REQUESTS;
    let wait = WINDOW - now.duration_since(first);
    // Whole seconds, rounded up: whoever waits that long is let through.
    let seconds = wait.as_secs() + i64::from(wait.subsec_nanos() > 0);
    let text = format!("Rate limit is exceeded. Try again in {seconds} seconds.");
    let answer = match shape {
        ThrottleShape::Fault => Answer::fault(status, 429, &text),
        _ => Answer::json(status, &json!({ "statusCode": 429, "message": text })),
    };
    match shape {
        ThrottleShape::BodyOnly => answer,
        ThrottleShape::Date => answer.with(RETRY_AFTER, date(now, seconds)),
        ThrottleShape::Seconds | ThrottleShape::Fault => answer.with(RETRY_AFTER, HeaderValue::from(seconds)),
    }
}

/// The HTTP date `seconds` after `now`; it has whole seconds only, so one that is under way is waited for.
fn date(now: Timestamp, seconds: i64) -> HeaderValue {
    let rest = i64::from(now.subsec_nanosecond() > 0);
    let end = now.checked_add(SignedDuration::from_secs(seconds + rest)).unwrap_or(now);
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&end);
    let text = text.expect("a time of this century has an HTTP date");
    HeaderValue::from_str(&text).expect("an HTTP date is a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::standin::testing::body_of;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_750_000_000_000 + millis).unwrap()
    }

    #[test]
    fn reads_beyond_the_limit_wait_for_the_minute_to_pass() {
        let throttle = Throttle::default();
        assert!(throttle.admit(at(0)).is_ok());
        throttle.limit(Some(2));
        let rows =
            [(0, true), (20_500, true), (20_500, false), (59_999, false), (60_000, true), (60_001, false)];
        for (millis, passes) in rows {
            assert_eq!(throttle.admit(at(millis)).is_ok(), passes, "{millis}");
        }
        throttle.limit(None);
        assert!(throttle.admit(at(60_001)).is_ok());
        throttle.limit(Some(0));
        assert!(throttle.admit(at(60_001)).is_err());
    }

    #[test]
    fn a_throttled_answer_says_when_to_come_back() {
        let rows = [
            (ThrottleShape::Seconds, Some("40"), "message"),
            (ThrottleShape::Date, Some("Sun, 15 Jun 2025 15:07:41 GMT"), "message"),
            (ThrottleShape::BodyOnly, None, "message"),
            (ThrottleShape::Fault, Some("40"), "description"),
        ];
        for (shape, retry_after, member) in rows {
            let throttle = Throttle::default();
            throttle.limit(Some(1));
            throttle.shape(shape);
            throttle.admit(at(0)).unwrap();
            let answer = throttle.admit(at(20_500)).unwrap_err();
            assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
            let field = answer.fields.iter().find(|(name, _)| *name == RETRY_AFTER);
            assert_eq!(field.map(|(_, value)| value.to_str().unwrap()), retry_after, "{shape:?}");
            assert_eq!(
                body_of(&answer)[member],
                "Rate limit is exceeded. Try again in 40 seconds.",
                "{shape:?}"
            );
        }
    }
}
