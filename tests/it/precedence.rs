//! Precedence: which status counts where a ledger, Partner Center, passing answers and saved facts contradict each other.
//!
//! A row has an order of sources, rules, steps in time, and the answer to an order after them. Each row has a customer of its
//! own and runs through the real program. Rows share a process when they have the same sources and rules, and their global
//! steps (ledger edits, restarts, passing time) are the first ones of the longest row.

use std::fmt::Debug;
use std::sync::Mutex;

use jiff::SignedDuration;
use serde_json::Value;

use crate::center::{
    OTHER, PLENTY, as_fault, asked, attestation, counting, is, order_of, said, unsigned, unstarted_center,
};
use crate::shifted_clock::Process;
use crate::stage::{CUSTOMER, LEDGER, PARTNER, Stage};

/// One row of the table.
#[derive(Clone, Copy, Debug)]
struct Row {
    sources: &'static str,
    rules: &'static str,
    steps: &'static str,
    comes: &'static str,
    asks: &'static str,
}

// Steps, in time:
//   ledger A             the ledger is written; A: 2019, 2024, undated, missing, not_applicable, or nothing for no record;
//                        `attested A` is a record with `attested_by`; `A + B` are two records
//   center A             Partner Center answers A from now on: 2019, 2024, undated, missing (the default), unclear, fails
//   recover              all failures end
//   learnt A             the gateway learns from a passing answer: 2019 or 2024 from an attestation, direct from a status read
//   hint                 an attestation of another agreement passes
//   order A              an order is answered A
//   refused              an order is forwarded, and the upstream refuses it with code 13605
//   as other             later orders come from another partner
//   restart, later T     the program restarts; the machine sleeps
//
// Answers: 201, 403 missing (agreement_missing), 403 old (agreement_too_old), 409 (agreement_unrecorded), 503
// (agreement_unknown). Questions of the last order: "asks" (Partner Center), "asks nobody", "any" (either).

/// The shipped rules: an acceptance counts if it is of 2023-04-01 or later, or has no date.
const SHIPPED: &str = "shipped";
/// The shipped rules with `on_unknown: allow`.
const LENIENT: &str = "lenient";
/// The shipped rules and one with `undated: unknown`.
const DATED: &str = "dated";

const L: &str = "[ledger]";
const LC: &str = "[ledger, center]";
const CL: &str = "[center, ledger]";

const fn row(
    sources: &'static str,
    rules: &'static str,
    steps: &'static str,
    comes: &'static str,
    asks: &'static str,
) -> Row {
    Row { sources, rules, steps, comes, asks }
}

/// The first definite answer settles. An acceptance that does not meet every date that rules ask for does not settle while
/// another source follows; the newest of several counts.
const SETTLED: &[Row] = &[
    row(L, SHIPPED, "ledger 2024", "201", "asks nobody"),
    row(L, SHIPPED, "ledger undated", "201", "asks nobody"),
    row(L, SHIPPED, "ledger 2019", "403 old", "asks nobody"),
    row(L, SHIPPED, "ledger missing", "403 missing", "asks nobody"),
    row(L, SHIPPED, "ledger not_applicable", "201", "asks nobody"),
    row(L, SHIPPED, "ledger nothing", "409", "asks nobody"),
    row(L, DATED, "ledger undated", "409", "asks nobody"),
    row(L, DATED, "ledger 2024", "201", "asks nobody"),
    row(LC, SHIPPED, "ledger 2024", "201", "asks nobody"),
    row(LC, SHIPPED, "ledger missing, center 2024", "403 missing", "asks nobody"),
    row(LC, SHIPPED, "ledger not_applicable", "201", "asks nobody"),
    row(LC, SHIPPED, "ledger undated, center fails", "201", "asks nobody"),
    row(LC, SHIPPED, "ledger nothing, center 2024", "201", "asks"),
    row(LC, SHIPPED, "ledger nothing, center undated", "201", "asks"),
    row(LC, SHIPPED, "ledger nothing, center 2019", "403 old", "asks"),
    row(LC, SHIPPED, "ledger nothing, center missing", "403 missing", "asks"),
    row(LC, SHIPPED, "ledger 2019, center 2024", "201", "asks"),
    row(LC, SHIPPED, "ledger 2019, center undated", "201", "asks"),
    row(LC, SHIPPED, "ledger 2019, center 2019", "403 old", "asks"),
    row(LC, SHIPPED, "ledger 2019, center missing", "403 old", "asks"),
    row(LC, DATED, "ledger undated, center 2024", "201", "asks"),
    row(LC, DATED, "ledger undated, center missing", "409", "asks"),
    row(LC, DATED, "ledger 2024, center fails", "201", "asks nobody"),
    row(CL, SHIPPED, "ledger missing, center 2024", "201", "asks"),
    row(CL, SHIPPED, "ledger missing, center undated", "201", "asks"),
    row(CL, SHIPPED, "ledger 2024, center missing", "403 missing", "asks"),
    row(CL, SHIPPED, "ledger 2024, center 2019", "201", "asks"),
    row(CL, SHIPPED, "ledger missing, center 2019", "403 old", "asks"),
    row(CL, SHIPPED, "ledger nothing, center 2019", "403 old", "asks"),
    row(CL, SHIPPED, "ledger nothing, center missing", "403 missing", "asks"),
    row(CL, DATED, "ledger 2024, center undated", "201", "asks"),
    row(CL, DATED, "ledger missing, center undated", "409", "asks"),
];

/// A failed source leaves the status open. A sufficient acceptance of a later source counts; its "missing" is kept beside the
/// failure, and `on_unknown: allow` does not apply to it.
const OPEN: &[Row] = &[
    row(LC, SHIPPED, "ledger nothing, center fails", "503", "asks"),
    row(LC, SHIPPED, "ledger nothing, center unclear", "503", "asks"),
    row(LC, SHIPPED, "ledger 2019, center fails", "503", "asks"),
    row(LC, SHIPPED, "ledger 2019, center unclear", "503", "asks"),
    row(LC, DATED, "ledger undated, center fails", "503", "asks"),
    row(LC, LENIENT, "ledger nothing, center fails", "201", "asks"),
    row(LC, LENIENT, "ledger 2019, center fails", "503", "asks"),
    row(LC, LENIENT, "ledger missing, center fails", "403 missing", "asks nobody"),
    row(LC, SHIPPED, "ledger nothing, center fails, order 503, recover, center 2024", "201", "asks"),
    row(
        LC,
        SHIPPED,
        "ledger 2019, center fails, order 503, recover, center missing, later 2s",
        "403 old",
        "asks",
    ),
    row(CL, SHIPPED, "ledger 2024, center fails", "201", "asks"),
    row(CL, SHIPPED, "ledger undated, center fails", "201", "asks"),
    row(CL, SHIPPED, "ledger not_applicable, center fails", "201", "asks"),
    row(CL, SHIPPED, "ledger 2024, center unclear", "201", "asks"),
    row(CL, SHIPPED, "ledger missing, center fails", "503", "asks"),
    row(CL, SHIPPED, "ledger missing, center unclear", "503", "asks"),
    row(CL, SHIPPED, "ledger 2019, center fails", "503", "asks"),
    row(CL, SHIPPED, "ledger nothing, center fails", "503", "asks"),
    row(CL, LENIENT, "ledger missing, center fails", "503", "asks"),
    row(CL, LENIENT, "ledger missing, center unclear", "503", "asks"),
    row(CL, LENIENT, "ledger 2019, center fails", "503", "asks"),
    row(CL, LENIENT, "ledger nothing, center fails", "201", "asks"),
    row(CL, LENIENT, "ledger 2024, center fails", "201", "asks"),
    row(
        CL,
        SHIPPED,
        "ledger missing, center fails, order 503, recover, center missing, later 2s",
        "403 missing",
        "asks",
    ),
];

/// A learnt acceptance stands for the answer of the first remote source for `accepted`. Then that source is asked: a definite
/// answer replaces it, silence leaves it until `learnt` is over, a failure until `accepted` and `stale` are.
const LEARNT: &[Row] = &[
    row(L, SHIPPED, "ledger nothing, learnt 2024", "201", "asks nobody"),
    row(L, SHIPPED, "ledger nothing, learnt direct", "201", "asks nobody"),
    row(L, SHIPPED, "ledger 2024, learnt 2019", "201", "asks nobody"),
    row(L, SHIPPED, "ledger nothing, learnt 2024, later 29d", "201", "asks nobody"),
    row(L, SHIPPED, "ledger nothing, learnt direct, later 29d", "201", "asks nobody"),
    row(L, SHIPPED, "ledger nothing, learnt 2024, later 31d", "409", "asks nobody"),
    row(L, SHIPPED, "ledger nothing, learnt direct, later 31d", "409", "asks nobody"),
    row(L, SHIPPED, "ledger nothing, learnt 2024, later 20d, order 201, later 20d", "409", "asks nobody"),
    row(L, SHIPPED, "ledger nothing, learnt 2024, later 20d, learnt 2024, later 20d", "201", "asks nobody"),
    row(LC, SHIPPED, "ledger nothing, learnt 2024", "201", "asks nobody"),
    row(LC, SHIPPED, "ledger nothing, learnt direct", "201", "asks nobody"),
    row(LC, SHIPPED, "ledger nothing, order 403 missing, learnt 2024", "201", "asks nobody"),
    row(LC, SHIPPED, "ledger 2019, learnt 2024", "201", "asks nobody"),
    row(LC, SHIPPED, "ledger nothing, learnt 2024, later 13h, center missing", "403 missing", "asks"),
    row(LC, SHIPPED, "ledger nothing, learnt direct, later 13h, center missing", "403 missing", "asks"),
    row(LC, SHIPPED, "ledger nothing, learnt 2024, later 13h, center 2024", "201", "asks"),
    row(LC, SHIPPED, "ledger nothing, learnt 2024, later 13h, center 2019", "403 old", "asks"),
    row(LC, SHIPPED, "ledger 2024, learnt 2024, later 13h, center missing", "201", "asks nobody"),
    row(LC, SHIPPED, "ledger nothing, learnt 2024, center fails, later 12h30m", "201", "asks"),
    row(LC, SHIPPED, "ledger nothing, learnt direct, center fails, later 12h30m", "201", "asks"),
    row(LC, SHIPPED, "ledger nothing, learnt 2024, center fails, later 14h", "503", "asks"),
    row(LC, SHIPPED, "ledger nothing, learnt direct, center fails, later 14h", "503", "asks"),
    row(
        LC,
        SHIPPED,
        "ledger nothing, learnt 2024, center fails, later 12h30m, order 201, later 1h",
        "503",
        "asks",
    ),
    row(CL, SHIPPED, "ledger nothing, learnt 2024", "201", "asks nobody"),
    row(CL, SHIPPED, "ledger nothing, learnt 2024, later 13h, center missing", "403 missing", "asks"),
    row(CL, SHIPPED, "ledger 2024, learnt 2024, later 13h, center missing", "403 missing", "asks"),
    row(CL, SHIPPED, "ledger nothing, learnt 2024, center fails, later 12h30m", "201", "asks"),
    row(CL, SHIPPED, "ledger nothing, learnt 2024, center fails, later 14h", "503", "asks"),
    row(CL, SHIPPED, "ledger 2024, learnt 2024, center fails, later 14h", "201", "asks"),
];

/// The later one of a "missing" in a ledger and a learnt acceptance counts. Once a source has confirmed the acceptance, the
/// older "missing" counts again only after the ledger is written again.
const LATER: &[Row] = &[
    row(L, SHIPPED, "ledger missing, learnt 2024", "201", "asks nobody"),
    row(L, SHIPPED, "ledger missing, learnt direct", "201", "asks nobody"),
    row(L, SHIPPED, "ledger missing, order 403 missing, learnt 2024", "201", "asks nobody"),
    row(L, SHIPPED, "learnt 2024, ledger missing", "403 missing", "asks nobody"),
    row(L, SHIPPED, "learnt direct, ledger missing", "403 missing", "asks nobody"),
    row(L, SHIPPED, "learnt 2024, order 201, ledger missing", "403 missing", "asks nobody"),
    row(L, SHIPPED, "ledger missing, learnt 2024, ledger missing", "403 missing", "asks nobody"),
    row(L, SHIPPED, "ledger missing, learnt 2024, ledger nothing", "201", "asks nobody"),
    row(L, SHIPPED, "ledger 2024, order 201, ledger missing", "403 missing", "asks nobody"),
    row(L, SHIPPED, "ledger missing, order 403 missing, ledger 2024", "201", "asks nobody"),
    row(L, SHIPPED, "ledger missing, learnt 2024, restart", "201", "asks nobody"),
    row(L, SHIPPED, "learnt 2024, ledger missing, restart", "403 missing", "asks nobody"),
    row(L, SHIPPED, "ledger missing, learnt 2024, restart, ledger missing", "403 missing", "asks nobody"),
    row(L, SHIPPED, "ledger missing, learnt 2024, later 29d", "201", "asks nobody"),
    row(LC, SHIPPED, "ledger missing, learnt 2024", "201", "asks nobody"),
    row(LC, SHIPPED, "learnt 2024, ledger missing", "403 missing", "asks nobody"),
    row(LC, SHIPPED, "learnt direct, ledger missing", "403 missing", "asks nobody"),
    row(LC, SHIPPED, "ledger missing, learnt 2024, ledger nothing", "201", "asks nobody"),
    row(LC, SHIPPED, "center 2024, order 201, ledger missing", "403 missing", "asks nobody"),
    row(LC, SHIPPED, "ledger missing, order 403 missing, ledger nothing, center 2024", "201", "asks"),
    row(LC, SHIPPED, "ledger missing, learnt 2024, later 13h, center 2024", "201", "asks"),
    row(LC, SHIPPED, "ledger missing, learnt 2024, later 13h, center missing", "403 missing", "asks"),
    row(LC, SHIPPED, "ledger missing, learnt 2024, center fails, later 12h30m", "201", "asks"),
    // A source has confirmed the acceptance since.
    row(
        LC,
        SHIPPED,
        "ledger missing, learnt 2024, later 13h, center 2024, order 201, later 13h",
        "201",
        "asks",
    ),
    row(
        LC,
        SHIPPED,
        "ledger missing, learnt 2024, later 13h, center 2024, order 201, restart, later 13h",
        "201",
        "asks",
    ),
    row(
        LC,
        SHIPPED,
        "ledger missing, learnt 2024, later 13h, center 2024, order 201, ledger missing",
        "403 missing",
        "asks nobody",
    ),
    row(
        LC,
        SHIPPED,
        "ledger missing, learnt 2024, later 13h, center 2024, order 201, restart, ledger missing",
        "403 missing",
        "asks nobody",
    ),
    row(
        LC,
        SHIPPED,
        "ledger missing, learnt 2024, later 13h, center 2024, order 201, later 13h, center missing",
        "403 missing",
        "asks",
    ),
    row(CL, SHIPPED, "ledger missing, learnt 2024", "201", "asks nobody"),
    row(CL, SHIPPED, "ledger missing, learnt 2024, later 13h, center missing", "403 missing", "asks"),
    row(CL, SHIPPED, "ledger missing, learnt 2024, center fails, later 12h30m", "201", "asks"),
    row(CL, SHIPPED, "center 2024, order 201, ledger missing", "201", "asks nobody"),
];

/// A refusal by the upstream puts acceptances in doubt: learnt ones are dropped, and sources are asked before the next use. A
/// known "missing" is dropped by neither doubts nor hints.
const DOUBTED: &[Row] = &[
    row(L, SHIPPED, "ledger 2024, refused", "201", "asks nobody"),
    row(L, SHIPPED, "ledger nothing, learnt 2024, refused", "409", "asks nobody"),
    row(L, SHIPPED, "ledger nothing, learnt direct, refused", "409", "asks nobody"),
    row(L, SHIPPED, "ledger missing, learnt 2024, refused", "403 missing", "asks nobody"),
    row(L, SHIPPED, "ledger nothing, learnt 2024, refused, restart", "409", "asks nobody"),
    row(L, SHIPPED, "ledger missing, learnt 2024, refused, restart", "403 missing", "asks nobody"),
    row(LC, SHIPPED, "ledger nothing, center 2024, order 201, refused", "201", "asks"),
    row(
        LC,
        SHIPPED,
        "ledger nothing, center 2024, order 201, center missing, refused",
        "403 missing",
        "asks",
    ),
    row(LC, SHIPPED, "ledger nothing, center 2024, order 201, center fails, refused", "503", "asks"),
    row(LC, SHIPPED, "ledger nothing, learnt 2024, refused", "403 missing", "asks"),
    row(LC, SHIPPED, "ledger nothing, learnt direct, refused", "403 missing", "asks"),
    row(LC, SHIPPED, "ledger nothing, learnt 2024, center fails, refused", "503", "asks"),
    row(LC, SHIPPED, "ledger nothing, learnt 2024, refused, learnt 2024", "403 missing", "asks"),
    row(LC, SHIPPED, "ledger nothing, learnt direct, refused, learnt direct", "403 missing", "asks"),
    row(LC, SHIPPED, "ledger missing, learnt 2024, refused", "403 missing", "asks nobody"),
    row(LC, SHIPPED, "ledger 2024, refused", "201", "any"),
    row(LC, SHIPPED, "ledger nothing, learnt 2024, refused, restart", "403 missing", "asks"),
    row(LC, LENIENT, "ledger nothing, order 403 missing, center fails, hint", "503", "any"),
    row(LC, LENIENT, "ledger nothing, order 403 missing, center fails, hint, later 2h", "503", "asks"),
    row(CL, SHIPPED, "ledger 2024, learnt 2024, refused", "403 missing", "asks"),
    row(CL, SHIPPED, "ledger 2024, learnt 2024, center fails, refused", "201", "asks"),
    row(CL, SHIPPED, "ledger missing, learnt 2024, center fails, refused", "503", "asks"),
    row(CL, LENIENT, "ledger missing, learnt 2024, center fails, refused", "503", "asks"),
];

/// Saved facts keep their status and age. A saved "missing" denies nothing by itself, but `on_unknown: allow` does not apply to
/// it.
const SAVED: &[Row] = &[
    row(L, SHIPPED, "ledger 2024, order 201, restart, ledger nothing", "409", "asks nobody"),
    row(L, SHIPPED, "ledger nothing, learnt 2024, restart", "201", "asks nobody"),
    row(L, SHIPPED, "ledger nothing, learnt direct, restart", "201", "asks nobody"),
    row(L, SHIPPED, "ledger nothing, learnt 2024, later 20d, restart, later 20d", "409", "asks nobody"),
    row(LC, SHIPPED, "ledger nothing, center 2024, order 201, center fails, restart", "201", "asks nobody"),
    row(LC, SHIPPED, "ledger nothing, learnt 2024, center fails, restart", "201", "asks nobody"),
    row(
        LC,
        SHIPPED,
        "ledger nothing, center 2024, order 201, center missing, later 13h, restart",
        "403 missing",
        "asks",
    ),
    row(
        LC,
        SHIPPED,
        "ledger nothing, center 2024, order 201, center fails, later 12h30m, restart",
        "201",
        "asks",
    ),
    row(
        LC,
        SHIPPED,
        "ledger nothing, center 2024, order 201, center fails, later 14h, restart",
        "503",
        "asks",
    ),
    row(LC, SHIPPED, "ledger nothing, learnt 2024, center fails, later 14h, restart", "503", "asks"),
    row(
        LC,
        SHIPPED,
        "ledger nothing, learnt 2024, center missing, later 13h, restart",
        "403 missing",
        "asks",
    ),
    row(LC, SHIPPED, "ledger nothing, order 403 missing, center 2024, restart", "201", "asks"),
    row(LC, SHIPPED, "ledger nothing, order 403 missing, restart", "403 missing", "asks"),
    row(LC, SHIPPED, "ledger nothing, order 403 missing, center fails, restart", "503", "asks"),
    row(LC, LENIENT, "ledger nothing, order 403 missing, center fails, restart", "503", "asks"),
    row(LC, LENIENT, "ledger nothing, center fails, restart", "201", "asks"),
    row(LC, LENIENT, "ledger nothing, center 2024, order 201, center fails, restart", "201", "asks nobody"),
    row(CL, SHIPPED, "ledger missing, learnt 2024, center fails, restart", "201", "asks nobody"),
    row(CL, LENIENT, "ledger nothing, order 403 missing, center fails, restart", "503", "asks"),
];

/// A narrower record overrides a wider one that contradicts it; the newest of several acceptances counts. A direct acceptance
/// counts for every partner, an attestation for the partner that made it.
const SCOPED: &[Row] = &[
    row(L, SHIPPED, "ledger missing + attested 2024", "201", "asks nobody"),
    row(L, SHIPPED, "ledger missing + attested 2024, as other", "403 missing", "asks nobody"),
    row(L, SHIPPED, "ledger 2024 + attested missing", "403 missing", "asks nobody"),
    row(L, SHIPPED, "ledger undated + attested missing", "403 missing", "asks nobody"),
    row(L, SHIPPED, "ledger 2024 + attested missing, as other", "201", "asks nobody"),
    row(L, SHIPPED, "ledger 2019 + attested 2024", "201", "asks nobody"),
    row(L, SHIPPED, "ledger 2024 + attested 2019", "201", "asks nobody"),
    row(L, SHIPPED, "ledger undated + attested 2019", "201", "asks nobody"),
    row(L, SHIPPED, "ledger 2019 + attested 2019", "403 old", "asks nobody"),
    row(L, SHIPPED, "ledger attested 2024", "201", "asks nobody"),
    row(L, SHIPPED, "ledger attested 2024, as other", "409", "asks nobody"),
    row(L, SHIPPED, "ledger nothing, learnt 2024, as other", "409", "asks nobody"),
    row(L, SHIPPED, "ledger nothing, learnt direct, as other", "201", "asks nobody"),
    row(L, SHIPPED, "ledger missing, learnt direct, as other", "201", "asks nobody"),
    row(L, SHIPPED, "learnt direct, ledger missing, as other", "403 missing", "asks nobody"),
    row(L, SHIPPED, "ledger nothing, learnt direct, restart, as other", "201", "asks nobody"),
    row(L, SHIPPED, "ledger nothing, learnt direct, later 31d, as other", "409", "asks nobody"),
    row(LC, SHIPPED, "ledger nothing, learnt 2024, as other", "409", "asks nobody"),
    row(LC, SHIPPED, "ledger nothing, learnt direct, as other", "201", "asks nobody"),
    // The source speaks for the first partner only, so that it is not asked for the other one.
    row(LC, SHIPPED, "ledger nothing, learnt direct, later 13h, as other", "201", "asks nobody"),
    row(LC, SHIPPED, "ledger nothing, learnt direct, as other, refused", "409", "asks nobody"),
    row(LC, SHIPPED, "ledger 2019 + attested 2024, center fails", "201", "asks nobody"),
    row(LC, SHIPPED, "ledger 2024 + attested missing, center 2024", "403 missing", "asks nobody"),
];

#[test]
fn every_row_comes_to_what_it_says() {
    let table = [SETTLED, OPEN, LEARNT, LATER, DOUBTED, SAVED, SCOPED].concat();
    let mut cases: Vec<Case> = (0..).zip(&table).map(|(number, row)| Case::new(number, *row)).collect();
    cases.sort_by_key(|case| std::cmp::Reverse(case.for_all.len()));
    let mut groups: Vec<Vec<Case>> = Vec::new();
    for case in cases {
        match groups.iter_mut().find(|group| case.fits(&group[0])) {
            Some(group) => group.push(case),
            None => groups.push(vec![case]),
        }
    }
    let (groups, failed) = (Mutex::new(groups), Mutex::new(Vec::new()));
    let next = || groups.lock().unwrap().pop();
    std::thread::scope(|scope| {
        for _ in 0..PROCESSES {
            scope.spawn(|| {
                while let Some(group) = next() {
                    failed.lock().unwrap().extend(run(group));
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} rows:\n{}", failed.len(), table.len(), failed.join("\n"));
}

/// Processes that run at the same time: they wait for files and starts most of the time.
const PROCESSES: usize = 4;

/// Runs cases in one process and returns a text for each that failed.
fn run(mut cases: Vec<Case>) -> Vec<String> {
    let Row { sources, rules, .. } = cases[0].row;
    let mut process = start(sources, rules);
    for turn in 0..=cases[0].for_all.len() {
        for case in &mut cases {
            case.take_turn(&process, turn);
        }
        happen(&mut process, turn, &mut cases);
    }
    cases.into_iter().filter_map(|case| Some(format!("{:?}: {}", case.row, case.failed?))).collect()
}

/// A row with its customer and its progress.
struct Case {
    row: Row,
    customer: String,
    /// The steps of this customer before, between and after the global ones.
    own: Vec<Vec<&'static str>>,
    /// The global steps.
    for_all: Vec<&'static str>,
    center: &'static str,
    partner: &'static str,
    /// The records of this customer in the ledger.
    records: String,
    failed: Option<String>,
}

impl Case {
    fn new(number: u32, row: Row) -> Case {
        let (mut own, mut for_all) = (vec![Vec::new()], Vec::new());
        for step in row.steps.split(", ") {
            match step.split(' ').next() {
                Some("ledger" | "later" | "restart" | "recover") => {
                    for_all.push(step);
                    own.push(Vec::new());
                }
                _ => own.last_mut().unwrap().push(step),
            }
        }
        Case {
            row,
            customer: unsigned(number),
            own,
            for_all,
            center: "missing",
            partner: PARTNER,
            records: String::new(),
            failed: None,
        }
    }

    /// True if this case can run in the process of a longer one. Records may differ: each customer has its own.
    fn fits(&self, longer: &Case) -> bool {
        let is_same = |(own, other): (&&str, &&str)| {
            own == other || (own.starts_with("ledger ") && other.starts_with("ledger "))
        };
        (self.row.sources, self.row.rules) == (longer.row.sources, longer.row.rules)
            && self.for_all.iter().zip(&longer.for_all).all(is_same)
    }

    /// Does the steps before a global one; after the last, sends the order that the row is about.
    fn take_turn(&mut self, process: &Process, turn: usize) {
        for step in self.own.get(turn).cloned().unwrap_or_default() {
            self.step(process, step);
        }
        if turn == self.for_all.len() {
            self.finish(process);
        }
    }

    fn step(&mut self, process: &Process, step: &str) {
        let standin = &process.stage.standin;
        let customer = &self.customer;
        match step.split_once(' ').unwrap_or((step, "")) {
            ("center", "fails") => standin.fault("GET", &format!("{customer}/"), "status=403", None),
            ("center", says) => {
                self.center = CENTER.into_iter().find(|known| *known == says).expect("a word of the center");
                self.put_center(process);
            }
            ("learnt", "direct") => {
                let path = format!("/v1/customers/{customer}/directSignedMicrosoftCustomerAgreementStatus");
                let signed = as_fault("{\"isSigned\":true}");
                let answer = process.send(self.partner, "GET", &path, &[("Standin-Fault", &signed)], b"");
                self.expect(step, answer.status == 200, &answer);
            }
            ("learnt", year) => self.attest(process, step, &counting(&date(year))),
            ("hint", _) => {
                self.attest(process, step, &attestation("MicrosoftCloudAgreement", "x", &date("2024")))
            }
            ("order", expected) => {
                let found = said(&process.order_by(self.partner, customer));
                self.expect(step, found == comes(expected), &found);
            }
            ("refused", _) => {
                standin.refuse_orders(customer, Some(13605));
                let found = said(&process.order_by(self.partner, customer));
                standin.refuse_orders(customer, None);
                self.expect(step, found == is(403, ""), &found);
            }
            ("as", _) => self.partner = OTHER,
            _ => panic!("`{step}` is no step"),
        }
    }

    fn attest(&mut self, process: &Process, step: &str, body: &Value) {
        let path = format!("/v1/customers/{}/agreements", self.customer);
        let answer = process.send(self.partner, "POST", &path, &[], body.to_string().as_bytes());
        self.expect(step, answer.status == 201, &answer);
        // The stand-in keeps the attestation, but the answer of Partner Center is the one in the row.
        self.put_center(process);
    }

    fn put_center(&self, process: &Process) {
        let attestations = match self.center {
            "missing" | "undated" => Vec::new(),
            "unclear" => vec![counting("yesterday")],
            year => vec![counting(&date(year))],
        };
        process.stage.standin.set_direct(&self.customer, self.center == "undated");
        process.stage.standin.set_attestations(&self.customer, attestations);
    }

    fn record(&mut self, says: &str) {
        let records = says.split(" + ").filter(|says| *says != "nothing").map(|says| {
            let (by, status) = match says.strip_prefix("attested ") {
                Some(status) => (format!("attested_by: {PARTNER}, "), status),
                None => (String::new(), says),
            };
            let status = match status {
                "missing" | "not_applicable" => status.to_owned(),
                "undated" => "{ accepted: undated }".to_owned(),
                year => format!("{{ accepted: {} }}", date(year)),
            };
            format!("  - {{ customer: {}, {by}mca: {status} }}\n", self.customer)
        });
        self.records = records.collect();
    }

    /// Sends the last order.
    fn finish(&mut self, process: &Process) {
        let Row { comes: expected, asks, .. } = self.row;
        let before = asked(&process.stage);
        let found = said(&process.order_by(self.partner, &self.customer));
        let is_asked = asked(&process.stage) != before;
        let is_as_expected = match asks {
            "asks" => is_asked,
            "asks nobody" => !is_asked,
            "any" => true,
            _ => panic!("`{asks}` says nothing of questions"),
        };
        self.expect("the order", found == comes(expected), &found);
        self.expect("the order", is_as_expected, &format!("asks: {is_asked}"));
    }

    /// Keeps the first failure.
    fn expect(&mut self, step: &str, is_so: bool, found: &dyn Debug) {
        if !is_so && self.failed.is_none() {
            self.failed = Some(format!("{step}: found {found:?}"));
        }
    }
}

/// Answers of Partner Center about a customer.
const CENTER: [&str; 5] = ["2019", "2024", "undated", "missing", "unclear"];

fn date(year: &str) -> String {
    assert!(["2019", "2024"].contains(&year), "`{year}` is no year of the table");
    format!("{year}-09-01T00:00:00Z")
}

fn comes(expected: &str) -> (u16, String) {
    match expected {
        "201" => is(201, ""),
        "403 missing" => is(403, "agreement_missing"),
        "403 old" => is(403, "agreement_too_old"),
        "409" => is(409, "agreement_unrecorded"),
        "503" => is(503, "agreement_unknown"),
        _ => panic!("`{expected}` is nothing that comes of an order"),
    }
}

/// Does a global step; the first case is the longest.
fn happen(process: &mut Process, turn: usize, cases: &mut [Case]) {
    let Some(step) = cases[0].for_all.get(turn).copied() else { return };
    match step.split_once(' ') {
        Some(("ledger", _)) => {
            for case in cases.iter_mut() {
                if let Some(step) = case.for_all.get(turn) {
                    case.record(step.strip_prefix("ledger ").expect("it fits"));
                }
            }
            let records: String = cases.iter().map(|case| case.records.as_str()).collect();
            process.record(&records);
        }
        Some((_, time)) => process.sleep(match time.strip_suffix('d') {
            Some(days) => SignedDuration::from_hours(24 * days.parse::<i64>().unwrap()),
            None => time.parse().unwrap(),
        }),
        None if step == "restart" => process.restart(),
        None => process.stage.standin.clear_faults(),
    }
}

fn start(sources: &str, rules: &str) -> Process {
    let rules = match rules {
        SHIPPED => "",
        LENIENT => {
            "policy: { rules: [{ name: customer-mca, on_unknown: allow }, \
             { name: customer-mca-renewed, on_unknown: allow }] }\n"
        }
        DATED => {
            "policy: { rules: [{ name: dated, when: { class: [purchase] }, requires: { agreement: mca, of: \
             customer, accepted_since: 2023-04-01T00:00:00Z, undated: unknown } }] }\n"
        }
        _ => panic!("`{rules}` are no rules"),
    };
    // `recheck_after` is longer than a run, so that only the steps of a row cause questions.
    let cache = "accepted: 12h, stale: 1h, missing: 1h, recheck_after: 1h, file: facts.jsonl";
    Process::start(unstarted_center(PLENTY, cache, rules, |text| {
        text.replace("customer: [center]", &format!("customer: {sources}"))
    }))
}

#[test]
fn a_record_of_a_region_goes_before_one_of_all_regions() {
    let stage = Stage::edited("", |text, _| {
        text.replace(
            &format!("tenant: {PARTNER}, kind: direct_bill"),
            &format!("tenant: {PARTNER}, region: europe, kind: direct_bill"),
        )
    });
    const ACCEPTED: &str = "{ accepted: 2020-02-01T00:00:00Z }";
    let rows = [
        ([("", "missing"), ("europe", ACCEPTED)], "201"),
        ([("", ACCEPTED), ("europe", "missing")], "403 missing"),
        ([("europe", "missing"), ("", ACCEPTED)], "403 missing"),
        ([("", ACCEPTED), ("africa", "missing")], "201"),
        ([("", "missing"), ("africa", ACCEPTED)], "403 missing"),
        ([("europe", ACCEPTED), ("africa", "missing")], "201"),
        ([("india", "missing"), ("africa", ACCEPTED)], "409"),
    ];
    let mut ledger = LEDGER.to_owned();
    for (number, (records, _)) in rows.iter().enumerate() {
        for (region, status) in records {
            let region = if region.is_empty() { String::new() } else { format!("region: {region}, ") };
            ledger += &format!("  - {{ reseller: \"60000{number:02}\", {region}mpa: {status} }}\n");
        }
    }
    stage.place("agreements.yaml", &ledger, None);
    assert_eq!(stage.reload().status, 200);
    for (number, (records, expected)) in rows.iter().enumerate() {
        let answer = order_of(&stage, CUSTOMER, &format!("60000{number:02}"), &[]);
        assert_eq!(said(&answer), comes(expected), "{records:?}");
    }
}
