//! Certificates and keys from PEM or DER bytes.

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::ConfigError;

/// Every certificate in `bytes`: PEM with one or more, or DER of one.
pub(super) fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    if !is_pem(bytes) {
        return Ok(vec![CertificateDer::from(bytes.to_vec())]);
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(ConfigError::new("there is no certificate in the PEM"))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(ConfigError(format!("the certificate's PEM cannot be read: {error}"))),
    }
}

/// The private key in `bytes`: PEM or DER, of PKCS #8, PKCS #1 or SEC 1.
pub(super) fn private_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, ConfigError> {
    if !is_pem(bytes) {
        let key = PrivateKeyDer::try_from(bytes.to_vec());
        return key.map_err(|_| ConfigError::new("the private key is neither PEM nor known DER"));
    }
    let text = String::from_utf8_lossy(bytes);
    if text.contains("-----BEGIN ENCRYPTED") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(ConfigError::new("the private key is encrypted; decrypt it first"));
    }
    PrivateKeyDer::from_pem_slice(bytes)
        .map_err(|error| ConfigError(format!("there is no private key in the PEM: {error}")))
}

/// Trust anchors. Every certificate must be usable: a CA that is left out would only show later, as
/// a peer that is not trusted.
pub(super) fn root_store(roots: &[CertificateDer<'static>]) -> Result<RootCertStore, ConfigError> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store
            .add(root.clone())
            .map_err(|error| ConfigError(format!("a CA certificate cannot be read: {error}")))?;
    }
    Ok(store)
}

fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(11).any(|window| window == b"-----BEGIN ")
}
