//! The member `data` of a fault: one text for each finding, since SDKs keep nothing else of the findings.

use std::collections::HashMap;
use std::fmt::Write;

use crate::policy::decision::LineSet;
use crate::policy::facts::Line;
use crate::proxy::messages::Language;

/// The most texts; where there would be more, the last says how many findings are left out.
pub const TEXTS_MAX: usize = 32;
/// The most bytes of all texts together, in UTF-8 and before JSON escapes anything.
pub const BYTES_MAX: usize = 16 * 1024;
/// The most lines that one text names, and how long their pointers may be together.
const LINES_TOLD_MAX: usize = 16;
const POINTERS_BYTES_MAX: usize = 512;

/// A finding in the caller's language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What was found.
    pub what: String,
    /// The lines that it is about.
    pub lines: LineSet,
    /// Who can act.
    pub who: String,
    /// Where.
    pub action: Option<String>,
}

/// The texts of all findings. Rules that find the same of the same party are told once, with the lines of them all.
pub fn texts(language: Language<'_>, lines: &[Line], told: impl Iterator<Item = Told>) -> Vec<String> {
    let merged = merged(told);
    let mut texts: Vec<String> = Vec::with_capacity(merged.len().min(TEXTS_MAX));
    let mut bytes = 0;
    for (at, told) in merged.iter().enumerate() {
        let text = text(language, lines, told);
        let left = merged.len() - at;
        bytes += text.len();
        if bytes > BYTES_MAX || (texts.len() + 1 == TEXTS_MAX && left > 1) {
            texts.push(language.text("data.more", &[("count", &left.to_string())]));
            break;
        }
        texts.push(text);
    }
    texts
}

fn merged(told: impl Iterator<Item = Told>) -> Vec<Told> {
    let mut merged: Vec<Told> = Vec::new();
    let mut known: HashMap<(String, String, Option<String>), usize> = HashMap::new();
    for told in told {
        let same = (told.what.clone(), told.who.clone(), told.action.clone());
        match known.get(&same) {
            Some(&at) => merged[at].lines = merged[at].lines.union(told.lines),
            None => {
                known.insert(same, merged.len());
                merged.push(told);
            }
        }
    }
    merged
}

fn text(language: Language<'_>, lines: &[Line], told: &Told) -> String {
    let mut text = told.what.clone();
    let mut add = |more: &str| {
        text.push(' ');
        text.push_str(more);
    };
    let pointers = pointers(lines, told.lines);
    if !pointers.is_empty() {
        add(&language.text("data.lines", &[("lines", &pointers)]));
    }
    add(&told.who);
    if let Some(action) = &told.action {
        add(&language.text("data.action", &[("action", action)]));
    }
    text
}

/// The JSON pointers of lines, and how many more there are. A line that is the whole body has no pointer.
fn pointers(lines: &[Line], told: LineSet) -> String {
    let at: Vec<&str> = told
        .iter()
        .filter_map(|line| Some(lines.get(line)?.at.as_str()))
        .filter(|at| !at.is_empty())
        .collect();
    let mut text = String::new();
    for (number, pointer) in at.iter().enumerate() {
        let separator = if number == 0 { "" } else { ", " };
        if number == LINES_TOLD_MAX || text.len() + pointer.len() > POINTERS_BYTES_MAX {
            let _ = write!(text, "{separator}+{}", at.len() - number);
            break;
        }
        let _ = write!(text, "{separator}{pointer}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::facts::{LINES_MAX, Product};
    use crate::proxy::messages::{Catalogue, Texts};

    fn catalogue() -> Catalogue {
        let texts = [
            ("data.lines", "Lines: {lines}."),
            ("data.action", "See {action}"),
            ("data.more", "{count} more"),
        ];
        let texts: Texts = texts.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        Catalogue { languages: HashMap::from([("en".to_owned(), texts)]), default: "en".to_owned() }
    }

    fn lines(name: &str) -> Vec<Line> {
        let line = |number| Line { at: format!("/{name}/{number}"), product: Product::Unknown };
        (0..LINES_MAX).map(line).collect()
    }

    fn told(what: &str, on: &[usize], action: Option<&str>) -> Told {
        let mut lines = LineSet::NONE;
        on.iter().for_each(|line| lines.insert(*line));
        Told { what: what.to_owned(), lines, who: "Ask.".to_owned(), action: action.map(str::to_owned) }
    }

    #[test]
    fn a_text_names_lines_who_and_where() {
        let catalogue = catalogue();
        let language = catalogue.choose(&http::HeaderMap::new());
        let all: Vec<usize> = (0..20).collect();
        let short = lines("l");
        let whole = [Line { at: String::new(), product: Product::Unknown }];
        let long = lines(&"n".repeat(250));
        let name = "n".repeat(250);
        for (lines, findings, expected) in [
            (&short[..], vec![], vec![]),
            (&short, vec![told("A.", &[], None)], vec!["A. Ask.".to_owned()]),
            (
                &short,
                vec![told("A.", &[2], Some("https://a"))],
                vec!["A. Lines: /l/2. Ask. See https://a".to_owned()],
            ),
            (&whole, vec![told("A.", &[0], None)], vec!["A. Ask.".to_owned()]),
            // The same is told once, with all its lines in order; what differs in any part is told by itself.
            (
                &short,
                vec![
                    told("A.", &[3], None),
                    told("B.", &[0], None),
                    told("A.", &[0, 3], None),
                    told("A.", &[1], Some("u")),
                ],
                vec![
                    "A. Lines: /l/0, /l/3. Ask.".to_owned(),
                    "B. Lines: /l/0. Ask.".to_owned(),
                    "A. Lines: /l/1. Ask. See u".to_owned(),
                ],
            ),
            (
                &short,
                vec![told("A.", &all, None)],
                vec![format!(
                    "A. Lines: {}, +4. Ask.",
                    (0..16).map(|at| format!("/l/{at}")).collect::<Vec<_>>().join(", ")
                )],
            ),
            (&long, vec![told("A.", &all, None)], vec![format!("A. Lines: /{name}/0, /{name}/1, +18. Ask.")]),
        ] {
            assert_eq!(texts(language, lines, findings.clone().into_iter()), expected, "{findings:?}");
        }
    }

    #[test]
    fn the_last_text_counts_what_is_left_out() {
        let catalogue = catalogue();
        let language = catalogue.choose(&http::HeaderMap::new());
        for (count, length, expected, last) in [
            (TEXTS_MAX, 10, TEXTS_MAX, None),
            (TEXTS_MAX + 1, 10, TEXTS_MAX, Some("2 more")),
            (600, 10, TEXTS_MAX, Some("569 more")),
            (10, 4000, 5, Some("6 more")),
            (1, 2 * BYTES_MAX, 1, Some("1 more")),
        ] {
            let findings = (0..count).map(|number| told(&format!("{number:0>length$}"), &[], None));
            let found = texts(language, &[], findings);
            let row = format!("{count} of {length}");
            assert_eq!(found.len(), expected, "{row}");
            assert!(found.iter().map(String::len).sum::<usize>() <= BYTES_MAX + 8, "{row}");
            match last {
                Some(last) => assert_eq!(found.last().map(String::as_str), Some(last), "{row}"),
                None => assert!(found.iter().all(|text| text.ends_with("Ask.")), "{row}"),
            }
        }
    }
}
