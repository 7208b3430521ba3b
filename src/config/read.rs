//! Reading: from values to typed settings, gathering every problem on the way.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::config::node::{Key, Node, Value};
use crate::config::problem::{Problem, Severity, SourceText, Span};
use crate::mark::without_mark;
use crate::policy::id::Guid;

/// What a timeout may be: below it every request would fail, beyond it there might as well be none.
pub const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// Gathers the texts and problems of one configuration while it is read.
#[derive(Default)]
pub struct Reader {
    /// What was read so far.
    pub sources: RefCell<Vec<SourceText>>,
    /// What is wrong so far.
    pub problems: RefCell<Vec<Problem>>,
}

impl Reader {
    /// Notes an error.
    pub fn error(&self, span: Span, message: impl Into<String>, hint: Option<String>) {
        self.note(Severity::Error, Some(span), message.into(), hint);
    }

    /// Notes a warning.
    pub fn warning(&self, span: Span, message: impl Into<String>, hint: Option<String>) {
        self.note(Severity::Warning, Some(span), message.into(), hint);
    }

    /// Notes a problem that may have no place.
    pub fn note(&self, severity: Severity, span: Option<Span>, message: String, hint: Option<String>) {
        self.problems.borrow_mut().push(Problem { severity, span, message, hint });
    }

    /// Keeps a text for problems to point into; the answer is its number.
    pub fn add_source(&self, path: &Path, text: &str) -> usize {
        let mut sources = self.sources.borrow_mut();
        sources.push(SourceText { path: path.to_owned(), text: text.to_owned() });
        sources.len() - 1
    }

    /// Whether an error was noted.
    pub fn failed(&self) -> bool {
        self.problems.borrow().iter().any(|problem| problem.severity == Severity::Error)
    }

    fn mismatch<T>(&self, node: &Node, expected: &str) -> Option<T> {
        let found = match &node.value {
            Value::Text(text) => format!("`{text}`"),
            Value::Integer(number) => format!("`{number}`"),
            Value::Bool(flag) => format!("`{flag}`"),
            other => other.kind().to_owned(),
        };
        self.error(node.span, format!("found {found}, expected {expected}"), None);
        None
    }

    /// A text; numbers and booleans are taken as written.
    pub fn text(&self, node: &Node) -> Option<String> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => self.mismatch(node, "a text"),
        }
    }

    /// `true` or `false`.
    pub fn flag(&self, node: &Node) -> Option<bool> {
        match node.value {
            Value::Bool(flag) => Some(flag),
            _ => self.mismatch(node, "`true` or `false`"),
        }
    }

    /// A whole number in a range.
    pub fn number(&self, node: &Node, range: RangeInclusive<i64>) -> Option<usize> {
        match node.value {
            Value::Integer(number) if range.contains(&number) => Some(number as usize),
            _ => self.mismatch(node, &format!("a whole number from {} to {}", range.start(), range.end())),
        }
    }

    /// A time span such as `500ms`, `30s`, `5m`, `12h` or `7d`.
    pub fn duration(&self, node: &Node) -> Option<Duration> {
        let parsed = match &node.value {
            Value::Text(text) => parse_duration(text),
            _ => None,
        };
        parsed.or_else(|| self.mismatch(node, "a duration such as `500ms`, `30s`, `5m`, `12h` or `7d`"))
    }

    /// A time span within bounds.
    pub fn duration_within(&self, node: &Node, range: RangeInclusive<Duration>) -> Option<Duration> {
        let duration = self.duration(node)?;
        if !range.contains(&duration) {
            return self.mismatch(node, &format!("a duration from {:?} to {:?}", range.start(), range.end()));
        }
        Some(duration)
    }

    /// A size such as `512`, `32KiB`, `1MiB` or `2GiB`, in bytes.
    pub fn size(&self, node: &Node) -> Option<usize> {
        let parsed = match &node.value {
            Value::Text(text) => parse_size(text),
            Value::Integer(number) => usize::try_from(*number).ok(),
            _ => None,
        };
        parsed.or_else(|| self.mismatch(node, "a size such as `512`, `32KiB`, `1MiB` or `2GiB`"))
    }

    /// A moment, RFC 3339.
    pub fn time(&self, node: &Node) -> Option<Timestamp> {
        let parsed = match &node.value {
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        parsed.or_else(|| self.mismatch(node, "an RFC 3339 time such as `2026-03-01T00:00:00Z`"))
    }

    /// A tenant id.
    pub fn guid(&self, node: &Node) -> Option<Guid> {
        let parsed = match &node.value {
            Value::Text(text) => Guid::parse(text),
            _ => None,
        };
        parsed.or_else(|| self.mismatch(node, "a tenant id: a GUID of 36 characters"))
    }

    /// One of a fixed set of names.
    pub fn choice<T>(&self, node: &Node, parse: fn(&str) -> Option<T>, names: &[&str]) -> Option<T> {
        if let Value::Text(text) = &node.value
            && let Some(value) = parse(text)
        {
            return Some(value);
        }
        let hint = match &node.value {
            Value::Text(text) => did_you_mean(text, names.iter().copied()),
            _ => None,
        };
        self.error(node.span, format!("expected one of {}", quoted(names)), hint);
        None
    }

    /// A list, each item read by itself; a single value stands for a list of one.
    pub fn list<T>(&self, node: &Node, mut read: impl FnMut(&Node) -> Option<T>) -> Option<Vec<T>> {
        match &node.value {
            Value::List(items) => {
                let read: Vec<Option<T>> = items.iter().map(&mut read).collect();
                read.into_iter().collect()
            }
            Value::Null => self.mismatch(node, "a list"),
            _ => read(node).map(|item| vec![item]),
        }
    }

    /// A mapping's entries.
    pub fn map<'n>(&self, node: &'n Node) -> Option<&'n [(Key, Node)]> {
        match &node.value {
            Value::Map(entries) => Some(entries),
            _ => self.mismatch(node, "a mapping"),
        }
    }

    /// Opens a mapping to read its keys.
    pub fn section<'n>(&'n self, node: &'n Node) -> Option<Section<'n>> {
        Some(Section { reader: self, span: node.span, entries: self.map(node)?, known: RefCell::default() })
    }
}

/// `names` in back-ticks, separated by commas.
pub fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A hint, where a known name is close to what was found.
pub fn did_you_mean<'k>(found: &str, known: impl Iterator<Item = &'k str>) -> Option<String> {
    let near = |name: &&str| strsim::damerau_levenshtein(found, name) <= 1 + name.len().min(12) / 4;
    known
        .filter(near)
        .min_by_key(|name| strsim::damerau_levenshtein(found, name))
        .map(|name| format!("did you mean `{name}`?"))
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let count: u64 = text[..digits].parse().ok()?;
    let milliseconds = match text[digits..].trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    count.checked_mul(milliseconds).filter(|total| *total <= 3_660 * 86_400_000).map(Duration::from_millis)
}

fn parse_size(text: &str) -> Option<usize> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let count: usize = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    count.checked_mul(unit)
}

/// A mapping whose keys are read one by one; what is left over at the end is unknown.
pub struct Section<'n> {
    reader: &'n Reader,
    /// Where the mapping stands.
    pub span: Span,
    entries: &'n [(Key, Node)],
    known: RefCell<Vec<&'static str>>,
}

impl<'n> Section<'n> {
    /// The value of a key; a key without a value counts as absent.
    pub fn node(&self, name: &'static str) -> Option<&'n Node> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&name) {
            known.push(name);
        }
        drop(known);
        let (_, value) = self.entries.iter().find(|(key, _)| key.text == name)?;
        (!matches!(value.value, Value::Null)).then_some(value)
    }

    /// The value of a key, read; absent or wrong is `None`.
    pub fn get<T>(&self, name: &'static str, read: impl FnOnce(&'n Node) -> Option<T>) -> Option<T> {
        self.node(name).and_then(read)
    }

    /// As [`get`](Section::get), with a problem where the key is absent.
    pub fn require<T>(&self, name: &'static str, read: impl FnOnce(&'n Node) -> Option<T>) -> Option<T> {
        match self.node(name) {
            Some(node) => read(node),
            None => {
                self.reader.error(self.span, format!("missing key `{name}`"), None);
                None
            }
        }
    }

    /// A nested mapping, read and closed; where it is absent, its defaults: an empty mapping is read instead.
    pub fn nested<T>(&self, name: &'static str, read: impl FnOnce(&Section<'_>) -> T) -> Option<T> {
        let absent = Node { span: self.span, value: Value::Map(Vec::new()) };
        let node = self.node(name).unwrap_or(&absent);
        let section = self.reader.section(node)?;
        let value = read(&section);
        section.finish();
        Some(value)
    }

    /// Reports every key that was not asked for.
    pub fn finish(self) {
        let known = self.known.into_inner();
        for (key, _) in self.entries {
            if !known.contains(&key.text.as_str()) {
                let hint = did_you_mean(&key.text, known.iter().copied())
                    .unwrap_or_else(|| format!("known here: {}", quoted(&known)));
                self.reader.error(key.span, format!("unknown key `{}`", key.text), Some(hint));
            }
        }
    }

    /// The reader that gathers the problems.
    pub fn reader(&self) -> &'n Reader {
        self.reader
    }
}

/// The text of a regular file, without the byte order mark that an editor may have put before it. Anything else (a pipe, a device) could keep its reader waiting for ever.
pub fn read_text(path: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is no regular file".to_owned());
    }
    std::fs::read_to_string(path).map(without_mark).map_err(|error| error.to_string())
}

/// A path, relative to a folder.
pub fn resolve(folder: &Path, path: &str) -> PathBuf {
    folder.join(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_have_units() {
        assert_eq!(parse_duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("12h"), Some(Duration::from_secs(43_200)));
        assert_eq!(parse_size("1MiB"), Some(1 << 20));
        assert_eq!(parse_size("512"), Some(512));
        for text in ["", "s", "30", "30 seconds", "-1s", "1.5s", "99999999999999999999s", "4000d"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        for text in ["", "MiB", "1MB", "-1", "1.5KiB", "99999999999999999999"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
