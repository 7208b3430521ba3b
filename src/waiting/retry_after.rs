//! `Retry-After`: how long a server wants to be left alone.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

/// The least that is waited, whatever the server says.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// The longest.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// The dates of HTTP (RFC 9110 section 5.6.7): the one that is sent, and the two obsolete ones that are read too.
const DATES: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// How long to wait, from 1 s to 1 h: by the header (RFC 9110 section 10.2.3), seconds or a date; else by the text of a
/// body such as `{"statusCode":429,"message":"Rate limit is exceeded. Try again in 57 seconds."}`, as Azure's gateways
/// send it.
pub fn parse(headers: &HeaderMap, body: &[u8], now: Timestamp) -> Option<Duration> {
    let header = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let wait = header.and_then(|text| from_header(text.trim(), now)).or_else(|| from_body(body))?;
    Some(wait.clamp(WAIT_MIN, WAIT_MAX))
}

fn from_header(text: &str, now: Timestamp) -> Option<Duration> {
    seconds(text).or_else(|| {
        let date = DATES.iter().find_map(|format| DateTime::strptime(format, text).ok())?;
        let moment = TimeZone::UTC.to_timestamp(date).ok()?;
        // One in the past asks for nothing more.
        Some(Duration::try_from(moment.duration_since(now)).unwrap_or_default())
    })
}

fn from_body(body: &[u8]) -> Option<Duration> {
    let document: Value = serde_json::from_slice(body).ok()?;
    let message = document.get("message")?.as_str()?.to_ascii_lowercase();
    let (_, rest) = message.split_once("try again in ")?;
    let (number, unit) = rest.split_once(' ')?;
    unit.starts_with("second").then(|| seconds(number))?
}

/// Digits only. Too many of them are a long time.
fn seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().map_or(WAIT_MAX, Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = r#"{"statusCode":429,"message":"Rate limit is exceeded. Try again in 57 seconds."}"#;

    #[test]
    fn seconds_dates_and_texts_are_read_within_bounds() {
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
        for (header, body, expected) in [
            (Some("120"), "", Some(120)),
            (Some(" 120 "), TOLD, Some(120)),
            (Some("0"), "", Some(1)),
            (Some("7200"), "", Some(3600)),
            (Some("99999999999999999999999"), "", Some(3600)),
            (Some("Sun, 06 Nov 1994 08:49:37 GMT"), "", Some(37)),
            (Some("Sunday, 06-Nov-94 08:49:37 GMT"), "", Some(37)),
            (Some("Sun Nov  6 08:49:37 1994"), "", Some(37)),
            (Some("Sun, 06 Nov 1994 08:48:37 GMT"), "", Some(1)),
            (Some("Mon, 07 Nov 1994 08:49:37 GMT"), "", Some(3600)),
            (Some("Sun, 06 Nov 1994 08:49:37 CET"), "", None),
            (Some("-1"), "", None),
            (Some("1.5"), "", None),
            (Some(""), "", None),
            (Some("soon"), TOLD, Some(57)),
            (None, TOLD, Some(57)),
            (None, r#"{"message":"try again in 1 second"}"#, Some(1)),
            (None, r#"{"message":"Try again in 5 minutes."}"#, None),
            (None, r#"{"message":"Try again in some seconds."}"#, None),
            (None, r#"{"message":"Try again in 57"}"#, None),
            (None, r#"{"message":57}"#, None),
            (None, "Try again in 57 seconds.", None),
            (None, "", None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(RETRY_AFTER, header.parse().unwrap());
            }
            let found = parse(&headers, body.as_bytes(), now).map(|wait| wait.as_secs());
            assert_eq!(found, expected, "{header:?} {body}");
        }
    }
}
