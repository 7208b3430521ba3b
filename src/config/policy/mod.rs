//! The `policy` section: presets, overrides by name, and their compilation into a policy.

mod compile;
mod learning;
mod listed;
mod merge;
mod names;
mod operations;
mod places;
mod rules;
mod shapes;
mod waivers;

use jiff::Timestamp;

pub use names::{PartnerEntry, PartnerFacts};
pub use rules::country;
pub use waivers::partner_ref;

use crate::config::node::{Node, Value};
use crate::config::problem::Span;
use crate::config::read::{Reader, quoted};
use crate::policy::Policy;
use crate::policy::role::{NameSet, NameTable};

/// The presets of the binary, by name; the first is the default.
pub const PRESETS: [(&str, &str); 3] = [
    ("csp-2026", include_str!("../../../config/presets/csp-2026.yaml")),
    ("csp-2020", include_str!("../../../config/presets/csp-2020.yaml")),
    ("partner-center", include_str!("../../../config/presets/partner-center.yaml")),
];

/// A policy with the text it was made of.
#[derive(Clone, Debug)]
pub struct CompiledPolicy {
    /// The policy.
    pub policy: Policy,
    /// Presets and overrides merged: what is in force, for the record.
    pub effective: serde_json::Value,
}

/// Reads and compiles the `policy` section. `roles` and `partners` come from other sections: rules name roles, and an
/// active rule may ask only what every partner entry has.
pub fn read(
    reader: &Reader,
    section: Option<&Node>,
    roles: NameTable,
    partners: &PartnerFacts,
    now: Timestamp,
) -> Option<CompiledPolicy> {
    let nowhere = Node { span: Span::at(0, 1, 1), value: Value::Map(Vec::new()) };
    let own = section.unwrap_or(&nowhere);
    let preset = own.get("preset").map_or(Some(Some(PRESETS[0].0)), |node| preset_name(reader, node))?;
    let mut merged = Node { span: own.span, value: Value::Map(Vec::new()) };
    if let Some(name) = preset {
        merge::merge(reader, &mut merged, &preset_tree(reader, name));
    }
    merge::merge(reader, &mut merged, own);
    let policy = compile::compile(reader, own, &merged, roles, partners, now)?;
    Some(CompiledPolicy { policy, effective: merged.to_json() })
}

fn preset_name(reader: &Reader, node: &Node) -> Option<Option<&'static str>> {
    let names = [PRESETS[0].0, PRESETS[1].0, "none"];
    let parse = |text: &str| match text {
        "none" => Some(None),
        _ => PRESETS[..2].iter().find(|(name, _)| *name == text).map(|(name, _)| Some(*name)),
    };
    match &node.value {
        Value::Text(text) if parse(text).is_some() => parse(text),
        _ => {
            reader.error(node.span, format!("unknown preset, expected one of {}", quoted(&names)), None);
            None
        }
    }
}

/// A preset with what it includes.
fn preset_tree(reader: &Reader, name: &str) -> Node {
    let text = PRESETS.iter().find(|(known, _)| *known == name).expect("the name of a preset").1;
    let source = reader.add_source(std::path::Path::new(&format!("<preset {name}>")), text);
    let tree = Node::parse(text, source, &std::collections::HashMap::new()).expect("a preset is YAML");
    match tree.get("include").map(|node| &node.value) {
        Some(Value::Text(included)) => {
            let mut merged = preset_tree(reader, included);
            merge::merge(reader, &mut merged, &tree);
            merged
        }
        _ => tree,
    }
}

/// The roles of a partner entry.
pub fn role_set(reader: &Reader, node: &Node, roles: &NameTable) -> Option<NameSet> {
    rules::set(reader, node, roles, "role")
}
