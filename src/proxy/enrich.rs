//! Reading of judged requests: from their bodies, and from the resources that they are about.

use http::header::{HeaderMap, HeaderValue, IF_MATCH};

use crate::clock::Now;
use crate::extract::resource::{Enriched, Unusable, enrich};
use crate::extract::{self, Refusal, Sent, refuse};
use crate::identity::Identified;
use crate::policy::Drafts;
use crate::policy::agreement::Failure;
use crate::policy::decision::Decision;
use crate::policy::endpoint::Endpoint;
use crate::policy::facts::{Facts, Request, Unreadable};
use crate::policy::operation::Resource;
use crate::policy::path::{Path, without_empty_segments};
use crate::policy::reason::Reason;
use crate::proxy::intake::{self, Json};
use crate::proxy::passage::Passage;
use crate::resources::path_of;

/// The end of a request before its verdict.
pub enum Ended {
    /// It can not be judged.
    Refused(Refusal),
    /// Its caller may not make it, whatever else it turns out to be.
    Denied(Box<(Decision, Request)>),
}

/// The next step of a request whose resource may be read.
enum BeforeReading {
    /// Its caller may not make it.
    Denied(Decision),
    /// Nothing that could be read changes its verdict.
    Idle,
    /// It has to be read.
    Wanted,
}

impl Passage {
    /// Reads a judged request, from the resource that it is about too where its verdict may rest on that. `raw` is its path
    /// as it was sent.
    pub async fn read_judged(
        &self,
        headers: &mut HeaderMap,
        endpoint: &Endpoint,
        path: &Path<'_>,
        raw: &str,
        body: &[u8],
        identified: &Identified,
    ) -> Result<Request, Ended> {
        let json = match body.is_empty() {
            true => Json::Plain,
            false => intake::check_media_type(headers).map_err(Ended::Refused)?,
        };
        let is_merge_patch = json == Json::MergePatch;
        let sent = Sent { path, caller: &identified.caller, body, is_merge_patch };
        let request =
            extract::read_request(&self.snapshot.policy, endpoint, &sent).map_err(Ended::Refused)?;
        if request.unread.is_none() {
            return readable(request);
        }
        // A caller without the role causes no reading, nor does a request whose verdict no resource can change.
        match self.before_reading(endpoint, &request, identified) {
            BeforeReading::Denied(decision) => Err(Ended::Denied(Box::new((decision, request)))),
            BeforeReading::Idle => readable(request),
            BeforeReading::Wanted => {
                let raw = without_empty_segments(raw);
                // On the heap: few requests have to wait for it.
                let read = Box::pin(self.enrich(headers, endpoint, &raw, &sent, request));
                read.await.map_err(Ended::Refused).and_then(readable)
            }
        }
    }

    /// The next step of a request, whose resource may show that it is as strong as its endpoint.
    fn before_reading(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        identified: &Identified,
    ) -> BeforeReading {
        let policy = &self.snapshot.policy;
        let facts = Facts { caller: &identified.caller, request, at: self.now.wall };
        let Ok(plan) = policy.plan(facts) else { return BeforeReading::Wanted };
        if let Some(decision) = plan.decide_roles() {
            return BeforeReading::Denied(decision);
        }
        let strongest = Request { operation: endpoint.operation, class: endpoint.class, ..request.clone() };
        let may_deny =
            policy.plan(Facts { request: &strongest, ..facts }).map_or(true, |plan| plan.may_deny());
        if may_deny { BeforeReading::Wanted } else { BeforeReading::Idle }
    }

    /// Reads the resource that a request is about, and the request from it. What can not be read leaves the strictest
    /// reading, with the reason why.
    ///
    /// A request that was held against a version of its resource goes upstream for this version only. A reseller is told
    /// nothing of a resource that does not name it: whether it is there, was read or failed, the answer is the same.
    async fn enrich(
        &self,
        headers: &mut HeaderMap,
        endpoint: &Endpoint,
        path: &str,
        sent: &Sent<'_>,
        request: Request,
    ) -> Result<Request, Refusal> {
        let caller = sent.caller;
        let resources = self.snapshot.resources.as_ref();
        // What belongs to another billing partner, this identity does not see.
        let resources = resources.filter(|resources| resources.partner == caller.billing.tenant);
        let Some(kind) = request.unread else { return Ok(request) };
        let Some(resources) = resources else {
            // A cart that was not judged when it was written has to be read.
            let was_lenient = self.snapshot.policy.drafts == Drafts::Notice && kind == Resource::Cart;
            return Ok(Request { unread_because: was_lenient.then_some(Failure::NotAsked), ..request });
        };
        let started = Now::read();
        // What is read and what is looked up have one deadline.
        self.waits_since.set(Some(started.mono));
        let patience = self.snapshot.freshness.deadline;
        let target = path_of(endpoint.reads_above, path).to_owned();
        let read = resources.read(target, caller.partner.tenant, patience).await;
        let enriched = read.map_err(Unread::Failed).and_then(|read| {
            let policy = &self.snapshot.policy;
            let enriched = enrich(policy, endpoint, sent, &request, &read.body, read.etag.as_deref());
            enriched.map_err(Unread::Unusable)
        });
        let outcome = match &enriched {
            Ok(_) => "ok",
            Err(Unread::Unusable(Unusable::Stranger)) => "stranger",
            Err(Unread::Unusable(_)) => Failure::Source.as_str(),
            Err(Unread::Failed(failure)) => failure.as_str(),
        };
        self.worker.shared.metrics.remote.read(kind.as_str(), outcome, started.mono.elapsed());
        let failure = match enriched {
            Ok(Enriched { request, etag }) => {
                if let Some(etag) = etag {
                    hold_to(headers, &etag)?;
                }
                return Ok(request);
            }
            // It may be nobody's business what was found there.
            // Nor does `on_unknown: allow` open for what is withheld from it.
            Err(_) if caller.is_reseller() => Failure::Unavailable,
            Err(Unread::Unusable(Unusable::Refused(refusal))) => return Err(refusal),
            Err(Unread::Unusable(why)) => {
                let (resource, why) = (kind.as_str(), format!("{why:?}"));
                tracing::warn!(resource, why, "a resource that says nothing of its request");
                Failure::Source
            }
            Err(Unread::Failed(failure)) => failure,
        };
        Ok(Request { unread_because: Some(failure), ..request })
    }
}

/// A request whose lines and resellers can be read, or need not be.
fn readable(request: Request) -> Result<Request, Ended> {
    match request.refused() {
        None => Ok(request),
        Some(Unreadable { reason, detail }) => Err(Ended::Refused(Refusal { reason, detail })),
    }
}

/// Why a request is not told from its resource.
enum Unread {
    Failed(Failure),
    Unusable(Unusable),
}

/// Has a request acted on only if its resource is still what was read (RFC 9110 section 13.1.1). A caller that wants
/// another version than is there is told so.
fn hold_to(headers: &mut HeaderMap, etag: &str) -> Result<(), Refusal> {
    let bare = |text: &str| {
        let text = text.trim();
        let text = text.strip_prefix("W/").unwrap_or(text);
        text.trim_matches('"').to_owned()
    };
    let wanted: Vec<&str> =
        headers.get_all(IF_MATCH).iter().filter_map(|value| value.to_str().ok()).collect();
    let count = headers.get_all(IF_MATCH).iter().count();
    let agrees = |wanted: &str| wanted.trim() == "*" || bare(wanted) == bare(etag);
    if count > 1 || wanted.len() != count || !wanted.iter().all(|wanted| agrees(wanted)) {
        return refuse(
            Reason::PreconditionFailed,
            "`If-Match` names another version than the one that is there",
        );
    }
    let Ok(value) = HeaderValue::from_str(etag) else {
        return refuse(Reason::PreconditionFailed, "the version of the resource can not be sent");
    };
    headers.insert(IF_MATCH, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_upstream_for_the_version_that_was_read() {
        for (wanted, etag, good) in [
            (&[][..], "\"a\"", true),
            (&["\"a\""], "\"a\"", true),
            (&["a"], "\"a\"", true),
            (&["W/\"a\""], "\"a\"", true),
            (&["*"], "\"a\"", true),
            (&["\"b\""], "\"a\"", false),
            (&["\"a\", \"b\""], "\"a\"", false),
            (&["\"a\"", "\"a\""], "\"a\"", false),
            (&[""], "\"a\"", false),
        ] {
            let mut headers = HeaderMap::new();
            for value in wanted {
                headers.append(IF_MATCH, HeaderValue::from_str(value).unwrap());
            }
            let held = hold_to(&mut headers, etag);
            assert_eq!(held.is_ok(), good, "{wanted:?}");
            if good {
                let sent: Vec<_> = headers.get_all(IF_MATCH).iter().collect();
                assert_eq!(sent, [etag], "{wanted:?}");
            } else {
                assert_eq!(held.unwrap_err().reason, Reason::PreconditionFailed);
            }
        }
    }
}
