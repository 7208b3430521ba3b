//! `countersign test`: policy cases, one line each, and which rules they cover.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::cli::exit::{Exit, colour, give_up, say};
use crate::config::cases::{self, Case, Expect};
use crate::config::problem::render;
use crate::config::read::Reader;
use crate::config::{self, Settings};
use crate::judge::judge;
use crate::mark::without_mark;
use crate::policy::Policy;
use crate::policy::decision::{Decision, Effect, Outcome, Verdict};
use crate::policy::rule::Mode;

/// Options of the tests.
#[derive(clap::Args)]
pub struct Arguments {
    /// Case files, or folders of them.
    #[arg(value_name = "FILE", default_value = "config/cases")]
    paths: Vec<PathBuf>,
    /// Fail unless every rule that is on is met in one case and not met in another.
    #[arg(long)]
    require_coverage: bool,
}

/// For one policy: how often each rule was met, and how often it was not.
struct Coverage<'p> {
    name: String,
    policy: &'p Policy,
    met: Vec<usize>,
    unmet: Vec<usize>,
}

/// Runs every case.
pub fn test(config: &Path, arguments: &Arguments) -> Exit {
    let files = match files(&arguments.paths) {
        Ok(files) => files,
        Err(error) => return give_up(&error),
    };
    // Files with a policy of their own need no configuration.
    let settings = config::load(config, Timestamp::now()).ok().and_then(|loaded| loaded.settings);
    let reader = Reader::default();
    let mut read = Vec::new();
    for path in &files {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => without_mark(text),
            Err(error) => return give_up(&format!("can not read {}: {error}", path.display())),
        };
        let configured = settings.as_ref().map(|settings| (&settings.policy.policy, &settings.partners));
        read.push(cases::read(&reader, path, &text, configured));
    }
    if reader.failed() {
        eprint!(
            "{}",
            render(&reader.problems.borrow(), &reader.sources.borrow(), colour(&std::io::stderr()))
        );
        return Exit::No;
    }
    let (mut passed, mut failed) = (0, 0);
    let mut coverages: Vec<Coverage<'_>> = Vec::new();
    for (path, file) in files.iter().zip(&read) {
        let Some(file) = file else { continue };
        let policy = match (&file.policy, &settings) {
            (Some(own), _) => &own.policy,
            (None, Some(Settings { policy, .. })) => &policy.policy,
            (None, None) => continue,
        };
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let rules = policy.rules.len();
        let mut coverage = Coverage { name, policy, met: vec![0; rules], unmet: vec![0; rules] };
        for case in &file.cases {
            let judged = judge(policy, &case.question, &case.known);
            coverage.count(&judged.decision);
            let operation = judged.request.as_ref().map(|request| request.operation);
            let operation =
                operation.map_or("-", |operation| policy.operations[operation.index()].name.as_str());
            let differences = differences(policy, case, &judged.decision, operation);
            match differences.is_empty() {
                true => {
                    passed += 1;
                    say!("ok    {}: {}", coverage.name, case.name);
                }
                false => {
                    failed += 1;
                    say!("FAIL  {}: {}: {}", coverage.name, case.name, differences.join("; "));
                }
            }
        }
        coverages.push(coverage);
    }
    let uncovered: usize = coverages.iter().map(Coverage::print).sum();
    say!("{passed} passed, {failed} failed");
    if failed > 0 || arguments.require_coverage && uncovered > 0 { Exit::No } else { Exit::Yes }
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in paths {
        let fail = |error: std::io::Error| format!("can not read {}: {error}", path.display());
        if !std::fs::metadata(path).map_err(fail)?.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut found: Vec<PathBuf> = std::fs::read_dir(path)
            .map_err(fail)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
            .collect();
        found.sort();
        files.extend(found);
    }
    match files.is_empty() {
        true => Err("there is no case file".to_owned()),
        false => Ok(files),
    }
}

/// How a decision differs from what was expected. The right verdict for another rule is a difference.
fn differences(policy: &Policy, case: &Case, decision: &Decision, operation: &str) -> Vec<String> {
    let expect = &case.expect;
    let name = |rule: usize| policy.rules[rule].name.clone();
    let with_effect = |effect: Effect| {
        let mut names: Vec<String> = Vec::new();
        for finding in decision.findings().iter().filter(|finding| finding.effect == effect) {
            if !names.contains(&name(finding.rule)) {
                names.push(name(finding.rule));
            }
        }
        names.sort();
        names
    };
    let denied = match decision.verdict() {
        Verdict::Allow => None,
        Verdict::Deny(reason) => Some(reason),
    };
    let found = Expect {
        denied,
        rule: decision.decisive().map(|finding| name(finding.rule)),
        operation: Some(operation.to_owned()),
        notices: with_effect(Effect::Notice),
        shadows: with_effect(Effect::Shadow),
    };
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    let mut differences = Vec::new();
    let mut compare = |what: &str, expected: String, found: String| {
        if expected != found {
            differences.push(format!("{what}: expected {expected}, found {found}"));
        }
    };
    let verdict = |denied: Option<crate::policy::reason::Reason>| match denied {
        None => "allow".to_owned(),
        Some(reason) => format!("deny {reason}"),
    };
    compare("verdict", verdict(expect.denied), verdict(found.denied));
    let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    compare("rule", word(&expect.rule), word(&found.rule));
    if expect.operation.is_some() {
        compare("operation", word(&expect.operation), word(&found.operation));
    }
    compare("notices", sorted(&expect.notices).join(" "), found.notices.join(" "));
    compare("shadows", sorted(&expect.shadows).join(" "), found.shadows.join(" "));
    differences
}

impl Coverage<'_> {
    fn count(&mut self, decision: &Decision) {
        for finding in decision.findings() {
            match finding.outcome {
                Outcome::Met => self.met[finding.rule] += 1,
                Outcome::Unmet(_) => self.unmet[finding.rule] += 1,
                Outcome::Unknown(_) | Outcome::Waived(_) => {}
            }
        }
    }

    /// Prints how often each rule was met and not met; the answer is how many are not covered both ways.
    fn print(&self) -> usize {
        let mut uncovered = 0;
        say!("\nrules covered by {}:", self.name);
        for (at, rule) in self.policy.rules.iter().enumerate().filter(|(_, rule)| rule.mode != Mode::Off) {
            let covered = self.met[at] > 0 && self.unmet[at] > 0;
            uncovered += usize::from(!covered);
            let mark = if covered { "" } else { "   <- not covered both ways" };
            say!("  {:<24} met {:>3}, unmet {:>3}{mark}", rule.name, self.met[at], self.unmet[at]);
        }
        say!();
        uncovered
    }
}
