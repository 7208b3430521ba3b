//! Merging: an override by name replaces whole keys; it never merges inside one.

use crate::config::node::{Node, Value};
use crate::config::read::Reader;

/// The keys of a policy that a preset may hold as well.
pub const SHARED_KEYS: [&str; 8] = [
    "customer_paths",
    "customer_members",
    "reseller_members",
    "products",
    "lists",
    "agreements",
    "operations",
    "rules",
];

/// Lays the shared keys of one tree over another.
pub fn merge(reader: &Reader, base: &mut Node, over: &Node) {
    for name in SHARED_KEYS {
        let Some(node) = over.get(name) else { continue };
        let merged = match (name, base.get(name)) {
            ("operations" | "rules" | "agreements", Some(known)) => named_lists(reader, known, node),
            ("products" | "lists", Some(known)) => Some(mappings(known, node)),
            _ => Some(node.value.clone()),
        };
        if let Some(value) = merged {
            set_node(base, name, Node { span: node.span, value });
        }
    }
}

fn set_node(base: &mut Node, name: &str, node: Node) {
    base.set(name, Value::Null);
    if let Value::Map(entries) = &mut base.value
        && let Some((_, slot)) = entries.iter_mut().find(|(key, _)| key.text == name)
    {
        *slot = node;
    }
}

/// Entries of one name become one, key by key; new names are added at the end.
fn named_lists(reader: &Reader, known: &Node, over: &Node) -> Option<Value> {
    let (Value::List(known), Value::List(over_items)) = (&known.value, &over.value) else {
        reader.error(over.span, "expected a list", None);
        return None;
    };
    let mut merged = known.clone();
    let mut seen: Vec<&str> = Vec::new();
    for item in over_items {
        let Some(Value::Text(name)) = item.get("name").map(|node| &node.value) else {
            reader.error(item.span, "missing key `name`", None);
            continue;
        };
        if seen.contains(&name.as_str()) {
            reader.error(item.span, format!("`{name}` is given twice"), None);
            continue;
        }
        seen.push(name);
        let is_same = |node: &Node| matches!(node.get("name"), Some(Node { value: Value::Text(text), .. }) if text == name);
        match merged.iter_mut().find(|node| is_same(node)) {
            Some(base) => {
                base.value = mappings(base, item);
                base.span = item.span;
            }
            None => merged.push(item.clone()),
        }
    }
    Some(Value::List(merged))
}

/// The entries of both; where a key is in both, the second's.
fn mappings(known: &Node, over: &Node) -> Value {
    let (Value::Map(known), Value::Map(over)) = (&known.value, &over.value) else {
        return over.value.clone();
    };
    let mut merged = known.clone();
    for (key, value) in over {
        match merged.iter_mut().find(|(known, _)| known.text == key.text) {
            Some(entry) => *entry = (key.clone(), value.clone()),
            None => merged.push((key.clone(), value.clone())),
        }
    }
    Value::Map(merged)
}
