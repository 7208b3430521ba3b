//! Server configurations: which certificate the gateway shows, and whose it asks for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::CertificateRevocationListDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::tls::alpn::protocols;
use crate::tls::{files, revocation};

/// How incoming connections are secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub private_key: PathBuf,
    /// Whose certificates callers show, where they are asked for one.
    pub clients: Option<Clients>,
    /// Whether HTTP/2 is offered beside HTTP/1.1.
    pub http2: bool,
}

/// Which client certificates are accepted (mutual TLS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    /// The authorities, PEM.
    pub ca_file: PathBuf,
    /// Their revocation lists, PEM. With them, a certificate of an authority without a list is refused.
    pub crl_file: Option<PathBuf>,
    /// Whether a caller without a certificate is refused.
    pub required: bool,
}

impl Settings {
    /// The files whose change asks for a new reading.
    pub fn files(&self) -> Vec<&Path> {
        let mut files = vec![self.certificate.as_path(), self.private_key.as_path()];
        if let Some(clients) = &self.clients {
            files.push(&clients.ca_file);
            files.extend(clients.crl_file.as_deref());
        }
        files
    }
}

/// A configuration that was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    config: ServerConfig,
    /// Identity of what client certificates are checked with.
    trust: Vec<u8>,
}

/// Why the settings can not be used.
#[derive(Clone, Debug)]
pub struct Unusable {
    /// Whether the revocation lists are at fault.
    pub is_of_revocations: bool,
    /// Which file is at fault, and how.
    pub why: String,
    /// What to do, where that is known.
    pub hint: Option<&'static str>,
}

impl From<String> for Unusable {
    fn from(why: String) -> Unusable {
        Unusable { is_of_revocations: false, why, hint: None }
    }
}

/// Reads what the settings name.
pub fn load(settings: &Settings) -> Result<Loaded, Unusable> {
    let provider = Arc::new(default_provider());
    let mut trust = digest::Context::new(&digest::SHA256);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has suites of both versions");
    let builder = match &settings.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(verifier(clients, &mut trust)?),
    };
    let (certificate, key) = (&settings.certificate, &settings.private_key);
    let mut config = builder
        .with_single_cert(files::certificates(certificate)?, files::private_key(key)?)
        .map_err(|error| {
            format!("{} and {} do not make an identity: {error}", certificate.display(), key.display())
        })?;
    config.alpn_protocols = protocols(settings.http2);
    config.ticketer = Ticketer::new().map_err(|error| format!("no keys for session tickets: {error}"))?;
    Ok(Loaded { config, trust: trust.finish().as_ref().to_vec() })
}

fn verifier(clients: &Clients, trust: &mut digest::Context) -> Result<Arc<dyn ClientCertVerifier>, Unusable> {
    let path = &clients.ca_file;
    // A session that began without a certificate must not go on where one is required.
    add(trust, if clients.required { b"required" } else { b"optional" });
    let authorities = files::certificates(path)?;
    authorities.iter().for_each(|authority| add(trust, authority));
    let roots = files::trust_in(authorities, path)?;
    let provider = Arc::new(default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if let Some(path) = &clients.crl_file {
        let lists = revocation_lists(path)?;
        add(trust, b"revocation lists");
        lists.iter().for_each(|list| add(trust, list));
        builder = builder.with_crls(lists);
    }
    if !clients.required {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| match (&clients.crl_file, error) {
        (Some(path), VerifierBuilderError::InvalidCrl(error)) => {
            let why = format!("{} can not be used: {error:?}", path.display());
            Unusable { is_of_revocations: true, why, hint: None }
        }
        (_, error) => format!("{} can not be used: {error}", path.display()).into(),
    })
}

/// Revocation lists that have all that a list has to have: the library says of others only that they are malformed.
fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, Unusable> {
    let of_revocations = |why| Unusable { is_of_revocations: true, why, hint: None };
    let lists = files::revocation_lists(path).map_err(of_revocations)?;
    for (number, list) in lists.iter().enumerate() {
        if let Some(lacks) = revocation::lacking(list) {
            let why = format!("{}: revocation list {} lacks {lacks}", path.display(), number + 1);
            return Err(Unusable { hint: Some(COMPLETE_LIST), ..of_revocations(why) });
        }
    }
    Ok(lists)
}

const COMPLETE_LIST: &str = "have the authority write it as RFC 5280 section 5 asks; `openssl ca` does where \
    `crl_extensions` names a section with `authorityKeyIdentifier` and `crlnumber` a file";

/// Adds a part with its length, so that no other parts come to the same.
fn add(trust: &mut digest::Context, part: &[u8]) {
    trust.update(&(part.len() as u64).to_be_bytes());
    trust.update(part);
}

/// The configuration in force. Connections that are open keep theirs.
#[derive(Debug)]
pub struct Live {
    current: ArcSwap<Current>,
}

#[derive(Debug)]
struct Current {
    acceptor: Arc<ServerConfig>,
    trust: Vec<u8>,
}

impl Live {
    /// Puts a first configuration in force.
    pub fn new(loaded: Loaded) -> Live {
        let current = Current { acceptor: Arc::new(loaded.config), trust: loaded.trust };
        Live { current: ArcSwap::from_pointee(current) }
    }

    /// Puts another configuration in force.
    ///
    /// Sessions can be resumed across a new certificate, but not across other authorities or revocation lists, nor once
    /// certificates are required that were not: a resumed session is not checked again.
    pub fn replace(&self, mut loaded: Loaded) {
        let current = self.current.load();
        if current.trust == loaded.trust {
            loaded.config.ticketer = Arc::clone(&current.acceptor.ticketer);
            loaded.config.session_storage = Arc::clone(&current.acceptor.session_storage);
        }
        self.current.store(Arc::new(Current { acceptor: Arc::new(loaded.config), trust: loaded.trust }));
    }

    /// Does the handshake of a connection.
    pub async fn accept(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.current.load().acceptor));
        acceptor.accept(socket).await
    }
}
