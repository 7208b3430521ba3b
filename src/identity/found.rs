//! What the token of a denied request says, for the record of the denial: bounded, and never the token itself.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::extract::json::{Document, Value};
use crate::identity::claim;
use crate::identity::claims::{TOKEN_BYTES_MAX, Verifier};
use crate::policy::id::Guid;

/// How much of a text is recorded, in bytes.
const TEXT_BYTES_MAX: usize = 200;
/// How many values of a claim are recorded.
const VALUES_MAX: usize = 16;

/// Whose token it says to be. Nothing of it is proved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// `iss`.
    pub iss: Option<String>,
    /// The values of `aud`.
    pub aud: Vec<String>,
    /// The `kid` of the header.
    pub kid: Option<String>,
}

/// Whose token it says to be, as far as it can be read.
pub fn origin(token: &str) -> Origin {
    let [header, claims] = [0, 1].map(|part| decode(token, part));
    let mut origin = Origin::default();
    if let Ok(header) = Document::parse(&header) {
        origin.kid = claim::text(&header, "kid").map(recorded);
    }
    if let Ok(claims) = Document::parse(&claims) {
        origin.iss = claim::text(&claims, "iss").map(recorded);
        if let Some(aud) = claim::member(&claims, "aud") {
            origin.aud = texts(&claims, aud).take(VALUES_MAX).map(recorded).collect();
        }
    }
    origin
}

impl Verifier {
    /// The tenant that a token names. It is proved only where the token was verified.
    pub fn named_tenant(&self, token: &str) -> Option<Guid> {
        let claims = decode(token, 1);
        let claims = Document::parse(&claims).ok()?;
        self.partner_claim.text(&claims).and_then(Guid::parse)
    }

    /// The values of the role claims of a token that mean no role.
    pub fn unmatched_roles(&self, token: &str) -> Vec<String> {
        let claims = decode(token, 1);
        let Ok(claims) = Document::parse(&claims) else { return Vec::new() };
        let Some(tenant) = self.partner_claim.text(&claims).and_then(Guid::parse) else { return Vec::new() };
        let found = self
            .roles
            .paths
            .iter()
            .enumerate()
            .filter_map(|(place, path)| Some((place, path.find(&claims)?)));
        found
            .flat_map(|(place, node)| texts(&claims, node).map(move |text| (place, text)))
            .filter(|(place, text)| self.roles.meaning_of(text, *place, tenant).is_empty())
            .take(VALUES_MAX)
            .map(|(_, text)| recorded(text))
            .collect()
    }
}

/// The bytes of one part of a compact JWS; none where it is no such thing.
fn decode(token: &str, part: usize) -> Vec<u8> {
    if token.len() > TOKEN_BYTES_MAX || token.split('.').count() != 3 {
        return Vec::new();
    }
    token.split('.').nth(part).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).unwrap_or_default()
}

/// The texts of a claim, which may be one or a list.
fn texts<'d>(claims: &'d Document<'_>, node: usize) -> impl Iterator<Item = &'d str> {
    let text = |value: &'d Value<'_>| match value {
        Value::Text(text) => Some(text.as_ref()),
        _ => None,
    };
    let items = claims.children(node).filter(move |_| claims.node(node).value == Value::Array);
    text(&claims.node(node).value).into_iter().chain(items.filter_map(move |(_, item)| text(&item.value)))
}

/// A text as it is recorded: printable ASCII, with `?` for what is not, and `~` behind what was cut.
fn recorded(text: &str) -> String {
    let is_whole = text.chars().nth(TEXT_BYTES_MAX).is_none();
    let printable = |letter: char| if matches!(letter, ' '..='~') { letter } else { '?' };
    let kept: String = text.chars().take(TEXT_BYTES_MAX).map(printable).collect();
    if is_whole { kept } else { kept + "~" }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::identity::claim::ClaimPath;
    use crate::identity::roles::{GroupsOverage, Meaning, RoleClaims};
    use crate::policy::role::NameTable;

    fn token(header: &Json, claims: &Json) -> String {
        let part = |json: &Json| URL_SAFE_NO_PAD.encode(json.to_string());
        format!("{}.{}.c2ln", part(header), part(claims))
    }

    #[test]
    fn texts_are_bounded_and_printable() {
        let of = |text: &str| origin(&token(&json!({ "kid": text }), &json!({}))).kid.unwrap();
        for (text, found) in [
            ("k1", "k1".to_owned()),
            ("", String::new()),
            ("a b~", "a b~".to_owned()),
            ("a\u{0}\n\u{7f}b", "a???b".to_owned()),
            ("caf\u{e9} \u{1f600}\u{202e}", "caf? ??".to_owned()),
            (&"x".repeat(200), "x".repeat(200)),
            (&"x".repeat(201), "x".repeat(200) + "~"),
            (&"\u{1f600}".repeat(15_000 / 8), "?".repeat(200) + "~"),
        ] {
            assert_eq!(of(text), found, "{text}");
        }
    }

    #[test]
    fn what_can_not_be_read_is_left_out() {
        let full = Origin { iss: Some("i".to_owned()), aud: vec!["a".to_owned()], kid: Some("k".to_owned()) };
        let claims = json!({ "iss": "i", "aud": "a", "sub": "s" });
        let whole = token(&json!({ "kid": "k", "alg": "x" }), &claims);
        let (header, rest) = whole.split_once('.').unwrap();
        let kid_only = Origin { kid: full.kid.clone(), ..Origin::default() };
        let claims_only = Origin { kid: None, ..full.clone() };
        for (token, found) in [
            (whole.clone(), full.clone()),
            (format!("!.{rest}"), claims_only.clone()),
            (format!("{header}.!.x"), kid_only),
            (format!("{whole}.x"), Origin::default()),
            (header.to_owned(), Origin::default()),
            (String::new(), Origin::default()),
            (format!("{whole}{}", "x".repeat(TOKEN_BYTES_MAX)), Origin::default()),
            (token(&json!({ "kid": 7 }), &claims), claims_only),
            (token(&json!({}), &json!({ "iss": ["i"], "aud": { "a": "b" } })), Origin::default()),
        ] {
            assert_eq!(origin(&token), found, "{token}");
        }
        let many: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(origin(&token(&json!({}), &json!({ "aud": many }))).aud, many[..VALUES_MAX]);
        let mixed = origin(&token(&json!({}), &json!({ "aud": ["a", 1, null, ["b"], "c"] })));
        assert_eq!(mixed.aud, ["a", "c"]);
    }

    #[test]
    fn values_that_mean_no_role_are_told() {
        let mut table = NameTable::default();
        let agent = Meaning { roles: table.intern("agent").unwrap(), tenant: None, claim: None };
        let verifier = Verifier {
            issuers: Vec::new(),
            partner_claim: ClaimPath::top("tid"),
            roles: RoleClaims {
                paths: vec![ClaimPath::top("roles"), ClaimPath::top("groups")],
                values: [("Agent".to_owned(), vec![agent])].into(),
                overage: GroupsOverage::Deny,
            },
            leeway_seconds: 0,
        };
        const TENANT: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01";
        for (claims, found) in [
            (
                json!({ "tid": TENANT, "roles": ["Agent", "agent"], "groups": ["Agent", "g"] }),
                &["agent", "Agent", "g"][..],
            ),
            (json!({ "tid": TENANT, "roles": "x" }), &["x"]),
            (json!({ "tid": TENANT, "roles": "Agent", "other": "y" }), &[]),
            (json!({ "roles": "x" }), &[]),
        ] {
            assert_eq!(verifier.unmatched_roles(&token(&json!({}), &claims)), found, "{claims}");
        }
        assert_eq!(verifier.named_tenant(&token(&json!({}), &json!({ "tid": TENANT }))), Guid::parse(TENANT));
        assert_eq!(verifier.named_tenant("a.b.c"), None);
    }
}
