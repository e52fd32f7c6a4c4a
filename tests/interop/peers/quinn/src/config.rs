//! The environment contract and the TLS and transport settings both roles share.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{QlogConfig, QlogStream, TransportConfig, VarInt};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::quic::Suite;

use crate::Failure;
use crate::verify::LongChainVerifier;

const ALPN: &[u8] = b"hq-interop";

/// An environment variable, or the place where quic-interop-runner mounts the thing.
pub fn setting(name: &str, fallback: &str) -> String {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => value,
        _ => fallback.to_owned(),
    }
}

/// Only `TLS_CHACHA20_POLY1305_SHA256` in that test case, else what rustls offers.
fn provider(testcase: &str) -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    if testcase == "chacha20" {
        provider.cipher_suites = vec![ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256];
    }
    Arc::new(provider)
}

/// Initial packets use AES-128-GCM whatever the handshake may negotiate (RFC 9001 section 5.2).
fn initial_suite() -> Result<Suite, Failure> {
    ring::cipher_suite::TLS13_AES_128_GCM_SHA256
        .tls13()
        .and_then(rustls::Tls13CipherSuite::quic_suite)
        .ok_or_else(|| Failure::Failed("no AES-128-GCM for Initial packets".into()))
}

fn certificates(name: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let path = PathBuf::from(setting("CERTS", "/certs")).join(name);
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&path)?.collect();
    Ok(found?)
}

pub fn client_tls(testcase: &str) -> Result<QuicClientConfig, Failure> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates("ca.pem")? {
        roots.add(certificate)?;
    }
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider(testcase)).build()?;
    let mut tls = rustls::ClientConfig::builder_with_provider(provider(testcase))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(LongChainVerifier(verifier)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.key_log = Arc::new(rustls::KeyLogFile::new());
    tls.enable_early_data = testcase == "zerortt";
    Ok(QuicClientConfig::with_initial(Arc::new(tls), initial_suite()?)?)
}

pub fn server_tls(testcase: &str) -> Result<QuicServerConfig, Failure> {
    let key =
        PrivateKeyDer::from_pem_file(PathBuf::from(setting("CERTS", "/certs")).join("priv.key"))?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider(testcase))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(certificates("cert.pem")?, key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.key_log = Arc::new(rustls::KeyLogFile::new());
    if testcase == "zerortt" {
        // RFC 9001 section 4.6.1: QUIC tickets carry this value, and no other, to allow 0-RTT.
        tls.max_early_data_size = u32::MAX;
    }
    Ok(QuicServerConfig::with_initial(Arc::new(tls), initial_suite()?)?)
}

/// Settings of one connection, patient because half of the cases run over links that lose a third of the packets.
pub fn transport(role: &str) -> Result<Arc<TransportConfig>, Failure> {
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(VarInt::from_u32(100));
    transport.max_idle_timeout(Some(Duration::from_secs(60).try_into()?));
    transport.qlog_stream(qlog(role)?);
    Ok(Arc::new(transport))
}

/// A qlog file of its own for every connection when QLOGDIR is set.
fn qlog(role: &str) -> Result<Option<QlogStream>, Failure> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let folder = setting("QLOGDIR", "");
    if folder.is_empty() {
        return Ok(None);
    }
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = PathBuf::from(folder).join(format!("quinn-{number}_{role}.sqlog"));
    let mut config = QlogConfig::default();
    config.writer(Box::new(File::create(path)?)).title(Some(role.to_owned()));
    Ok(config.into_stream())
}
