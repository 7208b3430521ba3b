//! Issuer: signs tokens with a key pair made for the occasion.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// Why drawing random bytes is not handled: without them no test or demo can go on.
const RANDOM: &str = "the operating system gives random bytes";

/// Characters per line of a PEM text (RFC 7468 section 2).
const PEM_LINE: usize = 64;

/// Signature algorithms of an issuer (RFC 7518 section 3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssuerAlgorithm {
    /// RSA 2048, PKCS #1 v1.5, SHA-256.
    Rs256,
    /// RSA 2048, PSS, SHA-256.
    Ps256,
    /// ECDSA, P-256, SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl IssuerAlgorithm {
    /// Its name in a token header or a key set.
    pub fn name(self) -> &'static str {
        match self {
            IssuerAlgorithm::Rs256 => "RS256",
            IssuerAlgorithm::Ps256 => "PS256",
            IssuerAlgorithm::Es256 => "ES256",
            IssuerAlgorithm::EdDsa => "EdDSA",
        }
    }
}

/// A token issuer with a fresh key pair, made at run time; nothing is ever stored.
pub struct Issuer {
    keys: Keys,
    algorithm: IssuerAlgorithm,
    kid: String,
}

enum Keys {
    Rsa(rsa::KeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Issuer {
    /// An issuer whose key is named `kid`. Making an RSA key takes a good part of a second.
    pub fn fresh(algorithm: IssuerAlgorithm, kid: &str) -> Issuer {
        let rsa = || rsa::KeyPair::generate(rsa::KeySize::Rsa2048).expect(RANDOM);
        let keys = match algorithm {
            IssuerAlgorithm::Rs256 => Keys::Rsa(rsa(), &RSA_PKCS1_SHA256),
            IssuerAlgorithm::Ps256 => Keys::Rsa(rsa(), &RSA_PSS_SHA256),
            IssuerAlgorithm::Es256 => {
                Keys::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect(RANDOM))
            }
            IssuerAlgorithm::EdDsa => Keys::Ed(Ed25519KeyPair::generate().expect(RANDOM)),
        };
        Issuer { keys, algorithm, kid: kid.to_owned() }
    }

    /// The name of its key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Its key set (RFC 7517 section 5) with the one key: `{"keys":[{kty,use,alg,kid,..}]}`.
    pub fn jwks(&self) -> String {
        json!({ "keys": [self.jwk()] }).to_string()
    }

    /// Its public key as a member of a key set, for sets of several issuers.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.keys {
            Keys::Rsa(keys, _) => {
                let (modulus, exponent) = rsa_numbers(keys.public_key().as_ref());
                json!({ "kty": "RSA", "n": base64url(modulus), "e": base64url(exponent) })
            }
            Keys::Ec(keys) => {
                // An uncompressed point: 4, x, y (SEC 1 section 2.3.3).
                let (x, y) = keys.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y) })
            }
            Keys::Ed(keys) => {
                let x = base64url(keys.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
            }
        };
        jwk["use"] = Value::from("sig");
        jwk["alg"] = Value::from(self.algorithm.name());
        jwk["kid"] = Value::from(self.kid.as_str());
        jwk
    }

    /// Its public key as a `SubjectPublicKeyInfo` in PEM (RFC 7468 section 13).
    pub fn public_pem(&self) -> String {
        let der: Result<PublicKeyX509Der, _> = match &self.keys {
            Keys::Rsa(keys, _) => keys.public_key().as_der(),
            Keys::Ec(keys) => keys.public_key().as_der(),
            Keys::Ed(keys) => keys.public_key().as_der(),
        };
        let der = der.expect("a key that was just made can be encoded");
        let base64 = STANDARD.encode(der.as_ref());
        let mut pem = "-----BEGIN PUBLIC KEY-----\n".to_owned();
        let mut rest = base64.as_str();
        while !rest.is_empty() {
            let (line, next) = rest.split_at(rest.len().min(PEM_LINE));
            pem.push_str(line);
            pem.push('\n');
            rest = next;
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        pem
    }

    /// A token with these claims, as a compact JWS (RFC 7515 section 3.1) with the header `{"alg","typ":"JWT","kid"}`.
    pub fn token(&self, claims: &Value) -> String {
        let header = json!({ "alg": self.algorithm.name(), "typ": "JWT", "kid": self.kid });
        self.token_with_header(&header, claims)
    }

    /// A token with this header, signed whatever it says: the algorithm of the signature is the issuer's all the same.
    pub fn token_with_header(&self, header: &Value, claims: &Value) -> String {
        self.token_raw(&header.to_string(), &claims.to_string())
    }

    /// A token of these very bytes, which need not even be JSON.
    pub fn token_raw(&self, header_json: &str, claims_json: &str) -> String {
        let mut token = base64url(header_json.as_bytes());
        token.push('.');
        token.push_str(&base64url(claims_json.as_bytes()));
        let signature = self.sign(token.as_bytes());
        token.push('.');
        token.push_str(&base64url(&signature));
        token
    }

    /// The signature over these bytes, as a JWS carries it before it is encoded.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.keys {
            Keys::Rsa(keys, encoding) => {
                let mut signature = vec![0; keys.public_modulus_len()];
                keys.sign(*encoding, &random, message, &mut signature).expect(RANDOM);
                signature
            }
            Keys::Ec(keys) => keys.sign(&random, message).expect(RANDOM).as_ref().to_vec(),
            Keys::Ed(keys) => keys.sign(message).as_ref().to_vec(),
        }
    }
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Modulus and exponent of an `RSAPublicKey` in DER (RFC 8017 appendix A.1.1), without leading zeros.
fn rsa_numbers(der: &[u8]) -> (&[u8], &[u8]) {
    const SHAPE: &str = "the public key is a sequence of two numbers";
    let (sequence, _) = der_value(der, 0x30).expect(SHAPE);
    let (modulus, rest) = der_value(sequence, 0x02).expect(SHAPE);
    let (exponent, _) = der_value(rest, 0x02).expect(SHAPE);
    // DER puts a zero before a number whose first bit is set.
    let unsigned = |number: &'_ [u8]| number.iter().take_while(|byte| **byte == 0).count();
    (&modulus[unsigned(modulus)..], &exponent[unsigned(exponent)..])
}

/// The value of the first element if it has that tag, and what follows it.
fn der_value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], mut rest) = der.split_first_chunk()?;
    if found != tag {
        return None;
    }
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        rest = after;
    }
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};

    const ALL: [(IssuerAlgorithm, Algorithm); 4] = [
        (IssuerAlgorithm::Rs256, Algorithm::RS256),
        (IssuerAlgorithm::Ps256, Algorithm::PS256),
        (IssuerAlgorithm::Es256, Algorithm::ES256),
        (IssuerAlgorithm::EdDsa, Algorithm::EdDSA),
    ];

    fn verified(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Option<Value> {
        let mut validation = Validation::new(algorithm);
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let data = decode::<Value>(token, key, &validation).ok()?;
        Some(data.claims)
    }

    fn pem_key(issuer: &Issuer) -> DecodingKey {
        let pem = issuer.public_pem();
        match issuer.algorithm {
            IssuerAlgorithm::Rs256 | IssuerAlgorithm::Ps256 => DecodingKey::from_rsa_pem(pem.as_bytes()),
            IssuerAlgorithm::Es256 => DecodingKey::from_ec_pem(pem.as_bytes()),
            IssuerAlgorithm::EdDsa => DecodingKey::from_ed_pem(pem.as_bytes()),
        }
        .unwrap()
    }

    #[test]
    fn a_token_verifies_with_the_key_set_and_with_the_pem() {
        for (algorithm, expected) in ALL {
            let issuer = Issuer::fresh(algorithm, "k-1");
            let claims = json!({ "tid": "t", "roles": ["agent"] });
            let token = issuer.token(&claims);
            let set: JwkSet = serde_json::from_str(&issuer.jwks()).unwrap();
            let key = DecodingKey::from_jwk(set.find("k-1").unwrap()).unwrap();
            let from_set = verified(&token, &key, expected);
            assert_eq!(from_set.as_ref(), Some(&claims), "{algorithm:?} by key set");
            let from_pem = verified(&token, &pem_key(&issuer), expected);
            assert_eq!(from_pem.as_ref(), Some(&claims), "{algorithm:?} by PEM");
            let header = jsonwebtoken::decode_header(&token).unwrap();
            assert_eq!(header.alg, expected);
            assert_eq!(header.kid.as_deref(), Some(issuer.kid()));
            assert_eq!(header.typ.as_deref(), Some("JWT"));
        }
    }

    #[test]
    fn a_key_set_says_what_the_key_is_for() {
        let members = |algorithm| Issuer::fresh(algorithm, "k").jwk();
        let rsa = members(IssuerAlgorithm::Rs256);
        assert_eq!(rsa["kty"], "RSA");
        assert_eq!(rsa["alg"], "RS256");
        assert_eq!(rsa["use"], "sig");
        assert_eq!(rsa["e"], "AQAB");
        let modulus = URL_SAFE_NO_PAD.decode(rsa["n"].as_str().unwrap()).unwrap();
        assert_eq!(modulus.len(), 256);
        assert_eq!(members(IssuerAlgorithm::Es256)["crv"], "P-256");
        assert_eq!(members(IssuerAlgorithm::EdDsa)["crv"], "Ed25519");
    }

    #[test]
    fn another_issuers_token_does_not_verify() {
        let mine = Issuer::fresh(IssuerAlgorithm::Es256, "k");
        let other = Issuer::fresh(IssuerAlgorithm::Es256, "k");
        let token = other.token(&json!({}));
        assert_eq!(verified(&token, &pem_key(&mine), Algorithm::ES256), None);
    }

    #[test]
    fn anything_is_signed() {
        let issuer = Issuer::fresh(IssuerAlgorithm::EdDsa, "k");
        let header = json!({ "alg": "EdDSA", "crit": ["x"] });
        let token = issuer.token_with_header(&header, &json!({ "a": 1 }));
        assert_eq!(token.split('.').next().unwrap(), base64url(header.to_string().as_bytes()));
        let token = issuer.token_raw(r#"{"alg":"EdDSA"}"#, r#"{"a":1,"a":2}"#);
        let claims = verified(&token, &pem_key(&issuer), Algorithm::EdDSA).unwrap();
        assert_eq!(claims["a"], 2);
        assert_eq!(issuer.token_raw("", "not JSON").matches('.').count(), 2);
    }
}
