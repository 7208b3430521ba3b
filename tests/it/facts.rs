//! Agreement facts: one flight for each question, freshness on an injected clock, ignorance that is never "missing".

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::agreements::Agreements;
use countersign::agreements::cache::Settings;
use countersign::agreements::near::NearFacts;
use countersign::agreements::source::{Said, Source, Sources};
use countersign::clock::Now;
use countersign::policy::agreement::{Cloud, Failure, Key, MCA, Party, Scope, Status};
use countersign::policy::decision::Need;
use countersign::policy::id::{Guid, Name};
use tokio::sync::Semaphore;

/// A source that answers what it is told, when it is let.
#[derive(Debug)]
struct Told {
    says: Mutex<Said>,
    asked: AtomicU32,
    gate: Semaphore,
}

impl Told {
    fn new(says: Said, permits: usize) -> Arc<Told> {
        Arc::new(Told { says: Mutex::new(says), asked: AtomicU32::new(0), gate: Semaphore::new(permits) })
    }

    fn say(&self, says: Said) {
        *self.says.lock().unwrap() = says;
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Source for Told {
    fn name(&self) -> Name {
        Name::new("told").unwrap()
    }

    fn look_up<'a>(&'a self, _: &'a Key, _: bool) -> Pin<Box<dyn Future<Output = Said> + Send + 'a>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            self.gate.acquire().await.unwrap().forget();
            *self.says.lock().unwrap()
        })
    }
}

fn definite(status: Status) -> Said {
    Said::Definite { status, observed_at: Now::read().wall }
}

const ACCEPTED: Status = Status::Accepted { at: None, undated: true };

fn settings() -> Settings {
    Settings {
        entries: 1000,
        accepted: Duration::from_secs(100),
        missing: Duration::from_secs(10),
        stale: Duration::from_secs(50),
        recheck_after: Duration::from_secs(5),
        deadline: Duration::from_millis(200),
    }
}

fn need(bits: u128) -> Need {
    let party = Party::Customer(Guid::from_bits(bits));
    Need { key: Key { cloud: Cloud::Commercial, agreement: MCA, party, scope: Scope::None }, decides: true }
}

fn later(now: Now, seconds: u64) -> Now {
    Now {
        wall: now.wall + jiff::SignedDuration::from_secs(seconds as i64),
        mono: now.mono + Duration::from_secs(seconds),
    }
}

/// Runs a test with a control runtime beside it, as the gateway has one.
fn run<F: Future>(sources: &[Arc<Told>], test: impl FnOnce(Agreements, Arc<Sources>) -> F) -> F::Output {
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
    let sources = Arc::new(Sources { customer, ..Sources::default() });
    agreements.renew(&sources);
    let worker = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let output = worker.block_on(test(agreements, sources));
    drop(stop);
    thread.join().unwrap();
    output
}

#[test]
fn five_hundred_who_want_to_know_the_same_ask_once() {
    let source = Told::new(definite(ACCEPTED), 0);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        let now = Now::read();
        let needs = [need(1)];
        let wide = Settings { deadline: Duration::from_secs(20), ..settings() };
        let all = tokio::task::LocalSet::new();
        all.run_until(async {
            let tasks: Vec<_> = (0..500)
                .map(|_| {
                    let (agreements, sources) = (agreements.clone(), Arc::clone(&sources));
                    tokio::task::spawn_local(
                        async move { agreements.look_up(&sources, &wide, &needs, now).await },
                    )
                })
                .collect();
            // Everybody waits now; then the one question is answered.
            tokio::task::yield_now().await;
            source.gate.add_permits(1);
            for task in tasks {
                let (statuses, _) = task.await.unwrap();
                assert_eq!(statuses.answers[0].last.unwrap().status, ACCEPTED);
            }
        })
        .await;
        assert_eq!(source.asked(), 1);
    });
}

#[test]
fn answers_stay_fresh_as_long_as_they_should() {
    let source = Told::new(definite(ACCEPTED), 100);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        let now = Now::read();
        let needs = [need(1)];
        let mut near = NearFacts::default();
        assert!(agreements.at_hand(&mut near, &sources, &settings(), &needs, now).is_none());
        agreements.look_up(&sources, &settings(), &needs, now).await;
        assert!(agreements.at_hand(&mut near, &sources, &settings(), &needs, later(now, 99)).is_some());
        assert!(agreements.at_hand(&mut near, &sources, &settings(), &needs, later(now, 100)).is_none());
        source.say(definite(Status::Missing));
        agreements.look_up(&sources, &settings(), &needs, later(now, 100)).await;
        assert!(agreements.at_hand(&mut near, &sources, &settings(), &needs, later(now, 109)).is_some());
        assert!(agreements.at_hand(&mut near, &sources, &settings(), &needs, later(now, 110)).is_none());
        // A change of the sources ends the freshness of everything, near copies included.
        agreements.look_up(&sources, &settings(), &needs, later(now, 200)).await;
        assert!(agreements.at_hand(&mut near, &sources, &settings(), &needs, later(now, 201)).is_some());
        agreements.renew(&sources);
        assert!(agreements.at_hand(&mut near, &sources, &settings(), &needs, later(now, 201)).is_none());
        assert_eq!(source.asked(), 3);
    });
}

#[test]
fn ignorance_is_never_missing() {
    let source = Told::new(definite(ACCEPTED), 2);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        let now = Now::read();
        let needs = [need(1)];
        agreements.look_up(&sources, &settings(), &needs, now).await;
        // The source fails: what was known stays, with the failure beside it.
        source.say(Said::Failed(Failure::Source));
        let (statuses, _) = agreements.look_up(&sources, &settings(), &needs, later(now, 120)).await;
        let answer = statuses.answers[0];
        assert_eq!((answer.last.unwrap().status, answer.failure), (ACCEPTED, Some(Failure::Source)));
        // The source hangs: the request waits as long as it may, the flight goes on for the next one.
        let at = later(Now::read(), 0);
        let (statuses, _) = agreements.look_up(&sources, &settings(), &[need(2)], at).await;
        assert_eq!((statuses.answers[0].last, statuses.answers[0].failure), (None, Some(Failure::Deadline)));
        source.say(definite(ACCEPTED));
        source.gate.add_permits(1);
        let wide = Settings { deadline: Duration::from_secs(20), ..settings() };
        let (statuses, _) = agreements.look_up(&sources, &wide, &[need(2)], at).await;
        assert_eq!(statuses.answers[0].last.unwrap().status, ACCEPTED);
        assert_eq!(agreements.asked(), 3);
    });
}

#[test]
fn stacked_sources_are_asked_in_turn() {
    let rows = [
        ([Said::Nothing, definite(ACCEPTED)], Some(ACCEPTED), None),
        ([definite(Status::Missing), definite(ACCEPTED)], Some(Status::Missing), None),
        ([Said::Failed(Failure::Source), definite(ACCEPTED)], Some(ACCEPTED), None),
        ([Said::Failed(Failure::Source), definite(Status::Missing)], None, Some(Failure::Source)),
        ([Said::Nothing, Said::Nothing], None, Some(Failure::Unrecorded)),
        ([Said::Nothing, Said::Failed(Failure::Source)], None, Some(Failure::Source)),
    ];
    for (says, status, failure) in rows {
        let sources = says.map(|says| Told::new(says, 10));
        run(&sources, |agreements, sources| async move {
            let (statuses, _) = agreements.look_up(&sources, &settings(), &[need(1)], Now::read()).await;
            let answer = statuses.answers[0];
            assert_eq!((answer.last.map(|fact| fact.status), answer.failure), (status, failure), "{says:?}");
        });
    }
}

#[test]
fn what_decides_nothing_is_not_waited_for() {
    let source = Told::new(definite(ACCEPTED), 0);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        let wide = Settings { deadline: Duration::from_secs(20), ..settings() };
        let needs = [Need { decides: false, ..need(1) }];
        let (statuses, _) = agreements.look_up(&sources, &wide, &needs, Now::read()).await;
        assert_eq!(statuses.answers[0].failure, Some(Failure::NotAsked));
    });
}
