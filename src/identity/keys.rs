//! Keys: what an issuer's tokens are verified with, read from PEM and JWK sets.

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use serde_json::Value;

use crate::identity::issuer::IssuerName;

/// The algorithms that may be pinned, by their names: asymmetric ones only (RFC 7518 section 3.1, RFC 8037). `Ed25519` is
/// the newer name of the one kind of EdDSA that is supported here (RFC 9864 section 2.2).
pub const ALGORITHMS: [(&str, Algorithm); 5] = [
    ("RS256", Algorithm::RS256),
    ("PS256", Algorithm::PS256),
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
    ("Ed25519", Algorithm::EdDSA),
];

/// The most keys of a set that are read: a key without `kid` is tried on every token.
const KEYS_MAX: usize = 256;
/// Sizes of RSA keys that are used, in bits (RFC 7518 section 3.3; the upper one bounds the work).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A public key, and what it may verify.
#[derive(Clone)]
pub struct VerifyingKey {
    /// Its `kid`; a key from a PEM file has none and fits every token.
    pub kid: Option<String>,
    /// Whose tokens it may verify; `None` leaves that to the issuer it was configured for.
    pub issuer: Option<IssuerName>,
    /// The algorithms it may verify.
    pub algorithms: Vec<Algorithm>,
    /// The key.
    pub key: DecodingKey,
    /// What it was read from.
    text: String,
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &VerifyingKey) -> bool {
        self.text == other.text
    }
}

impl VerifyingKey {
    /// Whether a signature (base64url, as in a compact JWS) over these bytes is this key's, by an algorithm that it may
    /// verify.
    pub fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &str) -> bool {
        self.algorithms.contains(&algorithm)
            && jsonwebtoken::crypto::verify(signature, signed, &self.key, algorithm).unwrap_or(false)
    }
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyingKey").field("kid", &self.kid).field("algorithms", &self.algorithms).finish()
    }
}

/// What a key file or key set held: the usable keys, and why others are not.
#[derive(Clone, Debug, Default)]
pub struct LoadedKeys {
    /// Usable keys.
    pub keys: Vec<VerifyingKey>,
    /// Why a key was left out.
    pub ignored: Vec<String>,
    /// The `kid` of those that were left out.
    pub ignored_kids: Vec<String>,
}

impl LoadedKeys {
    /// Whether a key of this id was there, usable or not.
    pub fn names(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
            || self.ignored_kids.iter().any(|known| known == kid)
    }

    /// Whether the same keys are usable, in any order.
    pub fn same_keys(&self, other: &LoadedKeys) -> bool {
        self.keys.len() == other.keys.len() && self.keys.iter().all(|key| other.keys.contains(key))
    }
}

/// Reads a PEM file with one public key (SubjectPublicKeyInfo, or PKCS#1 for RSA).
pub fn from_pem(pem: &str) -> Result<LoadedKeys, String> {
    type Read = fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>;
    let readers: [(Read, &[Algorithm]); 3] = [
        (DecodingKey::from_rsa_pem, &[Algorithm::RS256, Algorithm::PS256]),
        (DecodingKey::from_ec_pem, &[Algorithm::ES256]),
        (DecodingKey::from_ed_pem, &[Algorithm::EdDSA]),
    ];
    for (read, algorithms) in readers {
        if let Ok(key) = read(pem.as_bytes()) {
            check(&key).map_err(|why| format!("holds a key that {why}"))?;
            let (algorithms, text) = (algorithms.to_vec(), pem.to_owned());
            let key = VerifyingKey { kid: None, issuer: None, algorithms, key, text };
            return Ok(LoadedKeys { keys: vec![key], ..LoadedKeys::default() });
        }
    }
    Err("holds no public key of RSA, P-256 or Ed25519 in PEM form".to_owned())
}

/// Reads a JWK set (RFC 7517 section 5). One bad key, of whatever shape, does not spoil the others.
pub fn from_jwks(text: &[u8]) -> Result<LoadedKeys, String> {
    let set: Value = serde_json::from_slice(text).map_err(|error| format!("is no JSON: {error}"))?;
    let Some(Value::Array(members)) = set.get("keys") else {
        return Err("is no JWK set: it has no list `keys`".to_owned());
    };
    let mut loaded = LoadedKeys::default();
    for (at, member) in members.iter().enumerate() {
        let kid = member.get("kid").and_then(Value::as_str);
        let usable = match at < KEYS_MAX {
            true => read_key(member),
            false => Err("is one of too many".to_owned()),
        };
        let same = |key: &VerifyingKey| {
            let is_same = |known: &VerifyingKey| {
                known.kid.is_some() && known.kid == key.kid && known.issuer == key.issuer
            };
            loaded.keys.iter().any(is_same)
        };
        let why = match usable {
            Ok(key) if same(&key) => "is there twice".to_owned(),
            Ok(key) => {
                loaded.keys.push(key);
                continue;
            }
            Err(why) => why,
        };
        let name = kid.map_or_else(|| format!("number {at}"), str::to_owned);
        loaded.ignored.push(format!("key `{name}` {why}"));
        loaded.ignored_kids.extend(kid.map(str::to_owned));
    }
    Ok(loaded)
}

fn read_key(member: &Value) -> Result<VerifyingKey, String> {
    let jwk: Jwk = serde_json::from_value(member.clone()).map_err(|error| format!("is no JWK: {error}"))?;
    let algorithms = algorithms_of(&jwk, member.get("alg").and_then(Value::as_str))?;
    let key = DecodingKey::from_jwk(&jwk).map_err(|_| "holds what is not base64url")?;
    check(&key)?;
    let issuer = match member.get("issuer") {
        None => None,
        Some(Value::String(issuer)) => {
            Some(IssuerName::parse_published(issuer).ok_or("names an issuer that is none")?)
        }
        Some(_) => return Err("names an issuer that is no text".to_owned()),
    };
    Ok(VerifyingKey { kid: jwk.common.key_id, issuer, algorithms, key, text: member.to_string() })
}

/// Whether a key is strong enough to be used, whatever form it came in. The error says why not.
fn check(key: &DecodingKey) -> Result<(), String> {
    match (key.family(), key.kind()) {
        (AlgorithmFamily::Rsa, kind) => {
            let modulus = match kind {
                DecodingKeyKind::RsaModulusExponent { n, .. } => Some(n.as_slice()),
                DecodingKeyKind::SecretOrDer(der) => modulus(der),
            };
            let bits = bits(modulus.ok_or("has no modulus")?);
            match RSA_BITS.contains(&bits) {
                true => Ok(()),
                false => Err(format!("has {bits} bits, outside {} to {}", RSA_BITS.start(), RSA_BITS.end())),
            }
        }
        (AlgorithmFamily::Ed, DecodingKeyKind::SecretOrDer(point)) if is_of_small_order(point) => {
            Err("is a point of small order: anybody can sign for it".to_owned())
        }
        _ => Ok(()),
    }
}

/// The first number of an RSAPublicKey in DER (RFC 8017 appendix A.1.1).
fn modulus(der: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    content(content(der, SEQUENCE)?, INTEGER)
}

/// The content of what DER begins with, if it is of that kind (X.690 section 8.1).
fn content(der: &[u8], kind: u8) -> Option<&[u8]> {
    let (&found, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..0x80 => (usize::from(length), rest),
        _ => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (
                bytes
                    .iter()
                    .try_fold(0usize, |sum, byte| sum.checked_mul(256)?.checked_add((*byte).into()))?,
                rest,
            )
        }
    };
    rest.get(..length).filter(|_| found == kind)
}

/// The length of a number, in bits.
fn bits(number: &[u8]) -> usize {
    let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    let leading = number.get(first).map_or(0, |byte| byte.leading_zeros() as usize);
    (number.len() - first) * 8 - leading
}

/// Whether an Ed25519 key is one of the points whose order divides eight (RFC 8032 section 5.1), however it is spelt.
fn is_of_small_order(point: &[u8]) -> bool {
    let mut point = point.to_vec();
    let Some(last) = point.last_mut() else { return false };
    // The sign of the other coordinate is the highest bit.
    *last &= 0x7f;
    let hex: String = point.iter().map(|byte| format!("{byte:02x}")).collect();
    SMALL_ORDER.contains(&hex.as_str())
}

/// Their encodings without the sign, those beyond the field's prime among them.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// The algorithms that a JWK may verify: those of its type, narrowed by its `use`, `key_ops` and `alg`. The library knows
/// fewer names of algorithms, so that `alg` is read from the text.
fn algorithms_of(jwk: &Jwk, alg: Option<&str>) -> Result<Vec<Algorithm>, String> {
    if jwk.common.public_key_use.as_ref().is_some_and(|public_use| *public_use != PublicKeyUse::Signature) {
        return Err("is not for signatures".to_owned());
    }
    let verifies = |operations: &Vec<KeyOperations>| operations.contains(&KeyOperations::Verify);
    if jwk.common.key_operations.as_ref().is_some_and(|operations| !verifies(operations)) {
        return Err("is not for verifying".to_owned());
    }
    let of_type: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[Algorithm::RS256, Algorithm::PS256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == jsonwebtoken::jwk::EllipticCurve::P256 => {
            &[Algorithm::ES256]
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == jsonwebtoken::jwk::EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        // A symmetric key in a public set would let every reader of the set sign tokens.
        _ => return Err("is of no type that is accepted: RSA, P-256, Ed25519".to_owned()),
    };
    let Some(alg) = alg else { return Ok(of_type.to_vec()) };
    let Some((_, named)) = ALGORITHMS.into_iter().find(|(name, _)| *name == alg) else {
        return Err("names an algorithm that is not accepted".to_owned());
    };
    match of_type.contains(&named) {
        true => Ok(vec![named]),
        false => Err("names an algorithm of another key type".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use serde_json::json;

    use super::*;
    use crate::policy::id::Guid;

    /// A number of so many bits, in base64url.
    fn number(bits: usize) -> String {
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        bytes[0] >>= (8 - bits % 8) % 8;
        URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn keys_are_read_one_by_one() {
        let point = URL_SAFE_NO_PAD.encode([7; 32]);
        let ec = |kid: &str| json!({ "kty": "EC", "crv": "P-256", "x": point, "y": point, "kid": kid });
        let rsa = |n: String| json!({ "kty": "RSA", "n": n, "e": "AQAB" });
        let ed = |curve: &str| json!({ "kty": "OKP", "crv": curve, "x": point });
        let with = |mut key: Value, name: &str, value: Value| {
            key[name] = value;
            key
        };
        for (what, member, why) in [
            ("P-256", ec("a"), None),
            ("Ed25519", json!({ "kty": "OKP", "crv": "Ed25519", "x": point }), None),
            ("RSA", rsa(number(2048)), None),
            (
                "RSA with a zero before it",
                rsa(URL_SAFE_NO_PAD.encode([&[0][..], &[0xff; 256]].concat())),
                None,
            ),
            ("for an encryption", with(ec("a"), "use", json!("enc")), Some("not for signatures")),
            ("for signing", with(ec("a"), "key_ops", json!(["sign"])), Some("not for verifying")),
            ("of another algorithm", with(ec("a"), "alg", json!("RS256")), Some("another key type")),
            (
                "of an algorithm not known",
                with(ec("a"), "alg", json!("ES999")),
                Some("algorithm that is not accepted"),
            ),
            ("of an algorithm that is a number", with(ec("a"), "alg", json!(7)), Some("is no JWK")),
            ("of an algorithm that is null", with(ec("a"), "alg", json!(null)), None),
            ("Ed25519 by its older name", with(ed("Ed25519"), "alg", json!("EdDSA")), None),
            ("Ed25519 by its newer name", with(ed("Ed25519"), "alg", json!("Ed25519")), None),
            ("Ed25519 in small letters", with(ed("Ed25519"), "alg", json!("ed25519")), Some("not accepted")),
            ("Ed448 by its newer name", with(ed("Ed448"), "alg", json!("Ed448")), Some("")),
            (
                "P-256 that calls itself Ed25519",
                with(ec("a"), "alg", json!("Ed25519")),
                Some("another key type"),
            ),
            ("weak RSA", rsa(number(2047)), Some("has 2047 bits")),
            ("huge RSA", rsa(number(8193)), Some("has 8193 bits")),
            ("empty RSA", rsa(String::new()), Some("has 0 bits")),
            ("RSA that is no number", rsa("!".to_owned()), Some("not base64url")),
            ("symmetric", json!({ "kty": "oct", "k": "c2VjcmV0" }), Some("no type that is accepted")),
            ("another curve", with(ec("a"), "crv", json!("P-384")), Some("no type that is accepted")),
            ("an issuer", with(ec("a"), "issuer", json!("https://x/{tenantid}/v2.0")), None),
            (
                "half an issuer",
                with(ec("a"), "issuer", json!("https://x{tenantid}")),
                Some("issuer that is none"),
            ),
            ("an issuer that is a list", with(ec("a"), "issuer", json!([])), Some("no text")),
            ("a kid that is a number", with(ec("a"), "kid", json!(7)), Some("is no JWK")),
            ("a number", json!(1), Some("is no JWK")),
            ("nothing", json!(null), Some("is no JWK")),
        ] {
            // A good key on each side.
            let set = json!({ "keys": [ec("before"), member, ec("after")] });
            let loaded = from_jwks(set.to_string().as_bytes()).unwrap();
            assert_eq!(loaded.keys.len(), 2 + usize::from(why.is_none()), "{what}: {:?}", loaded.ignored);
            let said = loaded.ignored.first().map_or("", String::as_str);
            assert!(said.contains(why.unwrap_or("")), "{what}: {said}");
        }
    }

    /// What DER says of a content: its kind, its length, itself.
    fn der(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let long = [0x82, (length >> 8) as u8, length as u8];
        let length = if length < 0x80 { &[length as u8][..] } else { &long };
        [&[kind], length, content].concat()
    }

    fn pem(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    #[test]
    fn a_pem_file_is_held_to_the_same_as_a_key_of_a_set() {
        let rsa = |bits: usize| {
            let n = URL_SAFE_NO_PAD.decode(number(bits)).unwrap();
            // A number that begins with a set bit has a zero before it.
            let n = if n[0] & 0x80 == 0 { n } else { [&[0][..], &n].concat() };
            der(0x30, &[der(0x02, &n), der(0x02, &[1, 0, 1])].concat())
        };
        let bits = |content: &[u8]| der(0x03, &[&[0], content].concat());
        let wrapped = |kind: &[u8], key: &[u8]| der(0x30, &[der(0x30, kind), bits(key)].concat());
        let of_rsa = [0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
        let of_ed25519 = [0x06, 3, 0x2b, 0x65, 0x70];
        let neutral = [&[1][..], &[0; 31]].concat();
        for (what, pem, why) in [
            ("RSA", pem("RSA PUBLIC KEY", &rsa(2048)), None),
            ("RSA in a wrapper", pem("PUBLIC KEY", &wrapped(&of_rsa, &rsa(4096))), None),
            ("the largest RSA", pem("RSA PUBLIC KEY", &rsa(8192)), None),
            ("weak RSA", pem("RSA PUBLIC KEY", &rsa(2047)), Some("has 2047 bits, outside 2048 to 8192")),
            (
                "weak RSA in a wrapper",
                pem("PUBLIC KEY", &wrapped(&of_rsa, &rsa(1024))),
                Some("has 1024 bits"),
            ),
            ("huge RSA", pem("RSA PUBLIC KEY", &rsa(8193)), Some("has 8193 bits")),
            ("RSA of no number", pem("RSA PUBLIC KEY", &der(0x30, &der(0x04, &[1]))), Some("has no modulus")),
            ("Ed25519", pem("PUBLIC KEY", &wrapped(&of_ed25519, &[7; 32])), None),
            ("small order", pem("PUBLIC KEY", &wrapped(&of_ed25519, &neutral)), Some("of small order")),
        ] {
            match (from_pem(&pem), why) {
                (Ok(loaded), None) => assert_eq!(loaded.keys.len(), 1, "{what}"),
                (Err(said), Some(why)) => assert!(said.contains(why), "{what}: {said}"),
                (found, _) => panic!("{what}: {found:?}"),
            }
        }
    }

    #[test]
    fn sets_are_the_same_whatever_their_order() {
        let key = |kid: &str, byte: u8| {
            let x = URL_SAFE_NO_PAD.encode([byte; 32]);
            json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid })
        };
        let read = |keys: &[Value]| from_jwks(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
        let known = read(&[key("a", 1), key("b", 2)]);
        assert!(known.same_keys(&read(&[key("b", 2), key("a", 1)])));
        assert!(
            known.same_keys(&read(&[key("b", 2), json!({}), key("a", 1), key("a", 3)])),
            "what is not used"
        );
        assert!(!known.same_keys(&read(&[key("a", 1)])));
        assert!(!known.same_keys(&read(&[key("a", 1), key("b", 3)])), "the same names");
        assert!(!known.same_keys(&read(&[key("a", 1), key("b", 2), key("c", 3)])));
        assert!(known.names("a") && !known.names("c"));
    }

    #[test]
    fn a_key_fits_the_issuer_that_it_names() {
        let tenant = Guid::parse("7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01").unwrap();
        let name = IssuerName::parse_published("https://login.example/{tenantid}/v2.0").unwrap();
        assert!(name.fits(&format!("https://login.example/{tenant}/v2.0"), tenant));
        assert!(!name.fits("https://login.example/{tenantid}/v2.0", tenant));
        assert_eq!(name.to_string(), "https://login.example/{tid}/v2.0");
    }
}
