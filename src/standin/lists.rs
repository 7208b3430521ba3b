//! Lists: the collections that were set from outside, and how many items a page of them has.

use std::sync::Mutex;

use serde_json::Value;

use crate::standin::locked::locked;

/// Audit records kept; the oldest one makes room when an attestation adds one.
const AUDIT_RECORDS_MAX: usize = 10_000;

/// Collections by name, all empty at first, in one page each.
#[derive(Default)]
pub struct Lists(Mutex<Content>);

#[derive(Default)]
struct Content {
    page_size: Option<usize>,
    agreement_records: Vec<Value>,
    relationships: Vec<Value>,
    audit_records: Vec<Value>,
}

/// Which collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `GET /v1/partners/customeragreementrecords`
    AgreementRecords,
    /// `GET /v1/relationships`
    Relationships,
    /// `GET /v1/auditrecords`
    AuditRecords,
}

/// Some items of a collection.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// The items.
    pub items: Vec<Value>,
    /// Where the next page begins, if there is one.
    pub next: Option<usize>,
}

impl Lists {
    /// Sets the items of a page, at least one; without it all items are one page.
    pub fn set_page_size(&self, size: Option<usize>) {
        locked(&self.0).page_size = size.map(|size| size.max(1));
    }

    /// The items of a page.
    pub fn page_size(&self) -> Option<usize> {
        locked(&self.0).page_size
    }

    /// Sets all items of a collection.
    pub fn set(&self, list: List, items: Vec<Value>) {
        *locked(&self.0).of_mut(list) = items;
    }

    /// Puts an audit record before all others: the newest comes first.
    pub fn add_audit_record(&self, record: Value) {
        let records = &mut locked(&self.0).audit_records;
        records.truncate(AUDIT_RECORDS_MAX - 1);
        records.insert(0, record);
    }

    /// The page that begins at `start` of those items of a collection that `keep` keeps.
    pub fn page(&self, list: List, start: usize, keep: impl Fn(&Value) -> bool) -> Page {
        let mut content = locked(&self.0);
        let size = content.page_size;
        page(content.of_mut(list).iter().filter(|item| keep(item)), start, size)
    }
}

impl Content {
    fn of_mut(&mut self, list: List) -> &mut Vec<Value> {
        match list {
            List::AgreementRecords => &mut self.agreement_records,
            List::Relationships => &mut self.relationships,
            List::AuditRecords => &mut self.audit_records,
        }
    }
}

/// The page of `items` that begins at `start`.
pub fn page<'a>(items: impl Iterator<Item = &'a Value>, start: usize, size: Option<usize>) -> Page {
    let mut rest = items.skip(start);
    let size = size.unwrap_or(usize::MAX);
    let items: Vec<Value> = rest.by_ref().take(size).cloned().collect();
    let next = rest.next().is_some().then_some(start + items.len());
    Page { items, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(range: std::ops::Range<usize>) -> Vec<Value> {
        range.map(Value::from).collect()
    }

    #[test]
    fn pages_cover_a_collection_once() {
        let rows = [
            (None, 0, 0..7, None),
            (Some(3), 0, 0..3, Some(3)),
            (Some(3), 3, 3..6, Some(6)),
            (Some(3), 6, 6..7, None),
            (Some(7), 0, 0..7, None),
            (Some(3), 9, 0..0, None),
        ];
        let lists = Lists::default();
        lists.set(List::Relationships, numbers(0..7));
        for (size, start, items, next) in rows {
            lists.set_page_size(size);
            let page = lists.page(List::Relationships, start, |_| true);
            assert_eq!(page, Page { items: numbers(items), next }, "{size:?} {start}");
        }
        assert_eq!(lists.page(List::AgreementRecords, 0, |_| true).items, numbers(0..0));
    }

    #[test]
    fn the_newest_audit_record_comes_first() {
        let lists = Lists::default();
        lists.set(List::AuditRecords, numbers(0..AUDIT_RECORDS_MAX));
        lists.add_audit_record(Value::from("new"));
        let records = lists.page(List::AuditRecords, 0, |_| true).items;
        assert_eq!(records.len(), AUDIT_RECORDS_MAX);
        assert_eq!(records[0], "new");
        assert_eq!(records[1], 0);
    }
}
