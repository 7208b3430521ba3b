//! Forwarding: an allowed request becomes a new one for the upstream, and its answer an answer to the caller.

use std::rc::Rc;
use std::time::Instant;

use http::request::Parts;
use http::{Method, Request, Response, StatusCode, header};
use http_body::Body;
use jiff::Timestamp;

use crate::audit::record::OutcomeRecord;
use crate::audit::writer::Receipt;
use crate::client::{self, Failure, Outgoing};
use crate::policy::decision::Permit;
use crate::policy::reason::Reason;
use crate::proxy::exchange::{AnswerBody, Exchange, Recorded, Watching};
use crate::proxy::headers::strip_answer;
use crate::proxy::worker::Worker;

/// Sends a request upstream. It takes a permit, which only an allowing decision gives, and a receipt, which only the
/// audit lane gives: what is not allowed and recorded can not be forwarded.
#[allow(clippy::too_many_arguments)]
pub async fn forward(
    worker: Rc<Worker>,
    upstream: &client::Settings,
    parts: Parts,
    body: Outgoing,
    started: Instant,
    watching: Watching,
    _permit: Permit,
    _receipt: Receipt,
) -> Result<Response<AnswerBody>, Reason> {
    let metrics = &worker.shared.metrics;
    let sent = match request(upstream, parts, body) {
        Some(request) => worker.pool.send(upstream, request, started).await,
        None => return Err(failed(&worker, watching.recorded, Reason::Internal)),
    };
    let (response, lease) = match sent {
        Ok(answered) => answered,
        Err(failure) => {
            let reason = match &failure {
                Failure::Connect(_) | Failure::ConnectTimeout => Reason::UpstreamUnreachable,
                Failure::Broken(error) if error.is_parse() => Reason::UpstreamInvalid,
                Failure::Broken(_) => Reason::UpstreamInterrupted,
                Failure::Timeout => Reason::UpstreamTimeout,
                Failure::CallerBroke => Reason::BodyIncomplete,
            };
            let reason = failed(&worker, watching.recorded, reason);
            tracing::warn!(?failure, reason = reason.as_str(), "no answer from the upstream");
            return Err(reason);
        }
    };
    let status = response.status();
    metrics.answered(status.as_u16(), started.elapsed());
    // Nobody asked for another protocol: what would follow is no HTTP.
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(failed(&worker, watching.recorded, Reason::UpstreamInvalid));
    }
    let (mut head, body) = response.into_parts();
    strip_answer(&mut head.headers);
    let recorded = watching.recorded.map(|recorded| Recorded {
        names_orders: recorded.names_orders
            && status.is_success()
            && !head.headers.contains_key(header::CONTENT_ENCODING),
        ..recorded
    });
    let tidings = watching.tidings.filter(|tidings| tidings.wants(status.as_u16(), &head.headers));
    let exchange = Exchange::new(worker, status.as_u16(), body, lease, Watching { recorded, tidings });
    let mut answer = Response::new(AnswerBody::upstream(exchange));
    *answer.status_mut() = status;
    *answer.headers_mut() = head.headers;
    Ok(answer)
}

fn request(upstream: &client::Settings, mut parts: Parts, body: Outgoing) -> Option<Request<Outgoing>> {
    parts.uri = upstream.target(&parts.uri).ok()?;
    parts.version = http::Version::HTTP_11;
    // A body of no length is said where a body is expected (RFC 9110 section 8.6); some servers insist on it.
    let expects_body = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
    if expects_body && body.is_end_stream() {
        parts.headers.insert(header::CONTENT_LENGTH, header::HeaderValue::from_static("0"));
    }
    parts.extensions.clear();
    Some(Request::from_parts(parts, body))
}

/// Records an exchange that brought no answer.
fn failed(worker: &Worker, recorded: Option<Recorded>, reason: Reason) -> Reason {
    if reason != Reason::BodyIncomplete {
        worker.shared.metrics.upstream_failed(reason.as_str());
    }
    if let Some(recorded) = recorded {
        let record = OutcomeRecord {
            id: recorded.id.as_str(),
            status: None,
            orders: &[],
            failure: Some(reason.as_str()),
            complete: false,
            duration_us: recorded.since.elapsed().as_micros() as u64,
        };
        worker.lane.borrow_mut().outcome(Timestamp::now(), &record);
    }
    reason
}
