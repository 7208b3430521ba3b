//! The key `upstream.reads`: with which identity resources are read before they are judged.

use std::time::Duration;

use crate::config::node::{Node, Value};
use crate::config::problem::Span;
use crate::config::read::{Reader, TIMEOUTS};
use crate::policy::id::Name;

/// What `upstream.reads` says.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The source whose identity it is.
    pub source: Name,
    /// Where that stands.
    pub span: Span,
    /// Questions a minute.
    pub per_minute: Option<u32>,
    /// The part of them for one caller, in percent.
    pub share_percent: Option<u8>,
    /// The longest that one takes.
    pub timeout: Option<Duration>,
}

/// Reads `upstream.reads`: the name of a source, or that with limits.
pub fn read(reader: &Reader, node: &Node) -> Option<Wanted> {
    let name = |node: &Node| {
        let text = reader.text(node)?;
        let name = Name::new(&text);
        if name.is_none() {
            reader.error(node.span, format!("`{text}` is no name of a source"), None);
        }
        name
    };
    let span = node.span;
    if !matches!(node.value, Value::Map(_)) {
        return Some(Wanted {
            source: name(node)?,
            span,
            per_minute: None,
            share_percent: None,
            timeout: None,
        });
    }
    let section = reader.section(node)?;
    let source = section.require("source", name);
    let per_minute = section.get("requests_per_minute", |node| reader.number(node, 10..=1_000_000));
    let share = section.get("caller_share", |node| reader.number(node, 1..=100));
    let timeout = section.get("timeout", |node| reader.duration_within(node, TIMEOUTS));
    section.finish();
    let (per_minute, share_percent) = (per_minute.map(|count| count as u32), share.map(|share| share as u8));
    Some(Wanted { source: source?, span, per_minute, share_percent, timeout })
}
