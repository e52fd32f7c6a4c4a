//! A ticket that was written down becomes one that rustls can use.
//!
//! rustls makes such values only itself, when a server gives a ticket. So a server is played for it,
//! in memory: a handshake without any real key, in which the saved certificates are shown, and then
//! the NewSessionTicket message of the saved ticket, for which [`tap`](super::tap) puts the saved
//! secret in. It takes a fraction of a millisecond, and nothing of rustls' inside is assumed.
//!
//! What is skipped there is the proof that the server has the key of its certificate: it gave that
//! proof when the ticket came. The certificates are verified again, under this configuration and
//! by today's date, so that a ticket is worth no more than they are.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::CryptoProvider;
use rustls::quic::{self, ClientConnection, ServerConnection};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{
    DigitallySignedStruct, Error, NamedGroup, NoKeyLog, SignatureAlgorithm, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::config::{ClientConfig, Group};
use super::saved::SavedTicket;
use super::tap;

/// A session to resume, and the verifier to which rustls binds it: only a connection with that very
/// one may use it.
pub(super) struct Restored {
    pub session: Tls13ClientSessionValue,
    pub verifier: Arc<dyn ServerCertVerifier>,
}

/// `None` if the ticket is too old, or not for this configuration, or its server is not trusted
/// (any more).
pub(super) fn restore(
    config: &ClientConfig,
    name: &ServerName<'static>,
    saved: SavedTicket,
) -> Option<Restored> {
    let now = config.tls.time_provider.current_time()?;
    let suites = &config.tls.crypto_provider().cipher_suites;
    let suite = tap::suite(saved.suite);
    let usable = (saved.issued..saved.expires()).contains(&now.as_secs())
        && suites.iter().any(|known| known.suite() == suite.suite())
        && config.alpn.contains(&saved.alpn)
        && config.identity == saved.identity;
    if !usable {
        return None;
    }
    let verifier = Arc::new(Rehearsal {
        real: config.verifier.clone(),
        now,
        rehearsing: AtomicBool::new(true),
    });
    let session = rehearse(config, name, saved, verifier.clone());
    verifier.rehearsing.store(false, Ordering::Release);
    Some(Restored { session: session?, verifier })
}

fn rehearse(
    config: &ClientConfig,
    name: &ServerName<'static>,
    saved: SavedTicket,
    verifier: Arc<Rehearsal>,
) -> Option<Tls13ClientSessionValue> {
    let caught = Arc::new(Catch(Mutex::new(None)));
    let mut tls = config.tls.clone();
    tls.dangerous().set_certificate_verifier(verifier);
    tls.resumption = Resumption::store(caught.clone());
    tls.key_log = Arc::new(NoKeyLog);
    // The age of the ticket counts from here.
    tls.time_provider = Arc::new(Fixed(saved.issued));
    tls.enable_early_data = false;
    tls.alpn_protocols = vec![saved.alpn.clone()];
    let v1 = quic::Version::V1;
    let mut client = ClientConnection::new(Arc::new(tls), v1, name.clone(), Vec::new()).ok()?;
    let mut server = puppet(&saved)?;
    // ClientHello; the server's flight, after perhaps a HelloRetryRequest.
    for _ in 0..4 {
        pass(|out| client.write_hs(out), |bytes| server.read_hs(bytes))?;
        pass(|out| server.write_hs(out), |bytes| client.read_hs(bytes))?;
    }
    if client.is_handshaking() {
        return None;
    }
    let message = saved.message();
    tap::giving(saved.psk, || client.read_hs(&message)).ok()?;
    caught.0.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Moves all handshake bytes there are. The levels do not matter: no packet is protected.
fn pass(
    mut write: impl FnMut(&mut Vec<u8>) -> Option<quic::KeyChange>,
    mut read: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Option<()> {
    loop {
        let mut bytes = Vec::new();
        let change = write(&mut bytes);
        if !bytes.is_empty() {
            read(&bytes).ok()?;
        }
        if change.is_none() {
            return Some(());
        }
    }
}

fn puppet(saved: &SavedTicket) -> Option<ServerConnection> {
    let provider = CryptoProvider {
        cipher_suites: vec![tap::suite(saved.suite)],
        kx_groups: Group::ALL.map(Group::implementation).to_vec(),
        ..rustls::crypto::ring::default_provider()
    };
    let chain = saved.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = CertifiedKey::new(chain, Arc::new(NoKey));
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .ok()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Always(Arc::new(key))));
    tls.alpn_protocols = vec![saved.alpn.clone()];
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    ServerConnection::new(Arc::new(tls), quic::Version::V1, saved.parameters.clone()).ok()
}

/// The real verifier, which during the rehearsal is told the right time and not asked about the
/// signature. Afterwards it does nothing but ask the real one.
#[derive(Debug)]
struct Rehearsal {
    real: Arc<dyn ServerCertVerifier>,
    now: UnixTime,
    rehearsing: AtomicBool,
}

impl Rehearsal {
    fn rehearsing(&self) -> bool {
        self.rehearsing.load(Ordering::Acquire)
    }
}

impl ServerCertVerifier for Rehearsal {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let now = if self.rehearsing() { self.now } else { now };
        self.real.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.real.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.rehearsing() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        self.real.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.real.supported_verify_schemes()
    }
}

/// Takes the one session that is made.
#[derive(Debug)]
struct Catch(Mutex<Option<Tls13ClientSessionValue>>);

impl ClientSessionStore for Catch {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        // The cheapest, if the configuration has it.
        Some(NamedGroup::X25519)
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
}

#[derive(Debug)]
struct Fixed(u64);

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// Stands for a key that nobody here has: signs with nothing, which [`Rehearsal`] takes.
#[derive(Debug)]
struct NoKey;

impl SigningKey for NoKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.first().map(|&scheme| Box::new(NoSigner(scheme)) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

#[derive(Debug)]
struct NoSigner(SignatureScheme);

impl Signer for NoSigner {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(vec![0; 64])
    }

    fn scheme(&self) -> SignatureScheme {
        self.0
    }
}
