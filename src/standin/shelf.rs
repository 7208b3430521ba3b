//! Shelf: resources that were stored by a request, or put there from outside, by their path.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use serde_json::Value;

use crate::standin::locked::locked;

/// Resources kept; the oldest one makes room, so that a load run that makes carts does not fill the memory.
const RESOURCES_MAX: usize = 8192;

/// One stored resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What a GET answers.
    pub resource: Value,
    /// The value of its `ETag` field.
    pub etag: Option<String>,
}

/// Resources by path; case and slashes at the ends do not matter.
#[derive(Default)]
pub struct Shelf(Mutex<Content>);

#[derive(Default)]
struct Content {
    resources: HashMap<String, Stored>,
    /// Paths by age; one that was forgotten may still be here.
    order: VecDeque<String>,
}

impl Shelf {
    /// Stores a resource, in place of the one that is there.
    pub fn put(&self, path: &str, resource: Value, etag: Option<&str>) {
        let key = key(path);
        let stored = Stored { resource, etag: etag.map(str::to_owned) };
        let mut content = locked(&self.0);
        if content.resources.insert(key.clone(), stored).is_some() {
            return;
        }
        content.order.push_back(key);
        while content.order.len() > RESOURCES_MAX {
            if let Some(oldest) = content.order.pop_front() {
                content.resources.remove(&oldest);
            }
        }
    }

    /// The resource at a path.
    pub fn get(&self, path: &str) -> Option<Stored> {
        locked(&self.0).resources.get(&key(path)).cloned()
    }

    /// Removes the resource at a path, if there is one.
    pub fn forget(&self, path: &str) {
        let key = key(path);
        let mut content = locked(&self.0);
        if content.resources.remove(&key).is_some() {
            content.order.retain(|other| *other != key);
        }
    }
}

fn key(path: &str) -> String {
    path.trim_matches('/').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_found_by_its_path_in_any_spelling() {
        let shelf = Shelf::default();
        shelf.put("/v1/customers/C/carts/K", Value::from(1), Some("e"));
        let stored = shelf.get("V1/customers/c/carts/k/").unwrap();
        assert_eq!((stored.resource, stored.etag.as_deref()), (Value::from(1), Some("e")));
        shelf.put("/v1/customers/c/carts/k", Value::from(2), None);
        assert_eq!(shelf.get("/v1/customers/c/carts/k").unwrap().resource, 2);
        shelf.forget("/v1/customers/C/carts/K/");
        assert_eq!(shelf.get("/v1/customers/c/carts/k"), None);
    }

    #[test]
    fn the_oldest_resource_makes_room() {
        let shelf = Shelf::default();
        for number in 0..=RESOURCES_MAX {
            shelf.put(&number.to_string(), Value::Null, None);
        }
        assert_eq!(shelf.get("0"), None);
        assert!(shelf.get("1").is_some());
    }
}
