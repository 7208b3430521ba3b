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
/// The clock furthest east of UTC: an hour that is written without a zone may be as many hours ago.
const EASTERNMOST: SignedDuration = SignedDuration::from_hours(14);
/// The first moment after the beginning of 1900 in every zone: 1900-01-03T00:00:00Z.
const SET_SINCE: Timestamp = Timestamp::constant(-2_208_816_000, 0);

/// Whether a date is ahead of any clock.
pub fn is_future(at: Timestamp, now: Timestamp) -> bool {
    at.duration_since(now) > CLOCKS_DIFFER
}

/// When an agreement was accepted, as far as a date tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptedAt {
    /// At this moment.
    Exactly(Timestamp),
    /// Not before this moment: the date has no zone, and is today's only in zones east of UTC.
    NotBefore(Timestamp),
}

impl AcceptedAt {
    /// The moment that is no later than the acceptance.
    pub fn earliest(self) -> Timestamp {
        match self {
            AcceptedAt::Exactly(at) | AcceptedAt::NotBefore(at) => at,
        }
    }
}

/// The reason why a date is none of an acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAcceptance {
    /// It cannot be read.
    Unreadable,
    /// It is the date of a field that nobody has set.
    Unset,
    /// It lies in the future.
    Future,
}

/// The date of an acceptance, from a text. A date without a zone is read in UTC. One that lies ahead of our clock was
/// written east of UTC, where it may be up to 14 hours later: by so much it is read earlier, which is certain to be no
/// later than the acceptance.
pub fn accepted_at(text: &str, now: Timestamp) -> Result<AcceptedAt, NoAcceptance> {
    let at = moment(text).ok_or(NoAcceptance::Unreadable)?;
    let has_zone = || text.parse::<Timestamp>().is_ok();
    match acceptance(at, now) {
        Err(NoAcceptance::Future) if at.duration_since(now) <= EASTERNMOST && !has_zone() => {
            Ok(AcceptedAt::NotBefore(at - EASTERNMOST))
        }
        checked => checked.map(AcceptedAt::Exactly),
    }
}

/// The date of an acceptance, from a moment: neither of the future (five minutes are left to clocks that differ) nor
/// unset. Programs write 0001-01-01, 1601-01-01, 1900-01-01 or 1970-01-01 for a date that nobody has set, and zones
/// shift it by up to 14 hours: whatever lies before 1900-01-03, or at most 14 hours from the beginning of 1970, is unset.
pub fn acceptance(at: Timestamp, now: Timestamp) -> Result<Timestamp, NoAcceptance> {
    if at < SET_SINCE || at.duration_since(Timestamp::UNIX_EPOCH).abs() <= EASTERNMOST {
        return Err(NoAcceptance::Unset);
    }
    match is_future(at, now) {
        true => Err(NoAcceptance::Future),
        false => Ok(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_date_is_one_of_an_acceptance_or_it_is_told_why_not() {
        use AcceptedAt::{Exactly, NotBefore};
        use NoAcceptance::{Future, Unreadable, Unset};
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = time("2026-11-27T19:30:00Z");
        let exactly = |text: &str| Ok(Exactly(time(text)));
        let not_before = |text: &str| Ok(NotBefore(time(text)));
        for (text, expected) in [
            ("2019-08-26T00:00:00", exactly("2019-08-26T00:00:00Z")),
            ("2019-08-26T00:00:00+02:00", exactly("2019-08-25T22:00:00Z")),
            ("2026-11-27T19:30:00", exactly("2026-11-27T19:30:00Z")),
            ("2026-11-27", exactly("2026-11-27T00:00:00Z")),
            ("", Err(Unreadable)),
            ("yesterday", Err(Unreadable)),
            ("0000-00-00T00:00:00", Err(Unreadable)),
            ("9999-12-31T23:59:59", Err(Unreadable)),
            // Unset, however a zone has shifted it.
            ("0001-01-01T00:00:00", Err(Unset)),
            ("0001-01-01T00:00:00Z", Err(Unset)),
            ("0001-01-01T00:00:00+14:00", Err(Unset)),
            ("0001-01-01", Err(Unset)),
            ("1601-01-01T00:00:00Z", Err(Unset)),
            ("1600-12-31T16:00:00-08:00", Err(Unset)),
            ("1753-01-01T00:00:00", Err(Unset)),
            ("1899-12-30T00:00:00", Err(Unset)),
            ("1900-01-01T00:00:00", Err(Unset)),
            ("1900-01-01T14:00:00Z", Err(Unset)),
            ("1900-01-02T23:59:59.999Z", Err(Unset)),
            ("1900-01-03T00:00:00Z", exactly("1900-01-03T00:00:00Z")),
            ("1969-12-31T09:59:59Z", exactly("1969-12-31T09:59:59Z")),
            ("1969-12-31T10:00:00Z", Err(Unset)),
            ("1970-01-01T00:00:00", Err(Unset)),
            ("1970-01-01", Err(Unset)),
            ("1970-01-01T01:00:00+01:00", Err(Unset)),
            ("1970-01-01T14:00:00Z", Err(Unset)),
            ("1970-01-01T14:00:01Z", exactly("1970-01-01T14:00:01Z")),
            // With a zone, clocks may differ by five minutes.
            ("2026-11-27T19:35:00Z", exactly("2026-11-27T19:35:00Z")),
            ("2026-11-27T19:35:01Z", Err(Future)),
            ("2026-11-28T09:30:00+14:00", exactly("2026-11-27T19:30:00Z")),
            ("2026-11-28T09:30:00Z", Err(Future)),
            ("2026-11-28T00:00:00+00:00", Err(Future)),
            ("9999-12-30T00:00:00Z", Err(Future)),
            // Without one, it is 09:30 in the easternmost zone.
            ("2026-11-27T19:35:00", exactly("2026-11-27T19:35:00Z")),
            ("2026-11-27T19:35:01", not_before("2026-11-27T05:35:01Z")),
            ("2026-11-28", not_before("2026-11-27T10:00:00Z")),
            ("2026-11-28T09:00:00", not_before("2026-11-27T19:00:00Z")),
            ("2026-11-28T09:30:00", not_before("2026-11-27T19:30:00Z")),
            ("2026-11-28T09:30:01", Err(Future)),
            ("2026-11-29", Err(Future)),
        ] {
            let found = accepted_at(text, now);
            assert_eq!(found, expected, "{text}");
            assert!(found.is_err() || !is_future(found.unwrap().earliest(), now), "{text}");
        }
    }
}
