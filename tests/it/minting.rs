//! Minting: tokens as the rows of `tests/data/intake/tokens.json` describe them, by how they differ from a good one.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign::standin::{Issuer, IssuerAlgorithm};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::rows::Text;
use crate::stage::{PARTNER, Stage, UNSIGNED};

/// The order of P-256 (SEC 2 section 2.4.2).
pub const P256_ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// How a token differs from a good one. What comes first here is done first.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenChange {
    /// The whole token; nothing else counts.
    text: Option<Text>,
    signer: Signer,
    /// Members of the header, set or added.
    header: Map<String, Value>,
    /// Members of the header that are left out.
    header_without: Vec<String>,
    /// Put behind the first brace of the header.
    header_first: Option<Text>,
    /// The header's bytes.
    raw_header: Option<Text>,
    /// Claims, set or added; `{"now": n}` is n seconds from now, `{"now_text": n}` the same as a text.
    claims: Map<String, Value>,
    /// Claims that are left out.
    without: Vec<String>,
    /// Put behind the first brace of the claims.
    claims_first: Option<Text>,
    /// The claims' bytes.
    raw_claims: Option<Text>,
    /// What is done to the encoded header and claims before they are signed.
    before_signing: Vec<Mangle>,
    /// What the signature becomes.
    signature: Signature,
    /// What is done to the encoded parts after that.
    after_signing: Vec<Mangle>,
    /// Put behind the whole token.
    append: Text,
}

/// Who signs; the header names its key and algorithm unless the row says otherwise.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Signer {
    /// The issuer, with its P-256 key.
    #[default]
    Issuer,
    /// The issuer, with its RSA key.
    Rsa,
    /// The issuer, with an Ed25519 key whose algorithm is not pinned.
    Ed25519,
    /// Another P-256 key under the issuer's key id.
    Stranger,
    /// HMAC with the issuer's RSA key as PEM text.
    HmacPem,
    /// .. in DER.
    HmacDer,
    /// .. as the modulus of its JWK, in base64url.
    HmacModulus,
    /// .. as the bytes of that modulus.
    HmacModulusBytes,
    /// HMAC with no secret at all.
    HmacEmpty,
}

/// A signature in another form; those of ECDSA are over r and s of 32 bytes each.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Signature {
    #[default]
    AsSigned,
    Empty,
    Zero,
    RZero,
    SZero,
    ROrder,
    SOrder,
    /// The other signature that the same equation has.
    SNegated,
    RPlusOne,
    Swapped,
    Der,
    OneByteShort,
    OneByteLong,
    ZeroInFront,
    Doubled,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mangle {
    /// 0 for the header, 1 for the claims, 2 for the signature.
    part: usize,
    #[serde(rename = "do")]
    how: How,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum How {
    Append(Text),
    Prepend(Text),
    /// In the middle.
    Insert(Text),
    Become(Text),
    /// To a multiple of four.
    Pad,
    /// `-` and `_` as `+` and `/`; one of them is there.
    StandardAlphabet,
    /// The last character with its unused bits set.
    TrailingBits,
    /// The last character left out.
    Shorten,
    /// Letters in the other case.
    OtherCase,
}

/// The keys of a stage: a P-256, two RSA and an Ed25519 key in its set, and one that is in no set.
pub struct Mint {
    rsa: Issuer,
    ed25519: Issuer,
    stranger: Issuer,
}

impl Mint {
    /// Puts the keys into the stage's key set.
    pub fn for_stage(stage: &Stage) -> Mint {
        let mint = Mint {
            rsa: Issuer::fresh(IssuerAlgorithm::Rs256, "r1"),
            ed25519: Issuer::fresh(IssuerAlgorithm::EdDsa, "e1"),
            stranger: Issuer::fresh(IssuerAlgorithm::Es256, "k1"),
        };
        let other_rsa = Issuer::fresh(IssuerAlgorithm::Rs256, "r2").jwk();
        let set = json!({ "keys": [stage.issuer.jwk(), mint.rsa.jwk(), other_rsa, mint.ed25519.jwk()] });
        std::fs::write(stage.path("keys.json"), set.to_string()).unwrap();
        assert_eq!(stage.reload().status, 200);
        mint
    }

    /// A token that differs as a row says.
    pub fn token(&self, stage: &Stage, change: &TokenChange) -> String {
        if let Some(text) = &change.text {
            return String::from_utf8(text.0.clone()).expect("a token's text");
        }
        let header = change.raw_header.as_ref().map_or_else(|| self.header(change), |text| text.0.clone());
        let claims = change.raw_claims.as_ref().map_or_else(|| claims(change), |text| text.0.clone());
        let mut parts = [encode(&header), encode(&claims), String::new()];
        for mangle in &change.before_signing {
            mangle.apply(&mut parts);
        }
        let signed = format!("{}.{}", parts[0], parts[1]);
        parts[2] = encode(&change.signature.of(self.sign(stage, change.signer, signed.as_bytes())));
        for mangle in &change.after_signing {
            mangle.apply(&mut parts);
        }
        let tail = String::from_utf8(change.append.0.clone()).expect("a token's text");
        parts.join(".") + &tail
    }

    fn header(&self, change: &TokenChange) -> Vec<u8> {
        let (algorithm, kid) = match change.signer {
            Signer::Issuer | Signer::Stranger => ("ES256", "k1"),
            Signer::Rsa => ("RS256", "r1"),
            Signer::Ed25519 => ("EdDSA", "e1"),
            _ => ("HS256", "r1"),
        };
        let mut header = json!({ "alg": algorithm, "kid": kid, "typ": "JWT" });
        for (name, value) in &change.header {
            header[name] = match value.as_str() {
                Some("{stranger's key}") => self.stranger.jwk(),
                _ => value.clone(),
            };
        }
        for name in &change.header_without {
            header.as_object_mut().expect("it is one").remove(name);
        }
        with_first(header.to_string(), change.header_first.as_ref())
    }

    fn sign(&self, stage: &Stage, signer: Signer, message: &[u8]) -> Vec<u8> {
        let pem = || self.rsa.public_pem();
        let modulus = || self.rsa.jwk()["n"].as_str().expect("RSA").to_owned();
        let secret = match signer {
            Signer::Issuer => return stage.issuer.sign(message),
            Signer::Rsa => return self.rsa.sign(message),
            Signer::Ed25519 => return self.ed25519.sign(message),
            Signer::Stranger => return self.stranger.sign(message),
            Signer::HmacPem => pem().into_bytes(),
            Signer::HmacDer => {
                let base64: String = pem().lines().filter(|line| !line.starts_with('-')).collect();
                STANDARD.decode(base64).expect("it was made so")
            }
            Signer::HmacModulus => modulus().into_bytes(),
            Signer::HmacModulusBytes => URL_SAFE_NO_PAD.decode(modulus()).expect("it was made so"),
            Signer::HmacEmpty => Vec::new(),
        };
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message).as_ref().to_vec()
    }
}

fn claims(change: &TokenChange) -> Vec<u8> {
    let mut claims = Stage::claims(PARTNER, &["AdminAgent"]);
    // Nothing that the stand-in could answer by itself.
    claims["oid"] = json!("5b1c2d3e-7a51-4c39-b6d2-5e8e0c1ad3e7");
    for (name, value) in &change.claims {
        claims[name] = filled(value);
    }
    for name in &change.without {
        claims.as_object_mut().expect("it is one").remove(name);
    }
    with_first(claims.to_string(), change.claims_first.as_ref())
}

fn with_first(object: String, first: Option<&Text>) -> Vec<u8> {
    match first {
        None => object.into_bytes(),
        Some(first) => [b"{", first.0.as_slice(), b",", &object.as_bytes()[1..]].concat(),
    }
}

/// A claim with its places filled.
fn filled(value: &Value) -> Value {
    let now = Timestamp::now().as_second();
    match value {
        Value::String(text) => Value::from(
            text.replace("{partner}", PARTNER)
                .replace("{PARTNER}", &PARTNER.to_ascii_uppercase())
                .replace("{unsigned}", UNSIGNED),
        ),
        Value::Array(items) => items.iter().map(filled).collect(),
        Value::Object(form) => match (form.get("now"), form.get("now_text")) {
            (Some(Value::Number(from)), _) if from.is_f64() => {
                json!(now as f64 + from.as_f64().unwrap_or(0.0))
            }
            (Some(from), _) => json!(now + from.as_i64().unwrap_or(0)),
            (_, Some(from)) => json!((now + from.as_i64().unwrap_or(0)).to_string()),
            _ => value.clone(),
        },
        other => other.clone(),
    }
}

impl Signature {
    fn of(self, mut signed: Vec<u8>) -> Vec<u8> {
        let order = || Text::try_from(json!({ "hex": P256_ORDER })).expect("digits").0;
        match self {
            Signature::AsSigned => {}
            Signature::Empty => signed.clear(),
            Signature::Zero => signed.fill(0),
            Signature::RZero => signed[..32].fill(0),
            Signature::SZero => signed[32..].fill(0),
            Signature::ROrder => signed[..32].copy_from_slice(&order()),
            Signature::SOrder => signed[32..].copy_from_slice(&order()),
            Signature::SNegated => {
                let negated = subtract(&order(), &signed[32..]);
                signed[32..].copy_from_slice(&negated);
            }
            Signature::RPlusOne => signed[31] = signed[31].wrapping_add(1),
            Signature::Swapped => signed.rotate_left(32),
            Signature::Der => {
                let (r, s) = (integer(&signed[..32]), integer(&signed[32..]));
                signed = [&[0x30, (r.len() + s.len()) as u8][..], &r, &s].concat();
            }
            Signature::OneByteShort => drop(signed.pop()),
            Signature::OneByteLong => signed.push(0),
            Signature::ZeroInFront => signed.insert(0, 0),
            Signature::Doubled => signed = [signed.as_slice(), &signed].concat(),
        }
        signed
    }
}

/// A big-endian difference of numbers of one length.
pub fn subtract(from: &[u8], what: &[u8]) -> Vec<u8> {
    let mut borrow = 0i16;
    let mut difference = vec![0; from.len()];
    for at in (0..from.len()).rev() {
        let digit = i16::from(from[at]) - i16::from(what[at]) - borrow;
        borrow = i16::from(digit < 0);
        difference[at] = (digit & 0xff) as u8;
    }
    difference
}

/// An INTEGER in DER.
fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count().min(number.len() - 1);
    let digits = &number[zeros..];
    let sign: &[u8] = if digits[0] & 0x80 == 0 { &[] } else { &[0] };
    [&[0x02, (sign.len() + digits.len()) as u8][..], sign, digits].concat()
}

impl Mangle {
    fn apply(&self, parts: &mut [String; 3]) {
        let part = &mut parts[self.part];
        let text = |text: &Text| String::from_utf8(text.0.clone()).expect("a token's text");
        match &self.how {
            How::Append(more) => part.push_str(&text(more)),
            How::Prepend(more) => part.insert_str(0, &text(more)),
            How::Insert(more) => part.insert_str(part.len() / 2, &text(more)),
            How::Become(other) => *part = text(other),
            How::Pad => {
                while !part.len().is_multiple_of(4) {
                    part.push('=');
                }
                assert!(part.ends_with('='), "part {} needs no padding", self.part);
            }
            How::StandardAlphabet => {
                assert!(part.contains(['-', '_']), "part {} is the same in both alphabets", self.part);
                *part = part.replace('-', "+").replace('_', "/");
            }
            How::TrailingBits => {
                let last = part.pop().expect("a character") as u8;
                assert!(!(part.len() + 1).is_multiple_of(4), "part {} has no unused bits", self.part);
                let at = BASE64URL.iter().position(|known| *known == last).expect("of the alphabet");
                part.push(char::from(BASE64URL[at | 1]));
            }
            How::Shorten => drop(part.pop()),
            How::OtherCase => {
                *part = part
                    .chars()
                    .map(|letter| match letter.is_ascii_lowercase() {
                        true => letter.to_ascii_uppercase(),
                        false => letter.to_ascii_lowercase(),
                    })
                    .collect();
            }
        }
    }
}

/// Base64url without padding.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
