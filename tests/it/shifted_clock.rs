//! Shifted clocks: the real program on a machine that sleeps, or whose wall clock is set.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::SystemTime;

use jiff::SignedDuration;
use serde_json::Value;

use crate::center::{
    PLENTY, asked, assert_unknown, center_ledger, counting, customer, is, said, unsigned, unstarted_center,
};
use crate::http::{Answer, Connection, request};
use crate::stage::{PARTNER, Stage, eventually, order, orders};

/// A library that is loaded before libc and overrides `clock_gettime`. It adds the seconds in a mapped file to CLOCK_REALTIME
/// (the first number) and CLOCK_BOOTTIME (the second). CLOCK_MONOTONIC, which stands still while a machine sleeps, is left as
/// it is.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *shifts;

__attribute__((constructor)) static void map_shifts(void) {
    const char *path = getenv("CLOCK_SHIFTS");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, 2 * sizeof *shifts, PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) {
        perror("CLOCK_SHIFTS");
        abort();
    }
    close(file);
    shifts = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && shifts && clock == CLOCK_REALTIME) now->tv_sec += shifts[0];
    if (!failed && shifts && clock == CLOCK_BOOTTIME) now->tv_sec += shifts[1];
    return failed;
}
"#;

/// The difference of a process's clocks from those of the machine that runs the test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift {
    pub wall: SignedDuration,
    pub boot: SignedDuration,
}

impl Shift {
    /// The machine has slept for that long.
    pub const fn slept(time: SignedDuration) -> Shift {
        Shift { wall: time, boot: time }
    }
}

/// A running program with shifted clocks, and the stand-in behind it. It ends when it is dropped.
pub struct Process {
    pub stage: Stage,
    shifts: File,
    shift: Shift,
    running: Option<Running>,
}

struct Running {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Process {
    /// Starts the program with the files of a stage whose gateway does not run. Its clocks are not shifted yet.
    pub fn start(stage: Stage) -> Process {
        let shifts = File::create(stage.path("shifts")).unwrap();
        let mut process = Process { stage, shifts, shift: Shift::default(), running: None };
        process.shift(Shift::default());
        process.begin();
        process
    }

    fn begin(&mut self) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["run", "--config"])
            .arg(self.stage.path("countersign.yaml"))
            .env("LD_PRELOAD", shim())
            .env("CLOCK_SHIFTS", self.stage.path("shifts"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = String::new();
        let (address, admin) = loop {
            let Some(line) = lines.next() else { panic!("it did not start:\n{log}") };
            let line = line.unwrap();
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["message"] == "listening" {
                let address = |name: &str| event[name].as_str().unwrap().parse().unwrap();
                break (address("address"), address("admin"));
            }
            log += &line;
            log.push('\n');
        };
        // The pipe is read to its end, because a full one would stop the log.
        std::thread::spawn(move || lines.for_each(drop));
        self.running = Some(Running { child, address, admin });
        eventually(|| self.admin_request("GET", "/readyz", &[]).status == 200);
    }

    /// Ends the program with SIGTERM, so that it drains and saves facts, and starts it again.
    pub fn restart(&mut self) {
        let Running { mut child, .. } = self.running.take().expect("it runs");
        let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(told.success() && child.wait().unwrap().success(), "it did not end in order");
        self.begin();
    }

    /// Shifts its clocks.
    pub fn shift(&mut self, shift: Shift) {
        let seconds = [shift.wall, shift.boot].map(|by| by.as_secs().to_ne_bytes());
        self.shifts.write_all_at(seconds.as_flattened(), 0).unwrap();
        self.shift = shift;
    }

    /// Adds time to both clocks, as if the machine slept.
    pub fn sleep(&mut self, time: SignedDuration) {
        let Shift { wall, boot } = self.shift;
        self.shift(Shift { wall: wall + time, boot: boot + time });
    }

    /// Puts a ledger with further records in force. Its modification time is now by the program's wall clock.
    pub fn record(&self, records: &str) {
        let now = SystemTime::now();
        let modified = match self.shift.wall.is_negative() {
            true => now - self.shift.wall.unsigned_abs(),
            false => now + self.shift.wall.unsigned_abs(),
        };
        let modified = (!self.shift.wall.is_zero()).then_some(modified);
        self.stage.place("agreements.yaml", &center_ledger(records), modified);
        let answer = self.admin_request("POST", "/reload", &[("Countersign-Admin", "1")]);
        assert_eq!(answer.status, 200, "{records}: {answer:?}");
    }

    /// Sends one request on a connection of its own. The token of the agent outlives every shift.
    pub fn send(
        &self,
        partner: &str,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        const FOR_EVER: i64 = 400 * 24 * 3600;
        let mut claims = Stage::claims(partner, &["AdminAgent"]);
        claims["exp"] = (claims["exp"].as_i64().unwrap() + FOR_EVER).into();
        let agent = format!("Bearer {}", self.stage.issuer.token(&claims));
        let own = ("Authorization", agent.as_str());
        let has = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let all: Vec<(&str, &str)> = headers.iter().copied().chain((!has).then_some(own)).collect();
        let mut connection = Connection::open(self.running.as_ref().expect("it runs").address);
        connection.send(&self.stage.request(method, target, &all, body));
        connection.read()
    }

    pub fn order(&self, customer: &str) -> Answer {
        self.order_by(PARTNER, customer)
    }

    pub fn order_by(&self, partner: &str, customer: &str) -> Answer {
        self.send(partner, "POST", &orders(customer), &[], order().as_bytes())
    }

    pub fn admin_request(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let mut connection = Connection::open(self.running.as_ref().expect("it runs").admin);
        let all: Vec<(&str, &str)> = headers.iter().copied().chain([("Host", "localhost")]).collect();
        connection.send(&request(method, target, &all, b""));
        connection.read()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(Running { mut child, .. }) = self.running.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// The library, built once for all tests of this process.
fn shim() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let [source, built] =
            ["c", "so"].map(|end| folder.join(format!("clock-{}.{end}", std::process::id())));
        std::fs::write(&source, SHIM).unwrap();
        let cc = Command::new("cc").args(["-O1", "-shared", "-fPIC", "-o"]).args([&built, &source]).output();
        let output = cc.expect("a C compiler named `cc`, which tests with shifted clocks need");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::remove_file(source).unwrap();
        // The file is replaced in one step, because another test process may load it now.
        let library = folder.join("clock.so");
        std::fs::rename(built, &library).unwrap();
        library
    })
}

pub const fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

const SLEPT: Shift = Shift::slept(hours(72));

/// A gateway with Partner Center as its source and the default lifetimes of acceptances.
fn process() -> Process {
    Process::start(unstarted_center(PLENTY, "accepted: 12h, stale: 1h, file: facts.jsonl", "", |text| text))
}

/// Removes every acceptance of a customer from Partner Center.
fn withdraw(process: &Process, customer: &str) {
    process.stage.standin.set_direct(customer, false);
    process.stage.standin.set_attestations(customer, Vec::new());
}

#[test]
fn the_wall_clock_of_the_program_is_the_one_that_is_set() {
    let mut process = process();
    let party = customer(1);
    let short_lived = process.stage.agent();
    let order = |process: &Process| {
        let headers = [("Authorization", short_lived.as_str())];
        said(&process.send(PARTNER, "POST", &orders(&party), &headers, order().as_bytes()))
    };
    assert_eq!(order(&process), is(201, ""));
    process.shift(Shift { wall: hours(1), ..Shift::default() });
    assert_eq!(order(&process), is(401, "token_expired"));
    process.shift(Shift::default());
    assert_eq!(order(&process), is(201, ""));
}

/// Shifts after which an acceptance is three days old.
const THREE_DAYS: [(&str, Shift); 4] = [
    ("it slept", SLEPT),
    ("it slept, and its wall clock was set back to where it was", Shift { wall: hours(0), ..SLEPT }),
    ("it slept, and its wall clock was set back to before", Shift { wall: hours(-2), ..SLEPT }),
    // A suspended virtual machine does not count the time itself: its wall clock is set by a time server afterwards.
    ("it was suspended by its host", Shift { boot: hours(0), ..SLEPT }),
];

#[test]
fn a_withdrawn_acceptance_does_not_outlive_three_days() {
    for (row, shift) in THREE_DAYS {
        let mut process = process();
        let party = customer(1);
        assert_eq!(process.order(&party).status, 201, "{row}");
        withdraw(&process, &party);
        assert_eq!(process.order(&party).status, 201, "{row}: it is known to have accepted");
        let before = asked(&process.stage);
        process.shift(shift);
        assert_eq!(said(&process.order(&party)), is(403, "agreement_missing"), "{row}");
        assert_eq!(asked(&process.stage), (before.0 + 1, before.1 + 1), "{row}");
    }
}

#[test]
fn an_acceptance_does_not_serve_stale_after_three_days() {
    for (row, shift) in THREE_DAYS {
        let mut process = process();
        let faults = ["status=403", "reset", "hang"];
        let parties = [1, 2, 3].map(customer);
        for party in &parties {
            assert_eq!(process.order(party).status, 201, "{row}");
        }
        process.shift(shift);
        for (party, fault) in parties.iter().zip(faults) {
            withdraw(&process, party);
            process.stage.standin.fault("GET", &format!("{party}/"), fault, None);
            assert_unknown(&process.order(party), &format!("{row}, {fault}"));
        }
    }
}

#[test]
fn a_wall_clock_that_is_set_back_does_not_prolong_stale() {
    let mut process = process();
    let party = customer(1);
    assert_eq!(process.order(&party).status, 201);
    process.stage.standin.fault("GET", &format!("{party}/"), "status=403", None);
    let half = SignedDuration::from_mins(30);
    process.shift(Shift::slept(hours(12) + half));
    let before = asked(&process.stage);
    assert_eq!(said(&process.order(&party)), is(201, ""), "12 h 30 min old, and the source fails");
    assert!(asked(&process.stage) > before, "it was not asked");
    process.shift(Shift { wall: hours(2) + half, boot: hours(12) + half });
    assert_eq!(said(&process.order(&party)), is(201, ""), "it is no older than it was");
    process.shift(Shift { wall: hours(3) + half, boot: hours(13) + half });
    assert_unknown(&process.order(&party), "13 h 30 min old");
}

#[test]
fn a_nap_costs_no_question() {
    let mut process = process();
    let parties: Vec<String> = (1..5).map(customer).collect();
    let order = |process: &Process| {
        for party in &parties {
            assert_eq!(process.order(party).status, 201, "{party}");
        }
        asked(&process.stage)
    };
    let before = order(&process);
    process.sleep(SignedDuration::from_secs(10));
    assert_eq!(order(&process), before);
    process.sleep(hours(8));
    assert_eq!(order(&process), before, "two thirds of its time");
}

#[test]
fn a_denial_does_not_outlive_a_nap() {
    let mut process = process();
    let party = unsigned(1);
    assert_eq!(said(&process.order(&party)), is(403, "agreement_missing"));
    process.stage.standin.set_attestations(&party, vec![counting("2024-05-13T00:00:00")]);
    process.sleep(SignedDuration::from_secs(10));
    assert_eq!(said(&process.order(&party)), is(201, ""));
}

#[test]
fn what_was_saved_is_as_old_as_it_was() {
    let mut process = process();
    let [withdrawn, kept] = [1, 2].map(customer);
    let order = |process: &Process| [&withdrawn, &kept].map(|party| process.order(party).status);
    assert_eq!(order(&process), [201, 201]);
    let before = asked(&process.stage);
    process.sleep(hours(8));
    process.restart();
    withdraw(&process, &withdrawn);
    assert_eq!(order(&process), [201, 201], "8 h old");
    assert_eq!(asked(&process.stage), before, "they were saved");
    process.sleep(hours(8));
    assert_eq!(order(&process), [403, 201], "16 h old");
    assert_eq!(asked(&process.stage), (before.0 + 2, before.1 + 2));
}
