//! Certificates and keys from PEM or DER bytes.

use rustls::{Error, RootCertStore};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{ConfigError, pbes2};

/// The tag of a SEQUENCE (X.690 section 8.9.1), with which certificates in DER begin.
const SEQUENCE: u8 = 0x30;

/// Every certificate in `bytes`, our own and those that lead to it: PEM with one or more, or DER of
/// one.
pub(super) fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    all(bytes, "certificate")
}

/// Every CA in `bytes`, as above.
pub(super) fn authorities(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    all(bytes, "CA")
}

fn all(bytes: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let wrong = |why: String| Err(ConfigError(why));
    if !is_pem(bytes) {
        return match bytes.first() {
            Some(&SEQUENCE) => Ok(vec![CertificateDer::from(bytes.to_vec())]),
            _ => wrong(format!("the {what} is neither PEM nor DER")),
        };
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match found {
        Ok(found) if found.is_empty() => {
            wrong(format!("there is no certificate in the {what}'s PEM"))
        }
        Ok(found) => Ok(found),
        Err(error) => wrong(format!("the {what}'s PEM cannot be read: {}", told(&error))),
    }
}

/// The private key in `bytes`: PEM or DER, of PKCS #8, PKCS #1 or SEC 1; with a password, encrypted
/// PKCS #8 as well. A password for a key that is not encrypted does no harm.
pub(super) fn private_key(
    bytes: &[u8],
    password: Option<&[u8]>,
) -> Result<PrivateKeyDer<'static>, ConfigError> {
    if !is_pem(bytes) {
        return match (PrivateKeyDer::try_from(bytes.to_vec()), password) {
            (Ok(key), _) => Ok(key),
            (Err(_), Some(password)) => decrypted(bytes, password),
            (Err(_), None) => Err(ConfigError::new("the private key is neither PEM nor known DER")),
        };
    }
    let text = String::from_utf8_lossy(bytes);
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(ConfigError::new(
            "the private key is encrypted in the old way of OpenSSL, which is not supported; \
             convert it with: openssl pkcs8 -topk8 -in KEY -out NEW_KEY",
        ));
    }
    if let Some(at) = text.find("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        let Some(password) = password else {
            return Err(ConfigError::new("the private key is encrypted: give its password"));
        };
        // The reader of PEM knows no encrypted keys, and does not look inside.
        let named = text[at..].replace("ENCRYPTED PRIVATE KEY", "PRIVATE KEY");
        let der = PrivatePkcs8KeyDer::from_pem_slice(named.as_bytes()).map_err(unreadable)?;
        return decrypted(der.secret_pkcs8_der(), password);
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(unreadable)
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn unreadable(error: pem::Error) -> ConfigError {
    match error {
        pem::Error::NoItemsFound => ConfigError::new("there is no private key in the key's PEM"),
        error => ConfigError(format!("the private key's PEM cannot be read: {}", told(&error))),
    }
}

/// What is wrong with PEM. The library tells lines as lists of numbers; none is repeated here, for
/// it may be of a private key.
fn told(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no END line".into(),
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is not whole".into(),
        error => error.to_string(),
    }
}

fn decrypted(der: &[u8], password: &[u8]) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let plain = pbes2::decrypt(der, password)?;
    Ok(PrivatePkcs8KeyDer::from(plain.to_vec()).into())
}

/// Trust anchors. Every certificate must be usable: a CA that is left out would only show later, as
/// a peer that is not trusted.
pub(super) fn root_store(roots: &[CertificateDer<'static>]) -> Result<RootCertStore, ConfigError> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).map_err(|error| match error {
            // Whole, it would speak of a peer.
            Error::InvalidCertificate(why) => {
                ConfigError(format!("a CA certificate cannot be read: {why}"))
            }
            error => ConfigError(format!("a CA certificate cannot be read: {error}")),
        })?;
    }
    Ok(store)
}

fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(11).any(|window| window == b"-----BEGIN ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_by_whose_it_is() {
        let ca = |bytes: &[u8]| authorities(bytes).unwrap_err().to_string();
        assert_eq!(ca(b""), "the CA is neither PEM nor DER");
        assert_eq!(ca(b"junk"), "the CA is neither PEM nor DER");
        let key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(ca(key), "there is no certificate in the CA's PEM");
        let cut = ca(b"-----BEGIN CERTIFICATE-----\nAAAA\n");
        assert_eq!(cut, "the CA's PEM cannot be read: a section has no END line");
        let cut = private_key(b"-----BEGIN PRIVATE KEY\nAAAA\n", None).unwrap_err().to_string();
        assert_eq!(cut, "the private key's PEM cannot be read: a BEGIN line is not whole");
        let own = certificates(b"junk").unwrap_err().to_string();
        assert_eq!(own, "the certificate is neither PEM nor DER");
        let broken = authorities(&[SEQUENCE, 0]).unwrap();
        let error = root_store(&broken).unwrap_err().to_string();
        assert_eq!(error, "a CA certificate cannot be read: BadEncoding");
    }
}
