//! The section `messages`: texts of the binary, and those that the operator adds.

use std::collections::HashMap;
use std::path::Path;

use crate::config::node::{Node, Value};
use crate::config::read::{Reader, Section, did_you_mean, read_text};
use crate::proxy::messages::{Catalogue, FALLBACK, Texts};

/// The languages of the binary.
const BUILT_IN: [(&str, &str); 4] = [
    // English first: the keys of the others are held against it.
    ("en", include_str!("../../config/messages/en.yaml")),
    ("de", include_str!("../../config/messages/de.yaml")),
    ("es", include_str!("../../config/messages/es.yaml")),
    ("fr", include_str!("../../config/messages/fr.yaml")),
];

/// Reads `messages`.
pub fn catalogue(section: &Section<'_>, folder: &Path) -> Option<Catalogue> {
    let reader = section.reader();
    let mut catalogue = Catalogue { default: FALLBACK.to_owned(), ..Catalogue::default() };
    for (name, text) in BUILT_IN {
        let source = reader.add_source(Path::new(&format!("<messages {name}>")), text);
        let tree = Node::parse(text, source, &HashMap::new()).expect("built-in messages are YAML");
        language(reader, &tree, &mut catalogue);
    }
    section.get("directory", |node| {
        let directory = folder.join(reader.text(node)?);
        let files = match std::fs::read_dir(&directory) {
            Ok(files) => files,
            Err(error) => {
                reader.error(node.span, format!("can not read {}: {error}", directory.display()), None);
                return None;
            }
        };
        let mut paths: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        paths.sort();
        for path in paths {
            let tree = read_text(&path).map_err(|error| (None, error)).and_then(|text| {
                let source = reader.add_source(&path, &text);
                Node::parse(&text, source, &HashMap::new())
            });
            match tree {
                Ok(tree) => language(reader, &tree, &mut catalogue),
                Err((span, message)) => {
                    reader.error(span.unwrap_or(node.span), format!("{}: {message}", path.display()), None);
                }
            }
        }
        Some(())
    });
    section.get("default", |node| {
        let name = reader.text(node)?.to_ascii_lowercase();
        if !catalogue.languages.contains_key(&name) {
            let known = catalogue.languages.keys().map(String::as_str);
            reader.error(node.span, format!("there are no texts in `{name}`"), did_you_mean(&name, known));
        }
        catalogue.default = name;
        Some(())
    });
    Some(catalogue)
}

/// Lays the texts of one file over what is known of its language.
fn language(reader: &Reader, tree: &Node, catalogue: &mut Catalogue) {
    let Some(entries) = reader.map(tree) else { return };
    let Some(Value::Text(name)) = tree.get("language").map(|node| &node.value) else {
        reader.error(tree.span, "missing key `language`", Some("such as `language: nl`".to_owned()));
        return;
    };
    let known: Option<Texts> = catalogue.languages.get(FALLBACK).cloned();
    let texts = catalogue.languages.entry(name.to_ascii_lowercase()).or_default();
    for (key, value) in entries.iter().filter(|(key, _)| key.text != "language") {
        // Agreements have the names that configuration gives them; every other key is one of the English file.
        let is_known = key.text.starts_with("agreement.")
            || known.as_ref().is_none_or(|known| known.contains_key(&key.text));
        if !is_known {
            let names = known.iter().flat_map(|known| known.keys().map(String::as_str));
            reader.error(
                key.span,
                format!("no text is named `{}`", key.text),
                did_you_mean(&key.text, names),
            );
            continue;
        }
        if let Some(text) = reader.text(value) {
            texts.insert(key.text.clone(), text);
        }
    }
}
