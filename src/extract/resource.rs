//! Resources: what a request does, from the cart, subscription, order or transfer that it is about.

use crate::extract::classify::{self, Body, Reading, is_empty};
use crate::extract::facts::{customer_of_body, lines_of, reseller_nodes, resellers_at};
use crate::extract::json::{Document, Value};
use crate::extract::refusal::Refusal;
use crate::extract::sent::Sent;
use crate::policy::Policy;
use crate::policy::endpoint::Endpoint;
use crate::policy::facts::{LINES_MAX, Line, NamedReseller, Product, RESELLERS_MAX, Request};
use crate::policy::operation::Resource;
use crate::policy::reason::Reason;

/// Why a request can not be told from its resource; holds nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It says nothing of the request: another reading of it may.
    Unreadable(&'static str),
    /// It is more than one request may be.
    Refused(Refusal),
    /// Its caller is a reseller that it does not name: nothing of it may show in the answer.
    Stranger,
}

impl From<Refusal> for Unusable {
    fn from(why: Refusal) -> Unusable {
        match why.reason {
            Reason::TooManyLines => Unusable::Refused(why),
            _ => Unusable::Unreadable(why.detail),
        }
    }
}

/// What a request is once its resource is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enriched {
    /// The request.
    pub request: Request,
    /// The version of the resource that this rests on: the upstream has to hold it still.
    pub etag: Option<String>,
}

/// Reads what a request is from the resource that it is about. `etag` is what came with it; without one a difference may
/// be gone before it is acted on, so that the strictest reading of what is done holds. Whom and what the resource names
/// counts all the same.
pub fn enrich(
    policy: &Policy,
    endpoint: &Endpoint,
    sent: &Sent<'_>,
    request: &Request,
    resource: &[u8],
    etag: Option<&str>,
) -> Result<Enriched, Unusable> {
    let Some(kind) = request.unread else { return Ok(Enriched { request: request.clone(), etag: None }) };
    let there = Document::parse(resource).map_err(|why| Unusable::Unreadable(why.0))?;
    if let Some(customer) = request.customer {
        customer_of_body(policy, &there, customer)?;
    }
    let named = lines_of(policy, endpoint, &there).and_then(|(nodes, lines)| {
        let places = reseller_nodes(policy, endpoint, &there, &nodes)?;
        Ok((resellers_at(&there, places.clone(), &nodes)?, places, lines))
    });
    let is_callers = |named: &NamedReseller| policy.names(&sent.caller.partner, named.id);
    let names_caller = named.as_ref().is_ok_and(|(resellers, ..)| resellers.iter().any(is_callers));
    if sent.caller.is_reseller() && !names_caller {
        return Err(Unusable::Stranger);
    }
    let read = Request { read: Some(kind), unread: None, ..request.clone() };
    if endpoint.reads_above > 0 {
        let (resellers, _, lines) = named?;
        if lines.is_empty() && kind == Resource::Cart {
            return Err(Unusable::Unreadable("it holds no line"));
        }
        // The body of an upgrade says what is bought; the subscription says through whom.
        let request = match kind {
            Resource::Subscription => {
                let whole = resellers.into_iter().map(|named| NamedReseller { line: None, ..named });
                with_lines(read, Vec::new(), whole.collect())?
            }
            _ => with_lines(read, lines, resellers)?,
        };
        return Ok(Enriched { request, etag: None });
    }
    let body = if sent.body.is_empty() { b"{}" } else { sent.body };
    let document = Document::parse(body).map_err(|why| Unusable::Unreadable(why.0))?;
    let etag = etag.filter(|etag| is_one_version(etag)).map(str::to_owned).or_else(|| etag_within(&there));
    // The source and the target of a transfer never change, and it has no versions.
    let etag = etag.filter(|_| kind != Resource::Transfer);
    let lines_there = named.as_ref().map_or(&[][..], |(_, _, lines)| lines);
    let resource = classify::Resource { document: &there, lines: lines_there };
    let names_there = named.as_ref().map_or(true, |(resellers, ..)| !resellers.is_empty());
    let names_reseller = names_there || !request.resellers.is_empty();
    let body = Body { endpoint, sent, document: &document, names_reseller, resource: Some(resource) };
    let Reading { operation, class, notice, .. } = body.read();
    // A difference that may be gone before it is acted on makes nothing weaker.
    let is_held = etag.is_some() || kind == Resource::Transfer;
    let read = match is_held || class > read.class {
        true => Request { operation, class, notice, ..read },
        false => read,
    };
    if !read.class.is_gated() {
        return Ok(Enriched { request: read, etag });
    }
    let (_, mut places, lines) = named?;
    // Place by place: whoever is replaced in one may stand in another.
    places.retain(|place| !is_replaced(&document, &there, *place));
    let kept = resellers_at(&there, places, &[])?;
    Ok(Enriched { request: with_lines(read, lines, kept)?, etag })
}

/// The request with the lines and resellers of what it is about beside its own.
fn with_lines(
    mut request: Request,
    lines: Vec<Line>,
    resellers: Vec<NamedReseller>,
) -> Result<Request, Unusable> {
    // Lines of the resource come behind the request's own, so that their numbers move.
    let mut numbers: Vec<u16> = Vec::with_capacity(lines.len());
    let is_compared = request.read.is_some_and(|kind| kind != Resource::Cart);
    for line in lines {
        let same = |known: &Line| is_compared && known.at.eq_ignore_ascii_case(&line.at);
        let at = match request.lines.iter().position(same) {
            Some(at) => {
                request.lines[at].product = both(&request.lines[at].product, &line.product);
                at
            }
            None => {
                request.lines.push(line);
                request.lines.len() - 1
            }
        };
        numbers.push(at as u16);
    }
    for named in resellers {
        let line = named.line.map(|line| numbers[usize::from(line)]);
        request.resellers.push(NamedReseller { line, ..named });
    }
    if request.lines.len() > LINES_MAX || request.resellers.len() > RESELLERS_MAX {
        return Err(Unusable::Refused(Refusal {
            reason: Reason::TooManyLines,
            detail: "the resource has too many lines or resellers",
        }));
    }
    Ok(request)
}

/// The product of a line that stands in the request and in its resource: both of them; the resource's where the request
/// leaves it open.
fn both(sent: &Product, there: &Product) -> Product {
    match (sent, there) {
        (_, Product::Unknown) => Product::Unknown,
        (Product::Unknown, named) => named.clone(),
        (Product::Named { ids, classes }, Product::Named { ids: others, classes: more }) => {
            let is_new = |id: &&String| !ids.iter().any(|known| known.eq_ignore_ascii_case(id));
            let ids = ids.iter().chain(others.iter().filter(is_new)).cloned().collect();
            Product::Named { ids, classes: classes.union(*more) }
        }
    }
}

/// True where a request puts another reseller in the place of one that its resource names. To leave a member out, or to
/// send nothing in it, takes nobody away; nor does a list, in which places have no names.
fn is_replaced(sent: &Document<'_>, there: &Document<'_>, place: usize) -> bool {
    fn counterpart(sent: &Document<'_>, there: &Document<'_>, place: usize) -> Option<usize> {
        if place == 0 {
            return Some(0);
        }
        let node = there.node(place);
        let parent = node.parent as usize;
        let is_named = there.node(parent).value == Value::Object;
        sent.member(counterpart(sent, there, parent).filter(|_| is_named)?, &node.key)
    }
    counterpart(sent, there, place).is_some_and(|node| !is_empty(&sent.node(node).value))
}

fn etag_within(there: &Document<'_>) -> Option<String> {
    let attributes = there.member(0, "attributes")?;
    match &there.node(there.member(attributes, "etag")?).value {
        Value::Text(text) if is_one_version(text) => Some(text.to_string()),
        _ => None,
    }
}

/// True where an etag names one version, exactly: neither any, nor several, nor one that is only much the same (RFC 9110
/// sections 8.8.3 and 13.1.1).
fn is_one_version(etag: &str) -> bool {
    let bare = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(etag);
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b',';
    !bare.is_empty() && bare != "*" && !etag.starts_with("W/") && bare.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_exact_version_is_held_to() {
        for (etag, expected) in [
            ("\"eyJ2IjoxfQ==\"", true),
            ("eyJ2IjoxfQ==", true),
            ("W/\"a\"", false),
            ("*", false),
            ("\"*\"", false),
            ("\"a\", \"b\"", false),
            ("a,b", false),
            ("\"a", false),
            ("\"\"", false),
            ("", false),
            ("a b", false),
        ] {
            assert_eq!(is_one_version(etag), expected, "{etag}");
        }
    }
}
