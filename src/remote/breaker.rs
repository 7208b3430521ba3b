//! The breaker: a server that keeps failing is left alone for a while, then asked once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::waiting::backoff::{BACKOFF_MIN, backoff};

/// How long the outcome of a probe is waited for before another one is let through: its task may have died.
const PROBE_MAX: Duration = Duration::from_secs(60);

/// The longest it stays open: a probe is one question, and whoever is not known waits for it.
const OPEN_MAX: Duration = Duration::from_secs(10);

/// Admission to ask: whoever has it notes how the question ended, or gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// How often the breaker had opened.
    openings: u64,
    /// Which probe it is, in a half-open breaker.
    probe: Option<u64>,
}

/// A circuit breaker: closed, open after failures in a row, and half-open while one question probes.
#[derive(Debug)]
pub struct Breaker {
    failures_max: u32,
    jitter: fn() -> f64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Different questions that failed in a row: what is wrong with one thing that is asked for is not the server's fault.
    failed: Vec<u64>,
    /// How often it opened since it was last closed.
    opened: u32,
    /// Open, and until when.
    open_until: Option<Instant>,
    /// Half-open: which probe is under way, and since when.
    probe: Option<(u64, Instant)>,
    /// How often it opened, ever.
    openings: u64,
    /// How many probes there were, ever.
    probes: u64,
}

impl Breaker {
    /// A closed breaker that opens after `failures_max` different questions in a row failed (at least one). `jitter` draws
    /// a number from 0 to 1.
    pub fn new(failures_max: u32, jitter: fn() -> f64) -> Breaker {
        Breaker { failures_max: failures_max.max(1), jitter, state: Mutex::default() }
    }

    /// Whether a question may be asked; in a half-open breaker it is the probe then. The error is when to try again.
    pub fn admit(&self, now: Instant) -> Result<Pass, Instant> {
        let mut state = self.state();
        state.closed(now)?;
        let mut probe = None;
        if state.open_until.is_some() {
            state.probes += 1;
            probe = Some(state.probes);
            state.probe = probe.map(|number| (number, now));
        }
        Ok(Pass { openings: state.openings, probe })
    }

    /// Whether [`admit`](Breaker::admit) would admit. It changes nothing.
    pub fn peek(&self, now: Instant) -> Result<(), Instant> {
        self.state().closed(now)
    }

    /// Notes how a question about something ended.
    pub fn note(&self, pass: &Pass, now: Instant, about: u64, ok: bool) {
        let mut state = self.state();
        if ok {
            *state = State { openings: state.openings, probes: state.probes, ..State::default() };
            return;
        }
        let is_probe = state.is_probe(pass);
        if !is_probe && (state.open_until.is_some() || pass.openings != state.openings) {
            // Asked before it opened: that it fails too says nothing new.
            return;
        }
        let is_known = state.failed.contains(&about);
        if !is_known && state.failed.len() < self.failures_max as usize {
            state.failed.push(about);
        }
        if is_probe || state.failed.len() >= self.failures_max as usize {
            // What was known to fail says nothing more of the server.
            if !is_known || state.opened == 0 {
                state.opened = state.opened.saturating_add(1);
            }
            state.open_until = Some(now + backoff(state.opened, (self.jitter)()).min(OPEN_MAX));
            state.probe = None;
            state.openings += 1;
        }
    }

    /// Takes back a question that was admitted and not asked: where it was the probe, another one may be.
    pub fn withdraw(&self, pass: &Pass) {
        let mut state = self.state();
        if state.is_probe(pass) {
            state.probe = None;
        }
    }

    /// Whether who was admitted and has not asked yet still may: it did not open since.
    pub fn holds(&self, pass: &Pass) -> bool {
        self.state().openings == pass.openings
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
    fn closed(&self, now: Instant) -> Result<(), Instant> {
        match (self.open_until, self.probe) {
            (None, _) => Ok(()),
            (Some(until), None) if now < until => Err(until),
            (Some(_), None) => Ok(()),
            (Some(_), Some((_, since))) => match since + PROBE_MAX {
                lost if now < lost => Err(lost.min(now + BACKOFF_MIN)),
                _ => Ok(()),
            },
        }
    }

    fn is_probe(&self, pass: &Pass) -> bool {
        pass.probe.is_some_and(|number| self.probe.is_some_and(|(current, _)| current == number))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Another question each time.
    fn next() -> u64 {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        COUNT.fetch_add(1, Ordering::Relaxed)
    }

    fn after(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Asks something new, and notes how it ended.
    fn ask(breaker: &Breaker, now: Instant, ok: bool) {
        breaker.note(&breaker.admit(now).unwrap(), now, next(), ok);
    }

    fn opened(now: Instant) -> Breaker {
        let breaker = Breaker::new(5, || 0.0);
        (0..5).for_each(|_| ask(&breaker, now, false));
        breaker
    }

    #[test]
    fn one_thing_that_can_not_be_asked_for_opens_nothing() {
        let now = Instant::now();
        let breaker = Breaker::new(5, || 0.0);
        for about in (0..4).cycle().take(100) {
            breaker.note(&breaker.admit(now).unwrap(), now, about, false);
        }
        breaker.note(&breaker.admit(now).unwrap(), now, 4, false);
        assert!(breaker.admit(now).is_err());
    }

    #[test]
    fn one_thing_that_can_not_be_asked_for_does_not_open_it_for_longer() {
        let now = Instant::now();
        let breaker = Breaker::new(1, || 0.0);
        for second in 0..10 {
            let now = now + after(f64::from(second));
            breaker.note(&breaker.admit(now).unwrap(), now, 7, false);
            assert_eq!(breaker.peek(now), Err(now + after(1.0)));
        }
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let now = Instant::now();
        let breaker = Breaker::new(5, || 0.0);
        for ok in [false, false, false, false, true, false, false, false, false] {
            ask(&breaker, now, ok);
        }
        assert!(breaker.peek(now).is_ok());
        ask(&breaker, now, false);
        assert_eq!(breaker.admit(now), Err(now + after(1.0)));
    }

    #[test]
    fn one_probe_goes_through_and_its_success_closes_it() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + after(1.0);
        assert!(breaker.peek(later).is_ok());
        let probe = breaker.admit(later).unwrap();
        assert_eq!(breaker.admit(later), Err(later + after(1.0)));
        breaker.note(&probe, later, next(), true);
        assert!(breaker.admit(later).is_ok());
        assert!(breaker.admit(later).is_ok());
    }

    #[test]
    fn each_failed_probe_opens_it_for_longer() {
        let mut now = Instant::now();
        let breaker = opened(now);
        for seconds in [1.0, 2.0, 4.0, 8.0, 10.0, 10.0] {
            let until = now + after(seconds);
            assert_eq!(breaker.admit(until - after(0.001)), Err(until));
            now = until;
            ask(&breaker, now, false);
        }
    }

    #[test]
    fn questions_that_were_under_way_when_it_opened_do_not_hold_it_open() {
        let now = Instant::now();
        let breaker = Breaker::new(5, || 0.0);
        let early = breaker.admit(now).unwrap();
        (0..5).for_each(|_| ask(&breaker, now, false));
        breaker.note(&early, now + after(0.9), next(), false);
        let probe = breaker.admit(now + after(1.0)).unwrap();
        // Nor are they taken for the probe, by how they end or because they are given up.
        breaker.note(&early, now + after(1.1), next(), false);
        breaker.withdraw(&early);
        assert!(breaker.peek(now + after(1.2)).is_err());
        assert!(breaker.holds(&probe) && !breaker.holds(&early));
        breaker.note(&probe, now + after(1.3), next(), true);
        breaker.note(&early, now + after(1.4), next(), false);
        assert!(!breaker.is_failing());
    }

    #[test]
    fn a_probe_that_is_given_up_is_followed_by_another() {
        let now = Instant::now();
        let breaker = opened(now);
        let later = now + after(1.0);
        let probe = breaker.admit(later).unwrap();
        assert!(breaker.peek(later).is_err());
        breaker.withdraw(&probe);
        assert!(breaker.peek(later).is_ok());
    }

    #[test]
    fn a_probe_that_is_never_noted_is_followed_by_another() {
        let now = Instant::now();
        let breaker = opened(now);
        let probed = now + after(1.0);
        assert!(breaker.admit(probed).is_ok());
        assert!(breaker.admit(probed + after(59.9)).is_err());
        assert!(breaker.admit(probed + after(60.0)).is_ok());
        assert!(breaker.admit(probed + after(60.0)).is_err());
    }

    #[test]
    fn jitter_shortens_the_time_that_it_is_open() {
        let now = Instant::now();
        let breaker = Breaker::new(1, || 1.0);
        ask(&breaker, now, false);
        assert_eq!(breaker.admit(now), Err(now + after(0.75)));
    }
}
