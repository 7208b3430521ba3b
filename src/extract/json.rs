//! Strict JSON: one pass over the bytes into a flat tree, or a refusal where two readers could differ.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::policy::path::imitates_ascii;

/// The deepest nesting that is read.
pub const DEPTH_MAX: usize = 32;

/// A value; arrays and objects hold the nodes that follow them.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'b> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number that is a natural number below 2^64.
    Natural(u64),
    /// Any other number.
    Number(f64),
    /// A string, borrowed from the body where it holds no escape.
    Text(Cow<'b, str>),
    /// An array.
    Array,
    /// An object.
    Object,
}

/// A value with its place in the tree.
#[derive(Clone, Debug)]
pub struct Node<'b> {
    /// Its name where the parent is an object.
    pub key: Cow<'b, str>,
    /// Its number where the parent is an array.
    pub index: u32,
    /// The parent; the root is its own.
    pub parent: u32,
    /// One past the last node below it.
    pub end: u32,
    /// The value.
    pub value: Value<'b>,
}

/// A JSON text as a flat tree: a node's children follow it.
#[derive(Clone, Debug)]
pub struct Document<'b> {
    nodes: Vec<Node<'b>>,
}

/// Why a body is not one unambiguous JSON object; holds nothing of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable(pub &'static str);

impl<'b> Document<'b> {
    /// Reads a body: UTF-8 without a byte order mark, one object, no trailing data, at most [`DEPTH_MAX`] deep, and
    /// no two names in one object that are equal but for case (RFC 8259 section 4 leaves their meaning open).
    pub fn parse(body: &'b [u8]) -> Result<Document<'b>, Unreadable> {
        let text = std::str::from_utf8(body).map_err(|_| Unreadable("the body is not UTF-8"))?;
        if text.starts_with('\u{feff}') {
            return Err(Unreadable("the body starts with a byte order mark"));
        }
        if !text.trim_ascii_start().starts_with('{') {
            return Err(Unreadable("the body is not a JSON object"));
        }
        let mut nodes = Vec::with_capacity(body.len() / 24 + 8);
        let mut reader = serde_json::Deserializer::from_str(text);
        let seed = Seed { nodes: &mut nodes, key: Cow::Borrowed(""), index: 0, parent: 0, depth: 0 };
        seed.deserialize(&mut reader).map_err(|error| Unreadable(explain(&error)))?;
        reader.end().map_err(|_| Unreadable("the body goes on after its JSON object"))?;
        Ok(Document { nodes })
    }

    /// The node of that number; the root is 0.
    pub fn node(&self, at: usize) -> &Node<'b> {
        &self.nodes[at]
    }

    /// Every node, parents before children.
    pub fn nodes(&self) -> impl Iterator<Item = (usize, &Node<'b>)> {
        self.nodes.iter().enumerate()
    }

    /// The children of a node.
    pub fn children(&self, of: usize) -> impl Iterator<Item = (usize, &Node<'b>)> {
        let end = self.nodes[of].end as usize;
        let mut at = of + 1;
        std::iter::from_fn(move || {
            (at < end).then(|| {
                let child = (at, &self.nodes[at]);
                at = child.1.end as usize;
                child
            })
        })
    }

    /// The member of that name, compared without regard to case.
    pub fn member(&self, of: usize, name: &str) -> Option<usize> {
        if self.nodes[of].value != Value::Object {
            return None;
        }
        self.children(of).find(|(_, node)| node.key.eq_ignore_ascii_case(name)).map(|(at, _)| at)
    }

    /// Whether `below` is `above` or lies below it.
    pub fn contains(&self, above: usize, below: usize) -> bool {
        above <= below && below < self.nodes[above].end as usize
    }

    /// The JSON pointer (RFC 6901) of a node, in the spelling of the body.
    pub fn pointer(&self, at: usize) -> String {
        let mut pointer = String::with_capacity(32);
        self.write_pointer(at, &mut pointer);
        pointer
    }

    fn write_pointer(&self, at: usize, pointer: &mut String) {
        use std::fmt::Write;
        if at == 0 {
            return;
        }
        let node = &self.nodes[at];
        let parent = node.parent as usize;
        self.write_pointer(parent, pointer);
        if self.nodes[parent].value == Value::Array {
            write!(pointer, "/{}", node.index).expect("writing to a string");
        } else {
            pointer.push('/');
            for letter in node.key.chars() {
                match letter {
                    '~' => pointer.push_str("~0"),
                    '/' => pointer.push_str("~1"),
                    other => pointer.push(other),
                }
            }
        }
    }
}

/// The longest member name that is read, in bytes: pointers are made of them.
pub const NAME_BYTES_MAX: usize = 256;

const TOO_LONG: &str = "the body has a member name longer than 256 bytes";
const DUPLICATE: &str = "the body names a member twice";
const FOLDED: &str = "the body has a member whose name some readers take for another one";
const TOO_DEEP: &str = "the body is nested deeper than 32 levels";

/// Only texts of our own leave here: the library's messages may quote the body.
fn explain(error: &serde_json::Error) -> &'static str {
    let text = error.to_string();
    [DUPLICATE, FOLDED, TOO_DEEP, TOO_LONG]
        .into_iter()
        .find(|known| text.starts_with(known))
        .unwrap_or(if error.is_eof() { "the body ends inside its JSON" } else { "the body is not JSON" })
}

struct Seed<'n, 'b> {
    nodes: &'n mut Vec<Node<'b>>,
    key: Cow<'b, str>,
    index: u32,
    parent: u32,
    depth: usize,
}

impl<'b> Seed<'_, 'b> {
    fn push(self, value: Value<'b>) {
        let end = self.nodes.len() as u32 + 1;
        self.nodes.push(Node { key: self.key, index: self.index, parent: self.parent, end, value });
    }
}

impl<'b> DeserializeSeed<'b> for Seed<'_, 'b> {
    type Value = ();

    fn deserialize<D: Deserializer<'b>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'b> Visitor<'b> for Seed<'_, 'b> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.push(Value::Null);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.push(Value::Bool(value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.push(Value::Natural(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.push(Value::Number(value as f64));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.push(Value::Number(value));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.push(Value::Text(Cow::Owned(value.to_owned())));
        Ok(())
    }

    fn visit_borrowed_str<E>(self, value: &'b str) -> Result<(), E> {
        self.push(Value::Text(Cow::Borrowed(value)));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'b>>(self, mut items: A) -> Result<(), A::Error> {
        if self.depth == DEPTH_MAX {
            return Err(A::Error::custom(TOO_DEEP));
        }
        let Seed { nodes, key, index, parent, depth } = self;
        let own = nodes.len();
        nodes.push(Node { key, index, parent, end: 0, value: Value::Array });
        let mut index = 0;
        loop {
            let seed = Seed { nodes, key: Cow::Borrowed(""), index, parent: own as u32, depth: depth + 1 };
            if items.next_element_seed(seed)?.is_none() {
                break;
            }
            index += 1;
        }
        nodes[own].end = nodes.len() as u32;
        Ok(())
    }

    fn visit_map<A: MapAccess<'b>>(self, mut members: A) -> Result<(), A::Error> {
        if self.depth == DEPTH_MAX {
            return Err(A::Error::custom(TOO_DEEP));
        }
        let Seed { nodes, key, index, parent, depth } = self;
        let own = nodes.len();
        nodes.push(Node { key, index, parent, end: 0, value: Value::Object });
        let mut names = Names::default();
        while let Some(Key(key)) = members.next_key()? {
            if key.len() > NAME_BYTES_MAX {
                return Err(A::Error::custom(TOO_LONG));
            }
            let is_plain = key.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            if !is_plain && key.chars().any(imitates_ascii) {
                return Err(A::Error::custom(FOLDED));
            }
            if !names.add(nodes, own, &key) {
                return Err(A::Error::custom(DUPLICATE));
            }
            let seed = Seed { nodes, key, index: 0, parent: own as u32, depth: depth + 1 };
            members.next_value_seed(seed)?;
        }
        nodes[own].end = nodes.len() as u32;
        Ok(())
    }
}

/// The names of one object so far: compared one by one while few, by a folded set from then on, so that an object of
/// a hundred thousand members costs no more than its length.
#[derive(Default)]
struct Names {
    count: usize,
    folded: Option<std::collections::HashSet<String>>,
}

impl Names {
    const FEW: usize = 24;

    fn add(&mut self, nodes: &[Node<'_>], object: usize, key: &str) -> bool {
        self.count += 1;
        if self.count <= Self::FEW {
            // No letter outside ASCII is another case of one inside it: those names were refused before.
            return match key.is_ascii() {
                true => !children_so_far(nodes, object).any(|known| known.eq_ignore_ascii_case(key)),
                false => {
                    !children_so_far(nodes, object).any(|known| known.to_lowercase() == key.to_lowercase())
                }
            };
        }
        self.folded
            .get_or_insert_with(|| children_so_far(nodes, object).map(str::to_lowercase).collect())
            .insert(key.to_lowercase())
    }
}

/// The names of the children of an object that is still being read.
fn children_so_far<'n>(nodes: &'n [Node<'_>], object: usize) -> impl Iterator<Item = &'n str> {
    let mut at = object + 1;
    std::iter::from_fn(move || {
        let node = nodes.get(at)?;
        at = node.end as usize;
        Some(node.key.as_ref())
    })
}

struct Key<'b>(Cow<'b, str>);

impl<'b> serde::Deserialize<'b> for Key<'b> {
    fn deserialize<D: Deserializer<'b>>(deserializer: D) -> Result<Key<'b>, D::Error> {
        struct KeyVisitor;
        impl<'b> Visitor<'b> for KeyVisitor {
            type Value = Key<'b>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member name")
            }

            fn visit_str<E>(self, value: &str) -> Result<Key<'b>, E> {
                Ok(Key(Cow::Owned(value.to_owned())))
            }

            fn visit_borrowed_str<E>(self, value: &'b str) -> Result<Key<'b>, E> {
                Ok(Key(Cow::Borrowed(value)))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_those_of_the_body() {
        let document = Document::parse(br#"{"LineItems":[{"a/b":{"x~y":1}},2],"q":null}"#).unwrap();
        let pointers: Vec<String> = document.nodes().map(|(at, _)| document.pointer(at)).collect();
        assert_eq!(
            pointers,
            [
                "",
                "/LineItems",
                "/LineItems/0",
                "/LineItems/0/a~1b",
                "/LineItems/0/a~1b/x~0y",
                "/LineItems/1",
                "/q"
            ]
        );
        let line = document.member(0, "lineitems").unwrap();
        assert_eq!(document.children(line).count(), 2);
        assert!(document.contains(line, 4) && !document.contains(line, 6));
    }
}
