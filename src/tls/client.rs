//! Client configurations: whom the gateway trusts when it calls, and as whom it calls.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};

use crate::tls::files;

/// How outgoing connections are secured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Certificates of the authorities that are trusted, PEM; those of the platform where there is none.
    pub ca_file: Option<PathBuf>,
    /// The gateway's own certificate chain and private key, PEM, for servers that ask for them (mutual TLS).
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Reads what the settings name. The error says which file is at fault, and how.
///
/// No protocol is offered by ALPN: whoever connects knows which ones it speaks, and sets them.
pub fn load(settings: &Settings) -> Result<Arc<ClientConfig>, String> {
    let roots = match &settings.ca_file {
        Some(path) => files::trust_in(files::certificates(path)?, path)?,
        None => platform_roots()?,
    };
    // The provider is named: a process default that something else installs must not change what is spoken.
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has suites of both versions")
        .with_root_certificates(roots);
    let config = match &settings.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(files::certificates(certificate)?, files::private_key(key)?)
            .map_err(|error| {
                format!("{} and {} do not make an identity: {error}", certificate.display(), key.display())
            })?,
    };
    Ok(Arc::new(config))
}

/// The authorities that the platform trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
fn platform_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A platform's collection may hold what rustls can not read: the others count.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        return Err(format!("the platform names no authority to trust{why}"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn files_make_a_configuration_or_are_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let made = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (one, other) = (made(), made());
        let certificate = write(folder.path(), "one.pem", &one.cert.pem());
        let key = write(folder.path(), "one.key", &one.signing_key.serialize_pem());
        let foreign = write(folder.path(), "other.key", &other.signing_key.serialize_pem());
        let empty = write(folder.path(), "empty.pem", "");
        let broken =
            write(folder.path(), "broken.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
        let none = folder.path().join("none.pem");

        let load = |ca: &PathBuf, identity: Option<(&PathBuf, &PathBuf)>| {
            let identity = identity.map(|(certificate, key)| (certificate.clone(), key.clone()));
            load(&Settings { ca_file: Some(ca.clone()), identity })
        };
        let config = load(&certificate, Some((&certificate, &key))).unwrap();
        assert!(config.alpn_protocols.is_empty());
        assert!(config.client_auth_cert_resolver.has_certs());
        let marked = |name, text: String| write(folder.path(), name, &format!("\u{feff}{text}"));
        let certificate_marked = marked("marked.pem", one.cert.pem());
        let key_marked = marked("marked.key", one.signing_key.serialize_pem());
        assert!(
            load(&certificate_marked, Some((&certificate_marked, &key_marked))).is_ok(),
            "byte order marks"
        );
        assert!(!load(&certificate, None).unwrap().client_auth_cert_resolver.has_certs());

        for (ca, identity, named, why) in [
            (&none, None, "none.pem", "can not read"),
            (&folder.path().to_owned(), None, "", "no regular file"),
            (&empty, None, "empty.pem", "holds no certificate"),
            (&key, None, "one.key", "holds no certificate"),
            (&broken, None, "broken.pem", "is no PEM file"),
            (&certificate, Some((&empty, &key)), "empty.pem", "holds no certificate"),
            (&certificate, Some((&certificate, &certificate)), "one.pem", "holds no private key"),
            (&certificate, Some((&certificate, &foreign)), "other.key", "do not make an identity"),
        ] {
            let error = load(ca, identity).unwrap_err();
            assert!(error.contains(named) && error.contains(why), "{error}");
        }
    }
}
