//! The caller of a request: its token, and the headers and ids that say it to the upstream.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderValue};
use http::request::Parts;

use crate::audit::record::Found;
use crate::client::Outgoing;
use crate::identity::found::{self, Origin};
use crate::identity::ring::{Asked, Ring};
use crate::identity::tokens::{Generation, TokenLookup};
use crate::identity::{self, Identified, Unidentified};
use crate::policy::decision::{Decision, Verdict};
use crate::policy::operation::OperationId;
use crate::policy::reason::Reason;
use crate::policy::role::NameSet;
use crate::proxy::headers::{self, MS_REQUEST_ID};
use crate::proxy::passage::{Known, Passage};

impl Passage {
    /// Who sent it. Only a key that its issuer may have published since is waited for.
    pub async fn identify(&self, headers: &HeaderMap) -> Result<Identified, (Reason, Option<&'static str>)> {
        let token = match headers::bearer(headers) {
            Ok(Some(token)) => token,
            Ok(None) => return Err((Reason::TokenMissing, None)),
            Err(refusal) => return Err((refusal.reason, Some(refusal.detail))),
        };
        let (identified, lookup) = self.identify_now(token);
        let metrics = &self.worker.shared.metrics;
        match lookup {
            TokenLookup::Hit => metrics.tokens_cached.inc(),
            TokenLookup::Miss => metrics.tokens_verified.inc(),
        }
        match identified {
            Ok(identified) => Ok(identified),
            Err(Unidentified::Denied(reason, detail)) => Err((reason, detail)),
            // On the heap: few requests have to wait for a key.
            Err(Unidentified::KeyUnknown(rings)) => Box::pin(self.identify_with_new_keys(token, rings)).await,
        }
    }

    /// Asks the issuers for keys that a token names and nobody knows yet.
    async fn identify_with_new_keys(
        &self,
        token: &str,
        rings: Vec<Arc<Ring>>,
    ) -> Result<Identified, (Reason, Option<&'static str>)> {
        let asked: Vec<_> = rings.iter().map(|ring| ring.ask()).collect();
        let mut is_fresh = true;
        for asked in asked {
            is_fresh &= asked.await == Asked::Fetched;
        }
        // Whatever came of it: another request's fetch may have brought the key meanwhile.
        match (self.identify_now(token).0, is_fresh) {
            (Ok(identified), _) => Ok(identified),
            (Err(Unidentified::Denied(reason, detail)), _) => Err((reason, detail)),
            (Err(Unidentified::KeyUnknown(_)), true) => {
                Err((Reason::TokenInvalid, Some("the token's key is not known")))
            }
            (Err(Unidentified::KeyUnknown(_)), false) => Err((Reason::KeysUnavailable, None)),
        }
    }

    fn identify_now(&self, token: &str) -> (Result<Identified, Unidentified>, TokenLookup) {
        let snapshot = &*self.snapshot;
        let shared = &self.worker.shared;
        // Read before the keys: what an older set proved must not pass for the work of a newer one.
        let generation = Generation { configuration: snapshot.generation, keys: shared.keys.generation() };
        identity::identify(
            &snapshot.verifier,
            &snapshot.partners,
            &shared.tokens,
            &mut self.worker.near_tokens.borrow_mut(),
            generation,
            token,
            self.now,
        )
    }

    /// The parts of a denied request's token that help to see why. Nothing of an allowed one is read again.
    pub fn found<'a>(
        &'a self,
        received: &HeaderMap,
        decision: &Decision,
        known: Known<'a>,
    ) -> Option<Found<'a>> {
        let Verdict::Deny(reason) = decision.verdict() else { return None };
        let (verifier, policy) = (&self.snapshot.verifier, &self.snapshot.policy);
        let token = || headers::bearer(received).ok().flatten();
        match reason {
            Reason::TokenInvalid => {
                let Origin { iss, aud, kid } = found::origin(token()?);
                let is_empty = iss.is_none() && aud.is_empty() && kid.is_none();
                (!is_empty).then(|| Found { iss, aud, kid, ..Found::default() })
            }
            // The token was verified: its tenant is.
            Reason::PartnerUnlisted => {
                Some(Found { tenant: Some(verifier.named_tenant(token()?)?), ..Found::default() })
            }
            Reason::RoleMissing => {
                let identified = known.identified?;
                let accepted = decision.decisive().and_then(|finding| policy.rules[finding.rule].roles);
                Some(Found {
                    roles: policy.roles.of(identified.caller.roles).collect(),
                    unmatched: token().map_or_else(Vec::new, |token| verifier.unmatched_roles(token)),
                    accepted: policy.roles.of(accepted.unwrap_or(NameSet::EMPTY)).collect(),
                    incomplete: identified.claims.roles.is_incomplete,
                    ..Found::default()
                })
            }
            _ => None,
        }
    }

    /// True where answers to an operation tell of acceptances.
    pub fn teaches(&self, operation: OperationId) -> bool {
        self.snapshot.policy.learning[operation.index()].is_some()
    }

    /// The `MS-RequestId` upstream of a request whose answer teaches. A retry of the very request has the same one, so
    /// that the upstream still knows it; no other request has.
    pub fn taught_id(&self, parts: &Parts, body: &Outgoing, known: Known<'_>) -> HeaderValue {
        let key = &self.worker.shared.id_key;
        let given = parts.headers.get(MS_REQUEST_ID).map_or(&b""[..], HeaderValue::as_bytes);
        let id = match (body, known.identified) {
            (Outgoing::Whole(bytes), Some(identified)) => {
                let partner = identified.caller.partner.tenant.text();
                let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
                let parts = [partner.as_str(), parts.method.as_str(), target].map(str::as_bytes);
                key.of_request([parts[0], given, parts[1], parts[2], bytes])
            }
            _ => key.of_decision(&self.id),
        };
        HeaderValue::from_str(id.as_str()).expect("a GUID is plain text")
    }

    /// The verified partner and roles, as headers. Callers send many requests in a row: those of the last one are kept.
    pub fn identity_headers(&self, identified: &Identified) -> (HeaderValue, HeaderValue) {
        let key = (identified.caller.partner.tenant, identified.caller.roles, self.snapshot.generation);
        let mut last = self.worker.last_identity.borrow_mut();
        match &*last {
            Some((known, partner, roles)) if *known == key => (partner.clone(), roles.clone()),
            _ => {
                let roles: Vec<&str> = self.snapshot.policy.roles.of(key.1).collect();
                let partner = HeaderValue::from_str(key.0.text().as_str()).expect("a GUID is plain text");
                let roles = HeaderValue::from_str(&roles.join(",")).unwrap_or(HeaderValue::from_static(""));
                *last = Some((key, partner.clone(), roles.clone()));
                (partner, roles)
            }
        }
    }
}
