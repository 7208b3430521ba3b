//! Rules: from configuration to typed conditions and requirements.

use crate::config::node::{Node, Value};
use crate::config::policy::names::{Names, PartnerFacts};
use crate::config::problem::Span;
use crate::config::read::{Reader, did_you_mean, quoted};
use crate::policy::AgreementInfo;
use crate::policy::agreement::{Cloud, MCA, MPA, PartyKind, Region, STANDING};
use crate::policy::condition::When;
use crate::policy::facts::{Country, PartnerKind};
use crate::policy::id::Name;
use crate::policy::operation::{Class, ClassSet, OperationId};
use crate::policy::role::{NameSet, NameTable};
use crate::policy::rule::{Mode, OnUnknown, Requirement, Rule, Undated};

/// A role that the caller lacks: Partner Center's "does not have the role" code.
const ROLE_CODE: u32 = 900_150;

/// Reads one rule. `cap` is the most that `policy.mode` lets it count.
pub fn rule(
    reader: &Reader,
    node: &Node,
    names: &Names<'_>,
    partners: &PartnerFacts,
    cap: Mode,
) -> Option<Rule> {
    let section = reader.section(node)?;
    let name = section.require("name", |node| reader.text(node));
    let when = section.get("when", |node| when(reader, node, names));
    let has_when = section.node("when").is_some();
    let requires = section.get("requires", |node| requirement(reader, node, names.agreements));
    let asks_agreement = section.node("requires").is_some();
    let roles = section.get("roles", |node| set(reader, node, names.roles, "role"));
    let asks_roles = section.node("roles").is_some();
    let announce_from = section.get("announce_from", |node| reader.time(node));
    let enforce_from = section.get("enforce_from", |node| reader.time(node));
    let mode = section.get("mode", |node| reader.choice(node, Mode::parse, &["enforce", "shadow", "off"]));
    let on_unknown =
        section.get("on_unknown", |node| reader.choice(node, OnUnknown::parse, &["deny", "allow"]));
    let code = section.get("code", |node| reader.number(node, 1..=9_999_999));
    section.finish();

    let name = name?;
    if !asks_agreement && !asks_roles {
        let message = format!("rule `{name}` asks nothing, expected `requires` or `roles`");
        reader.error(node.span, message, None);
        return None;
    }
    if let (Some(announce), Some(enforce)) = (announce_from, enforce_from)
        && announce > enforce
    {
        reader.error(node.span, format!("rule `{name}` is announced after it is enforced"), None);
        return None;
    }
    let when = if has_when { when? } else { When::default() };
    let requires = if asks_agreement { Some(requires?) } else { None };
    let roles = if asks_roles { Some(roles?) } else { None };
    if requires.is_some() {
        gated_only(reader, node.span, &name, &when, names);
    }
    let mode = match (mode.unwrap_or(Mode::Enforce), cap) {
        (Mode::Off, _) => Mode::Off,
        (_, Mode::Shadow) => Mode::Shadow,
        (mode, _) => mode,
    };
    if mode != Mode::Off {
        partners.check(reader, &name, &when);
    }
    let code = code.map(|code| code as u32).unwrap_or_else(|| match &requires {
        Some(requirement) => default_code(requirement, names.agreements),
        None => ROLE_CODE,
    });
    let on_unknown = on_unknown.unwrap_or(OnUnknown::Deny);
    Some(Rule { name, when, requires, roles, announce_from, enforce_from, mode, on_unknown, code })
}

/// What lifts a block, ends a purchase or only reads must pass without any agreement.
fn gated_only(reader: &Reader, span: Span, rule: &str, when: &When, names: &Names<'_>) {
    let ungated = Class::ALL.iter().filter(|class| !class.is_gated());
    for class in ungated {
        if when.classes.is_some_and(|classes| classes.holds(*class)) {
            let message =
                format!("rule `{rule}` requires an agreement for class `{class}`, which is never gated");
            reader.error(span, message, None);
        }
    }
    for operation in when.operations.iter().flatten() {
        let operation = &names.operations[operation.index()];
        if !operation.class.is_gated() {
            let message = format!(
                "rule `{rule}` requires an agreement for `{}`, whose class `{}` is never gated",
                operation.name, operation.class
            );
            reader.error(span, message, None);
        }
    }
}

fn default_code(requirement: &Requirement, agreements: &[AgreementInfo]) -> u32 {
    match (requirement.agreement, requirement.of) {
        (MPA, PartyKind::Partner) => 900_124,
        (MPA, PartyKind::Reseller) => 900_123,
        (MCA, PartyKind::Customer) => 13_605,
        (agreement, _) => agreements.iter().find(|info| info.name == agreement).map_or(0, |info| info.code),
    }
}

fn when(reader: &Reader, node: &Node, names: &Names<'_>) -> Option<When> {
    let section = reader.section(node)?;
    let operations = section.get("operation", |node| {
        reader.list(node, |item| {
            let name = reader.text(item)?;
            let found = names.operations.iter().position(|operation| operation.name == name);
            if found.is_none() {
                let known = names.operations.iter().map(|operation| operation.name.as_str());
                reader.error(item.span, format!("unknown operation `{name}`"), did_you_mean(&name, known));
            }
            found.map(|at| OperationId(at as u16))
        })
    });
    let classes = section.get("class", |node| {
        let known: Vec<&str> = Class::ALL.iter().map(|class| class.as_str()).collect();
        let classes = reader.list(node, |item| reader.choice(item, Class::parse, &known))?;
        Some(classes.into_iter().fold(ClassSet::default(), ClassSet::with))
    });
    let product_classes =
        section.get("product_class", |node| set(reader, node, names.product_classes, "product class"));
    let partner_kinds = section.get("partner_kind", |node| {
        let known: Vec<&str> = PartnerKind::ALL.iter().map(|kind| kind.as_str()).collect();
        reader.list(node, |item| reader.choice(item, PartnerKind::parse, &known))
    });
    let labels = section.get("label", |node| {
        let mut labels = NameSet::EMPTY;
        for label in reader.list(node, |item| reader.text(item))? {
            // A label that no partner carries is fine: a wave may be empty, nobody may be a sandbox.
            labels = labels.union(names.labels.find(&label).unwrap_or(NameSet::EMPTY));
        }
        Some(labels)
    });
    let clouds = section.get("cloud", |node| {
        let known: Vec<&str> = Cloud::ALL.iter().map(|cloud| cloud.as_str()).collect();
        reader.list(node, |item| reader.choice(item, Cloud::parse, &known))
    });
    let countries = section.get("country", |node| reader.list(node, |item| country(reader, item)));
    let regions = section.get("region", |node| {
        let known: Vec<&str> = Region::ALL.iter().map(|region| region.as_str()).collect();
        reader.list(node, |item| reader.choice(item, Region::parse, &known))
    });
    let roles = section.get("role", |node| set(reader, node, names.roles, "role"));
    let reseller = section.get("reseller_present", |node| reader.flag(node));
    let not = section.get("not", |node| reader.list(node, |item| when(reader, item, names)));
    let given = |name| section.node(name).is_some();
    // A condition that could not be read must not leave a rule that asks less.
    let unread = (given("operation") && operations.is_none())
        || (given("class") && classes.is_none())
        || (given("product_class") && product_classes.is_none())
        || (given("partner_kind") && partner_kinds.is_none())
        || (given("label") && labels.is_none())
        || (given("cloud") && clouds.is_none())
        || (given("country") && countries.is_none())
        || (given("region") && regions.is_none())
        || (given("role") && roles.is_none())
        || (given("reseller_present") && reseller.is_none())
        || (given("not") && not.is_none());
    section.finish();
    if unread {
        return None;
    }
    Some(When {
        operations,
        classes,
        product_classes,
        partner_kinds,
        labels,
        clouds,
        countries,
        regions,
        roles,
        reseller,
        not: not.unwrap_or_default(),
    })
}

/// A country.
pub fn country(reader: &Reader, node: &Node) -> Option<Country> {
    let parsed = match &node.value {
        Value::Text(text) => Country::parse(text),
        _ => None,
    };
    if parsed.is_none() {
        reader.error(node.span, "expected a country of two letters such as `FR` (ISO 3166-1)", None);
    }
    parsed
}

/// Names of a table, as a set.
pub fn set(reader: &Reader, node: &Node, table: &NameTable, what: &str) -> Option<NameSet> {
    let sets = reader.list(node, |item| {
        let name = reader.text(item)?;
        let found = table.find(&name);
        if found.is_none() {
            let known: Vec<&str> = table.names().iter().map(String::as_str).collect();
            let hint = did_you_mean(&name, known.iter().copied())
                .unwrap_or_else(|| format!("known: {}", quoted(&known)));
            reader.error(item.span, format!("unknown {what} `{name}`"), Some(hint));
        }
        found
    })?;
    Some(sets.into_iter().fold(NameSet::EMPTY, NameSet::union))
}

fn requirement(reader: &Reader, node: &Node, agreements: &[AgreementInfo]) -> Option<Requirement> {
    let section = reader.section(node)?;
    let agreement = section.require("agreement", |node| {
        let name = reader.text(node)?;
        let found = agreements.iter().find(|info| info.name.as_str() == name).map(|info| info.name);
        if found.is_none() {
            let known: Vec<&str> = agreements.iter().map(|info| info.name.as_str()).collect();
            let hint = did_you_mean(&name, known.iter().copied())
                .unwrap_or_else(|| format!("known: {}", quoted(&known)));
            reader.error(node.span, format!("unknown agreement `{name}`"), Some(hint));
        }
        found
    });
    let of = section
        .require("of", |node| reader.choice(node, PartyKind::parse, &["partner", "reseller", "customer"]));
    let accepted_since = section.get("accepted_since", |node| reader.time(node));
    let dated = section.node("accepted_since").is_some();
    let undated = section.get("undated", |node| reader.choice(node, Undated::parse, &["accept", "unknown"]));
    section.finish();
    if dated && accepted_since.is_none() {
        return None;
    }
    Some(Requirement {
        agreement: agreement?,
        of: of?,
        accepted_since,
        undated: undated.unwrap_or(Undated::Unknown),
    })
}

/// The agreements that rules may name: those built in, and those that configuration adds. Those built in keep their doubt
/// codes (Partner Center, "Partner Center REST error codes") where none are given; another one is doubted by its `code`.
pub fn agreements(reader: &Reader, node: Option<&Node>) -> Vec<AgreementInfo> {
    let mut known = vec![
        AgreementInfo {
            name: MPA,
            code: 900_124,
            action: None,
            doubt_codes: vec![(PartyKind::Partner, 900_124), (PartyKind::Reseller, 900_123)],
        },
        AgreementInfo {
            name: MCA,
            code: 13_605,
            action: None,
            doubt_codes: vec![(PartyKind::Customer, 13_605)],
        },
        AgreementInfo {
            name: STANDING,
            code: 900_400,
            action: None,
            doubt_codes: vec![(PartyKind::Reseller, 900_400)],
        },
    ];
    let Some(node) = node else { return known };
    reader.list(node, |item| {
        let section = reader.section(item)?;
        let name = section.require("name", |node| {
            let name = reader.text(node)?;
            let parsed = Name::new(&name);
            if parsed.is_none() {
                reader.error(node.span, format!("`{name}` is no name: 1 to 23 of a-z, 0-9, `-`, `_`"), None);
            }
            parsed
        });
        let code = section.get("code", |node| reader.number(node, 0..=9_999_999)).unwrap_or(0) as u32;
        let action = section.get("action", |node| reader.text(node));
        let doubt_codes = section.get("doubt_codes", |node| doubt_codes(reader, node));
        section.finish();
        let name = name?;
        let at = known.iter().position(|info| info.name == name);
        let doubt_codes = doubt_codes.unwrap_or_else(|| match at {
            Some(at) => known[at].doubt_codes.clone(),
            None if code == 0 => Vec::new(),
            None => PartyKind::ALL.iter().map(|kind| (*kind, code)).collect(),
        });
        let info = AgreementInfo { name, code, action, doubt_codes };
        match at {
            Some(at) => known[at] = info,
            None => known.push(info),
        }
        Some(())
    });
    known
}

/// Reads `doubt_codes`: for each kind of party, the upstream's codes about it.
fn doubt_codes(reader: &Reader, node: &Node) -> Option<Vec<(PartyKind, u32)>> {
    let section = reader.section(node)?;
    let mut codes = Vec::new();
    for kind in PartyKind::ALL {
        let read =
            section.get(kind.as_str(), |node| reader.list(node, |item| reader.number(item, 1..=9_999_999)));
        codes.extend(read.into_iter().flatten().map(|code| (*kind, code as u32)));
    }
    section.finish();
    Some(codes)
}
