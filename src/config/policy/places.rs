//! Places: patterns, and where products stand.

use crate::config::node::Node;
use crate::config::read::Reader;
use crate::policy::pattern::Pattern;

/// A pattern.
pub fn pattern(reader: &Reader, node: &Node) -> Option<Pattern> {
    let text = reader.text(node)?;
    let parsed = Pattern::parse(&text);
    if parsed.is_none() {
        let hint = "a JSON pointer such as `/lineItems/*`, or `**/name` for any depth".to_owned();
        reader.error(node.span, format!("`{text}` is no pattern"), Some(hint));
    }
    parsed
}

/// Where a product stands, from its line.
pub fn product(reader: &Reader, node: &Node) -> Option<Vec<Pattern>> {
    let text = reader.text(node)?;
    let parsed: Option<Vec<Pattern>> = text.split(':').map(Pattern::parse).collect();
    let parsed = parsed.filter(|parts| parts.iter().all(|part| !part.anywhere && !part.steps.is_empty()));
    if parsed.is_none() {
        let hint =
            "a JSON pointer from the line such as `/offerId`, or several as `/productId:/skuId`".to_owned();
        reader.error(node.span, format!("`{text}` says no place of a product"), Some(hint));
    }
    parsed
}
