//! Tokens: what is accepted, and every way in which one that looks right is not.

use countersign::standin::{Issuer, IssuerAlgorithm};
use serde_json::{Value, json};

use crate::stage::{CUSTOMER, PARTNER, Stage, UNSIGNED};

const TOKENS: &str = "countersign_tokens_total";

fn with(changes: &[(&str, Value)]) -> Value {
    let mut claims = Stage::claims(PARTNER, &["AdminAgent"]);
    for (name, value) in changes {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(*name),
            value => claims.as_object_mut().unwrap().insert((*name).to_owned(), value.clone()),
        };
    }
    claims
}

/// What it shows, the claims that differ, and the status and reason of the answer.
type Row<'r> = (&'r str, Vec<(&'r str, Value)>, u16, &'r str);

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[test]
fn claims_are_judged_one_by_one() {
    let stage = Stage::start();
    let issuer = |tenant: &str| json!(format!("https://login.example/{tenant}/v2.0"));
    let rows: Vec<Row<'_>> = vec![
        ("as it should be", vec![], 201, ""),
        ("audience among others", vec![("aud", json!(["other", "api://countersign"]))], 201, ""),
        ("within the leeway", vec![("exp", json!(now() - 30))], 201, ""),
        ("not before, within the leeway", vec![("nbf", json!(now() + 30))], 201, ""),
        ("tenant in upper case", vec![("tid", json!(PARTNER.to_ascii_uppercase()))], 201, ""),
        ("one role as a text", vec![("roles", json!("AdminAgent"))], 201, ""),
        (
            "role by the template id in wids",
            vec![("roles", Value::Null), ("wids", json!(["62e90394-69f5-4237-9190-012177145e10"]))],
            201,
            "",
        ),
        ("expired", vec![("exp", json!(now() - 90))], 401, "token_expired"),
        ("without expiry", vec![("exp", Value::Null)], 401, "token_invalid"),
        ("expiry as a text", vec![("exp", json!((now() + 600).to_string()))], 401, "token_invalid"),
        ("negative expiry", vec![("exp", json!(-1))], 401, "token_invalid"),
        ("huge expiry", vec![("exp", json!(u64::MAX))], 401, "token_invalid"),
        ("fractional expiry", vec![("exp", json!(now() as f64 + 600.5))], 201, ""),
        ("no roles at all", vec![("roles", json!(null)), ("wids", json!(null))], 403, "role_missing"),
        ("role id in upper case", vec![("roles", json!(["62E90394-69F5-4237-9190-012177145E10"]))], 201, ""),
        ("expiry beyond all numbers", vec![("exp", json!(1e300))], 401, "token_invalid"),
        ("not yet valid", vec![("nbf", json!(now() + 90))], 401, "token_invalid"),
        ("not before as a text", vec![("nbf", json!("0"))], 401, "token_invalid"),
        ("other audience", vec![("aud", json!("api://other"))], 401, "token_invalid"),
        ("audience with a suffix", vec![("aud", json!("api://countersign/"))], 401, "token_invalid"),
        ("audiences without ours", vec![("aud", json!(["a", "b"]))], 401, "token_invalid"),
        ("no audience", vec![("aud", Value::Null)], 401, "token_invalid"),
        ("audience as a number", vec![("aud", json!(1))], 401, "token_invalid"),
        ("no issuer", vec![("iss", Value::Null)], 401, "token_invalid"),
        ("issuer as a list", vec![("iss", json!([issuer(PARTNER)]))], 401, "token_invalid"),
        ("issuer of another tenant", vec![("iss", issuer(UNSIGNED))], 401, "token_invalid"),
        (
            "issuer with a suffix",
            vec![("iss", json!(format!("https://login.example/{PARTNER}/v2.0/x")))],
            401,
            "token_invalid",
        ),
        (
            "issuer with a prefix",
            vec![("iss", json!(format!("x://https://login.example/{PARTNER}/v2.0")))],
            401,
            "token_invalid",
        ),
        (
            "issuer with a longer tenant",
            vec![("iss", json!(format!("https://login.example/x/{PARTNER}/v2.0")))],
            401,
            "token_invalid",
        ),
        ("no tenant", vec![("tid", Value::Null)], 401, "token_invalid"),
        ("tenant that is no GUID", vec![("tid", json!("contoso"))], 401, "token_invalid"),
        ("tenant as a list", vec![("tid", json!([PARTNER]))], 401, "token_invalid"),
        ("role that is no text", vec![("roles", json!([1]))], 401, "token_invalid"),
        (
            "unlisted partner",
            vec![
                ("tid", json!("7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0aff")),
                ("iss", issuer("7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0aff")),
            ],
            403,
            "partner_unlisted",
        ),
    ];
    for (what, changes, status, reason) in rows {
        let token = format!("Bearer {}", stage.issuer.token(&with(&changes)));
        let answer = stage.order(CUSTOMER, &[("Authorization", &token)]);
        assert_eq!(answer.status, status, "{what}: {}", String::from_utf8_lossy(&answer.body));
        if status != 201 {
            assert_eq!(answer.reason(), reason, "{what}");
            let text = String::from_utf8(answer.body).unwrap();
            assert!(!text.contains(&token[7..60]), "{what}: no part of the token is told");
        }
    }
}

#[test]
fn headers_and_signatures_are_judged() {
    let stage = Stage::start();
    let claims = with(&[]);
    let other = Issuer::fresh(IssuerAlgorithm::Es256, "k1");
    let rsa = Issuer::fresh(IssuerAlgorithm::Rs256, "k1");
    let header = |header: Value| stage.issuer.token_with_header(&header, &claims);
    let good = stage.issuer.token(&claims);
    let parts: Vec<&str> = good.split('.').collect();
    let alg = json!({ "alg": "ES256", "kid": "k1" });
    let add = |name: &str, value: Value| {
        let mut header = alg.clone();
        header[name] = value;
        header
    };
    let claims_text = claims.to_string();
    let twice = claims_text.replacen('{', &format!("{{\"tid\":\"{UNSIGNED}\","), 1);
    for (what, token) in [
        ("the same key id, another key", other.token(&claims)),
        ("another key type under the same id", rsa.token(&claims)),
        ("an unknown key id", Issuer::fresh(IssuerAlgorithm::Es256, "k2").token(&claims)),
        ("none", header(json!({ "alg": "none" }))),
        ("None", header(json!({ "alg": "None", "kid": "k1" }))),
        ("no algorithm", header(json!({ "kid": "k1" }))),
        ("HS256", header(json!({ "alg": "HS256", "kid": "k1" }))),
        ("an algorithm that is not pinned", header(json!({ "alg": "PS256", "kid": "k1" }))),
        ("an algorithm in other letters", header(json!({ "alg": "es256", "kid": "k1" }))),
        ("crit", header(add("crit", json!(["exp"])))),
        ("b64", header(add("b64", json!(false)))),
        ("an embedded key", header(add("jwk", other.jwk()))),
        ("a key address", header(add("jku", json!("https://evil.example/keys")))),
        ("a certificate address", header(add("x5u", json!("https://evil.example/cert")))),
        ("a certificate", header(add("x5c", json!(["AAAA"])))),
        ("compressed", header(add("zip", json!("DEF")))),
        ("another type", header(add("typ", json!("logout+jwt")))),
        ("a key id that is no text", header(add("kid", json!(1)))),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("a cut signature", good[..good.len() - 2].to_owned()),
        ("a zero signature", format!("{}.{}.{}", parts[0], parts[1], "A".repeat(86))),
        (
            "claims of another token",
            format!(
                "{}.{}.{}",
                parts[0],
                stage.issuer.token(&with(&[("oid", json!("x"))])).split('.').nth(1).unwrap(),
                parts[2]
            ),
        ),
        ("four parts", format!("{good}.x")),
        ("a trailing dot", format!("{good}.")),
        ("padding", format!("{}=.{}.{}", parts[0], parts[1], parts[2])),
        ("the standard alphabet", format!("{}.{}.{}+/", parts[0], parts[1], &parts[2][2..])),
        ("a member twice", stage.issuer.token_raw(&alg.to_string(), &twice)),
        (
            "a member twice but for case",
            stage.issuer.token_raw(&alg.to_string(), &claims_text.replacen('{', "{\"TID\":\"x\",", 1)),
        ),
        ("claims that are no object", stage.issuer.token_raw(&alg.to_string(), "[]")),
        ("longer than any token", stage.issuer.token(&with(&[("x", json!("y".repeat(16_000)))]))),
    ] {
        let bearer = format!("Bearer {token}");
        let answer = stage.order(CUSTOMER, &[("Authorization", &bearer)]);
        assert_eq!((answer.status, answer.reason().as_str()), (401, "token_invalid"), "{what}");
    }
    let good = format!("Bearer {good}");
    let twice = [("Authorization", good.as_str()), ("Authorization", good.as_str())];
    assert_eq!(stage.order(CUSTOMER, &twice).reason(), "token_invalid", "two Authorization headers");
    let query = format!("/v1/customers/{CUSTOMER}/orders?access_token={}", &good[7..]);
    let answer = stage.send("POST", &query, &[("Authorization", "")], crate::stage::order().as_bytes());
    assert_eq!(answer.reason(), "token_missing", "a token in the query is none");
    assert_eq!(stage.order(CUSTOMER, &[("Authorization", &good)]).status, 201);
    assert_eq!(stage.standin.request_count(), 1);
}

#[test]
fn every_pinned_algorithm_is_verified_once_and_then_cached() {
    for (algorithm, name) in [
        (IssuerAlgorithm::Rs256, "RS256"),
        (IssuerAlgorithm::Ps256, "PS256"),
        (IssuerAlgorithm::Es256, "ES256"),
        (IssuerAlgorithm::EdDsa, "EdDSA"),
    ] {
        for pem in [false, true] {
            let stage = Stage::start();
            let issuer = Issuer::fresh(algorithm, "fresh");
            let keys = if pem { issuer.public_pem() } else { issuer.jwks() };
            let file = if pem { "keys.pem" } else { "keys.json" };
            std::fs::write(stage.path(file), keys).unwrap();
            let path = stage.path("countersign.yaml");
            let text = std::fs::read_to_string(&path).unwrap();
            let key = if pem { "pem_file: keys.pem" } else { "jwks_file: keys.json" };
            let text =
                text.replace("[RS256, ES256]", &format!("[{name}]")).replace("jwks_file: keys.json", key);
            std::fs::write(&path, text).unwrap();
            let reloaded = stage.reload();
            assert_eq!(reloaded.status, 200, "{name}: {}", String::from_utf8_lossy(&reloaded.body));
            let token = format!("Bearer {}", issuer.token(&with(&[])));
            for _ in 0..3 {
                assert_eq!(
                    stage.order(CUSTOMER, &[("Authorization", &token)]).status,
                    201,
                    "{name}, PEM {pem}"
                );
            }
            assert_eq!(stage.metric(&format!("{TOKENS}{{outcome=\"verified\"}}")), 1.0, "{name}");
            assert_eq!(stage.metric(&format!("{TOKENS}{{outcome=\"cached\"}}")), 2.0, "{name}");
        }
    }
}
