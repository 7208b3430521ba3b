//! Extraction: from a route, a path and a body to the facts that policy judges.

mod facts;
pub mod json;
pub mod moment;
mod refusal;
pub mod resource;

pub use refusal::{Refusal, refuse};

use crate::extract::facts::{customer, lines_of, resellers_of};
use crate::extract::json::{Document, scalar};
use crate::policy::Policy;
use crate::policy::facts::Request;
use crate::policy::operation::{Endpoint, OperationId};
use crate::policy::path::Path;
use crate::policy::reason::Reason;

/// Reads a judged request. An empty body is none.
pub fn read_request(
    policy: &Policy,
    endpoint: &Endpoint,
    path: &Path<'_>,
    body: &[u8],
) -> Result<Request, Refusal> {
    if body.is_empty() || says_nothing(endpoint, body) {
        if endpoint.body_required {
            return refuse(Reason::InvalidBody, "the body is empty");
        }
        return Ok(Request {
            customer: customer(policy, endpoint, path, None)?,
            unread: endpoint.reads,
            ..Request::bare(endpoint.operation, endpoint.class)
        });
    }
    let document = Document::parse(body).or_else(|why| refuse(Reason::InvalidBody, why.0))?;
    let members = document.children(0).map(|(_, node)| (node.key.as_ref(), scalar(&node.value)));
    let (operation, class, by_default) = endpoint.classify(members);
    let customer = customer(policy, endpoint, path, Some(&document))?;
    let (nodes, lines) = lines_of(policy, endpoint, &document)?;
    let resellers = resellers_of(policy, endpoint, &document, &nodes)?;
    let unread = endpoint.reads.filter(|_| by_default);
    Ok(Request { operation, class, customer, lines, resellers, read: None, unread, unread_because: None })
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
