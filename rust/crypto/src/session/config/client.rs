//! The client's configuration.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::version::TLS13;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::pem::{authorities, certificates, private_key, root_store};
use super::{Common, ConfigError, Group, UnixClock};
use crate::Suite;
use crate::session::tickets::TicketStore;
use crate::session::verify::{NoVerifier, PinVerifier, RootsVerifier, sha256};
use crate::session::{KeyLogLine, TlsError};

/// What clients need for TLS. Cheap to clone; sessions of all clones may resume each other.
#[derive(Clone)]
pub struct ClientConfig {
    /// Completed by each session with its own key log and tickets.
    pub(in crate::session) tls: rustls::ClientConfig,
    pub(in crate::session) tickets: Option<TicketStore>,
    pub(in crate::session) key_log: Option<KeyLogLine>,
    pub(in crate::session) alpn: Arc<[Vec<u8>]>,
    /// The one in `tls`, where it cannot be seen.
    pub(in crate::session) verifier: Arc<dyn ServerCertVerifier>,
    /// SHA-256 of the certificate in `identity`, or nothing.
    pub(in crate::session) identity: Vec<u8>,
}

impl ClientConfig {
    /// Starts a configuration: no roots and no ALPN yet, which must be given; all suites, the
    /// default groups, tickets kept for 256 servers, no early data.
    pub fn builder() -> ClientConfigBuilder {
        ClientConfigBuilder {
            common: Common::new(),
            roots: Vec::new(),
            verify: true,
            check_hostname: true,
            pins: Vec::new(),
            identity: None,
            tickets: Some(TicketStore::default()),
            early_data: false,
        }
    }
}

impl std::fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientConfig").finish_non_exhaustive()
    }
}

/// Makes a [`ClientConfig`].
#[must_use]
pub struct ClientConfigBuilder {
    common: Common,
    roots: Vec<CertificateDer<'static>>,
    verify: bool,
    check_hostname: bool,
    pins: Vec<[u8; 32]>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    tickets: Option<TicketStore>,
    early_data: bool,
}

impl ClientConfigBuilder {
    /// Trusts the CA certificates in `bytes`, PEM or DER. May be called more than once. A
    /// self-signed server certificate given here is trusted itself.
    ///
    /// # Errors
    ///
    /// If `bytes` hold no certificate.
    pub fn roots(mut self, bytes: &[u8]) -> Result<Self, ConfigError> {
        self.roots.extend(authorities(bytes)?);
        Ok(self)
    }

    /// Trusts the CA certificates of the operating system, or those that the environment variables
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    ///
    /// # Errors
    ///
    /// If there are none. Single certificates that cannot be read are left out.
    pub fn system_roots(mut self) -> Result<Self, ConfigError> {
        let found = rustls_native_certs::load_native_certs();
        let usable =
            |root: &CertificateDer<'static>| root_store(std::slice::from_ref(root)).is_ok();
        let before = self.roots.len();
        self.roots.extend(found.certs.into_iter().filter(usable));
        if self.roots.len() == before {
            let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            return Err(ConfigError(format!("the system has no CA certificates{why}")));
        }
        Ok(self)
    }

    /// Takes any server certificate. For tests only: anyone on the way can be the server.
    pub fn insecure_no_verification(mut self) -> Self {
        self.verify = false;
        self
    }

    /// Whether the server's certificate must carry the name that was asked for. Default: yes.
    pub fn check_hostname(mut self, check: bool) -> Self {
        self.check_hostname = check;
        self
    }

    /// The server's own public key must be one of these: the SHA-256 of its SubjectPublicKeyInfo
    /// (RFC 7469 section 2.4). Comes on top of all other checks; CAs are not looked at, because
    /// anybody can send the certificate of any CA along. Default: none, any key.
    pub fn pins(mut self, pins: &[[u8; 32]]) -> Self {
        self.pins = pins.to_vec();
        self
    }

    /// The certificate chain (end entity first) and private key, each PEM or DER, to show to
    /// servers that ask for one.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    pub fn certificate(self, chain: &[u8], key: &[u8]) -> Result<Self, ConfigError> {
        self.certificate_with_password(chain, key, None)
    }

    /// As [`Self::certificate`], with the password of an encrypted key.
    ///
    /// # Errors
    ///
    /// If they cannot be read, or the password is wrong.
    pub fn certificate_with_password(
        mut self,
        chain: &[u8],
        key: &[u8],
        password: Option<&[u8]>,
    ) -> Result<Self, ConfigError> {
        self.identity = Some((certificates(chain)?, private_key(key, password)?));
        Ok(self)
    }

    /// The application protocols to offer, best first, for example `h3`.
    pub fn alpn<T: AsRef<[u8]>>(mut self, protocols: &[T]) -> Self {
        self.common.alpn = protocols.iter().map(|name| name.as_ref().to_vec()).collect();
        self
    }

    /// The cipher suites to offer, best first. Default: [`Suite::ALL`].
    pub fn suites(mut self, suites: &[Suite]) -> Self {
        self.common.suites = suites.to_vec();
        self
    }

    /// The key-exchange groups to offer, best first. Default: [`Group::DEFAULT`].
    pub fn groups(mut self, groups: &[Group]) -> Self {
        self.common.groups = groups.to_vec();
        self
    }

    /// Where session tickets are kept; `None` for no resumption. Default: a store of its own.
    pub fn tickets(mut self, store: Option<TicketStore>) -> Self {
        self.tickets = store;
        self
    }

    /// Whether to send early data (0-RTT) when a ticket allows it. Early data can be replayed by an
    /// attacker (RFC 9001 section 9.2). Default: no.
    pub fn early_data(mut self, enable: bool) -> Self {
        self.early_data = enable;
        self
    }

    /// Where TLS secrets are logged, for debugging. Default: nowhere.
    pub fn key_log(mut self, log: Option<KeyLogLine>) -> Self {
        self.common.key_log = log;
        self
    }

    /// The clock that certificates are judged by. Default: the system's.
    pub fn clock(mut self, clock: UnixClock) -> Self {
        self.common.clock = Some(clock);
        self
    }

    /// Completes the configuration.
    ///
    /// # Errors
    ///
    /// If something is missing or does not fit together.
    pub fn build(self) -> Result<ClientConfig, ConfigError> {
        self.common.check()?;
        let provider = self.common.provider();
        let verifier = self.verifier(&provider)?;
        let time = self.common.time_provider();
        let builder = match time {
            Some(time) => rustls::ClientConfig::builder_with_details(provider, time),
            None => rustls::ClientConfig::builder_with_provider(provider),
        };
        let builder = builder
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| ConfigError(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone());
        let identity = self.identity.as_ref().and_then(|(chain, _)| chain.first());
        let identity = identity.map_or_else(Vec::new, |own| sha256(own).to_vec());
        let mut tls = match self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
                let error = TlsError::new(&error, None, &[]);
                ConfigError(format!("the client certificate cannot be used: {error}"))
            })?,
        };
        let alpn = self.common.alpn.as_slice().into();
        tls.alpn_protocols = self.common.alpn;
        tls.enable_early_data = self.early_data;
        let (tickets, key_log) = (self.tickets, self.common.key_log);
        Ok(ClientConfig { tls, tickets, key_log, alpn, verifier, identity })
    }

    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, ConfigError> {
        let inner = self.chain_verifier(provider)?;
        if self.pins.is_empty() {
            return Ok(inner);
        }
        Ok(Arc::new(PinVerifier { inner, pins: self.pins.clone() }))
    }

    fn chain_verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, ConfigError> {
        if !self.verify {
            return Ok(Arc::new(NoVerifier(provider.signature_verification_algorithms)));
        }
        if self.roots.is_empty() {
            return Err(ConfigError::new(
                "no CA certificates to verify the server with: give some, or use the system's",
            ));
        }
        let store = Arc::new(root_store(&self.roots)?);
        let inner = WebPkiServerVerifier::builder_with_provider(store, provider.clone())
            .build()
            .map_err(|error| ConfigError(error.to_string()))?;
        Ok(Arc::new(RootsVerifier::new(inner, &self.roots, self.check_hostname)))
    }
}
