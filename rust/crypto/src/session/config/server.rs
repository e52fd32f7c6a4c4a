//! The server's configuration.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::pem::{authorities, certificates, private_key, root_store};
use super::{Common, ConfigError, Group, UnixClock};
use crate::Suite;
use crate::session::identity::{CertificatesByName, Named};
use crate::session::{KeyLogLine, TlsError};

/// Sessions kept for stateful tickets, by default.
const DEFAULT_STATEFUL: usize = 10_000;

/// Tickets given to each client: two, so that it may open two connections next time.
const TICKETS_PER_CONNECTION: usize = 2;

/// Whether and how clients may resume sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tickets {
    /// No resumption.
    Off,
    /// The ticket holds the session, encrypted with a key that changes every few hours. Takes no
    /// memory; allows no early data, because nothing remembers which tickets were used.
    Stateless,
    /// This many sessions are kept in memory, the oldest make room; a ticket is good for one use,
    /// which makes early data safe against replay.
    Stateful(usize),
}

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// One that is not trusted ends the handshake; none at all is fine.
    Optional,
    /// Every client must have a trusted certificate.
    Required,
}

/// How sessions are kept for resumption.
#[derive(Clone)]
pub(in crate::session) enum TicketKeeper {
    Off,
    Stateless(Arc<dyn ProducesTickets>),
    Stateful(Arc<dyn StoresServerSessions>),
}

/// What servers need for TLS. Cheap to clone; sessions of all clones may resume each other.
///
/// With early data, do not lower limits in the transport parameters as long as a configuration is
/// in use: clients of earlier sessions count on them (RFC 9000 section 7.4.1).
#[derive(Clone)]
pub struct ServerConfig {
    /// Completed by each session with its own key log and tickets.
    pub(in crate::session) tls: rustls::ServerConfig,
    pub(in crate::session) tickets: TicketKeeper,
    pub(in crate::session) key_log: Option<KeyLogLine>,
    pub(in crate::session) alpn: Arc<[Vec<u8>]>,
}

impl ServerConfig {
    /// Starts a configuration: no certificate and no ALPN yet, which must be given; all suites, the
    /// default groups, stateless tickets, no early data, no client certificates.
    pub fn builder() -> ServerConfigBuilder {
        ServerConfigBuilder {
            common: Common::new(),
            identities: Vec::new(),
            lookup: None,
            client_roots: Vec::new(),
            client_auth: None,
            tickets: None,
            early_data: false,
        }
    }
}

impl std::fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerConfig").finish_non_exhaustive()
    }
}

/// Makes a [`ServerConfig`].
#[must_use]
pub struct ServerConfigBuilder {
    common: Common,
    identities: Vec<(Option<String>, Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    lookup: Option<Lookup>,
    client_roots: Vec<CertificateDer<'static>>,
    client_auth: Option<ClientAuth>,
    tickets: Option<Tickets>,
    early_data: bool,
}

impl ServerConfigBuilder {
    /// A certificate chain (end entity first) and its private key, each PEM or DER. Of several, the
    /// one for the name that the client asks for is shown, else the first.
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
        self.identities.push((None, certificates(chain)?, private_key(key, password)?));
        Ok(self)
    }

    /// A certificate for clients that ask for `name`: a host name, or `*.` and one, which stands for
    /// any one label there. Exact names come before those with a star, and both before what the
    /// certificates themselves say.
    ///
    /// # Errors
    ///
    /// If the name, the certificate or the key cannot be used.
    pub fn certificate_for(
        mut self,
        name: &str,
        chain: &[u8],
        key: &[u8],
        password: Option<&[u8]>,
    ) -> Result<Self, ConfigError> {
        let lower = name.to_ascii_lowercase();
        let host = lower.strip_prefix("*.").unwrap_or(&lower);
        if !matches!(ServerName::try_from(host), Ok(ServerName::DnsName(_))) {
            return Err(ConfigError(format!("{name:?} is no host name and no *.host name")));
        }
        self.identities.push((Some(lower), certificates(chain)?, private_key(key, password)?));
        Ok(self)
    }

    /// Asked for a certificate when a client wants a name that none of the given ones has. Called
    /// in the middle of a handshake, on the thread of the connection: it must be quick. `None`
    /// means the first certificate.
    pub fn lookup(mut self, lookup: Lookup) -> Self {
        self.lookup = Some(lookup);
        self
    }

    /// Asks clients for a certificate signed by one of the CAs in `roots`, PEM or DER.
    ///
    /// # Errors
    ///
    /// If `roots` hold no certificate.
    pub fn client_auth(mut self, auth: ClientAuth, roots: &[u8]) -> Result<Self, ConfigError> {
        self.client_roots.extend(authorities(roots)?);
        self.client_auth = Some(auth);
        Ok(self)
    }

    /// The application protocols to accept, best first, for example `h3`.
    pub fn alpn<T: AsRef<[u8]>>(mut self, protocols: &[T]) -> Self {
        self.common.alpn = protocols.iter().map(|name| name.as_ref().to_vec()).collect();
        self
    }

    /// The cipher suites to accept. Default: [`Suite::ALL`].
    pub fn suites(mut self, suites: &[Suite]) -> Self {
        self.common.suites = suites.to_vec();
        self
    }

    /// The key-exchange groups to accept. Default: [`Group::DEFAULT`].
    pub fn groups(mut self, groups: &[Group]) -> Self {
        self.common.groups = groups.to_vec();
        self
    }

    /// How sessions may be resumed. Default: stateless, or stateful for 10,000 sessions with early
    /// data.
    pub fn tickets(mut self, tickets: Tickets) -> Self {
        self.tickets = Some(tickets);
        self
    }

    /// Whether to accept early data (0-RTT); needs stateful tickets. Default: no.
    pub fn early_data(mut self, enable: bool) -> Self {
        self.early_data = enable;
        self
    }

    /// Where TLS secrets are logged, for debugging. Default: nowhere.
    pub fn key_log(mut self, log: Option<KeyLogLine>) -> Self {
        self.common.key_log = log;
        self
    }

    /// The clock that certificates and tickets are judged by. Default: the system's.
    pub fn clock(mut self, clock: UnixClock) -> Self {
        self.common.clock = Some(clock);
        self
    }

    /// Completes the configuration.
    ///
    /// # Errors
    ///
    /// If something is missing or does not fit together.
    pub fn build(self) -> Result<ServerConfig, ConfigError> {
        self.common.check()?;
        let tickets = self.ticket_keeper()?;
        let provider = self.common.provider();
        let verifier = match self.client_auth {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(auth) => {
                let store = Arc::new(root_store(&self.client_roots)?);
                let builder = WebPkiClientVerifier::builder_with_provider(store, provider.clone());
                verifier(match auth {
                    ClientAuth::Optional => builder.allow_unauthenticated().build(),
                    ClientAuth::Required => builder.build(),
                })?
            }
        };
        let mut identities = Vec::with_capacity(self.identities.len());
        for (name, chain, key) in self.identities {
            identities.push(Named { name, key: certified(chain, key, &provider)? });
        }
        if identities.is_empty() {
            return Err(ConfigError::new("a server needs a certificate and its private key"));
        }
        let builder = match self.common.time_provider() {
            Some(time) => rustls::ServerConfig::builder_with_details(provider, time),
            None => rustls::ServerConfig::builder_with_provider(provider),
        };
        let mut tls = builder
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| ConfigError(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(CertificatesByName::new(identities, self.lookup)));
        let alpn = self.common.alpn.as_slice().into();
        tls.alpn_protocols = self.common.alpn;
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.send_tls13_tickets = match tickets {
            TicketKeeper::Off => 0,
            _ => TICKETS_PER_CONNECTION,
        };
        // RFC 9001 section 4.6.1: all or nothing; QUIC's own flow control sets the limit.
        tls.max_early_data_size = if self.early_data { u32::MAX } else { 0 };
        Ok(ServerConfig { tls, tickets, key_log: self.common.key_log, alpn })
    }

    fn ticket_keeper(&self) -> Result<TicketKeeper, ConfigError> {
        let tickets = self.tickets.unwrap_or(match self.early_data {
            true => Tickets::Stateful(DEFAULT_STATEFUL),
            false => Tickets::Stateless,
        });
        Ok(match tickets {
            // RFC 8446 section 8.1: single-use tickets keep early data from being replayed.
            Tickets::Off | Tickets::Stateless if self.early_data => {
                return Err(ConfigError::new("early data needs stateful tickets"));
            }
            Tickets::Off => TicketKeeper::Off,
            Tickets::Stateless => {
                let ticketer = rustls::crypto::ring::Ticketer::new();
                TicketKeeper::Stateless(ticketer.map_err(|error| ConfigError(error.to_string()))?)
            }
            Tickets::Stateful(sessions) => {
                TicketKeeper::Stateful(ServerSessionMemoryCache::new(sessions))
            }
        })
    }
}

/// A certificate chain and its key, for a [`Lookup`].
#[derive(Clone, Debug)]
pub struct ServerIdentity(pub(in crate::session) Arc<CertifiedKey>);

impl ServerIdentity {
    /// A certificate chain (end entity first) and its private key, each PEM or DER.
    ///
    /// # Errors
    ///
    /// If they cannot be read or do not belong together, or the password is wrong.
    pub fn new(chain: &[u8], key: &[u8], password: Option<&[u8]>) -> Result<Self, ConfigError> {
        let provider = rustls::crypto::ring::default_provider();
        certified(certificates(chain)?, private_key(key, password)?, &provider).map(Self)
    }
}

/// Finds the certificate for a host name, in lower case.
pub type Lookup = Arc<dyn Fn(&str) -> Option<ServerIdentity> + Send + Sync>;

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, ConfigError> {
    CertifiedKey::from_der(chain, key, provider).map(Arc::new).map_err(|error| {
        let error = TlsError::new(&error, None, &[]);
        ConfigError(format!("the server certificate cannot be used: {error}"))
    })
}

fn verifier<E: std::fmt::Display>(
    built: Result<Arc<dyn ClientCertVerifier>, E>,
) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
    built.map_err(|error| ConfigError(format!("client certificates cannot be checked: {error}")))
}
