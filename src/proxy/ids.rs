//! Ids: of decisions, and of requests whose caller gave none or whose answers teach.

use std::cell::Cell;

use aws_lc_rs::hmac;
use http::HeaderValue;
use jiff::Timestamp;

use crate::policy::id::{Guid, GuidText};

/// The id of a decision: 26 characters that sort by time (the ULID form: 48 bits of milliseconds, then 80 bits that
/// no other decision shares).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DecisionId([u8; 26]);

impl DecisionId {
    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("the alphabet is ASCII")
    }

    /// The id as a header; copies of it share their text.
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).expect("the alphabet is plain text")
    }
}

/// Makes ids on one worker: a random start, then counting.
pub struct IdMaker {
    lane: u64,
    next: Cell<u64>,
}

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl Default for IdMaker {
    fn default() -> IdMaker {
        let mut seed = [0u8; 16];
        aws_lc_rs::rand::fill(&mut seed).expect("the system has random numbers");
        let (lane, next) = seed.split_at(8);
        let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
        IdMaker { lane: number(lane), next: Cell::new(number(next)) }
    }
}

impl IdMaker {
    /// A new decision id.
    pub fn decision(&self, at: Timestamp) -> DecisionId {
        let counted = self.next.get();
        self.next.set(counted.wrapping_add(1));
        let time = u128::from(at.as_millisecond().max(0) as u64 & 0xffff_ffff_ffff);
        // 40 bits of the worker, 40 bits of its count.
        let unique = u128::from(self.lane >> 24) << 40 | u128::from(counted & 0xff_ffff_ffff);
        let value = time << 80 | unique;
        let mut text = [0u8; 26];
        for (at, byte) in text.iter_mut().enumerate() {
            *byte = ALPHABET[(value >> (125 - 5 * at)) as usize & 31];
        }
        DecisionId(text)
    }

    /// A GUID (RFC 9562 version 8) for a request that came without one.
    pub fn guid(&self) -> GuidText {
        version_8(self.bits())
    }

    /// A `traceparent` (W3C Trace Context section 3.2) that asks nobody to sample.
    pub fn traceparent(&self) -> HeaderValue {
        let (trace, span) = (self.bits() | 1, (self.bits() as u64) | 1);
        let mut text = *b"00-................................-................-00";
        write_hex(trace, &mut text[3..35]);
        write_hex(span.into(), &mut text[36..52]);
        HeaderValue::from_bytes(&text).expect("hexadecimal is plain text")
    }

    fn bits(&self) -> u128 {
        let counted = self.next.get();
        self.next.set(counted.wrapping_add(1));
        let mixed = counted.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.lane;
        u128::from(mixed) << 64 | u128::from(counted.rotate_left(32) ^ self.lane.rotate_left(17))
    }
}

/// A GUID of RFC 9562 version 8 from these bits.
fn version_8(bits: u128) -> GuidText {
    let versioned = bits & !(0xf << 76) | 8 << 76;
    let variant = versioned & !(0x3 << 62) | 2 << 62;
    Guid::from_bits(variant).text()
}

/// Derives the ids that requests have upstream whose answers teach. `MS-RequestId` is Partner Center's idempotency key:
/// under an id that a caller chose, the upstream could repeat an acceptance that was another customer's.
#[derive(Debug)]
pub struct IdKey(hmac::Key);

impl Default for IdKey {
    /// A random key; ids that it derived mean nothing to the next process.
    fn default() -> IdKey {
        let random = aws_lc_rs::rand::SystemRandom::new();
        IdKey(hmac::Key::generate(hmac::HMAC_SHA256, &random).expect("the system has random numbers"))
    }
}

impl IdKey {
    /// The id of a request that these parts make up: the same for the same parts, and for no others.
    pub fn of_request(&self, parts: [&[u8]; 5]) -> GuidText {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            // With its length: no two lists of parts run together to the same bytes.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        shortened(context)
    }

    /// The id of a request that no other has, for one whose body is not at hand.
    pub fn of_decision(&self, id: &DecisionId) -> GuidText {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&id.0);
        shortened(context)
    }
}

fn shortened(context: hmac::Context) -> GuidText {
    let tag = context.sign();
    let bits = tag.as_ref()[..16].try_into().expect("the tag has 32 bytes");
    version_8(u128::from_be_bytes(bits))
}

fn write_hex(value: u128, text: &mut [u8]) {
    let digits = text.len();
    for (at, byte) in text.iter_mut().enumerate() {
        *byte = b"0123456789abcdef"[(value >> (4 * (digits - 1 - at))) as usize & 15];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_sort_by_time() {
        let maker = IdMaker::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let ids: Vec<String> =
            (0..1000).map(|n| maker.decision(at(1_700_000_000 + n / 10)).as_str().to_owned()).collect();
        let mut unique = ids.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), ids.len());
        assert!(ids[0][..10] < ids[999][..10]);
        assert_eq!(ids[0].len(), 26);
        assert_ne!(maker.guid().as_str(), maker.guid().as_str());
        assert_eq!(&maker.guid().as_str()[14..15], "8");
        let traceparent = maker.traceparent();
        let fields: Vec<&str> = traceparent.to_str().unwrap().split('-').collect();
        assert_eq!(fields.iter().map(|field| field.len()).collect::<Vec<_>>(), [2, 32, 16, 2]);
        assert!(fields.iter().all(|field| u128::from_str_radix(field, 16).is_ok()));
    }

    #[test]
    fn a_derived_id_is_that_of_its_parts_and_its_key_only() {
        let key = IdKey::default();
        let parts: [[&[u8]; 5]; 7] = [
            [b"partner", b"id", b"POST", b"/a", b"body"],
            [b"partnerid", b"", b"POST", b"/a", b"body"],
            [b"partner", b"id", b"POST", b"/abody", b""],
            [b"partner", b"id", b"POST", b"/a", b"bodx"],
            [b"partner", b"id", b"PUT", b"/a", b"body"],
            [b"partner", b"ie", b"POST", b"/a", b"body"],
            [b"partnes", b"id", b"POST", b"/a", b"body"],
        ];
        let mut found: Vec<String> =
            parts.iter().map(|parts| key.of_request(*parts).as_str().to_owned()).collect();
        assert!(parts.iter().zip(&found).all(|(parts, id)| key.of_request(*parts).as_str() == id));
        assert!(found.iter().all(|id| &id[14..15] == "8" && Guid::parse(id).is_some()), "{found:?}");
        found.push(IdKey::default().of_request(parts[0]).as_str().to_owned());
        let maker = IdMaker::default();
        let fresh =
            (0..2).map(|_| key.of_decision(&maker.decision(Timestamp::UNIX_EPOCH)).as_str().to_owned());
        found.extend(fresh);
        let count = found.len();
        found.sort();
        found.dedup();
        assert_eq!(found.len(), count, "{found:?}");
    }
}
