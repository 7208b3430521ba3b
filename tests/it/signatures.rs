//! Signatures: forgeries of our own making, against keys read as the gateway reads them.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
};
use aws_lc_rs::{digest, hmac, rand};
use countersign::identity::keys::{self, ALGORITHMS, LoadedKeys, VerifyingKey};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::minting::{P256_ORDER, encode, subtract};
use crate::rsa_forger::{Hash, RsaForger};

const SIGNED: &[u8] = b"eyJhbGciOiJFUzI1NiJ9.eyJ0aWQiOiJ4In0";

/// The order of the group of Ed25519, the smallest digit first (RFC 8032 section 5.1).
const ED25519_ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

/// Forgeries of one kind: each is tried with every algorithm of the key.
struct Forgeries {
    key: VerifyingKey,
    failures: Vec<String>,
}

impl Forgeries {
    fn of(jwk: &Value) -> Forgeries {
        let mut loaded = load(jwk);
        let key = loaded.keys.pop().unwrap_or_else(|| panic!("{:?}", loaded.ignored));
        Forgeries { key, failures: Vec::new() }
    }

    fn verify(&mut self, what: &str, algorithm: Algorithm, signature: &[u8]) {
        if !self.key.verifies(algorithm, SIGNED, &encode(signature)) {
            self.failures.push(format!("{what}: does not verify"));
        }
    }

    fn fail(&mut self, what: &str, signature: &[u8]) {
        for (name, algorithm) in ALGORITHMS {
            if self.key.verifies(algorithm, SIGNED, &encode(signature)) {
                self.failures.push(format!("{what}: verifies by {name}"));
            }
        }
    }

    /// A good signature that is cut, filled or shifted.
    fn fail_in_other_lengths(&mut self, good: &[u8]) {
        self.fail("nothing", &[]);
        self.fail("one zero", &[0]);
        for cut in [1, 2, good.len() / 2, good.len() - 1] {
            self.fail(&format!("the last {cut} bytes cut"), &good[..good.len() - cut]);
            self.fail(&format!("the first {cut} bytes cut"), &good[cut..]);
        }
        for more in [1, 2, 32] {
            self.fail(&format!("{more} zeros behind"), &[good, &vec![0; more]].concat());
            self.fail(&format!("{more} zeros in front"), &[&vec![0; more], good].concat());
        }
        self.fail("all zeros", &vec![0; good.len()]);
        self.fail("all ones", &vec![0xff; good.len()]);
        let backwards: Vec<u8> = good.iter().rev().copied().collect();
        self.fail("backwards", &backwards);
        let flips = (0..good.len() * 8).step_by(7);
        for bit in flips {
            let mut flipped = good.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            self.fail(&format!("bit {bit} flipped"), &flipped);
        }
    }

    fn finish(self) {
        assert!(self.failures.is_empty(), "{} failures:\n{}", self.failures.len(), self.failures.join("\n"));
    }
}

fn load(jwk: &Value) -> LoadedKeys {
    keys::from_jwks(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap()
}

fn ec_jwk(curve: &str, point: &[u8]) -> Value {
    let (x, y) = point[1..].split_at((point.len() - 1) / 2);
    json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) })
}

fn ec_pair(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    EcdsaKeyPair::generate(algorithm).unwrap()
}

#[test]
fn ecdsa_signatures_have_two_numbers_in_range() {
    let random = rand::SystemRandom::new();
    let pair = ec_pair(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let sign = |message: &[u8]| pair.sign(&random, message).unwrap().as_ref().to_vec();
    let mut forgeries = Forgeries::of(&ec_jwk("P-256", pair.public_key().as_ref()));
    let good = sign(SIGNED);
    forgeries.verify("the good one", Algorithm::ES256, &good);
    forgeries.fail_in_other_lengths(&good);

    let order = hex(P256_ORDER);
    let (r, s) = good.split_at(32);
    // Both s and n - s fit the equation, and RFC 7518 asks for neither.
    let other = subtract(&order, s);
    forgeries.verify("n - s", Algorithm::ES256, &[r, &other].concat());
    let number = |low: u8| [&[0; 31][..], &[low]].concat();
    let below = |what: u8| subtract(&order, &number(what));
    let above = |what: u8| subtract(&order, &subtract(&[0; 32], &number(what)));
    let names = ["0", "1", "n", "n - 1", "n + 1", "2^256 - 1", "r"];
    let values = [number(0), number(1), order.clone(), below(1), above(1), vec![0xff; 32], r.to_vec()];
    for (name, value) in names.iter().zip(&values) {
        forgeries.fail(&format!("s = {name}"), &[r, value].concat());
        for (other_name, other) in names.iter().zip(&values).filter(|(name, _)| **name != "r") {
            forgeries.fail(&format!("r = {other_name}, s = {name}"), &[other.as_slice(), value].concat());
        }
        if *name != "r" {
            forgeries.fail(&format!("r = {name}"), &[value.as_slice(), s].concat());
        }
    }
    forgeries.fail("r and s swapped", &[s, r].concat());
    forgeries.fail("r negated", &[&subtract(&order, r), s].concat());
    forgeries.fail("of another message", &sign(b"x"));
    forgeries.fail("of the message twice", &sign(&[SIGNED, SIGNED].concat()));
    forgeries.fail("of the digest", &sign(digest::digest(&digest::SHA256, SIGNED).as_ref()));

    // A number with a zero in front keeps its length.
    let leading_zero = |from: usize| (0..20_000).map(|_| sign(SIGNED)).find(|signature| signature[from] == 0);
    for from in [0, 32] {
        let short = leading_zero(from).expect("one in 256 is short");
        forgeries.verify("a number with a zero in front", Algorithm::ES256, &short);
        let mut cut = short;
        cut.remove(from);
        forgeries.fail("a number without the zero in front", &cut);
    }
    for (name, algorithm) in [
        ("another key", &ECDSA_P256_SHA256_FIXED_SIGNING),
        ("secp256k1", &ECDSA_P256K1_SHA256_FIXED_SIGNING),
        ("P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
    ] {
        forgeries.fail(name, ec_pair(algorithm).sign(&random, SIGNED).unwrap().as_ref());
    }
    forgeries.finish();
}

#[test]
fn ed25519_signatures_have_one_form() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let jwk = |x: &[u8]| json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(x) });
    let mut forgeries = Forgeries::of(&jwk(pair.public_key().as_ref()));
    let good = pair.sign(SIGNED).as_ref().to_vec();
    forgeries.verify("the good one", Algorithm::EdDSA, &good);
    forgeries.fail_in_other_lengths(&good);
    let (point, scalar) = good.split_at(32);
    // RFC 8032 section 5.1.7: S is below the order, or one signature could be written in many ways.
    let mut more = scalar.to_vec();
    for times in 1..=8 {
        more = add_little_endian(&more, &hex(ED25519_ORDER));
        forgeries.fail(&format!("S + {times} L"), &[point, &more].concat());
    }
    forgeries.fail("S = 0", &[point, &[0; 32]].concat());
    forgeries.fail("S = L", &[point, &hex(ED25519_ORDER)].concat());
    forgeries.fail("R and S swapped", &[scalar, point].concat());
    for (name, small) in small_order_points() {
        forgeries.fail(&format!("R of small order {name}"), &[small.as_slice(), scalar].concat());
        forgeries.fail(&format!("R of small order {name}, S = 0"), &[small.as_slice(), &[0; 32]].concat());
    }
    forgeries.fail("another key", Ed25519KeyPair::generate().unwrap().sign(SIGNED).as_ref());
    forgeries.fail("another message", pair.sign(b"x").as_ref());
    forgeries.fail("of the digest", pair.sign(digest::digest(&digest::SHA512, SIGNED).as_ref()).as_ref());
    forgeries.finish();
}

/// Encodings of the points whose order divides eight, canonical and not: y, the smallest digit first.
fn small_order_points() -> Vec<(&'static str, Vec<u8>)> {
    [
        ("1", "0100000000000000000000000000000000000000000000000000000000000000"),
        ("1, not canonical", "0100000000000000000000000000000000000000000000000000000000000080"),
        ("1, beyond the field", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        ("2", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        ("4", "0000000000000000000000000000000000000000000000000000000000000000"),
        ("4, the other", "0000000000000000000000000000000000000000000000000000000000000080"),
        ("4, beyond the field", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        ("8", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        ("8, the second", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
        ("8, the third", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        ("8, the fourth", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
    ]
    .map(|(name, text)| (name, hex(text)))
    .to_vec()
}

#[test]
fn rsa_signatures_have_one_padding() {
    let forger = RsaForger::new();
    let mut forgeries = Forgeries::of(&forger.jwk());
    let (pkcs1, pss) = (Algorithm::RS256, Algorithm::PS256);
    let good = forger.pkcs1(Hash::Sha256, SIGNED);
    forgeries.verify("PKCS #1 by the library", pkcs1, &good);
    forgeries.fail_in_other_lengths(&good);
    let digest = digest::digest(&digest::SHA256, SIGNED);
    assert_eq!(
        forger.raw(&forger.pkcs1_padded(&Hash::Sha256.info(digest.as_ref()))),
        good,
        "the forger forges"
    );
    for (what, padded) in forger.pkcs1_forgeries(SIGNED) {
        forgeries.fail(what, &forger.raw(&padded));
    }
    for hash in [Hash::Sha384, Hash::Sha512] {
        forgeries.fail("PKCS #1 with another hash", &forger.pkcs1(hash, SIGNED));
    }
    if let Some(beyond) = forger.plus_modulus(&good) {
        forgeries.fail("s + n", &beyond);
    }
    forgeries.fail("n - s", &forger.modulus_minus(&good));
    forgeries.fail("n", &forger.modulus());
    let one = [&[0; 255][..], &[1]].concat();
    forgeries.fail("1", &one);
    forgeries.fail("n - 1", &forger.modulus_minus(&one));

    let good = forger.pss_by_library(Hash::Sha256, SIGNED);
    forgeries.verify("PSS by the library", pss, &good);
    forgeries.fail_in_other_lengths(&good);
    let forged = forger.raw(&forger.pss_padded(Hash::Sha256, Hash::Sha256, SIGNED, &[7; 32], 0xbc));
    forgeries.verify("PSS by the forger", pss, &forged);
    // RFC 7518 section 3.5: the salt is as long as the hash, and the mask is made with the same hash.
    for length in [0, 1, 20, 31, 33, 64, 222] {
        let padded = forger.pss_padded(Hash::Sha256, Hash::Sha256, SIGNED, &vec![7; length], 0xbc);
        forgeries.fail(&format!("PSS with a salt of {length}"), &forger.raw(&padded));
    }
    for (what, hash, mask, trailer) in [
        ("PSS with another mask", Hash::Sha256, Hash::Sha1, 0xbc),
        ("PSS with another hash", Hash::Sha1, Hash::Sha256, 0xbc),
        ("PSS with SHA-1", Hash::Sha1, Hash::Sha1, 0xbc),
        ("PSS with SHA-384", Hash::Sha384, Hash::Sha384, 0xbc),
        ("PSS with another trailer", Hash::Sha256, Hash::Sha256, 0xcc),
    ] {
        forgeries.fail(what, &forger.raw(&forger.pss_padded(hash, mask, SIGNED, &[7; 32], trailer)));
    }
    // One key, two paddings: neither passes for the other, and a key that names its algorithm does no other.
    let Forgeries { key, mut failures } = forgeries;
    for (signature, other) in [(forger.pkcs1(Hash::Sha256, SIGNED), pss), (good, pkcs1)] {
        if key.verifies(other, SIGNED, &encode(&signature)) {
            failures.push(format!("a signature of the other padding verifies by {other:?}"));
        }
        let named = |name: &str| {
            let mut jwk = forger.jwk();
            jwk["alg"] = json!(name);
            load(&jwk).keys[0].verifies(other, SIGNED, &encode(&signature))
        };
        if named("RS256") || named("PS256") {
            failures.push("a key does what it does not name".to_owned());
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn keys_that_prove_nothing_verify_nothing() {
    let forger = RsaForger::new();
    let digest = digest::digest(&digest::SHA256, SIGNED);
    let padded = forger.pkcs1_padded(&Hash::Sha256.info(digest.as_ref()));
    let rsa = |n: &[u8], e: &[u8]| json!({ "kty": "RSA", "n": encode(n), "e": encode(e) });
    let okp = |x: &[u8]| json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(x) });
    let random = rand::SystemRandom::new();
    let p256 = ec_pair(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let p384 = ec_pair(&ECDSA_P384_SHA384_FIXED_SIGNING);
    let k1 = ec_pair(&ECDSA_P256K1_SHA256_FIXED_SIGNING);
    let signature = |pair: &EcdsaKeyPair| pair.sign(&random, SIGNED).unwrap().as_ref().to_vec();
    let good = signature(&p256);
    let mut off_curve = p256.public_key().as_ref().to_vec();
    off_curve[64] ^= 1;
    let mut beyond_field = [&[4][..], &[0xff; 64]].concat();
    beyond_field[64] = 0;
    let rows = vec![
        // With the exponent 1 the padded message is its own signature.
        ("RSA with the exponent 1", rsa(&forger.modulus(), &[1]), padded.clone()),
        ("RSA with the exponent 0", rsa(&forger.modulus(), &[0]), padded.clone()),
        ("RSA with an even exponent", rsa(&forger.modulus(), &[1, 0, 0]), padded),
        ("RSA of 1024 bits", rsa(&forger.modulus()[..128], &[1, 0, 1]), vec![1; 128]),
        ("RSA with the modulus 1", rsa(&[1], &[1, 0, 1]), vec![0]),
        ("RSA with no modulus", rsa(&[], &[1, 0, 1]), vec![]),
        ("P-256 off the curve", ec_jwk("P-256", &off_curve), good.clone()),
        ("P-256 at 0, 0", ec_jwk("P-256", &[&[4][..], &[0; 64]].concat()), good.clone()),
        ("P-256 beyond the field", ec_jwk("P-256", &beyond_field), good.clone()),
        ("P-384 that calls itself P-256", ec_jwk("P-256", p384.public_key().as_ref()), signature(&p384)),
        ("P-384", ec_jwk("P-384", p384.public_key().as_ref()), signature(&p384)),
        ("secp256k1 that calls itself P-256", ec_jwk("P-256", k1.public_key().as_ref()), signature(&k1)),
        ("secp256k1", ec_jwk("secp256k1", k1.public_key().as_ref()), signature(&k1)),
        (
            "P-256 that is for encryption",
            with(ec_jwk("P-256", p256.public_key().as_ref()), "use", json!("enc")),
            good.clone(),
        ),
        (
            "P-256 that is for signing only",
            with(ec_jwk("P-256", p256.public_key().as_ref()), "key_ops", json!(["sign"])),
            good.clone(),
        ),
        (
            "P-256 that names RS256",
            with(ec_jwk("P-256", p256.public_key().as_ref()), "alg", json!("RS256")),
            good,
        ),
        (
            "a secret",
            json!({ "kty": "oct", "k": encode(&[7; 32]) }),
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), SIGNED).as_ref().to_vec(),
        ),
        ("Ed25519 of 31 bytes", okp(&[1; 31]), vec![0; 64]),
        ("X25519", json!({ "kty": "OKP", "crv": "X25519", "x": encode(&[9; 32]) }), vec![0; 64]),
    ];
    let mut failures: Vec<String> = Vec::new();
    for (what, jwk, signature) in rows {
        for key in load(&jwk).keys {
            for (name, algorithm) in ALGORITHMS {
                if key.verifies(algorithm, SIGNED, &encode(&signature)) {
                    failures.push(format!("{what}: verifies by {name}: {jwk} {}", encode(&signature)));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Anybody can sign for a point of small order: with S = 0 one of eight points R fits a message or the next one.
#[test]
fn ed25519_keys_of_small_order_are_ignored() {
    let okp = |point: &[u8]| json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": encode(point) });
    let used: Vec<&str> = spellings_of_small_order()
        .iter()
        .filter(|(_, point)| !load(&okp(point)).keys.is_empty())
        .map(|(name, _)| *name)
        .collect();
    assert!(used.is_empty(), "{used:?}");
    let good = Ed25519KeyPair::generate().unwrap();
    let good = okp(good.public_key().as_ref());
    let bad = okp(&spellings_of_small_order()[0].1);
    let loaded = keys::from_jwks(json!({ "keys": [bad, good] }).to_string().as_bytes()).unwrap();
    assert_eq!(loaded.keys.len(), 1, "the others of the set are read");
    assert!(format!("{:?}", loaded.ignored).contains("small order"), "{:?}", loaded.ignored);
}

/// Those points and what else decodes to one of them where a number beyond the field, or a sign of zero, is taken.
fn spellings_of_small_order() -> Vec<(&'static str, Vec<u8>)> {
    let more = [
        (
            "1, beyond the field and signed",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        ),
        ("2, signed", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
        (
            "4, beyond the field and signed",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        ),
    ];
    let mut all = small_order_points();
    all.extend(more.map(|(name, text)| (name, hex(text))));
    all
}

fn with(mut jwk: Value, name: &str, value: Value) -> Value {
    jwk[name] = value;
    jwk
}

fn add_little_endian(left: &[u8], right: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let digits = left.iter().zip(right).map(|(left, right)| {
        let digit = u16::from(*left) + u16::from(*right) + carry;
        carry = digit >> 8;
        (digit & 0xff) as u8
    });
    digits.collect()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap()).collect()
}
