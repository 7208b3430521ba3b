//! The structure that `src/lib.rs` describes, held against the imports of every file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each module of the library with the modules it may import. Arrows point up this list.
const MODULES: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("waiting", &[]),
    ("deadline", &[]),
    ("local", &[]),
    ("mark", &[]),
    ("metrics", &[]),
    ("policy", &[]),
    ("random", &["policy"]),
    ("extract", &["policy"]),
    ("tls", &["mark"]),
    ("fetch", &["mark"]),
    ("service", &["waiting", "mark", "fetch", "metrics", "random"]),
    ("remote", &["waiting", "fetch", "metrics", "policy", "random", "service"]),
    ("resources", &["fetch", "policy", "remote", "service"]),
    ("client", &["deadline", "fetch", "local", "tls"]),
    ("server", &["local", "tls"]),
    ("identity", &["clock", "extract", "fetch", "metrics", "policy", "random"]),
    ("agreements", &["clock", "extract", "fetch", "policy", "random", "remote"]),
    ("judge", &["agreements", "clock", "extract", "policy"]),
    ("audit", &["metrics", "policy"]),
    (
        "proxy",
        &[
            "clock",
            "deadline",
            "mark",
            "metrics",
            "policy",
            "extract",
            "client",
            "server",
            "identity",
            "agreements",
            "audit",
            "resources",
        ],
    ),
    ("admin", &["fetch", "policy"]),
    (
        "config",
        &[
            "mark",
            "policy",
            "extract",
            "tls",
            "fetch",
            "service",
            "remote",
            "client",
            "server",
            "identity",
            "agreements",
            "judge",
            "audit",
            "proxy",
            "admin",
        ],
    ),
    (
        "app",
        &[
            "clock",
            "metrics",
            "policy",
            "tls",
            "service",
            "remote",
            "resources",
            "server",
            "identity",
            "agreements",
            "audit",
            "proxy",
            "admin",
            "config",
        ],
    ),
    ("standin", &[]),
    ("cli", &["mark", "policy", "identity", "judge", "audit", "config", "app", "standin"]),
];

/// The decision core and what feeds it: no clock, no socket, no thread, no file.
const PURE: &[&str] = &["policy", "extract"];

fn files() -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    let relative = |path: PathBuf| {
        (path.strip_prefix(&root).unwrap().to_owned(), std::fs::read_to_string(path).unwrap())
    };
    // `testing.rs` is compiled for unit tests only.
    paths.retain(|path| path.file_name().is_some_and(|name| name != "testing.rs"));
    paths.into_iter().map(relative).collect()
}

/// `proxy/deny.rs` is `proxy::deny`, `proxy/mod.rs` is `proxy`.
fn module_of(path: &Path) -> Vec<String> {
    let mut parts: Vec<String> = path
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// The paths below `crate::` that a text names, braces expanded, tests left out.
fn imports(text: &str) -> BTreeSet<Vec<String>> {
    let code = text.split("#[cfg(test)]").next().unwrap_or(text);
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let line_start = code[..at].rfind('\n').map_or(0, |end| end + 1);
        if code[line_start..at].trim_start().starts_with("//") {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        let path: Vec<String> =
            rest[..end].split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        match rest[end..].strip_prefix('{') {
            Some(list) if rest[..end].ends_with("::") => {
                for item in list.split('}').next().unwrap_or("").split(',') {
                    let mut whole = path.clone();
                    let name = item.trim().split("::").next().unwrap_or("");
                    if name != "self" && !name.is_empty() {
                        whole.push(name.to_owned());
                    }
                    found.insert(whole);
                }
            }
            _ => {
                found.insert(path);
            }
        }
    }
    found
}

#[test]
fn arrows_point_up_the_table_and_every_one_is_used() {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in files() {
        let module = module_of(&path);
        if module[0] == "main" || module[0] == "lib" {
            continue;
        }
        let entry = MODULES.iter().find(|(name, _)| *name == module[0]);
        let (name, allowed) =
            entry.unwrap_or_else(|| panic!("{} is in no module of the table", path.display()));
        for import in imports(&text) {
            let other = import.first().expect("a path below the crate");
            if other != name {
                assert!(allowed.contains(&other.as_str()), "{} imports {other}", path.display());
                used.entry((*name).to_owned()).or_default().insert(other.clone());
            }
        }
    }
    for (name, allowed) in MODULES {
        let position = |wanted: &str| MODULES.iter().position(|(name, _)| *name == wanted).unwrap();
        for other in *allowed {
            assert!(position(other) < position(name), "{name} -> {other} points down");
            assert!(
                used.get(*name).is_some_and(|used| used.contains(*other)),
                "{name} -> {other} is not used"
            );
        }
    }
}

#[test]
fn children_do_not_import_their_mod_rs_and_there_are_no_cycles() {
    let files = files();
    let modules: BTreeSet<Vec<String>> = files.iter().map(|(path, _)| module_of(path)).collect();
    let mut edges: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for (path, text) in &files {
        let own = module_of(path);
        if matches!(own[0].as_str(), "main" | "lib") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap();
        assert!(!code.contains("super::"), "{} speaks of its parent by `super`", path.display());
        for import in imports(text) {
            // The longest prefix that is a file is the file.
            let target = (1..=import.len())
                .rev()
                .map(|end| import[..end].to_vec())
                .find(|prefix| modules.contains(prefix));
            let Some(target) = target else { continue };
            if target == own {
                continue;
            }
            assert!(
                !(own.starts_with(&target) && own.len() > target.len()),
                "{} imports its parent",
                path.display()
            );
            edges.entry(own.clone()).or_default().insert(target);
        }
    }
    fn visit(
        at: &Vec<String>,
        edges: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>,
        path: &mut Vec<Vec<String>>,
        done: &mut BTreeSet<Vec<String>>,
    ) {
        assert!(!path.contains(at), "a cycle: {path:?} -> {at:?}");
        if !done.insert(at.clone()) {
            return;
        }
        path.push(at.clone());
        for next in edges.get(at).into_iter().flatten() {
            visit(next, edges, path, done);
        }
        path.pop();
    }
    let mut done = BTreeSet::new();
    for module in edges.keys() {
        visit(module, &edges, &mut Vec::new(), &mut done);
    }
}

#[test]
fn the_core_is_pure() {
    for (path, text) in files() {
        if !PURE.contains(&module_of(&path)[0].as_str()) {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap();
        for foreign in [
            "std::fs",
            "std::net",
            "std::time",
            "std::thread",
            "tokio",
            "async fn",
            "Timestamp::now",
            "hyper",
            "static ",
        ] {
            let used = code.lines().find(|line| {
                line.contains(foreign) && !line.trim_start().starts_with("//") && !line.contains("&'static ")
            });
            assert_eq!(used, None, "{}: {foreign}", path.display());
        }
    }
}

#[test]
fn the_map_names_every_module_in_order() {
    let map = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let declared: BTreeSet<&str> =
        map.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(declared, MODULES.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>());
    let mut at = 0;
    for (name, _) in MODULES {
        let entry = format!("//! {name} ");
        at += map[at..].find(&entry).unwrap_or_else(|| panic!("`{name}` is missing, or out of order"));
    }
}
