//! Headers by name: which of a request's, and of an answer's, are kept back.
//!
//! Names come in lower case; `_` and `.` are taken for `-`, as some servers do.

/// The kind of a request header, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is forwarded.
    Plain,
    /// It says who or where a caller is, which the upstream could take for what a proxy of its own says.
    KeptBack,
    /// It is of one connection only, or the gateway's own to say: kept back whatever is configured.
    Fixed,
    /// It asks for another method.
    Override,
    /// It imitates the framing, or names another path.
    Misleading,
}

/// The configured changes to the headers that are kept back towards the upstream.
#[derive(Clone, Debug, Default)]
pub struct KeepBack {
    added: Vec<Pattern>,
    allowed: Vec<String>,
    /// The first letters of `added`: most names are told by them.
    firsts: u128,
}

/// A name, or all names that begin with one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    name: String,
    is_prefix: bool,
}

impl Pattern {
    /// Reads a header's name, or a prefix as in `X-Name-*`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Pattern> {
        let prefix = text.strip_suffix('*');
        let name = folded(prefix.unwrap_or(text))?;
        let is_prefix = prefix.is_some();
        // A bare `*` would keep back what was judged.
        (!is_prefix || name.len() > 1 && name.ends_with('-')).then_some(Pattern { name, is_prefix })
    }

    /// True where a header of that name is meant.
    pub fn covers(&self, name: &str) -> bool {
        if self.is_prefix { starts(name, &self.name) } else { folded_eq(name, &self.name) }
    }
}

/// A header's name as names are compared; `None` where it is none.
pub fn folded(name: &str) -> Option<String> {
    // A star is a letter of names (RFC 9110 section 5.6.2), but no name has one.
    let name = http::HeaderName::from_bytes(name.as_bytes()).ok()?;
    Some(name.as_str().replace(['_', '.'], "-")).filter(|name| !name.contains('*'))
}

impl KeepBack {
    /// Keeps back what any of `added` covers beside the table, and none of the names `allowed`, which are folded.
    pub fn new(added: Vec<Pattern>, allowed: Vec<String>) -> KeepBack {
        let firsts = added.iter().fold(0, |firsts, pattern| firsts | first_bit(&pattern.name));
        KeepBack { added, allowed, firsts }
    }

    /// The kind of a request's header of that name.
    pub fn kind(&self, name: &str) -> Kind {
        match kind(name) {
            Kind::Plain if self.firsts & first_bit(name) != 0 && self.adds(name) => Kind::KeptBack,
            Kind::KeptBack if self.allows(name) => Kind::Plain,
            kind => kind,
        }
    }

    fn adds(&self, name: &str) -> bool {
        self.added.iter().any(|pattern| pattern.covers(name)) && !self.allows(name)
    }

    fn allows(&self, name: &str) -> bool {
        self.allowed.iter().any(|allowed| folded_eq(name, allowed))
    }
}

/// The bit of a name's first byte; bytes beyond ASCII are in no name.
fn first_bit(name: &str) -> u128 {
    name.bytes().next().map_or(0, |first| 1 << (fold(first) & 0x7f))
}

/// The kind of a request's header of that name, whatever is configured. The README has the table.
pub fn kind(name: &str) -> Kind {
    // Most names are told by their first letter.
    let Some(first) = name.bytes().next() else { return Kind::Plain };
    if !matches!(first, b'c' | b'e' | b'f' | b'h' | b'k' | b'm' | b'p' | b's' | b't' | b'u' | b'x') {
        return Kind::Plain;
    }
    let starts = |prefix: &str| starts(name, prefix);
    let is = |other: &str| folded_eq(name, other);
    match first {
        b'c' if starts("countersign-") || is("connection") => Kind::Fixed,
        b'c' if is("content-length") => Kind::Misleading,
        b'c' if name.contains(['_', '.']) && (is("content-type") || is("content-encoding")) => {
            Kind::Misleading
        }
        b'c' if is("cf-connecting-ip") => Kind::KeptBack,
        b'e' if is("expect") => Kind::Fixed,
        b'f' if is("forwarded") => Kind::KeptBack,
        b'h' if is("http-method-override") => Kind::Override,
        b'k' if is("keep-alive") => Kind::Fixed,
        // A server that folds names would take it for the id that the gateway answers for.
        b'm' if name.contains(['_', '.']) && (is("ms-requestid") || is("ms-correlationid")) => Kind::Fixed,
        // Some gateways to scripts make a setting of it (CVE-2016-5385).
        b'p' if is("proxy") => Kind::KeptBack,
        b'p' if is("proxy-connection") || is("proxy-authorization") || is("proxy-authenticate") => {
            Kind::Fixed
        }
        b's' if starts("ssl-client-") => Kind::KeptBack,
        b't' if is("te") => Kind::Fixed,
        b't' if is("true-client-ip") => Kind::KeptBack,
        b't' if is("transfer-encoding") => Kind::Misleading,
        b'u' if is("upgrade") => Kind::Fixed,
        b'x' if starts("x-") => extension(name),
        _ => Kind::Plain,
    }
}

/// The kind of a header whose name begins with `x-`, told by the letter behind.
fn extension(name: &str) -> Kind {
    let starts = |prefix: &str| starts(name, prefix);
    let is = |other: &str| folded_eq(name, other);
    let kept_back = match name.as_bytes().get(2) {
        Some(b'a') => is("x-azure-clientip") || is("x-arr-clientcert"),
        Some(b'c') => is("x-client-ip") || is("x-cluster-client-ip") || starts("x-client-cert"),
        // The gateway says these itself.
        Some(b'f') if is("x-forwarded-for") || is("x-forwarded-host") || is("x-forwarded-proto") => {
            return Kind::Fixed;
        }
        Some(b'f') => is("x-forwarded") || starts("x-forwarded-"),
        Some(b'h') if is("x-http-method-override") || is("x-http-method") => return Kind::Override,
        Some(b'm') if is("x-method-override") => return Kind::Override,
        Some(b'm') => starts("x-ms-client-principal") || starts("x-ms-token-"),
        Some(b'o') if is("x-original-host") => true,
        Some(b'o') if starts("x-original-") || is("x-override-url") => return Kind::Misleading,
        Some(b'o') => is("x-originating-ip"),
        Some(b'p') => starts("x-partner-"),
        Some(b'r') if is("x-rewrite-url") => return Kind::Misleading,
        Some(b'r') => is("x-real-ip"),
        Some(b's') => starts("x-ssl-client-"),
        Some(b'z') => is("x-zumo-auth"),
        _ => false,
    };
    if kept_back { Kind::KeptBack } else { Kind::Plain }
}

/// True where a header or trailer of an answer is kept back: those of one connection and what imitates them, and those that
/// only the gateway may say. What else a server behind says of itself is its caller's to read.
pub fn is_kept_back_of_answer(name: &str) -> bool {
    let is = |other: &str| folded_eq(name, other);
    match name.bytes().next() {
        // The length of an answer to HEAD is the upstream's to say; the framing is made anew from the body.
        Some(b'c') => {
            starts(name, "countersign-")
                || is("connection")
                || (is("content-length") && name != "content-length")
        }
        Some(b'k') => is("keep-alive"),
        Some(b'p') => is("proxy-connection") || is("proxy-authorization") || is("proxy-authenticate"),
        Some(b't') => is("te") || is("transfer-encoding"),
        Some(b'u') => is("upgrade"),
        Some(b'x') => starts(name, "x-partner-"),
        _ => false,
    }
}

fn starts(name: &str, prefix: &str) -> bool {
    name.len() >= prefix.len() && folded_eq(&name[..prefix.len()], prefix)
}

/// True where a name is another one, which is folded.
pub fn folded_eq(name: &str, plain: &str) -> bool {
    name.len() == plain.len() && name.bytes().zip(plain.bytes()).all(|(left, right)| fold(left) == right)
}

fn fold(byte: u8) -> u8 {
    if byte == b'_' || byte == b'.' { b'-' } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep_back(added: &[&str], allowed: &[&str]) -> KeepBack {
        KeepBack::new(
            added.iter().map(|text| Pattern::parse(text).unwrap()).collect(),
            allowed.iter().map(|name| folded(name).unwrap()).collect(),
        )
    }

    #[test]
    fn the_configuration_adds_and_allows() {
        let configured =
            keep_back(&["X-Mine-*", "Y_Own.Name", "Cookie"], &["X-Real-IP", "x_ms_token_aad", "X-Mine-Not"]);
        for (name, expected) in [
            ("x-mine-a", Kind::KeptBack),
            ("x_mine.a", Kind::KeptBack),
            ("x-mine-", Kind::KeptBack),
            ("x-mine", Kind::Plain),
            ("x-mine-not", Kind::Plain),
            ("y-own-name", Kind::KeptBack),
            ("y_own_name", Kind::KeptBack),
            ("y-own-names", Kind::Plain),
            ("cookie", Kind::KeptBack),
            ("x-real-ip", Kind::Plain),
            ("x_real.ip", Kind::Plain),
            ("x-ms-token-aad", Kind::Plain),
            ("x-ms-token-aad-access-token", Kind::KeptBack),
            ("x-client-ip", Kind::KeptBack),
            ("countersign-partner", Kind::Fixed),
            ("x-original-url", Kind::Misleading),
        ] {
            assert_eq!(configured.kind(name), expected, "{name}");
        }
    }

    #[test]
    fn what_frames_or_re_routes_a_request_is_never_allowed() {
        let names =
            ["te", "upgrade", "x-original-url", "x-http-method", "countersign-roles", "x-forwarded-for"];
        let configured = keep_back(&[], &names);
        for name in names {
            assert_eq!(configured.kind(name), kind(name), "{name}");
            assert_ne!(kind(name), Kind::Plain, "{name}");
        }
    }

    #[test]
    fn a_pattern_is_a_name_or_a_prefix_that_ends_with_a_dash() {
        for text in ["X-Name", "x-*", "X_Name_*", "Cookie", "1-*"] {
            assert!(Pattern::parse(text).is_some(), "{text}");
        }
        for text in ["", "*", "-*", "X*", "X-*-Y", "X-**", "X Name", "X:", "é"] {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_answer_loses_what_is_of_one_connection_or_the_gateways_own() {
        for (name, is_lost) in [
            ("countersign-decision", true),
            ("countersign_notice", true),
            ("x-partner-tenant", true),
            ("x.partner.tenant", true),
            ("connection", true),
            ("keep-alive", true),
            ("transfer-encoding", true),
            ("transfer_encoding", true),
            ("content_length", true),
            ("te", true),
            ("upgrade", true),
            ("proxy-authenticate", true),
            ("content-length", false),
            ("x-ms-request-id", false),
            ("x-ms-continuation-token", false),
            ("ms-continuationtoken", false),
            ("x-ms-client-principal-name", false),
            ("x-forwarded-for", false),
            ("x-original-url", false),
            ("forwarded", false),
            ("trailer", false),
            ("x-partner", false),
            ("etag", false),
        ] {
            assert_eq!(is_kept_back_of_answer(name), is_lost, "{name}");
        }
    }
}
