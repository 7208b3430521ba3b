//! From when a ledger counts, and which dates of acceptance it may hold.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use countersign::config::{self, ledger::load_ledger};
use jiff::{SignedDuration, Timestamp};

use crate::center::counting;
use crate::http::Answer;
use crate::stage::{BLOCKED, CUSTOMER, LEDGER, Stage, eventually};

/// The output of `check` for the shipped configuration with this ledger in place of its own.
pub fn report(ledger: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for name in ["countersign.yaml", "keys.json"] {
        std::fs::copy(shipped.join(name), folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("agreements.yaml"), ledger).unwrap();
    let now = "2026-11-28T06:00:00Z".parse().unwrap();
    let loaded = config::load(&folder.path().join("countersign.yaml"), now).unwrap();
    assert_eq!(loaded.settings.is_none(), loaded.counts().0 > 0, "{ledger}");
    loaded.report(false)
}

pub const PARTY: &str = "customer: c0a80101-6d2b-4c1e-8f10-000000000001";

#[test]
fn a_date_that_is_none_of_an_acceptance_is_refused() {
    for (date, message) in [
        ("2026-11-28T06:05:00Z", None),
        ("2026-11-28T20:00:00+14:00", None),
        ("2026-11-28T06:05:01Z", Some("the acceptance lies in the future")),
        ("0001-01-01T00:00:00Z", Some("`0001-01-01T00:00:00Z` is a date that was never set")),
        ("1601-01-01T00:00:00Z", Some("is a date that was never set")),
        ("1900-01-01T00:00:00+14:00", Some("is a date that was never set")),
        ("1970-01-01T00:00:00Z", Some("write when it was accepted, or `{ accepted: undated }`")),
        ("2024-03-01T00:00:00", Some("expected an RFC 3339 time")),
        ("2024-03-01", Some("expected an RFC 3339 time")),
    ] {
        let report = report(&format!("agreements:\n  - {{ {PARTY}, mca: {{ accepted: {date} }} }}\n"));
        match message {
            None => assert!(!report.contains("error"), "{date}: {report}"),
            Some(message) => {
                assert!(report.contains(message), "{date}: expected `{message}`\n{report}");
                assert!(report.contains("agreements.yaml:2:"), "{date}: it has a place\n{report}");
            }
        }
    }
}

/// Writes a file as a copy that keeps its dates would be.
fn write_dated(path: &Path, text: &str, modified: SystemTime) {
    fs::write(path, text).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

#[test]
fn a_ledger_is_as_old_as_its_file_came_to_its_place_and_never_ahead_of_now() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.yaml");
    let second = Duration::from_secs(1);
    for modified in [
        SystemTime::UNIX_EPOCH,
        SystemTime::UNIX_EPOCH + second,
        SystemTime::now() - 86_400 * second,
        SystemTime::now() + 86_400 * second,
    ] {
        let before = Timestamp::now() - SignedDuration::from_secs(1);
        write_dated(&file, LEDGER, modified);
        let now = Timestamp::now();
        let ledger = load_ledger(&file, now, &HashMap::new()).unwrap();
        assert!((before..=now).contains(&ledger.written_at), "{modified:?}: {}", ledger.written_at);
    }
    // By a clock that was set back it was not written ahead of now.
    let now = Timestamp::now() - SignedDuration::from_hours(1);
    assert_eq!(load_ledger(&file, now, &HashMap::new()).unwrap().written_at, now);
}

#[test]
fn a_ledger_behind_a_link_is_as_old_as_the_later_one_of_both() {
    let changed = |path: &Path| {
        let metadata = fs::symlink_metadata(path).unwrap();
        Timestamp::new(metadata.ctime(), metadata.ctime_nsec() as i32).unwrap()
    };
    for link_first in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let [file, link, other] = ["ledger.yaml", "link.yaml", "other"].map(|name| folder.path().join(name));
        let make = |is_link: bool| match is_link {
            true => std::os::unix::fs::symlink("ledger.yaml", &link).unwrap(),
            false => write_dated(&file, LEDGER, SystemTime::UNIX_EPOCH),
        };
        make(link_first);
        let first = changed(if link_first { &link } else { &file });
        // The clock of a file system ticks now and then.
        eventually(|| {
            fs::write(&other, "").unwrap();
            changed(&other) > first
        });
        make(!link_first);
        let second = changed(if link_first { &file } else { &link });
        assert!(second > first);
        let ledger = load_ledger(&link, Timestamp::now(), &HashMap::new()).unwrap();
        assert_eq!(ledger.written_at, second, "the link comes first: {link_first}");
    }
}

/// A stage whose ledger is a link, to point at files with dates from before what is learnt.
fn linked() -> Stage {
    Stage::edited("", |text, folder| {
        let other = "  - { customer: c0a80101-6d2b-4c1e-8f10-0000000000aa, mca: missing }\n";
        let signed = LEDGER.replace("2, mca: missing", "2, mca: { accepted: 2026-01-01T00:00:00Z }");
        for (name, ledger) in [
            ("first", LEDGER.to_owned()),
            ("same", format!("# Another text.\n{LEDGER}")),
            ("other", LEDGER.to_owned() + other),
            ("signed", signed),
        ] {
            fs::create_dir(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("agreements.yaml"), ledger).unwrap();
        }
        // As Kubernetes has it: the link that changes is not the last part of the path.
        fs::remove_file(folder.join("agreements.yaml")).unwrap();
        std::os::unix::fs::symlink("first", folder.join("data")).unwrap();
        std::os::unix::fs::symlink("data/agreements.yaml", folder.join("agreements.yaml")).unwrap();
        text
    })
}

fn point(stage: &Stage, target: &str) {
    std::os::unix::fs::symlink(target, stage.path("link")).unwrap();
    fs::rename(stage.path("link"), stage.path("data")).unwrap();
}

fn attest(stage: &Stage) -> Answer {
    let path = format!("/v1/customers/{BLOCKED}/agreements");
    stage.send("POST", &path, &[], counting("2024-05-13T00:00:00Z").to_string().as_bytes())
}

#[test]
fn a_change_counts_from_when_it_was_read_though_its_file_is_older_than_what_was_learnt() {
    for by_reload in [true, false] {
        let stage = linked();
        let readings = || stage.metric("countersign_ledger_reloads_total{outcome=\"ok\",source=\"ledger\"}");
        let follow = |target: &str, expected: u16| {
            let before = readings();
            point(&stage, target);
            if by_reload {
                assert_eq!(stage.reload().status, 200, "{target}");
                assert_eq!(stage.order(BLOCKED, &[]).status, expected, "{target}");
            } else {
                eventually(|| readings() > before);
                eventually(|| stage.order(BLOCKED, &[]).status == expected);
            }
        };
        assert_eq!(stage.order(BLOCKED, &[]).status, 403);
        assert_eq!(attest(&stage).status, 201);
        assert_eq!(stage.order(BLOCKED, &[]).status, 201, "it was learnt");
        for (target, expected) in [("same", 201), ("other", 403), ("signed", 201), ("first", 403)] {
            follow(target, expected);
        }
    }
}

#[test]
fn a_ledger_that_is_named_otherwise_keeps_what_it_said_and_when() {
    let stage = linked();
    let rename = |from: &str, to: &str| {
        let text = fs::read_to_string(stage.path("countersign.yaml")).unwrap();
        fs::write(stage.path("countersign.yaml"), text.replace(from, to)).unwrap();
        assert_eq!(stage.reload().status, 200, "{to}");
    };
    assert_eq!(attest(&stage).status, 201);
    rename("ledger", "records");
    assert_eq!(stage.order(BLOCKED, &[]).status, 201, "the same file");
    rename("path: agreements.yaml", "path: same/agreements.yaml");
    assert_eq!(stage.order(BLOCKED, &[]).status, 201, "another file that says the same");
    rename("path: same/agreements.yaml", "path: other/agreements.yaml");
    assert_eq!(stage.order(BLOCKED, &[]).status, 403, "another file that says something else");
    assert_eq!(stage.order(CUSTOMER, &[]).status, 201);
}
