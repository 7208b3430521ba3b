//! The section `token`: how the gateway gets an access token of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::config::node::Node;
use crate::config::problem::Severity;
use crate::config::read::{Reader, Section, TIMEOUTS, quoted, resolve};
use crate::config::trust;
use crate::fetch::Endpoint;
use crate::service::secret::Secret;
use crate::service::settings::{Grant, Scope, Settings};
use crate::tls;

const GRANTS: [&str; 2] = ["refresh_token", "client_credentials"];
const TIMEOUT: Duration = Duration::from_secs(5);

/// The keys of a secret: where it stands, and where it must not.
struct SecretKeys {
    file: &'static str,
    variable: &'static str,
    literal: &'static str,
}

const CLIENT_SECRET: SecretKeys =
    SecretKeys { file: "client_secret_file", variable: "client_secret_env", literal: "client_secret" };
const REFRESH_TOKEN: SecretKeys =
    SecretKeys { file: "refresh_token_file", variable: "refresh_token_env", literal: "refresh_token" };

/// Reads `token`, for an API. Secrets are looked at and not kept; the endpoint is not asked: a configuration can be checked
/// wherever its secrets are.
pub fn token(
    reader: &Reader,
    node: &Node,
    folder: &Path,
    api: &Endpoint,
) -> Option<(Settings, Arc<ClientConfig>)> {
    let section = reader.section(node)?;
    let parse = |text: &str| GRANTS.into_iter().find(|name| *name == text);
    let grant = section.require("grant", |node| reader.choice(node, parse, &GRANTS));
    let insecure = section.get("insecure_plaintext", |node| reader.flag(node)).unwrap_or(false);
    section.require("url", Some);
    let url = trust::endpoint(&section, "url", insecure);
    let client_id = section.require("client_id", |node| filled(reader, node));
    let client_secret = secret(&section, folder, &CLIENT_SECRET);
    let refresh_token = secret(&section, folder, &REFRESH_TOKEN);
    let scope = scope(&section);
    let timeout = section.get("timeout", |node| reader.duration_within(node, TIMEOUTS));
    let authorities = trust::authorities(&section, folder);
    section.finish();
    let (grant, url, client_id) = (grant?, url?, client_id?);
    let (client_secret, refresh_token, (ca_file, authorities)) =
        (client_secret?, refresh_token?, authorities?.unzip());
    let hint = |keys: &SecretKeys| Some(format!("{} says where it is", quoted(&[keys.file, keys.variable])));
    let grant = match (grant, refresh_token) {
        ("refresh_token", Some(place)) => Grant::RefreshToken(place),
        ("refresh_token", None) => {
            reader.error(node.span, "this grant needs a refresh token", hint(&REFRESH_TOKEN));
            return None;
        }
        (_, Some(_)) => {
            reader.error(node.span, "`client_credentials` shows no refresh token", None);
            return None;
        }
        (_, None) if client_secret.is_none() => {
            reader.error(node.span, "this grant needs the client's secret", hint(&CLIENT_SECRET));
            return None;
        }
        (_, None) => Grant::ClientCredentials,
    };
    let scope = Some(scope?.unwrap_or_else(|| scope_of(api, &url)));
    let trust = tls::client::load(&tls::client::Settings { ca_file, identity: None });
    let trust = trust.map_err(|why| reader.error(node.span, why, None)).ok()?;
    let timeout = timeout.unwrap_or(TIMEOUT);
    let settings = Settings { grant, url, client_id, client_secret, scope, timeout, authorities };
    Some((settings, trust))
}

fn filled(reader: &Reader, node: &Node) -> Option<String> {
    let text = reader.text(node)?;
    if text.trim().is_empty() {
        reader.error(node.span, "it is empty", None);
        return None;
    }
    Some(text)
}

/// Where a secret stands, if anywhere. `None` where that is wrong.
fn secret(section: &Section<'_>, folder: &Path, keys: &SecretKeys) -> Option<Option<Secret>> {
    let reader = section.reader();
    if section.node(keys.literal).is_some() {
        // Without its place: the line would be shown, and the secret in it.
        let message = format!("`{}` stands in the configuration itself", keys.literal);
        let places = quoted(&[keys.file, keys.variable]);
        let hint = format!("put it into a file or a variable and say where: {places}");
        reader.note(Severity::Error, None, message, Some(hint));
    }
    let file = section.node(keys.file);
    let variable = section.node(keys.variable);
    let (node, secret) = match (file, variable) {
        (None, None) => return section.node(keys.literal).is_none().then_some(None),
        (Some(node), None) => (node, Secret::File(resolve(folder, &filled(reader, node)?))),
        (None, Some(node)) => (node, Secret::Variable(filled(reader, node)?)),
        (Some(_), Some(node)) => {
            let message = format!("expected one of {}", quoted(&[keys.file, keys.variable]));
            reader.error(node.span, message, None);
            return None;
        }
    };
    // Its text is dropped, and no source of the configuration: that it rotates makes no other revision.
    secret.read().map_err(|why| reader.error(node.span, why, None)).ok()?;
    if let Secret::File(path) = &secret
        && std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
    {
        let hint = format!("chmod o-rwx {}", path.display());
        reader.warning(node.span, "everybody on this machine can read the secret", Some(hint));
    }
    Some(Some(secret))
}

/// What the operator says that the token is for, if anything. `None` where that is wrong.
fn scope(section: &Section<'_>) -> Option<Option<Scope>> {
    let reader = section.reader();
    match (section.node("scope"), section.node("resource")) {
        (None, None) => Some(None),
        (Some(node), None) => Some(Some(Scope::Scope(filled(reader, node)?))),
        (None, Some(node)) => Some(Some(Scope::Resource(filled(reader, node)?))),
        (Some(_), Some(node)) => {
            let hint = "`scope` is of version 2 of Microsoft's endpoints, `resource` of version 1".to_owned();
            reader.error(node.span, "expected one of `scope`, `resource`", Some(hint));
            None
        }
    }
}

/// What a token for an API is for, as the version of the endpoint wants it said.
fn scope_of(api: &Endpoint, url: &Endpoint) -> Scope {
    match url.uri().path().contains("/v2.0/") {
        true => Scope::Scope(format!("{}/.default", api.origin())),
        false => Scope::Resource(api.origin()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::HashMap;
    use std::fs::{self, Permissions};

    use crate::config::problem::render;

    /// Reads a section beside a file `secret`, one `open` to everybody and one that is `empty`. The problems are rendered.
    fn read(yaml: &str) -> (Option<Settings>, String) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text, mode) in
            [("secret", "hush\n", 0o600), ("open", "hush\n", 0o644), ("empty", " \n", 0o600)]
        {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        let reader = Reader::default();
        let source = reader.add_source(Path::new("test.yaml"), yaml);
        let node = Node::parse(yaml, source, &HashMap::new()).unwrap();
        let api = Endpoint::parse("https://api.example/v1", false).unwrap();
        let read = token(&reader, &node, folder.path(), &api);
        let failed = reader.failed();
        let report = render(&reader.problems.into_inner(), &reader.sources.into_inner(), false);
        (read.map(|(settings, _)| settings).filter(|_| !failed), report)
    }

    const APP: &str = "grant: client_credentials\nclient_id: me\nclient_secret_file: secret\n";
    const PERSON: &str = "grant: refresh_token\nclient_id: me\nrefresh_token_env: CARGO_PKG_NAME\n";
    const V1: &str = "url: https://login.example/t/oauth2/token\n";
    const V2: &str = "url: https://login.example/t/oauth2/v2.0/token\n";

    #[test]
    fn a_section_is_read_with_its_defaults() {
        let (settings, report) = read(&format!("{APP}{V1}"));
        let settings = settings.expect(&report);
        assert_eq!((report.as_str(), settings.client_id.as_str()), ("", "me"));
        assert_eq!((settings.timeout, settings.authorities), (Duration::from_secs(5), None));
        assert!(matches!(settings.client_secret, Some(Secret::File(path)) if path.ends_with("secret")));
        let (settings, report) = read(&format!("{PERSON}{V1}timeout: 2s\n"));
        let settings = settings.expect(&report);
        assert_eq!(settings.grant, Grant::RefreshToken(Secret::Variable("CARGO_PKG_NAME".to_owned())));
        assert_eq!((settings.client_secret, settings.timeout), (None, Duration::from_secs(2)));
    }

    #[test]
    fn what_the_token_is_for_goes_by_the_version_of_the_endpoint() {
        let scope = |text: &str| Scope::Scope(text.to_owned());
        let resource = |text: &str| Scope::Resource(text.to_owned());
        for (url, more, expected) in [
            (V1, "", resource("https://api.example")),
            (V2, "", scope("https://api.example/.default")),
            (V1, "scope: a b\n", scope("a b")),
            (V2, "resource: https://other.example\n", resource("https://other.example")),
        ] {
            let (settings, report) = read(&format!("{APP}{url}{more}"));
            assert_eq!(settings.expect(&report).scope, Some(expected), "{url} {more}");
        }
    }

    #[test]
    fn problems_are_told_and_no_secret_is_shown() {
        for (yaml, expected) in [
            (format!("{APP}{V1}client_secret: hush\n"), "`client_secret` stands in the configuration itself"),
            (format!("{PERSON}{V1}refresh_token: hush\n"), "`refresh_token_file`, `refresh_token_env`"),
            (format!("{APP}{V1}client_secret_env: CARGO_PKG_NAME\n"), "expected one of `client_secret_file`"),
            (format!("{APP}{V1}scope: a\nresource: b\n"), "expected one of `scope`, `resource`"),
            (format!("{APP}{V1}refresh_token_file: secret\n"), "shows no refresh token"),
            (format!("grant: client_credentials\nclient_id: me\n{V1}"), "needs the client's secret"),
            (format!("grant: refresh_token\nclient_id: me\n{V1}"), "needs a refresh token"),
            (format!("{PERSON}{V1}client_secret_file: none\n"), "can not read"),
            (format!("{PERSON}{V1}client_secret_file: empty\n"), "empty is empty"),
            (format!("{PERSON}{V1}client_secret_env: COUNTERSIGN_NONE\n"), "`COUNTERSIGN_NONE` is not set"),
            (format!("{PERSON}{V1}timeout: 1ms\n"), "expected a duration from"),
            (format!("{PERSON}{V1}ca_file: secret\n"), "holds no certificate"),
            (format!("{PERSON}{V1}grants: x\n"), "unknown key `grants`"),
            (format!("{PERSON}url: http://login.example/token\n"), "in the clear"),
            (PERSON.to_owned(), "missing key `url`"),
            (format!("grant: refresh\n{V1}client_id: ''\n"), "expected one of `refresh_token`"),
            (format!("grant: refresh\n{V1}client_id: ''\n"), "it is empty"),
        ] {
            let (settings, report) = read(&yaml);
            assert!(settings.is_none() && report.contains(expected), "{yaml}\n{report}");
            assert!(!report.contains("hush"), "{report}");
        }
    }

    #[test]
    fn a_file_that_everybody_can_read_is_warned_of() {
        let (settings, report) = read(&format!("{PERSON}{V1}client_secret_file: open\n"));
        assert!(settings.is_some() && report.contains("everybody on this machine"), "{report}");
    }
}
