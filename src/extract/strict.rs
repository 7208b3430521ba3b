//! Strict values: JSON of other servers as a tree, or a refusal where a name in one object stands twice.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Which names of one object are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Those of the same letters.
    Exact,
    /// Those that differ in the case of ASCII letters at most.
    AnyCase,
}

/// The reason why a text is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not JSON, goes on behind its value, or is nested deeper than 127 levels.
    NoJson,
    /// A member stands twice in one object. RFC 8259 section 4 leaves open which one counts: a reader that takes the
    /// last one and a server that meant the first would take a "no" for a "yes".
    Twice,
}

impl Fault {
    /// The fault in words, with nothing of the text.
    pub fn why(self) -> &'static str {
        match self {
            Fault::NoJson => "it is no JSON",
            Fault::Twice => "it has a member twice in one object",
        }
    }
}

/// Reads a text as one JSON value.
pub fn value(text: &[u8], names: Names) -> Result<Value, Fault> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    // Of all that the library finds fault with, only the seed's own error is one of data.
    let fault = |error: serde_json::Error| if error.is_data() { Fault::Twice } else { Fault::NoJson };
    let value = Seed(names).deserialize(&mut reader).map_err(fault)?;
    reader.end().map_err(fault)?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Seed(Names);

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        let mut folded = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            let is_new = match self.0 {
                Names::Exact => !all.contains_key(&name),
                Names::AnyCase => folded.insert(name.to_ascii_lowercase()),
            };
            if !is_new {
                return Err(A::Error::custom(Fault::Twice.why()));
            }
            let member = members.next_value_seed(self)?;
            all.insert(name, member);
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_what_it_says_unless_a_member_stands_twice() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        let (deepest, too_deep) = (deep(127), deep(128));
        let fine = None;
        let (twice, none) = (Some(Fault::Twice), Some(Fault::NoJson));
        for (text, exact, any_case) in [
            ("null", fine, fine),
            (r#"{"a":[1,-2,2.5,1e300,true,false,null,"ü\u0000\\",18446744073709551615],"b":{}}"#, fine, fine),
            (" [ ] ", fine, fine),
            (r#"{"a":{"a":1},"b":{"a":1}}"#, fine, fine),
            (r#"[{"a":1},{"a":1}]"#, fine, fine),
            (r#"{"a":1,"a":1}"#, twice, twice),
            (r#"{"a":1,"\u0061":1}"#, twice, twice),
            (r#"{"a":1,"b":2,"a":null}"#, twice, twice),
            (r#"[0,{"b":[{"a":1,"a":2}]}]"#, twice, twice),
            (r#"{"":1,"":2}"#, twice, twice),
            (r#"{"a":1,"A":1}"#, fine, twice),
            (r#"{"b":{"isSigned":1,"IsSigned":2}}"#, fine, twice),
            (r#"{"ü":1,"Ü":2}"#, fine, fine),
            (&deepest, fine, fine),
            (&too_deep, none, none),
            ("", none, none),
            ("{} {}", none, none),
            (r#"{"a":1"#, none, none),
            (r#"{"a":1,}"#, none, none),
            (r#"{"a":1e999}"#, none, none),
            (r#"{a:1}"#, none, none),
            ("\u{feff}{}", none, none),
        ] {
            for (names, expected) in [(Names::Exact, exact), (Names::AnyCase, any_case)] {
                let read = value(text.as_bytes(), names);
                assert_eq!(read.as_ref().err().copied(), expected, "{names:?} {text}");
                if let Ok(read) = read {
                    assert_eq!(read, serde_json::from_str::<Value>(text).unwrap(), "{names:?} {text}");
                }
            }
        }
        assert_eq!(value(b"\"\xff\"", Names::Exact), Err(Fault::NoJson));
    }
}
