//! Moments: as Partner Center writes them, with a zone or without one.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A moment with a zone, or without one in UTC; or a day alone, from its beginning.
pub fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let local: DateTime = text.parse().ok()?;
    Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// How far ahead of ours the clock may be that dated an acceptance.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(5);

/// Whether a date is ahead of any clock.
pub fn is_future(at: Timestamp, now: Timestamp) -> bool {
    at.duration_since(now) > CLOCKS_DIFFER
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn a_moment_without_a_zone_is_in_utc() {
        let expected = moment("2019-08-26T00:00:00Z");
        assert!(expected.is_some());
        for text in
            ["2019-08-26T00:00:00", "2019-08-26T02:00:00+02:00", "2019-08-26", "2019-08-26T00:00:00.000"]
        {
            assert_eq!(moment(text), expected, "{text}");
        }
        for text in ["", "yesterday", "2019-13-01", "26.08.2019", "1566777600"] {
            assert_eq!(moment(text), None, "{text}");
        }
    }
}
