//! Ledgers: records of where agreements stand, read from their files.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::agreements::file::{Entry, Ledger, Subject, normalise};
use crate::config::identity::read_file;
use crate::config::network::region;
use crate::config::node::{Node, Value};
use crate::config::policy::partner_ref;
use crate::config::problem::{Span, render};
use crate::config::read::{Reader, Section, did_you_mean, quoted, read_text};
use crate::extract::moment::{NoAcceptance, acceptance};
use crate::policy::agreement::{Agreement, Cloud, PartyKind, Region, Status};
use crate::policy::id::{Guid, MpnId, Name, PartnerRef};

/// A ledger source.
#[derive(Clone, Debug)]
pub struct LedgerSource {
    /// Its name.
    pub name: Name,
    /// Its file.
    pub path: PathBuf,
    /// The content of the file.
    pub ledger: Ledger,
}

/// Reads a source of `type: file`, and its file.
pub fn ledger_source(
    section: Section<'_>,
    name: Name,
    folder: &Path,
    now: Timestamp,
    tenants: &HashMap<MpnId, Guid>,
) -> Option<LedgerSource> {
    let reader = section.reader();
    let path_node = section.require("path", Some);
    section.finish();
    let path_node = path_node?;
    let path = folder.join(reader.text(path_node)?);
    // No variables: a ledger is data.
    let tree = read_file(reader, path_node, folder, &HashMap::new())?;
    let written_at = written_at(&path, now);
    Some(LedgerSource { name, path, ledger: Ledger { written_at, ..ledger(reader, &tree, now, tenants)? } })
}

/// Reads a ledger file by itself, when it changed; the error is the rendered problems.
pub fn load_ledger(path: &Path, now: Timestamp, tenants: &HashMap<MpnId, Guid>) -> Result<Ledger, String> {
    let reader = Reader::default();
    let text = read_text(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let source = reader.add_source(path, &text);
    // No variables: a ledger is data.
    let tree = Node::parse(&text, source, &HashMap::new()).map_err(|(span, message)| {
        let place = span.map_or_else(String::new, |span| format!(":{}:{}", span.line, span.column));
        format!("{}{place}: {message}", path.display())
    })?;
    let ledger = ledger(&reader, &tree, now, tenants);
    match ledger.filter(|_| !reader.failed()) {
        Some(ledger) => Ok(Ledger { written_at: written_at(path, now), ..ledger }),
        None => Err(render(&reader.problems.borrow(), &reader.sources.borrow(), false)),
    }
}

/// When a file was written or came to its place, whichever is later, as far as can be told; never ahead of now. Its own
/// word (mtime) may be as old as whoever copied it likes; the file system's (ctime) is not. A link may be younger than what
/// it points at.
fn written_at(path: &Path, now: Timestamp) -> Timestamp {
    let (Ok(metadata), Ok(link)) = (std::fs::metadata(path), std::fs::symlink_metadata(path)) else {
        return now;
    };
    let times = [
        (metadata.mtime(), metadata.mtime_nsec()),
        (metadata.ctime(), metadata.ctime_nsec()),
        (link.ctime(), link.ctime_nsec()),
    ];
    let times = times.into_iter().filter_map(|(seconds, parts)| Timestamp::new(seconds, parts as i32).ok());
    times.max().map_or(now, |written| written.min(now))
}

/// Reads a ledger. `tenants` are those of partners by their MPN ids, so that two records of one partner are known for
/// such however they name it.
pub fn ledger(
    reader: &Reader,
    node: &Node,
    now: Timestamp,
    tenants: &HashMap<MpnId, Guid>,
) -> Option<Ledger> {
    let section = reader.section(node)?;
    let mut entries: HashMap<Subject, Vec<Entry>> = HashMap::new();
    let mut told: HashMap<Whole, (Subject, Status, Span)> = HashMap::new();
    let read = section.require("agreements", |node| {
        reader.list(node, |item| {
            let (subject, read) = record(reader, item, now)?;
            for (entry, span) in read {
                let this = (subject, entry.status, span);
                let first = *told.entry(whole(subject, &entry, tenants)).or_insert(this);
                if first.1.as_str() != entry.status.as_str() {
                    contradiction(reader, (subject, &entry, span), first);
                }
                entries.entry(subject).or_default().push(entry);
            }
            Some(())
        })
    });
    let kinds: Vec<&str> = PartyKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let complete = section
        .get("complete", |node| reader.list(node, |item| reader.choice(item, PartyKind::parse, &kinds)));
    section.finish();
    read?;
    entries.values_mut().for_each(normalise);
    let complete = complete.unwrap_or_default().into_iter().collect();
    let mut mpn_ids: HashMap<Guid, Vec<MpnId>> = HashMap::new();
    for subject in entries.keys() {
        let (Subject::Partner(PartnerRef::Mpn(mpn)) | Subject::Reseller(PartnerRef::Mpn(mpn))) = subject
        else {
            continue;
        };
        let Some(tenant) = tenants.get(mpn) else { continue };
        let named = mpn_ids.entry(*tenant).or_default();
        if !named.contains(mpn) {
            named.push(*mpn);
        }
    }
    Some(Ledger { entries, mpn_ids, complete, loaded_at: now, written_at: now })
}

/// All that a record is about: of what is the same here, a party has one status.
type Whole = (Subject, Cloud, Agreement, Option<Region>, Option<Guid>);

fn whole(subject: Subject, entry: &Entry, tenants: &HashMap<MpnId, Guid>) -> Whole {
    let by_tenant = |partner| match partner {
        PartnerRef::Mpn(mpn) => tenants.get(&mpn).map_or(partner, |tenant| PartnerRef::Tenant(*tenant)),
        PartnerRef::Tenant(_) => partner,
    };
    let subject = match subject {
        Subject::Partner(partner) => Subject::Partner(by_tenant(partner)),
        Subject::Reseller(partner) => Subject::Reseller(by_tenant(partner)),
        Subject::Customer(_) => subject,
    };
    // A customer's acceptance is of no region, and no partner attests that of another one.
    let (region, attested_by) = match subject {
        Subject::Customer(_) => (None, entry.attested_by),
        Subject::Partner(_) | Subject::Reseller(_) => (entry.region, None),
    };
    (subject, entry.cloud, entry.agreement, region, attested_by)
}

/// Refuses a record that says something else than another of the same.
fn contradiction(
    reader: &Reader,
    (subject, entry, span): (Subject, &Entry, Span),
    (named, other, first): (Subject, Status, Span),
) {
    let sources = reader.sources.borrow();
    let path = sources.get(first.source).map_or_else(String::new, |source| source.path.display().to_string());
    let (agreement, status, other) = (entry.agreement, entry.status.as_str(), other.as_str());
    let (party, place) = (party(subject), format!("{path}:{}:{}", first.line, first.column));
    let mut message = format!("`{agreement}` of the {party} is `{status}` here, and `{other}` at {place}");
    if named != subject {
        message += &format!(", of the {} that `partners` lists as the same", self::party(named));
    }
    let narrower = match subject {
        Subject::Customer(_) => "`attested_by` one partner",
        Subject::Partner(_) | Subject::Reseller(_) => "with the `region` of an order",
    };
    let hint = format!("keep the record that holds; one {narrower} counts before one without");
    reader.error(span, message, Some(hint));
}

fn party(subject: Subject) -> String {
    match subject {
        Subject::Partner(partner) => format!("partner `{partner}`"),
        Subject::Reseller(partner) => format!("reseller `{partner}`"),
        Subject::Customer(tenant) => format!("customer `{tenant}`"),
    }
}

/// The keys of a record that are no agreement.
const RECORD_KEYS: [&str; 7] =
    ["partner", "reseller", "customer", "mpn_id", "cloud", "region", "attested_by"];

fn record(reader: &Reader, node: &Node, now: Timestamp) -> Option<(Subject, Vec<(Entry, Span)>)> {
    let entries = reader.map(node)?;
    let get = |name: &str| node.get(name);
    let subject = match (get("partner"), get("reseller"), get("customer"), get("mpn_id")) {
        (Some(node), None, None, None) => Subject::Partner(partner_ref(reader, node)?),
        (None, None, None, Some(node)) => Subject::Partner(partner_ref(reader, node)?),
        (None, Some(node), None, None) => Subject::Reseller(partner_ref(reader, node)?),
        (None, None, Some(node), None) => Subject::Customer(reader.guid(node)?),
        _ => {
            let hint =
                "one of `partner`, `mpn_id` (a partner by its MPN id), `reseller`, `customer`".to_owned();
            reader.error(node.span, "a record names one party", Some(hint));
            return None;
        }
    };
    let clouds: Vec<&str> = Cloud::ALL.iter().map(|cloud| cloud.as_str()).collect();
    let cloud = match get("cloud") {
        Some(node) => reader.choice(node, Cloud::parse, &clouds)?,
        None => Cloud::Commercial,
    };
    let region = match get("region") {
        Some(node) => Some(region(reader, node)?),
        None => None,
    };
    let attested_by = match get("attested_by") {
        Some(node) => Some(reader.guid(node)?),
        None => None,
    };
    let mut statuses = Vec::new();
    for (key, value) in entries {
        if RECORD_KEYS.contains(&key.text.as_str()) {
            continue;
        }
        // Agreement names are open: whatever is no other key and has a status is one.
        let Some(agreement) = Name::new(&key.text) else {
            let hint = did_you_mean(&key.text, RECORD_KEYS.into_iter());
            reader.error(key.span, format!("`{}` is no name of an agreement", key.text), hint);
            continue;
        };
        let Some(status) = status(reader, key.text.as_str(), value, now) else { continue };
        statuses.push((Entry { cloud, agreement, region, attested_by, status }, key.span));
    }
    if statuses.is_empty() && !reader.failed() {
        reader.error(
            node.span,
            "the record says nothing of any agreement",
            Some("such as `mpa: missing`".to_owned()),
        );
    }
    Some((subject, statuses))
}

/// The hint where a date of acceptance was never set.
const UNSET: &str = "write when it was accepted, or `{ accepted: undated }` where nobody can tell";

fn status(reader: &Reader, agreement: &str, node: &Node, now: Timestamp) -> Option<Status> {
    match &node.value {
        Value::Text(text) if text == "missing" => return Some(Status::MISSING),
        Value::Text(text) if text == "not_applicable" => return Some(Status::NotApplicable),
        Value::Map(_) => {
            let section = reader.section(node)?;
            let accepted = section.require("accepted", |node| match &node.value {
                Value::Text(text) if text == "undated" => Some(None),
                _ => {
                    let at = reader.time(node)?;
                    let (message, hint) = match acceptance(at, now) {
                        Ok(at) => return Some(Some(at)),
                        Err(NoAcceptance::Future) => ("the acceptance lies in the future".to_owned(), None),
                        Err(_) => (format!("`{at}` is a date that was never set"), Some(UNSET.to_owned())),
                    };
                    reader.error(node.span, message, hint);
                    None
                }
            });
            section.finish();
            return accepted.map(|at: Option<Timestamp>| Status::Accepted { at, undated: at.is_none() });
        }
        _ => {}
    }
    let expected =
        quoted(&["missing", "not_applicable", "{ accepted: 2024-03-01T00:00:00Z }", "{ accepted: undated }"]);
    reader.error(node.span, format!("expected the status of `{agreement}`: one of {expected}"), None);
    None
}
