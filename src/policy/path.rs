//! Request paths: read into segments, or refused where a server behind could read them otherwise.

use std::borrow::Cow;

use crate::policy::operation::Method;

/// More segments than any ordering API has.
const SEGMENTS_MAX: usize = 24;
/// The longest path that is read, in bytes.
const PATH_BYTES_MAX: usize = 8 * 1024;

/// A path with more than one reading; the text says which part, without repeating it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmbiguousPath(pub &'static str);

/// The treatment of empty segments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    Refused,
    LeftOut,
}

/// A path in segments, percent-decoded once. Comparison with templates ignores letter case.
#[derive(Clone, Debug)]
pub struct Path<'a> {
    text: Cow<'a, str>,
    segments: [(u16, u16); SEGMENTS_MAX],
    count: usize,
}

impl<'a> Path<'a> {
    /// Reads the path of a request target (no query). One trailing slash is tolerated.
    pub fn parse(raw: &'a str) -> Result<Path<'a>, AmbiguousPath> {
        Path::read(raw, Empty::Refused)
    }

    /// Reads the path of a request of that method. Microsoft's Java SDK pages with `GET /v1//customers?..`: a read is
    /// routed without its empty segments. An empty first one stays refused: `//x` is an authority to some servers
    /// (RFC 3986 section 4.2).
    pub fn of_request(method: Method, raw: &'a str) -> Result<Path<'a>, AmbiguousPath> {
        Path::read(raw, if method.is_read() { Empty::LeftOut } else { Empty::Refused })
    }

    fn read(raw: &'a str, empty: Empty) -> Result<Path<'a>, AmbiguousPath> {
        if raw.len() > PATH_BYTES_MAX {
            return Err(AmbiguousPath("the path is longer than 8 KiB"));
        }
        let Some(raw_tail) = raw.strip_prefix('/') else {
            return Err(AmbiguousPath("the path does not start with `/`"));
        };
        let mut encoded = false;
        for byte in raw.bytes() {
            match byte {
                0..=0x1f | 0x7f => return Err(AmbiguousPath("the path holds a control character")),
                b'\\' => return Err(AmbiguousPath("the path holds a backslash")),
                b';' => return Err(AmbiguousPath("the path holds `;`")),
                b'#' | b'?' => return Err(AmbiguousPath("the path holds `#` or `?`")),
                0x80.. => return Err(AmbiguousPath("the path holds bytes that are not ASCII")),
                b'%' => encoded = true,
                _ => {}
            }
        }
        let text = if encoded { Cow::Owned(decode(raw)?) } else { Cow::Borrowed(raw) };
        let mut path = Path { text: Cow::Borrowed(""), segments: [(0, 0); SEGMENTS_MAX], count: 0 };
        if !raw_tail.is_empty() {
            let body = text.strip_suffix('/').unwrap_or(&text);
            let mut start = 1;
            for segment in body[1..].split('/') {
                match segment {
                    "" if empty == Empty::LeftOut && start > 1 => {
                        start += 1;
                        continue;
                    }
                    "" => return Err(AmbiguousPath("the path holds an empty segment")),
                    "." | ".." => return Err(AmbiguousPath("the path holds a dot segment")),
                    _ => {}
                }
                let Some(slot) = path.segments.get_mut(path.count) else {
                    return Err(AmbiguousPath("the path has more than 24 segments"));
                };
                *slot = (start as u16, (start + segment.len()) as u16);
                path.count += 1;
                start += segment.len() + 1;
            }
        }
        path.text = text;
        Ok(path)
    }

    /// The number of segments.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True where it is the root.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A segment, decoded.
    pub fn segment(&self, at: usize) -> &str {
        let (start, end) = self.segments[at];
        &self.text[usize::from(start)..usize::from(end)]
    }
}

/// A path as sent, without its empty segments: how a read is routed that has some.
pub fn without_empty_segments(raw: &str) -> Cow<'_, str> {
    if !raw.contains("//") {
        return Cow::Borrowed(raw);
    }
    let mut path = String::with_capacity(raw.len());
    let segments = raw.split('/').filter(|segment| !segment.is_empty());
    segments.for_each(|segment| path.extend(["/", segment]));
    Cow::Owned(path)
}

/// Decodes every escape once; what would change the structure of the path, or hide a second encoding, is refused.
fn decode(raw: &str) -> Result<String, AmbiguousPath> {
    let bytes = raw.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'%' {
            decoded.push(bytes[at]);
            at += 1;
            continue;
        }
        let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
            return Err(AmbiguousPath("the path holds a malformed escape"));
        };
        let byte = (high * 16 + low) as u8;
        if byte < 0x20 || byte == 0x7f || matches!(byte, b'/' | b'\\' | b'.' | b'%' | b';' | b'?' | b'#') {
            return Err(AmbiguousPath("the path holds an escape that changes its structure"));
        }
        decoded.push(byte);
        at += 3;
    }
    let text = String::from_utf8(decoded).map_err(|_| AmbiguousPath("the path's escapes are not UTF-8"))?;
    if !text.is_ascii() && text.chars().any(imitates_ascii) {
        return Err(AmbiguousPath("the path holds a character that some servers take for another one"));
    }
    Ok(text)
}

/// True where some servers take a character for another one in ASCII, or for none: those with an ASCII letter for their
/// other case (`ſ`, `K`, `ı`, `İ`), ligatures and full-width forms (Unicode compatibility decompositions), those that are
/// not seen, and control characters.
pub fn imitates_ascii(letter: char) -> bool {
    matches!(letter,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{17f}' | '\u{212a}' | '\u{131}' | '\u{130}'
        | '\u{fb00}'..='\u{fb06}'
        | '\u{ff01}'..='\u{ff5e}' | '\u{fe50}'..='\u{fe6b}'
        | '\u{2024}'..='\u{2026}' | '\u{2044}' | '\u{2215}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(raw: &str) -> Vec<String> {
        let path = Path::parse(raw).unwrap_or_else(|error| panic!("{raw}: {error:?}"));
        (0..path.len()).map(|at| path.segment(at).to_owned()).collect()
    }

    #[test]
    fn plain_paths_split() {
        assert_eq!(segments("/"), Vec::<String>::new());
        assert_eq!(segments("/v1/customers"), ["v1", "customers"]);
        assert_eq!(segments("/v1/customers/"), ["v1", "customers"]);
        assert_eq!(segments("/v1/c%75stomers/%61"), ["v1", "customers", "a"]);
        assert_eq!(segments("/v1/caf%C3%A9"), ["v1", "caf\u{e9}"]);
        assert_eq!(segments("/v1.0/a..b"), ["v1.0", "a..b"]);
    }

    #[test]
    fn a_read_is_routed_without_its_empty_segments() {
        for (raw, expected) in [
            ("/v1//customers", Some("/v1/customers")),
            ("/v1///customers", Some("/v1/customers")),
            ("/v1/customers//", Some("/v1/customers")),
            ("/v1/customers///", Some("/v1/customers")),
            ("/v1//c%75stomers//%61//", Some("/v1/customers/a")),
            ("/v1/customers", Some("/v1/customers")),
            ("/", Some("")),
            ("//", None),
            ("///", None),
            ("//v1/customers", None),
            ("///v1", None),
            ("/v1//../customers", None),
            ("/v1//./customers", None),
            ("/v1//%2fcustomers", None),
            ("/v1//..", None),
            ("/v1/\\/customers", None),
            ("/v1//customers;a", None),
        ] {
            for (method, excused) in [(Method::Get, true), (Method::Head, true), (Method::Post, false)] {
                let path = Path::of_request(method, raw).ok();
                let read =
                    path.map(|path| (0..path.len()).map(|at| format!("/{}", path.segment(at))).collect());
                let expected = expected.filter(|_| excused || !raw.contains("//"));
                assert_eq!(read, expected.map(str::to_owned), "{method:?} {raw}");
            }
        }
        let many = format!("/v1{}/a", "/".repeat(8_000));
        assert_eq!(Path::of_request(Method::Get, &many).map(|path| path.len()), Ok(2));
        assert!(Path::of_request(Method::Get, &format!("/v1{}", "//a".repeat(24))).is_err());
    }

    #[test]
    fn a_path_loses_its_empty_segments_and_nothing_else() {
        for (raw, expected) in [
            ("/v1/carts/k/checkout/", "/v1/carts/k/checkout/"),
            ("/v1//carts/%6B///checkout//", "/v1/carts/%6B/checkout"),
        ] {
            assert_eq!(without_empty_segments(raw), expected);
        }
    }

    // What else is ambiguous is in the rows of `tests/data/intake/paths.json`.
    #[test]
    fn a_path_starts_with_a_slash() {
        for raw in ["", "v1", "*", "http://a/v1", "/v1#a", "/v1?a"] {
            assert!(Path::parse(raw).is_err(), "{raw}");
        }
    }
}
