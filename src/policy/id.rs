//! Identifiers of parties: tenant GUIDs and Microsoft partner (MPN) ids.

use std::fmt;

/// A tenant id: a GUID in its 36-character form, kept as a number so that letter case never matters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid(u128);

impl Guid {
    /// Reads the 36-character form (8-4-4-4-12 hexadecimal digits) in either letter case.
    ///
    /// Braces, bare digits and other spellings are refused: one tenant has one spelling here.
    pub fn parse(text: &str) -> Option<Guid> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 {
            return None;
        }
        let mut value = 0u128;
        for (at, byte) in bytes.iter().enumerate() {
            if matches!(at, 8 | 13 | 18 | 23) {
                if *byte != b'-' {
                    return None;
                }
                continue;
            }
            value = value << 4 | u128::from(hex_digit(*byte)?);
        }
        Some(Guid(value))
    }

    /// The GUID of these 128 bits, first character first.
    pub fn from_bits(bits: u128) -> Guid {
        Guid(bits)
    }

    /// The lower-case 36-character form, without allocating.
    pub fn text(self) -> GuidText {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut shift = 128;
        for (at, byte) in text.iter_mut().enumerate() {
            if !matches!(at, 8 | 13 | 18 | 23) {
                shift -= 4;
                *byte = DIGITS[(self.0 >> shift) as usize & 15];
            }
        }
        GuidText(text)
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The 36 characters of a [`Guid`].
pub struct GuidText([u8; 36]);

impl GuidText {
    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits and dashes are ASCII")
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A Microsoft partner id (MPN id, today also "PartnerID"): digits without a leading zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MpnId(u64);

impl MpnId {
    /// Reads decimal digits; a leading zero, a sign or more than 18 digits are refused.
    pub fn parse(text: &str) -> Option<MpnId> {
        let plain = !text.is_empty()
            && text.len() <= 18
            && !text.starts_with('0')
            && text.bytes().all(|byte| byte.is_ascii_digit());
        if !plain {
            return None;
        }
        text.parse().ok().map(MpnId)
    }

    /// The id written as a JSON number; zero is no id.
    pub fn from_number(number: u64) -> Option<MpnId> {
        (number > 0 && number < 1_000_000_000_000_000_000).then_some(MpnId(number))
    }
}

impl fmt::Display for MpnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How a request or a record names a partner: by MPN id or by tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PartnerRef {
    /// By MPN id.
    Mpn(MpnId),
    /// By tenant.
    Tenant(Guid),
}

impl PartnerRef {
    /// An MPN id or a 36-character GUID; anything else is `None`.
    pub fn parse(text: &str) -> Option<PartnerRef> {
        MpnId::parse(text).map(PartnerRef::Mpn).or_else(|| Guid::parse(text).map(PartnerRef::Tenant))
    }
}

impl fmt::Display for PartnerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PartnerRef::Mpn(id) => id.fmt(f),
            PartnerRef::Tenant(id) => id.fmt(f),
        }
    }
}

/// A short name kept inline, so that keys made of it are copied without allocating.
///
/// Holds 1 to 23 bytes of lower-case letters, digits, `-` and `_`: agreement and source names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    length: u8,
    bytes: [u8; 23],
}

impl Name {
    /// The name, or `None` when it is empty, too long or has other characters.
    pub const fn new(text: &str) -> Option<Name> {
        let from = text.as_bytes();
        if from.is_empty() || from.len() > 23 {
            return None;
        }
        let mut bytes = [0u8; 23];
        let mut at = 0;
        while at < from.len() {
            if !matches!(from[at], b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_') {
                return None;
            }
            bytes[at] = from[at];
            at += 1;
        }
        Some(Name { length: from.len() as u8, bytes })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).expect("names are ASCII")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_has_one_spelling_but_for_case() {
        let guid = Guid::parse("9C0FBA1e-0000-4a00-8000-0123456789AB").unwrap();
        assert_eq!(guid.to_string(), "9c0fba1e-0000-4a00-8000-0123456789ab");
        for other in [
            "{9c0fba1e-0000-4a00-8000-0123456789ab}",
            "9c0fba1e00004a0080000123456789ab",
            "9c0fba1e-0000-4a00-8000-0123456789a",
            "9c0fba1e-0000-4a00-8000-0123456789ag",
            "9c0fba1e_0000-4a00-8000-0123456789ab",
            "",
        ] {
            assert_eq!(Guid::parse(other), None, "{other}");
        }
    }

    #[test]
    fn an_mpn_id_is_plain_digits() {
        assert_eq!(MpnId::parse("5139005").map(|id| id.to_string()).as_deref(), Some("5139005"));
        for other in ["", "0", "05139005", "+5", "-5", "5 ", "5e3", "1234567890123456789", "٥"] {
            assert_eq!(MpnId::parse(other), None, "{other}");
        }
        assert_eq!(MpnId::from_number(0), None);
        assert_eq!(MpnId::from_number(5_139_005), MpnId::parse("5139005"));
    }
}
