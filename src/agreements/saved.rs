//! Saved facts: acceptances that outlive the process, as lines of JSON in one file.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::agreements::cache::{Kept, LEARNED, Settings};
use crate::extract::moment::is_future;
use crate::policy::agreement::{Cloud, Fact, Key, PartnerIds, Party, PartyKind, Region, Scope, Status};
use crate::policy::id::{Guid, MpnId, Name};

/// The longest first line that is looked at, in bytes.
const LINE_BYTES_MAX: u64 = 4096;
/// What the first line says; a file of another form is left alone.
const FORM: &str = "countersign-facts-1";

#[derive(Serialize, Deserialize)]
struct Head {
    form: String,
    saved_at: String,
}

/// One acceptance.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    cloud: String,
    agreement: String,
    party: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mpn_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    billing: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_at: Option<String>,
    undated: bool,
    observed_at: String,
    asked_at: String,
    source: String,
    epoch: u64,
}

/// A fact as it was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Its key.
    pub key: Key,
    /// The fact.
    pub fact: Fact,
    /// The epoch of the source that said so.
    pub epoch: u64,
}

/// What reading a file brought.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The facts that hold still.
    pub facts: Vec<Saved>,
    /// How many do not: too old, of a source that is not asked any more, or not readable.
    pub left_out: usize,
}

/// Saves acceptances, in place of what was saved before: all of them are there, or those of before. `is_kept` says of
/// which sources. The answer is how many there were.
pub fn save(
    path: &Path,
    facts: impl Iterator<Item = (Key, Kept)>,
    is_kept: impl Fn(Name) -> bool,
    now: Timestamp,
) -> io::Result<usize> {
    if path.exists() && !is_ours(path)? {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "there is another file, which is left alone"));
    }
    let beside = beside(path);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    let mut writer = BufWriter::with_capacity(1 << 16, file);
    let head = Head { form: FORM.to_owned(), saved_at: now.to_string() };
    write_line(&mut writer, &head)?;
    let mut count = 0;
    for (key, kept) in facts {
        let Some(fact) = kept.answer.last.filter(|fact| is_kept(fact.source) && kept.doubted.is_none())
        else {
            continue;
        };
        if let Some(line) = line(&key, &fact, kept.epoch) {
            write_line(&mut writer, &line)?;
            count += 1;
        }
    }
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    // The name is on disk once its folder is.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    Ok(count)
}

/// Whether a file holds saved facts, or nothing. What is no regular file could keep its reader waiting for ever.
pub fn is_ours(path: &Path) -> io::Result<bool> {
    if !std::fs::metadata(path)?.is_file() {
        return Ok(false);
    }
    let mut head = Vec::new();
    let mut reader = BufReader::new(File::open(path)?.take(LINE_BYTES_MAX));
    reader.read_until(b'\n', &mut head)?;
    Ok(head.is_empty() || serde_json::from_slice::<Head>(&head).is_ok_and(|head| head.form == FORM))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn write_line(writer: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *writer, line)?;
    writer.write_all(b"\n")
}

fn line(key: &Key, fact: &Fact, epoch: u64) -> Option<Line> {
    let Status::Accepted { at, undated } = fact.status else { return None };
    let ids = key.party.ids();
    Some(Line {
        cloud: key.cloud.to_string(),
        agreement: key.agreement.to_string(),
        party: key.party.kind().to_string(),
        tenant: ids.tenant.map(|tenant| tenant.to_string()),
        mpn_id: ids.mpn.map(|mpn| mpn.to_string()),
        region: key.scope.region().map(|region| region.to_string()),
        billing: key.scope.billing().map(|partner| partner.to_string()),
        accepted_at: at.map(|at| at.to_string()),
        undated,
        observed_at: fact.observed_at.to_string(),
        asked_at: fact.asked_at.to_string(),
        source: fact.source.to_string(),
        epoch,
    })
}

/// Loads what was saved and holds still. `epoch_of` says of a source what its epoch is; `None` where it is not asked any
/// more. What was learnt from the upstream is of no source.
pub fn load(
    path: &Path,
    settings: &Settings,
    epoch_of: impl Fn(Name) -> Option<u64>,
    now: Timestamp,
) -> io::Result<Loaded> {
    if !is_ours(path)? {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it holds no saved facts"));
    }
    let mut lines = BufReader::new(File::open(path)?).split(b'\n');
    lines.next().transpose()?;
    let oldest = settings.stale_max();
    let holds = |saved: &Saved| {
        let age = now.duration_since(saved.fact.asked_at);
        let source = saved.fact.source;
        // A clock that was ahead when it was saved would keep it for ever.
        let is_dated_ahead = is_future(saved.fact.observed_at, now)
            || matches!(saved.fact.status, Status::Accepted { at: Some(at), .. } if is_future(at, now));
        (SignedDuration::ZERO..=oldest).contains(&age)
            && !is_dated_ahead
            && (source == LEARNED || epoch_of(source) == Some(saved.epoch))
    };
    let mut loaded = Loaded::default();
    for line in lines {
        match serde_json::from_slice::<Line>(&line?).ok().as_ref().and_then(saved).filter(holds) {
            Some(saved) => loaded.facts.push(saved),
            None => loaded.left_out += 1,
        }
    }
    Ok(loaded)
}

fn saved(line: &Line) -> Option<Saved> {
    // What is there has to be readable.
    fn read<T>(text: &Option<String>, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
        text.as_deref().map_or(Some(None), |text| parse(text).map(Some))
    }
    let tenant = read(&line.tenant, Guid::parse)?;
    let mpn = read(&line.mpn_id, MpnId::parse)?;
    let ids = PartnerIds { tenant, mpn };
    let is_named = tenant.is_some() || mpn.is_some();
    let party = match PartyKind::parse(&line.party)? {
        PartyKind::Customer => Party::Customer(tenant?),
        PartyKind::Partner if is_named => Party::Partner(ids),
        PartyKind::Reseller if is_named => Party::Reseller(ids),
        _ => return None,
    };
    let scope = match (read(&line.region, Region::parse)?, read(&line.billing, Guid::parse)?) {
        (None, None) => Scope::None,
        (Some(region), None) => Scope::Region(region),
        (None, Some(partner)) => Scope::Billing(partner),
        _ => return None,
    };
    let at = read(&line.accepted_at, |text| text.parse::<Timestamp>().ok())?;
    if at.is_none() && !line.undated {
        return None;
    }
    let key = Key { cloud: Cloud::parse(&line.cloud)?, agreement: Name::new(&line.agreement)?, party, scope };
    let fact = Fact {
        status: Status::Accepted { at, undated: line.undated },
        observed_at: line.observed_at.parse().ok()?,
        asked_at: line.asked_at.parse().ok()?,
        source: Name::new(&line.source)?,
    };
    Some(Saved { key, fact, epoch: line.epoch })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::policy::agreement::{Answer, MCA, MPA};

    const HOUR: Duration = Duration::from_secs(3600);

    fn settings() -> Settings {
        Settings {
            entries: 10,
            accepted: HOUR,
            missing: HOUR,
            stale: HOUR,
            recheck_after: HOUR,
            deadline: HOUR,
        }
    }

    #[test]
    fn acceptances_are_saved_and_what_holds_still_comes_back() {
        let now: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        let name = |text| Name::new(text).unwrap();
        let ids = PartnerIds { tenant: Some(Guid::from_bits(2)), mpn: MpnId::parse("5139005") };
        let customer = |bits| Key {
            cloud: Cloud::Commercial,
            agreement: MCA,
            party: Party::Customer(Guid::from_bits(bits)),
            scope: Scope::Billing(Guid::from_bits(1)),
        };
        let reseller = Key {
            cloud: Cloud::UsGovernment,
            agreement: MPA,
            party: Party::Reseller(ids),
            scope: Scope::Region(Region::Europe),
        };
        let shared = Key { scope: Scope::None, ..customer(9) };
        let fact = |status, minutes: i64, source| {
            let at = now - SignedDuration::from_mins(minutes);
            Fact {
                status,
                observed_at: at - SignedDuration::from_secs(1),
                asked_at: at,
                source: name(source),
            }
        };
        let dated = Status::Accepted { at: Some("2024-03-01T00:00:00.5Z".parse().unwrap()), undated: true };
        let kept = |key: &Key, fact, epoch| {
            let kept = Kept::new(key, Answer::known(fact), Instant::now(), 1, &settings());
            (*key, Kept { epoch, ..kept })
        };
        let all = [
            kept(&customer(1), fact(dated, 5, "center"), 7),
            kept(&reseller, fact(Status::UNDATED, 119, "center"), 7),
            kept(&shared, fact(Status::UNDATED, 5, "upstream"), 0),
            kept(&customer(2), fact(Status::MISSING, 5, "center"), 7),
            kept(&customer(3), fact(Status::UNDATED, 121, "center"), 7),
            kept(&customer(4), fact(Status::UNDATED, 5, "center"), 8),
            kept(&customer(5), fact(Status::UNDATED, 5, "gone"), 7),
            kept(&customer(6), fact(Status::UNDATED, 5, "ledger"), 0),
            kept(&customer(7), fact(Status::UNDATED, -1, "center"), 7),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("facts.jsonl");
        let saved = save(&path, all.iter().copied(), |source| source != name("ledger"), now).unwrap();
        assert_eq!(saved, 7);
        let epoch_of = |source: Name| (source == name("center")).then_some(7);
        let loaded = load(&path, &settings(), epoch_of, now).unwrap();
        let expected: Vec<Saved> = all[..3]
            .iter()
            .map(|(key, kept)| Saved { key: *key, fact: kept.answer.last.unwrap(), epoch: kept.epoch })
            .collect();
        assert_eq!(loaded.facts, expected);
        assert_eq!(loaded.left_out, 4);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn lines_that_can_not_be_read_cost_no_other_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("facts.jsonl");
        let now: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        let head = format!("{{\"form\":\"{FORM}\",\"saved_at\":\"x\"}}\n");
        let good = |tenant: &str, more: &str| {
            format!(
                "{{\"cloud\":\"commercial\",\"agreement\":\"mca\",\"party\":\"customer\",\"tenant\":\"{tenant}\",\
                 \"undated\":true,\"observed_at\":\"{now}\",\"asked_at\":\"{now}\",\"source\":\"upstream\",\"epoch\":0{more}}}\n"
            )
        };
        let tenant = Guid::from_bits(1).to_string();
        let lines = [
            good(&tenant, ""),
            good("no tenant", ""),
            good(&tenant, ",\"unheard\":1"),
            good(&tenant, ",\"region\":\"moon\""),
            "{\n".to_owned(),
            good(&tenant, "")[..40].to_owned(),
        ];
        std::fs::write(&path, head + &lines.concat()).unwrap();
        let loaded = load(&path, &settings(), |_| None, now).unwrap();
        assert_eq!((loaded.facts.len(), loaded.left_out), (1, 5));
        for text in ["{}\n", "{\"form\":\"other\",\"saved_at\":\"x\"}\n", "\u{0}\u{1}"] {
            std::fs::write(&path, text).unwrap();
            assert!(load(&path, &settings(), |_| None, now).is_err(), "{text:?}");
        }
    }
}
