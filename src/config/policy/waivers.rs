//! Waivers: dated exceptions to one rule for one party.

use jiff::{SignedDuration, Timestamp};

use crate::config::node::Node;
use crate::config::read::{Reader, did_you_mean};
use crate::policy::agreement::PartyKind;
use crate::policy::id::PartnerRef;
use crate::policy::rule::{Rule, Waived, Waiver};

/// The furthest ahead that a waiver may end.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Reads one waiver; one that has ended is a warning and nothing else.
pub fn waiver(reader: &Reader, node: &Node, rules: &[Rule], now: Timestamp) -> Option<Waiver> {
    let section = reader.section(node)?;
    let partner = section.get("partner", |node| reader.guid(node));
    let customer = section.get("customer", |node| reader.guid(node));
    let reseller = section.get("reseller", |node| partner_ref(reader, node));
    let rule = section.require("rule", |node| {
        let name = reader.text(node)?;
        let found = rules.iter().position(|rule| rule.name == name);
        if found.is_none() {
            let hint = did_you_mean(&name, rules.iter().map(|rule| rule.name.as_str()));
            reader.error(node.span, format!("unknown rule `{name}`"), hint);
        }
        found
    });
    let reason = section.require("reason", |node| reader.text(node));
    let ticket = section.require("ticket", |node| reader.text(node));
    let until_node = section.node("until");
    let until = section.require("until", |node| reader.time(node));
    section.finish();

    let (rule, reason, ticket, until) = (rule?, reason?, ticket?, until?);
    let party = match (partner, customer, reseller) {
        (Some(tenant), None, None) => Waived::Partner(tenant),
        (Some(partner), Some(customer), None) => Waived::Customer { customer, partner },
        (None, None, Some(reseller)) => Waived::Reseller(reseller),
        _ => {
            let hint = "`partner` alone, `reseller` alone, or `customer` with `partner`".to_owned();
            reader.error(node.span, "a waiver names one party", Some(hint));
            return None;
        }
    };
    let of = rules[rule].requires.as_ref().map(|requirement| requirement.of);
    let fits = match party {
        Waived::Customer { .. } => of == Some(PartyKind::Customer),
        Waived::Reseller(_) => of == Some(PartyKind::Reseller),
        // A reseller rule may ask the billing partner itself, where an order names it.
        Waived::Partner(_) => of != Some(PartyKind::Customer) || rules[rule].roles.is_some(),
    };
    if !fits {
        let of = of.map_or("the caller's roles".to_owned(), |of| format!("an agreement of the {of}"));
        let message = format!("the waiver can not apply: rule `{}` asks {of}", rules[rule].name);
        reader.error(node.span, message, Some("name the party that the rule asks".to_owned()));
        return None;
    }
    let span = until_node.map_or(node.span, |node| node.span);
    if until.duration_since(now) > AHEAD_MAX {
        reader.error(span, "a waiver ends at most 90 days ahead", None);
        return None;
    }
    if until <= now {
        reader.warning(span, "the waiver has ended and waives nothing", Some("remove it".to_owned()));
    }
    Some(Waiver { rule, party, reason, ticket, until })
}

/// An MPN id or a tenant id.
pub fn partner_ref(reader: &Reader, node: &Node) -> Option<PartnerRef> {
    let text = reader.text(node)?;
    let parsed = PartnerRef::parse(&text);
    if parsed.is_none() {
        reader.error(node.span, format!("`{text}` is neither an MPN id nor a tenant id"), None);
    }
    parsed
}
