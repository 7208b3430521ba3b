//! What is read of a ledger, what of it is refused, and from when it counts.

use std::path::Path;

use countersign::config;

/// What `check` says of the shipped configuration with this ledger in place of its own.
fn report(ledger: &str) -> String {
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

const PARTY: &str = "customer: c0a80101-6d2b-4c1e-8f10-000000000001";

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
