//! The section `headers`: which of a request's headers are kept back towards the upstream.

use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, IF_MATCH,
    TRANSFER_ENCODING,
};

use crate::config::node::Node;
use crate::config::read::{Reader, Section};
use crate::proxy::headers::{MS_CORRELATION_ID, MS_REQUEST_ID, TRACEPARENT};
use crate::proxy::keep_back::{KeepBack, Kind, Pattern, folded, kind};

/// Headers that a request is judged or recorded by, or that carry it: what is judged goes upstream with it.
const BINDING: [HeaderName; 10] = [
    HOST,
    AUTHORIZATION,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    IF_MATCH,
    MS_REQUEST_ID,
    MS_CORRELATION_ID,
    TRACEPARENT,
];

/// Reads `headers`.
pub fn headers(section: &Section<'_>) -> Option<KeepBack> {
    section.nested("keep_back", keep_back)
}

fn keep_back(section: &Section<'_>) -> KeepBack {
    let reader = section.reader();
    let added = section.get("add", |node| reader.list(node, |item| added(reader, item))).unwrap_or_default();
    let allow = |item: &Node| allowed(reader, item, &added);
    let allowed = section.get("allow", |node| reader.list(node, allow)).unwrap_or_default();
    KeepBack::new(added, allowed)
}

fn added(reader: &Reader, node: &Node) -> Option<Pattern> {
    let text = reader.text(node)?;
    let Some(pattern) = Pattern::parse(&text) else {
        let message = format!("`{text}` is no header, expected a name such as `X-Name`, or `X-Name-*`");
        reader.error(node.span, message, None);
        return None;
    };
    if let Some(bound) = BINDING.iter().find(|name| pattern.covers(name.as_str())) {
        let hint = match *bound {
            AUTHORIZATION => "set `upstream.authorization: remove`",
            _ => "what is judged or recorded of a request goes upstream with it",
        };
        let message = format!("`{text}` keeps back `{bound}`, which has to go through");
        reader.error(node.span, message, Some(hint.to_owned()));
        return None;
    }
    Some(pattern)
}

fn allowed(reader: &Reader, node: &Node, added: &[Pattern]) -> Option<String> {
    let text = reader.text(node)?;
    let Some(name) = folded(&text) else {
        let hint = "headers are allowed by their whole names".to_owned();
        reader.error(node.span, format!("`{text}` is no header's name"), Some(hint));
        return None;
    };
    let is_added = |pattern: &Pattern| pattern.covers(&name);
    let hint = match kind(&name) {
        Kind::KeptBack => return Some(name),
        Kind::Plain if added.contains(&Pattern::parse(&name)?) => {
            let hint = "leave it out of one of them".to_owned();
            reader.error(node.span, format!("`{text}` is in `add` and in `allow`"), Some(hint));
            return None;
        }
        Kind::Plain if added.iter().any(is_added) => return Some(name),
        Kind::Plain => {
            reader.warning(node.span, format!("`{text}` is not kept back: it passes anyway"), None);
            return Some(name);
        }
        Kind::Override => "it asks for another method than the one that is judged",
        Kind::Misleading => "it imitates the framing, or names another path than the one that is judged",
        Kind::Fixed => match name.as_str() {
            "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-proto" => {
                "the gateway says it itself; name the proxies before it in `listen.trusted_proxies`"
            }
            name if name.starts_with("countersign-") => "only the gateway says it",
            _ => "it is of the caller's own connection",
        },
    };
    reader.error(node.span, format!("`{text}` can not be allowed"), Some(hint.to_owned()));
    None
}
