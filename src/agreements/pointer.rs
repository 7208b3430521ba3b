//! Pointers: places in the answer of a JSON endpoint, with elements of arrays found by the value of a member.

use std::fmt;

use serde_json::Value;

use crate::agreements::template::Template;
use crate::policy::agreement::Key;
use crate::remote::reading::Unusable;

/// A JSON pointer (RFC 6901) of which a step may be `[member=value]`: the one element of an array whose member has that
/// value, in which places such as `{agreement}` are filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Steps by name and number.
    Plain(String),
    /// The element whose member has a value.
    Element { member: String, value: Template },
}

/// Why a text is no pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PointerFault {
    /// It does not begin with `/`.
    NoPointer,
    /// A step begins with `[` and is not `[member=value]`.
    Step(String),
    /// The value of a step names this place, which is none.
    Place(String),
}

impl Pointer {
    /// Reads `/items/[kind={agreement}]/state`, and gives back what follows it: nothing, or `=` and more.
    pub fn parse(text: &str) -> Result<(Pointer, &str), PointerFault> {
        let mut steps = Vec::new();
        let mut rest = text;
        while let Some(step) = rest.strip_prefix('/') {
            if step.starts_with('[') {
                // A value may hold a slash, but no closing bracket.
                let end = step.find(']').map_or(step.len(), |at| at + 1);
                let (step, behind) = step.split_at(end);
                let fault = || PointerFault::Step(step.to_owned());
                let is_whole = behind.is_empty() || behind.starts_with(['/', '=']);
                let inner = step[1..].strip_suffix(']').filter(|_| is_whole).ok_or_else(fault)?;
                let (member, value) = inner.split_once('=').ok_or_else(fault)?;
                if member.is_empty() || value.is_empty() {
                    return Err(fault());
                }
                let value = Template::parse(value).map_err(PointerFault::Place)?;
                steps.push(Step::Element { member: member.to_owned(), value });
                rest = behind;
            } else {
                let end = step.find(['/', '=']).map_or(rest.len(), |at| at + 1);
                match steps.last_mut() {
                    Some(Step::Plain(before)) => before.push_str(&rest[..end]),
                    _ => steps.push(Step::Plain(rest[..end].to_owned())),
                }
                rest = &rest[end..];
            }
        }
        match steps.is_empty() || !(rest.is_empty() || rest.starts_with('=')) {
            true => Err(PointerFault::NoPointer),
            false => Ok((Pointer(steps), rest)),
        }
    }

    /// Reads a pointer that nothing follows.
    pub fn parse_whole(text: &str) -> Result<Pointer, PointerFault> {
        match Pointer::parse(text)? {
            (pointer, "") => Ok(pointer),
            _ => Err(PointerFault::NoPointer),
        }
    }

    /// True where a key has all that the pointer names.
    pub fn fits(&self, key: &Key) -> bool {
        self.0.iter().all(|step| match step {
            Step::Plain(_) => true,
            Step::Element { value, .. } => value.fill(key).is_some(),
        })
    }

    /// The value there, if there is one; two elements of that value leave open which is meant.
    pub fn find<'v>(&self, answer: &'v Value, key: &Key) -> Result<Option<&'v Value>, Unusable> {
        let mut at = answer;
        for step in &self.0 {
            let found = match step {
                Step::Plain(pointer) => at.pointer(pointer),
                Step::Element { member, value } => match value.fill(key) {
                    Some(wanted) => element(at, member, &wanted)?,
                    None => None,
                },
            };
            let Some(found) = found else { return Ok(None) };
            at = found;
        }
        Ok(Some(at))
    }
}

fn element<'v>(list: &'v Value, member: &str, wanted: &str) -> Result<Option<&'v Value>, Unusable> {
    let Value::Array(items) = list else { return Ok(None) };
    let is_it = |item: &&Value| item.get(member).is_some_and(|found| is(found, wanted));
    let mut found = items.iter().filter(is_it);
    let first = found.next();
    match found.next() {
        None => Ok(first),
        Some(_) => Err(Unusable::Silent("two elements of a list have the value that is looked for")),
    }
}

/// True where a value is the wanted one, as text without regard to case.
pub fn is(found: &Value, wanted: &str) -> bool {
    match found {
        Value::String(text) => wanted.eq_ignore_ascii_case(text),
        Value::Bool(flag) => wanted == if *flag { "true" } else { "false" },
        Value::Number(number) => number.to_string() == *wanted,
        _ => false,
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| match step {
            Step::Plain(pointer) => f.write_str(pointer),
            Step::Element { member, value } => write!(f, "/[{member}={value}]"),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::agreement::{Cloud, MCA, Party, Scope};
    use crate::policy::id::Guid;

    const CUSTOMER: &str = "9c0fba1e-0000-4a00-8000-0123456789ab";

    fn key() -> Key {
        let customer = Party::Customer(Guid::parse(CUSTOMER).unwrap());
        Key { cloud: Cloud::Commercial, agreement: MCA, party: customer, scope: Scope::None }
    }

    #[test]
    fn texts_are_pointers_with_what_follows_them_or_say_what_is_wrong() {
        let step = |text: &str| Err(PointerFault::Step(text.to_owned()));
        for (text, expected) in [
            ("/a", Ok(("/a", ""))),
            ("/", Ok(("/", ""))),
            ("/a/0/b~1c=x=y", Ok(("/a/0/b~1c", "=x=y"))),
            ("/[k=v]", Ok(("/[k=v]", ""))),
            ("/a/[k={agreement}]/b=x", Ok(("/a/[k={agreement}]/b", "=x"))),
            ("/a/[k=v/w=x]/[l={id}]=y", Ok(("/a/[k=v/w=x]/[l={id}]", "=y"))),
            ("/a[0]/b", Ok(("/a[0]/b", ""))),
            ("", Err(PointerFault::NoPointer)),
            ("a", Err(PointerFault::NoPointer)),
            ("[k=v]", Err(PointerFault::NoPointer)),
            ("=x", Err(PointerFault::NoPointer)),
            ("/a/[k=v", step("[k=v")),
            ("/a/[k]", step("[k]")),
            ("/a/[]", step("[]")),
            ("/a/[=v]", step("[=v]")),
            ("/a/[k=]/b", step("[k=]")),
            ("/a/[k=v]b", step("[k=v]")),
            ("/a/[k={party}]", Err(PointerFault::Place("party".to_owned()))),
            ("/a/[k={id]", Err(PointerFault::Place("{id".to_owned()))),
        ] {
            let read = Pointer::parse(text).map(|(pointer, rest)| (pointer.to_string(), rest));
            assert_eq!(read, expected.map(|(pointer, rest)| (pointer.to_owned(), rest)), "{text}");
        }
    }

    #[test]
    fn an_element_is_found_by_the_value_of_a_member() {
        let answer = json!({ "items": [
            { "kind": "MPA", "state": "signed" },
            { "kind": "mca", "state": "open", "of": [{ "id": CUSTOMER.to_uppercase(), "n": 1 }, { "id": "x", "n": 2 }] },
            { "kind": 7, "state": "seven" },
            { "kind": true, "state": "yes" },
            { "kind": "twice" }, { "kind": "Twice" }, { "Kind": "cased" }, ["kind"], "kind", null,
        ] });
        for (pointer, expected) in [
            ("/items/[kind=mpa]/state", Ok(Some(json!("signed")))),
            ("/items/[kind={agreement}]/state", Ok(Some(json!("open")))),
            ("/items/[kind={agreement}]/of/[id={id}]/n", Ok(Some(json!(1)))),
            ("/items/[kind={agreement}]/of/1/n", Ok(Some(json!(2)))),
            ("/items/[kind=7]/state", Ok(Some(json!("seven")))),
            ("/items/[kind=true]/state", Ok(Some(json!("yes")))),
            ("/items/[kind=True]/state", Ok(None)),
            ("/items/[kind=none]/state", Ok(None)),
            ("/items/[kind=mpa]/absent", Ok(None)),
            ("/items/[kind=cased]/state", Ok(None)),
            ("/items/0/[kind=mpa]", Ok(None)),
            ("/absent/[kind=mpa]", Ok(None)),
            // A key without a region has no such element.
            ("/items/[kind={region}]/state", Ok(None)),
            ("/items/[kind=twice]/state", Err(())),
        ] {
            let (parsed, _) = Pointer::parse(pointer).unwrap();
            let found = parsed.find(&answer, &key()).map_err(|_| ());
            assert_eq!(found, expected.as_ref().map(Option::as_ref).map_err(|_| ()), "{pointer}");
            assert_eq!(parsed.fits(&key()), !pointer.contains("{region}"), "{pointer}");
        }
    }
}
