//! Facts: where customer, lines, products and resellers are found in a document.

use std::borrow::Cow;

use crate::extract::json::{Document, Value};
use crate::extract::refusal::{Refusal, refuse};
use crate::policy::Policy;
use crate::policy::endpoint::{CustomerAt, Endpoint};
use crate::policy::facts::{LINES_MAX, Line, NamedReseller, Product, RESELLERS_MAX};
use crate::policy::id::{Guid, MpnId, PartnerRef};
use crate::policy::path::Path;
use crate::policy::pattern::{Pattern, Step};
use crate::policy::reason::Reason;
use crate::policy::role::NameSet;

/// The customer of a request.
pub fn customer(
    policy: &Policy,
    endpoint: &Endpoint,
    path: &Path<'_>,
    document: Option<&Document<'_>>,
) -> Result<Option<Guid>, Refusal> {
    let customer = match &endpoint.locations.customer {
        CustomerAt::Nowhere => return Ok(None),
        CustomerAt::Segment(at) => Guid::parse(path.segment(*at)),
        CustomerAt::Body(pattern) => {
            let Some(document) = document else {
                return refuse(Reason::InvalidCustomer, "the body names no customer");
            };
            find_one(document, 0, pattern)
                .unwrap_or(None)
                .and_then(|node| text(document, node))
                .and_then(Guid::parse)
        }
    };
    let Some(customer) = customer else {
        return refuse(Reason::InvalidCustomer, "the customer is not a 36-character tenant id");
    };
    if let Some(document) = document {
        customer_of_body(policy, document, customer)?;
    }
    Ok(Some(customer))
}

/// Whether what a body says of its customer is the customer it is for.
pub fn customer_of_body(policy: &Policy, document: &Document<'_>, customer: Guid) -> Result<(), Refusal> {
    for name in &policy.customer_members {
        let Some(node) = document.member(0, name) else { continue };
        let same = match &document.node(node).value {
            Value::Null => true,
            Value::Text(text) => text.is_empty() || Guid::parse(text) == Some(customer),
            _ => false,
        };
        if !same {
            return refuse(Reason::CustomerMismatch, "the body names another customer than the path");
        }
    }
    Ok(())
}

/// The lines of a document, with their nodes.
pub fn lines_of(
    policy: &Policy,
    endpoint: &Endpoint,
    document: &Document<'_>,
) -> Result<(Vec<usize>, Vec<Line>), Refusal> {
    let nodes = line_nodes(endpoint, document)?;
    let mut lines = Vec::with_capacity(nodes.len());
    for &node in &nodes {
        lines.push(Line { at: document.pointer(node), product: product(policy, endpoint, document, node)? });
    }
    Ok((nodes, lines))
}

fn line_nodes(endpoint: &Endpoint, document: &Document<'_>) -> Result<Vec<usize>, Refusal> {
    let mut lines = Vec::new();
    for pattern in &endpoint.locations.lines {
        find_into(document, 0, &pattern.steps, &mut lines).map_err(|()| Refusal {
            reason: Reason::UnreadableLines,
            detail: "the lines are not an array of objects",
        })?;
    }
    if lines.iter().any(|line| document.node(*line).value != Value::Object) {
        return refuse(Reason::UnreadableLines, "a line is not an object");
    }
    if lines.len() > LINES_MAX {
        return refuse(Reason::TooManyLines, "the request has more than 300 lines");
    }
    // Lines of nested patterns in the order of the body.
    lines.sort_unstable();
    Ok(lines)
}

fn product(
    policy: &Policy,
    endpoint: &Endpoint,
    document: &Document<'_>,
    line: usize,
) -> Result<Product, Refusal> {
    let mut ids = Vec::new();
    let mut classes = NameSet::EMPTY;
    for parts in &endpoint.locations.products {
        let Some(id) = product_id(document, line, parts)? else { continue };
        classes = classes.union(policy.products.classify(&id));
        ids.push(id.into_owned());
    }
    Ok(if ids.is_empty() { Product::Unknown } else { Product::Named { ids, classes } })
}

/// One product id, whose parts may stand apart; `None` where the first is absent.
fn product_id<'d>(
    document: &'d Document<'_>,
    line: usize,
    parts: &[Pattern],
) -> Result<Option<Cow<'d, str>>, Refusal> {
    let mut id: Option<Cow<'d, str>> = None;
    for part in parts {
        let node = match find_one(document, line, part) {
            Ok(Some(node)) => node,
            Ok(None) => break,
            Err(()) => return refuse(Reason::UnreadableLines, "a line does not name its product plainly"),
        };
        let text = match &document.node(node).value {
            Value::Null => break,
            Value::Text(text) if text.is_empty() => break,
            Value::Text(text) if text.len() <= 200 && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                text
            }
            _ => return refuse(Reason::UnreadableLines, "a product id is not a plain text"),
        };
        match &mut id {
            None => id = Some(Cow::Borrowed(text.as_ref())),
            Some(id) => {
                let id = id.to_mut();
                id.push(':');
                id.push_str(text);
            }
        }
    }
    Ok(id)
}

/// The resellers that a document names, on which of these lines.
pub fn resellers_of(
    policy: &Policy,
    endpoint: &Endpoint,
    document: &Document<'_>,
    lines: &[usize],
) -> Result<Vec<NamedReseller>, Refusal> {
    resellers_at(document, reseller_nodes(policy, endpoint, document, lines)?, lines)
}

/// The nodes of a document that name resellers, in order.
pub fn reseller_nodes(
    policy: &Policy,
    endpoint: &Endpoint,
    document: &Document<'_>,
    lines: &[usize],
) -> Result<Vec<usize>, Refusal> {
    let mut nodes = Vec::new();
    let unreadable =
        |()| Refusal { reason: Reason::InvalidReseller, detail: "resellers are named by no list" };
    // Most names are told apart by their length alone.
    let first_name = |pattern: &Pattern| match pattern.steps.first() {
        Some(Step::Member(name)) => 1u64 << name.len().min(63),
        _ => 0,
    };
    let lengths = policy.reseller_members.iter().fold(0, |lengths, pattern| lengths | first_name(pattern));
    for (at, node) in document.nodes().skip(1) {
        if lengths >> node.key.len().min(63) & 1 == 0 {
            continue;
        }
        for pattern in &policy.reseller_members {
            let Some((Step::Member(name), rest)) = pattern.steps.split_first() else { continue };
            let here = pattern.anywhere || node.parent == 0;
            if here && node.key.len() == name.len() && node.key.eq_ignore_ascii_case(name) {
                find_into(document, at, rest, &mut nodes).map_err(unreadable)?;
            }
        }
    }
    for pattern in &endpoint.locations.resellers {
        let roots: &[usize] = if lines.is_empty() { &[0] } else { lines };
        for &root in roots {
            find_into(document, root, &pattern.steps, &mut nodes).map_err(unreadable)?;
        }
    }
    nodes.sort_unstable();
    nodes.dedup();
    Ok(nodes)
}

/// The resellers that these nodes name, each once on a line.
pub fn resellers_at(
    document: &Document<'_>,
    nodes: Vec<usize>,
    lines: &[usize],
) -> Result<Vec<NamedReseller>, Refusal> {
    let mut resellers = Vec::with_capacity(nodes.len());
    for node in nodes {
        let id = match &document.node(node).value {
            Value::Null => continue,
            Value::Text(text) if text.is_empty() => continue,
            Value::Text(text) => PartnerRef::parse(text),
            Value::Natural(number) => MpnId::from_number(*number).map(PartnerRef::Mpn),
            _ => None,
        };
        let Some(id) = id else {
            return refuse(
                Reason::InvalidReseller,
                "a reseller is named by neither an MPN id nor a tenant id",
            );
        };
        // The innermost line that holds the name; a root line speaks of the whole request.
        let line: Option<u16> =
            lines.iter().rposition(|line| *line != 0 && document.contains(*line, node)).map(|at| at as u16);
        if resellers.iter().any(|known: &NamedReseller| known.id == id && known.line == line) {
            continue;
        }
        if resellers.len() == RESELLERS_MAX {
            return refuse(Reason::TooManyLines, "the request names too many resellers");
        }
        resellers.push(NamedReseller { id, at: document.pointer(node), line });
    }
    Ok(resellers)
}

/// The text of a node that is a string.
fn text<'d>(document: &'d Document<'_>, node: usize) -> Option<&'d str> {
    match &document.node(node).value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// The one node that a pattern finds below another; two of them, or a body of another form, are an error.
fn find_one(document: &Document<'_>, from: usize, pattern: &Pattern) -> Result<Option<usize>, ()> {
    // Nearly always the name of one member.
    if let ([Step::Member(name)], Value::Object) = (pattern.steps.as_slice(), &document.node(from).value) {
        return Ok(document.member(from, name));
    }
    let mut found = Vec::new();
    find_into(document, from, &pattern.steps, &mut found)?;
    match found.as_slice() {
        [] => Ok(None),
        [node] => Ok(Some(*node)),
        _ => Err(()),
    }
}

/// Appends what the steps find. An absent or null member finds nothing; one of another form is an error, since a
/// reader behind the gateway may make something of it.
fn find_into(document: &Document<'_>, from: usize, steps: &[Step], found: &mut Vec<usize>) -> Result<(), ()> {
    let Some((step, rest)) = steps.split_first() else {
        found.push(from);
        return Ok(());
    };
    match (step, &document.node(from).value) {
        (_, Value::Null) => Ok(()),
        (Step::Member(name), Value::Object) => match document.member(from, name) {
            Some(member) => find_into(document, member, rest, found),
            None => Ok(()),
        },
        (Step::Each, Value::Array) => {
            document.children(from).try_for_each(|(child, _)| find_into(document, child, rest, found))
        }
        _ => Err(()),
    }
}
