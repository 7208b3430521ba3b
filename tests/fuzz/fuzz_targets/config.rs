//! Configurations: any text is read to its problems or to settings, never to both, never to a panic.
#![no_main]

use std::path::Path as FilePath;

use countersign::config;
use countersign::config::problem::Severity;
use countersign::policy::path::Path;
use countersign_fuzz::{CONFIGURATION, METHODS, at};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let loaded = config::load_text(FilePath::new(CONFIGURATION), text, &[], at());
    let errors = loaded.problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    assert_eq!(loaded.counts().0, errors);
    assert_eq!(loaded.settings.is_some(), errors == 0, "{}", loaded.report(false));
    let report = loaded.report(false);
    assert_eq!(report.is_empty(), loaded.problems.is_empty(), "{report}");
    let _ = loaded.report(true);
    let Some(settings) = loaded.settings else { return };
    let again = config::load_text(FilePath::new(CONFIGURATION), text, &[], at());
    assert_eq!(again.settings.map(|again| again.revision), Some(settings.revision), "revision");
    // What was accepted can be asked.
    let policy = &settings.policy.policy;
    for method in METHODS {
        for path in ["/", "/v1/customers/c0a80101-6d2b-4c1e-8f10-000000000001/orders", "/a/b/c"] {
            let path = Path::parse(path).expect("a plain path");
            let operation = policy.route(method, &path).operation();
            assert!(policy.operations.get(operation.index()).is_some(), "{operation:?}");
            assert!(policy.rules_of.get(operation.index()).is_some(), "{operation:?}");
        }
    }
});
