//! Where a claim stands in a token.

use crate::extract::json::{Document, Value};

/// The member of that name at the top. JOSE names are case-sensitive (RFC 7515 section 4).
pub fn member(document: &Document<'_>, name: &str) -> Option<usize> {
    document.member(0, name).filter(|node| document.node(*node).key == name)
}

/// The text of that name at the top.
pub fn text<'d>(document: &'d Document<'_>, name: &str) -> Option<&'d str> {
    match &document.node(member(document, name)?).value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}
