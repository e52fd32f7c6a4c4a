//! TLS by rustls and ring, for the stacks that take it: one cipher suite, one key-exchange group.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, NamedGroup, RootCertStore, ServerConfig};

use crate::options::Kind;
use crate::{ALPN, Result};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![ring::kx_group::X25519],
        ..ring::default_provider()
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    Ok(CertificateDer::pem_file_iter(path)?.collect::<std::result::Result<_, _>>()?)
}

/// A server that also takes early data.
pub fn server(cert: &Path, key: &Path) -> Result<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(certificates(cert)?, PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // All or nothing (RFC 9001 section 4.6.1).
    config.max_early_data_size = u32::MAX;
    Ok(config)
}

/// A client that verifies the server and resumes what `kind` lets it.
pub fn client(ca: &Path, kind: Kind, sessions: &Arc<Sessions>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate)?;
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_early_data = kind == Kind::ZeroRtt;
    config.resumption =
        if kind.resumes() { Resumption::store(sessions.clone()) } else { Resumption::disabled() };
    Ok(config)
}

/// Tickets of the one server: each is used once, and whoever wants to resume can see if there is one.
#[derive(Debug)]
pub struct Sessions {
    tickets: Mutex<Tickets>,
    others: ClientSessionMemoryCache,
}

#[derive(Debug, Default)]
struct Tickets {
    kept: VecDeque<Tls13ClientSessionValue>,
    /// Who waits for one.
    waiting: Option<Waker>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { tickets: Mutex::default(), others: ClientSessionMemoryCache::new(1) }
    }
}

impl Sessions {
    /// Ready when the next connection can resume.
    pub fn poll_ticket(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut tickets = self.lock();
        if tickets.kept.is_empty() {
            tickets.waiting = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn lock(&self) -> MutexGuard<'_, Tickets> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.others.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.others.kx_hint(server)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.lock();
        tickets.kept.push_back(ticket);
        // Servers send several for each connection, one of them is used.
        while tickets.kept.len() > 8 {
            tickets.kept.pop_front();
        }
        if let Some(waker) = tickets.waiting.take() {
            waker.wake();
        }
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.lock().kept.pop_back()
    }
}
