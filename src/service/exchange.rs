//! The exchange with a token endpoint: the question, and what its answer says.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::fetch::{Answer, FetchFailure};
use crate::service::secret::Text;
use crate::service::settings::{Scope, Settings};

/// How long a token holds where its answer does not say.
const LIFETIME_UNSAID: Duration = Duration::from_secs(300);
/// The shortest lifetime that is believed: below it renewals would keep the endpoint busy.
const LIFETIME_MIN: Duration = Duration::from_secs(60);
/// The longest.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// The longest token that is taken, in bytes: more would fit no block of headers.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// The longest code of an error that is repeated.
const CODE_BYTES_MAX: usize = 64;
/// What a form does not escape (the `application/x-www-form-urlencoded` percent-encode set of the URL standard).
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

/// An access token as it is sent (RFC 6750 section 2.1). It does not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer(HeaderValue);

impl Bearer {
    /// The value of `Authorization`, marked as sensitive.
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }

    /// A token of visible ASCII characters (RFC 6749 appendix A.12, without its spaces).
    fn new(token: &str) -> Option<Bearer> {
        is_token(token).then(|| {
            let header = HeaderValue::try_from(format!("Bearer {token}"));
            let mut header = header.expect("visible characters make a header value");
            header.set_sensitive(true);
            Bearer(header)
        })
    }
}

/// What an endpoint gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The access token.
    pub bearer: Bearer,
    /// How long it holds from when it was asked for, 1 min to 24 h.
    pub lifetime: Duration,
    /// The refresh token that takes the place of the one that was shown.
    pub refresh_token: Option<Text>,
}

/// Why there is no access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFailure {
    /// A secret can not be read: the operator's to mend.
    Secret(String),
    /// The endpoint said no.
    Refused {
        /// Its status.
        status: u16,
        /// The code of its error (RFC 6749 section 5.2), never the description.
        error: Option<String>,
    },
    /// The endpoint asks to be left alone: with 429, or with 503 and a time to come back. Nobody is let through for it.
    Throttled {
        /// Its status.
        status: u16,
        /// The code of its error.
        error: Option<String>,
    },
    /// The endpoint gave no answer.
    Unanswered(FetchFailure),
    /// The endpoint gave an answer that is none.
    Unusable(&'static str),
    /// The renewal ended without an outcome: the gateway stops, or has a bug.
    Lost,
}

impl fmt::Display for TokenFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenFailure::Secret(why) => f.write_str(why),
            TokenFailure::Refused { status, error } | TokenFailure::Throttled { status, error } => {
                write!(f, "endpoint: {status}")?;
                error.as_ref().map_or(Ok(()), |error| write!(f, " {error}"))
            }
            TokenFailure::Unanswered(failure) => write!(f, "endpoint: {failure}"),
            TokenFailure::Unusable(why) => write!(f, "endpoint: {why}"),
            TokenFailure::Lost => f.write_str("the renewal ended without an outcome"),
        }
    }
}

/// The question: with a refresh token (RFC 6749 section 6), or without (section 4.4). Id and secret of the client stand in
/// the body, as Microsoft's endpoints want it (section 2.3.1).
pub fn question(
    settings: &Settings,
    client_secret: Option<&Text>,
    refresh_token: Option<&Text>,
) -> Request<Bytes> {
    let mut form = String::new();
    let mut add = |name: &str, value: &str| {
        let separator = if form.is_empty() { "" } else { "&" };
        form.extend([separator, name, "="]);
        form.extend(utf8_percent_encode(value, FORM));
    };
    match refresh_token {
        Some(token) => {
            add("grant_type", "refresh_token");
            add("refresh_token", token.reveal());
        }
        None => add("grant_type", "client_credentials"),
    }
    add("client_id", &settings.client_id);
    if let Some(secret) = client_secret {
        add("client_secret", secret.reveal());
    }
    match &settings.scope {
        Some(Scope::Scope(scope)) => add("scope", scope),
        Some(Scope::Resource(resource)) => add("resource", resource),
        None => {}
    }
    Request::post(settings.url.uri().clone())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json")
        .body(Bytes::from(form))
        .expect("a URL and fixed headers")
}

/// Reads an answer (RFC 6749 sections 5.1 and 5.2).
pub fn read(answer: &Answer) -> Result<Issued, TokenFailure> {
    let document: Option<Value> = serde_json::from_slice(&answer.body).ok();
    if answer.status != StatusCode::OK {
        let error = document.as_ref().and_then(|document| document.get("error")?.as_str());
        return Err(TokenFailure::Refused { status: answer.status.as_u16(), error: error.and_then(code) });
    }
    // What is wrong with it is not said more closely: what stands in it is secret.
    let document = document.ok_or(TokenFailure::Unusable("the answer is no JSON"))?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    if text("token_type").is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(TokenFailure::Unusable("the token is no bearer token"));
    }
    let token = text("access_token").ok_or(TokenFailure::Unusable("the answer holds no access token"))?;
    let bearer = Bearer::new(token)
        .ok_or(TokenFailure::Unusable("the access token is empty, too long or no visible ASCII"))?;
    let lifetime = document.get("expires_in").and_then(seconds).unwrap_or(LIFETIME_UNSAID);
    let refresh_token = text("refresh_token").filter(|token| is_refresh_token(token)).map(Text::new);
    Ok(Issued { bearer, lifetime: lifetime.clamp(LIFETIME_MIN, LIFETIME_MAX), refresh_token })
}

fn is_token(text: &str) -> bool {
    (1..=TOKEN_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// As an access token, but for spaces within (RFC 6749 appendix A.17): at its ends, reading a file would drop them.
fn is_refresh_token(text: &str) -> bool {
    text == text.trim() && is_token(&text.replace(' ', "_"))
}

/// The code of an error, where it is one: anybody could have written it.
fn code(text: &str) -> Option<String> {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let code: String = text.chars().take(CODE_BYTES_MAX).take_while(plain).collect();
    (!code.is_empty()).then_some(code)
}

/// A time in seconds: a number, or its digits as a text (Microsoft's version 1).
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
        _ => return None,
    };
    Some(Duration::from_secs(seconds as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    use http::HeaderMap;

    use crate::fetch::Endpoint;
    use crate::service::settings::Grant;

    fn asked(scope: Option<Scope>, client_secret: Option<&str>, refresh_token: Option<&str>) -> String {
        let settings = Settings {
            grant: Grant::ClientCredentials,
            url: Endpoint::parse("https://login.example/token", false).unwrap(),
            client_id: "me".to_owned(),
            client_secret: None,
            scope,
            timeout: Duration::from_secs(1),
            authorities: None,
        };
        let (client_secret, refresh_token) = (client_secret.map(Text::new), refresh_token.map(Text::new));
        let request = question(&settings, client_secret.as_ref(), refresh_token.as_ref());
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/token"));
        assert_eq!(request.headers()[CONTENT_TYPE], "application/x-www-form-urlencoded");
        String::from_utf8(request.into_body().to_vec()).unwrap()
    }

    #[test]
    fn questions_are_forms() {
        let scope = Some(Scope::Scope("https://api.example/.default x".to_owned()));
        let resource = Some(Scope::Resource("https://api.example".to_owned()));
        for (form, expected) in [
            (
                asked(scope, Some("a&b=c+~"), None),
                "grant_type=client_credentials&client_id=me&client_secret=a%26b%3Dc%2B%7E\
                 &scope=https%3A%2F%2Fapi.example%2F.default%20x",
            ),
            (
                asked(resource, None, Some("0.r-_*")),
                "grant_type=refresh_token&refresh_token=0.r-_*&client_id=me\
                 &resource=https%3A%2F%2Fapi.example",
            ),
            (asked(None, None, None), "grant_type=client_credentials&client_id=me"),
        ] {
            assert_eq!(form, expected);
        }
    }

    fn answered(status: u16, body: &str) -> Result<Issued, TokenFailure> {
        let status = StatusCode::from_u16(status).unwrap();
        read(&Answer { status, headers: HeaderMap::new(), body: Bytes::from(body.to_owned()) })
    }

    #[test]
    fn lifetimes_are_numbers_or_digits_within_bounds() {
        for (expires_in, expected) in [
            ("3599", 3599),
            ("\"3599\"", 3599),
            ("3599.9", 3599),
            ("0", 60),
            ("-5", 60),
            ("1e300", 86_400),
            ("\"99999999999999999999999\"", 86_400),
            ("\"\"", 300),
            ("\"1h\"", 300),
            ("null", 300),
            ("[]", 300),
        ] {
            let body = format!(r#"{{"token_type":"bearer","access_token":"a","expires_in":{expires_in}}}"#);
            let issued = answered(200, &body).unwrap();
            assert_eq!(issued.lifetime, Duration::from_secs(expected), "{expires_in}");
            assert_eq!((issued.bearer.header().as_bytes(), issued.refresh_token), (&b"Bearer a"[..], None));
        }
        assert_eq!(answered(200, r#"{"access_token":"a"}"#).unwrap().lifetime, LIFETIME_UNSAID);
    }

    #[test]
    fn failures_say_the_code_and_nothing_secret() {
        let long = format!(r#"{{"error":"{}"}}"#, "e".repeat(100));
        for (status, body, expected) in [
            (400, r#"{"error":"invalid_grant","error_description":"hush"}"#, "endpoint: 400 invalid_grant"),
            (401, r#"{"error":"no\nline"}"#, "endpoint: 401 no"),
            (400, r#"{"error":"\u001b[31m"}"#, "endpoint: 400"),
            (400, r#"{"error":{"code":"hush"}}"#, "endpoint: 400"),
            (400, &long, &format!("endpoint: 400 {}", "e".repeat(64))),
            (503, "<html>hush</html>", "endpoint: 503"),
            (302, "", "endpoint: 302"),
            (201, r#"{"access_token":"hush"}"#, "endpoint: 201"),
            (200, "hush", "endpoint: the answer is no JSON"),
            (200, "{}", "endpoint: the answer holds no access token"),
            (200, r#"{"access_token":7}"#, "endpoint: the answer holds no access token"),
        ] {
            let failure = answered(status, body).unwrap_err();
            assert_eq!(failure.to_string(), expected, "{status} {body}");
            assert!(!format!("{failure:?}").contains("hush"), "{failure:?}");
        }
        for token in ["", "hush now", "hush\\n", "hüsh", &"h".repeat(TOKEN_BYTES_MAX + 1)] {
            let failure = answered(200, &format!(r#"{{"access_token":"{token}"}}"#)).unwrap_err();
            assert!(failure.to_string().contains("no visible ASCII"), "{failure}");
        }
        let failure = answered(200, r#"{"access_token":"hush","token_type":"mac"}"#).unwrap_err();
        assert!(failure.to_string().contains("no bearer token"), "{failure}");
    }

    #[test]
    fn what_was_issued_does_not_show() {
        let issued = answered(200, r#"{"access_token":"hush","refresh_token":"whist"}"#).unwrap();
        assert_eq!(issued.refresh_token, Some(Text::new("whist")));
        let shown = format!("{issued:?}");
        assert!(!shown.contains("hush") && !shown.contains("whist"), "{shown}");
    }

    #[test]
    fn a_refresh_token_that_is_none_is_left_out() {
        for token in ["\"\"", "null", "7", "\" a\"", "\"a\\n\"", "\"\u{e4}\""] {
            let body = format!(r#"{{"access_token":"a","refresh_token":{token}}}"#);
            assert_eq!(answered(200, &body).unwrap().refresh_token, None, "{token}");
        }
    }
}
