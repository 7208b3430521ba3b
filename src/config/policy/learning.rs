//! The key `learns` of an operation: which of its answers tell that an agreement was accepted.

use crate::config::node::{Node, Value};
use crate::config::policy::places::pattern;
use crate::config::read::Reader;
use crate::policy::endpoint::CustomerAt;
use crate::policy::id::Name;
use crate::policy::learning::{By, Learning, Told};

/// Reads `learns`. The customer has to stand in the path: a body could name another one than the upstream acted for.
pub fn learning(reader: &Reader, node: &Node, customer: &CustomerAt) -> Option<Learning> {
    let section = reader.section(node)?;
    let agreement = section.require("agreement", |node| {
        let text = reader.text(node)?;
        let name = Name::new(&text);
        if name.is_none() {
            reader.error(node.span, format!("`{text}` is no name of an agreement"), None);
        }
        name
    });
    let by = section.require("by", |node| reader.choice(node, By::parse, &["attestation", "direct"]));
    let status = section.get("status", |node| reader.number(node, 200..=299));
    let when = section.require("when", |node| {
        let entries = reader.map(node)?;
        if entries.is_empty() {
            reader.error(node.span, "an answer that tells it has at least one member that says so", None);
        }
        let read = entries.iter().map(|(key, value)| {
            let place = Node { span: key.span, value: Value::Text(key.text.clone()) };
            let place = pattern(reader, &place)?;
            let told = |item: &Node| match item.value {
                Value::Bool(flag) => Some(Told::Flag(flag)),
                _ => Some(Told::Text(reader.text(item)?)),
            };
            Some((place, reader.list(value, told)?))
        });
        read.collect::<Option<Vec<_>>>()
    });
    let date = section.get("date", |node| pattern(reader, node));
    let date_span = section.node("date").map_or(node.span, |node| node.span);
    section.finish();
    let (agreement, by, when) = (agreement?, by?, when?);
    match (by, &date) {
        (By::Attestation, None) => {
            reader.error(node.span, "an attestation has a date: say where, with `date`", None);
            return None;
        }
        (By::Direct, Some(_)) => {
            reader.error(date_span, "a direct acceptance has no date", None);
            return None;
        }
        _ => {}
    }
    if !matches!(customer, CustomerAt::Segment(_)) {
        let hint = "add `{customer}` to the path".to_owned();
        reader.error(node.span, "only an operation whose path names the customer can tell of it", Some(hint));
        return None;
    }
    let default = if by == By::Attestation { 201 } else { 200 };
    Some(Learning {
        agreement,
        by,
        customer: customer.clone(),
        status: status.unwrap_or(default) as u16,
        when,
        date,
    })
}
