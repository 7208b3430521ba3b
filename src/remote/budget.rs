//! The budget: how many questions a minute a server is asked, and what part of them for one caller.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The window that `per_minute` is about.
const WINDOW: Duration = Duration::from_secs(60);
/// What one caller may ask at once at least: about a reseller and a customer, with one to spare.
const OWN_BURST_MIN: u32 = 4;
/// How many callers are told apart at a time.
const CALLERS_MAX: usize = 10_000;

/// A budget of questions, kept by the generic cell rate algorithm (ITU-T I.371 annex A, the virtual scheduling form).
///
/// A bucket's level is one moment: when it will be full again. A question moves it on by one interval and may be asked
/// once it is no further away than the tolerance. So of any two questions that are `n` apart in the order of
/// reservation, the later one comes at least `n` intervals less the tolerance after the other: no window of a minute
/// holds more than the burst and what a minute adds, which together are `per_minute`.
#[derive(Debug)]
pub struct Budget<K> {
    all: Bucket,
    each: Bucket,
    /// What background work may take of the burst.
    background: Duration,
    levels: Mutex<Levels<K>>,
}

/// How a bucket fills.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// The time that brings one more question.
    interval: Duration,
    /// How far ahead of that time questions may be: the burst less one, in intervals.
    tolerance: Duration,
}

#[derive(Debug)]
struct Levels<K> {
    /// When the bucket of all is full again; in the past once it is.
    all: Option<Instant>,
    /// The same for each caller's.
    each: HashMap<K, Instant>,
}

impl<K: Copy + Eq + Hash> Budget<K> {
    /// A budget of `per_minute` questions (at least one), of which a fifth may come at once, and of `share_percent` (1 to
    /// 100) of both for each caller, but never less than four at once.
    ///
    /// Below four a minute there is no burst: they are spread evenly. Below 120 or so the four at once of a few callers are
    /// the burst of all, and callers make each other wait.
    pub fn new(per_minute: u32, share_percent: u8) -> Budget<K> {
        let per_minute = per_minute.max(1);
        let share = u32::from(share_percent.clamp(1, 100));
        let burst = if per_minute < 4 { 1 } else { (per_minute / 5).max(2) };
        let spread = (per_minute - burst).max(1);
        let interval = WINDOW.as_nanos() as u64;
        let all = Bucket::new(interval.div_ceil(u64::from(spread)), burst);
        let own_burst =
            (u64::from(burst) * u64::from(share) / 100).max(OWN_BURST_MIN.min(burst).into()) as u32;
        let own_interval = (interval * 100).div_ceil(u64::from(spread) * u64::from(share));
        let each = Bucket::new(own_interval, own_burst);
        let background = all.interval * (burst / 2).saturating_sub(1);
        Budget { all, each, background, levels: Mutex::new(Levels { all: None, each: HashMap::new() }) }
    }

    /// Reserves a question if it may be asked within `patience`; the answer is how long to wait before it is asked. The
    /// error is after what time there is a place for it, where nothing was reserved.
    ///
    /// Background work (`None`) never waits: it takes a place only while it leaves half of the burst to callers.
    ///
    /// A caller's share counts only where others may want the rest: what leaves half of the burst is nobody's in
    /// particular.
    pub fn reserve(
        &self,
        who: Option<K>,
        count: u32,
        now: Instant,
        patience: Duration,
    ) -> Result<Duration, Duration> {
        let mut levels = self.levels();
        let more = count.saturating_sub(1);
        if self.all.interval * more > self.all.tolerance {
            // More at once than ever come together.
            return Err(WINDOW);
        }
        // The last of several has to fit as the first would.
        let left = |bucket: &Bucket, tolerance: Duration| tolerance.saturating_sub(bucket.interval * more);
        let surplus = wait(levels.all, now, left(&self.all, self.background));
        if surplus.is_zero() {
            levels.all = Some(self.all.after(levels.all, count, now));
            return Ok(Duration::ZERO);
        }
        let Some(who) = who else { return Err(surplus) };
        let own = levels.each.get(&who).copied();
        let wait = wait(levels.all, now, left(&self.all, self.all.tolerance)).max(wait(
            own,
            now,
            left(&self.each, self.each.tolerance),
        ));
        if wait > patience {
            return Err(wait);
        }
        if own.is_none() && !levels.make_room(now) {
            return Err(self.each.interval);
        }
        // Both move on from when it is asked. Counted from now, a question that waits for its caller's bucket would be
        // one too many in a window that begins in between.
        let asked = now + wait;
        levels.all = Some(self.all.after(levels.all, count, asked));
        levels.each.insert(who, self.each.after(own, count, asked));
        Ok(wait)
    }

    /// Takes a place that there may not be: for one question that can not wait.
    pub fn charge(&self, now: Instant) {
        let mut levels = self.levels();
        levels.all = Some(self.all.after(levels.all, 1, now));
    }

    /// Leaves nothing of the burst at a moment: from then on only the steady rate follows.
    pub fn spend_burst(&self, at: Instant) {
        let mut levels = self.levels();
        levels.all = levels.all.max(Some(at + self.all.tolerance));
    }

    fn levels(&self) -> MutexGuard<'_, Levels<K>> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    fn new(interval_ns: u64, burst: u32) -> Bucket {
        let interval = Duration::from_nanos(interval_ns);
        Bucket { interval, tolerance: interval * (burst - 1) }
    }

    /// The level after so many more questions.
    fn after(&self, level: Option<Instant>, count: u32, asked: Instant) -> Instant {
        level.map_or(asked, |level| level.max(asked)) + self.interval * count
    }
}

/// How long until a bucket is full but for the tolerance.
fn wait(level: Option<Instant>, now: Instant, tolerance: Duration) -> Duration {
    level.map_or(Duration::ZERO, |level| level.saturating_duration_since(now).saturating_sub(tolerance))
}

impl<K: Copy + Eq + Hash> Levels<K> {
    /// Whether one more caller can be told apart. Those whose buckets are full again are as good as new: they go first.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.each.len() >= CALLERS_MAX {
            self.each.retain(|_, level| *level > now);
        }
        self.each.len() < CALLERS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    const NONE: Duration = Duration::ZERO;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_is_spread() {
        let now = Instant::now();
        let budget = Budget::new(500, 100);
        for count in 0..100 {
            assert_eq!(budget.reserve(Some(1u128), 1, now, NONE), Ok(NONE), "{count}");
        }
        assert_eq!(budget.reserve(Some(1), 1, now, ms(149)), Err(ms(150)));
        assert_eq!(budget.reserve(Some(1), 1, now, ms(150)), Ok(ms(150)));
        assert_eq!(budget.reserve(Some(1), 1, now, ms(500)), Ok(ms(300)));
    }

    #[test]
    fn one_caller_takes_what_is_left_over_and_its_share_and_leaves_the_rest() {
        let now = Instant::now();
        let budget = Budget::new(500, 20);
        // Half of the burst is nobody's in particular; of the other half a caller has a fifth of the whole.
        for _ in 0..50 + 20 {
            assert_eq!(budget.reserve(Some(1u128), 1, now, NONE), Ok(NONE));
        }
        assert_eq!(budget.reserve(Some(1), 1, now, NONE), Err(ms(750)));
        assert_eq!(budget.reserve(Some(2), 1, now, NONE), Ok(NONE));
    }

    #[test]
    fn background_work_leaves_half_of_the_burst_and_never_waits() {
        let now = Instant::now();
        let budget = Budget::new(500, 100);
        for _ in 0..50 {
            assert_eq!(budget.reserve(None, 1, now, ms(10_000)), Ok(NONE));
        }
        assert_eq!(budget.reserve(None, 1, now, ms(10_000)), Err(ms(150)));
        for _ in 0..50 {
            assert_eq!(budget.reserve(Some(1u128), 1, now, NONE), Ok(NONE));
        }
        assert!(budget.reserve(Some(1), 1, now, NONE).is_err());
    }

    #[test]
    fn callers_beyond_those_that_can_be_told_apart_wait_until_buckets_are_full() {
        let now = Instant::now();
        let budget = Budget::new(u32::MAX, 1);
        budget.spend_burst(now - WINDOW / 10);
        for who in 0..CALLERS_MAX as u128 {
            assert_eq!(budget.reserve(Some(who), 1, now, NONE), Ok(NONE), "{who}");
        }
        let new = Some(u128::MAX);
        let after = budget.reserve(new, 1, now, NONE).unwrap_err();
        assert_eq!(budget.reserve(Some(7), 1, now, NONE), Ok(NONE));
        assert_eq!(budget.reserve(new, 1, now + after, NONE), Ok(NONE));
        assert_eq!(budget.levels().each.len(), 2);
    }

    /// Who asks (background for 0), how long after the one before, and with what patience; in milliseconds.
    fn asks() -> impl Strategy<Value = Vec<(u128, u64, u64)>> {
        let pause = prop_oneof![4 => Just(0u64), 3 => 0u64..500, 1 => 0u64..20_000];
        prop::collection::vec((0u128..6, pause, 0u64..5_000), 1..400)
    }

    proptest! {
        #[test]
        fn no_window_exceeds_the_budget(per_minute in 1u32..400, share in 1u8..=100, asks in asks()) {
            let budget = Budget::new(per_minute, share);
            let mut now = Instant::now();
            let mut asked = Vec::new();
            for (who, pause, patience) in asks {
                now += ms(pause);
                // Some ask two questions at once.
                let count = (1 + pause % 2) as u32;
                if let Ok(wait) = budget.reserve((who > 0).then_some(who), count, now, ms(patience)) {
                    prop_assert!(wait <= ms(patience));
                    asked.extend(std::iter::repeat_n(now + wait, count as usize));
                }
            }
            asked.sort();
            for (index, begin) in asked.iter().enumerate() {
                let count = asked[index..].iter().take_while(|moment| **moment < *begin + WINDOW).count();
                prop_assert!(count <= per_minute as usize, "{count} in a minute");
            }
        }

        #[test]
        fn a_greedy_caller_makes_nobody_within_a_share_wait_beyond_patience(
            per_minute in 60u32..1000,
            patience in 0u64..5_000,
            pauses in prop::collection::vec(0u64..2_000, 1..200),
        ) {
            let budget = Budget::new(per_minute, 20);
            let own = budget.each.interval;
            let (mut now, mut last) = (Instant::now(), None::<Instant>);
            for pause in pauses {
                now += ms(pause);
                while budget.reserve(Some(1u128), 1, now, ms(patience)).is_ok() {}
                // Another one, never faster than its share.
                if last.is_none_or(|last| now >= last + own) {
                    let waited = budget.reserve(Some(2), 1, now, ms(patience));
                    prop_assert!(waited.is_ok(), "{waited:?}");
                    last = Some(now);
                }
            }
        }

        #[test]
        fn a_refusal_reserves_nothing(per_minute in 1u32..400, share in 1u8..=100, asks in asks()) {
            let (one, other) = (Budget::new(per_minute, share), Budget::new(per_minute, share));
            let mut now = Instant::now();
            for (who, pause, patience) in asks {
                now += ms(pause);
                let who = (who > 0).then_some(who);
                let asked = one.reserve(who, 1, now, ms(patience));
                match asked {
                    Ok(_) => prop_assert_eq!(other.reserve(who, 1, now, ms(patience)), asked),
                    // Asked again at once, the answer is the same; the other budget never hears of it.
                    Err(_) => prop_assert_eq!(one.reserve(who, 1, now, ms(patience)), asked),
                }
            }
        }
    }
}
