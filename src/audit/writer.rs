//! Writing: each worker appends its own records, and a decision is on file before its request goes upstream.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use prometheus::IntCounter;

use crate::audit::record::{self, AdminRecord, DecisionParts, OutcomeRecord, Place, RECORD_BYTES_MAX};
use crate::metrics::Metrics;
use crate::policy::agreement::named_enum;

named_enum! {
    /// What happens to a gated request whose decision can not be recorded.
    OnFailure {
        /// It is denied with 503.
        Deny = "deny",
        /// It passes, counted.
        Allow = "allow",
    }
}

/// The most outcomes of a lane that wait for a write.
const OUTCOMES_WAITING_MAX: u64 = 64;

/// Refusals of unidentified callers that one lane records a second; the rest are counted.
const REFUSALS_A_SECOND: u32 = 20;

/// The audit file, shared by all lanes. It can be reopened under its name after it was moved away.
#[derive(Debug)]
pub struct AuditFile {
    path: PathBuf,
    file: ArcSwap<File>,
}

impl AuditFile {
    /// Opens the file for appending, creating it where it is absent.
    pub fn open(path: &Path) -> io::Result<AuditFile> {
        Ok(AuditFile { path: path.to_owned(), file: ArcSwap::from_pointee(open(path)?) })
    }

    /// Opens the file of that name anew: the old one may have been moved away.
    pub fn reopen(&self) -> io::Result<()> {
        self.file.store(Arc::new(open(&self.path)?));
        Ok(())
    }

    /// Its name.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
    // A process that was killed, or a disk that was full, may have left half a line: the next record begins its own.
    if file.metadata()?.len() > 0 {
        let mut last = [0u8];
        if file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).is_ok() && last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// Proof that a decision is recorded, or that recording it failed and may fail.
#[derive(Debug)]
pub struct Receipt(());

/// The record could not be written.
#[derive(Debug)]
pub struct NotRecorded;

/// The records of one worker, numbered without gaps.
pub struct Lane {
    number: usize,
    seq: u64,
    file: Arc<AuditFile>,
    /// Records that go out with the next write: outcomes, which nothing waits for, and after them what is written now.
    lines: Vec<u8>,
    /// How many outcomes are among them.
    waiting: u64,
    /// The last write stopped in the middle of a line.
    torn: bool,
    refusals: Refusals,
    decisions: IntCounter,
    outcomes: IntCounter,
    metrics: Metrics,
}

#[derive(Default)]
struct Refusals {
    second: i64,
    recorded: u32,
    counted: u64,
}

impl Lane {
    /// A lane of a file.
    pub fn new(number: usize, file: Arc<AuditFile>, metrics: Metrics) -> Lane {
        Lane {
            number,
            seq: 0,
            file,
            lines: Vec::with_capacity(16 * 1024),
            waiting: 0,
            torn: false,
            refusals: Refusals::default(),
            decisions: metrics.audited("decision"),
            outcomes: metrics.audited("outcome"),
            metrics,
        }
    }

    /// Records a decision.
    pub fn decision(&mut self, parts: &DecisionParts<'_>) -> Result<Receipt, NotRecorded> {
        if parts.caller.is_none() && !self.refusals.admit(parts.at) {
            return Ok(Receipt(()));
        }
        let start = self.lines.len();
        let place = self.place("decision", parts.at);
        record::write_decision(&mut self.lines, place, parts, None);
        for lines_max in [50, 0] {
            if self.lines.len() - start > RECORD_BYTES_MAX {
                self.lines.truncate(start);
                record::write_decision(&mut self.lines, place, parts, Some(lines_max));
            }
        }
        self.write(start)?;
        self.decisions.inc();
        Ok(Receipt(()))
    }

    /// Lets a request pass whose decision could not be recorded: for what must never be stopped, and where the
    /// operator prefers it (`audit.on_failure: allow`). It is counted.
    pub fn waive(&self, _: NotRecorded) -> Receipt {
        Receipt(())
    }

    /// A receipt for what is not recorded at all (`audit.reads: none`).
    pub fn unrecorded(&self) -> Receipt {
        Receipt(())
    }

    /// Records the outcome of an exchange. It goes out with the lane's next decision, at the next tick or when
    /// [`OUTCOMES_WAITING_MAX`] are waiting: an exchange costs one write, not two.
    pub fn outcome(&mut self, at: Timestamp, outcome: &OutcomeRecord<'_>) {
        let place = self.place("outcome", at);
        record::write_outcome(&mut self.lines, place, outcome);
        self.waiting += 1;
        if self.waiting == OUTCOMES_WAITING_MAX {
            self.flush();
        }
    }

    /// Writes the outcomes that are waiting.
    pub fn flush(&mut self) {
        if self.waiting > 0 {
            let _ = self.write(self.lines.len());
        }
    }

    /// Records a configuration that was put in force.
    pub fn revision(&mut self, at: Timestamp, revision: &str, version: &str, policy: &serde_json::Value) {
        let (start, place) = (self.lines.len(), self.place("revision", at));
        record::write_revision(&mut self.lines, place, revision, version, policy);
        self.write_counted("revision", start);
    }

    /// Records what an operator does, before it is done.
    pub fn admin(&mut self, at: Timestamp, admin: &AdminRecord<'_>) -> Result<Receipt, NotRecorded> {
        let (start, place) = (self.lines.len(), self.place("admin", at));
        record::write_admin(&mut self.lines, place, admin);
        self.write(start)?;
        self.metrics.audited("admin").inc();
        Ok(Receipt(()))
    }

    fn write_counted(&mut self, kind: &'static str, start: usize) {
        if self.write(start).is_ok() {
            self.metrics.audited(kind).inc();
        }
    }

    /// Records how many refusals were only counted, once their second is over, and writes what waits.
    pub fn tick(&mut self, at: Timestamp) {
        if at.as_second() > self.refusals.second {
            self.summarise(at);
        }
        self.flush();
    }

    /// Records and writes everything that is left.
    pub fn close(&mut self, at: Timestamp) {
        self.summarise(at);
        self.flush();
    }

    fn summarise(&mut self, at: Timestamp) {
        if self.refusals.counted > 0 {
            let refused = std::mem::take(&mut self.refusals.counted);
            let (start, place) = (self.lines.len(), self.place("summary", at));
            record::write_summary(&mut self.lines, place, refused);
            self.write_counted("summary", start);
        }
    }

    /// The place of the next record.
    fn place(&mut self, kind: &'static str, at: Timestamp) -> Place {
        let seq = self.seq;
        self.seq += 1;
        Place { kind, lane: self.number, seq, at }
    }

    /// Forgets the record that begins at `start`.
    fn take_back(&mut self, start: usize) {
        self.lines.truncate(start);
        self.seq -= 1;
    }

    /// Writes what there is, in one call: lanes share the file, and the kernel keeps appends apart. When it fails, the
    /// record that begins at `start` is taken back, since what it stands for will not happen; outcomes keep waiting.
    fn write(&mut self, start: usize) -> Result<(), NotRecorded> {
        let file = self.file.file.load_full();
        if self.torn {
            self.torn = append(&file, b"\n") != 1;
        }
        let written = if self.torn { 0 } else { append(&file, &self.lines) };
        if written == self.lines.len() {
            self.outcomes.inc_by(std::mem::take(&mut self.waiting));
            self.lines.clear();
            return Ok(());
        }
        self.metrics.audit_failures.inc();
        if start < self.lines.len() {
            self.take_back(start);
        }
        self.keep_unwritten(written.min(self.lines.len()), written);
        Err(NotRecorded)
    }

    /// Drops the records that went out whole; half a record proves nothing, so it is ended and written anew.
    fn keep_unwritten(&mut self, mine: usize, written: usize) {
        let whole = self.lines[..mine].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let records = self.lines[..whole].iter().filter(|byte| **byte == b'\n').count() as u64;
        self.torn = self.torn || written > whole;
        self.outcomes.inc_by(records);
        self.waiting -= records;
        self.lines.drain(..whole);
        // What can not be written for long must not grow: the gap in the numbers shows what was lost.
        if self.waiting >= OUTCOMES_WAITING_MAX {
            self.lines.clear();
            self.waiting = 0;
        }
    }
}

/// How much of a text one write appended.
fn append(mut file: &File, text: &[u8]) -> usize {
    loop {
        match file.write(text) {
            Ok(count) => return count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return 0,
        }
    }
}

impl Refusals {
    /// Whether another refusal may be recorded in this second.
    fn admit(&mut self, at: Timestamp) -> bool {
        if at.as_second() != self.second && self.counted == 0 {
            self.second = at.as_second();
            self.recorded = 0;
        }
        let admitted = self.recorded < REFUSALS_A_SECOND;
        self.recorded += u32::from(admitted);
        self.counted += u64::from(!admitted);
        admitted
    }
}
