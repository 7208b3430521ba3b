//! Facts by hand: shown, asked for anew and forgotten on an operator's word.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::admin::FactsReport;
use crate::admin::facts::{Act, Facts};
use crate::agreements::Asking;
use crate::agreements::cache::{Freshness, Kept};
use crate::clock::{Now, Uptime};
use crate::policy::agreement::{Key, Party, Scope, Status};
use crate::proxy::snapshot::Shared;

/// Does what is asked, beside everything else: looking through all facts takes its time.
pub fn obey(shared: Arc<Shared>, facts: Facts, answer: oneshot::Sender<FactsReport>) {
    tokio::spawn(async move {
        let all = Arc::clone(&shared);
        let found = move || {
            let snapshot = all.snapshot();
            let asking = Asking::new(&snapshot.sources, &snapshot.freshness, None, Now::read());
            all.agreements.find(&asking, facts.agreement, facts.party)
        };
        let mut found = tokio::task::spawn_blocking(found).await.unwrap_or_default();
        // In one order, however they are kept.
        found.sort_by_key(|(key, _)| format!("{key:?}"));
        let snapshot = shared.snapshot();
        let now = Now::read();
        let asking = Asking::new(&snapshot.sources, &snapshot.freshness, None, now);
        let mut forgotten = 0;
        let mut refreshed = vec![false; found.len()];
        match facts.act {
            Act::Show => {}
            Act::Refresh => {
                // An acceptance that counts for all partners was learnt from the upstream: no source is asked for it.
                let asked = found.iter_mut().zip(&mut refreshed).filter(|((key, _), _)| !is_shared(key));
                for ((key, kept), refreshed) in asked {
                    if let Some(landed) = shared.agreements.refresh(&asking, *key).await {
                        (*kept, *refreshed) = (landed, landed.answer.failure.is_none());
                    }
                }
            }
            Act::Forget => {
                let (shared, asked) = (Arc::clone(&shared), facts);
                let forget = move || {
                    let snapshot = shared.snapshot();
                    let asking = Asking::new(&snapshot.sources, &snapshot.freshness, None, Now::read());
                    shared.agreements.forget_all(&asking, asked.agreement, asked.party)
                };
                forgotten = tokio::task::spawn_blocking(forget).await.unwrap_or_default();
            }
        }
        let report = match found.is_empty() && forgotten == 0 {
            true => FactsReport::Nothing,
            false => {
                let with = |((key, kept), refreshed): (&(Key, Kept), &bool)| {
                    let mut fact = shown(&asking, key, kept);
                    if facts.act == Act::Refresh {
                        fact["refreshed"] = (*refreshed).into();
                    }
                    fact
                };
                let shown: Vec<Value> = found.iter().zip(&refreshed).map(with).collect();
                let page = json!({ "agreement": facts.agreement.as_str(), "did": facts.act.as_str(), "facts": shown });
                FactsReport::Facts(page.to_string().into_bytes())
            }
        };
        let _ = answer.send(report);
    });
}

fn is_shared(key: &Key) -> bool {
    matches!((key.party, key.scope), (Party::Customer(_), Scope::None))
}

/// One fact, with when it will be asked for again.
fn shown(asking: &Asking<'_>, key: &Key, kept: &Kept) -> Value {
    let (settings, now) = (asking.settings, asking.now);
    let ids = key.party.ids();
    let fact = kept.answer_at(now).last;
    let accepted = fact.and_then(|fact| match fact.status {
        Status::Accepted { at, undated } => Some((at, undated)),
        _ => None,
    });
    let absence = fact.and_then(|fact| match fact.status {
        Status::Missing(absence) => Some(absence.as_str()),
        _ => None,
    });
    let freshness = kept.freshness(settings, asking.sources.generation(), now);
    let next = match freshness {
        Freshness::Fresh if accepted.is_some() => Some(wall(kept.refresh_at, now)),
        _ => None,
    };
    let mut value = json!({
        "party": key.party.kind().as_str(),
        "cloud": key.cloud.as_str(),
        "status": fact.map_or("unknown", |fact| fact.status.as_str()),
        "freshness": match freshness {
            Freshness::Fresh => "fresh",
            Freshness::Soft => "soft_stale",
            Freshness::Hard => "hard_stale",
        },
        "doubted": kept.doubted.is_some(),
    });
    let mut put = |name: &str, member: Option<Value>| {
        if let Some(member) = member {
            value[name] = member;
        }
    };
    put("tenant", ids.tenant.map(|tenant| tenant.to_string().into()));
    put("mpn_id", ids.mpn.map(|mpn| mpn.to_string().into()));
    put("region", key.scope.region().map(|region| region.as_str().into()));
    put("billing", key.scope.billing().map(|partner| partner.to_string().into()));
    put("accepted_at", accepted.and_then(|(at, _)| at).map(|at| at.to_string().into()));
    put("undated", accepted.map(|(_, undated)| undated.into()));
    put("absence", absence.map(Value::from));
    put("source", fact.map(|fact| fact.source.as_str().into()));
    put("observed_at", fact.map(|fact| fact.observed_at.to_string().into()));
    put("age_s", fact.map(|fact| now.wall.duration_since(fact.asked_at).as_secs().max(0).into()));
    put("failure", kept.answer.failure.map(|failure| failure.as_str().into()));
    put("next_refresh", next.map(|at| at.to_string().into()));
    value
}

/// When a moment to come is by the wall clock.
fn wall(at: Uptime, now: Now) -> Timestamp {
    now.wall + at.since(now.uptime)
}
