//! Resources: where they are read before they are judged, and as whom.

use std::sync::Arc;

use rustls::ClientConfig;

use crate::agreements::cache::LEARNED;
use crate::client::identity_of;
use crate::config::agreements::Agreements;
use crate::config::network::Upstream;
use crate::config::policy::{PartnerEntry, PartnerFacts};
use crate::config::problem::Span;
use crate::config::read::Reader;
use crate::config::sources::Kind;
use crate::policy::facts::PartnerKind;
use crate::policy::id::{Guid, Name};
use crate::policy::{Drafts, Policy, UnreadResellers};
use crate::remote::client;
use crate::remote::guard::Limits;
use crate::tls;

/// Half for one caller: each reading comes with a purchase of its own.
const CALLER_SHARE: u8 = 50;
/// Microsoft's own number of questions a minute is 500, which look-ups and purchases share.
const PER_MINUTE: u32 = 200;

/// Where resources are read, and as whom.
#[derive(Clone, Debug)]
pub struct Reads {
    /// The source whose identity it is.
    pub source: Name,
    /// The billing partner of that identity.
    pub partner: Guid,
    /// How the upstream is asked.
    pub remote: client::Settings,
    /// Whom to trust there.
    pub trust: Arc<ClientConfig>,
}

/// What `upstream.reads` comes to. Without it, operations that would have to be read are told of.
pub fn reads(
    reader: &Reader,
    span: Span,
    upstream: &Upstream,
    agreements: &Agreements,
    policy: &Policy,
    partners: &PartnerFacts,
) -> Option<Reads> {
    let Some(wanted) = upstream.reads else {
        if policy.drafts == Drafts::Notice {
            let hint = "add `upstream.reads`, or leave drafts enforced".to_owned();
            reader.error(
                span,
                "`policy.drafts: notice` leaves the cart to its checkout, which can not read it",
                Some(hint),
            );
        }
        let unread = policy.endpoints.iter().filter(|endpoint| endpoint.reads.is_some()).count();
        if unread > 0 {
            let message =
                format!("{unread} operations show what they do only beside the resource that they are about");
            let hint =
                "the strictest reading holds; name a source in `upstream.reads` to have it read".to_owned();
            reader.warning(span, message, Some(hint));
        }
        let provider = partners.entries.iter().find(|entry| entry.kind == PartnerKind::IndirectProvider);
        if let Some(provider) = provider
            && unread > 0
            && policy.unread_resellers != UnreadResellers::Deny
        {
            let hint = "name a source in `upstream.reads`, or set `policy.unread_resellers: deny`".to_owned();
            let message = "the resellers that this provider's subscriptions, orders and transfers name are not read: \
                           a change that does not name them passes without their agreements";
            reader.warning(provider.span, message, Some(hint));
        }
        return None;
    };
    let is_billed = |entry: &&PartnerEntry| entry.kind != PartnerKind::IndirectReseller;
    if upstream.billing_partner.is_none() && partners.entries.iter().filter(is_billed).count() > 1 {
        let message =
            format!("reads are made as {}: what other partners are billed for is not read", &wanted.source);
        let hint =
            "`policy.unread_resellers` decides on it; or run one process for each billing partner".to_owned();
        reader.warning(wanted.span, message, Some(hint));
    }
    // Only the billing partner's own resellers come through another partner.
    let is_nameless = |entry: &&PartnerEntry| entry.kind == PartnerKind::IndirectReseller && !entry.has_mpn;
    let nameless: Vec<&PartnerEntry> = partners.entries.iter().filter(is_nameless).collect();
    if let (Some(first), true) = (nameless.first(), upstream.billing_partner.is_some()) {
        let who = match nameless.len() {
            1 => "1 reseller has".to_owned(),
            count => format!("{count} resellers have"),
        };
        let message =
            format!("{who} no `mpn_id`: what names them by it is taken for another's, and answered 503");
        reader.warning(
            first.span,
            message,
            Some("add `mpn_id`, or `mpn_ids` where there are several".to_owned()),
        );
    }
    let (name, at) = (wanted.source, wanted.span);
    let source = agreements.remotes.iter().find(|remote| remote.name == name);
    let Some((source, partner)) = source.and_then(|source| match &source.kind {
        Kind::PartnerCenter(settings, _) => Some((source, settings.partner)),
        Kind::Http(_) => None,
    }) else {
        let hint = "one of type `partner_center` under `agreements.sources`".to_owned();
        reader.error(at, format!("`{name}` is no source with an identity"), Some(hint));
        return None;
    };
    let trust = tls::client::load(&upstream.tls);
    let trust = trust.map_err(|why| reader.error(at, why, None)).ok()?;
    // Apart from the source's own: an upstream that is down says nothing of the source, nor the other way round.
    let remote = client::Settings {
        // No source can have this name.
        name: LEARNED.to_string(),
        url: upstream.endpoint.clone(),
        authorities: Some(identity_of(&upstream.tls).ok()?),
        limits: Limits {
            per_minute: wanted.per_minute.unwrap_or(PER_MINUTE),
            share_percent: wanted
                .share_percent
                .unwrap_or(CALLER_SHARE.max(source.remote.limits.share_percent)),
            ..source.remote.limits
        },
        timeout: wanted.timeout.unwrap_or(source.remote.timeout),
        ..source.remote.clone()
    };
    Some(Reads { source: name, partner, remote, trust })
}
