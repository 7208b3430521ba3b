//! Words beside a source that fails: which of several ages counts, on an injected clock.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use countersign::agreements::source::Said;
use countersign::clock::Now;
use countersign::policy::agreement::{Demand, Failure, MCA, PartyKind, Status};
use countersign::policy::learning::By;

use crate::told::{
    ACCEPTED, TEACHER, Told, asking, definite, later, look_up, need, run, run_with, settings, status,
};

const FAILS: Said = Said::Failed(Failure::Source);

#[test]
fn beside_a_source_that_fails_the_later_word_counts() {
    let now = Now::read();
    let years = |years: i64| now.wall - jiff::SignedDuration::from_hours(years * 8766);
    let (old, missing) = (Status::accepted(years(7)), Status::MISSING);
    let since = Demand { since: Some(years(3)), ..Demand::default() };
    let strict = Demand { dated: true, ..since };
    let failed = Some(Failure::Source);
    // The source said this at 10 s; the ledger has said that since; the source fails then.
    let rows = [
        (Demand::default(), missing, (ACCEPTED, 1), 30, (missing, failed)),
        (Demand::default(), missing, (ACCEPTED, 20), 30, (ACCEPTED, None)),
        (since, missing, (old, 1), 30, (missing, failed)),
        (since, missing, (old, 20), 30, (old, failed)),
        (Demand::default(), ACCEPTED, (missing, 1), 120, (ACCEPTED, failed)),
        (Demand::default(), ACCEPTED, (missing, 20), 120, (missing, failed)),
        // It is too old to serve: the "no" is all there is.
        (Demand::default(), ACCEPTED, (missing, 1), 170, (missing, failed)),
        // Neither is enough, and neither is lost.
        (strict, ACCEPTED, (old, 1), 120, (ACCEPTED.merged(old), failed)),
    ];
    for (demand, said, (recorded, at), then, expected) in rows {
        let (remote, ledger) = (Told::new(definite(said), 1000), Told::local(Said::Nothing));
        let demands = vec![(MCA, PartyKind::Customer, demand)];
        run_with(&[Arc::clone(&remote), Arc::clone(&ledger)], demands, |agreements, sources| async move {
            look_up(&agreements, &sources, need(1), later(now, 10)).await;
            assert_eq!(remote.asked(), 1);
            remote.say(FAILS);
            ledger.say(Said::Definite { status: recorded, observed: later(now, at).moment() });
            let answer = look_up(&agreements, &sources, need(1), later(now, then)).await;
            let row = format!("{demand:?}: {said:?}, {recorded:?} of {at} s, at {then} s");
            assert_eq!((answer.last.unwrap().status, answer.failure), expected, "{row}");
        });
    }
}

#[test]
fn a_missing_acceptance_of_other_terms_stands_against_none_that_a_ledger_records() {
    let now = Now::read();
    let (remote, ledger) = (Told::new(definite(Status::MISSING), 1000), Told::local(Said::Nothing));
    run(&[Arc::clone(&remote), Arc::clone(&ledger)], |agreements, sources| async move {
        look_up(&agreements, &sources, need(1), later(now, 10)).await;
        remote.say(FAILS);
        ledger.say(Said::Definite { status: ACCEPTED, observed: later(now, 1).moment() });
        remote.epoch.store(2, Ordering::SeqCst);
        agreements.renew(&sources);
        let answer = look_up(&agreements, &sources, need(1), later(now, 30)).await;
        assert_eq!((status(answer), answer.failure), (Some(ACCEPTED), None));
    });
}

#[test]
fn what_was_learnt_under_other_terms_stands_for_no_source_that_answers_or_fails_or_keeps_waiting() {
    let now = Now::read();
    for (says, permits, expected) in [
        (definite(Status::MISSING), 1, (Some(Status::MISSING), None)),
        (FAILS, 1, (None, Some(Failure::Source))),
        (FAILS, 0, (None, Some(Failure::Deadline))),
    ] {
        let remote = Told::new(says, permits);
        run(&[Arc::clone(&remote)], |agreements, sources| async move {
            let settings = settings();
            let ask = asking(&sources, &settings, now);
            assert!(agreements.learn(&ask, need(1).key, By::Attestation, ACCEPTED, TEACHER));
            remote.epoch.store(2, Ordering::SeqCst);
            agreements.renew(&sources);
            // The time that a caller waits is of now.
            let answer = look_up(&agreements, &sources, need(1), Now::read()).await;
            assert_eq!((status(answer), answer.failure), expected, "{says:?}, {permits} times");
        });
    }
}

#[test]
fn a_ledger_ends_nothing_that_was_learnt_while_the_source_before_it_fails() {
    let now = Now::read();
    let (remote, ledger) = (Told::new(FAILS, 1000), Told::local(Said::Nothing));
    run(&[Arc::clone(&remote), Arc::clone(&ledger)], |agreements, sources| async move {
        let settings = settings();
        let ask = asking(&sources, &settings, later(now, 1));
        assert!(agreements.learn(&ask, need(1).key, By::Attestation, ACCEPTED, TEACHER));
        ledger.say(Said::Definite { status: Status::MISSING, observed: later(now, 2).moment() });
        agreements.renew(&sources);
        let answer = look_up(&agreements, &sources, need(1), later(now, 120)).await;
        assert_eq!((status(answer), answer.failure), (Some(Status::MISSING), Some(Failure::Source)));
        // The source that failed confirms it: the ledger is older than that.
        remote.say(definite(ACCEPTED));
        assert_eq!(status(look_up(&agreements, &sources, need(1), later(now, 200)).await), Some(ACCEPTED));
        remote.say(Said::Nothing);
        let answer = look_up(&agreements, &sources, need(1), later(now, 400)).await;
        assert_eq!((status(answer), answer.failure), (Some(ACCEPTED), None));
    });
}

#[test]
fn an_acceptance_that_is_doubted_while_its_source_is_asked_does_not_serve_when_that_fails() {
    let now = Now::read();
    let source = Told::new(definite(ACCEPTED), 1);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        look_up(&agreements, &sources, need(1), now).await;
        source.say(FAILS);
        let settings = settings();
        let ask = asking(&sources, &settings, later(now, 110));
        let meanwhile = async {
            while source.asked() < 2 {
                tokio::task::yield_now().await;
            }
            assert!(agreements.doubt(&settings, need(1).key, later(now, 111)));
            source.gate.add_permits(1000);
        };
        let (kept, ()) = tokio::join!(agreements.refresh(&ask, need(1).key), meanwhile);
        let answer = kept.expect("it comes in time").answer;
        assert_eq!((answer.last, answer.failure), (None, Some(Failure::Source)));
    });
}

#[test]
fn what_a_source_told_does_not_serve_once_it_knew_nothing() {
    let now = Now::read();
    let source = Told::new(definite(ACCEPTED), 1000);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        look_up(&agreements, &sources, need(1), now).await;
        for (says, seconds, failure) in
            [(Said::Nothing, 110, Failure::Unrecorded), (FAILS, 120, Failure::Source)]
        {
            source.say(says);
            let answer = look_up(&agreements, &sources, need(1), later(now, seconds)).await;
            assert_eq!((answer.last, answer.failure), (None, Some(failure)), "{seconds} s");
        }
    });
}

#[test]
fn a_failure_takes_no_answer_away_and_one_of_the_gateways_own_making_is_not_kept() {
    let now = Now::read();
    let source = Told::new(definite(ACCEPTED), 1000);
    run(&[Arc::clone(&source)], |agreements, sources| async move {
        let settings = settings();
        look_up(&agreements, &sources, need(1), now).await;
        source.say(FAILS);
        agreements.refresh(&asking(&sources, &settings, later(now, 50)), need(1).key).await;
        let answer = look_up(&agreements, &sources, need(1), later(now, 50)).await;
        assert_eq!((status(answer), answer.failure, source.asked()), (Some(ACCEPTED), None, 2));
        source.say(Said::Failed(Failure::Throttled));
        let answer = look_up(&agreements, &sources, need(1), later(now, 110)).await;
        assert_eq!((status(answer), answer.failure), (Some(ACCEPTED), Some(Failure::Throttled)));
        source.say(definite(ACCEPTED));
        let answer = look_up(&agreements, &sources, need(1), later(now, 110)).await;
        assert_eq!((status(answer), answer.failure), (Some(ACCEPTED), None));
    });
}

#[test]
fn while_a_source_hangs_an_acceptance_in_doubt_is_unknown_and_a_missing_one_known() {
    for (says, is_known) in [(ACCEPTED, false), (Status::MISSING, true)] {
        let source = Told::new(definite(says), 1);
        run(&[Arc::clone(&source)], |agreements, sources| async move {
            let now = Now::read();
            look_up(&agreements, &sources, need(1), now).await;
            match is_known {
                true => assert!(agreements.hint(need(1).key, later(now, 1).wall, now)),
                false => assert!(agreements.doubt(&settings(), need(1).key, now)),
            }
            let answer = look_up(&agreements, &sources, need(1), Now::read()).await;
            let expected = (is_known.then_some(says), Some(Failure::Deadline));
            assert_eq!((status(answer), answer.failure), expected);
            assert_eq!(source.asked(), 2);
        });
    }
}
