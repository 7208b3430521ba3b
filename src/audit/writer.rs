//! Writing: each worker appends its own records, and a decision is on file before its request goes upstream.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use prometheus::IntCounter;
use serde::Serialize;

use crate::audit::record::{DecisionParts, DecisionRecord, Envelope, RECORD_BYTES_MAX, SummaryRecord};
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
    line: Vec<u8>,
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
            line: Vec::with_capacity(4096),
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
        self.serialise("decision", parts.at, &DecisionRecord::new(parts, None));
        if self.line.len() > RECORD_BYTES_MAX {
            // Findings name at most 64 needs by number, so that fifty lines fit whatever their ids.
            self.serialise("decision", parts.at, &DecisionRecord::new(parts, Some(50)));
        }
        self.write()?;
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

    /// Records the outcome of an exchange.
    pub fn outcome(&mut self, at: Timestamp, record: &impl Serialize) {
        self.serialise("outcome", at, record);
        if self.write().is_ok() {
            self.outcomes.inc();
        }
    }

    /// Records something rare.
    pub fn other(&mut self, kind: &'static str, at: Timestamp, record: &impl Serialize) {
        self.serialise(kind, at, record);
        if self.write().is_ok() {
            self.metrics.audited(kind).inc();
        }
    }

    /// Records how many refusals were only counted since the last time.
    pub fn summarise(&mut self, at: Timestamp) {
        if self.refusals.counted > 0 && at.as_second() > self.refusals.second {
            let refused = std::mem::take(&mut self.refusals.counted);
            self.other("summary", at, &SummaryRecord { refused });
        }
    }

    fn serialise(&mut self, kind: &'static str, at: Timestamp, record: &impl Serialize) {
        self.line.clear();
        if self.torn {
            self.line.push(b'\n');
        }
        let envelope = Envelope::new(kind, self.number, self.seq, at, record);
        serde_json::to_writer(&mut self.line, &envelope).expect("a record is plain data");
        self.line.push(b'\n');
    }

    /// One write for one record: lanes share the file, and the kernel keeps appends apart.
    fn write(&mut self) -> Result<(), NotRecorded> {
        let file = self.file.file.load();
        let mut file: &File = &file;
        let written = loop {
            match file.write(&self.line) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        match written {
            Ok(count) if count == self.line.len() => {
                self.torn = false;
                self.seq += 1;
                Ok(())
            }
            other => {
                // Half a record proves nothing: it is finished by a line end and written anew under the same number.
                self.torn = self.torn || other.as_ref().is_ok_and(|count| *count > 0);
                self.metrics.audit_failures.inc();
                Err(NotRecorded)
            }
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
