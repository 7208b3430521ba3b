//! The section `agreements`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::agreements::cache::{self, LEARNED};
use crate::agreements::saved;
use crate::config::ledger::{LedgerSource, ledger_source};
use crate::config::node::{Node, Value};
use crate::config::read::{Reader, Section, did_you_mean, resolve};
use crate::config::sources::{self, Defaults, Kind, RemoteSource};
use crate::policy::id::Name;
use crate::policy::reason::UnrecordedStatus;

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
                Some(Read::Ledger(ledger)) => ledgers.push(*ledger),
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
    Ledger(Box<LedgerSource>),
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
        "file" => {
            let ledger = ledger_source(section, name, folder, now, defaults.tenants);
            return ledger.map(|ledger| Read::Ledger(Box::new(ledger)));
        }
        "http" => sources::http(section, name, folder, defaults),
        _ => sources::partner_center(section, name, folder, defaults),
    };
    remote.map(|remote| Read::Remote(Box::new(remote)))
}
