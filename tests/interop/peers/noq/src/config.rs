//! The environment contract and the TLS and transport settings both roles share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use noq::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use noq::{TransportConfig, VarInt};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::Failure;

const ALPN: &[u8] = b"hq-interop";
/// Paths that may be open at a time.
const PATHS: u32 = 4;

/// An environment variable, or the place where quic-interop-runner mounts the thing.
pub fn setting(name: &str, fallback: &str) -> String {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => value,
        _ => fallback.to_owned(),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(name: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let path = PathBuf::from(setting("CERTS", "/certs")).join(name);
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&path)?.collect();
    Ok(found?)
}

pub fn client_tls() -> Result<QuicClientConfig, Failure> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates("ca.pem")? {
        roots.add(certificate)?;
    }
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.key_log = Arc::new(rustls::KeyLogFile::new());
    Ok(QuicClientConfig::try_from(tls)?)
}

pub fn server_tls() -> Result<QuicServerConfig, Failure> {
    let key =
        PrivateKeyDer::from_pem_file(PathBuf::from(setting("CERTS", "/certs")).join("priv.key"))?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(certificates("cert.pem")?, key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.key_log = Arc::new(rustls::KeyLogFile::new());
    Ok(QuicServerConfig::try_from(tls)?)
}

pub fn transport() -> Result<Arc<TransportConfig>, Failure> {
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(VarInt::from_u32(100));
    transport.max_idle_timeout(Some(Duration::from_secs(60).try_into()?));
    transport.max_concurrent_multipath_paths(PATHS);
    Ok(Arc::new(transport))
}
