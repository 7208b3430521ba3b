//! The byte order mark that some servers and editors write before a text.

/// The mark in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// A text without the byte order mark it begins with: RFC 8259 section 8.1 allows a reader of JSON to skip one. A second
/// mark is content, and stays.
pub fn skip_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// The same of a text that is owned.
pub fn without_mark(mut text: String) -> String {
    if skip_mark(text.as_bytes()).len() < text.len() {
        text.drain(..MARK.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_leading_mark_is_skipped() {
        for (text, expected) in [
            ("", ""),
            ("{}", "{}"),
            ("\u{feff}", ""),
            ("\u{feff}{}", "{}"),
            ("\u{feff}\u{feff}{}", "\u{feff}{}"),
            (" \u{feff}{}", " \u{feff}{}"),
            ("{}\u{feff}", "{}\u{feff}"),
        ] {
            assert_eq!(skip_mark(text.as_bytes()), expected.as_bytes(), "{text:?}");
            assert_eq!(without_mark(text.to_owned()), expected, "{text:?}");
        }
        assert_eq!(skip_mark(b"\xef\xbb{}"), b"\xef\xbb{}", "half a mark");
    }
}
