//! The section `agreements`, and the ledgers that it names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::agreements::cache::{self, LEARNED};
use crate::agreements::file::{Entry, Ledger, Subject};
use crate::agreements::saved;
use crate::config::identity::read_file;
use crate::config::network::region;
use crate::config::node::{Node, Value};
use crate::config::policy::partner_ref;
use crate::config::problem::render;
use crate::config::read::{Reader, Section, did_you_mean, quoted, read_text, resolve};
use crate::config::sources::{self, Defaults, Kind, RemoteSource};
use crate::extract::moment::{NoAcceptance, acceptance};
use crate::policy::agreement::{Cloud, PartyKind, Status};
use crate::policy::id::Name;
use crate::policy::reason::UnrecordedStatus;

/// A ledger source.
#[derive(Clone, Debug)]
pub struct LedgerSource {
    /// Its name.
    pub name: Name,
    /// Its file.
    pub path: PathBuf,
    /// What the file held.
    pub ledger: Ledger,
}

/// The section `agreements`.
#[derive(Clone, Debug)]
pub struct Agreements {
    /// Ledgers.
    pub ledgers: Vec<LedgerSource>,
    /// Sources that are asked over the network.
    pub remotes: Vec<RemoteSource>,
    /// Names of sources in the order in which they are asked, for partners, resellers and customers.
    pub order: [Vec<Name>; 3],
    /// How long answers are believed.
    pub cache: cache::Settings,
    /// Where acceptances are kept while the gateway does not run.
    pub saved: Option<PathBuf>,
    /// The status of denials for what nobody has recorded.
    pub unrecorded_status: UnrecordedStatus,
}

/// Reads `agreements`.
pub fn agreements(
    section: &Section<'_>,
    folder: &Path,
    now: Timestamp,
    defaults: Defaults<'_>,
) -> Option<Agreements> {
    let reader = section.reader();
    let mut ledgers: Vec<LedgerSource> = Vec::new();
    let mut remotes: Vec<RemoteSource> = Vec::new();
    section.require("sources", |node| {
        for (key, value) in reader.map(node)? {
            let name = Name::new(&key.text).filter(|name| *name != LEARNED);
            let Some(name) = name else {
                let hint = "1 to 23 of a-z, 0-9, `-`, `_`; `upstream` is what is learnt from passing answers";
                reader.error(
                    key.span,
                    format!("`{}` is no name of a source", key.text),
                    Some(hint.to_owned()),
                );
                continue;
            };
            match source(reader, name, value, folder, now, defaults) {
                Some(Read::Ledger(ledger)) => ledgers.push(ledger),
                Some(Read::Remote(remote)) => remotes.push(*remote),
                None => {}
            }
        }
        Some(())
    });
    let mut known: Vec<String> = ledgers.iter().map(|ledger| ledger.name.to_string()).collect();
    if let Some(Value::Map(entries)) = section.node("sources").map(|node| &node.value) {
        // One that could not be read is told of once, not again wherever it is named.
        known.extend(entries.iter().map(|(key, _)| key.text.clone()));
    }
    let order = ["partner", "reseller", "customer"].map(|kind| {
        section.require(kind, |node| {
            reader.list(node, |item| {
                let name = reader.text(item)?;
                if !known.contains(&name) {
                    let hint = did_you_mean(&name, known.iter().map(String::as_str));
                    reader.error(item.span, format!("no source is named `{name}`"), hint);
                }
                Name::new(&name)
            })
        })
    });
    let unrecorded_status = section.get("unrecorded_status", |node| read_unrecorded_status(reader, node));
    let (cache, saved) = section.nested("cache", |section| {
        let saved = section.get("file", |node| {
            let path = resolve(folder, &reader.text(node)?);
            if path.exists() && !saved::is_ours(&path).unwrap_or(false) {
                let hint = "it is left alone, so that nothing is saved: name another one".to_owned();
                reader.warning(node.span, format!("{} holds something else", path.display()), Some(hint));
            }
            Some(path)
        });
        (cache_settings(section), saved)
    })?;
    if !remotes.is_empty() && saved.is_none() {
        let hint = "add `agreements.cache.file`".to_owned();
        reader.warning(section.span, "after a restart every party is looked up anew", Some(hint));
    }
    let [partner, reseller, customer] = order;
    let tells_nothing = |name: &Name| {
        let remote = remotes.iter().find(|remote| remote.name == *name);
        remote.is_some_and(|remote| matches!(remote.kind, Kind::PartnerCenter(..)))
    };
    if partner.as_ref().is_some_and(|names| names.iter().all(tells_nothing)) {
        let hint =
            "add a ledger: Microsoft has no request that tells of a partner's own agreement".to_owned();
        reader.warning(section.span, "nothing tells where the agreements of partners stand", Some(hint));
    }
    let order = [partner?, reseller?, customer?];
    let unrecorded_status = unrecorded_status.unwrap_or(UnrecordedStatus::Conflict);
    Some(Agreements { ledgers, remotes, order, cache, saved, unrecorded_status })
}

fn read_unrecorded_status(reader: &Reader, node: &Node) -> Option<UnrecordedStatus> {
    let status = match &node.value {
        Value::Integer(status) => UnrecordedStatus::parse(&status.to_string()),
        _ => None,
    };
    if status.is_none() {
        reader.error(node.span, "expected a status: `409` or `503`", None);
    }
    status
}

fn cache_settings(section: &Section<'_>) -> cache::Settings {
    let reader = section.reader();
    let default = cache::Settings::default();
    let duration = |name: &'static str, default: Duration| {
        section.get(name, |node| reader.duration(node)).unwrap_or(default)
    };
    let entries = section.get("entries", |node| reader.number(node, 1..=100_000_000));
    cache::Settings {
        entries: entries.map_or(default.entries, |entries| entries as u64),
        accepted: duration("accepted", default.accepted),
        missing: duration("missing", default.missing),
        stale: duration("stale", default.stale),
        learnt: duration("learnt", default.learnt),
        recheck_after: duration("recheck_after", default.recheck_after),
        deadline: duration("deadline", default.deadline),
    }
}

enum Read {
    Ledger(LedgerSource),
    Remote(Box<RemoteSource>),
}

fn source(
    reader: &Reader,
    name: Name,
    node: &Node,
    folder: &Path,
    now: Timestamp,
    defaults: Defaults<'_>,
) -> Option<Read> {
    const TYPES: [&str; 3] = ["file", "partner_center", "http"];
    let section = reader.section(node)?;
    let parse = |text: &str| TYPES.into_iter().find(|known| *known == text);
    let kind = section.require("type", |node| reader.choice(node, parse, &TYPES))?;
    let remote = match kind {
        "file" => return ledger_source(section, name, folder, now).map(Read::Ledger),
        "http" => sources::http(section, name, folder, defaults),
        _ => sources::partner_center(section, name, folder, defaults),
    };
    remote.map(|remote| Read::Remote(Box::new(remote)))
}

fn ledger_source(section: Section<'_>, name: Name, folder: &Path, now: Timestamp) -> Option<LedgerSource> {
    let reader = section.reader();
    let path_node = section.require("path", Some);
    section.finish();
    let path_node = path_node?;
    let path = folder.join(reader.text(path_node)?);
    // No variables: a ledger is data.
    let tree = read_file(reader, path_node, folder, &HashMap::new())?;
    let written_at = written_at(&path, now);
    Some(LedgerSource { name, path, ledger: Ledger { written_at, ..ledger(reader, &tree, now)? } })
}

/// Reads a ledger file by itself, when it changed; the error is the rendered problems.
pub fn load_ledger(path: &Path, now: Timestamp) -> Result<Ledger, String> {
    let reader = Reader::default();
    let text = read_text(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let source = reader.add_source(path, &text);
    // No variables: a ledger is data.
    let tree = Node::parse(&text, source, &HashMap::new()).map_err(|(span, message)| {
        let place = span.map_or_else(String::new, |span| format!(":{}:{}", span.line, span.column));
        format!("{}{place}: {message}", path.display())
    })?;
    let ledger = ledger(&reader, &tree, now);
    match ledger.filter(|_| !reader.failed()) {
        Some(ledger) => Ok(Ledger { written_at: written_at(path, now), ..ledger }),
        None => Err(render(&reader.problems.borrow(), &reader.sources.borrow(), false)),
    }
}

/// When a file was written, as far as can be told; never ahead of now.
fn written_at(path: &Path, now: Timestamp) -> Timestamp {
    let written = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    written.and_then(|written| Timestamp::try_from(written).ok()).map_or(now, |written| written.min(now))
}

/// Reads a ledger.
pub fn ledger(reader: &Reader, node: &Node, now: Timestamp) -> Option<Ledger> {
    let section = reader.section(node)?;
    let mut entries: HashMap<Subject, Vec<Entry>> = HashMap::new();
    let read = section.require("agreements", |node| {
        reader.list(node, |item| {
            let (subject, read) = record(reader, item, now)?;
            entries.entry(subject).or_default().extend(read);
            Some(())
        })
    });
    let kinds: Vec<&str> = PartyKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let complete = section
        .get("complete", |node| reader.list(node, |item| reader.choice(item, PartyKind::parse, &kinds)));
    section.finish();
    read?;
    let complete = complete.unwrap_or_default().into_iter().collect();
    Some(Ledger { entries, complete, loaded_at: now, written_at: now })
}

/// The keys of a record that are no agreement.
const RECORD_KEYS: [&str; 7] =
    ["partner", "reseller", "customer", "mpn_id", "cloud", "region", "attested_by"];

fn record(reader: &Reader, node: &Node, now: Timestamp) -> Option<(Subject, Vec<Entry>)> {
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
        statuses.push(Entry { cloud, agreement, region, attested_by, status });
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
