//! Tenants of access tokens: which one a readable token names, and whether it is the one that a source speaks for.

use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use serde_json::Value;

use crate::policy::id::Guid;
use crate::service::exchange::Bearer;

/// The last token that a server was asked with. A token of another tenant than the source's partner brings answers about
/// somebody else's customers, which nothing in them shows.
#[derive(Debug, Default)]
pub struct LastToken(Mutex<Option<Held>>);

#[derive(Debug)]
struct Held {
    bearer: Bearer,
    /// `None` where it cannot be read.
    is_of_another: Option<bool>,
}

impl LastToken {
    /// Holds a token against the tenant that it should be of: one that names another is told of once.
    pub fn note(&self, source: &str, partner: Guid, bearer: &Bearer) {
        let mut held = self.held();
        if held.as_ref().is_some_and(|held| held.bearer == *bearer) {
            return;
        }
        let tenant = tenant(bearer.header());
        let is_of_another = tenant.map(|tenant| tenant != partner);
        *held = Some(Held { bearer: bearer.clone(), is_of_another });
        drop(held);
        if let (Some(true), Some(tenant)) = (is_of_another, tenant) {
            tracing::warn!(
                source,
                %partner,
                %tenant,
                "the access token is of another tenant than the source's `partner`: its answers are about that tenant's \
                 customers; correct `partner` or `token`"
            );
        }
    }

    /// True where the last token named another tenant; `None` before the first one, and where it is opaque.
    pub fn is_of_another(&self) -> Option<bool> {
        self.held().as_ref()?.is_of_another
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tenant that a token names as `tid`. Only a signed one with a readable payload does (RFC 7515 section 7.1); its
/// signature is the API's to verify.
fn tenant(authorization: &HeaderValue) -> Option<Guid> {
    let token = authorization.to_str().ok()?.strip_prefix("Bearer ")?;
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    claims.get("tid")?.as_str().and_then(Guid::parse)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};
    use serde_json::json;

    use super::*;
    use crate::fetch::Answer;
    use crate::service::exchange;

    const OWN: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a01";
    const OTHER: &str = "7d1c4a52-2f0e-4b7a-9a51-5f2f4c1e0a02";

    fn bearer(token: &str) -> Bearer {
        let body = Bytes::from(json!({ "access_token": token }).to_string());
        exchange::read(&Answer { status: StatusCode::OK, headers: HeaderMap::new(), body }).unwrap().bearer
    }

    fn signed(payload: &str) -> String {
        format!("e30.{}.hush", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn only_a_readable_token_names_a_tenant() {
        let named = |tid: &str| json!({ "tid": tid, "oid": "hush" }).to_string();
        let other = signed(&named(OTHER));
        for (token, expected) in [
            (signed(&named(OWN)), Some(false)),
            (signed(&named(&OWN.to_uppercase())), Some(false)),
            (other.clone(), Some(true)),
            (signed(&named("contoso.example")), None),
            (signed("{}"), None),
            (signed(r#"{"tid":7}"#), None),
            (signed(r#"["tid"]"#), None),
            (signed("{"), None),
            (format!("{other}.x"), None),
            (format!("{other}.x.y"), None),
            (other.rsplit_once('.').unwrap().0.to_owned(), None),
            ("e30.%.x".to_owned(), None),
            ("opaque".to_owned(), None),
        ] {
            let last = LastToken::default();
            assert_eq!(last.is_of_another(), None);
            last.note("center", Guid::parse(OWN).unwrap(), &bearer(&token));
            assert_eq!(last.is_of_another(), expected, "{token}");
        }
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_token_is_told_of_once_and_only_its_tenant() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let token = |tid: &str, jti: u8| {
            bearer(&signed(&json!({ "tid": tid, "jti": jti, "name": "hush" }).to_string()))
        };
        tracing::subscriber::with_default(subscriber, || {
            let (first, second) = (LastToken::default(), LastToken::default());
            // A token and how many lines there are once two sources have used it twice.
            for (token, lines) in [
                (token(OTHER, 1), 2),
                (token(OTHER, 2), 4),
                (token(OWN, 3), 4),
                (bearer("opaque"), 4),
                (token(OTHER, 4), 6),
            ] {
                for last in [&first, &second, &first, &second] {
                    last.note("center", Guid::parse(OWN).unwrap(), &token);
                }
                let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
                assert_eq!(text.lines().count(), lines, "{text}");
                assert!(text.lines().all(|line| line.contains(OWN) && line.contains(OTHER)), "{text}");
                assert!(!text.contains("hush") && !text.contains("e30"), "{text}");
            }
        });
    }
}
