//! Certificates and private keys, from PEM files.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::mark::skip_mark;

/// The largest file of certificates or keys that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The certificates of a PEM file, in its order; at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    items(path, "certificate")
}

/// The certificate revocation lists of a PEM file; at least one.
pub fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    items(path, "X509 CRL")
}

/// Trust in the certificates of authorities that this file held.
pub fn trust_in(authorities: Vec<CertificateDer<'static>>, path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| {
            format!("{} holds a certificate that can not be trusted: {error}", path.display())
        })?;
    }
    Ok(roots)
}

fn items<T: PemObject>(path: &Path, what: &str) -> Result<Vec<T>, String> {
    let pem = read(path)?;
    let found: Result<Vec<T>, PemError> = T::pem_slice_iter(skip_mark(&pem)).collect();
    match found {
        Ok(found) if found.is_empty() => Err(format!("{} holds no {what} in PEM form", path.display())),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{} is no PEM file: {error}", path.display())),
    }
}

/// The first private key of a PEM file: PKCS#8, PKCS#1 or SEC1, not encrypted.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = read(path)?;
    PrivateKeyDer::from_pem_slice(skip_mark(&pem)).map_err(|error| match error {
        PemError::NoItemsFound => {
            format!("{} holds no private key in PEM form that is not encrypted", path.display())
        }
        error => format!("{} is no PEM file: {error}", path.display()),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let fault = |why: &dyn std::fmt::Display| format!("can not read {}: {why}", path.display());
    let metadata = std::fs::metadata(path).map_err(|error| fault(&error))?;
    // A pipe or a device could keep its reader waiting for ever.
    if !metadata.is_file() {
        return Err(fault(&"it is no regular file"));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(fault(&"it is larger than 4 MiB"));
    }
    std::fs::read(path).map_err(|error| fault(&error))
}
