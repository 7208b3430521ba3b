//! A forger of RSA signatures: a key of its own, used on paddings that no library would sign.

use aws_lc_rs::digest::{self, Algorithm};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
    RsaEncoding,
};
use serde_json::{Value, json};

use crate::minting::{encode, subtract};

/// The length of the modulus, of a signature and of a padded message, in bytes.
const LENGTH: usize = 256;
const LIMBS: usize = LENGTH / 8;

type Number = [u64; LIMBS];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn algorithm(self) -> &'static Algorithm {
        match self {
            Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha384 => &digest::SHA384,
            Hash::Sha512 => &digest::SHA512,
        }
    }

    fn of(self, message: &[u8]) -> Vec<u8> {
        digest::digest(self.algorithm(), message).as_ref().to_vec()
    }

    /// Its object identifier in DER, without tag and length.
    fn identifier(self) -> &'static [u8] {
        match self {
            Hash::Sha1 => &[0x2b, 0x0e, 0x03, 0x02, 0x1a],
            Hash::Sha256 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01],
            Hash::Sha384 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02],
            Hash::Sha512 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03],
        }
    }

    /// A DigestInfo (RFC 8017 section 9.2), whatever the length of the digest.
    pub fn info(self, digest: &[u8]) -> Vec<u8> {
        self.info_with(&[0x05, 0x00], digest)
    }

    fn info_with(self, parameters: &[u8], digest: &[u8]) -> Vec<u8> {
        let algorithm = der(0x30, &[&der(0x06, self.identifier())[..], parameters].concat());
        der(0x30, &[algorithm, der(0x04, digest)].concat())
    }
}

/// An element in DER, shorter than 128 bytes.
fn der(tag: u8, value: &[u8]) -> Vec<u8> {
    assert!(value.len() < 128, "a long element");
    [&[tag, value.len() as u8][..], value].concat()
}

pub struct RsaForger {
    pair: rsa::KeyPair,
    modulus: Number,
    exponent: Number,
}

impl RsaForger {
    pub fn new() -> RsaForger {
        let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        let document: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        // PrivateKeyInfo: version, algorithm, and the RSAPrivateKey (RFC 8017 appendix A.1.2) in a string.
        let key = elements(elements(document.as_ref())[0]);
        let numbers = elements(elements(key[2])[0]);
        let (modulus, exponent) = (number(numbers[1]), number(numbers[3]));
        RsaForger { pair, modulus, exponent }
    }

    pub fn jwk(&self) -> Value {
        json!({ "kty": "RSA", "n": encode(&self.modulus()), "e": "AQAB" })
    }

    pub fn modulus(&self) -> Vec<u8> {
        bytes(&self.modulus)
    }

    /// The other square root of nothing in particular: `n - s`.
    pub fn modulus_minus(&self, signature: &[u8]) -> Vec<u8> {
        subtract(&self.modulus(), signature)
    }

    /// `s + n`, where that is no longer than a signature.
    pub fn plus_modulus(&self, signature: &[u8]) -> Option<Vec<u8>> {
        let mut carry = false;
        let mut sum = number(signature);
        for (digit, more) in sum.iter_mut().zip(self.modulus) {
            let (first, over) = digit.overflowing_add(more);
            let (second, again) = first.overflowing_add(u64::from(carry));
            (*digit, carry) = (second, over || again);
        }
        (!carry).then(|| bytes(&sum))
    }

    /// Signed by the library.
    pub fn pkcs1(&self, hash: Hash, message: &[u8]) -> Vec<u8> {
        let encoding: &'static dyn RsaEncoding = match hash {
            Hash::Sha384 => &RSA_PKCS1_SHA384,
            Hash::Sha512 => &RSA_PKCS1_SHA512,
            Hash::Sha1 | Hash::Sha256 => &RSA_PKCS1_SHA256,
        };
        self.sign(encoding, message)
    }

    /// Signed by the library.
    pub fn pss_by_library(&self, hash: Hash, message: &[u8]) -> Vec<u8> {
        let encoding: &'static dyn RsaEncoding = match hash {
            Hash::Sha384 => &RSA_PSS_SHA384,
            Hash::Sha512 => &RSA_PSS_SHA512,
            Hash::Sha1 | Hash::Sha256 => &RSA_PSS_SHA256,
        };
        self.sign(encoding, message)
    }

    fn sign(&self, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; LENGTH];
        self.pair.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }

    /// The private operation on a padded message.
    pub fn raw(&self, padded: &[u8]) -> Vec<u8> {
        bytes(&power(&number(padded), &self.exponent, &self.modulus))
    }

    /// EMSA-PKCS1-v1_5 (RFC 8017 section 9.2) around this.
    pub fn pkcs1_padded(&self, inner: &[u8]) -> Vec<u8> {
        filled(&[0, 1], 0xff, &[&[0][..], inner].concat())
    }

    /// Paddings of a message that are nearly right.
    pub fn pkcs1_forgeries(&self, message: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let hash = Hash::Sha256;
        let digest = hash.of(message);
        let info = hash.info(&digest);
        let right = self.pkcs1_padded(&info);
        let with = |at: usize, byte: u8| {
            let mut padded = right.clone();
            padded[at] = byte;
            padded
        };
        let start = [&[0, 1][..], &[0xff; 8], &[0], &info].concat();
        let null = [0x05, 0x00];
        let algorithm = der(0x30, &[&der(0x06, hash.identifier())[..], &null].concat());
        let long_length = [&[0x30, 0x81, info.len() as u8 - 2][..], &info[2..]].concat();
        let inside = [algorithm.clone(), der(0x04, &digest), null.to_vec()].concat();
        vec![
            ("PKCS #1 without a DigestInfo", self.pkcs1_padded(&digest)),
            ("PKCS #1 without parameters", self.pkcs1_padded(&hash.info_with(&[], &digest))),
            ("PKCS #1 with parameters twice", self.pkcs1_padded(&hash.info_with(&[5, 0, 5, 0], &digest))),
            (
                "PKCS #1 with a NULL that is not empty",
                self.pkcs1_padded(&hash.info_with(&[5, 1, 0], &digest)),
            ),
            (
                "PKCS #1 with data for parameters",
                self.pkcs1_padded(&hash.info_with(&der(4, &[7; 16]), &digest)),
            ),
            ("PKCS #1 with a length in long form", self.pkcs1_padded(&long_length)),
            ("PKCS #1 with data inside the DigestInfo", self.pkcs1_padded(&der(0x30, &inside))),
            ("PKCS #1 with data behind the DigestInfo", self.pkcs1_padded(&[&info[..], &[0; 8]].concat())),
            ("PKCS #1 with short padding and zeros behind", filled(&start, 0, &[])),
            ("PKCS #1 with short padding and ones behind", filled(&start, 0xff, &[])),
            ("PKCS #1 with a digest cut", self.pkcs1_padded(&hash.info(&digest[..31]))),
            ("PKCS #1 with a digest too long", self.pkcs1_padded(&hash.info(&[&digest[..], &[0]].concat()))),
            ("PKCS #1 with an empty digest", self.pkcs1_padded(&hash.info(&[]))),
            ("PKCS #1 with SHA-1", self.pkcs1_padded(&Hash::Sha1.info(&Hash::Sha1.of(message)))),
            ("PKCS #1 that says SHA-1", self.pkcs1_padded(&Hash::Sha1.info(&digest))),
            ("PKCS #1 that says SHA-512", self.pkcs1_padded(&Hash::Sha512.info(&digest))),
            (
                "PKCS #1 that says SHA-256 of SHA-512",
                self.pkcs1_padded(&hash.info(&Hash::Sha512.of(message))),
            ),
            ("PKCS #1 of the digest's digest", self.pkcs1_padded(&hash.info(&hash.of(&digest)))),
            ("PKCS #1 with block type 0", with(1, 0)),
            ("PKCS #1 with block type 2", with(1, 2)),
            ("PKCS #1 with a first byte", with(0, 1)),
            ("PKCS #1 with a zero in the padding", with(40, 0)),
            ("PKCS #1 with another byte in the padding", with(40, 0xfe)),
            ("PKCS #1 with another byte first in the padding", with(2, 0xfe)),
            ("PKCS #1 without the zero before the DigestInfo", with(LENGTH - info.len() - 1, 0xff)),
            ("PKCS #1 with another tag", with(LENGTH - info.len(), 0x31)),
            ("PKCS #1 with padding of zeros", filled(&[0, 1], 0, &[&[0][..], &info].concat())),
            ("PKCS #1 with no padding", filled(&[], 0, &info)),
        ]
    }

    /// EMSA-PSS (RFC 8017 section 9.1.1) of a message.
    pub fn pss_padded(&self, hash: Hash, mask: Hash, message: &[u8], salt: &[u8], trailer: u8) -> Vec<u8> {
        let hashed = hash.of(&[&[0; 8][..], &hash.of(message), salt].concat());
        let block = LENGTH - hashed.len() - 1;
        let mut padded = filled_to(block, &[], 0, &[&[1][..], salt].concat());
        let masks = (0u32..).flat_map(|count| mask.of(&[&hashed[..], &count.to_be_bytes()].concat()));
        for (byte, mask) in padded.iter_mut().zip(masks) {
            *byte ^= mask;
        }
        // The encoded message is a bit shorter than the modulus.
        padded[0] &= 0x7f;
        [&padded[..], &hashed, &[trailer]].concat()
    }
}

fn filled(front: &[u8], with: u8, back: &[u8]) -> Vec<u8> {
    filled_to(LENGTH, front, with, back)
}

fn filled_to(length: usize, front: &[u8], with: u8, back: &[u8]) -> Vec<u8> {
    [front, &vec![with; length - front.len() - back.len()], back].concat()
}

/// The values of the elements in DER that stand side by side.
fn elements(mut der: &[u8]) -> Vec<&[u8]> {
    let mut values = Vec::new();
    while let [_, first, rest @ ..] = der {
        let digits = if *first & 0x80 == 0 { 0 } else { usize::from(*first & 0x7f) };
        let long = rest[..digits].iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        let length = if digits == 0 { usize::from(*first) } else { long };
        values.push(&rest[digits..digits + length]);
        der = &rest[digits + length..];
    }
    values
}

/// A number, the least limb first.
fn number(big_endian: &[u8]) -> Number {
    let mut number = [0; LIMBS];
    for (at, byte) in big_endian.iter().rev().enumerate().filter(|(_, byte)| **byte != 0) {
        number[at / 8] |= u64::from(*byte) << (at % 8 * 8);
    }
    number
}

fn bytes(number: &Number) -> Vec<u8> {
    number.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect()
}

/// `base ^ exponent` by a modulus whose first bit is set, in Montgomery's form.
fn power(base: &Number, exponent: &Number, modulus: &Number) -> Number {
    // Newton: each step doubles the bits of the inverse that are right.
    let inverse = (0..6)
        .fold(1u64, |inverse, _| inverse.wrapping_mul(2u64.wrapping_sub(modulus[0].wrapping_mul(inverse))));
    let mut one = [0; LIMBS];
    one[0] = 1;
    let (mut power_of_two, mut unit) = (one, one);
    for bit in 0..2 * LENGTH * 8 {
        if bit == LENGTH * 8 {
            unit = power_of_two;
        }
        power_of_two = doubled(&power_of_two, modulus);
    }
    let multiply = |left: &Number, right: &Number| multiplied(left, right, modulus, inverse.wrapping_neg());
    let base = multiply(base, &power_of_two);
    let mut result = unit;
    for bit in (0..LENGTH * 8).rev() {
        result = multiply(&result, &result);
        if exponent[bit / 64] >> (bit % 64) & 1 == 1 {
            result = multiply(&result, &base);
        }
    }
    multiply(&result, &one)
}

fn doubled(number: &Number, modulus: &Number) -> Number {
    let mut carry = 0;
    let twice = number.map(|limb| {
        let shifted = limb << 1 | carry;
        carry = limb >> 63;
        shifted
    });
    reduced(twice, carry, modulus)
}

/// A number below twice the modulus, brought below it; `above` is what stands before its first limb.
fn reduced(number: Number, above: u64, modulus: &Number) -> Number {
    let mut borrow = 0;
    let mut less = [0; LIMBS];
    for at in 0..LIMBS {
        let wide = i128::from(number[at]) - i128::from(modulus[at]) - borrow;
        borrow = i128::from(wide < 0);
        less[at] = wide as u64;
    }
    if above == 0 && borrow == 1 { number } else { less }
}

/// `left * right / 2^2048` by the modulus; `negated` is the negative inverse of its least limb.
fn multiplied(left: &Number, right: &Number, modulus: &Number, negated: u64) -> Number {
    let mut sum = [0u64; LIMBS + 2];
    let add = |sum: &mut [u64; LIMBS + 2], factor: u64, number: &Number| {
        let mut carry = 0u128;
        for at in 0..LIMBS {
            let wide = u128::from(factor) * u128::from(number[at]) + u128::from(sum[at]) + carry;
            sum[at] = wide as u64;
            carry = wide >> 64;
        }
        let wide = u128::from(sum[LIMBS]) + carry;
        sum[LIMBS] = wide as u64;
        sum[LIMBS + 1] += (wide >> 64) as u64;
    };
    for limb in left {
        add(&mut sum, *limb, right);
        let factor = sum[0].wrapping_mul(negated);
        add(&mut sum, factor, modulus);
        sum.copy_within(1.., 0);
        sum[LIMBS + 1] = 0;
    }
    let number = sum[..LIMBS].try_into().expect("as many limbs");
    reduced(number, sum[LIMBS], modulus)
}
