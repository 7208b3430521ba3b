//! Operations by name, while they are read.

use std::collections::HashMap;

use crate::config::node::Node;
use crate::config::read::Reader;
use crate::policy::operation::{Class, Operation, OperationId};
use crate::policy::role::NameTable;
use crate::policy::shape::Unread;

/// The names of classes, as operations give them.
pub const CLASSES: &[&str] =
    &["purchase", "increase", "change", "draft", "wind_down", "administration", "cure", "read"];

/// Names that shapes may use beside members.
#[derive(Clone, Copy)]
pub struct ShapeNames<'n> {
    /// Product classes.
    pub product_classes: &'n NameTable,
    /// Lists of values (`policy.lists`).
    pub lists: &'n HashMap<String, Vec<String>>,
    /// The unread reading of shapes that leave it to the policy (`policy.unread_reactivation`).
    pub unread_reactivation: Unread,
}

/// Every operation so far, and what their shapes may name.
pub struct Listed<'n> {
    /// Names that shapes may use.
    pub names: ShapeNames<'n>,
    /// The operations.
    pub operations: Vec<Operation>,
}

impl Listed<'_> {
    /// Adds an operation; its name is new.
    pub fn add(&mut self, reader: &Reader, node: &Node, name: String, class: Class) -> Option<OperationId> {
        let plain = !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
        if !plain {
            let hint = "a name has 1 to 64 lower-case letters, digits, `.`, `_` and `-`".to_owned();
            reader.error(node.span, format!("`{name}` is no name of an operation"), Some(hint));
            return None;
        }
        if self.operations.iter().any(|known| known.name == name) {
            reader.error(node.span, format!("an operation named `{name}` is there already"), None);
            return None;
        }
        let Ok(number) = u16::try_from(self.operations.len()) else {
            reader.error(node.span, "there are more than 65535 operations", None);
            return None;
        };
        self.operations.push(Operation { name, class });
        Some(OperationId(number))
    }
}
