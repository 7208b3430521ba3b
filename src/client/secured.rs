//! TLS towards the upstream: whom to expect there, and which protocols to offer.

use std::io;
use std::sync::Arc;

use aws_lc_rs::digest;
use http::uri::Authority;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::fetch::without_brackets;
use crate::tls::alpn::protocols;
use crate::tls::client::{Settings, load};

/// How connections to one upstream are secured.
#[derive(Clone, Debug)]
pub struct Secured {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    http2: bool,
    /// Identity of the files that it was read from.
    read: String,
}

/// The same if the same was read: a reload that changes nothing here ends no connection.
impl PartialEq for Secured {
    fn eq(&self, other: &Secured) -> bool {
        (&self.name, self.http2, &self.read) == (&other.name, other.http2, &other.read)
    }
}

impl Eq for Secured {}

impl Secured {
    /// Reads what the settings name; `http2` offers HTTP/2 beside HTTP/1.1.
    pub fn new(authority: &Authority, settings: &Settings, http2: bool) -> Result<Secured, String> {
        let host = without_brackets(authority.host()).to_owned();
        let name = ServerName::try_from(host).map_err(|_| format!("`{authority}` is no name of a server"))?;
        let mut config = ClientConfig::clone(&*load(settings)?);
        config.alpn_protocols = protocols(http2);
        let read = identity_of(settings).map_err(|error| format!("the files of `tls`: {error}"))?;
        Ok(Secured { config: Arc::new(config), name, http2, read })
    }

    /// Whether connections may turn out to be shared by many requests.
    pub fn offers_http2(&self) -> bool {
        self.http2
    }

    /// Does the handshake of a connection.
    pub async fn connect(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), socket).await
    }
}

/// A digest of all that the settings name: another one means other trust, or another identity.
pub fn identity_of(settings: &Settings) -> io::Result<String> {
    let (certificate, key) = settings.identity.clone().unzip();
    let mut hash = digest::Context::new(&digest::SHA256);
    for path in [&settings.ca_file, &certificate, &key] {
        let text = path.as_ref().map(std::fs::read).transpose()?;
        hash.update(&text.as_ref().map_or(u64::MAX, |text| text.len() as u64).to_be_bytes());
        hash.update(&text.unwrap_or_default());
    }
    Ok(hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}
