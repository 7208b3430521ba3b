//! Order ids: read from the upstream's answer for the outcome record, as early as they stand there.

use std::fmt;

use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::mark::skip_mark;

/// The most ids that are recorded of one answer.
const IDS_MAX: usize = 100;

/// The ids of the orders that an answer names: its own top-level `id`, or those of its `orders`. An answer that is not
/// JSON, or that is cut short, names none beyond what was read.
pub fn ids(answer: &[u8]) -> Vec<String> {
    let mut ids = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(skip_mark(answer));
    // The visitor stops by an error once it has what it wants: the rest of a large answer is never read.
    let _ = reader.deserialize_map(AnswerVisitor { ids: &mut ids });
    ids
}

struct AnswerVisitor<'i> {
    ids: &'i mut Vec<String>,
}

impl<'de> Visitor<'de> for AnswerVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an order")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = members.next_key::<Name>()? {
            match name {
                Member::Id => {
                    self.ids.extend(members.next_value::<Option<String>>()?.filter(|id| id.len() <= 128));
                    return Err(A::Error::custom("found"));
                }
                Member::Orders => {
                    let orders: Vec<Order> = members.next_value()?;
                    self.ids.extend(orders.into_iter().filter_map(|order| order.0).take(IDS_MAX));
                    return Err(A::Error::custom("found"));
                }
                Member::Other => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

enum Member {
    Id,
    Orders,
    Other,
}

/// The name of a member, told without keeping it.
struct Name(Member);

impl<'de> serde::Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(Name(if name.eq_ignore_ascii_case("id") {
                    Member::Id
                } else if name.eq_ignore_ascii_case("orders") {
                    Member::Orders
                } else {
                    Member::Other
                }))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

/// An order, of which only the id is kept.
struct Order(Option<String>);

impl<'de> serde::Deserialize<'de> for Order {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Order, D::Error> {
        struct OrderVisitor;
        impl<'de> Visitor<'de> for OrderVisitor {
            type Value = Order;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an order")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Order, A::Error> {
                let mut id = None;
                while let Some(Name(name)) = members.next_key::<Name>()? {
                    match name {
                        Member::Id => {
                            id = members.next_value::<Option<String>>()?.filter(|id| id.len() <= 128)
                        }
                        _ => {
                            members.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(Order(id))
            }
        }
        deserializer.deserialize_map(OrderVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::ids;

    #[test]
    fn ids_are_read_from_orders_and_checkouts() {
        for (answer, expected) in [
            (r#"{"id":"a","lineItems":[{"id":1}]}"#, vec!["a"]),
            (r#"{"lineItems":[{"id":1}],"Id":"a"}"#, vec!["a"]),
            (
                r#"{"orders":[{"id":"a","lineItems":[]},{"lineItems":[],"id":"b"},{}],"orderErrors":[]}"#,
                vec!["a", "b"],
            ),
            (r#"{"id":null}"#, vec![]),
            ("\u{feff}{\"id\":\"a\"}", vec!["a"]),
            ("\u{feff}\u{feff}{\"id\":\"a\"}", vec![]),
            (r#"{"id":"a","cut":"#, vec!["a"]),
            (r#"[]"#, vec![]),
            ("<html>", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(ids(answer.as_bytes()), expected, "{answer}");
        }
    }
}
