//! The examples of the RFCs: their signatures verify where the algorithm is supported, and their tokens prove nothing.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::identity::claim::ClaimPath;
use countersign::identity::claims::{Issuer, IssuerKeys, Verifier};
use countersign::identity::fault::TokenFault;
use countersign::identity::issuer::IssuerName;
use countersign::identity::keys::{self, ALGORITHMS, VerifyingKey};
use countersign::identity::roles::{GroupsOverage, RoleClaims, RoleValues};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::minting::encode;

/// An example of an RFC.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    source: String,
    algorithm: String,
    key: Value,
    header: String,
    payload: String,
    signature: String,
    /// Why the whole token proves nothing.
    fault: String,
}

impl Example {
    fn signed(&self) -> Vec<u8> {
        format!("{}.{}", self.header, self.payload).into_bytes()
    }

    /// By the library itself, for what the gateway does not support: a misremembered example shows at once.
    fn holds(&self) -> bool {
        let signature = decode(&self.signature);
        let text = |name: &str| decode(self.key[name].as_str().expect("a member of the key"));
        match self.algorithm.as_str() {
            "none" => signature.is_empty(),
            "HS256" => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &text("k"));
                hmac::verify(&key, &self.signed(), &signature).is_ok()
            }
            "ES512" => {
                let point = [&[4][..], &text("x"), &text("y")].concat();
                let key = UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point);
                key.verify(&self.signed(), &signature).is_ok()
            }
            other => panic!("{other} is verified by the gateway or by nobody"),
        }
    }
}

#[test]
fn the_examples_of_the_rfcs_verify_and_prove_nothing() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/intake/rfc_examples.json");
    let examples: Vec<Example> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut failures = Vec::new();
    for example in &examples {
        let mut fault = |what: &str| failures.push(format!("{}: {what}", example.source));
        let loaded = keys::from_jwks(json!({ "keys": [example.key] }).to_string().as_bytes()).unwrap();
        let supported =
            ALGORITHMS.iter().find(|(name, _)| *name == example.algorithm).map(|(_, known)| *known);
        match (supported, loaded.keys.as_slice()) {
            (Some(algorithm), [key]) => {
                if !key.verifies(algorithm, &example.signed(), &example.signature) {
                    fault("the signature does not verify");
                }
                for (_, other) in ALGORITHMS.iter().filter(|(_, other)| *other != algorithm) {
                    if key.verifies(*other, &example.signed(), &example.signature) {
                        fault("the signature verifies by another algorithm");
                    }
                }
                let signature = decode(&example.signature);
                for bit in 0..signature.len() * 8 {
                    let mut flipped = signature.clone();
                    flipped[bit / 8] ^= 1 << (bit % 8);
                    if key.verifies(algorithm, &example.signed(), &encode(&flipped)) {
                        fault(&format!("the signature verifies without its bit {bit}"));
                    }
                }
            }
            (Some(_), _) => fault(&format!("the key is not used: {:?}", loaded.ignored)),
            (None, []) if example.holds() => {}
            (None, []) => fault("the example is misremembered"),
            (None, _) => fault("the key is used, though nothing it can do is supported"),
        }
        let token = format!("{}.{}.{}", example.header, example.payload, example.signature);
        match verifier(loaded.keys).verify(&token, Timestamp::now()) {
            Err(TokenFault::Invalid(why)) if why.contains(&example.fault) => {}
            other => fault(&format!("expected `{}`, found {other:?}", example.fault)),
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// A verifier of whatever these keys can do, for the issuer of RFC 7515.
fn verifier(keys: Vec<VerifyingKey>) -> Verifier {
    let issuer = Issuer {
        name: IssuerName::Exact("joe".to_owned()),
        partners: Some(Vec::new()),
        audiences: vec!["api://countersign".to_owned()],
        algorithms: ALGORITHMS.iter().map(|(_, algorithm)| *algorithm).collect(),
        keys: IssuerKeys::Held(keys),
    };
    Verifier {
        issuers: vec![issuer],
        partner_claim: ClaimPath::top("tid"),
        roles: RoleClaims { paths: Vec::new(), values: RoleValues::new(), overage: GroupsOverage::Deny },
        leeway_seconds: 60,
    }
}

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
