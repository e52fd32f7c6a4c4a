//! The TLS 1.3 session of a connection (RFC 9001 section 4), over rustls.

mod client;
mod config;
mod error;
mod identity;
mod restore;
mod saved;
mod secrets;
mod server;
mod server_tickets;
mod tap;
mod tickets;
mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::HandshakeKind;
use rustls::quic::Connection;
use tquic_wire::{Side, Version};

use crate::{DirectionKeys, Keys, Suite, TrafficSecret, UpdateSecrets};

pub use config::{
    ClientAuth, ClientConfig, ClientConfigBuilder, ConfigError, Group, Lookup, ServerConfig,
    ServerConfigBuilder, ServerIdentity, Tickets, UnixClock, public_key_pin,
};
pub use error::TlsError;
pub use secrets::KeyLogLine;
pub use tickets::{Exported, TicketStore};

use saved::TicketSaver;
use secrets::{Pair, SecretSink};
use tickets::SharedVersion;

/// The encryption levels (RFC 9001 section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Initial packets.
    Initial,
    /// 0-RTT packets, from the client only; carries no TLS bytes.
    ZeroRtt,
    /// Handshake packets.
    Handshake,
    /// 1-RTT packets.
    OneRtt,
}

/// New keys, which protect what is sent after the TLS bytes that came with them.
#[derive(Debug)]
pub enum KeyChange {
    /// The Handshake keys.
    Handshake(Keys),
    /// The first generation of 1-RTT keys, and the secrets of the later ones. A server must not
    /// open 1-RTT packets before the handshake is complete (RFC 9001 section 5.7).
    OneRtt(Keys, UpdateSecrets),
}

/// Why secrets are there when rustls announces new keys.
const LOGGED: &str = "rustls logs the secrets before it announces their keys";

/// One connection's TLS session.
///
/// The connection feeds it with CRYPTO bytes, in order, and takes bytes to send and keys from it.
/// Which bytes may come at which level is for the connection to check.
pub struct Session {
    tls: Connection,
    secrets: Arc<SecretSink>,
    /// Of the client's first packets; 0-RTT stays with it.
    original: Version,
    /// The one whose labels make the other keys.
    version: SharedVersion,
    level: Level,
    /// The first error; a session does not survive one.
    failed: Option<TlsError>,
    /// Our own list, for error messages.
    alpn: Arc<[Vec<u8>]>,
    early: EarlyData,
    /// Client: tickets that come after the handshake are kept.
    wants_tickets: bool,
    /// Client: writes down the tickets that come, if the store wants that.
    saver: Option<Box<TicketSaver>>,
    /// A client's: a ticket came.
    ticket: Arc<AtomicBool>,
}

/// What a handshake has agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// See [`Session::alpn`].
    pub alpn: Option<Vec<u8>>,
    /// See [`Session::suite`].
    pub suite: Option<Suite>,
    /// See [`Session::key_exchange_group`].
    pub group: Option<Group>,
    /// See [`Session::server_name`].
    pub server_name: Option<String>,
    /// See [`Session::peer_certificates`].
    pub certificates: Vec<Vec<u8>>,
    /// See [`Session::resumed`].
    pub resumed: bool,
}

/// Early data, as the two sides see it.
enum EarlyData {
    Client {
        /// Whether the `ClientHello` offers it.
        offered: bool,
        secret: Option<TrafficSecret>,
        /// The server's transport parameters of the session that is resumed.
        remembered: Option<Vec<u8>>,
    },
    Server {
        accepted: Option<bool>,
    },
}

impl Session {
    /// Gives the session CRYPTO bytes of the peer: in order, without gaps, and only those of one
    /// encryption level in a call. Messages may be cut anywhere.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when the handshake fails; every later call gives the same.
    pub fn read(&mut self, data: &[u8]) -> Result<(), TlsError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if let Err(error) = self.read_handshake(data) {
            let error = TlsError::new(&error, self.tls.alert(), &self.alpn);
            return Err(self.failed.insert(error).clone());
        }
        let known = self.extensions_known();
        if let EarlyData::Server { accepted: accepted @ None } = &mut self.early
            && known
        {
            *accepted = Some(self.tls.zero_rtt_keys().is_some());
        }
        Ok(())
    }

    fn read_handshake(&mut self, data: &[u8]) -> Result<(), rustls::Error> {
        // Tickets come behind the handshake.
        let Some(saver) = self.saver.as_mut().filter(|_| !self.tls.is_handshaking()) else {
            return self.tls.read_hs(data);
        };
        let (result, secrets) = tap::noting(|| self.tls.read_hs(data));
        if result.is_ok() {
            saver.on_handshake_bytes(&self.tls, data, secrets);
        }
        result
    }

    /// Client: whether a session ticket came, and went to the store, since this was last asked.
    pub fn take_ticket(&self) -> bool {
        self.ticket.swap(false, Ordering::Relaxed)
    }

    /// Appends to `out` what is to be sent in CRYPTO frames at [`Self::write_level`].
    ///
    /// With a [`KeyChange`], the level rises behind these bytes: call again for those of the next
    /// level, until there is neither a change nor a new byte.
    pub fn write(&mut self, out: &mut Vec<u8>) -> Option<KeyChange> {
        use rustls::quic::KeyChange as Change;
        // A client has nothing more to send at the Initial level once it has Handshake secrets.
        // rustls would put its Finished there if the server's whole flight was read at once.
        if self.side() == Side::Client
            && self.level == Level::Initial
            && let Some(pair) = self.secrets.take_handshake()
        {
            return Some(self.handshake_keys(&pair));
        }
        loop {
            match self.tls.write_hs(out)? {
                Change::Handshake { .. } if self.level == Level::Handshake => {}
                Change::Handshake { .. } => {
                    let pair = self.secrets.take_handshake().expect(LOGGED);
                    return Some(self.handshake_keys(&pair));
                }
                Change::OneRtt { .. } => {
                    self.level = Level::OneRtt;
                    let (local, remote) = self.split(&self.secrets.take_one_rtt().expect(LOGGED));
                    let keys = self.keys(&local, &remote);
                    let updates = UpdateSecrets::new(self.version.get(), local, remote);
                    return Some(KeyChange::OneRtt(keys, updates));
                }
            }
        }
    }

    fn handshake_keys(&mut self, pair: &Pair) -> KeyChange {
        self.level = Level::Handshake;
        let (local, remote) = self.split(pair);
        KeyChange::Handshake(self.keys(&local, &remote))
    }

    /// The level of the bytes that the next [`Self::write`] appends.
    #[must_use]
    pub fn write_level(&self) -> Level {
        self.level
    }

    /// Sets the negotiated QUIC version (RFC 9368), whose labels make the keys from now on and to
    /// which new tickets belong.
    ///
    /// A server calls this before the first [`Self::read`], a client when the first packet of
    /// another version authenticates. 0-RTT keys stay with the original version (RFC 9369 section
    /// 4.1).
    pub fn set_version(&mut self, version: Version) {
        self.version.set(version);
    }

    /// The 0-RTT keys, once: at a client right after it was made, if it resumes a session that
    /// allows early data; at a server after it read the `ClientHello`, if it accepts early data.
    pub fn zero_rtt_keys(&mut self) -> Option<DirectionKeys> {
        let secret = match &mut self.early {
            EarlyData::Client { secret, .. } => secret.take()?,
            EarlyData::Server { accepted: Some(true) } => {
                let secret = self.secrets.take_early()?;
                TrafficSecret::new(self.suite()?, &secret)?
            }
            EarlyData::Server { .. } => return None,
        };
        Some(DirectionKeys::derive(self.original, &secret))
    }

    /// Whether early data was accepted. `None` while that is not known and, at a client, if none
    /// was offered.
    #[must_use]
    pub fn early_data_accepted(&self) -> Option<bool> {
        match (&self.early, &self.tls) {
            (EarlyData::Client { offered: true, .. }, Connection::Client(tls)) => {
                self.extensions_known().then(|| tls.is_early_data_accepted())
            }
            (EarlyData::Server { accepted }, _) => *accepted,
            _ => None,
        }
    }

    /// Client: the server's transport parameters of the earlier session, undecoded, if a session is
    /// being resumed. With early data, they hold until the new ones come (RFC 9000 section 7.4.1).
    #[must_use]
    pub fn remembered_parameters(&self) -> Option<&[u8]> {
        match &self.early {
            EarlyData::Client { remembered, .. } => remembered.as_deref(),
            EarlyData::Server { .. } => None,
        }
    }

    /// Whether the TLS handshake goes on still (RFC 9001 section 4.1.1).
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// The peer's transport parameters, undecoded, once they have come. They are authenticated
    /// only when the handshake is complete (RFC 9001 section 8.2).
    #[must_use]
    pub fn peer_parameters(&self) -> Option<&[u8]> {
        // Before, a client's rustls shows the remembered ones.
        let come = self.extensions_known() || self.side() == Side::Server;
        if come { self.tls.quic_transport_parameters() } else { None }
    }

    /// The application protocol that was agreed upon.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tls.alpn_protocol()
    }

    /// The cipher suite; at a client that resumes a session, before the server's answer, that of
    /// the earlier session.
    #[must_use]
    pub fn suite(&self) -> Option<Suite> {
        Suite::from_tls(self.tls.negotiated_cipher_suite()?.suite())
    }

    /// The group of the key exchange.
    #[must_use]
    pub fn key_exchange_group(&self) -> Option<Group> {
        Group::from_tls(self.tls.negotiated_key_exchange_group()?.name())
    }

    /// Server: the host name that the client asked for, once known.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        match &self.tls {
            Connection::Client(_) => None,
            Connection::Server(tls) => tls.server_name(),
        }
    }

    /// The peer's certificate chain in DER, end entity first; nothing if it showed none. Those of a
    /// resumed session are those of the first one.
    pub fn peer_certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.tls.peer_certificates().unwrap_or_default().iter().map(AsRef::as_ref)
    }

    /// Whether an earlier session was resumed. Known when [`Self::alpn`] is.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Fills `out` with key material for other protocols (RFC 8446 section 7.5).
    ///
    /// # Errors
    ///
    /// If the handshake is not complete.
    pub fn export_keying_material(
        &self,
        out: &mut [u8],
        label: &[u8],
        context: Option<&[u8]>,
    ) -> Result<(), TlsError> {
        self.tls
            .export_keying_material(out, label, context)
            .map(drop)
            .map_err(|error| TlsError::new(&error, None, &self.alpn))
    }

    /// What the handshake has agreed on, to be kept without the session.
    #[must_use]
    pub fn agreed(&self) -> Agreed {
        Agreed {
            alpn: self.alpn().map(<[u8]>::to_vec),
            suite: self.suite(),
            group: self.key_exchange_group(),
            server_name: self.server_name().map(str::to_owned),
            certificates: self.peer_certificates().map(<[u8]>::to_vec).collect(),
            resumed: self.resumed(),
        }
    }

    /// Whether nothing that the peer can still send would change anything: the handshake is
    /// complete, everything was written, and a client keeps no tickets.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.is_handshaking() && self.failed.is_none() && !self.wants_tickets
    }

    /// Which side of the connection this is.
    #[must_use]
    pub fn side(&self) -> Side {
        match self.tls {
            Connection::Client(_) => Side::Client,
            Connection::Server(_) => Side::Server,
        }
    }

    /// Whether the peer's `ClientHello` or `EncryptedExtensions` was read: ALPN is never missing
    /// there, else the handshake fails.
    fn extensions_known(&self) -> bool {
        self.tls.alpn_protocol().is_some()
    }

    /// The secrets of (us, the peer).
    fn split(&self, pair: &Pair) -> (TrafficSecret, TrafficSecret) {
        let suite = self.suite().expect("secrets come after the choice of the suite");
        let secret = |bytes: &[u8]| {
            TrafficSecret::new(suite, bytes).expect("rustls makes secrets as long as the hash")
        };
        let (client, server) = (secret(&pair.client), secret(&pair.server));
        match self.side() {
            Side::Client => (client, server),
            Side::Server => (server, client),
        }
    }

    fn keys(&self, local: &TrafficSecret, remote: &TrafficSecret) -> Keys {
        let version = self.version.get();
        Keys {
            local: DirectionKeys::derive(version, local),
            remote: DirectionKeys::derive(version, remote),
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("side", &self.side())
            .field("level", &self.level)
            .field("handshaking", &self.is_handshaking())
            .finish_non_exhaustive()
    }
}
