//! `countersign check`: every problem of a configuration at once.

use std::path::Path;

use jiff::Timestamp;

use crate::cli::exit::{Exit, colour, complain, give_up, say};
use crate::config;

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
            Exit::Yes
        }
        None => {
            say!("{}: refused ({errors} errors, {warnings} warnings)", path.display());
            Exit::No
        }
    }
}
