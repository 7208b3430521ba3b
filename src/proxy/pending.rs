//! Pending actions: what a caller's own company still has to sign, told to whoever may see it.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response};
use serde::Serialize;

use crate::agreements::Asking;
use crate::clock::Now;
use crate::identity::Identified;
use crate::policy::agreement::{MPA, Status};
use crate::policy::decision::{Effect, Finding, Outcome};
use crate::policy::facts::{Facts, Request};
use crate::policy::operation::{Class, OperationId};
use crate::policy::role::GLOBAL_ADMIN;
use crate::proxy::deny;
use crate::proxy::exchange::AnswerBody;
use crate::proxy::snapshot::{Shared, Snapshot};

#[derive(Serialize)]
struct Pending {
    partner: String,
    pending: Vec<Entry>,
    notice: String,
}

#[derive(Serialize)]
struct Entry {
    agreement: String,
    party: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    required_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_at: Option<String>,
    who: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
}

/// What the caller's own company would lack for a purchase now.
///
/// Only a global administrator sees the partner agreement; anyone else is told to ask theirs (Partner Center,
/// "Microsoft Partner Agreement"). Nothing here depends on a customer.
pub async fn answer(
    shared: &Shared,
    snapshot: &Snapshot,
    identified: &Identified,
    received: &HeaderMap,
    now: Now,
) -> Response<AnswerBody> {
    let policy = &snapshot.policy;
    let caller = &identified.caller;
    let language = snapshot.catalogue.choose(received);
    // A purchase of anything, for nobody in particular: customers and other resellers are no concern of this page.
    let request = Request::bare(OperationId::UNLISTED, Class::Purchase);
    let plan =
        policy.plan(Facts { caller, request: &request, at: now.wall }).expect("one party needs few statuses");
    let asker = Some(caller.partner.tenant);
    let asking = Asking::new(&snapshot.sources, &snapshot.freshness, asker, now);
    let (statuses, _) = shared.agreements.look_up(&asking, plan.needs()).await;
    let decision = plan.decide(&statuses);

    let is_admin = policy.roles.find(GLOBAL_ADMIN).is_some_and(|admin| caller.roles.meets(admin));
    let mut hidden = false;
    let mut pending: Vec<Entry> = Vec::new();
    for finding in decision.findings() {
        let Some(need) = finding.need else { continue };
        let key = plan.needs()[need].key;
        // Another company's agreement is not the caller's to see.
        let is_own = deny::shown_id(Some(caller), &key.party).is_some();
        if !is_open(finding) || !is_own {
            continue;
        }
        if key.agreement == MPA && !is_admin {
            hidden = true;
            continue;
        }
        let rule = &policy.rules[finding.rule];
        let (who, action) = deny::who(policy, Some(caller), language, finding, Some(key.party));
        let entry = Entry {
            agreement: key.agreement.to_string(),
            party: key.party.kind().as_str(),
            status: status(finding),
            required_from: rule.enforce_from.filter(|from| *from > now.wall).map(|from| from.to_string()),
            observed_at: finding.fact.map(|fact| fact.observed_at.to_string()),
            who,
            action,
        };
        let same = |known: &Entry| known.agreement == entry.agreement && known.status == entry.status;
        if !pending.iter().any(same) {
            pending.push(entry);
        }
    }
    let notice = match (is_admin, hidden || !is_admin, pending.is_empty()) {
        (false, true, _) => "pending.notice",
        (_, _, true) => "pending.clear",
        _ => "pending.some",
    };
    let page =
        Pending { partner: caller.partner.tenant.to_string(), pending, notice: language.text(notice, &[]) };
    let body = serde_json::to_vec(&page).expect("a page is plain data");
    let mut response = Response::new(AnswerBody::own(Bytes::from(body)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Nothing is missing yet where only a rule in shadow does not know.
fn is_open(finding: &Finding) -> bool {
    match finding.outcome {
        Outcome::Unmet(_) => true,
        Outcome::Unknown(_) => finding.effect != Effect::Shadow,
        _ => false,
    }
}

fn status(finding: &Finding) -> &'static str {
    match (finding.outcome, finding.fact.map(|fact| fact.status)) {
        (Outcome::Unmet(_), Some(Status::Accepted { .. })) => "accepted_too_long_ago",
        (Outcome::Unmet(_), _) => "missing",
        _ => "unknown",
    }
}
