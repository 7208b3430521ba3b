//! The guard: everything that a question to another server has to pass.

use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::remote::breaker::{Breaker, Pass};
use crate::remote::budget::Budget;
use crate::waiting::backoff::BACKOFF_MIN;

/// How much a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Questions a minute.
    pub per_minute: u32,
    /// The part of them that one caller may take, in percent.
    pub share_percent: u8,
    /// Different questions in a row that failed, after which it is left alone.
    pub failures_max: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { per_minute: 500, share_percent: 20, failures_max: 5 }
    }
}

/// Stands before a server: the pauses that it asks for, a breaker, a budget.
#[derive(Debug)]
pub struct Guard<K> {
    paused_until: Mutex<Option<Instant>>,
    breaker: Breaker,
    budget: Budget<K>,
}

/// Leave to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave {
    /// How long to wait before.
    pub wait: Duration,
    /// The breaker's.
    pass: Pass,
}

/// No leave to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why not.
    pub why: Why,
    /// When it may be tried again.
    pub retry_after: Duration,
}

/// Why a server is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It asked to be left alone.
    Paused,
    /// It keeps failing.
    Open,
    /// The budget, or the caller's share of it, is spent.
    Budget,
}

/// How a question ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer, whatever it says.
    Answered,
    /// With none, or with one of a server that is broken.
    Failed,
    /// With a 429 or 503 that says how long to wait (RFC 9110 section 10.2.3).
    Throttled(Duration),
}

impl<K: Copy + Eq + Hash> Guard<K> {
    /// A guard that nothing has passed yet. `jitter` draws a number from 0 to 1.
    pub fn new(limits: &Limits, jitter: fn() -> f64) -> Guard<K> {
        Guard {
            paused_until: Mutex::default(),
            breaker: Breaker::new(limits.failures_max, jitter),
            budget: Budget::new(limits.per_minute, limits.share_percent),
        }
    }

    /// Asks for leave for so many questions at once: for a caller, or for background work (`None`). The wait before them is
    /// at most `patience`. Whoever gets leave notes how each question ended.
    pub fn enter(
        &self,
        who: Option<K>,
        count: u32,
        now: Instant,
        patience: Duration,
    ) -> Result<Leave, Refused> {
        let pause = self.pause(now);
        if pause > patience {
            return Err(Refused { why: Why::Paused, retry_after: pause });
        }
        let open =
            |until: Instant| Refused { why: Why::Open, retry_after: until.saturating_duration_since(now) };
        // Looked at first and passed last: a probe that something else refuses would keep the breaker waiting.
        self.breaker.peek(now).map_err(open)?;
        let reserved = self.budget.reserve(who, count, now + pause, patience - pause);
        let more = reserved.map_err(|after| Refused { why: Why::Budget, retry_after: pause + after })?;
        // Where another one became the probe in between, a question of the budget is lost.
        let pass = self.breaker.admit(now).map_err(open)?;
        Ok(Leave { wait: pause + more, pass })
    }

    /// Whether a question may be asked once more at once, as the first time broke off. It counts, but waits for nothing:
    /// later ones wait longer for it.
    pub fn again(&self, now: Instant) -> bool {
        let is_paused = !self.pause(now).is_zero();
        if !is_paused {
            self.budget.charge(now);
        }
        !is_paused
    }

    /// Notes how a question about something ended.
    pub fn note(&self, leave: &Leave, now: Instant, about: u64, outcome: Outcome) {
        if let Outcome::Throttled(wait) = outcome {
            let mut paused_until = self.paused_until();
            *paused_until = (*paused_until).max(Some(now + wait));
            // What came together during the pause must not come at once after it.
            self.budget.spend_burst(now + wait);
        }
        // A server that says when to come back is not one that is broken.
        self.breaker.note(&leave.pass, now, about, outcome != Outcome::Failed);
    }

    /// Whether leave that was given holds still, after the wait that came with it.
    pub fn confirm(&self, leave: &Leave, now: Instant) -> Result<(), Refused> {
        let pause = self.pause(now);
        if !pause.is_zero() {
            return Err(Refused { why: Why::Paused, retry_after: pause });
        }
        match self.breaker.holds(&leave.pass) {
            true => Ok(()),
            false => Err(Refused { why: Why::Open, retry_after: BACKOFF_MIN }),
        }
    }

    /// Takes back leave that was not used: nobody waits for how it ends. What it took of the budget stays taken.
    pub fn withdraw(&self, leave: &Leave) {
        self.breaker.withdraw(&leave.pass);
    }

    /// Whether what is asked now is likely to go wrong: the last question did, or a pause is on.
    pub fn is_ailing(&self, now: Instant) -> bool {
        self.breaker.is_failing() || !self.pause(now).is_zero()
    }

    /// Whether it is left alone because it keeps failing.
    pub fn is_open(&self, now: Instant) -> bool {
        self.breaker.peek(now).is_err()
    }

    /// How much longer it asked to be left alone.
    fn pause(&self, now: Instant) -> Duration {
        (*self.paused_until()).map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    fn paused_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.paused_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Duration = Duration::ZERO;

    fn guard(limits: &Limits) -> Guard<u128> {
        Guard::new(limits, || 0.0)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Asks once, and is told to come back after so many seconds.
    fn throttled(guard: &Guard<u128>, now: Instant, after: u64) -> Leave {
        let leave = guard.enter(Some(1), 1, now, NONE).unwrap();
        guard.note(&leave, now, 0, Outcome::Throttled(seconds(after)));
        leave
    }

    fn refusal(guard: &Guard<u128>, now: Instant, patience: Duration) -> (Why, Duration) {
        let refused = guard.enter(Some(1), 1, now, patience).unwrap_err();
        (refused.why, refused.retry_after)
    }

    #[test]
    fn a_pause_is_waited_for_within_patience() {
        let (guard, now) = (guard(&Limits::default()), Instant::now());
        throttled(&guard, now, 5);
        assert_eq!(refusal(&guard, now, seconds(4)), (Why::Paused, seconds(5)));
        assert_eq!(guard.enter(Some(1), 1, now + seconds(2), seconds(4)).unwrap().wait, seconds(3));
        // What came together during the pause does not come at once after it.
        assert_eq!(refusal(&guard, now + seconds(5), NONE).0, Why::Budget);
        assert!(guard.enter(Some(1), 1, now + seconds(5), seconds(1)).unwrap().wait > NONE);
    }

    #[test]
    fn a_shorter_pause_does_not_end_a_longer_one() {
        let (guard, now) = (guard(&Limits::default()), Instant::now());
        let leave = throttled(&guard, now, 5);
        guard.note(&leave, now, 0, Outcome::Throttled(seconds(1)));
        guard.note(&leave, now, 0, Outcome::Answered);
        assert_eq!(refusal(&guard, now, NONE), (Why::Paused, seconds(5)));
    }

    #[test]
    fn after_a_pause_the_budget_still_holds() {
        let limits = Limits { per_minute: 10, share_percent: 100, ..Limits::default() };
        let (guard, now) = (guard(&limits), Instant::now());
        throttled(&guard, now, 5);
        let mut waits = Vec::new();
        let refused = loop {
            match guard.enter(Some(1), 1, now, seconds(20)) {
                Ok(leave) => waits.push(leave.wait),
                Err(refused) => break refused,
            }
        };
        assert_eq!(waits, [seconds(5), Duration::from_millis(12_500), seconds(20)]);
        assert_eq!(refused, Refused { why: Why::Budget, retry_after: Duration::from_millis(27_500) });
    }

    #[test]
    fn a_server_that_keeps_failing_is_left_alone_and_then_probed() {
        let (guard, now) = (guard(&Limits::default()), Instant::now());
        for about in 0..5 {
            let leave = guard.enter(Some(1), 1, now, NONE).unwrap();
            guard.note(&leave, now, about, Outcome::Failed);
        }
        assert_eq!(refusal(&guard, now, seconds(60)), (Why::Open, seconds(1)));
        let later = now + seconds(1);
        let probe = guard.enter(Some(1), 1, later, NONE).unwrap();
        assert_eq!(refusal(&guard, later, NONE).0, Why::Open);
        guard.note(&probe, later, 0, Outcome::Answered);
        assert!(guard.enter(Some(1), 1, later, NONE).is_ok());
    }

    #[test]
    fn a_probe_that_the_budget_refuses_is_no_probe() {
        let limits = Limits { per_minute: 1, failures_max: 1, ..Limits::default() };
        let (guard, now) = (guard(&limits), Instant::now());
        let leave = guard.enter(Some(1), 1, now, NONE).unwrap();
        guard.note(&leave, now, 0, Outcome::Failed);
        assert_eq!(refusal(&guard, now + seconds(2), NONE).0, Why::Budget);
        assert!(guard.enter(Some(1), 1, now + seconds(60), NONE).is_ok());
    }
}
