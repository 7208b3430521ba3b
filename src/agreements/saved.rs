//! Saved facts: the answers and the learnt words that outlive the process, as lines of JSON in one file.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::agreements::cache::{Kept, LEARNED, Settings};
use crate::agreements::learnt::{Learnt, Teacher};
use crate::agreements::saved_line::{Line, Saved};
use crate::clock::{Moment, Now};
use crate::extract::moment::{acceptance, is_future};
use crate::policy::agreement::{Fact, Key, Status};
use crate::policy::id::Name;

/// The longest first line that is looked at, in bytes.
const LINE_BYTES_MAX: u64 = 4096;
/// The start of the first line of every file of saved facts; a file of another form is left alone.
const FORMS: &str = "countersign-facts-";
/// The form that is written and read.
const FORM: &str = "countersign-facts-2";

#[derive(Serialize, Deserialize)]
struct Head {
    form: String,
    saved_at: String,
}

/// The outcome of reading a file.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The facts that hold still.
    pub facts: Vec<Saved>,
    /// The count of those that do not: too old, of a source or an upstream that is not asked any more, or not readable.
    pub left_out: usize,
}

/// Saves what is known, in place of what was saved before: all of it is there, or that of before. The answer is how many
/// lines there are.
pub fn save(path: &Path, facts: impl Iterator<Item = Saved>, now: Timestamp) -> io::Result<usize> {
    if path.exists() && !is_ours(path)? {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "there is another file, which is left alone"));
    }
    let beside = beside(path);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    let mut writer = BufWriter::with_capacity(1 << 16, file);
    let count = write(&mut writer, facts, now)?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    // The name is on disk once its folder is.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    Ok(count)
}

/// Writes facts as lines. The answer is how many there are.
pub fn write(
    writer: &mut impl Write,
    facts: impl Iterator<Item = Saved>,
    now: Timestamp,
) -> io::Result<usize> {
    write_line(writer, &Head { form: FORM.to_owned(), saved_at: now.to_string() })?;
    let mut count = 0;
    for saved in facts {
        if let Some(line) = Line::of(&saved) {
            write_line(writer, &line)?;
            count += 1;
        }
    }
    Ok(count)
}

/// The form in which an answer is saved: what its source said by itself. Nothing is saved of ledgers, which `is_saved` tells
/// apart, nor of acceptances in doubt; what was learnt is saved by itself.
pub fn of_answer(key: Key, kept: &Kept, is_saved: impl Fn(Name) -> bool, now: Now) -> Option<Saved> {
    let fact = kept.answer_at(now).last.filter(|fact| fact.source != LEARNED && is_saved(fact.source))?;
    let status = kept.own.unwrap_or(fact.status);
    let is_in_doubt = kept.doubted.is_some() && status.is_accepted();
    (!is_in_doubt).then_some(Saved::Answer(key, Fact { status, ..fact }, kept.epoch))
}

/// Whether a file holds saved facts, or nothing. What is no regular file could keep its reader waiting for ever.
pub fn is_ours(path: &Path) -> io::Result<bool> {
    if !std::fs::metadata(path)?.is_file() {
        return Ok(false);
    }
    let mut head = Vec::new();
    let mut reader = BufReader::new(File::open(path)?.take(LINE_BYTES_MAX));
    reader.read_until(b'\n', &mut head)?;
    let form = serde_json::from_slice::<Head>(&head).map(|head| head.form);
    Ok(head.is_empty() || form.is_ok_and(|form| form.starts_with(FORMS)))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// The form in which a word that was learnt is saved: as old as it is, whatever became of the wall clock since.
pub fn of_learnt(key: Key, word: Learnt, now: Now) -> Saved {
    let by_now = |moment: Moment| Moment { wall: now.wall_of(moment), ..moment };
    let (at, confirmed) = (by_now(word.at), by_now(word.confirmed));
    Saved::Learnt(key, Learnt { at, confirmed, ends: word.ends.map(by_now), ..word })
}

fn write_line(writer: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *writer, line)?;
    writer.write_all(b"\n")
}

/// Loads what was saved and holds still. `epoch_of` says of a source what its epoch is; `None` where it is not asked any
/// more. `is_taught` says of a teacher that it is in force.
pub fn load(
    path: &Path,
    settings: &Settings,
    epoch_of: impl Fn(Name) -> Option<u64>,
    is_taught: impl Fn(Teacher) -> bool,
    now: Now,
) -> io::Result<Loaded> {
    if !is_ours(path)? {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it holds no saved facts"));
    }
    read_lines(BufReader::new(File::open(path)?), settings, epoch_of, is_taught, now)
}

/// Reads lines; see [`load`].
pub fn read_lines(
    reader: impl BufRead,
    settings: &Settings,
    epoch_of: impl Fn(Name) -> Option<u64>,
    is_taught: impl Fn(Teacher) -> bool,
    now: Now,
) -> io::Result<Loaded> {
    let mut lines = reader.split(b'\n');
    let head = lines.next().transpose()?.unwrap_or_default();
    // A line of another form may mean something else: none of such a file is read.
    let is_read = serde_json::from_slice::<Head>(&head).is_ok_and(|head| head.form == FORM);
    let holds = |saved: &Saved| {
        let age = |at: Timestamp| now.wall.duration_since(at);
        // A clock that was ahead when it was saved would keep it for ever.
        let is_past = |at: Timestamp| age(at) >= SignedDuration::ZERO;
        match *saved {
            Saved::Answer(_, fact, epoch) => {
                // An absence has no greatest age: it denies nothing by itself, but keeps `on_unknown: allow` from passing.
                let is_young = !fact.status.is_accepted() || age(fact.asked_at) <= settings.stale_max();
                is_young
                    && is_past(fact.asked_at)
                    && !is_future(fact.observed_at, now.wall)
                    && is_plausible(fact.status, now.wall)
                    && epoch_of(fact.source) == Some(epoch)
            }
            Saved::Learnt(_, word) => {
                is_past(word.at.wall)
                    && is_past(word.confirmed.wall)
                    && now.age(word.confirmed) < settings.learnt
                    && is_plausible(word.status, now.wall)
                    && (is_taught(word.teacher) || !word.status.is_accepted())
            }
        }
    };
    let mut loaded = Loaded::default();
    for line in lines {
        let line = serde_json::from_slice::<Line>(&line?).ok().filter(|_| is_read);
        // A word whose teacher is gone is not believed, but the words that it has ended stay ended.
        let end = |saved: Saved| match saved {
            Saved::Learnt(key, word) if word.status.is_accepted() && !is_taught(word.teacher) => {
                word.ends.map_or(saved, |ends| Saved::Learnt(key, Learnt::ended(now, ends)))
            }
            saved => saved,
        };
        match line.and_then(|line| line.read(now)).map(end).filter(holds) {
            Some(saved) => loaded.facts.push(saved),
            None => loaded.left_out += 1,
        }
    }
    Ok(loaded)
}

/// False for an acceptance at a date that none can have.
fn is_plausible(status: Status, now: Timestamp) -> bool {
    match status {
        Status::Accepted { at: Some(at), .. } => acceptance(at, now).is_ok(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::agreement::{Absence, Answer, Cloud, MCA, MPA, PartnerIds, Party, Region, Scope};
    use crate::policy::id::{Guid, MpnId};

    const HOUR: Duration = Duration::from_secs(3600);

    fn settings() -> Settings {
        Settings { accepted: HOUR, stale: HOUR, learnt: 3 * HOUR, ..Settings::default() }
    }

    fn now() -> Now {
        Now::standing("2026-06-01T12:00:00Z".parse().unwrap())
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn customer(bits: u128) -> Key {
        Key {
            cloud: Cloud::Commercial,
            agreement: MCA,
            party: Party::Customer(Guid::from_bits(bits)),
            scope: Scope::Billing(Guid::from_bits(1)),
        }
    }

    fn epoch_of(source: Name) -> Option<u64> {
        (source == name("center")).then_some(7)
    }

    #[test]
    fn what_is_saved_and_holds_still_comes_back() {
        let now = now();
        let ago = |minutes: i64| now.wall - SignedDuration::from_mins(minutes);
        let ids = PartnerIds { tenant: Some(Guid::from_bits(2)), mpn: MpnId::parse("5139005") };
        let reseller = Key {
            cloud: Cloud::UsGovernment,
            agreement: MPA,
            party: Party::Reseller(ids),
            scope: Scope::Region(Region::Europe),
        };
        let answer = |key, status, minutes: i64, source, epoch| {
            let (observed_at, asked_at) = (ago(minutes) - SignedDuration::from_secs(1), ago(minutes));
            Saved::Answer(key, Fact { status, observed_at, asked_at, source: name(source) }, epoch)
        };
        let word = |key, status, (at, confirmed), teacher, refused| {
            let (at, confirmed) = (now.at_wall(ago(at)), now.at_wall(ago(confirmed)));
            Saved::Learnt(
                key,
                Learnt {
                    status,
                    at,
                    confirmed,
                    teacher: Teacher(teacher),
                    terms: 7,
                    ends: (teacher == 3).then_some(at),
                    refused,
                },
            )
        };
        let dated = Status::Accepted { at: Some("2024-03-01T00:00:00.5Z".parse().unwrap()), undated: true };
        let ahead = Status::accepted("2026-06-01T13:00:00Z".parse().unwrap());
        let unset = Status::accepted("0001-01-01T00:00:00Z".parse().unwrap());
        let wrong_region = Status::Missing(Absence::WrongRegion);
        let shared = Key { scope: Scope::None, ..customer(9) };
        let good = [
            answer(customer(1), dated, 5, "center", 7),
            answer(reseller, Status::UNDATED, 119, "center", 7),
            answer(reseller, wrong_region, 5, "center", 7),
            answer(customer(2), Status::MISSING, 60 * 24 * 90, "center", 7),
            word(shared, Status::UNDATED, (5, 5), 3, None),
            word(customer(1), dated, (500, 5), 3, None),
            word(customer(1), Status::MISSING, (5, 5), 4, Some(dated)),
        ];
        let bad = [
            answer(customer(3), Status::UNDATED, 121, "center", 7),
            answer(customer(4), Status::UNDATED, 5, "center", 8),
            answer(customer(5), Status::UNDATED, 5, "gone", 7),
            answer(customer(6), Status::MISSING, 5, "center", 8),
            answer(customer(7), Status::UNDATED, -1, "center", 7),
            answer(customer(7), Status::MISSING, -1, "center", 7),
            answer(customer(7), ahead, 1, "center", 7),
            answer(customer(7), unset, 1, "center", 7),
            word(shared, Status::UNDATED, (5, 5), 4, None),
            word(shared, Status::UNDATED, (181, 180), 3, None),
            word(shared, Status::UNDATED, (-1, -1), 3, None),
            word(shared, ahead, (1, 1), 3, None),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("facts.jsonl");
        let count = save(&path, good.iter().chain(&bad).copied(), now.wall).unwrap();
        assert_eq!(count, good.len() + bad.len());
        let loaded = load(&path, &settings(), epoch_of, |teacher| teacher == Teacher(3), now).unwrap();
        assert_eq!(loaded.facts, good);
        assert_eq!(loaded.left_out, bad.len());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_answer_is_saved_as_its_source_gave_it() {
        let now = now();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let own = Status::accepted(at("2024-01-01T00:00:00Z"));
        let both = Status::Accepted { at: Some(at("2024-01-01T00:00:00Z")), undated: true };
        let kept = |status, source| {
            let fact = Fact { status, observed_at: now.wall, asked_at: now.wall, source: name(source) };
            Kept::new(&customer(1), Answer::known(fact), now.moment(), 1, &settings())
        };
        let saved = |kept: &Kept| {
            let saved = of_answer(customer(1), kept, |source| source != name("ledger"), now);
            saved.map(|saved| match saved {
                Saved::Answer(_, fact, _) => fact.status,
                Saved::Learnt(..) => panic!("{saved:?}"),
            })
        };
        let doubted = Some(now.uptime);
        for (kept, expected) in [
            (kept(own, "center"), Some(own)),
            (Kept { own: Some(own), ..kept(both, "center") }, Some(own)),
            (kept(own, "ledger"), None),
            (kept(own, "upstream"), None),
            (Kept { doubted, ..kept(own, "center") }, None),
            (Kept { doubted, ..kept(Status::MISSING, "center") }, Some(Status::MISSING)),
        ] {
            assert_eq!(saved(&kept), expected, "{kept:?}");
        }
    }

    #[test]
    fn lines_that_can_not_be_read_cost_no_other_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("facts.jsonl");
        let now = now();
        let at = now.wall;
        let head = format!("{{\"form\":\"{FORM}\",\"saved_at\":\"x\"}}\n");
        let line = |tenant: &str, status: &str, more: &str| {
            format!(
                "{{\"cloud\":\"commercial\",\"agreement\":\"mca\",\"party\":\"customer\",\"tenant\":\"{tenant}\",\
                 \"status\":{status},\"observed_at\":\"{at}\",\"asked_at\":\"{at}\",\"source\":\"center\",\"epoch\":7{more}}}\n"
            )
        };
        let tenant = Guid::from_bits(1).to_string();
        let undated = "{\"accepted\":{\"undated\":true}}";
        let good = |tenant: &str, more: &str| line(tenant, undated, more);
        let lines = [
            good(&tenant, ""),
            good("no tenant", ""),
            good(&tenant, ",\"unheard\":1"),
            good(&tenant, ",\"region\":\"moon\""),
            good(&tenant, &format!(",\"confirmed_at\":\"{at}\"")),
            line(&tenant, "{\"accepted\":{\"undated\":false}}", ""),
            line(&tenant, "{\"missing\":\"somehow\"}", ""),
            line(&tenant, "{}", ""),
            "{\n".to_owned(),
            good(&tenant, "")[..40].to_owned(),
        ];
        let load = || load(&path, &settings(), epoch_of, |_| true, now);
        std::fs::write(&path, head + &lines.concat()).unwrap();
        let loaded = load().unwrap();
        assert_eq!((loaded.facts.len(), loaded.left_out), (1, lines.len() - 1));
        for text in ["{}\n", "{\"form\":\"other\",\"saved_at\":\"x\"}\n", "\u{0}\u{1}"] {
            std::fs::write(&path, text).unwrap();
            assert!(load().is_err(), "{text:?}");
        }
        // Another version's is replaced, and nothing of it is believed.
        let other = format!("{{\"form\":\"{FORMS}1\",\"saved_at\":\"x\"}}\n{}", good(&tenant, ""));
        std::fs::write(&path, other).unwrap();
        let loaded = load().unwrap();
        assert_eq!((loaded.facts.len(), loaded.left_out), (0, 1));
        assert!(is_ours(&path).unwrap());
    }
}
