//! Time: read once a request and passed on as a value.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// The clock that goes on while the machine sleeps; the monotonic one where a system has no such clock.
#[cfg(target_os = "linux")]
const UPTIME: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const UPTIME: ClockId = ClockId::Monotonic;

/// Nanoseconds since the machine was started, with the time that it slept (`CLOCK_BOOTTIME`). A moment before the start
/// has a negative one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uptime(i64);

impl Uptime {
    fn read() -> Uptime {
        let read = clock_gettime(UPTIME);
        Uptime(read.tv_sec * 1_000_000_000 + read.tv_nsec)
    }

    /// The moment this much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Uptime {
        Uptime(self.0.saturating_add(nanoseconds(duration)))
    }

    /// The moment this much earlier.
    #[must_use]
    pub fn before(self, duration: Duration) -> Uptime {
        Uptime(self.0.saturating_sub(nanoseconds(duration)))
    }

    /// The time since an earlier moment; zero where it is none.
    pub fn since(self, earlier: Uptime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0).max(0).cast_unsigned())
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A moment whose age is asked for later, on the two clocks that go on while the machine sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Wall-clock time. It may be set, forwards and backwards.
    pub wall: Timestamp,
    /// Time since the start of the machine. It tells which of two moments is the later one.
    pub uptime: Uptime,
}

/// One moment, on every clock.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Wall-clock time: for rules, tokens and records.
    pub wall: Timestamp,
    /// Monotonic time, which stands still while the machine sleeps: for deadlines and durations.
    pub mono: Instant,
    /// Time since the start of the machine: for the age of what is known.
    pub uptime: Uptime,
}

impl Now {
    /// This moment.
    pub fn read() -> Now {
        Now { wall: Timestamp::now(), mono: Instant::now(), uptime: Uptime::read() }
    }

    /// A moment of the wall clock, for what is judged as of then and has no age.
    pub fn standing(wall: Timestamp) -> Now {
        Now { wall, ..Now::read() }
    }

    /// This moment, for asking its age later.
    pub fn moment(self) -> Moment {
        Moment { wall: self.wall, uptime: self.uptime }
    }

    /// The age of a moment: what the clock says that shows more. A wall clock that was set back makes nothing younger,
    /// nor does a machine that was suspended in a way that only the wall clock shows.
    pub fn age(self, moment: Moment) -> Duration {
        let wall = Duration::try_from(self.wall.duration_since(moment.wall)).unwrap_or_default();
        self.uptime.since(moment.uptime).max(wall)
    }

    /// The moment that was this wall-clock time; it may be before the start of the machine.
    pub fn at_wall(self, wall: Timestamp) -> Moment {
        let ago = Duration::try_from(self.wall.duration_since(wall)).unwrap_or_default();
        Moment { wall, uptime: self.uptime.before(ago) }
    }

    /// A moment's wall-clock time by the wall clock of now. It differs from `moment.wall` where that clock was set since.
    pub fn wall_of(self, moment: Moment) -> Timestamp {
        let age = SignedDuration::try_from(self.age(moment)).unwrap_or(SignedDuration::MAX);
        self.wall.checked_sub(age).unwrap_or(Timestamp::MIN).min(moment.wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_what_the_clock_says_that_shows_more() {
        let then = Now::read();
        let moment = then.moment();
        let at = |wall: i64, uptime: u64| Now {
            wall: then.wall + SignedDuration::from_secs(wall),
            uptime: then.uptime.after(Duration::from_secs(uptime)),
            ..then
        };
        for (row, now, age, wall) in [
            ("time passed", at(60, 60), 60, 0),
            ("the machine slept, and no other clock shows it", at(7200, 60), 7200, 0),
            ("the wall clock was set back", at(-7200, 60), 60, -7260),
            ("it was set back while the machine slept", at(-10, 7200), 7200, -7210),
            ("both were set back", at(-10, 0), 0, -10),
        ] {
            assert_eq!(now.age(moment), Duration::from_secs(age), "{row}");
            assert_eq!(now.wall_of(moment), then.wall + SignedDuration::from_secs(wall), "{row}");
        }
        let earlier = then.wall - SignedDuration::from_hours(24 * 365);
        let before = then.at_wall(earlier);
        assert_eq!(then.age(before), Duration::from_secs(24 * 3600 * 365));
        assert_eq!(then.wall_of(before), earlier);
        assert!(before.uptime < moment.uptime);
    }

    #[test]
    fn the_clocks_go_on() {
        let then = Now::read();
        let now = Now::read();
        assert!(now.uptime >= then.uptime && now.mono >= then.mono);
    }
}
