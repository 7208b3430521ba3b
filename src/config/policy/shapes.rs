//! Shapes, changes and neutral members of an operation: from configuration to what bodies are held against.

use std::collections::HashMap;

use crate::config::node::{Node, Value};
use crate::config::policy::listed::{CLASSES, Listed, ShapeNames};
use crate::config::policy::rules::set;
use crate::config::read::{Reader, Section, did_you_mean, quoted};
use crate::policy::operation::{Class, OperationId};
use crate::policy::role::NameSet;
use crate::policy::shape::{Allowed, Change, Changes, Member, Notice, Objects, Shape, Unread};

/// Words that stand for values of members.
const WORDS: [(&str, Allowed); 5] = [
    ("any", Allowed::Any),
    ("scalar", Allowed::Scalar),
    ("same", Allowed::Repeated),
    ("billing_partner", Allowed::BillingPartner),
    ("another_partner", Allowed::AnotherPartner),
];

/// A shape of an operation of that class.
pub fn shape(listed: &mut Listed<'_>, reader: &Reader, node: &Node, default: Class) -> Option<Shape> {
    let section = reader.section(node)?;
    let (name, class) = name_and_class(reader, &section);
    let names = listed.names;
    let when = section.get("when", |node| members(names, reader, node));
    let has_when = when.is_some();
    let members = section.get("members", |node| match &node.value {
        Value::Text(text) if text == "any" => Some(None),
        _ => members(names, reader, node).map(Some),
    });
    if !has_when && members.is_none() {
        reader.error(node.span, "missing key `members`", None);
    }
    let resource = section.get("resource", |node| self::members(names, reader, node));
    let classes = listed.names.product_classes;
    let not_products = section.get("not_products", |node| set(reader, node, classes, "product class"));
    let reactivation = listed.names.unread_reactivation;
    let unread = section.get("unread", |node| match &node.value {
        Value::Text(text) if text == "by_policy" => Some(reactivation),
        _ => reader.choice(node, Unread::parse, &["holds", "notice", "strict", "by_policy"]),
    });
    let wiped = section.get("wiped", |node| {
        let parse = |text: &str| match text {
            "ignored" => Some(true),
            "counted" => Some(false),
            _ => None,
        };
        reader.choice(node, parse, &["counted", "ignored"])
    });
    let no_reseller = section.get("no_reseller", |node| reader.flag(node));
    let notice = section.get("notice", |node| reader.choice(node, Notice::parse, &["extension"]));
    section.finish();
    let (name, class) = (name?, class?);
    let members = match members {
        Some(None) if !has_when => {
            reader.error(node.span, "a shape of any members says with `when` what makes it one", None);
            return None;
        }
        Some(members) => members,
        None => Some(Vec::new()),
    };
    let shape = Shape {
        operation: weaker(listed, reader, node, "shape", name, class, default)?,
        class,
        when: when.unwrap_or_default(),
        members,
        resource: resource.unwrap_or_default(),
        not_products: not_products.unwrap_or(NameSet::EMPTY),
        unread: unread.unwrap_or(Unread::Holds),
        ignores_wiped: wiped.unwrap_or(false),
        no_reseller: no_reseller.unwrap_or(false),
        notice,
    };
    if shape.asks_resource() && unread.is_none() {
        let hint = "`strict` where it does not hold unread, else `notice` or `holds`".to_owned();
        reader.error(node.span, "a shape that asks the resource says what it is `unread`", Some(hint));
    }
    if class.is_gated() && shape.notice.is_some() {
        reader.error(node.span, "only what is never gated has a `notice`", None);
    }
    Some(shape)
}

/// Changes of an operation of that class.
pub fn changes(listed: &mut Listed<'_>, reader: &Reader, node: &Node, default: Class) -> Option<Changes> {
    let section = reader.section(node)?;
    let (name, class) = name_and_class(reader, &section);
    let names = listed.names;
    let unread = section.get("unread", |node| {
        let parse = |text: &str| Unread::parse(text).filter(|unread| *unread != Unread::Notice);
        reader.choice(node, parse, &["strict", "holds"])
    });
    let members = section.require("members", |node| {
        let read = reader.map(node)?.iter().map(|(key, value)| {
            let change = match &value.value {
                Value::Text(text) if text == "lowered" => Change::Lowered,
                _ => Change::To(allowed(names, reader, value)?),
            };
            Some((key.text.clone(), change))
        });
        read.collect::<Option<Vec<_>>>()
    });
    section.finish();
    let (name, class, members) = (name?, class?, members?);
    let operation = weaker(listed, reader, node, "change", name, class, default)?;
    Some(Changes { operation, class, without_reading: unread == Some(Unread::Holds), members })
}

/// Neutral members: a list of names, or names with the values with which they are.
pub fn neutral(names: ShapeNames<'_>, reader: &Reader, node: &Node) -> Option<Vec<Member>> {
    match node.value {
        Value::Map(_) => members(names, reader, node),
        _ => reader.list(node, |item| Some((reader.text(item)?, Allowed::Any))),
    }
}

fn name_and_class(reader: &Reader, section: &Section<'_>) -> (Option<String>, Option<Class>) {
    let name = section.require("name", |node| reader.text(node));
    let class = section.require("class", |node| reader.choice(node, Class::parse, CLASSES));
    (name, class)
}

/// Adds the operation of a weaker reading.
fn weaker(
    listed: &mut Listed<'_>,
    reader: &Reader,
    node: &Node,
    what: &str,
    name: String,
    class: Class,
    default: Class,
) -> Option<OperationId> {
    if class > default {
        let message = format!("the {what} is stronger than its operation, which is `{default}`");
        let hint = format!("a {what} is a weaker reading: raise the operation's class");
        reader.error(node.span, message, Some(hint));
        return None;
    }
    listed.add(reader, node, name, class)
}

fn members(names: ShapeNames<'_>, reader: &Reader, node: &Node) -> Option<Vec<Member>> {
    let mut members: Vec<Member> = Vec::new();
    for (key, value) in reader.map(node)? {
        if members.iter().any(|(known, _)| known.eq_ignore_ascii_case(&key.text)) {
            let message = format!("`{}` is there already: letter case does not matter", key.text);
            reader.error(key.span, message, None);
        }
        members.push((key.text.clone(), allowed(names, reader, value)?));
    }
    if members.is_empty() {
        reader.error(node.span, "there is at least one member", None);
        return None;
    }
    Some(members)
}

fn allowed(names: ShapeNames<'_>, reader: &Reader, value: &Node) -> Option<Allowed> {
    match &value.value {
        Value::Text(text) => {
            let word = WORDS.iter().find(|(word, _)| word == text);
            if word.is_none() {
                let words = quoted(&WORDS.map(|(word, _)| word));
                let hint = "a list of values such as `[suspended, deleted]`".to_owned();
                reader.error(value.span, format!("expected {words}, a list or a section"), Some(hint));
            }
            word.map(|(_, allowed)| allowed.clone())
        }
        Value::List(items) => {
            if items.is_empty() {
                reader.error(value.span, "the list is empty: nothing would be one of it", None);
            }
            Some(Allowed::OneOf(reader.list(value, |item| literal(reader, item))?))
        }
        Value::Map(_) if value.get("list").is_some() => {
            let section = reader.section(value)?;
            let name = section.require("list", |node| {
                let name = reader.text(node)?;
                let found = names.lists.get(&name);
                if found.is_none() {
                    let hint = did_you_mean(&name, names.lists.keys().map(String::as_str));
                    reader.error(node.span, format!("`policy.lists` has no `{name}`"), hint);
                }
                found.cloned()
            });
            section.finish();
            name.map(Allowed::OneOf)
        }
        Value::Map(_) if value.get("without").is_some() => {
            let section = reader.section(value)?;
            let names = section.require("without", |node| reader.list(node, |item| reader.text(item)));
            section.finish();
            if names.as_ref().is_some_and(Vec::is_empty) {
                reader.error(value.span, "the list is empty: `any` says the same", None);
            }
            names.map(Allowed::Without)
        }
        _ => {
            let section = reader.section(value)?;
            let each = section.require("each", |node| members(names, reader, node));
            let required = section.get("required", |node| reader.list(node, |item| reader.text(item)));
            let key = section.get("key", |node| reader.text(node));
            section.finish();
            let (each, required) = (each?, required.unwrap_or_default());
            let is_listed = |name: &String| each.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
            if let Some(name) = required.iter().find(|name| !is_listed(name)) {
                reader.error(value.span, format!("`{name}` is required, but not one of `each`"), None);
            }
            Some(Allowed::Objects(Objects { members: each, required, key }))
        }
    }
}

/// The lists that shapes name, by name.
pub fn lists(reader: &Reader, node: Option<&Node>) -> HashMap<String, Vec<String>> {
    let entries = node.and_then(|node| reader.map(node)).unwrap_or_default();
    let read = entries.iter().filter_map(|(key, value)| {
        Some((key.text.clone(), reader.list(value, |item| literal(reader, item))?))
    });
    read.collect()
}

/// A text, or a literal as JSON has it.
fn literal(reader: &Reader, node: &Node) -> Option<String> {
    match &node.value {
        Value::Bool(flag) => Some(flag.to_string()),
        _ => reader.text(node),
    }
}
