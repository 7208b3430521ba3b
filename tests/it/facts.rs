//! Agreement facts: one flight for each question, freshness on an injected clock, ignorance that is never "missing",
//! and what is learnt and doubted between look-ups.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::agreements::cache::Settings;
use countersign::agreements::near::NearFacts;
use countersign::agreements::source::{Question, Said, Saying, Source, Sources};
use countersign::agreements::{Agreements, Asking};
use countersign::clock::Now;
use countersign::policy::agreement::{
    Agreement, Answer, Cloud, Demand, Fact, Failure, Key, MCA, Party, PartyKind, Scope, Status, Statuses,
};
use countersign::policy::decision::Need;
use countersign::policy::id::{Guid, Name};
use tokio::sync::Semaphore;

/// A source that answers what it is told, when it is let.
#[derive(Debug)]
struct Told {
    says: Mutex<Said>,
    asked: AtomicU32,
    gate: Semaphore,
    epoch: AtomicU64,
    is_local: AtomicBool,
}

impl Told {
    fn new(says: Said, permits: usize) -> Arc<Told> {
        Arc::new(Told {
            says: Mutex::new(says),
            asked: AtomicU32::new(0),
            gate: Semaphore::new(permits),
            epoch: AtomicU64::new(1),
            is_local: AtomicBool::new(false),
        })
    }

    /// A source that costs nothing to ask, as a ledger is.
    fn local(says: Said) -> Arc<Told> {
        let told = Told::new(says, 1000);
        told.is_local.store(true, Ordering::SeqCst);
        told
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

fn definite(status: Status) -> Said {
    Said::Definite { status, observed_at: Now::read().wall }
}

const ACCEPTED: Status = Status::UNDATED;

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

/// A question of no caller in particular.
fn asking<'s>(sources: &'s Arc<Sources>, settings: &'s Settings, now: Now) -> Asking<'s> {
    Asking::new(sources, settings, Some(Guid::from_bits(7)), now)
}

/// The answer to one need, waited for.
async fn look_up(agreements: &Agreements, sources: &Arc<Sources>, need: Need, now: Now) -> Answer {
    let settings = settings();
    let (statuses, _) = agreements.look_up(&asking(sources, &settings, now), &[need]).await;
    statuses.answers[0]
}

/// The answer to one need, if it is at hand.
fn at_hand(agreements: &Agreements, sources: &Arc<Sources>, need: Need, now: Now) -> Option<Answer> {
    let settings = settings();
    let statuses = agreements.at_hand(&mut NearFacts::default(), &asking(sources, &settings, now), &[need]);
    statuses.map(|statuses| statuses.answers[0])
}

fn status(answer: Answer) -> Option<Status> {
    answer.last.map(|fact| fact.status)
}

fn later(now: Now, seconds: u64) -> Now {
    Now {
        wall: now.wall + jiff::SignedDuration::from_secs(seconds as i64),
        mono: now.mono + Duration::from_secs(seconds),
    }
}

/// Runs a test with a control runtime beside it, as the gateway has one.
fn run<F: Future>(sources: &[Arc<Told>], test: impl FnOnce(Agreements, Arc<Sources>) -> F) -> F::Output {
    run_with(sources, Vec::new(), test)
}

/// The same, with what rules ask of dates.
fn run_with<F: Future>(
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
    let sources = Arc::new(Sources { customer, demands, ..Sources::default() });
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
                    tokio::task::spawn_local(async move {
                        agreements.look_up(&asking(&sources, &wide, now), &needs).await
                    })
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
        let (needs, settings) = ([need(1)], settings());
        let mut near = NearFacts::default();
        assert!(agreements.at_hand(&mut near, &asking(&sources, &settings, now), &needs).is_none());
        agreements.look_up(&asking(&sources, &settings, now), &needs).await;
        assert!(
            agreements.at_hand(&mut near, &asking(&sources, &settings, later(now, 74)), &needs).is_some()
        );
        assert!(
            agreements.at_hand(&mut near, &asking(&sources, &settings, later(now, 100)), &needs).is_none()
        );
        source.say(definite(Status::MISSING));
        agreements.look_up(&asking(&sources, &settings, later(now, 100)), &needs).await;
        assert!(
            agreements.at_hand(&mut near, &asking(&sources, &settings, later(now, 108)), &needs).is_some()
        );
        assert!(
            agreements.at_hand(&mut near, &asking(&sources, &settings, later(now, 110)), &needs).is_none()
        );
        // A change of the sources ends the freshness of everything, near copies included.
        agreements.look_up(&asking(&sources, &settings, later(now, 200)), &needs).await;
        assert!(
            agreements.at_hand(&mut near, &asking(&sources, &settings, later(now, 201)), &needs).is_some()
        );
        agreements.renew(&sources);
        assert!(
            agreements.at_hand(&mut near, &asking(&sources, &settings, later(now, 201)), &needs).is_none()
        );
        assert_eq!(source.asked(), 3);
    });
}

#[test]
fn ignorance_is_never_missing() {
    let source = Told::new(definite(ACCEPTED), 2);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        let now = Now::read();
        let (needs, settings) = ([need(1)], settings());
        agreements.look_up(&asking(&sources, &settings, now), &needs).await;
        // The source fails: what was known stays, with the failure beside it.
        source.say(Said::Failed(Failure::Source));
        let (statuses, _) = agreements.look_up(&asking(&sources, &settings, later(now, 120)), &needs).await;
        let answer = statuses.answers[0];
        assert_eq!((answer.last.unwrap().status, answer.failure), (ACCEPTED, Some(Failure::Source)));
        // The source hangs: the request waits as long as it may, the flight goes on for the next one.
        let at = later(Now::read(), 0);
        let (statuses, _) = agreements.look_up(&asking(&sources, &settings, at), &[need(2)]).await;
        assert_eq!((statuses.answers[0].last, statuses.answers[0].failure), (None, Some(Failure::Deadline)));
        source.say(definite(ACCEPTED));
        source.gate.add_permits(1);
        let wide = Settings { deadline: Duration::from_secs(20), ..settings };
        let (statuses, _) = agreements.look_up(&asking(&sources, &wide, at), &[need(2)]).await;
        assert_eq!(statuses.answers[0].last.unwrap().status, ACCEPTED);
        assert_eq!(agreements.asked(), 3);
    });
}

#[test]
fn stacked_sources_are_asked_in_turn() {
    let rows = [
        ([Said::Nothing, definite(ACCEPTED)], Some(ACCEPTED), None),
        ([definite(Status::MISSING), definite(ACCEPTED)], Some(Status::MISSING), None),
        ([Said::Failed(Failure::Source), definite(ACCEPTED)], Some(ACCEPTED), None),
        ([Said::Failed(Failure::Source), definite(Status::MISSING)], None, Some(Failure::Source)),
        ([Said::Nothing, Said::Nothing], None, Some(Failure::Unrecorded)),
        ([Said::Nothing, Said::Failed(Failure::Source)], None, Some(Failure::Source)),
    ];
    for (says, status, failure) in rows {
        let sources = says.map(|says| Told::new(says, 10));
        run(&sources, |agreements, sources| async move {
            let answer = look_up(&agreements, &sources, need(1), Now::read()).await;
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
        let (statuses, _) = agreements.look_up(&asking(&sources, &wide, Now::read()), &needs).await;
        assert_eq!(statuses.answers[0].failure, Some(Failure::NotAsked));
    });
}

#[test]
fn an_answer_that_will_end_soon_is_asked_for_behind_the_one_it_gives() {
    let source = Told::new(definite(ACCEPTED), 1);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        let now = Now::read();
        look_up(&agreements, &sources, need(1), now).await;
        assert!(at_hand(&agreements, &sources, need(1), later(now, 74)).is_some());
        assert_eq!(source.asked(), 1, "before three quarters of its time nothing is asked");
        // Whoever comes late gets the old answer at once; one question is asked behind all of them.
        for _ in 0..100 {
            assert_eq!(
                at_hand(&agreements, &sources, need(1), later(now, 91)).and_then(status),
                Some(ACCEPTED)
            );
        }
        source.gate.add_permits(1);
        let fresh = || {
            let age = |kept: &countersign::agreements::cache::Kept| kept.asked > now.mono;
            agreements.all().any(|(_, kept)| age(&kept))
        };
        while !fresh() {
            tokio::task::yield_now().await;
        }
        assert_eq!(source.asked(), 2);
        assert!(at_hand(&agreements, &sources, need(1), later(now, 120)).is_some());
    });
}

#[test]
fn a_source_that_fails_is_not_asked_again_at_once_for_what_is_known() {
    let source = Told::new(definite(ACCEPTED), 1000);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        let now = Now::read();
        look_up(&agreements, &sources, need(1), now).await;
        source.say(Said::Failed(Failure::Source));
        let at = later(now, 110);
        for _ in 0..50 {
            let answer = look_up(&agreements, &sources, need(1), at).await;
            assert_eq!((status(answer), answer.failure), (Some(ACCEPTED), Some(Failure::Source)));
        }
        assert_eq!(source.asked(), 2);
        // A second later it is, behind the old answer; what is learnt then counts.
        source.say(definite(Status::MISSING));
        let at = later(now, 112);
        assert_eq!(status(look_up(&agreements, &sources, need(1), at).await), Some(ACCEPTED));
        while agreements.all().all(|(_, kept)| kept.answer.failure.is_some()) {
            tokio::task::yield_now().await;
        }
        assert_eq!(status(look_up(&agreements, &sources, need(1), at).await), Some(Status::MISSING));
        // Of a party that nothing is known of, no failure is kept: names that nobody has can not drive out others.
        source.say(Said::Failed(Failure::Source));
        look_up(&agreements, &sources, need(2), at).await;
        assert_eq!(
            agreements.find(MCA, countersign::policy::id::PartnerRef::Tenant(Guid::from_bits(2))).len(),
            0
        );
    });
}

#[test]
fn another_ledger_costs_no_question_to_a_source_that_has_answered() {
    let (ledger, center) = (Told::local(Said::Nothing), Told::new(definite(ACCEPTED), 1000));
    run(&[Arc::clone(&ledger), Arc::clone(&center)], |agreements, sources| async move {
        let now = Now::read();
        look_up(&agreements, &sources, need(1), now).await;
        agreements.renew(&sources);
        let answer = look_up(&agreements, &sources, need(1), later(now, 50)).await;
        assert_eq!(status(answer), Some(ACCEPTED));
        assert_eq!((ledger.asked(), center.asked()), (2, 1));
        // It is as old as it was, and ends when it would have.
        assert!(at_hand(&agreements, &sources, need(1), later(now, 74)).is_some());
        assert!(at_hand(&agreements, &sources, need(1), later(now, 100)).is_none());
        // What the new ledger says comes first.
        ledger.say(definite(Status::MISSING));
        agreements.renew(&sources);
        assert_eq!(
            status(look_up(&agreements, &sources, need(1), later(now, 60)).await),
            Some(Status::MISSING)
        );
        // Another source of that name has said nothing yet.
        ledger.say(Said::Nothing);
        agreements.renew(&sources);
        look_up(&agreements, &sources, need(1), later(now, 61)).await;
        assert_eq!(center.asked(), 2);
        center.epoch.store(2, Ordering::SeqCst);
        agreements.renew(&sources);
        look_up(&agreements, &sources, need(1), later(now, 62)).await;
        assert_eq!(center.asked(), 3);
    });
}

#[test]
fn an_acceptance_without_a_date_does_not_do_where_a_rule_came_to_ask_for_one() {
    let center = Told::new(definite(ACCEPTED), 1000);
    run(&[Arc::clone(&center)], |agreements, sources| async move {
        let now = Now::read();
        look_up(&agreements, &sources, need(1), now).await;
        let demand = Demand { since: Some(now.wall), dated: true };
        let stricter = Sources {
            customer: sources.customer.clone(),
            demands: vec![(MCA, PartyKind::Customer, demand)],
            ..Sources::default()
        };
        let stricter = Arc::new(stricter);
        agreements.renew(&stricter);
        center.say(definite(Status::accepted(now.wall)));
        let answer = look_up(&agreements, &stricter, need(1), later(now, 1)).await;
        assert_eq!((status(answer), center.asked()), (Some(Status::accepted(now.wall)), 2));
    });
}

#[test]
fn what_is_learnt_counts_at_once_and_no_older_answer_takes_it_back() {
    let source = Told::new(definite(Status::MISSING), 1);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        let (now, settings) = (Now::read(), settings());
        look_up(&agreements, &sources, need(1), now).await;
        // A question is under way when the acceptance passes through.
        let again = later(now, 6);
        let mut statuses = Statuses {
            answers: vec![Answer::failed(Failure::NotAsked)],
            stale_max: jiff::SignedDuration::MAX,
        };
        let (needs, ask) = ([need(1)], asking(&sources, &settings, again));
        {
            let looking = agreements.look_again(&ask, &needs, &[0], &mut statuses);
            let mut looking = std::pin::pin!(looking);
            let pending =
                std::future::poll_fn(|cx| std::task::Poll::Ready(looking.as_mut().poll(cx).is_pending()));
            assert!(pending.await);
            let learnt_at = later(now, 7);
            agreements.learn(
                &asking(&sources, &settings, learnt_at),
                need(1).key,
                Status::accepted(now.wall),
            );
            assert!(at_hand(&agreements, &sources, need(1), learnt_at).is_some());
            source.gate.add_permits(1);
            looking.await;
        }
        // Who asked before gets the newer answer too, and it stays.
        assert_eq!(status(statuses.answers[0]), Some(Status::accepted(now.wall)));
        let answer = at_hand(&agreements, &sources, need(1), later(now, 8)).unwrap();
        assert_eq!(status(answer), Some(Status::accepted(now.wall)));
        assert_eq!(answer.last.unwrap().source.as_str(), "upstream");
    });
}

#[test]
fn what_is_learnt_outlives_a_ledger_that_was_written_before() {
    let written = Now::read();
    let says = |status, at: Now| Said::Definite { status, observed_at: at.wall };
    let ledger = Told::local(says(Status::MISSING, written));
    run(&[Arc::clone(&ledger)], |agreements, sources| async move {
        let settings = settings();
        look_up(&agreements, &sources, need(1), written).await;
        agreements.learn(&asking(&sources, &settings, later(written, 1)), need(1).key, ACCEPTED);
        // Long after its time it is held against the ledger again, which knows nothing newer.
        let answer = look_up(&agreements, &sources, need(1), later(written, 500)).await;
        assert_eq!((status(answer), answer.failure), (Some(ACCEPTED), None));
        // What is written later counts.
        ledger.say(says(Status::MISSING, later(written, 501)));
        agreements.renew(&sources);
        assert_eq!(
            status(look_up(&agreements, &sources, need(1), later(written, 502)).await),
            Some(Status::MISSING)
        );
        // And what the upstream takes back is not held against it.
        agreements.learn(&asking(&sources, &settings, later(written, 503)), need(1).key, ACCEPTED);
        assert!(agreements.doubt(&settings, need(1).key, later(written, 504).mono));
        assert_eq!(
            status(look_up(&agreements, &sources, need(1), later(written, 505)).await),
            Some(Status::MISSING)
        );
    });
}

#[test]
fn a_doubt_is_looked_into_before_the_next_use_and_not_again_and_again() {
    let source = Told::new(definite(ACCEPTED), 1000);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        let (now, settings) = (Now::read(), settings());
        let mut near = NearFacts::default();
        for bits in [1, 2] {
            look_up(&agreements, &sources, need(bits), now).await;
            let at_hand = agreements.at_hand(&mut near, &asking(&sources, &settings, now), &[need(bits)]);
            assert!(at_hand.is_some());
        }
        assert!(agreements.doubt(&settings, need(1).key, later(now, 1).mono));
        let ask = asking(&sources, &settings, now);
        assert!(agreements.at_hand(&mut near, &ask, &[need(1)]).is_none(), "copies included");
        assert!(agreements.at_hand(&mut near, &ask, &[need(2)]).is_some(), "nobody else's");
        look_up(&agreements, &sources, need(1), later(now, 2)).await;
        assert_eq!(source.asked(), 3);
        // The source stands by it: for a while no doubt is raised again.
        agreements.doubt(&settings, need(1).key, later(now, 4).mono);
        assert!(at_hand(&agreements, &sources, need(1), later(now, 4)).is_some());
        assert!(agreements.doubt(&settings, need(1).key, later(now, 8).mono));
        source.say(definite(Status::MISSING));
        assert_eq!(
            status(look_up(&agreements, &sources, need(1), later(now, 8)).await),
            Some(Status::MISSING)
        );
        // There is nothing to doubt in what is missing.
        assert!(!agreements.doubt(&settings, need(1).key, later(now, 20).mono));
    });
}

#[test]
fn a_direct_acceptance_counts_for_every_partner_and_an_attestation_for_its_own() {
    let source = Told::new(definite(Status::MISSING), 1000);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        let (now, settings) = (Now::read(), settings());
        let billed = |partner| Need {
            key: Key { scope: Scope::Billing(Guid::from_bits(partner)), ..need(1).key },
            decides: true,
        };
        for partner in [1, 2] {
            look_up(&agreements, &sources, billed(partner), now).await;
        }
        agreements.learn(
            &asking(&sources, &settings, later(now, 1)),
            billed(1).key,
            Status::accepted(now.wall),
        );
        let after = later(now, 11);
        assert_eq!(status(look_up(&agreements, &sources, billed(2), after).await), Some(Status::MISSING));
        // A direct acceptance is nobody's in particular.
        agreements.learn(&asking(&sources, &settings, after), need(1).key, ACCEPTED);
        let after = later(now, 22);
        assert_eq!(status(look_up(&agreements, &sources, billed(2), after).await), Some(ACCEPTED));
        let asked = source.asked();
        // The upstream denies it to one partner: what that one has is asked for, what the other has stays.
        assert!(agreements.doubt(&settings, billed(2).key, after.mono));
        assert_eq!(
            status(look_up(&agreements, &sources, billed(2), later(now, 23)).await),
            Some(Status::MISSING)
        );
        assert!(at_hand(&agreements, &sources, billed(1), later(now, 23)).is_some());
        assert_eq!(source.asked(), asked + 1);
    });
}

#[test]
fn a_ledger_that_is_written_later_counts_for_what_every_partner_shares_too() {
    let written = Now::read();
    let says = |status, at: Now| Said::Definite { status, observed_at: at.wall };
    let (ledger, remote) = (Told::local(Said::Nothing), Told::new(definite(Status::MISSING), 1000));
    run(&[Arc::clone(&ledger), Arc::clone(&remote)], |agreements, sources| async move {
        let settings = settings();
        let own =
            Need { key: Key { scope: Scope::Billing(Guid::from_bits(1)), ..need(1).key }, decides: true };
        agreements.learn(&asking(&sources, &settings, later(written, 1)), need(1).key, ACCEPTED);
        assert_eq!(status(look_up(&agreements, &sources, own, later(written, 2)).await), Some(ACCEPTED));
        // What was learnt stands for what the remote source would say, also beside an edit that says nothing of it.
        agreements.renew(&sources);
        assert_eq!(status(look_up(&agreements, &sources, own, later(written, 3)).await), Some(ACCEPTED));
        assert_eq!(remote.asked(), 0);
        ledger.say(says(Status::MISSING, later(written, 4)));
        agreements.renew(&sources);
        assert_eq!(
            status(look_up(&agreements, &sources, own, later(written, 5)).await),
            Some(Status::MISSING)
        );
    });
}

#[test]
fn what_a_ledger_has_said_does_not_stand_in_for_a_source_that_fails_once_it_says_so_no_more() {
    let now = Now::read();
    let ledger = Told::local(definite(ACCEPTED));
    let remote = Told::new(Said::Failed(Failure::Source), 1000);
    run(&[Arc::clone(&ledger), Arc::clone(&remote)], |agreements, sources| async move {
        assert_eq!(status(look_up(&agreements, &sources, need(1), now).await), Some(ACCEPTED));
        ledger.say(Said::Nothing);
        agreements.renew(&sources);
        for seconds in [1, 2, 10] {
            let answer = look_up(&agreements, &sources, need(1), later(now, seconds)).await;
            assert_eq!((answer.last, answer.failure), (None, Some(Failure::Source)), "{seconds} s");
        }
    });
}

#[test]
fn what_a_remote_source_has_said_stands_in_for_it_until_its_terms_change() {
    let now = Now::read();
    let source = Told::new(definite(ACCEPTED), 1000);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        look_up(&agreements, &sources, need(1), now).await;
        source.say(Said::Failed(Failure::Source));
        let answer = look_up(&agreements, &sources, need(1), later(now, 101)).await;
        assert_eq!((status(answer), answer.failure), (Some(ACCEPTED), Some(Failure::Source)));
        source.epoch.store(2, Ordering::SeqCst);
        agreements.renew(&sources);
        let answer = look_up(&agreements, &sources, need(1), later(now, 102)).await;
        assert_eq!((answer.last, answer.failure), (None, Some(Failure::Source)));
    });
}

#[test]
fn what_was_learnt_stands_in_for_a_source_that_knew_nothing_and_fails_then() {
    let written = Now::read();
    let older = Said::Definite { status: Status::MISSING, observed_at: written.wall };
    for ledger_says in [Said::Nothing, older] {
        let (ledger, remote) = (Told::local(ledger_says), Told::new(Said::Nothing, 1000));
        run(&[Arc::clone(&ledger), Arc::clone(&remote)], |agreements, sources| async move {
            let settings = settings();
            agreements.learn(&asking(&sources, &settings, later(written, 1)), need(1).key, ACCEPTED);
            // Long after its time the sources are asked again, and have nothing newer to say.
            let answer = look_up(&agreements, &sources, need(1), later(written, 200)).await;
            assert_eq!((status(answer), answer.failure), (Some(ACCEPTED), None));
            remote.say(Said::Failed(Failure::Source));
            ledger.say(Said::Nothing);
            agreements.renew(&sources);
            let answer = look_up(&agreements, &sources, need(1), later(written, 310)).await;
            assert_eq!((status(answer), answer.failure), (Some(ACCEPTED), Some(Failure::Source)));
        });
    }
}

#[test]
fn what_every_partner_shares_makes_nothing_older_that_one_of_them_has() {
    let now = Now::read();
    let source = Told::new(definite(ACCEPTED), 1000);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        let settings = settings();
        let own =
            Need { key: Key { scope: Scope::Billing(Guid::from_bits(1)), ..need(1).key }, decides: true };
        agreements.learn(&asking(&sources, &settings, now), need(1).key, ACCEPTED);
        agreements.doubt(&settings, own.key, later(now, 1).mono);
        look_up(&agreements, &sources, own, later(now, 60)).await;
        agreements.learn(&asking(&sources, &settings, later(now, 10)), need(1).key, ACCEPTED);
        agreements.renew(&sources);
        let answer = look_up(&agreements, &sources, own, later(now, 70)).await;
        assert_eq!(answer.last.unwrap().asked_at, later(now, 60).wall);
    });
}

#[test]
fn an_old_attestation_makes_an_acceptance_no_younger() {
    let now = Now::read();
    let years = |years: i64| now.wall - jiff::SignedDuration::from_hours(years * 8766);
    let source = Told::new(definite(Status::accepted(years(1))), 1000);
    let since = Demand { since: Some(years(3)), ..Demand::default() };
    let demands = vec![(MCA, PartyKind::Customer, since)];
    run_with(&[Arc::clone(&source)], demands, |agreements, sources| async move {
        let settings = settings();
        look_up(&agreements, &sources, need(1), now).await;
        source.say(definite(Status::MISSING));
        for seconds in [20, 40, 60, 80] {
            let old = Status::accepted(years(7));
            agreements.learn(&asking(&sources, &settings, later(now, seconds)), need(1).key, old);
        }
        // It was asked for a hundred seconds ago, whatever was attested since.
        assert_eq!(
            status(look_up(&agreements, &sources, need(1), later(now, 101)).await),
            Some(Status::MISSING)
        );
    });
}

#[test]
fn a_fact_that_is_taken_replaces_none_that_its_source_was_asked_for() {
    let now = Now::read();
    let source = Told::new(definite(Status::MISSING), 1000);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        let settings = settings();
        let ask = asking(&sources, &settings, later(now, 5));
        look_up(&agreements, &sources, need(1), now).await;
        let fact = Fact {
            status: ACCEPTED,
            observed_at: ask.now.wall,
            asked_at: ask.now.wall,
            source: source.name(),
        };
        assert!(!agreements.take(&ask, need(1).key, fact, 1));
        assert!(agreements.take(&ask, need(2).key, fact, 1));
        // Of other terms, it does.
        assert!(agreements.take(&ask, need(1).key, fact, 2));
    });
}

#[test]
fn a_refresh_that_fails_takes_nothing_away_of_what_is_still_fresh() {
    let source = Told::new(definite(ACCEPTED), 1000);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        let now = Now::read();
        look_up(&agreements, &sources, need(1), now).await;
        source.say(Said::Failed(Failure::Throttled));
        // It is fresh for a hundred seconds, and refreshed behind from ninety at the latest.
        assert!(at_hand(&agreements, &sources, need(1), later(now, 91)).is_some());
        // What is asked after it comes back after it.
        while source.asked() < 2 {
            tokio::task::yield_now().await;
        }
        look_up(&agreements, &sources, need(2), now).await;
        for seconds in [92, 93, 95, 99] {
            assert!(at_hand(&agreements, &sources, need(1), later(now, seconds)).is_some(), "{seconds} s");
        }
    });
}

#[test]
fn a_doubt_outlives_an_answer_that_was_asked_for_before_it() {
    let source = Told::new(definite(ACCEPTED), 1);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        let (now, settings) = (Now::read(), settings());
        look_up(&agreements, &sources, need(1), now).await;
        assert!(at_hand(&agreements, &sources, need(1), later(now, 91)).is_some());
        while source.asked() < 2 {
            tokio::task::yield_now().await;
        }
        // While the refresh is under way, the upstream says that it misses the agreement.
        assert!(agreements.doubt(&settings, need(1).key, later(now, 92).mono));
        source.gate.add_permits(1);
        while agreements.all().all(|(_, kept)| kept.asked <= now.mono) {
            tokio::task::yield_now().await;
        }
        assert!(at_hand(&agreements, &sources, need(1), later(now, 93)).is_none());
    });
}
