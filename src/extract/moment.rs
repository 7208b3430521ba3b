//! Moments: as Partner Center writes them, with a zone or without one.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A moment with a zone, or without one in UTC; or a day alone, from its beginning.
pub fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let local: DateTime = text.parse().ok()?;
    Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp())
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
