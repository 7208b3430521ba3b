//! Agreement facts: one flight for each question, freshness on an injected clock, ignorance that is never "missing".

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use countersign::agreements::cache::Settings;
use countersign::agreements::near::NearFacts;
use countersign::agreements::source::Said;
use countersign::agreements::sources::Sources;
use countersign::clock::Now;
use countersign::policy::agreement::{Demand, Failure, MCA, PartyKind, Status};
use countersign::policy::decision::Need;
use countersign::policy::id::Guid;

use crate::told::{ACCEPTED, Told, asking, at_hand, definite, later, look_up, need, run, settings, status};

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
    let part = Said::AtLeast { status: ACCEPTED, observed: Now::read().moment(), failure: Failure::Source };
    let rows = [
        ([Said::Nothing, definite(ACCEPTED)], Some(ACCEPTED), None),
        ([definite(Status::MISSING), definite(ACCEPTED)], Some(Status::MISSING), None),
        ([Said::Failed(Failure::Source), definite(ACCEPTED)], Some(ACCEPTED), None),
        // Somebody who says no stands beside one who could not be asked.
        (
            [Said::Failed(Failure::Source), definite(Status::MISSING)],
            Some(Status::MISSING),
            Some(Failure::Source),
        ),
        ([Said::Nothing, Said::Nothing], None, Some(Failure::Unrecorded)),
        ([Said::Nothing, Said::Failed(Failure::Source)], None, Some(Failure::Source)),
        ([part, Said::Nothing], Some(ACCEPTED), Some(Failure::Source)),
        // Of several failures the gateway's own counts.
        ([Said::Failed(Failure::Source), Said::Failed(Failure::Throttled)], None, Some(Failure::Throttled)),
        ([Said::Failed(Failure::Throttled), Said::Failed(Failure::Source)], None, Some(Failure::Throttled)),
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
            let age = |kept: &countersign::agreements::cache::Kept| kept.weighed > now.uptime;
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
        // What was asked behind an answer comes before what is asked after it.
        look_up(&agreements, &sources, need(3), at).await;
        assert_eq!(source.asked(), 3);
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
        let of = countersign::policy::id::PartnerRef::Tenant(Guid::from_bits(2));
        assert!(agreements.find(&asking(&sources, &settings(), at), MCA, of).is_empty());
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
