//! Answer: status, header fields and body of what the stand-in says, in Partner Center's shapes.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

/// Media type of every answer that has a body.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// The trace header that a caller reuses on a retry.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("ms-requestid");

/// The trace header that ties several requests together.
pub const CORRELATION_ID: HeaderName = HeaderName::from_static("ms-correlationid");

/// An answer before it is put on the wire.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// Fields beyond content type, length and trace ids.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// JSON text, or nothing.
    pub body: Bytes,
}

/// What a route has to say: the second kind ends it early, but is sent like the first.
pub type Outcome = Result<Answer, Answer>;

impl Answer {
    /// An answer without a body.
    pub fn empty(status: StatusCode) -> Answer {
        Answer { status, fields: Vec::new(), body: Bytes::new() }
    }

    /// An answer whose body is `text`, which has to be JSON.
    pub fn text(status: StatusCode, text: String) -> Answer {
        Answer { status, fields: Vec::new(), body: Bytes::from(text) }
    }

    /// An answer with a JSON value.
    pub fn json(status: StatusCode, value: &Value) -> Answer {
        Answer::text(status, value.to_string())
    }

    /// 200 with a JSON value.
    pub fn ok(value: &Value) -> Answer {
        Answer::json(StatusCode::OK, value)
    }

    /// 201 with a JSON value.
    pub fn created(value: &Value) -> Answer {
        Answer::json(StatusCode::CREATED, value)
    }

    /// 200 with the list shape of Partner Center.
    pub fn collection(items: Vec<Value>) -> Answer {
        Answer::ok(&collection(items))
    }

    /// Partner Center's older error shape, the one of its ordering API (error-codes page of its documentation).
    pub fn fault(status: StatusCode, code: u32, description: &str) -> Answer {
        Answer::fault_from("PartnerCenter", status, code, description)
    }

    /// The same shape from a named part of Partner Center.
    pub fn fault_from(source: &str, status: StatusCode, code: u32, description: &str) -> Answer {
        Answer::fault_about(source, status, code, description, &[])
    }

    /// The same with pages that help.
    pub fn fault_about(
        source: &str,
        status: StatusCode,
        code: u32,
        description: &str,
        pages: &[&str],
    ) -> Answer {
        let body = json!({
            "code": code,
            "description": description,
            "data": pages,
            "source": source,
        });
        Answer::json(status, &body)
    }

    /// The answer of a status on demand: a fault, or the throttling shape for 429, which differs from all others.
    pub fn of_status(status: StatusCode) -> Answer {
        if status == StatusCode::NO_CONTENT
            || status == StatusCode::RESET_CONTENT
            || status == StatusCode::NOT_MODIFIED
        {
            return Answer::empty(status);
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            let body = json!({
                "statusCode": 429,
                "message": "Rate limit is exceeded. Try again in 3 seconds.",
            });
            return Answer::json(status, &body)
                .with(http::header::RETRY_AFTER, HeaderValue::from_static("3"));
        }
        let reason = status.canonical_reason().unwrap_or("Unnamed status");
        Answer::fault(status, u32::from(status.as_u16()), reason)
    }

    /// The same answer with one field more.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Answer {
        self.fields.push((name, value));
        self
    }

    /// The same answer with an `ETag`, left out when `etag` is no header value.
    pub fn tagged(self, etag: &str) -> Answer {
        match HeaderValue::from_str(etag) {
            Ok(value) => self.with(http::header::ETAG, value),
            Err(_) => self,
        }
    }

    /// The same answer with a `Location`, left out when `uri` is no header value.
    pub fn located(self, uri: &str) -> Answer {
        match HeaderValue::from_str(uri) {
            Ok(value) => self.with(http::header::LOCATION, value),
            Err(_) => self,
        }
    }
}

/// The list shape of Partner Center.
pub fn collection(items: Vec<Value>) -> Value {
    json!({
        "totalCount": items.len(),
        "items": items,
        "attributes": { "objectType": "Collection" },
    })
}

/// The trace ids of one exchange: echoed, or made from the serial when the request has none.
pub struct TraceIds {
    /// Value of `MS-RequestId`.
    pub request: HeaderValue,
    /// Value of `MS-CorrelationId`.
    pub correlation: HeaderValue,
}

impl TraceIds {
    /// The ids for the request with these header fields.
    pub fn of(headers: &HeaderMap, serial: u64) -> TraceIds {
        let echoed = |name: &HeaderName, kind: IdKind| {
            headers.get(name).cloned().unwrap_or_else(|| {
                HeaderValue::from_str(&guid(kind, serial)).expect("a GUID is a header value")
            })
        };
        TraceIds {
            request: echoed(&REQUEST_ID, IdKind::Request),
            correlation: echoed(&CORRELATION_ID, IdKind::Correlation),
        }
    }
}

/// What an id names; the first group of its GUID, so that a reader of a log sees which it is.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub enum IdKind {
    /// `MS-RequestId`
    Request = 0x0e90_0001,
    /// `MS-CorrelationId`
    Correlation = 0x0e90_0002,
    /// Order.
    Order = 0x0ade_0001,
    /// Cart.
    Cart = 0x0ca0_0001,
    /// Subscription.
    Subscription = 0x05b5_0001,
    /// Transfer, migration, schedule, product upgrade, attestation.
    Task = 0x07a5_0001,
    /// Customer.
    Customer = 0x0c05_0001,
    /// User, policy, service request and the like.
    Entity = 0x0e47_0001,
}

/// A GUID that is unique for its kind and serial.
pub fn guid(kind: IdKind, serial: u64) -> String {
    numbered_guid(kind, 0, serial)
}

/// A GUID for the `number`th part of what `serial` names.
pub fn numbered_guid(kind: IdKind, number: u16, serial: u64) -> String {
    let low = serial & 0xffff_ffff_ffff;
    format!("{:08x}-{number:04x}-4000-8000-{low:012x}", kind as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_echoed_or_made() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("mine"));
        let ids = TraceIds::of(&headers, 7);
        assert_eq!(ids.request, "mine");
        assert_eq!(ids.correlation, "0e900002-0000-4000-8000-000000000007");
    }

    #[test]
    fn a_status_on_demand_has_the_body_partner_center_gives_it() {
        let rows = [(503, r#""code":503"#), (429, r#""statusCode":429"#), (599, "Unnamed")];
        for (status, expected) in rows {
            let answer = Answer::of_status(StatusCode::from_u16(status).unwrap());
            let body = String::from_utf8(answer.body.to_vec()).unwrap();
            assert!(body.contains(expected), "{status}: {body}");
        }
        assert!(Answer::of_status(StatusCode::NO_CONTENT).body.is_empty());
    }
}
