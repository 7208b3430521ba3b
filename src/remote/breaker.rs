//! The breaker: a server that keeps failing is left alone for a while, then asked once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::waiting::backoff::{BACKOFF_MIN, backoff};

/// How long the outcome of a probe is waited for before another one is let through: its task may have died.
const PROBE_MAX: Duration = Duration::from_secs(60);

/// The longest it stays open: a probe is one question, and whoever is not known waits for it.
const OPEN_MAX: Duration = Duration::from_secs(10);

/// Whether a server may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may. Whoever asks notes the outcome.
    Admitted,
    /// Not before a moment.
    Open {
        /// When to try again.
        until: Instant,
    },
}

/// A circuit breaker: closed, open after failures in a row, and half-open while one question probes.
#[derive(Debug)]
pub struct Breaker {
    failures_max: u32,
    jitter: fn() -> f64,
    state: Mutex<State>,
    /// How often it opened, ever.
    openings: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// Different questions that failed in a row: what is wrong with one thing that is asked for is not the server's fault.
    failed: Vec<u64>,
    /// How often it opened since it was last closed.
    opened: u32,
    /// Open, and until when.
    open_until: Option<Instant>,
    /// Half-open, and since when the probe is under way.
    probe_since: Option<Instant>,
}

impl Breaker {
    /// A closed breaker that opens after `failures_max` different questions in a row failed (at least one). `jitter` draws a number from 0
    /// to 1.
    pub fn new(failures_max: u32, jitter: fn() -> f64) -> Breaker {
        let failures_max = failures_max.max(1);
        Breaker { failures_max, jitter, state: Mutex::default(), openings: AtomicU64::new(0) }
    }

    /// Whether a question may be asked; in a half-open breaker it is the probe then.
    pub fn admit(&self, now: Instant) -> Admission {
        let mut state = self.state();
        let admission = state.admission(now);
        if admission == Admission::Admitted && state.open_until.is_some() {
            state.probe_since = Some(now);
        }
        admission
    }

    /// What [`admit`](Breaker::admit) would answer. It changes nothing.
    pub fn peek(&self, now: Instant) -> Admission {
        self.state().admission(now)
    }

    /// Notes how a question about something ended.
    pub fn note(&self, now: Instant, about: u64, ok: bool) {
        let mut state = self.state();
        if ok {
            *state = State::default();
            return;
        }
        if state.open_until.is_some() && state.probe_since.is_none() {
            // Asked before it opened: that it fails too says nothing new.
            return;
        }
        if !state.failed.contains(&about) && state.failed.len() < self.failures_max as usize {
            state.failed.push(about);
        }
        if state.probe_since.take().is_some() || state.failed.len() >= self.failures_max as usize {
            state.opened = state.opened.saturating_add(1);
            state.open_until = Some(now + backoff(state.opened, (self.jitter)()).min(OPEN_MAX));
            self.openings.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Takes back a question that was admitted and not asked: another one may be the probe.
    pub fn withdraw(&self) {
        self.state().probe_since = None;
    }

    /// How often it opened so far: who was admitted before and has not asked yet should not.
    pub fn openings(&self) -> u64 {
        self.openings.load(Ordering::Acquire)
    }

    /// Whether the last question failed.
    pub fn is_failing(&self) -> bool {
        !self.state().failed.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn admission(&self, now: Instant) -> Admission {
        match (self.open_until, self.probe_since) {
            (None, _) => Admission::Admitted,
            (Some(until), None) if now < until => Admission::Open { until },
            (Some(_), None) => Admission::Admitted,
            (Some(_), Some(since)) => match since + PROBE_MAX {
                lost if now < lost => Admission::Open { until: lost.min(now + BACKOFF_MIN) },
                _ => Admission::Admitted,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another question each time.
    fn next() -> u64 {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        COUNT.fetch_add(1, Ordering::Relaxed)
    }

    #[test]
    fn one_thing_that_can_not_be_asked_for_opens_nothing() {
        let now = Instant::now();
        let breaker = Breaker::new(5, || 0.0);
        for about in (0..4).cycle().take(100) {
            assert_eq!(breaker.admit(now), Admission::Admitted);
            breaker.note(now, about, false);
        }
        breaker.note(now, 4, false);
        assert_ne!(breaker.admit(now), Admission::Admitted);
    }

    fn after(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn opened(now: Instant) -> Breaker {
        let breaker = Breaker::new(5, || 0.0);
        for _ in 0..5 {
            assert_eq!(breaker.admit(now), Admission::Admitted);
            breaker.note(now, next(), false);
        }
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let now = Instant::now();
        let breaker = Breaker::new(5, || 0.0);
        for ok in [false, false, false, false, true, false, false, false, false] {
            assert_eq!(breaker.admit(now), Admission::Admitted);
            breaker.note(now, next(), ok);
        }
        assert_eq!(breaker.admit(now), Admission::Admitted);
        breaker.note(now, next(), false);
        assert_eq!(breaker.admit(now), Admission::Open { until: now + after(1.0) });
    }

    #[test]
    fn one_probe_goes_through_and_its_success_closes_it() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + after(1.0);
        assert_eq!(breaker.peek(later), Admission::Admitted);
        assert_eq!(breaker.admit(later), Admission::Admitted);
        assert_eq!(breaker.admit(later), Admission::Open { until: later + after(1.0) });
        breaker.note(later, next(), true);
        assert_eq!(breaker.admit(later), Admission::Admitted);
        assert_eq!(breaker.admit(later), Admission::Admitted);
    }

    #[test]
    fn each_failed_probe_opens_it_for_longer() {
        let mut now = Instant::now();
        let breaker = opened(now);
        for seconds in [1.0, 2.0, 4.0, 8.0, 10.0, 10.0] {
            let until = now + after(seconds);
            assert_eq!(breaker.admit(until - after(0.001)), Admission::Open { until });
            now = until;
            assert_eq!(breaker.admit(now), Admission::Admitted);
            breaker.note(now, next(), false);
        }
    }

    #[test]
    fn questions_that_were_under_way_when_it_opened_do_not_hold_it_open() {
        let now = Instant::now();
        let breaker = opened(now);
        breaker.note(now + after(0.9), next(), false);
        assert_eq!(breaker.admit(now + after(1.0)), Admission::Admitted);
    }

    #[test]
    fn a_probe_that_is_never_noted_is_followed_by_another() {
        let now = Instant::now();
        let breaker = opened(now);
        let probed = now + after(1.0);
        assert_eq!(breaker.admit(probed), Admission::Admitted);
        assert!(matches!(breaker.admit(probed + after(59.9)), Admission::Open { .. }));
        assert_eq!(breaker.admit(probed + after(60.0)), Admission::Admitted);
        assert!(matches!(breaker.admit(probed + after(60.0)), Admission::Open { .. }));
    }

    #[test]
    fn jitter_shortens_the_time_that_it_is_open() {
        let now = Instant::now();
        let breaker = Breaker::new(1, || 1.0);
        breaker.note(now, next(), false);
        assert_eq!(breaker.admit(now), Admission::Open { until: now + after(0.75) });
    }
}
