//! Compilation: from the merged tree to a policy indexed by operation.

use jiff::Timestamp;

use crate::config::node::Node;
use crate::config::policy::listed::ShapeNames;
use crate::config::policy::merge::SHARED_KEYS;
use crate::config::policy::names::{Names, PartnerFacts};
use crate::config::policy::operations::Operations;
use crate::config::policy::places::pattern;
use crate::config::policy::{rules, shapes, waivers};
use crate::config::read::Reader;
use crate::policy::condition::Truth;
use crate::policy::product::{ProductPattern, Products};
use crate::policy::reason::UnrecordedStatus;
use crate::policy::role::NameTable;
use crate::policy::rule::{Mode, Rule};
use crate::policy::shape::Unread;
use crate::policy::{Drafts, Options, Policy, Unlisted, UnreadResellers};

/// Compiles a merged tree; `own` is the section as the operator wrote it.
pub fn compile(
    reader: &Reader,
    own: &Node,
    merged: &Node,
    roles: NameTable,
    partners: &PartnerFacts,
    now: Timestamp,
) -> Option<Policy> {
    let section = reader.section(own)?;
    for key in SHARED_KEYS {
        section.node(key);
    }
    section.node("preset");
    let mode = section.get("mode", |node| reader.choice(node, parse_cap, &["enforce", "shadow"]));
    let unlisted =
        section.get("unlisted", |node| reader.choice(node, Unlisted::parse, &["purchase", "deny", "allow"]));
    let options = section.get("options", |node| reader.choice(node, Options::parse, &["deny", "allow"]));
    let drafts = section.get("drafts", |node| reader.choice(node, Drafts::parse, &["enforce", "notice"]));
    let unread_resellers = section.get("unread_resellers", |node| {
        reader.choice(node, UnreadResellers::parse, &["deny", "notice", "allow"])
    });
    let unread_reactivation = section.get("unread_reactivation", |node| {
        let parse = |text: &str| match text {
            "increase" => Some(Unread::Strict),
            "administration" => Some(Unread::Notice),
            _ => None,
        };
        reader.choice(node, parse, &["increase", "administration"])
    });
    let waivers_node = section.node("waivers");
    section.finish();

    let cap = mode.unwrap_or(Mode::Enforce);
    let products = products(reader, merged.get("products"));
    let lists = shapes::lists(reader, merged.get("lists"));
    let shape_names = ShapeNames {
        product_classes: &products.classes,
        lists: &lists,
        unread_reactivation: unread_reactivation.unwrap_or(Unread::Strict),
    };
    let Operations { listed, endpoints, router, learning } =
        Operations::read(reader, merged.get("operations"), merged.get("customer_paths"), shape_names);
    let operations = listed.operations;
    let agreements = rules::agreements(reader, merged.get("agreements"));
    let names = Names {
        operations: &operations,
        product_classes: &products.classes,
        roles: &roles,
        labels: &partners.labels,
        agreements: &agreements,
    };
    let mut rules: Vec<Rule> = Vec::new();
    if let Some(node) = merged.get("rules") {
        reader.list(node, |item| {
            rules.extend(rules::rule(reader, item, &names, partners, cap));
            Some(())
        });
    }
    let list = |name| merged.get(name).and_then(|node| reader.list(node, |item| reader.text(item)));
    let customer_members = list("customer_members").unwrap_or_default();
    let reseller_members = merged.get("reseller_members").and_then(|node| {
        reader.list(node, |item| {
            let pattern = pattern(reader, item)?;
            if pattern.steps.is_empty() {
                reader.error(item.span, "expected a member such as `**/partnerIdOnRecord`", None);
                return None;
            }
            Some(pattern)
        })
    });
    let waivers =
        waivers_node.and_then(|node| reader.list(node, |item| waivers::waiver(reader, item, &rules, now)));
    if reader.failed() {
        return None;
    }
    let rules_of = operations
        .iter()
        .enumerate()
        .map(|(at, operation)| {
            let id = crate::policy::operation::OperationId(at as u16);
            let applies = |rule: &Rule| {
                let gated = operation.class.is_gated() || rule.requires.is_none();
                rule.mode != Mode::Off && gated && rule.when.of_operation(id, operation.class) != Truth::False
            };
            (0..rules.len()).filter(|rule| applies(&rules[*rule])).collect()
        })
        .collect();
    for (_, learning) in &learning {
        if !agreements.iter().any(|info| info.name == learning.agreement) {
            let message =
                format!("`learns` names the agreement `{}`, which is not known", learning.agreement);
            reader.error(own.span, message, None);
            return None;
        }
    }
    let mut learnt = vec![None; operations.len()];
    for (operation, learning) in learning {
        learnt[operation.index()] = Some(learning);
    }
    Some(Policy {
        operations,
        endpoints,
        router,
        products,
        reseller_members: reseller_members.unwrap_or_default(),
        customer_members,
        rules,
        rules_of,
        waivers: waivers.unwrap_or_default(),
        unlisted: unlisted.unwrap_or(Unlisted::Purchase),
        options: options.unwrap_or(Options::Deny),
        drafts: drafts.unwrap_or(Drafts::Enforce),
        unread_resellers: unread_resellers.unwrap_or(UnreadResellers::Notice),
        // A key of the section `agreements`, which is read later.
        unrecorded_status: UnrecordedStatus::Conflict,
        learning: learnt,
        shadow: cap == Mode::Shadow,
        roles,
        labels: partners.labels.clone(),
        agreements,
        tenants: partners.tenants.clone(),
        mpn_ids: partners.mpn_ids.clone(),
    })
}

fn parse_cap(text: &str) -> Option<Mode> {
    Mode::parse(text).filter(|mode| *mode != Mode::Off)
}

fn products(reader: &Reader, node: Option<&Node>) -> Products {
    let mut products = Products::default();
    let Some(entries) = node.and_then(|node| reader.map(node)) else { return products };
    for (key, value) in entries {
        let Some(class) = products.classes.intern(&key.text) else {
            reader.error(key.span, "there are more than 64 product classes", None);
            return products;
        };
        reader.list(value, |item| {
            let text = reader.text(item)?;
            match ProductPattern::parse(&text) {
                Some(pattern) => products.patterns.push((class, pattern)),
                None => {
                    let hint = "`ProductId`, `ProductId:SkuId`, `PREFIX*` or `<guid>`".to_owned();
                    reader.error(item.span, format!("`{text}` names no product"), Some(hint));
                }
            }
            Some(())
        });
    }
    products
}
