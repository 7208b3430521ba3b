//! Where a claim stands in a token.

use std::fmt;

use crate::extract::json::{Document, Value};

/// Where a claim stands: at the top of the token, or inside other members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath {
    /// The name of each member on the way; just one where the claim stands at the top.
    names: Vec<String>,
}

impl ClaimPath {
    /// A claim at the top.
    pub fn top(name: &str) -> ClaimPath {
        ClaimPath { names: vec![name.to_owned()] }
    }

    /// Reads the name of a claim, or a JSON pointer where the text begins with a slash (RFC 6901 sections 3 and 4). `None`
    /// for an empty name, and for a `~` in a pointer that is neither `~0` nor `~1`.
    pub fn parse(text: &str) -> Option<ClaimPath> {
        let Some(pointer) = text.strip_prefix('/') else {
            return (!text.is_empty()).then(|| ClaimPath::top(text));
        };
        let name = |step: &str| {
            let is_whole = step.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
            (is_whole && !step.is_empty()).then(|| step.replace("~1", "/").replace("~0", "~"))
        };
        Some(ClaimPath { names: pointer.split('/').map(name).collect::<Option<Vec<String>>>()? })
    }

    /// Whether it is the claim of that name at the top.
    pub fn is_top(&self, name: &str) -> bool {
        matches!(&self.names[..], [only] if only == name)
    }

    /// The claim, where a token has it.
    pub fn find(&self, claims: &Document<'_>) -> Option<usize> {
        self.names.iter().try_fold(0, |node, name| match claims.node(node).value {
            Value::Object => child(claims, node, name),
            Value::Array => {
                let is_index = name == "0" || !name.starts_with(['0', '+']);
                let at: usize = name.parse().ok().filter(|_| is_index)?;
                claims.children(node).nth(at).map(|(node, _)| node)
            }
            _ => None,
        })
    }

    /// The text that a token has there.
    pub fn text<'d>(&self, claims: &'d Document<'_>) -> Option<&'d str> {
        as_text(claims, self.find(claims)?)
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.names[..] {
            [only] if !only.starts_with('/') => f.write_str(only),
            names => {
                names.iter().try_for_each(|name| write!(f, "/{}", name.replace('~', "~0").replace('/', "~1")))
            }
        }
    }
}

/// The member of that name at the top.
pub fn member(document: &Document<'_>, name: &str) -> Option<usize> {
    child(document, 0, name)
}

/// The text of that name at the top.
pub fn text<'d>(document: &'d Document<'_>, name: &str) -> Option<&'d str> {
    as_text(document, member(document, name)?)
}

/// JOSE names are case-sensitive (RFC 7515 section 4).
fn child(document: &Document<'_>, of: usize, name: &str) -> Option<usize> {
    document.member(of, name).filter(|node| document.node(*node).key == name)
}

fn as_text<'d>(document: &'d Document<'_>, node: usize) -> Option<&'d str> {
    match &document.node(node).value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_found_by_its_name_or_by_a_pointer() {
        let token =
            br#"{"tid":"1","a":{"b":"2","B.c":"3"},"a.b":"4","/a/b":"5","l":["6",{"m":"7"}],"n~m":"8",
            "https://x.example/roles":"9","t":"10"}"#;
        let claims = Document::parse(token).unwrap();
        for (path, found) in [
            ("tid", Some("1")),
            ("/tid", Some("1")),
            ("TID", None),
            ("/a/b", Some("2")),
            ("/A/b", None),
            ("/a/B", None),
            ("/a/B.c", Some("3")),
            ("a.b", Some("4")),
            ("/a.b", Some("4")),
            ("/~1a~1b", Some("5")),
            ("/l/0", Some("6")),
            ("/l/1/m", Some("7")),
            ("/l/2", None),
            ("/l/00", None),
            ("/l/+0", None),
            ("/l/-", None),
            ("/n~0m", Some("8")),
            ("n~m", Some("8")),
            ("https://x.example/roles", Some("9")),
            ("/t/t", None),
            ("/a", None),
        ] {
            let parsed = ClaimPath::parse(path).unwrap();
            assert_eq!(parsed.text(&claims), found, "{path}");
            assert_eq!(ClaimPath::parse(&parsed.to_string()), Some(parsed), "{path}");
        }
        for path in ["", "/", "//", "/a/", "/a//b", "/a~", "/a~2b", "/~01~"] {
            assert_eq!(ClaimPath::parse(path), None, "{path}");
        }
    }
}
