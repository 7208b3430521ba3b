//! Orders for load runs: several flows of callers and customers at once, with what came of them second by second.
//!
//! `orders FOLDER GATEWAY_PORT SOURCE_PORT SECONDS FLOW.. [@EVENT..]`; `FOLDER` is that of a stage, `SOURCE_PORT` that of
//! the stand-in which agreements are asked of. With `ROWS=all` in the environment every second has its row, else those in
//! which something else happens than before, and every tenth. A flow is `name=known,as=a,customers=known:1000`, with
//!
//! - `as`: whose token (`FOLDER/a.token`);
//! - `customers`: `one:N`, `known:COUNT` or `unsigned:COUNT` in turn, or `new`: another one for each order;
//! - `connections` (1), `rate` (orders a second in all; as fast as it goes), `total`, `from` and `to` (seconds).
//!
//! An event is `@20 the source stops: kill -STOP 123`: a shell command at a second, and what to call it.
//!
//! `orders FOLDER GATEWAY_PORT varied COUNT CONNECTIONS` sends so many varied orders instead (`varied.rs`).

mod exchange;
mod varied;

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::exchange::{DOWN, LOST, exchange};

/// What takes longer makes a row worth to be seen.
const SLOW_MICROS: u32 = 200_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [folder, gateway, mode, count, connections] = arguments.as_slice()
        && mode == "varied"
    {
        let address = SocketAddr::from(([127, 0, 0, 1], gateway.parse()?));
        return varied::run(Path::new(folder), address, count.parse()?, connections.parse()?);
    }
    let all_rows = std::env::var("ROWS").is_ok_and(|rows| rows == "all");
    let [folder, gateway, source, seconds, rest @ ..] = arguments.as_slice() else {
        return Err("usage: orders FOLDER GATEWAY_PORT SOURCE_PORT SECONDS FLOW.. [@EVENT..]".into());
    };
    let address = SocketAddr::from(([127, 0, 0, 1], gateway.parse()?));
    let seconds: u64 = seconds.parse()?;
    let (events, flows): (Vec<&String>, Vec<&String>) = rest.iter().partition(|text| text.starts_with('@'));
    let flows: Result<Vec<Flow>, _> = flows.iter().map(|text| Flow::parse(text, Path::new(folder))).collect();
    let flows: Vec<Rc<Flow>> = flows?.into_iter().map(Rc::new).collect();
    let events: Option<Vec<Event>> = events.iter().map(|text| Event::parse(text)).collect();
    let events = events.ok_or("an event is `@SECOND name: command`")?;
    let begun = Instant::now();
    let watched = Arc::new(Mutex::new(Watched { looks: vec![(0.0, 0, 0)], ..Watched::default() }));
    watch_source(begun, SocketAddr::from(([127, 0, 0, 1], source.parse()?)), Arc::clone(&watched));
    watch_gateway(SocketAddr::from((address.ip(), address.port() + 1)), Arc::clone(&watched));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let mut senders: Vec<tokio::task::JoinHandle<()>> = Vec::new();
        for flow in &flows {
            let share = |number: u64| send(address, begun, seconds, Rc::clone(flow), number);
            senders.extend((0..flow.connections).map(|number| tokio::task::spawn_local(share(number))));
        }
        let mut row = Row::default();
        for second in 0..seconds {
            let now: Vec<&Event> = events.iter().filter(|event| event.second == second).collect();
            now.iter().for_each(|event| event.run());
            tokio::time::sleep_until((begun + Duration::from_secs(second + 1)).into()).await;
            let (what, text) = row.of(second, &flows, &watched);
            if all_rows || !now.is_empty() || second % 10 == 0 || what != row.last {
                let names: Vec<&str> = now.iter().map(|event| event.name.as_str()).collect();
                println!("{text}{}{}", if names.is_empty() { "" } else { "  # " }, names.join(", "));
            }
            row.last = what;
            // A flow of so many orders ends before its time.
            if senders.iter().all(|sender| sender.is_finished()) {
                break;
            }
        }
        for sender in senders {
            let _ = sender.await;
        }
    });
    flows.iter().for_each(|flow| flow.sum_up());
    watched.lock().expect("a watcher that panicked has printed why").sum_up();
    Ok(())
}

/// Orders of one caller.
struct Flow {
    name: String,
    token: String,
    customers: Customers,
    connections: u64,
    /// Orders a second, of all connections together.
    rate: Option<f64>,
    total: u64,
    from: f64,
    to: f64,
    next: Cell<u64>,
    samples: RefCell<Vec<Sample>>,
}

enum Customers {
    One(u64),
    Known(u64),
    Unsigned(u64),
    New,
}

/// What came of one order.
#[derive(Clone, Copy)]
struct Sample {
    /// When it was answered.
    second: u32,
    status: u16,
    /// From when it was due.
    micros: u32,
    /// From when it was sent.
    own_micros: u32,
}

impl Flow {
    fn parse(text: &str, folder: &Path) -> Result<Flow, Box<dyn std::error::Error>> {
        let mut flow = Flow {
            name: String::new(),
            token: String::new(),
            customers: Customers::New,
            connections: 1,
            rate: None,
            total: u64::MAX,
            from: 0.0,
            to: f64::MAX,
            next: Cell::new(0),
            samples: RefCell::default(),
        };
        for pair in text.split(',') {
            let (key, value) = pair.split_once('=').ok_or("a flow is `key=value,..`")?;
            match key {
                "name" => value.clone_into(&mut flow.name),
                "as" => flow.token = std::fs::read_to_string(folder.join(format!("{value}.token")))?,
                "customers" => {
                    let (kind, count) = value.split_once(':').unwrap_or((value, "0"));
                    let count: u64 = count.parse()?;
                    flow.customers = match kind {
                        "one" => Customers::One(count),
                        "known" => Customers::Known(count),
                        "unsigned" => Customers::Unsigned(count),
                        "new" => Customers::New,
                        _ => return Err(format!("`{kind}` is no kind of customers").into()),
                    };
                }
                "connections" => flow.connections = value.parse()?,
                "rate" => flow.rate = Some(value.parse()?),
                "total" => flow.total = value.parse()?,
                "from" => flow.from = value.parse()?,
                "to" => flow.to = value.parse()?,
                _ => return Err(format!("`{key}` is no key of a flow").into()),
            }
        }
        Ok(flow)
    }

    /// The next order. Ids of customers end in `0bad` where the stand-in is to say that they have not signed.
    fn order(&self) -> Option<String> {
        let number = self.next.get();
        if number == self.total {
            return None;
        }
        self.next.set(number + 1);
        let customer = match self.customers {
            Customers::One(number) => format!("c0a80102-6d2b-4c1e-8f10-{number:08x}0001"),
            Customers::Known(count) => format!("c0a80101-6d2b-4c1e-8f10-{:08x}0001", number % count),
            Customers::Unsigned(count) => format!("c0a80101-6d2b-4c1e-8f10-{:08x}0bad", number % count),
            Customers::New => {
                let flow = self.name.bytes().fold(0u16, |sum, byte| sum.wrapping_mul(31) + u16::from(byte));
                format!("c0a80103-6d2b-4c1e-{flow:04x}-{number:08x}0001")
            }
        };
        let body =
            r#"{"lineItems":[{"lineItemNumber":0,"offerId":"CFQ7TTC0LH18:0001:CFQ7TTC0K971","quantity":1}]}"#;
        Some(format!(
            "POST /v1/customers/{customer}/orders HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        ))
    }

    fn sum_up(&self) {
        let samples = self.samples.borrow();
        let longest = samples.iter().map(|sample| sample.own_micros).max().unwrap_or_default();
        let told = Tally::of(&samples).told();
        println!("{}: {told}; the longest answer took {:.1} ms", self.name, f64::from(longest) / 1e3);
    }
}

/// Sends the orders of one connection of a flow, one at a time.
async fn send(address: SocketAddr, begun: Instant, seconds: u64, flow: Rc<Flow>, number: u64) {
    let pace = flow.rate.map(|rate| Duration::from_secs_f64(flow.connections as f64 / rate));
    let stagger = pace.unwrap_or_default().mul_f64(number as f64 / flow.connections as f64);
    let mut due = begun + Duration::from_secs_f64(flow.from) + stagger;
    let end = begun + Duration::from_secs_f64(flow.to.min(seconds as f64));
    let mut connection = None;
    tokio::time::sleep_until(due.into()).await;
    while Instant::now() < end {
        let Some(order) = flow.order() else { return };
        let sent = Instant::now();
        let status = exchange(address, &mut connection, &order).await;
        let own_micros = sent.elapsed().as_micros() as u32;
        // From when it was due: an order that waits behind a slow one is slow too.
        let micros = pace.map_or(own_micros, |_| due.elapsed().as_micros() as u32);
        let second = begun.elapsed().as_secs() as u32;
        flow.samples.borrow_mut().push(Sample { second, status, micros, own_micros });
        match pace {
            Some(pace) => {
                due += pace;
                tokio::time::sleep_until(due.into()).await;
            }
            None if status == DOWN => tokio::time::sleep(Duration::from_millis(50)).await,
            None => {}
        }
    }
}

/// Orders by what came of them, and how long that took.
struct Tally {
    statuses: Vec<(u16, usize)>,
    micros: Vec<u32>,
}

impl Tally {
    fn of(samples: &[Sample]) -> Tally {
        let mut tally = Tally { statuses: Vec::new(), micros: Vec::with_capacity(samples.len()) };
        for sample in samples {
            match tally.statuses.iter_mut().find(|(status, _)| *status == sample.status) {
                Some((_, count)) => *count += 1,
                None => tally.statuses.push((sample.status, 1)),
            }
            tally.micros.push(sample.micros);
        }
        tally.statuses.sort_unstable();
        tally.micros.sort_unstable();
        tally
    }

    fn told(&self) -> String {
        let mut text = String::new();
        for (status, count) in &self.statuses {
            let _ = match *status {
                DOWN => write!(text, "{count} x no connection, "),
                LOST => write!(text, "{count} x cut off, "),
                status => write!(text, "{count} x {status}, "),
            };
        }
        let at = |share: f64| {
            let last = self.micros.len().saturating_sub(1);
            self.micros.get((last as f64 * share) as usize).map_or(0.0, |micros| f64::from(*micros) / 1e3)
        };
        let _ = write!(text, "p50 {:.1}, p99 {:.1}, most {:.1} ms", at(0.5), at(0.99), at(1.0));
        text
    }
}

/// What was seen beside the flows.
#[derive(Default)]
struct Watched {
    /// Each look at the source: when, the look-ups that had arrived, and how many of them were refused with 429.
    looks: Vec<(f64, u64, u64)>,
    /// From when to when the source had asked to be left alone, and the look-ups that came all the same.
    pauses: Vec<(f64, f64, u64)>,
    left_alone: Option<bool>,
    memory_mb: f64,
    memory_mb_max: f64,
    cpu_seconds: f64,
}

impl Watched {
    fn sum_up(&self) {
        let Some((_, count, throttled)) = self.looks.last() else { return };
        let mut busiest = 0;
        let mut from = 0;
        for (at, until, ..) in self.looks.iter().enumerate().map(|(at, look)| (at, look.0)) {
            while self.looks[from].0 < until - 60.0 {
                from += 1;
            }
            busiest = busiest.max(self.looks[at].1 - self.looks[from].1);
        }
        println!(
            "look-ups: {count}, most in a minute {busiest}; 429s: {throttled}; memory: most {:.0} MB",
            self.memory_mb_max
        );
        for (from, to, count) in &self.pauses {
            println!(
                "asked at {from:.1} s to be left alone until {to:.1} s: {count} look-ups came meanwhile"
            );
        }
    }
}

/// One row for each second.
#[derive(Default)]
struct Row {
    counted: (u64, u64),
    cpu_seconds: f64,
    last: String,
}

impl Row {
    /// What happens in a second, and its row.
    fn of(&mut self, second: u64, flows: &[Rc<Flow>], watched: &Mutex<Watched>) -> (String, String) {
        let (mut what, mut text) = (String::new(), format!("{second:3} s"));
        for flow in flows {
            let samples = flow.samples.borrow();
            let is_now = |sample: &&Sample| u64::from(sample.second) == second;
            let of_second: Vec<Sample> = samples
                .iter()
                .rev()
                .skip_while(|sample| !is_now(sample))
                .take_while(is_now)
                .copied()
                .collect();
            if !of_second.is_empty() {
                let tally = Tally::of(&of_second);
                let _ = write!(text, " | {}: {}", flow.name, tally.told());
                let statuses: Vec<u16> = tally.statuses.iter().map(|(status, _)| *status).collect();
                let is_slow = tally.micros.last().is_some_and(|most| *most > SLOW_MICROS);
                let _ = write!(what, "{statuses:?}{is_slow}");
            }
        }
        let watched = watched.lock().expect("nobody panics");
        let (_, count, throttled) = watched.looks.last().copied().unwrap_or_default();
        let _ = write!(text, " | look-ups +{}", count - self.counted.0);
        if throttled > self.counted.1 {
            let _ = write!(text, ", 429s +{}", throttled - self.counted.1);
        }
        text.push_str(match watched.left_alone {
            Some(true) => ", left alone",
            Some(false) => "",
            None => ", no metrics",
        });
        let _ = write!(what, "{:?}{}", watched.left_alone, throttled > self.counted.1);
        let cpu = watched.cpu_seconds - self.cpu_seconds;
        let _ = write!(text, ", cpu {:.0} %, {:.0} MB", 100.0 * cpu.max(0.0), watched.memory_mb);
        (self.counted, self.cpu_seconds) = ((count, throttled), watched.cpu_seconds);
        (what, text)
    }
}

struct Event {
    second: u64,
    name: String,
    command: String,
}

impl Event {
    fn parse(text: &str) -> Option<Event> {
        let (second, rest) = text.strip_prefix('@')?.split_once(' ')?;
        let (name, command) = rest.split_once(": ")?;
        Some(Event { second: second.parse().ok()?, name: name.to_owned(), command: command.to_owned() })
    }

    fn run(&self) {
        let started = Command::new("sh").arg("-c").arg(&self.command).spawn();
        match started {
            Ok(mut child) => drop(std::thread::spawn(move || child.wait())),
            Err(error) => eprintln!("{}: {error}", self.name),
        }
    }
}

/// Looks ten times a second at what the source has counted. Where it refuses, it is asked for how long it does.
fn watch_source(begun: Instant, address: SocketAddr, watched: Arc<Mutex<Watched>>) {
    std::thread::spawn(move || {
        let mut left_alone_until = 0.0;
        let mut own_throttled = 0;
        loop {
            std::thread::sleep(Duration::from_millis(100));
            let Some(answer) = get(address, "/.standin/counts") else { continue };
            let of = |name: &str| number_behind(&answer, &format!("\"{name}\":")).unwrap_or_default() as u64;
            let now = begun.elapsed().as_secs_f64();
            let count = of("direct") + of("attestations") + of("partner_status");
            let throttled = of("throttled").saturating_sub(own_throttled);
            let before = watched.lock().expect("nobody panics").looks.last().copied().unwrap_or_default();
            let is_refusing = throttled > before.2 && now > left_alone_until;
            let told = is_refusing.then(|| get(address, "/v1/customers")).flatten();
            let wait = told.and_then(|told| number_behind(&told, "retry-after:"));
            own_throttled += u64::from(wait.is_some());
            let mut watched = watched.lock().expect("nobody panics");
            if let Some(pause) = watched.pauses.last_mut()
                && now < pause.1
            {
                pause.2 += count - before.1;
            }
            // It rounds up to whole seconds.
            if let Some(wait) = wait.filter(|wait| *wait >= 2.0) {
                left_alone_until = now + wait - 1.0;
                watched.pauses.push((now, left_alone_until, 0));
            }
            watched.looks.push((now, count, throttled));
        }
    });
}

fn watch_gateway(address: SocketAddr, watched: Arc<Mutex<Watched>>) {
    std::thread::spawn(move || {
        loop {
            let metrics = get(address, "/metrics");
            let of = |name: &str| metrics.as_ref().and_then(|text| number_behind(text, name));
            let open = of("countersign_source_left_alone{source=\"center\"}");
            let memory_mb = of("\nprocess_resident_memory_bytes").unwrap_or_default() / 1e6;
            let cpu = of("\nprocess_cpu_seconds_total").unwrap_or_default();
            let mut watched = watched.lock().expect("nobody panics");
            watched.left_alone = open.map(|open| open > 0.0);
            watched.memory_mb = memory_mb;
            watched.memory_mb_max = watched.memory_mb_max.max(memory_mb);
            watched.cpu_seconds = cpu;
            drop(watched);
            std::thread::sleep(Duration::from_millis(500));
        }
    });
}

fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(300))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// The number that follows a text.
fn number_behind(text: &str, name: &str) -> Option<f64> {
    let at = text.to_ascii_lowercase().find(name)? + name.len();
    let rest = text[at..].trim_start();
    let end =
        rest.find(|letter: char| !matches!(letter, '0'..='9' | '.' | 'e' | '+' | '-')).unwrap_or(rest.len());
    rest[..end].parse().ok()
}
