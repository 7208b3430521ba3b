//! What is learnt, doubted and taken between look-ups, on an injected clock.

use std::future::Future;
use std::sync::Arc;

use countersign::agreements::near::NearFacts;
use countersign::agreements::source::{Said, Source};
use countersign::clock::Now;
use countersign::policy::agreement::{
    Answer, Demand, Fact, Failure, Key, MCA, PartyKind, Scope, Status, Statuses,
};
use countersign::policy::decision::Need;
use countersign::policy::id::Guid;
use countersign::policy::learning::By;

use crate::told::{
    ACCEPTED, TEACHER, Told, asking, at_hand, definite, later, look_up, need, run, run_with, settings, status,
};

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
            while source.asked() < 2 {
                tokio::task::yield_now().await;
            }
            let learnt_at = later(now, 7);
            agreements.learn(
                &asking(&sources, &settings, learnt_at),
                need(1).key,
                By::Attestation,
                Status::accepted(now.wall),
                TEACHER,
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
    let says = |status, at: Now| Said::Definite { status, observed: at.moment() };
    let ledger = Told::local(says(Status::MISSING, written));
    run(&[Arc::clone(&ledger)], |agreements, sources| async move {
        let settings = settings();
        look_up(&agreements, &sources, need(1), written).await;
        agreements.learn(
            &asking(&sources, &settings, later(written, 1)),
            need(1).key,
            By::Attestation,
            ACCEPTED,
            TEACHER,
        );
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
        agreements.learn(
            &asking(&sources, &settings, later(written, 503)),
            need(1).key,
            By::Attestation,
            ACCEPTED,
            TEACHER,
        );
        assert!(agreements.doubt(&settings, need(1).key, later(written, 504)));
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
        assert!(agreements.doubt(&settings, need(1).key, later(now, 1)));
        let ask = asking(&sources, &settings, now);
        assert!(agreements.at_hand(&mut near, &ask, &[need(1)]).is_none(), "copies included");
        assert!(agreements.at_hand(&mut near, &ask, &[need(2)]).is_some(), "nobody else's");
        look_up(&agreements, &sources, need(1), later(now, 2)).await;
        assert_eq!(source.asked(), 3);
        // The source stands by it: for a while no doubt is raised again.
        agreements.doubt(&settings, need(1).key, later(now, 4));
        assert!(at_hand(&agreements, &sources, need(1), later(now, 4)).is_some());
        assert!(agreements.doubt(&settings, need(1).key, later(now, 8)));
        source.say(definite(Status::MISSING));
        assert_eq!(
            status(look_up(&agreements, &sources, need(1), later(now, 8)).await),
            Some(Status::MISSING)
        );
        // There is nothing to doubt in what is missing.
        assert!(!agreements.doubt(&settings, need(1).key, later(now, 20)));
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
            By::Attestation,
            Status::accepted(now.wall),
            TEACHER,
        );
        let after = later(now, 11);
        assert_eq!(status(look_up(&agreements, &sources, billed(2), after).await), Some(Status::MISSING));
        // A direct acceptance is nobody's in particular.
        agreements.learn(
            &asking(&sources, &settings, after),
            need(1).key,
            By::Attestation,
            ACCEPTED,
            TEACHER,
        );
        let after = later(now, 22);
        assert_eq!(status(look_up(&agreements, &sources, billed(2), after).await), Some(ACCEPTED));
        let asked = source.asked();
        // The upstream denies it to one partner: what that one has is asked for, what the other has stays.
        assert!(agreements.doubt(&settings, billed(2).key, after));
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
    let says = |status, at: Now| Said::Definite { status, observed: at.moment() };
    let (ledger, remote) = (Told::local(Said::Nothing), Told::new(definite(Status::MISSING), 1000));
    run(&[Arc::clone(&ledger), Arc::clone(&remote)], |agreements, sources| async move {
        let settings = settings();
        let own =
            Need { key: Key { scope: Scope::Billing(Guid::from_bits(1)), ..need(1).key }, decides: true };
        agreements.learn(
            &asking(&sources, &settings, later(written, 1)),
            need(1).key,
            By::Attestation,
            ACCEPTED,
            TEACHER,
        );
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
fn what_was_learnt_stands_in_for_a_source_that_knew_nothing_and_fails_then() {
    let written = Now::read();
    let older = Said::Definite { status: Status::MISSING, observed: written.moment() };
    for ledger_says in [Said::Nothing, older] {
        let (ledger, remote) = (Told::local(ledger_says), Told::new(Said::Nothing, 1000));
        run(&[Arc::clone(&ledger), Arc::clone(&remote)], |agreements, sources| async move {
            let settings = settings();
            agreements.learn(
                &asking(&sources, &settings, later(written, 1)),
                need(1).key,
                By::Attestation,
                ACCEPTED,
                TEACHER,
            );
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
        agreements.learn(&asking(&sources, &settings, now), need(1).key, By::Attestation, ACCEPTED, TEACHER);
        agreements.doubt(&settings, own.key, later(now, 1));
        look_up(&agreements, &sources, own, later(now, 60)).await;
        agreements.learn(
            &asking(&sources, &settings, later(now, 10)),
            need(1).key,
            By::Attestation,
            ACCEPTED,
            TEACHER,
        );
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
            agreements.learn(
                &asking(&sources, &settings, later(now, seconds)),
                need(1).key,
                By::Attestation,
                old,
                TEACHER,
            );
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
        assert!(agreements.doubt(&settings, need(1).key, later(now, 92)));
        source.gate.add_permits(1);
        while agreements.all().all(|(_, kept)| kept.weighed <= now.uptime) {
            tokio::task::yield_now().await;
        }
        assert!(at_hand(&agreements, &sources, need(1), later(now, 93)).is_none());
    });
}
