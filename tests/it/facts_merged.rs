//! Several words about one party: what they amount to, how old that is, and what of it is used again, on an injected clock.

use std::sync::Arc;

use countersign::agreements::Agreements;
use countersign::agreements::source::Said;
use countersign::agreements::sources::Sources;
use countersign::clock::Now;
use countersign::policy::agreement::{Demand, Failure, Key, MCA, PartyKind, Scope, Status};
use countersign::policy::decision::Need;
use countersign::policy::id::Guid;
use countersign::policy::learning::By;

use crate::told::{
    ACCEPTED, TEACHER, Told, asking, definite, later, look_up, need, run, run_with, settings, status,
};

/// The need of one customer as a partner orders for it.
fn billed(partner: u128) -> Need {
    Need { key: Key { scope: Scope::Billing(Guid::from_bits(partner)), ..need(1).key }, decides: true }
}

/// Learns an attestation of the first partner's.
fn attest(agreements: &Agreements, sources: &Arc<Sources>, says: Status, now: Now) {
    let settings = settings();
    let ask = asking(sources, &settings, now);
    assert!(agreements.learn(&ask, billed(1).key, By::Attestation, says, TEACHER));
}

/// Learns from the second partner's request what all partners share.
fn share(agreements: &Agreements, sources: &Arc<Sources>, says: Status, now: Now) {
    let settings = settings();
    let ask = asking(sources, &settings, now);
    assert!(agreements.learn(&ask, billed(2).key, By::Direct, says, TEACHER));
}

fn years(now: Now, years: i64) -> Status {
    Status::accepted(now.wall - jiff::SignedDuration::from_hours(years * 8766))
}

fn since_three_years(now: Now) -> Vec<(countersign::policy::agreement::Agreement, PartyKind, Demand)> {
    let since = Some(now.wall - jiff::SignedDuration::from_hours(3 * 8766));
    vec![(MCA, PartyKind::Customer, Demand { since, dated: false })]
}

#[test]
fn two_words_are_as_old_as_the_one_that_makes_the_difference_or_the_older_one_where_both_do() {
    let now = Now::read();
    let (old, new) = (years(now, 7), years(now, 1));
    for (own, shared, asked) in [
        ((ACCEPTED, 50), (ACCEPTED, 2), 50),
        ((ACCEPTED, 2), (ACCEPTED, 50), 2),
        ((old, 2), (new, 50), 50),
        ((new, 50), (old, 2), 50),
        ((new, 50), (ACCEPTED, 2), 2),
        ((new, 2), (ACCEPTED, 50), 2),
    ] {
        let source = Told::new(Said::Nothing, 1000);
        run(&[Arc::clone(&source)], |agreements, sources| async move {
            attest(&agreements, &sources, own.0, later(now, own.1));
            share(&agreements, &sources, shared.0, later(now, shared.1));
            agreements.renew(&sources);
            let fact = look_up(&agreements, &sources, billed(1), later(now, 60)).await.last.unwrap();
            let expected = (own.0.merged(shared.0), later(now, asked).wall);
            assert_eq!((fact.status, fact.asked_at), expected, "{own:?} {shared:?}");
            assert_eq!(source.asked(), 0);
        });
    }
}

#[test]
fn of_what_a_source_said_and_what_was_learnt_the_later_one_is_used_again() {
    let now = Now::read();
    for (said, learnt) in [(10, 50), (50, 10)] {
        let source = Told::new(definite(ACCEPTED), 1000);
        run(&[Arc::clone(&source)], |agreements, sources| async move {
            let settings = settings();
            if said < learnt {
                look_up(&agreements, &sources, billed(1), later(now, said)).await;
            }
            share(&agreements, &sources, ACCEPTED, later(now, learnt));
            if said > learnt {
                agreements.refresh(&asking(&sources, &settings, later(now, said)), billed(1).key).await;
            }
            agreements.renew(&sources);
            let fact = look_up(&agreements, &sources, billed(1), later(now, 60)).await.last.unwrap();
            assert_eq!((fact.asked_at, source.asked()), (later(now, 50).wall, 1), "{said} {learnt}");
        });
    }
}

#[test]
fn a_source_that_said_no_is_asked_again_once_something_was_learnt_that_is_not_enough() {
    let now = Now::read();
    let source = Told::new(definite(Status::MISSING), 1000);
    run_with(&[Arc::clone(&source)], since_three_years(now), |agreements, sources| async move {
        look_up(&agreements, &sources, billed(1), later(now, 10)).await;
        share(&agreements, &sources, years(now, 7), later(now, 12));
        source.say(definite(years(now, 1)));
        let answer = look_up(&agreements, &sources, billed(1), later(now, 13)).await;
        assert_eq!((status(answer), source.asked()), (Some(years(now, 1)), 2));
    });
}

#[test]
fn what_a_ledger_said_beside_a_source_is_not_used_again_as_what_the_source_said() {
    let now = Now::read();
    let old = years(now, 7);
    let (ledger, remote) = (Told::local(definite(old)), Told::new(definite(ACCEPTED), 1000));
    run_with(
        &[Arc::clone(&ledger), Arc::clone(&remote)],
        since_three_years(now),
        |agreements, sources| async move {
            let answer = look_up(&agreements, &sources, need(1), later(now, 10)).await;
            assert_eq!(status(answer), Some(old.merged(ACCEPTED)));
            ledger.say(Said::Nothing);
            agreements.renew(&sources);
            let answer = look_up(&agreements, &sources, need(1), later(now, 20)).await;
            assert_eq!((status(answer), remote.asked()), (Some(ACCEPTED), 1));
        },
    );
}

#[test]
fn what_was_learnt_holds_beside_a_ledger_that_has_not_enough() {
    let now = Now::read();
    let (old, new) = (years(now, 7), years(now, 1));
    let (ledger, remote) = (Told::local(definite(old)), Told::new(Said::Nothing, 1000));
    run_with(
        &[Arc::clone(&ledger), Arc::clone(&remote)],
        since_three_years(now),
        |agreements, sources| async move {
            attest(&agreements, &sources, new, now);
            let answer = look_up(&agreements, &sources, billed(1), later(now, 120)).await;
            assert_eq!((status(answer), answer.failure), (Some(new), None));
        },
    );
}

#[test]
fn what_stands_in_for_a_failure_is_no_answer_once_the_sources_change() {
    let now = Now::read();
    let source = Told::new(definite(ACCEPTED), 1000);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        look_up(&agreements, &sources, need(1), now).await;
        source.say(Said::Failed(Failure::Source));
        for asked in [2, 3] {
            let answer = look_up(&agreements, &sources, need(1), later(now, 110)).await;
            let expected = (Some(ACCEPTED), Some(Failure::Source), asked);
            assert_eq!((status(answer), answer.failure, source.asked()), expected);
            agreements.renew(&sources);
        }
    });
}

#[test]
fn a_missing_acceptance_that_is_used_again_is_as_old_as_it_was() {
    let now = Now::read();
    let (ledger, remote) = (Told::local(Said::Nothing), Told::new(definite(Status::MISSING), 1000));
    run(&[Arc::clone(&ledger), Arc::clone(&remote)], |agreements, sources| async move {
        look_up(&agreements, &sources, need(1), now).await;
        agreements.renew(&sources);
        for (seconds, asked) in [(8, 1), (15, 2)] {
            let answer = look_up(&agreements, &sources, need(1), later(now, seconds)).await;
            assert_eq!((status(answer), remote.asked()), (Some(Status::MISSING), asked), "{seconds} s");
        }
    });
}

#[test]
fn an_acceptance_that_is_enough_is_used_again_whatever_was_learnt_since() {
    let now = Now::read();
    let source = Told::new(definite(years(now, 1)), 1000);
    run_with(&[Arc::clone(&source)], since_three_years(now), |agreements, sources| async move {
        look_up(&agreements, &sources, billed(1), later(now, 10)).await;
        share(&agreements, &sources, years(now, 7), later(now, 50));
        agreements.renew(&sources);
        let answer = look_up(&agreements, &sources, billed(1), later(now, 60)).await;
        assert_eq!((status(answer), source.asked()), (Some(years(now, 1)), 1));
    });
}

#[test]
fn an_acceptance_that_is_not_enough_is_asked_for_again_once_another_one_was_learnt() {
    let now = Now::read();
    let source = Told::new(definite(years(now, 9)), 1000);
    run_with(&[Arc::clone(&source)], since_three_years(now), |agreements, sources| async move {
        look_up(&agreements, &sources, billed(1), later(now, 10)).await;
        source.say(definite(years(now, 1)));
        attest(&agreements, &sources, years(now, 7), later(now, 11));
        let answer = look_up(&agreements, &sources, billed(1), later(now, 12)).await;
        assert_eq!((status(answer), source.asked()), (Some(years(now, 1)), 2));
    });
}
