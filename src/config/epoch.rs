//! Epochs: numbers that identify remote sources by everything that their answers depend on.

use http::header::{HeaderName, HeaderValue};

use crate::agreements::fingerprint::fingerprint;
use crate::agreements::http::Test;
use crate::agreements::pointer::Pointer;
use crate::config::sources::{Kind, RemoteSource};
use crate::policy::agreement::Region;

impl RemoteSource {
    /// A number of everything that answers depend on; the same in every process and version.
    pub fn epoch(&self) -> u64 {
        let url = &self.remote.url;
        let text = match &self.kind {
            Kind::PartnerCenter(center, _) => {
                // One URL serves every tenant, sandboxes too: the token's says whose parties the answers are about.
                let issuer =
                    self.identity.as_ref().map_or_else(String::new, |(token, _)| token.url.to_string());
                let region = center.region.map_or("", Region::as_str);
                let applicable: Vec<&str> =
                    center.not_applicable.iter().map(|cloud| cloud.as_str()).collect();
                let terms = &center.terms;
                format!(
                    "partner_center\n{url}\n{}\n{region}\n{}\n{}\n{}\n{}\n{issuer}",
                    center.partner,
                    center.cloud,
                    applicable.join(","),
                    terms.agreement_type,
                    terms.templates.join(","),
                )
            }
            Kind::Http(settings) => format!(
                "http\n{url}\n{}\n{}\n{}\n{}\n{}{}",
                settings.target,
                settings.accepted,
                settings.missing.as_ref().map_or_else(String::new, Test::to_string),
                settings.date.as_ref().map_or_else(String::new, Pointer::to_string),
                settings.not_found_is_missing,
                headers_of(&self.remote.headers),
            ),
        };
        fingerprint(&text)
    }
}

/// Headers as lines `name:value` sorted by name. Of a secret the name alone: it may rotate, and then the same answers come.
fn headers_of(headers: &[(HeaderName, HeaderValue)]) -> String {
    let mut headers: Vec<_> = headers.iter().collect();
    // The order of one name's values is kept: they are sent in it.
    headers.sort_by_key(|(name, _)| name.as_str());
    let line = |(name, value): &(HeaderName, HeaderValue)| match value.is_sensitive() {
        true => format!("\n{name}"),
        false => format!("\n{name}:{}", String::from_utf8_lossy(value.as_bytes())),
    };
    headers.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::agreements::http as endpoint;
    use crate::agreements::template::Template;
    use crate::fetch::Endpoint;
    use crate::policy::id::Name;
    use crate::remote::client;
    use crate::remote::guard::Limits;
    use crate::tls;

    type Headers<'h> = &'h [(&'h str, &'h str)];

    #[test]
    fn plain_headers_identify_an_endpoint_and_secret_values_do_not() {
        let source = |plain: Headers<'_>, secret: Headers<'_>| {
            let header = |is_secret: bool| {
                move |(name, value): &(&str, &str)| {
                    let mut value = HeaderValue::from_str(value).unwrap();
                    value.set_sensitive(is_secret);
                    (HeaderName::from_bytes(name.as_bytes()).unwrap(), value)
                }
            };
            let name = Name::new("shop").unwrap();
            RemoteSource {
                name,
                kind: Kind::Http(endpoint::Settings {
                    name,
                    target: Template::parse("/{kind}/{id}").unwrap(),
                    accepted: Test::parse("/ok").unwrap(),
                    missing: None,
                    date: None,
                    not_found_is_missing: false,
                }),
                remote: client::Settings {
                    name: name.to_string(),
                    url: Endpoint::parse("https://crm.example/", false).unwrap(),
                    partner: None,
                    headers: plain.iter().map(header(false)).chain(secret.iter().map(header(true))).collect(),
                    limits: Limits::default(),
                    timeout: Duration::from_secs(5),
                    authorities: None,
                },
                trust: tls::client::load(&tls::client::Settings::default()).unwrap(),
                identity: None,
            }
        };
        let epoch = |plain: Headers<'_>, secret: Headers<'_>| source(plain, secret).epoch();
        let known = epoch(&[("x-shop", "one"), ("x-a", "b")], &[("authorization", "hush")]);
        // Facts are saved with it: another number has every party asked for once more.
        assert_eq!(epoch(&[], &[]), EPOCH_WITHOUT_HEADERS);
        assert_eq!(known, EPOCH_WITH_HEADERS);
        let rows: [(Headers<'_>, Headers<'_>, bool); 9] = [
            (&[("x-a", "b"), ("x-shop", "one")], &[("authorization", "hush")], true),
            (&[("X-Shop", "one"), ("X-A", "b")], &[("Authorization", "whist")], true),
            (&[("x-shop", "two"), ("x-a", "b")], &[("authorization", "hush")], false),
            (&[("x-shop", "One"), ("x-a", "b")], &[("authorization", "hush")], false),
            (&[("x-shop", "one")], &[("authorization", "hush")], false),
            (&[("x-shop", "one"), ("x-a", "b"), ("x-c", "")], &[("authorization", "hush")], false),
            (&[("x-shop", "one"), ("x-a", "b")], &[], false),
            (&[("x-shop", "one"), ("x-a", "b")], &[("x-key", "hush")], false),
            (&[("x-shop", "one"), ("x-a", "b"), ("authorization", "hush")], &[], false),
        ];
        for (plain, secret, is_same) in rows {
            assert_eq!(epoch(plain, secret) == known, is_same, "{plain:?} {secret:?}");
        }
        // Values of one name are sent in their order.
        let twice = |first, second| epoch(&[("x-a", first), ("x-a", second)], &[]);
        assert_ne!(twice("1", "2"), twice("2", "1"));
    }

    const EPOCH_WITHOUT_HEADERS: u64 = 2_865_907_867_956_109_561;
    const EPOCH_WITH_HEADERS: u64 = 884_843_389_886_318_141;
}
