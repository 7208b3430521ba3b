//! Extraction: from a route, a path and a body to the facts that policy judges.

mod classify;
mod compare;
mod facts;
pub mod json;
pub mod moment;
mod refusal;
pub mod resource;
mod sent;
pub mod strict;

pub use refusal::{Refusal, refuse};
pub use sent::Sent;

use crate::extract::classify::{Body, Reading};
use crate::extract::facts::{customer, lines_of, resellers_of};
use crate::extract::json::{Document, Value};
use crate::policy::Policy;
use crate::policy::endpoint::Endpoint;
use crate::policy::facts::{Request, Unreadable};
use crate::policy::operation::OperationId;
use crate::policy::path::Path;
use crate::policy::reason::Reason;

/// Reads a judged request.
pub fn read_request(policy: &Policy, endpoint: &Endpoint, sent: &Sent<'_>) -> Result<Request, Refusal> {
    if sent.body.is_empty() || says_nothing(endpoint, sent.body) {
        if endpoint.body_required {
            return refuse(Reason::InvalidBody, "the body is empty");
        }
        return Ok(Request {
            customer: customer(policy, endpoint, sent.path, None)?,
            unread: endpoint.reads,
            may_be_weaker: endpoint.reads.is_some() && endpoint.reads_above == 0,
            names_unseen: endpoint.names_unseen,
            ..Request::bare(endpoint.operation, endpoint.class)
        });
    }
    let document = Document::parse(sent.body).or_else(|why| refuse(Reason::InvalidBody, why.0))?;
    let customer = customer(policy, endpoint, sent.path, Some(&document))?;
    repeats_id(endpoint, sent.path, &document)?;
    let read = lines_of(policy, endpoint, &document)
        .and_then(|(nodes, lines)| Ok((lines, resellers_of(policy, endpoint, &document, &nodes)?)));
    // A wind-down needs no lines and no resellers: faults of these refuse gated requests only.
    let unreadable = read.as_ref().err().map(|why| Unreadable { reason: why.reason, detail: why.detail });
    let (lines, resellers) = read.unwrap_or_default();
    let names_reseller = !resellers.is_empty() || unreadable.is_some();
    let body = Body { endpoint, sent, document: &document, names_reseller, resource: None };
    let Reading { operation, class, notice, wants_resource } = body.read();
    let unread = endpoint.reads.filter(|_| wants_resource);
    // A request below its resource shows by itself what it is.
    let may_be_weaker = unread.is_some() && endpoint.reads_above == 0;
    Ok(Request {
        customer,
        lines,
        resellers,
        unread,
        may_be_weaker,
        names_unseen: endpoint.names_unseen && class.is_gated(),
        unreadable,
        notice,
        ..Request::bare(operation, class)
    })
}

/// A body that names another resource than its path has two readings, as one that names another customer.
fn repeats_id(endpoint: &Endpoint, path: &Path<'_>, document: &Document<'_>) -> Result<(), Refusal> {
    let named = endpoint.repeats_id.as_ref().and_then(|name| document.member(0, name));
    let Some(named) = named else { return Ok(()) };
    let id = path.segment(path.len() - 1);
    let same = match &document.node(named).value {
        Value::Null => true,
        Value::Text(text) => text.is_empty() || text.eq_ignore_ascii_case(id),
        Value::Natural(number) => id.parse() == Ok(*number),
        _ => false,
    };
    if same { Ok(()) } else { refuse(Reason::IdMismatch, "the body names another resource than the path") }
}

/// Whether a body is one JSON scalar where none is asked for: SDKs send `"success"` or `null` with a checkout.
fn says_nothing(endpoint: &Endpoint, body: &[u8]) -> bool {
    if endpoint.body_required || endpoint.operation == OperationId::UNLISTED {
        return false;
    }
    let is_scalar = |value: serde_json::Value| !value.is_object() && !value.is_array();
    !matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
        && serde_json::from_slice(body).is_ok_and(is_scalar)
}
