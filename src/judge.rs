//! Judging without a network: a request, a caller and a ledger become a decision, through the same two pure steps that
//! the gateway takes.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::agreements::cache::Settings;
use crate::agreements::file::Ledger;
use crate::agreements::precedence::{InForce, Speaker, Wanted, Weighing};
use crate::agreements::source::Said;
use crate::clock::Now;
use crate::extract::{self, Refusal, Sent};
use crate::policy::agreement::{Agreement, Answer, Demand, Failure, PartyKind, Statuses};
use crate::policy::decision::{Decision, Need};
use crate::policy::facts::{Caller, Facts, Request, Unreadable};
use crate::policy::id::Name;
use crate::policy::operation::Method;
use crate::policy::path::Path;
use crate::policy::reason::Reason;
use crate::policy::{Policy, Route};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The method.
    pub method: Method,
    /// The path, without a query.
    pub path: String,
    /// The body; empty for none.
    pub body: Vec<u8>,
    /// Who asks.
    pub caller: Caller,
    /// When.
    pub at: Timestamp,
}

/// Where agreements stand.
#[derive(Clone, Debug)]
pub enum Known {
    /// As recorded here.
    Ledger(Ledger),
    /// As recorded in several, asked in turn; the order is that for partners, resellers and customers.
    Ledgers {
        /// By name.
        ledgers: HashMap<Name, Ledger>,
        /// Their order.
        order: [Vec<Name>; 3],
    },
    /// No source can be asked.
    Unreachable,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The request, where it could be read.
    pub request: Option<Request>,
    /// What was needed.
    pub needs: Vec<Need>,
    /// What was answered.
    pub answers: Vec<Answer>,
    /// The decision.
    pub decision: Decision,
}

/// Judges a question.
pub fn judge(policy: &Policy, question: &Question, known: &Known) -> Judged {
    let refused = |request, refusal: Refusal| Judged {
        request,
        needs: Vec::new(),
        answers: Vec::new(),
        decision: Decision::refused(refusal.reason, Some(refusal.detail)),
    };
    let path = match Path::of_request(question.method, &question.path) {
        Ok(path) => path,
        Err(why) => return refused(None, Refusal { reason: Reason::AmbiguousPath, detail: why.0 }),
    };
    let request = match policy.route(question.method, &path) {
        Route::Judge(endpoint) => {
            let (caller, body) = (&question.caller, question.body.as_slice());
            let sent = Sent { path: &path, caller, body, is_merge_patch: false };
            extract::read_request(policy, endpoint, &sent)
        }
        Route::Stream(operation, class) => Ok(Request::bare(operation, class)),
        Route::Deny(_, reason) => Err(Refusal { reason, detail: "no operation lists this request" }),
        Route::Bare => {
            let decision = Decision::ungated();
            return Judged { request: None, needs: Vec::new(), answers: Vec::new(), decision };
        }
    };
    let request = match request {
        Ok(request) => request,
        Err(refusal) => return refused(None, refusal),
    };
    if let Some(Unreadable { reason, detail }) = request.refused() {
        return refused(Some(request), Refusal { reason, detail });
    }
    let facts = Facts { caller: &question.caller, request: &request, at: question.at };
    let plan = match policy.plan(facts) {
        Ok(plan) => plan,
        Err(reason) => {
            let refusal = Refusal { reason, detail: "the request names more than 64 parties" };
            return refused(Some(request.clone()), refusal);
        }
    };
    let answers: Vec<Answer> = {
        let demands = policy.demands();
        plan.needs().iter().map(|need| answer(&demands, known, need, question.at)).collect()
    };
    let statuses = Statuses { answers, stale_max: SignedDuration::MAX };
    let decision = plan.decide_roles().unwrap_or_else(|| plan.decide(&statuses));
    let needs = plan.needs().to_vec();
    Judged { needs, answers: statuses.answers, decision, request: Some(request.clone()) }
}

fn answer(demands: &[(Agreement, PartyKind, Demand)], known: &Known, need: &Need, at: Timestamp) -> Answer {
    const LEDGER: Name = Name::new("ledger").expect("a plain name");
    let in_turn: Vec<(Name, Option<&Ledger>)> = match known {
        Known::Unreachable => return Answer::failed(Failure::Source),
        Known::Ledger(ledger) => vec![(LEDGER, Some(ledger))],
        Known::Ledgers { ledgers, order } => {
            let names = &order[need.key.party.kind() as usize];
            names.iter().map(|name| (*name, ledgers.get(name))).collect()
        }
    };
    let demand = Demand::among(demands, &need.key);
    let now = Now::standing(at);
    let mut weighing = Weighing::new(Settings::default(), demand, Wanted::Anew, now);
    for (position, (name, ledger)) in in_turn.iter().enumerate() {
        // What is no ledger is not asked here: it may know more.
        let last = position + 1 == in_turn.len();
        let said = match ledger.map(|ledger| (ledger, ledger.say(&need.key, last))) {
            None => Said::Failed(Failure::NotAsked),
            Some((_, None)) => Said::Nothing,
            Some((ledger, Some(status))) => {
                Said::Definite { status, observed: now.at_wall(ledger.written_at) }
            }
        };
        if weighing.take(Speaker { name: *name, epoch: 0, is_local: true }, said) {
            break;
        }
    }
    let (kept, _) = weighing.conclude(&need.key, 0, None, &InForce::default());
    kept.answer
}
