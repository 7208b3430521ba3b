//! YAML as a tree of values with their places.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::config::problem::Span;

/// A value with its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub value: Value,
}

/// A YAML value.
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in order; no key occurs twice.
    Map(Vec<(Key, Node)>),
}

/// The key of a mapping.
#[derive(Clone, Debug)]
pub struct Key {
    /// Where it stands.
    pub span: Span,
    /// Its text.
    pub text: String,
}

impl Value {
    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

impl Node {
    /// Reads one YAML or JSON document. `${NAME}` and `${NAME:-default}` are replaced from `variables`.
    pub fn parse(
        text: &str,
        source: usize,
        variables: &HashMap<String, String>,
    ) -> Result<Node, (Option<Span>, String)> {
        // Bounded by the text itself: a ledger may have a million records. What could make more of it than stands
        // there (aliases, merges) keeps the library's bounds.
        let most = text.len().max(1_000);
        let options = serde_saphyr::options! {
            strict_booleans: true,
            with_snippet: false,
            budget: serde_saphyr::budget! {
                max_nodes: most * 2,
                max_events: most * 4,
                max_total_scalar_bytes: most * 4,
            },
        };
        let options = options.with_properties(variables.clone());
        let mut node: Node = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let span = error.location().map(|place| Span::at(source, place.line(), place.column()));
            let message = error.without_snippet().to_string();
            (span, message.lines().next().unwrap_or("not YAML").to_owned())
        })?;
        node.set_source(source);
        Ok(node)
    }

    fn set_source(&mut self, source: usize) {
        self.span.source = source;
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.set_source(source)),
            Value::Map(entries) => entries.iter_mut().for_each(|(key, value)| {
                key.span.source = source;
                value.set_source(source);
            }),
            _ => {}
        }
    }

    /// The value of a key, where this is a mapping.
    pub fn get(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(key, _)| key.text == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Sets the value at a dotted path, making mappings on the way: settings given from outside the file.
    pub fn set(&mut self, path: &str, value: Value) {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let span = self.span;
        if !matches!(self.value, Value::Map(_)) {
            self.value = Value::Map(Vec::new());
        }
        let Value::Map(entries) = &mut self.value else { unreachable!("it was just made a mapping") };
        let at = entries.iter().position(|(key, _)| key.text == name).unwrap_or_else(|| {
            entries.push((Key { span, text: name.to_owned() }, Node { span, value: Value::Null }));
            entries.len() - 1
        });
        match rest {
            Some(rest) => entries[at].1.set(rest, value),
            None => entries[at].1.value = value,
        }
    }

    /// The value as JSON, for records.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(flag) => (*flag).into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => {
                entries.iter().map(|(key, value)| (key.text.clone(), value.to_json())).collect()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Node { span: span_of(&spanned.referenced), value: spanned.value })
    }
}

fn span_of(place: &serde_saphyr::Location) -> Span {
    Span { length: place.span().len() as usize, ..Span::at(0, place.line(), place.column()) }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let key = Key { span: span_of(&key.referenced), text: key.value };
            map.push((key, entries.next_value()?));
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Node, (Option<Span>, String)> {
        let variables = HashMap::from([("PORT".to_owned(), "9".to_owned())]);
        Node::parse(text, 0, &variables)
    }

    #[test]
    fn every_value_knows_its_place() {
        let node = parse("a: ${PORT}\nb:\n  - x\n  - { c: 9, d: \"5139005\", e: NO, f: }\n").unwrap();
        let item = |node: &Node, at: usize| match &node.value {
            Value::List(items) => items[at].clone(),
            other => panic!("{other:?}"),
        };
        let second = item(node.get("b").unwrap(), 1);
        assert_eq!((second.get("c").unwrap().span.line, second.get("c").unwrap().span.column), (4, 10));
        assert!(matches!(node.get("a").unwrap().value, Value::Integer(9)));
        assert!(matches!(&second.get("d").unwrap().value, Value::Text(text) if text == "5139005"));
        assert!(matches!(&second.get("e").unwrap().value, Value::Text(text) if text == "NO"));
        assert!(matches!(second.get("f").unwrap().value, Value::Null));
        let Value::Map(entries) = &node.value else { panic!() };
        assert_eq!((entries[1].0.span.line, entries[1].0.span.column), (2, 1));
    }

    #[test]
    fn what_is_no_yaml_says_where() {
        for (text, line) in [("a: 1\na: 2\n", 2), ("a: [1\nb: 2\n", 2), ("a: ${MISSING}\n", 1)] {
            let (span, message) = parse(text).unwrap_err();
            assert_eq!(span.map(|span| span.line), Some(line), "{text}: {message}");
        }
    }
}
