//! Resources: what a request does, from the cart, transfer or subscription that it is about.

use std::cmp::Ordering;

use crate::extract::facts::{customer_of_body, lines_of, resellers_of};
use crate::extract::json::{Document, Value, scalar};
use crate::extract::moment::moment;
use crate::extract::refusal::Refusal;
use crate::policy::Policy;
use crate::policy::facts::{LINES_MAX, NamedReseller, RESELLERS_MAX, Request};
use crate::policy::operation::{Difference, Endpoint, Resource, Scalar};
use crate::policy::reason::Reason;

/// Why a request can not be told from its resource; holds nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It says nothing of the request: another reading of it may.
    Unreadable(&'static str),
    /// It is more than one request may be.
    Refused(Refusal),
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
/// be gone before it is acted on, so that the strictest reading holds.
pub fn enrich(
    policy: &Policy,
    endpoint: &Endpoint,
    request: &Request,
    body: &[u8],
    resource: &[u8],
    etag: Option<&str>,
) -> Result<Enriched, Unusable> {
    let Some(kind) = request.unread else { return Ok(Enriched { request: request.clone(), etag: None }) };
    let there = Document::parse(resource).map_err(|why| Unusable::Unreadable(why.0))?;
    if let Some(customer) = request.customer {
        customer_of_body(policy, &there, customer).map_err(Unusable::from)?;
    }
    match kind {
        Resource::Cart | Resource::Transfer => {
            let request = with_lines(policy, endpoint, request, &there)?;
            Ok(Enriched { request, etag: None })
        }
        Resource::Subscription => {
            let etag = etag.filter(|etag| is_one_version(etag)).map(str::to_owned);
            let etag = etag.or_else(|| etag_within(&there));
            let Some(etag) = etag else { return Ok(Enriched { request: request.clone(), etag: None }) };
            let sent = Document::parse(body).map_err(|why| Unusable::Unreadable(why.0))?;
            let (operation, class) = endpoint.classify_changes(differences(endpoint, &sent, &there));
            let mut request = Request { operation, class, read: Some(kind), unread: None, ..request.clone() };
            request.resellers.extend(resellers_there(policy, endpoint, &sent, &there)?);
            Ok(Enriched { request, etag: Some(etag) })
        }
    }
}

/// The request with the lines and resellers of what it buys.
fn with_lines(
    policy: &Policy,
    endpoint: &Endpoint,
    request: &Request,
    there: &Document<'_>,
) -> Result<Request, Unusable> {
    let (nodes, lines) = lines_of(policy, endpoint, there).map_err(Unusable::from)?;
    if lines.is_empty() {
        return Err(Unusable::Unreadable("it holds no line"));
    }
    let mut request = request.clone();
    let mut resellers = resellers_of(policy, endpoint, there, &nodes).map_err(Unusable::from)?;
    // What the request itself says stands beside what it buys; it comes first and moves the numbers of the lines.
    let before = request.lines.len();
    for named in &mut resellers {
        named.line = named.line.map(|line| line + before as u16);
    }
    request.lines.extend(lines);
    request.resellers.extend(resellers);
    if request.lines.len() > LINES_MAX || request.resellers.len() > RESELLERS_MAX {
        return Err(Unusable::Refused(Refusal {
            reason: Reason::TooManyLines,
            detail: "the resource has too many lines or resellers",
        }));
    }
    (request.read, request.unread) = (request.unread, None);
    Ok(request)
}

fn etag_within(there: &Document<'_>) -> Option<String> {
    let attributes = there.member(0, "attributes")?;
    match &there.node(there.member(attributes, "etag")?).value {
        Value::Text(text) if is_one_version(text) => Some(text.to_string()),
        _ => None,
    }
}

/// Whether an etag names one version, exactly: neither any, nor several, nor one that is only much the same (RFC 9110
/// sections 8.8.3 and 13.1.1).
fn is_one_version(etag: &str) -> bool {
    let bare = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(etag);
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b',';
    !bare.is_empty() && bare != "*" && !etag.starts_with("W/") && bare.bytes().all(plain)
}

/// The members that differ from what is there. What is left out stays as it is, unless that wipes it.
fn differences<'d>(
    endpoint: &'d Endpoint,
    sent: &'d Document<'_>,
    there: &'d Document<'_>,
) -> impl Iterator<Item = Difference<'d>> {
    let changed = sent.children(0).filter_map(|(at, node)| {
        let other = there.member(0, &node.key);
        (!same(sent, Some(at), there, other)).then(|| Difference {
            name: &node.key,
            to: scalar(&node.value),
            is_lowered: other.is_some_and(|other| is_lower(&node.value, &there.node(other).value)),
        })
    });
    let wiped = endpoint
        .wiped
        .iter()
        .filter(|name| sent.member(0, name).is_none() && !same(sent, None, there, there.member(0, name)));
    changed.chain(wiped.map(|name| Difference { name, to: Scalar::Other, is_lowered: false }))
}

/// Resellers that the resource names and the request leaves as they are.
fn resellers_there(
    policy: &Policy,
    endpoint: &Endpoint,
    sent: &Document<'_>,
    there: &Document<'_>,
) -> Result<Vec<NamedReseller>, Unusable> {
    let named = resellers_of(policy, endpoint, there, &[]).map_err(Unusable::from)?;
    let is_left = |named: &NamedReseller| {
        let top = named.at.split('/').nth(1).unwrap_or("");
        sent.member(0, top).is_none()
    };
    Ok(named.into_iter().filter(is_left).collect())
}

fn is_lower(sent: &Value<'_>, there: &Value<'_>) -> bool {
    matches!((sent, there), (Value::Natural(sent), Value::Natural(there)) if sent < there)
}

/// Whether two values say the same. Names and texts compare without regard to case, times as moments; what is absent is
/// null, and so is an empty text.
fn same(sent: &Document<'_>, left: Option<usize>, there: &Document<'_>, right: Option<usize>) -> bool {
    let value_of = |document: &'_ Document<'_>, at: Option<usize>| match at.map(|at| &document.node(at).value)
    {
        None | Some(Value::Null) => true,
        Some(Value::Text(text)) => text.is_empty(),
        _ => false,
    };
    let (Some(left), Some(right)) = (left, right) else {
        return value_of(sent, left) && value_of(there, right);
    };
    match (&sent.node(left).value, &there.node(right).value) {
        (Value::Text(one), Value::Text(other)) => {
            one.eq_ignore_ascii_case(other) || moment(one).is_some_and(|at| moment(other) == Some(at))
        }
        (Value::Object, Value::Object) => {
            // Side by side in order of their names: a look for each would cost their product.
            let (ones, others) = (members(sent, left), members(there, right));
            let (mut ones, mut others) = (ones.into_iter().peekable(), others.into_iter().peekable());
            while ones.peek().is_some() || others.peek().is_some() {
                let order = match (ones.peek(), others.peek()) {
                    (Some((one, _)), Some((other, _))) => one.cmp(other),
                    (Some(_), None) => Ordering::Less,
                    _ => Ordering::Greater,
                };
                let one = if order.is_le() { ones.next() } else { None };
                let other = if order.is_ge() { others.next() } else { None };
                if !same(sent, one.map(|(_, at)| at), there, other.map(|(_, at)| at)) {
                    return false;
                }
            }
            true
        }
        (Value::Array, Value::Array) => {
            let mut ones = sent.children(left).map(|(at, _)| at);
            let mut others = there.children(right).map(|(at, _)| at);
            loop {
                match (ones.next(), others.next()) {
                    (None, None) => return true,
                    (Some(one), Some(other)) if same(sent, Some(one), there, Some(other)) => {}
                    _ => return false,
                }
            }
        }
        (one, other) => one == other || (value_of(sent, Some(left)) && value_of(there, Some(right))),
    }
}

/// The members of an object in order of their names, in lower case.
fn members(document: &Document<'_>, of: usize) -> Vec<(String, usize)> {
    let mut members: Vec<(String, usize)> =
        document.children(of).map(|(at, node)| (node.key.to_ascii_lowercase(), at)).collect();
    members.sort_unstable();
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(one: &str, other: &str) -> bool {
        let (one, other) = (one.as_bytes(), other.as_bytes());
        let (one, other) = (Document::parse(one).unwrap(), Document::parse(other).unwrap());
        let (there, back) = (same(&one, Some(0), &other, Some(0)), same(&other, Some(0), &one, Some(0)));
        assert_eq!(there, back, "in both directions");
        there
    }

    #[test]
    fn values_are_the_same_whatever_their_spelling() {
        for (one, other, expected) in [
            (r#"{"a":1,"b":[{"c":"x"}]}"#, r#"{"B":[{"C":"X"}],"A":1}"#, true),
            (r#"{"a":null,"b":""}"#, "{}", true),
            (r#"{"a":{}}"#, "{}", false),
            (r#"{"a":[]}"#, "{}", false),
            (r#"{"a":false}"#, "{}", false),
            (r#"{"a":0}"#, "{}", false),
            (r#"{"a":"2021-01-01T00:00:00Z"}"#, r#"{"a":"2021-01-01T01:00:00+01:00"}"#, true),
            (r#"{"a":"2021-01-01T00:00:00"}"#, r#"{"a":"2021-01-01T00:00:00.000Z"}"#, true),
            (r#"{"a":"1"}"#, r#"{"a":1}"#, false),
            (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#, false),
            (r#"{"a":[1]}"#, r#"{"a":[1,null]}"#, false),
            (r#"{"a":1,"c":3}"#, r#"{"a":1,"b":2,"c":3}"#, false),
            (r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1,"c":3}"#, false),
            (r#"{"x":{"a":1}}"#, r#"{"x":{"a":1,"b":null}}"#, true),
        ] {
            assert_eq!(alike(one, other), expected, "{one} {other}");
        }
    }

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
