//! Servers that the control runtime asks: where they are, and whom to trust that they are.

use std::path::{Path, PathBuf};

use crate::config::read::{Section, read_text, resolve};
use crate::fetch::Endpoint;
use crate::tls;

/// Reads a URL.
pub fn endpoint(section: &Section<'_>, name: &'static str, insecure_plaintext: bool) -> Option<Endpoint> {
    let reader = section.reader();
    section.get(name, |node| {
        let endpoint = Endpoint::parse(&reader.text(node)?, insecure_plaintext);
        let hint = || Some("https, or `insecure_plaintext: true` where nobody can come between".to_owned());
        endpoint.map_err(|why| reader.error(node.span, why, hint())).ok()
    })
}

/// Reads `ca_file`: its path and text, or neither where it is absent. `None` where it is wrong.
pub fn authorities(section: &Section<'_>, folder: &Path) -> Option<Option<(PathBuf, String)>> {
    let reader = section.reader();
    let Some(node) = section.node("ca_file") else { return Some(None) };
    let path = resolve(folder, &reader.text(node)?);
    let text = read_text(&path).map_err(|why| format!("can not read {}: {why}", path.display()));
    let text = text.and_then(|text| tls::files::certificates(&path).map(|_| text));
    match text {
        Ok(text) => {
            // Other authorities are another configuration.
            reader.add_source(&path, &text);
            Some(Some((path, text)))
        }
        Err(why) => {
            reader.error(node.span, why, None);
            None
        }
    }
}
