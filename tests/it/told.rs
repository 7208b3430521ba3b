//! Facts beside a source that is told what to say, on an injected clock.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::agreements::cache::Settings;
use countersign::agreements::learnt::Teacher;
use countersign::agreements::near::NearFacts;
use countersign::agreements::source::{Question, Said, Saying, Source};
use countersign::agreements::sources::Sources;
use countersign::agreements::{Agreements, Asking};
use countersign::clock::Now;
use countersign::policy::agreement::{
    Agreement, Answer, Cloud, Demand, Key, MCA, Party, PartyKind, Scope, Status,
};
use countersign::policy::decision::Need;
use countersign::policy::id::{Guid, Name};
use tokio::sync::Semaphore;

/// A source that answers what it is told, when it is let.
#[derive(Debug)]
pub struct Told {
    pub says: Mutex<Said>,
    pub asked: AtomicU32,
    pub gate: Semaphore,
    pub epoch: AtomicU64,
    pub is_local: AtomicBool,
}

impl Told {
    pub fn new(says: Said, permits: usize) -> Arc<Told> {
        Arc::new(Told {
            says: Mutex::new(says),
            asked: AtomicU32::new(0),
            gate: Semaphore::new(permits),
            epoch: AtomicU64::new(1),
            is_local: AtomicBool::new(false),
        })
    }

    /// A source that costs nothing to ask, as a ledger is.
    pub fn local(says: Said) -> Arc<Told> {
        let told = Told::new(says, 1000);
        told.is_local.store(true, Ordering::SeqCst);
        told
    }

    pub fn say(&self, says: Said) {
        *self.says.lock().unwrap() = says;
    }

    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Source for Told {
    fn name(&self) -> Name {
        Name::new(if self.is_local() { "ledger" } else { "told" }).unwrap()
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    fn is_local(&self) -> bool {
        self.is_local.load(Ordering::SeqCst)
    }

    fn look_up<'a>(&'a self, _: &'a Question) -> Saying<'a> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            self.gate.acquire().await.unwrap().forget();
            *self.says.lock().unwrap()
        })
    }
}

pub fn definite(status: Status) -> Said {
    Said::Definite { status, observed: Now::read().moment() }
}

pub const ACCEPTED: Status = Status::UNDATED;

/// The teacher of an acceptance, in force.
pub const TEACHER: Teacher = Teacher(1);

pub fn settings() -> Settings {
    Settings {
        entries: 1000,
        accepted: Duration::from_secs(100),
        missing: Duration::from_secs(10),
        stale: Duration::from_secs(50),
        learnt: Duration::from_secs(3000),
        recheck_after: Duration::from_secs(5),
        deadline: Duration::from_millis(200),
    }
}

pub fn need(bits: u128) -> Need {
    let party = Party::Customer(Guid::from_bits(bits));
    Need { key: Key { cloud: Cloud::Commercial, agreement: MCA, party, scope: Scope::None }, decides: true }
}

/// A question of no caller in particular.
pub fn asking<'s>(sources: &'s Arc<Sources>, settings: &'s Settings, now: Now) -> Asking<'s> {
    Asking::new(sources, settings, Some(Guid::from_bits(7)), now)
}

/// The answer to one need, waited for.
pub async fn look_up(agreements: &Agreements, sources: &Arc<Sources>, need: Need, now: Now) -> Answer {
    let settings = settings();
    let (statuses, _) = agreements.look_up(&asking(sources, &settings, now), &[need]).await;
    statuses.answers[0]
}

/// The answer to one need, if it is at hand.
pub fn at_hand(agreements: &Agreements, sources: &Arc<Sources>, need: Need, now: Now) -> Option<Answer> {
    let settings = settings();
    let statuses = agreements.at_hand(&mut NearFacts::default(), &asking(sources, &settings, now), &[need]);
    statuses.map(|statuses| statuses.answers[0])
}

pub fn status(answer: Answer) -> Option<Status> {
    answer.last.map(|fact| fact.status)
}

pub fn later(now: Now, seconds: u64) -> Now {
    Now {
        wall: now.wall + jiff::SignedDuration::from_secs(seconds as i64),
        uptime: now.uptime.after(Duration::from_secs(seconds)),
        mono: now.mono + Duration::from_secs(seconds),
    }
}

/// Runs a test with a control runtime beside it, as the gateway has one.
pub fn run<F: Future>(sources: &[Arc<Told>], test: impl FnOnce(Agreements, Arc<Sources>) -> F) -> F::Output {
    run_with(sources, Vec::new(), test)
}

/// The same, with what rules ask of dates.
pub fn run_with<F: Future>(
    sources: &[Arc<Told>],
    demands: Vec<(Agreement, PartyKind, Demand)>,
    test: impl FnOnce(Agreements, Arc<Sources>) -> F,
) -> F::Output {
    let control = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handle = control.handle().clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        control.block_on(async {
            let _ = stopped.await;
        });
    });
    let agreements = Agreements::new(1000, handle);
    let customer = sources.iter().map(|source| Arc::clone(source) as Arc<dyn Source>).collect();
    let sources = Arc::new(Sources { customer, demands, teachers: [TEACHER].into(), ..Sources::default() });
    agreements.renew(&sources);
    let worker = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let output = worker.block_on(test(agreements, sources));
    drop(stop);
    thread.join().unwrap();
    output
}
