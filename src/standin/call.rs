//! Call: one request as the routes see it, with its path cut up.

use std::fmt::{self, Display, Write};

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::standin::answer::Answer;
use crate::standin::book::Book;

/// Error code of a request that cannot be read, as the API uses it for malformed ids.
const UNREADABLE: u32 = 2000;

/// One request as it arrived, its body read.
pub struct Asked<'a> {
    /// `POST`
    pub method: &'a str,
    /// The path as sent.
    pub path: &'a str,
    /// The query without its question mark.
    pub query: &'a str,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
    /// Unique per request; makes the ids in the answer unique.
    pub serial: u64,
    /// When the request is answered.
    pub now: Timestamp,
}

/// [`Asked`] for the routes: with the segments of its path, and with what the stand-in knows.
pub struct Call<'a> {
    /// What was set and stored.
    pub book: &'a Book,
    /// `GET` for a HEAD request: the two differ only on the wire.
    pub method: &'a str,
    /// The path segments as sent.
    pub segments: &'a [&'a str],
    /// The query without its question mark.
    pub query: &'a str,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
    /// Unique per request.
    pub serial: u64,
    /// When the request is answered.
    pub now: Timestamp,
}

impl Call<'_> {
    /// The segment at `index`, empty beyond the end.
    pub fn segment(&self, index: usize) -> &str {
        self.segments.get(index).copied().unwrap_or_default()
    }

    /// The first `count` segments of the path, as the path of a resource.
    pub fn path_to(&self, count: usize) -> String {
        self.segments[..count.min(self.segments.len())].join("/")
    }

    /// The value of the first header field of that (lower-case) name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// The 400 answer for a body that is none.
    pub fn json(&self) -> Result<Value, Answer> {
        serde_json::from_slice(self.body).map_err(|error| {
            let description = format!("The request body cannot be read as JSON: {error}.");
            Answer::fault(StatusCode::BAD_REQUEST, UNREADABLE, &description)
        })
    }

    /// The body as a JSON object.
    ///
    /// # Errors
    /// The 400 answer for anything else.
    pub fn object(&self) -> Result<Map<String, Value>, Answer> {
        match self.json()? {
            Value::Object(object) => Ok(object),
            _ => Err(Answer::fault(
                StatusCode::BAD_REQUEST,
                UNREADABLE,
                "The request body has to be a JSON object.",
            )),
        }
    }

    /// The body as a JSON object where it may be left out.
    ///
    /// # Errors
    /// The 400 answer when there is a body and it is anything else.
    pub fn object_or_empty(&self) -> Result<Map<String, Value>, Answer> {
        if self.body.is_empty() {
            return Ok(Map::new());
        }
        self.object()
    }

    /// The value of a query parameter, as sent; names are compared without regard to case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .filter(|value| !value.is_empty())
    }
}

/// A member by its name without regard to case (callers send `OfferId` and `offerId`); null counts as absent.
pub fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let value = match object.get(name) {
        Some(value) => value,
        None => object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)?,
    };
    (!value.is_null()).then_some(value)
}

/// A member that is a string.
pub fn text_member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    member(object, name).and_then(Value::as_str)
}

/// The same value with all names in camel case and nulls left out, as Partner Center prints what it was sent.
pub fn printed(value: Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(printed_object(object)),
        Value::Array(items) => Value::Array(items.into_iter().map(printed).collect()),
        other => other,
    }
}

/// [`printed`] for an object.
pub fn printed_object(object: Map<String, Value>) -> Map<String, Value> {
    object
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (camel_case(name), printed(value)))
        .collect()
}

fn camel_case(mut name: String) -> String {
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    name
}

/// A link as Partner Center prints it.
pub fn link(uri: &str) -> Value {
    json!({ "uri": uri, "method": "GET", "headers": [] })
}

/// Text as it stands inside a JSON string, without the quotes. For texts from the path, which may hold quotes.
pub struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') {
            out.write_str(&rest[..at])?;
            let escaped = u32::from(rest.as_bytes()[at]);
            write!(out, "\\u{escaped:04x}")?;
            rest = &rest[at + 1..];
        }
        out.write_str(rest)
    }
}

/// Writes formatted text to the end of `out`.
pub fn append(out: &mut String, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::LazyLock;

    static BOOK: LazyLock<Book> = LazyLock::new(Book::default);
    static NO_FIELDS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);

    fn call<'a>(query: &'a str, body: &'a [u8]) -> Call<'a> {
        Call {
            book: &BOOK,
            method: "POST",
            segments: &["v1", "customers", "C"],
            query,
            headers: &NO_FIELDS,
            body,
            serial: 1,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_path_is_cut_up_and_put_together() {
        let call = call("", b"");
        assert_eq!((call.segment(2), call.segment(3)), ("C", ""));
        assert_eq!(
            (call.path_to(2), call.path_to(5)),
            ("v1/customers".to_owned(), "v1/customers/C".to_owned())
        );
    }

    #[test]
    fn members_are_found_in_any_case_and_null_is_absent() {
        let object = json!({ "OfferId": "a", "quantity": null });
        let object = object.as_object().unwrap();
        assert_eq!(text_member(object, "offerId"), Some("a"));
        assert_eq!(member(object, "quantity"), None);
        assert_eq!(member(object, "none"), None);
    }

    #[test]
    fn what_was_sent_is_printed_in_camel_case() {
        let sent = json!({ "Id": null, "LineItems": [{ "OfferId": "A", "é": 1 }], "": 2 });
        let expected = json!({ "lineItems": [{ "offerId": "A", "é": 1 }], "": 2 });
        assert_eq!(printed(sent), expected);
    }

    #[test]
    fn escaped_text_reads_back_as_it_was() {
        for text in ["plain", "a\"b\\c", "\u{1}é\"", ""] {
            let json = format!("\"{}\"", Escaped(text));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }

    #[test]
    fn bodies_that_are_no_objects_are_refused() {
        for body in [&b""[..], b"[]", b"{", b"\xff", b"{} {}"] {
            let refusal = call("", body).object().unwrap_err();
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST, "{body:?}");
        }
        assert!(call("", b"").object_or_empty().is_ok());
        assert!(call("", b"[]").object_or_empty().is_err());
    }

    #[test]
    fn parameters_are_found_in_any_case() {
        let call = call("a=1&mpnID=42&empty=", b"");
        assert_eq!(call.parameter("mpnId"), Some("42"));
        assert_eq!(call.parameter("empty"), None);
        assert_eq!(call.parameter("b"), None);
    }
}
