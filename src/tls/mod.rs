//! TLS: configurations of rustls, all of one provider.

pub mod alpn;
pub mod client;
pub mod files;
pub mod revocation;
pub mod server;

/// Makes aws-lc-rs the provider of the process, for whatever asks for a default. Again does nothing.
pub fn install_provider() {
    // An error says that there is one already, and no other is linked.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
