//! How a client judges the server's certificate.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, PeerIncompatible, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::Error as WebPkiError;

/// Checks chains against trusted roots, with one addition to web PKI: a self-signed certificate
/// that was itself given as a root is good for the names it carries, even if it says that it is a
/// CA. People make such certificates with one `openssl` command.
#[derive(Debug)]
pub(super) struct RootsVerifier {
    inner: Arc<WebPkiServerVerifier>,
    pinned: HashSet<CertificateDer<'static>>,
    check_hostname: bool,
}

impl RootsVerifier {
    pub fn new(
        inner: Arc<WebPkiServerVerifier>,
        roots: &[CertificateDer<'static>],
        check_hostname: bool,
    ) -> Self {
        Self { inner, pinned: roots.iter().cloned().collect(), check_hostname }
    }

    fn verify_name(
        &self,
        end_entity: &CertificateDer<'_>,
        name: &ServerName<'_>,
    ) -> Result<(), Error> {
        if !self.check_hostname {
            return Ok(());
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)
    }
}

/// web PKI says this last of all, when the chain was found to be good.
fn is_name_mismatch(error: &Error) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(error, Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
}

/// web PKI says this of a CA certificate shown by a server, after it found its dates to be right.
fn is_ca_as_end_entity(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    matches!(other.0.downcast_ref(), Some(WebPkiError::CaUsedAsEndEntity))
}

impl ServerCertVerifier for RootsVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            Err(error) if is_ca_as_end_entity(&error) && self.pinned.contains(end_entity) => {
                self.verify_name(end_entity, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            Err(error) if !self.check_hostname && is_name_mismatch(&error) => {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Wants, on top of what another verifier wants, one of some keys in the server's own certificate.
#[derive(Debug)]
pub(super) struct PinVerifier {
    pub inner: Arc<dyn ServerCertVerifier>,
    /// SHA-256 of SubjectPublicKeyInfo (RFC 7469 section 2.4).
    pub pins: Vec<[u8; 32]>,
}

/// The server's key is none of those pinned; it is this one.
#[derive(Debug)]
pub(super) struct PinMismatch(pub [u8; 32]);

impl fmt::Display for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the public key is not pinned: it is {}", pin_text(&self.0))
    }
}

impl std::error::Error for PinMismatch {}

/// RFC 7469 section 2.4: SHA-256 of SubjectPublicKeyInfo.
pub(super) fn key_hash(certificate: &CertificateDer<'_>) -> Result<[u8; 32], Error> {
    Ok(sha256(&ParsedCertificate::try_from(certificate)?.subject_public_key_info()))
}

/// As people write pins.
pub(super) fn pin_text(hash: &[u8; 32]) -> String {
    format!("sha256//{}", base64(hash))
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_usize, |bits, &byte| bits << 8 | usize::from(byte))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = char::from(DIGITS[bits >> (18 - 6 * place) & 63]);
            text.push(if place <= group.len() { digit } else { '=' });
        }
    }
    text
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        let pin = key_hash(end_entity)?;
        if self.pins.contains(&pin) {
            return Ok(verified);
        }
        let mismatch = OtherError(Arc::new(PinMismatch(pin)));
        Err(CertificateError::Other(mismatch).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Takes any certificate. The server still proves that it has the certificate's key, so a watcher
/// cannot read along; but anyone may be the server.
#[derive(Debug)]
pub(super) struct NoVerifier(pub WebPkiSupportedAlgorithms);

impl ServerCertVerifier for NoVerifier {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        for (text, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }
}
