//! The ledger: a file in which the operator records where agreements stand.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::agreements::source::{Question, Said, Saying, Source};
use crate::clock::{Moment, Now};
use crate::policy::agreement::{Agreement, Cloud, Key, Party, PartyKind, Region, STANDING, Scope, Status};
use crate::policy::id::{Guid, MpnId, Name, PartnerRef};

/// Whom a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A billing partner.
    Partner(PartnerRef),
    /// A reseller.
    Reseller(PartnerRef),
    /// A customer.
    Customer(Guid),
}

/// One status of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// In which cloud.
    pub cloud: Cloud,
    /// Of which agreement.
    pub agreement: Agreement,
    /// Signed for which region; `None` for all.
    pub region: Option<Region>,
    /// Attested by which partner; `None` for a direct acceptance.
    pub attested_by: Option<Guid>,
    /// Where it stands.
    pub status: Status,
}

/// A ledger as read from its file.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// The records, the same in any order.
    pub entries: HashMap<Subject, Vec<Entry>>,
    /// The MPN ids by which it names a partner, by the partner's tenant.
    pub mpn_ids: HashMap<Guid, Vec<MpnId>>,
    /// The kinds of party of which it names all.
    pub complete: HashSet<PartyKind>,
    /// When it was loaded.
    pub loaded_at: Timestamp,
    /// When it was written: what was learnt since is newer. As a file tells, it is the later of the moments when it was
    /// written and when it came to its place, and not ahead of `loaded_at`.
    pub written_at: Timestamp,
}

impl Ledger {
    /// The status that the ledger tells of a key; `last` says that no further source follows. Of acceptances the newest counts; else a
    /// record of the very region, or of the attesting partner, counts before one for all.
    pub fn say(&self, key: &Key, last: bool) -> Option<Status> {
        let (mut narrow, mut wide): (Option<Status>, Option<Status>) = (None, None);
        for subject in self.subjects(key) {
            let entries = self.entries.get(&subject).into_iter().flatten();
            for entry in entries.filter(|entry| concerns(entry, key)) {
                let told = if is_narrow(entry, key) { &mut narrow } else { &mut wide };
                *told = Some(told.map_or(entry.status, |known| known.merged(entry.status)));
            }
        }
        let told = match (narrow, wide) {
            (Some(narrow), Some(wide)) if narrow.is_accepted() && wide.is_accepted() => {
                Some(narrow.merged(wide))
            }
            (narrow, wide) => narrow.or(wide),
        };
        let is_all = last && self.complete.contains(&key.party.kind());
        told.or(is_all.then_some(Status::MISSING))
    }

    /// Every way in which a record may name the party of a key.
    fn subjects(&self, key: &Key) -> impl Iterator<Item = Subject> {
        let (party, ids) = (key.party, key.party.ids());
        // Each MPN id of a partner has a standing of its own.
        let tenant = ids.tenant.filter(|_| key.agreement != STANDING);
        let others = tenant.and_then(|tenant| self.mpn_ids.get(&tenant)).into_iter().flatten().copied();
        let mpn_ids = ids.mpn.into_iter().chain(others.filter(move |other| ids.mpn != Some(*other)));
        let names = ids.tenant.map(PartnerRef::Tenant).into_iter().chain(mpn_ids.map(PartnerRef::Mpn));
        names.filter_map(move |name| match (party, name) {
            (Party::Partner(_), name) => Some(Subject::Partner(name)),
            (Party::Reseller(_), name) => Some(Subject::Reseller(name)),
            (Party::Customer(_), PartnerRef::Tenant(tenant)) => Some(Subject::Customer(tenant)),
            (Party::Customer(_), PartnerRef::Mpn(_)) => None,
        })
    }
}

fn concerns(entry: &Entry, key: &Key) -> bool {
    let is_customer = key.party.kind() == PartyKind::Customer;
    let in_scope = match key.scope {
        // An attestation belongs to the partner that made it; a direct acceptance follows the customer.
        Scope::Billing(partner) => {
            is_customer && entry.attested_by.is_none_or(|attested| attested == partner)
        }
        Scope::Region(region) => !is_customer && entry.region.is_none_or(|signed| signed == region),
        // Where no region is known, only a record that names none speaks of it.
        Scope::None => entry.region.is_none() && entry.attested_by.is_none(),
    };
    entry.cloud == key.cloud && entry.agreement == key.agreement && in_scope
}

/// True where an entry speaks of the key's region or billing partner alone.
fn is_narrow(entry: &Entry, key: &Key) -> bool {
    match key.scope {
        Scope::Billing(_) => entry.attested_by.is_some(),
        Scope::Region(_) => entry.region.is_some(),
        Scope::None => false,
    }
}

/// A ledger file as a source; the last good reading of it stays in force while an edit is broken.
#[derive(Debug)]
pub struct FileSource {
    name: Name,
    path: PathBuf,
    held: ArcSwap<Held>,
}

/// A ledger in force.
#[derive(Debug)]
struct Held {
    ledger: Ledger,
    /// The moment at which it was written. The wall clock may be set while it is in force.
    written: Moment,
    /// The agreements that it has a record of.
    agreements: Vec<Agreement>,
}

impl Ledger {
    /// The agreements that it has a record of, each once.
    pub fn agreements(&self) -> Vec<Agreement> {
        let mut agreements: Vec<Agreement> =
            self.entries.values().flatten().map(|entry| entry.agreement).collect();
        agreements.sort_unstable();
        agreements.dedup();
        agreements
    }

    /// This reading, dated as one that comes after another: what it changes was said when it was read, since a file may
    /// come with old dates (`cp -p`, `tar`, layers of images); what it does not change was said when it was, or later by
    /// the word of the file.
    #[must_use]
    pub fn after(self, before: &Ledger) -> Ledger {
        let is_same = self.entries == before.entries && self.complete == before.complete;
        let written_at = match is_same {
            true => self.written_at.max(before.written_at),
            false => self.loaded_at,
        };
        Ledger { written_at, ..self }
    }
}

impl Entry {
    /// Its place among the entries of a subject.
    fn order(self) -> impl Ord {
        let (kind, at, undated) = match self.status {
            Status::Accepted { at, undated } => (0, at, undated),
            Status::Missing(_) => (1, None, false),
            Status::NotApplicable => (2, None, false),
        };
        (self.cloud, self.agreement, self.region, self.attested_by, kind, at, undated)
    }
}

/// Puts entries of one subject in their order, each once.
pub fn normalise(entries: &mut Vec<Entry>) {
    entries.sort_unstable_by_key(|entry| entry.order());
    entries.dedup();
}

impl Held {
    fn new(ledger: Ledger) -> Held {
        let written = Now::read().at_wall(ledger.written_at);
        Held { agreements: ledger.agreements(), written, ledger }
    }
}

impl FileSource {
    /// A source over a ledger that was read from `path`.
    pub fn new(name: Name, path: PathBuf, ledger: Ledger) -> FileSource {
        FileSource { name, path, held: ArcSwap::from_pointee(Held::new(ledger)) }
    }

    /// A source over a later reading, in place of one that runs: what was read is as old as it was, by every clock.
    pub fn after(name: Name, path: PathBuf, ledger: Ledger, running: &FileSource) -> FileSource {
        let held = running.later(ledger);
        FileSource { name, path, held: ArcSwap::from_pointee(held) }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a newer reading in force.
    pub fn replace(&self, ledger: Ledger) {
        self.held.store(Arc::new(self.later(ledger)));
    }

    fn later(&self, ledger: Ledger) -> Held {
        let before = self.held.load();
        let held = Held::new(ledger.after(&before.ledger));
        let is_as_old = held.ledger.written_at == before.ledger.written_at;
        Held { written: if is_as_old { before.written } else { held.written }, ..held }
    }
}

impl Source for FileSource {
    fn name(&self) -> Name {
        self.name
    }

    fn epoch(&self) -> u64 {
        // It is asked anew whenever it may have changed.
        0
    }

    fn is_local(&self) -> bool {
        true
    }

    /// A complete ledger without any record of an agreement was not written with that agreement in mind.
    fn may_say(&self, key: &Key) -> bool {
        self.held.load().agreements.contains(&key.agreement)
    }

    fn look_up<'a>(&'a self, question: &'a Question) -> Saying<'a> {
        let held = self.held.load();
        let said = match held.ledger.say(&question.key, question.last) {
            Some(status) => Said::Definite { status, observed: held.written },
            None => Said::Nothing,
        };
        Box::pin(std::future::ready(said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::agreement::MCA;

    #[test]
    fn what_changed_is_as_old_as_its_reading_and_what_did_not_as_old_as_it_was() {
        let time = |hour: i64| Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(1_000_000 + hour);
        let entry = |status| Entry {
            cloud: Cloud::Commercial,
            agreement: MCA,
            region: None,
            attested_by: None,
            status,
        };
        let ledger = |records: &[(u128, Status)], complete: &[PartyKind], loaded_at, written_at| {
            let mut entries: HashMap<Subject, Vec<Entry>> = HashMap::new();
            for (bits, status) in records {
                entries.entry(Subject::Customer(Guid::from_bits(*bits))).or_default().push(entry(*status));
            }
            entries.values_mut().for_each(normalise);
            let complete = complete.iter().copied().collect();
            Ledger {
                entries,
                mpn_ids: HashMap::new(),
                complete,
                loaded_at: time(loaded_at),
                written_at: time(written_at),
            }
        };
        let (new, old) = (Status::accepted(time(-9)), Status::accepted(time(-99)));
        let customers = [PartyKind::Customer];
        let before = ledger(&[(1, old), (1, new), (2, Status::MISSING)], &[], 20, 10);
        for (row, after, expected) in [
            ("the same", ledger(&[(1, old), (1, new), (2, Status::MISSING)], &[], 30, 10), 10),
            ("the same, touched", ledger(&[(1, old), (1, new), (2, Status::MISSING)], &[], 30, 25), 25),
            (
                "the same, of an old file",
                ledger(&[(1, old), (1, new), (2, Status::MISSING)], &[], 30, -50),
                10,
            ),
            ("in another order", ledger(&[(2, Status::MISSING), (1, new), (1, old)], &[], 30, 5), 10),
            ("one twice", ledger(&[(2, Status::MISSING), (1, new), (1, new), (1, old)], &[], 30, 5), 10),
            ("another status", ledger(&[(1, old), (1, new), (2, Status::NotApplicable)], &[], 30, -50), 30),
            ("another date", ledger(&[(1, old), (2, Status::MISSING)], &[], 30, 25), 30),
            ("one more", ledger(&[(1, old), (1, new), (2, new), (2, Status::MISSING)], &[], 30, 5), 30),
            ("nothing", ledger(&[], &[], 30, -50), 30),
            ("complete", ledger(&[(1, old), (1, new), (2, Status::MISSING)], &customers, 30, 5), 30),
        ] {
            assert_eq!(after.after(&before).written_at, time(expected), "{row}");
        }
    }

    #[test]
    fn a_narrower_record_counts_where_it_contradicts_a_wider_one() {
        let at = |text: &str| Status::accepted(text.parse().unwrap());
        let (old, new) = (at("2020-01-01T00:00:00Z"), at("2024-01-01T00:00:00Z"));
        let (missing, none) = (Status::MISSING, Status::NotApplicable);
        let newest = Status::Accepted { at: Some("2024-01-01T00:00:00Z".parse().unwrap()), undated: true };
        let partner = Guid::from_bits(1);
        let ids = crate::policy::agreement::PartnerIds { tenant: Some(partner), mpn: None };
        for (wide, narrow, expected, expected_of_none) in [
            (Some(new), None, Some(new), Some(new)),
            (None, Some(new), Some(new), None),
            (Some(new), Some(missing), Some(missing), Some(new)),
            (Some(missing), Some(old), Some(old), Some(missing)),
            (Some(new), Some(none), Some(none), Some(new)),
            (Some(none), Some(missing), Some(missing), Some(none)),
            (Some(new), Some(old), Some(new), Some(new)),
            (Some(old), Some(new), Some(new), Some(old)),
            (Some(Status::UNDATED), Some(new), Some(newest), Some(Status::UNDATED)),
        ] {
            let entry = |status, region, attested_by| Entry {
                cloud: Cloud::Commercial,
                agreement: MCA,
                region,
                attested_by,
                status,
            };
            let europe = Some(Region::Europe);
            for (subject, party, scope, region, attested_by) in [
                (
                    Subject::Customer(partner),
                    Party::Customer(partner),
                    Scope::Billing(partner),
                    None,
                    Some(partner),
                ),
                (
                    Subject::Reseller(PartnerRef::Tenant(partner)),
                    Party::Reseller(ids),
                    Scope::Region(Region::Europe),
                    europe,
                    None,
                ),
                (
                    Subject::Partner(PartnerRef::Tenant(partner)),
                    Party::Partner(ids),
                    Scope::Region(Region::Europe),
                    europe,
                    None,
                ),
            ] {
                let mut entries: Vec<Entry> =
                    wide.map(|status| entry(status, None, None)).into_iter().collect();
                entries.extend(narrow.map(|status| entry(status, region, attested_by)));
                let ledger = Ledger {
                    entries: [(subject, entries)].into(),
                    mpn_ids: HashMap::new(),
                    complete: HashSet::new(),
                    loaded_at: Timestamp::UNIX_EPOCH,
                    written_at: Timestamp::UNIX_EPOCH,
                };
                for (scope, expected) in [(scope, expected), (Scope::None, expected_of_none)] {
                    let key = Key { cloud: Cloud::Commercial, agreement: MCA, party, scope };
                    assert_eq!(ledger.say(&key, true), expected, "{wide:?} {narrow:?} {key:?}");
                }
            }
        }
    }
}
