//! Keys: what an issuer's tokens are verified with, from PEM or JWKS files.

use jsonwebtoken::jwk::{AlgorithmParameters, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

/// The algorithms that may be pinned: asymmetric ones only (RFC 7518 section 3.1, RFC 8037).
pub const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("RS256", Algorithm::RS256),
    ("PS256", Algorithm::PS256),
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
];

/// A public key, and what it may verify.
#[derive(Clone)]
pub struct VerifyingKey {
    /// Its `kid`; a key from a PEM file has none and fits every token.
    pub kid: Option<String>,
    /// The algorithms it may verify.
    pub algorithms: Vec<Algorithm>,
    /// The key.
    pub key: DecodingKey,
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyingKey").field("kid", &self.kid).field("algorithms", &self.algorithms).finish()
    }
}

/// What a key file held: the usable keys, and why others are not.
#[derive(Debug, Default)]
pub struct LoadedKeys {
    /// Usable keys.
    pub keys: Vec<VerifyingKey>,
    /// Why a key of the file was left out.
    pub ignored: Vec<String>,
}

/// Reads a PEM file with one public key (SubjectPublicKeyInfo, or PKCS#1 for RSA).
pub fn from_pem(pem: &[u8]) -> Result<LoadedKeys, String> {
    type Read = fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>;
    let readers: [(Read, &[Algorithm]); 3] = [
        (DecodingKey::from_rsa_pem, &[Algorithm::RS256, Algorithm::PS256]),
        (DecodingKey::from_ec_pem, &[Algorithm::ES256]),
        (DecodingKey::from_ed_pem, &[Algorithm::EdDSA]),
    ];
    for (read, algorithms) in readers {
        if let Ok(key) = read(pem) {
            let key = VerifyingKey { kid: None, algorithms: algorithms.to_vec(), key };
            return Ok(LoadedKeys { keys: vec![key], ignored: Vec::new() });
        }
    }
    Err("holds no public key of RSA, P-256 or Ed25519 in PEM form".to_owned())
}

/// Reads a JWK set (RFC 7517). One bad key does not spoil the others.
pub fn from_jwks(text: &str) -> Result<LoadedKeys, String> {
    let set: JwkSet = serde_json::from_str(text).map_err(|error| format!("is no JWK set: {error}"))?;
    let mut loaded = LoadedKeys::default();
    for (at, jwk) in set.keys.iter().enumerate() {
        let name = jwk.common.key_id.clone().unwrap_or_else(|| format!("number {at}"));
        let usable = algorithms_of(jwk).and_then(|algorithms| {
            let key = DecodingKey::from_jwk(jwk).map_err(|error| error.to_string())?;
            Ok(VerifyingKey { kid: jwk.common.key_id.clone(), algorithms, key })
        });
        match usable {
            Ok(key) if key.kid.is_some() && loaded.keys.iter().any(|known| known.kid == key.kid) => {
                loaded.ignored.push(format!("key `{name}` is there twice"));
            }
            Ok(key) => loaded.keys.push(key),
            Err(why) => loaded.ignored.push(format!("key `{name}` {why}")),
        }
    }
    Ok(loaded)
}

/// The algorithms that a JWK may verify: those of its type, narrowed by its `use`, `key_ops` and `alg`.
fn algorithms_of(jwk: &jsonwebtoken::jwk::Jwk) -> Result<Vec<Algorithm>, String> {
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
    let named = match jwk.common.key_algorithm {
        None => return Ok(of_type.to_vec()),
        Some(KeyAlgorithm::RS256) => Algorithm::RS256,
        Some(KeyAlgorithm::PS256) => Algorithm::PS256,
        Some(KeyAlgorithm::ES256) => Algorithm::ES256,
        Some(KeyAlgorithm::EdDSA) => Algorithm::EdDSA,
        Some(_) => return Err("names an algorithm that is not accepted".to_owned()),
    };
    match of_type.contains(&named) {
        true => Ok(vec![named]),
        false => Err("names an algorithm of another key type".to_owned()),
    }
}
