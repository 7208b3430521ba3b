//! Ends of learnt words: what ends them, for whom, and what does not, on an injected clock.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use countersign::agreements::Agreements;
use countersign::agreements::cache::Settings;
use countersign::agreements::source::Said;
use countersign::agreements::sources::Sources;
use countersign::clock::Now;
use countersign::policy::agreement::{Demand, Failure, Key, MCA, PartyKind, Scope, Status};
use countersign::policy::decision::Need;
use countersign::policy::id::Guid;
use countersign::policy::learning::By;

use crate::told::{
    ACCEPTED, TEACHER, Told, asking, at_hand, definite, later, look_up, need, run, run_with, settings, status,
};

/// The need of one customer as a partner orders for it.
fn billed(partner: u128) -> Need {
    Need { key: Key { scope: Scope::Billing(Guid::from_bits(partner)), ..need(1).key }, decides: true }
}

fn learn(
    agreements: &Agreements,
    sources: &Arc<Sources>,
    need: Need,
    by: By,
    says: Status,
    now: Now,
) -> bool {
    agreements.learn(&asking(sources, &settings(), now), need.key, by, says, TEACHER)
}

fn says(status: Status, at: Now) -> Said {
    Said::Definite { status, observed: at.moment() }
}

#[test]
fn what_a_source_confirmed_outlives_a_ledger_that_was_written_between() {
    let now = Now::read();
    let (ledger, remote) = (Told::local(Said::Nothing), Told::new(definite(ACCEPTED), 1000));
    run(&[Arc::clone(&ledger), Arc::clone(&remote)], |agreements, sources| async move {
        assert!(learn(&agreements, &sources, need(1), By::Attestation, ACCEPTED, later(now, 1)));
        look_up(&agreements, &sources, need(1), later(now, 200)).await;
        assert_eq!(remote.asked(), 1, "it is asked after the time of acceptances, and confirms");
        for (written, read, expected) in [(100, 201, ACCEPTED), (200, 202, Status::MISSING)] {
            ledger.say(says(Status::MISSING, later(now, written)));
            agreements.renew(&sources);
            let answer = look_up(&agreements, &sources, need(1), later(now, read)).await;
            assert_eq!(status(answer), Some(expected), "written at {written} s");
        }
    });
}

#[test]
fn what_was_learnt_stands_for_no_source_that_was_asked_since_and_knew_nothing() {
    let now = Now::read();
    for (by, learns_again) in
        [By::Attestation, By::Direct].into_iter().flat_map(|by| [(by, false), (by, true)])
    {
        let (ledger, remote) = (Told::local(Said::Nothing), Told::new(Said::Nothing, 1000));
        // The source comes first: while what was learnt stands for it, no ledger is asked.
        run(&[Arc::clone(&remote), Arc::clone(&ledger)], |agreements, sources| async move {
            assert!(learn(&agreements, &sources, billed(1), by, ACCEPTED, later(now, 1)));
            agreements.refresh(&asking(&sources, &settings(), later(now, 20)), billed(1).key).await;
            assert_eq!(remote.asked(), 1);
            if learns_again {
                assert!(learn(&agreements, &sources, billed(1), by, ACCEPTED, later(now, 25)));
            }
            ledger.say(says(Status::MISSING, later(now, 30)));
            agreements.renew(&sources);
            let answer = look_up(&agreements, &sources, billed(1), later(now, 31)).await;
            assert_eq!(status(answer), Some(Status::MISSING), "{by:?}, learns again: {learns_again}");
        });
    }
}

#[test]
fn what_every_partner_shares_ends_for_the_one_to_whom_it_is_denied_until_it_is_learnt_again() {
    let now = Now::read();
    let source = Told::new(definite(Status::MISSING), 1000);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        assert!(learn(&agreements, &sources, billed(1), By::Direct, ACCEPTED, later(now, 1)));
        agreements.refresh(&asking(&sources, &settings(), later(now, 20)), billed(1).key).await;
        assert_eq!(source.asked(), 1);
        // Long after the answer's time it is asked for again: what it has ended does not come back.
        let answer = look_up(&agreements, &sources, billed(1), later(now, 50)).await;
        assert_eq!((status(answer), source.asked()), (Some(Status::MISSING), 2));
        let answer = look_up(&agreements, &sources, billed(2), later(now, 50)).await;
        assert_eq!((status(answer), source.asked()), (Some(ACCEPTED), 2), "the other partner's");
        assert!(learn(&agreements, &sources, billed(2), By::Direct, ACCEPTED, later(now, 60)));
        let answer = look_up(&agreements, &sources, billed(1), later(now, 61)).await;
        assert_eq!((status(answer), source.asked()), (Some(ACCEPTED), 2), "learnt after it was ended");
    });
}

#[test]
fn an_answer_serves_no_longer_than_the_word_that_it_is_as_old_as() {
    let now = Now::read();
    let source = Told::new(definite(Status::MISSING), 1000);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        assert!(learn(&agreements, &sources, billed(1), By::Attestation, ACCEPTED, later(now, 1)));
        assert!(learn(&agreements, &sources, billed(2), By::Direct, ACCEPTED, later(now, 90)));
        for partner in [1, 2] {
            look_up(&agreements, &sources, billed(partner), later(now, 105)).await;
        }
        assert!(agreements.doubt(&settings(), billed(2).key, later(now, 106)));
        // What all shared is gone. What the first partner had of its own is older, and its time is over.
        let answer = look_up(&agreements, &sources, billed(1), later(now, 107)).await;
        assert_eq!((status(answer), source.asked()), (Some(Status::MISSING), 1));
    });
}

#[test]
fn an_answer_tells_nothing_of_a_word_that_was_dropped_though_an_older_one_holds() {
    let now = Now::read();
    let years = |years: i64| now.wall - jiff::SignedDuration::from_hours(years * 8766);
    let demands = vec![(MCA, PartyKind::Customer, Demand { since: Some(years(3)), ..Demand::default() })];
    run_with(&[Told::local(Said::Nothing)], demands, |agreements, sources| async move {
        let old = Status::accepted(years(7));
        assert!(learn(&agreements, &sources, billed(1), By::Attestation, old, later(now, 1)));
        assert!(learn(&agreements, &sources, billed(2), By::Direct, ACCEPTED, later(now, 2)));
        let both = Some(old.merged(ACCEPTED));
        assert_eq!(status(look_up(&agreements, &sources, billed(1), later(now, 200)).await), both);
        look_up(&agreements, &sources, billed(2), later(now, 200)).await;
        assert!(agreements.doubt(&settings(), billed(2).key, later(now, 201)));
        let answer = look_up(&agreements, &sources, billed(1), later(now, 202)).await;
        assert_eq!(status(answer), Some(old));
    });
}

#[test]
fn a_word_that_is_dropped_while_a_question_is_under_way_does_not_come_of_it() {
    let now = Now::read();
    let source = Told::new(Said::Nothing, 0);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        let settings = settings();
        assert!(learn(&agreements, &sources, need(1), By::Attestation, ACCEPTED, now));
        let ask = asking(&sources, &settings, later(now, 120));
        let asking = agreements.refresh(&ask, need(1).key);
        let meanwhile = async {
            while source.asked() == 0 {
                tokio::task::yield_now().await;
            }
            agreements.doubt(&settings, need(1).key, later(now, 121));
            source.gate.add_permits(1000);
        };
        let (kept, ()) = tokio::join!(asking, meanwhile);
        let kept = kept.expect("it comes in time");
        assert_eq!((kept.answer.last, kept.answer.failure), (None, Some(Failure::Unrecorded)));
        let answer = look_up(&agreements, &sources, need(1), later(now, 122)).await;
        assert_eq!((answer.last, answer.failure), (None, Some(Failure::Unrecorded)));
    });
}

#[test]
fn what_nobody_speaks_of_is_weighed_in_time_and_not_with_each_request() {
    let now = Now::read();
    let source = Told::new(Said::Nothing, 1000);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        assert!(learn(&agreements, &sources, need(1), By::Attestation, ACCEPTED, now));
        for (seconds, asked) in [(120, 1), (121, 1), (190, 1), (230, 2), (231, 2), (2990, 3), (2999, 3)] {
            let answer = look_up(&agreements, &sources, need(1), later(now, seconds)).await;
            assert_eq!((status(answer), source.asked()), (Some(ACCEPTED), asked), "{seconds} s");
        }
        assert!(at_hand(&agreements, &sources, need(1), later(now, 3000)).is_none());
        let answer = look_up(&agreements, &sources, need(1), later(now, 3000)).await;
        assert_eq!((status(answer), answer.failure), (None, Some(Failure::Unrecorded)));
    });
}

#[test]
fn a_word_of_all_partners_that_is_dropped_while_one_of_them_asks_does_not_stand_in_later() {
    let now = Now::read();
    let (ledger, remote) = (Told::new(Said::Nothing, 0), Told::new(Said::Nothing, 0));
    ledger.is_local.store(true, Ordering::SeqCst);
    run(&[Arc::clone(&ledger), Arc::clone(&remote)], |agreements, sources| async move {
        assert!(learn(&agreements, &sources, billed(2), By::Direct, ACCEPTED, now));
        let settings = Settings { deadline: Duration::from_secs(20), ..settings() };
        let (needs, ask) = ([billed(1)], asking(&sources, &settings, later(now, 1)));
        let meanwhile = async {
            while ledger.asked() == 0 {
                tokio::task::yield_now().await;
            }
            agreements.doubt(&settings, billed(2).key, later(now, 2));
            ledger.gate.add_permits(1000);
        };
        let _ = tokio::join!(agreements.look_up(&ask, &needs), meanwhile);
        // The source hangs.
        let answer = look_up(&agreements, &sources, billed(1), later(Now::read(), 0)).await;
        assert_eq!((answer.last, answer.failure), (None, Some(Failure::Deadline)));
    });
}

#[test]
fn a_source_that_tells_of_an_acceptance_that_is_not_enough_has_the_last_word_of_what_was_learnt() {
    let now = Now::read();
    let years = |years: i64| now.wall - jiff::SignedDuration::from_hours(years * 8766);
    let (old, new) = (Status::accepted(years(7)), Status::accepted(years(1)));
    let demands = vec![(MCA, PartyKind::Customer, Demand { since: Some(years(3)), ..Demand::default() })];
    // What is enough need not be all that it could say.
    for (said, expected) in [(old, old), (ACCEPTED, new)] {
        let source = Told::new(definite(said), 1000);
        run_with(&[Arc::clone(&source)], demands.clone(), |agreements, sources| async move {
            assert!(learn(&agreements, &sources, need(1), By::Attestation, new, now));
            let answer = look_up(&agreements, &sources, need(1), later(now, 120)).await;
            assert_eq!((status(answer), source.asked()), (Some(said), 1));
            source.say(Said::Nothing);
            let answer = look_up(&agreements, &sources, need(1), later(now, 300)).await;
            assert_eq!((status(answer), source.asked()), (Some(expected), 2));
        });
    }
}

#[test]
fn what_was_learnt_holds_for_its_own_time_whoever_confirmed_it_since() {
    let now = Now::read();
    let source = Told::new(definite(ACCEPTED), 1000);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        assert!(learn(&agreements, &sources, need(1), By::Attestation, ACCEPTED, now));
        look_up(&agreements, &sources, need(1), later(now, 2000)).await;
        source.say(Said::Nothing);
        for (seconds, expected) in
            [(2500, Some(ACCEPTED)), (2990, Some(ACCEPTED)), (3010, None), (4900, None)]
        {
            let answer = look_up(&agreements, &sources, need(1), later(now, seconds)).await;
            assert_eq!(status(answer), expected, "{seconds} s");
        }
    });
}

#[test]
fn what_the_upstream_contradicted_is_not_learnt_again_after_a_question_that_nobody_answered() {
    let now = Now::read();
    let source = Told::new(Said::Nothing, 1000);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        let attest =
            |seconds| learn(&agreements, &sources, billed(1), By::Attestation, ACCEPTED, later(now, seconds));
        assert!(attest(1));
        assert!(agreements.doubt(&settings(), billed(1).key, later(now, 2)));
        assert!(!attest(3));
        assert!(learn(
            &agreements,
            &sources,
            billed(2),
            By::Direct,
            Status::accepted(now.wall),
            later(now, 4)
        ));
        agreements.refresh(&asking(&sources, &settings(), later(now, 10)), billed(1).key).await;
        assert_eq!(source.asked(), 1);
        assert!(!attest(11));
    });
}
