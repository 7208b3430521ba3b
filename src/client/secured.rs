//! TLS towards the upstream: whom to expect there, and which protocols to offer.

use std::io;
use std::sync::Arc;

use http::uri::Authority;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::client::{Settings, load};

/// How connections to one upstream are secured.
#[derive(Clone, Debug)]
pub struct Secured {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// The same only if read at once: files that were read again may hold something else.
impl PartialEq for Secured {
    fn eq(&self, other: &Secured) -> bool {
        Arc::ptr_eq(&self.config, &other.config) && self.name == other.name
    }
}

impl Eq for Secured {}

impl Secured {
    /// Reads what the settings name; `http2` offers HTTP/2 beside HTTP/1.1.
    pub fn new(authority: &Authority, settings: &Settings, http2: bool) -> Result<Secured, String> {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|_| format!("`{authority}` is no name of a server"))?;
        let mut config = ClientConfig::clone(&*load(settings)?);
        config.alpn_protocols = match http2 {
            true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        Ok(Secured { config: Arc::new(config), name })
    }

    /// Does the handshake of a connection.
    pub async fn connect(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), socket).await
    }
}
