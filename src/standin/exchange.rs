//! Exchange: one request and its answer, with the faults it asks for.

use std::borrow::Cow;
use std::future;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::json;

use crate::standin::answer::{Answer, CORRELATION_ID, JSON, REQUEST_ID, TraceIds};
use crate::standin::api;
use crate::standin::body::{End, Received, Sent};
use crate::standin::call::Asked;
use crate::standin::control::{self, Control};
use crate::standin::counts::Kind;
use crate::standin::faults::{Faults, Instead};
use crate::standin::ledger::Recorded;
use crate::standin::shared::Shared;
use crate::standin::wire::Takeover;

/// The head of a gzip file (RFC 1952, section 2.3) with nothing behind it that could be unpacked.
const GZIP_LIKE: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03this is not deflate";

/// Answers one request.
///
/// # Errors
/// Not a failure: an answer that has to be given by hand.
pub async fn answer(request: Request<Incoming>, shared: &Shared) -> Result<Response<Sent>, Takeover> {
    let (head, body) = request.into_parts();
    let (method, path) = (head.method.as_str(), head.uri.path());
    if let Some(name) = path.strip_prefix(control::PREFIX) {
        let received = Received::read(body).await;
        return steer(method, name, &head, &received, shared);
    }
    let Shared { ledger, book, .. } = shared;
    let kind = Kind::of(method, path);
    if let Some(kind) = kind {
        book.counts.add(kind);
    }
    let set = book.steering.take(method, path);
    let faults = Faults::asked_for(&head.headers, set.as_deref());
    // Before it is counted: whoever has seen the count may release it.
    let mut held = matches!(&faults, Ok(faults) if faults.hold).then(|| ledger.hold());
    let reads = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let only_asks = matches!(kind, Some(Kind::Token | Kind::ValidateResellers));
    ledger.received(!reads && !only_asks);
    let serial = ledger.next_serial();
    let ids = TraceIds::of(&head.headers, serial);

    let early = matches!(&faults, Ok(Faults { instead: Some(Instead::Early), .. }));
    let received = if early { Received::unread() } else { Received::read(body).await };
    if ledger.is_recording() {
        ledger.keep(recorded(&head, &received));
    }
    if received.end == End::Broken {
        return Err(Takeover::close());
    }

    let faults = match faults {
        Ok(faults) => faults,
        Err(problem) => {
            let answer = Answer::fault(StatusCode::BAD_REQUEST, 2000, &problem);
            return Ok(respond(answer, &ids));
        }
    };
    if let Some(delay) = faults.delay {
        tokio::time::sleep(delay).await;
    }
    if let Some(release) = &mut held {
        // An error says that the ledger is gone, and this thread with it.
        let _ = release.changed().await;
    }
    if received.end != End::Complete {
        let answer = Answer::of_status(StatusCode::PAYLOAD_TOO_LARGE);
        return Err(Takeover::early(&answer, &ids));
    }

    let mut response = match faults.instead {
        Some(instead) => answer_instead(instead, &head, &received, &ids).await?,
        None => {
            let query = head.uri.query().unwrap_or_default();
            let (headers, body, now) = (&head.headers, received.bytes.as_slice(), Timestamp::now());
            let asked = Asked { method, path, query, headers, body, serial, now };
            let made = || api::answer(&asked, book);
            let answer = if reads { made() } else { book.replays.answer(&ids.request, made) };
            respond(answer, &ids)
        }
    };
    if faults.mark
        && let Sent::Whole(body) = response.body_mut()
        && !body.is_empty()
    {
        *body = [b"\xef\xbb\xbf", body.as_ref()].concat().into();
    }
    if faults.mistyped {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    if let Some(seconds) = faults.wait {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if faults.gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        *response.body_mut() = Sent::Whole(Bytes::from_static(GZIP_LIKE));
    }
    if faults.hop {
        add_hop_fields(response.headers_mut());
    }
    Ok(response)
}

/// Answers a request that steers the stand-in; it is neither counted nor recorded.
fn steer(
    method: &str,
    name: &str,
    head: &Parts,
    received: &Received,
    shared: &Shared,
) -> Result<Response<Sent>, Takeover> {
    let ids = TraceIds::of(&head.headers, 0);
    match control::answer(shared, method, name, &received.bytes) {
        Control::Answer(answer) => Ok(respond(answer, &ids)),
        Control::Pause(lasting) => Err(Takeover::paused(&ids, lasting)),
    }
}

async fn answer_instead(
    instead: Instead,
    head: &Parts,
    received: &Received,
    ids: &TraceIds,
) -> Result<Response<Sent>, Takeover> {
    let answer = match instead {
        Instead::Status(status) => Answer::of_status(status),
        Instead::Hang => future::pending().await,
        Instead::Reset => return Err(Takeover::close()),
        Instead::Early => Answer::of_status(StatusCode::PAYLOAD_TOO_LARGE),
        Instead::Truncate => return Err(Takeover::truncated(ids)),
        Instead::Large(bytes) => {
            let mut response = respond(Answer::empty(StatusCode::OK), ids);
            let media_type = HeaderValue::from_static("application/octet-stream");
            response.headers_mut().insert(CONTENT_TYPE, media_type);
            *response.body_mut() = Sent::Large { left: bytes };
            return Ok(response);
        }
        Instead::Chunked(bytes) => {
            let has_body = head.method != Method::HEAD;
            let keep_alive = head.version == Version::HTTP_11 && !asks_to_close(&head.headers);
            return Err(Takeover::chunked(ids, bytes, has_body, keep_alive));
        }
        Instead::NoContent => Answer::empty(StatusCode::NO_CONTENT),
        Instead::NotModified => {
            Answer::empty(StatusCode::NOT_MODIFIED).with(ETAG, HeaderValue::from_static("\"c0ffee\""))
        }
        Instead::Echo => echo(head, received),
        Instead::Upgrade => return Err(Takeover::switched(ids)),
        Instead::Garbage => Answer::text(StatusCode::OK, r#"{"totalCount":1,"items":[{"templ"#.to_owned()),
        Instead::Html => {
            let page = "<!DOCTYPE html><html><body><h1>Please sign in</h1></body></html>";
            let mut response = respond(Answer::text(StatusCode::OK, page.to_owned()), ids);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            return Ok(response);
        }
        Instead::Empty => Answer::empty(StatusCode::OK),
        Instead::Body(body) => Answer { status: StatusCode::OK, fields: Vec::new(), body },
    };
    Ok(respond(answer, ids))
}

fn respond(answer: Answer, ids: &TraceIds) -> Response<Sent> {
    let has_body = !answer.body.is_empty();
    let mut response = Response::new(Sent::Whole(answer.body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, ids.request.clone());
    headers.insert(CORRELATION_ID, ids.correlation.clone());
    if has_body {
        headers.insert(CONTENT_TYPE, JSON);
    }
    headers.extend(answer.fields);
    response
}

/// Fields that end at the next hop, some that only the gateway may send, and some that are the upstream's own.
fn add_hop_fields(headers: &mut HeaderMap) {
    for (name, value) in [
        (CONNECTION, "close, X-Hop"),
        (HeaderName::from_static("x-hop"), "1"),
        (HeaderName::from_static("keep-alive"), "timeout=1"),
        (HeaderName::from_static("proxy-authenticate"), "x"),
        (HeaderName::from_static("countersign-decision"), "forged"),
        (HeaderName::from_static("x-partner-tenant"), "forged"),
        (HeaderName::from_static("x-ms-request-id"), "r"),
        (HeaderName::from_static("x-ms-continuationtoken"), "c"),
        (HeaderName::from_static("x-original-url"), "/o"),
        (HeaderName::from_static("x-forwarded-prefix"), "/p"),
    ] {
        headers.append(name, HeaderValue::from_static(value));
    }
}

fn echo(head: &Parts, received: &Received) -> Answer {
    let headers: Vec<(&str, Cow<str>)> = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
        .collect();
    Answer::ok(&json!({
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "headers": headers,
        "trailers": received.trailers,
        "bodyBytes": received.bytes.len(),
    }))
}

fn asks_to_close(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("close"))
}

fn recorded(head: &Parts, received: &Received) -> Recorded {
    let fields = head.headers.iter();
    Recorded {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        headers: fields.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect(),
        body: received.bytes.clone(),
        trailers: received.trailers.clone(),
        complete: received.end == End::Complete,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::Shutdown;
    use std::time::{Duration, Instant};

    use serde_json::Value;

    use crate::standin::testing::{PATIENCE, Reply, connect, exchange, order, read_reply, start};

    fn faulty(fault: &str) -> Reply {
        exchange(&mut connect(&start()), &order(fault))
    }

    #[test]
    fn head_is_answered_without_a_body() {
        let standin = start();
        let mut stream = connect(&standin);
        let target = "/v1/customers/c/subscriptions/s HTTP/1.1\r\nHost: h\r\n\r\n";
        let head = exchange(&mut stream, &format!("HEAD {target}"));
        let get = exchange(&mut stream, &format!("GET {target}"));
        assert_eq!(head.field("content-length"), get.field("content-length"));
        assert_eq!(get.json()["id"], "s");
        assert_eq!(standin.mutation_count(), 0);
    }

    #[test]
    fn a_status_on_demand_is_answered_in_its_shape() {
        let reply = faulty("status=503");
        assert_eq!(reply.status(), 503);
        assert_eq!(reply.json()["source"], "PartnerCenter");
        assert_eq!(faulty("status=429").field("retry-after"), Some("3"));
        assert_eq!(faulty("status=503, wait=30").field("retry-after"), Some("30"));
        assert_eq!(faulty("nocontent").status(), 204);
        let unmodified = faulty("notmodified");
        assert_eq!(unmodified.status(), 304);
        assert_eq!(unmodified.field("etag"), Some("\"c0ffee\""));
        assert_eq!(faulty("statsu=503").status(), 400);
    }

    #[test]
    fn a_delay_comes_before_the_answer() {
        let standin = start();
        let started = Instant::now();
        let reply = exchange(&mut connect(&standin), &order("delay=60ms"));
        assert_eq!(reply.status(), 201);
        assert!(started.elapsed() >= Duration::from_millis(60));
    }

    #[test]
    fn a_held_request_is_answered_at_the_release() {
        let standin = start();
        let mut streams = [connect(&standin), connect(&standin)];
        for stream in &mut streams {
            stream.write_all(order("hold").as_bytes()).unwrap();
        }
        assert!(standin.wait_for_requests(2, PATIENCE));
        standin.release();
        for stream in &mut streams {
            assert_eq!(read_reply(stream, true).status(), 201);
        }
    }

    #[test]
    fn a_large_answer_has_exactly_the_bytes_asked_for() {
        for (fault, bytes) in [("large=1MiB", 1 << 20), ("large=17B", 17), ("large=0", 0)] {
            let reply = faulty(fault);
            assert_eq!(reply.status(), 200);
            assert_eq!(reply.body.len(), bytes, "{fault}");
        }
    }

    #[test]
    fn an_echo_tells_what_arrived() {
        let body = faulty("echo").json();
        assert_eq!(body["method"], "POST");
        assert_eq!(body["target"], "/v1/customers/c/orders");
        assert_eq!(body["bodyBytes"], 2);
        let sent = Value::from(vec!["ms-requestid", "r-1"]);
        assert!(body["headers"].as_array().unwrap().contains(&sent));
    }

    #[test]
    fn hop_fields_come_with_the_ordinary_answer() {
        let standin = start();
        let mut stream = connect(&standin);
        let reply = exchange(&mut stream, &order("hop"));
        assert_eq!(reply.status(), 201);
        for (name, value) in [
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=1"),
            ("proxy-authenticate", "x"),
            ("countersign-decision", "forged"),
        ] {
            assert_eq!(reply.field(name), Some(value), "{name}");
        }
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn an_answer_can_be_something_else_than_it_says() {
        let json = Some("application/json; charset=utf-8");
        let rows = [
            ("garbage", json, None, None),
            ("html", Some("text/html; charset=utf-8"), None, None),
            ("empty", None, None, Some("")),
            ("body=%5B1%2C%202%5D", json, None, Some("[1, 2]")),
            ("mistyped,body=%7B%7D", Some("text/plain"), None, Some("{}")),
            ("mark,body=%7B%7D", json, None, Some("\u{feff}{}")),
            ("gzip", json, Some("gzip"), None),
        ];
        for (fault, media_type, encoding, body) in rows {
            let reply = faulty(fault);
            assert_eq!(reply.status(), if fault == "gzip" { 201 } else { 200 }, "{fault}");
            assert_eq!(reply.field("content-type"), media_type, "{fault}");
            assert_eq!(reply.field("content-encoding"), encoding, "{fault}");
            match body {
                Some(body) => assert_eq!(reply.body, body.as_bytes(), "{fault}"),
                None => assert!(serde_json::from_slice::<Value>(&reply.body).is_err(), "{fault}"),
            }
        }
        assert_eq!(faulty("mistyped").json()["referenceCustomerId"], "c");
    }

    #[test]
    fn a_fault_set_for_a_path_joins_that_of_the_header() {
        let standin = start();
        standin.fault("POST", "/ORDERS", "mistyped", Some(1));
        let mut stream = connect(&standin);
        let reply = exchange(&mut stream, &order("hop"));
        assert_eq!((reply.field("content-type"), reply.field("x-hop")), (Some("text/plain"), Some("1")));
        standin.fault("", "orders", "status=503", None);
        assert_eq!(exchange(&mut connect(&standin), &order("")).status(), 503);
        standin.clear_faults();
        assert_eq!(exchange(&mut connect(&standin), &order("")).status(), 201);
        assert_eq!(standin.count("orders"), 3);
    }

    #[test]
    fn a_request_that_breaks_off_is_recorded_as_such() {
        let standin = start();
        standin.record(true);
        let mut stream = connect(&standin);
        let part = "POST /v1/customers/c/orders HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{";
        stream.write_all(part.as_bytes()).unwrap();
        assert!(standin.wait_for_requests(1, PATIENCE));
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        let recorded = standin.recorded();
        assert_eq!(recorded.len(), 1);
        assert!(!recorded[0].complete);
    }
}
