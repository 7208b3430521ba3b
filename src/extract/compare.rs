//! Comparison: whether two values of two documents say the same, however they are spelt.

use std::cmp::Ordering;

use crate::extract::json::{Document, Value};
use crate::extract::moment::moment;

/// True where two values say the same. Names and texts compare without regard to case, times as moments; what is absent is
/// null, and so is an empty text.
pub fn same(sent: &Document<'_>, left: Option<usize>, there: &Document<'_>, right: Option<usize>) -> bool {
    let value_of = |document: &'_ Document<'_>, at: Option<usize>| match at.map(|at| &document.node(at).value)
    {
        None | Some(Value::Null) => true,
        Some(Value::Text(text)) => text.is_empty(),
        _ => false,
    };
    let (Some(left), Some(right)) = (left, right) else {
        return value_of(sent, left) && value_of(there, right);
    };
    match (&sent.node(left).value, &there.node(right).value) {
        (Value::Text(one), Value::Text(other)) => {
            one.eq_ignore_ascii_case(other) || moment(one).is_some_and(|at| moment(other) == Some(at))
        }
        (Value::Object, Value::Object) => {
            // Side by side in order of their names: a look for each would cost their product.
            let (ones, others) = (members(sent, left), members(there, right));
            let (mut ones, mut others) = (ones.into_iter().peekable(), others.into_iter().peekable());
            while ones.peek().is_some() || others.peek().is_some() {
                let order = match (ones.peek(), others.peek()) {
                    (Some((one, _)), Some((other, _))) => one.cmp(other),
                    (Some(_), None) => Ordering::Less,
                    _ => Ordering::Greater,
                };
                let one = if order.is_le() { ones.next() } else { None };
                let other = if order.is_ge() { others.next() } else { None };
                if !same(sent, one.map(|(_, at)| at), there, other.map(|(_, at)| at)) {
                    return false;
                }
            }
            true
        }
        (Value::Array, Value::Array) => {
            let mut ones = sent.children(left).map(|(at, _)| at);
            let mut others = there.children(right).map(|(at, _)| at);
            loop {
                match (ones.next(), others.next()) {
                    (None, None) => return true,
                    (Some(one), Some(other)) if same(sent, Some(one), there, Some(other)) => {}
                    _ => return false,
                }
            }
        }
        (one, other) => one == other || (value_of(sent, Some(left)) && value_of(there, Some(right))),
    }
}

/// The members of an object in order of their names, in lower case.
fn members(document: &Document<'_>, of: usize) -> Vec<(String, usize)> {
    let mut members: Vec<(String, usize)> =
        document.children(of).map(|(at, node)| (node.key.to_ascii_lowercase(), at)).collect();
    members.sort_unstable();
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(one: &str, other: &str) -> bool {
        let (one, other) = (one.as_bytes(), other.as_bytes());
        let (one, other) = (Document::parse(one).unwrap(), Document::parse(other).unwrap());
        let (there, back) = (same(&one, Some(0), &other, Some(0)), same(&other, Some(0), &one, Some(0)));
        assert_eq!(there, back, "in both directions");
        there
    }

    #[test]
    fn values_are_the_same_whatever_their_spelling() {
        for (one, other, expected) in [
            (r#"{"a":1,"b":[{"c":"x"}]}"#, r#"{"B":[{"C":"X"}],"A":1}"#, true),
            (r#"{"a":null,"b":""}"#, "{}", true),
            (r#"{"a":{}}"#, "{}", false),
            (r#"{"a":[]}"#, "{}", false),
            (r#"{"a":false}"#, "{}", false),
            (r#"{"a":0}"#, "{}", false),
            (r#"{"a":"2021-01-01T00:00:00Z"}"#, r#"{"a":"2021-01-01T01:00:00+01:00"}"#, true),
            (r#"{"a":"2021-01-01T00:00:00"}"#, r#"{"a":"2021-01-01T00:00:00.000Z"}"#, true),
            (r#"{"a":"1"}"#, r#"{"a":1}"#, false),
            (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#, false),
            (r#"{"a":[1]}"#, r#"{"a":[1,null]}"#, false),
            (r#"{"a":1,"c":3}"#, r#"{"a":1,"b":2,"c":3}"#, false),
            (r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1,"c":3}"#, false),
            (r#"{"x":{"a":1}}"#, r#"{"x":{"a":1,"b":null}}"#, true),
        ] {
            assert_eq!(alike(one, other), expected, "{one} {other}");
        }
    }
}
