//! `countersign check`: every problem of a configuration at once.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::cli::exit::{Exit, colour, complain, give_up, say};
use crate::config;
use crate::config::agreements::Agreements;
use crate::policy::id::Name;

/// Reads a configuration and reports on it.
pub fn check(path: &Path) -> Exit {
    let loaded = match config::load(path, Timestamp::now()) {
        Ok(loaded) => loaded,
        Err(error) => return give_up(&error),
    };
    complain(&loaded.report(colour(&std::io::stderr())));
    let (errors, warnings) = loaded.counts();
    match loaded.settings {
        Some(settings) => {
            let policy = &settings.policy.policy;
            say!(
                "{}: good, revision {} ({} operations, {} rules, {} partners, {warnings} warnings)",
                path.display(),
                settings.revision,
                policy.operations.len(),
                policy.rules.len(),
                settings.partners.known.len(),
            );
            say!("{}", longest_belief(&settings.agreements));
            Exit::Yes
        }
        None => {
            say!("{}: refused ({errors} errors, {warnings} warnings)", path.display());
            Exit::No
        }
    }
}

/// The longest time that a withdrawn acceptance can pass: just asked for when it was, and not to be asked for when it
/// has to be again.
fn longest_belief(agreements: &Agreements) -> String {
    let cache = &agreements.cache;
    let is_remote = |name: &Name| agreements.remotes.iter().any(|remote| remote.name == *name);
    let otherwise = format!(
        "until the ledger says otherwise, one that was learnt of a party that no source knows for {} (`learnt`)",
        plain(cache.learnt)
    );
    match agreements.order.iter().flatten().any(is_remote) {
        true => format!(
            "an acceptance that is withdrawn at a remote source can still pass for {} (`agreements.cache`: `accepted` {}, \
             then `stale` {}), one that a ledger records {otherwise}",
            plain(cache.accepted + cache.stale),
            plain(cache.accepted),
            plain(cache.stale),
        ),
        false => format!(
            "no remote source is asked: an acceptance that is withdrawn and that a ledger records can still pass {otherwise}"
        ),
    }
}

/// A duration such as `1d 12h`.
fn plain(duration: Duration) -> String {
    let mut left = duration.as_millis();
    let mut parts = Vec::new();
    for (unit, millis) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if left >= millis {
            parts.push(format!("{}{unit}", left / millis));
            left %= millis;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_in_the_units_of_configurations() {
        for (millis, expected) in [
            (0, "0s"),
            (1, "1ms"),
            (100, "100ms"),
            (1_500, "1s 500ms"),
            (60_000, "1m"),
            (46_800_000, "13h"),
            (86_400_000, "1d"),
            (90_061_001, "1d 1h 1m 1s 1ms"),
            (2_592_000_000, "30d"),
        ] {
            assert_eq!(plain(Duration::from_millis(millis)), expected, "{millis}");
        }
    }
}
