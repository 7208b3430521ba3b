//! Tokens: whatever is not signed by a key of its issuer proves nothing, and what is proved is what was signed.
#![no_main]

use std::cell::RefCell;
use std::sync::LazyLock;

use countersign::clock::Now;
use countersign::identity::claim::ClaimPath;
use countersign::identity::claims::{Claims, Issuer as Accepted, IssuerKeys, Verifier};
use countersign::identity::issuer::IssuerName;
use countersign::identity::keys;
use countersign::identity::roles::{GroupsOverage, Meaning, RoleClaims};
use countersign::identity::tokens::{Generation, NearTokens, TokenCache};
use countersign::policy::id::Guid;
use countersign::policy::role::NameTable;
use countersign::standin::{Issuer, IssuerAlgorithm};
use countersign_fuzz::{AT, at};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// The tenant that the issuer without `{tid}` may speak for.
const PARTNER: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01";
const TENANTS: &str = "https://login.example/";
const ONE_PARTNER: &str = "https://partner.example/";
const AUDIENCE: &str = "api://countersign";
const LEEWAY: i64 = 60;
const GENERATION: Generation = Generation { configuration: 1, keys: 1 };

/// Who signs: the first two for every tenant, the third for one partner, the last is accepted by nobody.
static SIGNERS: LazyLock<[Issuer; 4]> = LazyLock::new(|| {
    [
        Issuer::fresh(IssuerAlgorithm::Es256, "k1"),
        Issuer::fresh(IssuerAlgorithm::Rs256, "k2"),
        Issuer::fresh(IssuerAlgorithm::EdDsa, "k1"),
        Issuer::fresh(IssuerAlgorithm::Es256, "k1"),
    ]
});

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let jwks = |issuer: &Issuer| keys::from_jwks(issuer.jwks().as_bytes()).expect("a key set").keys;
    let algorithm = |name: &str| keys::ALGORITHMS.iter().find(|(known, _)| *known == name).expect("known").1;
    let mut roles = NameTable::default();
    let agent = roles.intern("admin_agent").expect("there is room");
    Verifier {
        issuers: vec![
            Accepted {
                name: IssuerName::parse("https://login.example/{tid}/v2.0").expect("an issuer"),
                partners: None,
                audiences: vec![AUDIENCE.to_owned()],
                algorithms: vec![algorithm("ES256"), algorithm("RS256")],
                keys: IssuerKeys::Held(jwks(&SIGNERS[0]).into_iter().chain(jwks(&SIGNERS[1])).collect()),
            },
            Accepted {
                name: IssuerName::Exact(ONE_PARTNER.to_owned()),
                partners: Guid::parse(PARTNER).map(|partner| vec![partner]),
                audiences: vec![AUDIENCE.to_owned()],
                algorithms: vec![algorithm("EdDSA")],
                keys: IssuerKeys::Held(keys::from_pem(&SIGNERS[2].public_pem()).expect("a key").keys),
            },
        ],
        partner_claim: ClaimPath::top("tid"),
        roles: RoleClaims {
            paths: ["roles", "wids"].map(ClaimPath::top).to_vec(),
            values: [("AdminAgent".to_owned(), vec![Meaning { roles: agent, tenant: None, claim: None }])].into(),
            overage: GroupsOverage::Deny,
        },
        leeway_seconds: LEEWAY,
    }
});

thread_local! {
    static CACHE: RefCell<(TokenCache, NearTokens)> = RefCell::default();
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&[signer, tampering, low, high], rest)) = bytes.split_first_chunk() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let signer = usize::from(signer) % SIGNERS.len();
    let at = usize::from(u16::from_le_bytes([low, high]));
    // A line of header, then claims; or a token as it stands.
    let Some((header, claims)) = text.split_once('\n') else {
        assert!(verified(text).is_none(), "a token that nobody signed");
        return;
    };
    let token = SIGNERS[signer].token_raw(header, claims);
    let signed = signing_input(&token).to_owned();
    let token = tampered(token, signer, tampering, at, claims);
    if let Some(proved) = verified(&token) {
        assert_eq!(signing_input(&token), signed, "what was proved is not what was signed");
        check(&proved, signer, header, claims);
    }
});

fn signing_input(token: &str) -> &str {
    token.rsplit_once('.').map_or("", |(signed, _)| signed)
}

fn verified(token: &str) -> Option<Claims> {
    let first = VERIFIER.verify(token, at());
    let now = Now::standing(at());
    CACHE.with_borrow_mut(|(cache, near)| {
        for _ in 0..2 {
            let (kept, _) = cache.verify(near, &VERIFIER, GENERATION, token, now);
            assert_eq!(kept.map(|claims| (*claims).clone()), first, "the cache says otherwise");
        }
    });
    first.ok()
}

/// What somebody without the key can make of a signed token.
fn tampered(token: String, signer: usize, how: u8, at: usize, claims: &str) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else { unreachable!("a compact token has three parts") };
    let other = |signer: usize, header: &str| SIGNERS[signer].token_raw(header, claims);
    let part = |token: &str, at: usize| token.split('.').nth(at).unwrap_or_default().to_owned();
    match how % 9 {
        0 => token,
        1 => {
            let mut bytes = token.into_bytes();
            let at = at % bytes.len();
            bytes[at] = b"Aa0-_.="[at % 7];
            String::from_utf8(bytes).expect("a token is ASCII")
        }
        2 => format!("{}.{payload}.{signature}", part(&other(0, r#"{"alg":"ES256","kid":"k1"}"#), 0)),
        3 => format!("{}.{payload}.{signature}", part(&other(0, r#"{"alg":"none"}"#), 0)),
        4 => format!("{header}.{payload}."),
        5 => format!("{header}.{payload}.{}", part(&other(3, "{}"), 2)),
        6 => format!("{token}.{signature}"),
        7 => token[..at % (token.len() + 1)].to_owned(),
        _ => {
            // Another token of the same signer lends its signature.
            format!("{header}.{payload}.{}", part(&other(signer, "{}"), 2))
        }
    }
}

/// What was proved, read once more by a reader of JSON that knows nothing of tokens.
fn check(proved: &Claims, signer: usize, header: &str, claims: &str) {
    let header: Value = serde_json::from_str(header).expect("a header that is accepted is JSON");
    let claims: Value = serde_json::from_str(claims).expect("claims that are accepted are JSON");
    let names: &[&str] = [&["ES256"][..], &["RS256"], &["EdDSA", "Ed25519"], &[]][signer];
    assert!(header["alg"].as_str().is_some_and(|name| names.contains(&name)), "algorithm");
    for name in ["crit", "b64", "jwk"] {
        assert_eq!(header.get(name), None, "a header that asks for more");
    }
    let tid = claims["tid"].as_str().and_then(Guid::parse).expect("a tenant");
    assert_eq!(tid, proved.tenant, "tenant");
    let iss = claims["iss"].as_str().expect("an issuer");
    match signer {
        0 | 1 => {
            let middle = iss.strip_prefix(TENANTS).and_then(|rest| rest.strip_suffix("/v2.0"));
            assert_eq!(middle.and_then(Guid::parse), Some(tid), "issuer");
        }
        2 => assert_eq!((iss, Some(tid)), (ONE_PARTNER, Guid::parse(PARTNER)), "issuer"),
        _ => panic!("a token of nobody's"),
    }
    let audiences = claims["aud"].as_array().cloned().unwrap_or_else(|| vec![claims["aud"].clone()]);
    assert!(audiences.iter().any(|audience| audience == AUDIENCE), "audience");
    let seconds = |name: &str| claims[name].as_f64();
    let expires = seconds("exp").expect("an expiry");
    assert!(expires + LEEWAY as f64 > AT as f64, "expired");
    assert_eq!(proved.expires, expires as i64, "expiry");
    assert!(seconds("nbf").is_none_or(|not_before| not_before as i64 - LEEWAY <= AT), "not valid yet");
    let agent = |value: &Value| value == "AdminAgent";
    let holds = |name: &str| match &claims[name] {
        Value::Array(items) => items.iter().any(agent),
        other => agent(other),
    };
    let has_role = proved.roles.held.is_some_and(|roles| roles != countersign::policy::role::NameSet::EMPTY);
    assert_eq!(has_role, holds("roles"), "roles");
}
