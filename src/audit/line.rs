//! Lines: JSON objects written straight into a buffer.
//!
//! A decision record is written on every purchase. Names are fixed and most values are ids that need no escape, so that
//! copying them costs a third of what a general serialiser does.

use std::fmt::{Display, Write};

use crate::policy::id::Guid;

/// A JSON object that is being written.
pub struct Object<'l> {
    line: &'l mut Vec<u8>,
    is_empty: bool,
}

impl<'l> Object<'l> {
    /// Begins an object.
    pub fn begin(line: &'l mut Vec<u8>) -> Object<'l> {
        line.push(b'{');
        Object { line, is_empty: true }
    }

    /// Ends it.
    pub fn end(self) {
        self.line.push(b'}');
    }

    fn name(&mut self, name: &'static str) {
        if !std::mem::take(&mut self.is_empty) {
            self.line.push(b',');
        }
        self.line.push(b'"');
        self.line.extend_from_slice(name.as_bytes());
        self.line.extend_from_slice(b"\":");
    }

    /// A text.
    pub fn text(&mut self, name: &'static str, value: &str) {
        self.name(name);
        text(self.line, value);
    }

    /// A text, where there is one.
    pub fn some_text(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A tenant, where there is one.
    pub fn some_guid(&mut self, name: &'static str, value: Option<Guid>) {
        if let Some(value) = value {
            self.text(name, value.text().as_str());
        }
    }

    /// What prints as a text without quotes, backslashes and control characters: times, ids, names.
    pub fn plain(&mut self, name: &'static str, value: impl Display) {
        self.name(name);
        self.line.push(b'"');
        write!(Appender(self.line), "{value}").expect("writing to memory");
        self.line.push(b'"');
    }

    /// A natural number.
    pub fn number(&mut self, name: &'static str, value: impl Into<u64>) {
        self.name(name);
        write!(Appender(self.line), "{}", value.into()).expect("writing to memory");
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &'static str, value: bool) {
        self.name(name);
        self.line.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Any JSON.
    pub fn json(&mut self, name: &'static str, value: &serde_json::Value) {
        self.name(name);
        serde_json::to_writer(&mut *self.line, value).expect("JSON is plain data");
    }

    /// A list, each item written by itself; nothing at all where there is no item.
    pub fn list<T>(
        &mut self,
        name: &'static str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Vec<u8>, T),
    ) {
        let mut items = items.into_iter().peekable();
        if items.peek().is_none() {
            return;
        }
        self.name(name);
        self.line.push(b'[');
        while let Some(item) = items.next() {
            write(self.line, item);
            if items.peek().is_some() {
                self.line.push(b',');
            }
        }
        self.line.push(b']');
    }

    /// A nested object.
    pub fn object(&mut self, name: &'static str, write: impl FnOnce(&mut Object<'_>)) {
        self.name(name);
        object(self.line, write);
    }
}

/// Writes an object.
pub fn object(line: &mut Vec<u8>, write: impl FnOnce(&mut Object<'_>)) {
    let mut nested = Object::begin(line);
    write(&mut nested);
    nested.end();
}

/// Writes a text.
pub fn text(line: &mut Vec<u8>, value: &str) {
    // Without a short cut the compiler looks at many bytes at a time.
    let needs_escape =
        value.bytes().fold(false, |found, byte| found | (byte < 0x20) | (byte == b'"') | (byte == b'\\'));
    if needs_escape {
        serde_json::to_writer(line, value).expect("a text is plain data");
        return;
    }
    line.push(b'"');
    line.extend_from_slice(value.as_bytes());
    line.push(b'"');
}

struct Appender<'l>(&'l mut Vec<u8>);

impl Write for Appender<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_back_as_what_was_written() {
        for value in
            ["", "plain", "quote \" back \\ slash", "line\nend\u{1}", "caf\u{e9} \u{1f600}", "\u{7f}"]
        {
            let mut line = Vec::new();
            object(&mut line, |object| {
                object.text("a", value);
                object.some_text("none", None);
                object.number("n", 7u64);
                object.list("empty", Vec::<&str>::new(), text);
                object.list("list", [value, "x"], text);
                object.object("o", |nested| nested.plain("p", 1.5));
            });
            let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
            let expected =
                serde_json::json!({ "a": value, "n": 7, "list": [value, "x"], "o": { "p": "1.5" } });
            assert_eq!(read, expected);
        }
    }
}
