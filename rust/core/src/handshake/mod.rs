//! The cryptographic handshake of a connection: the TLS session and its CRYPTO streams.

mod after;
mod crypto_stream;
mod drive;
pub(crate) mod parameters;
mod stash;
pub(crate) mod version;

use std::sync::Arc;

use tquic_crypto::client_hello::{self, Progress};
use tquic_crypto::session::Agreed;
use tquic_crypto::{
    ClientConfig as ClientTls, DirectionKeys, KeyChange, ServerConfig as ServerTls, Session, Suite,
    TlsError,
};
use tquic_wire::{Side, Space, TransportErrorCode, Version};

use crate::config::PreferredAddresses;
use crate::connection::space_index;
use crate::error::TransportError;
use after::Remainder;

pub use crypto_stream::{CryptoRecv, CryptoSend};
pub(crate) use stash::{Stash, Stashed};

/// How far 0-RTT came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroRtt {
    /// Not tried.
    None,
    /// The client offers it; the server has not answered.
    Offered,
    /// Accepted.
    Accepted,
    /// Refused: early data was sent again under 1-RTT protection.
    Rejected,
}

/// What the session is made of.
enum Tls {
    Client { config: Arc<ClientTls>, name: String },
    Server { config: Arc<ServerTls>, hello: Vec<u8> },
}

/// TLS and its byte streams.
pub struct Handshake {
    tls: Tls,
    /// Gone when it has nothing to say any more.
    session: Option<Box<Session>>,
    /// What it said, once it is complete.
    agreed: Option<Box<Agreed>>,
    remainder: Remainder,
    pub(crate) send: [CryptoSend; 3],
    pub(crate) recv: [CryptoRecv; 3],
    /// The space whose CRYPTO stream TLS writes to now.
    write_space: Space,
    /// The space whose CRYPTO stream TLS reads from now.
    read_space: Space,
    pub(crate) zero_rtt: ZeroRtt,
    pub(crate) parameters_seen: bool,
    /// Packets that came before their keys.
    pub(crate) stash: Stash,
    keys_changed: bool,
    /// Client: the server has shown that it knows our address to be ours.
    pub(crate) peer_validated: bool,
    preferred: PreferredAddresses,
    complete: bool,
    confirmed: bool,
}

impl Handshake {
    fn with(tls: Tls) -> Self {
        Self {
            tls,
            session: None,
            agreed: None,
            remainder: Remainder::default(),
            send: Default::default(),
            recv: Default::default(),
            write_space: Space::Initial,
            read_space: Space::Initial,
            zero_rtt: ZeroRtt::None,
            parameters_seen: false,
            stash: Stash::default(),
            keys_changed: false,
            peer_validated: false,
            preferred: PreferredAddresses::default(),
            complete: false,
            confirmed: false,
        }
    }

    /// A client's handshake with the server named `name`.
    pub(crate) fn client(config: Arc<ClientTls>, name: String) -> Self {
        Self::with(Tls::Client { config, name })
    }

    /// A server's handshake.
    pub(crate) fn server(config: Arc<ServerTls>) -> Self {
        Self::with(Tls::Server { config, hello: Vec::new() })
    }

    /// Makes the session: a client at once (and again after Version Negotiation), a server when it
    /// has read the whole ClientHello. `parameters` are our encoded transport parameters; `original`
    /// is the version of the client's first packet, `chosen` the one to go on with.
    pub(crate) fn start(
        &mut self,
        original: Version,
        chosen: Version,
        parameters: Vec<u8>,
    ) -> Result<(), TlsError> {
        match &mut self.tls {
            Tls::Client { config, name } => {
                let session = Session::client(config, original, name, parameters)?;
                self.session = Some(Box::new(session));
                *self.send[0].buffer() = Vec::new();
                self.send[0].restart();
            }
            Tls::Server { config, hello } => {
                let mut session = Session::server(config, original, parameters)?;
                session.set_version(chosen);
                session.read(&core::mem::take(hello))?;
                self.session = Some(Box::new(session));
            }
        }
        Ok(())
    }

    /// Whether the session exists, or has existed.
    pub(crate) fn is_started(&self) -> bool {
        self.session.is_some() || self.complete
    }

    /// Server: takes Initial CRYPTO bytes until the ClientHello is whole; then gives the client's
    /// transport parameters from it.
    pub(crate) fn client_hello(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        let Tls::Server { hello, .. } = &mut self.tls else { return Ok(None) };
        while let Some(bytes) = self.recv[0].read() {
            hello.extend_from_slice(&bytes);
        }
        // One longer than `client_hello::MAX_LEN` is refused by its first bytes, so that what is
        // collected has a bound.
        match client_hello::parse(hello) {
            Ok(Progress::Incomplete) => Ok(None),
            // RFC 9001 section 8.4: QUIC has no use for TLS's compatibility mode.
            Ok(Progress::Complete(hello)) if hello.is_compatible => {
                Err(TransportError::violation("the ClientHello has a legacy_session_id"))
            }
            Ok(Progress::Complete(hello)) => match hello.transport_parameters {
                Some(parameters) => Ok(Some(parameters.to_vec())),
                // RFC 9001 section 8.2: without the extension it is missing_extension.
                None => Err(alert(109, "the ClientHello carries no QUIC transport parameters")),
            },
            // A malformed ClientHello: let TLS say what is wrong with it.
            Err(_) => Err(alert(50, "the ClientHello cannot be decoded")),
        }
    }

    /// Feeds TLS what arrived in order.
    pub(crate) fn read(&mut self) -> Result<(), TransportError> {
        while let Some(bytes) = self.recv[space_index(self.read_space)].read() {
            // From the first byte on: the session may go in the middle of a message. Before it: TLS
            // knows other codes than QUIC for the same.
            if self.complete {
                self.remainder.read(self.side(), &bytes)?;
            }
            if let Some(session) = &mut self.session {
                session.read(&bytes).map_err(|e| tls_error(&e))?;
            }
        }
        Ok(())
    }

    /// Client: whether a session ticket came since this was last asked.
    pub(crate) fn take_ticket(&self) -> bool {
        self.session.as_deref().is_some_and(Session::take_ticket)
    }

    /// Collects what TLS wants sent; `Some` when new keys are there.
    pub(crate) fn write(&mut self) -> Result<Option<KeyChange>, TransportError> {
        let Some(session) = &mut self.session else { return Ok(None) };
        let change = session.write(self.send[space_index(self.write_space)].buffer());
        match &change {
            Some(KeyChange::Handshake(_)) => {
                self.recv[0].finish()?;
                (self.write_space, self.read_space) = (Space::Handshake, Space::Handshake);
            }
            Some(KeyChange::OneRtt(..)) => self.write_space = Space::Data,
            None => {}
        }
        Ok(change)
    }

    /// Whether the handshake has just become complete.
    pub(crate) fn take_completion(&mut self) -> Result<bool, TransportError> {
        let done = self.session.as_ref().is_some_and(|s| !s.is_handshaking());
        if !done || self.complete {
            return Ok(false);
        }
        self.recv[1].finish()?;
        self.read_space = Space::Data;
        self.complete = true;
        self.agreed = self.session.as_ref().map(|s| Box::new(s.agreed()));
        Ok(true)
    }

    /// Keys of 0-RTT, once: a client's to send, a server's to receive.
    pub(crate) fn zero_rtt_keys(&mut self) -> Option<DirectionKeys> {
        self.session.as_mut()?.zero_rtt_keys()
    }

    /// The peer's encoded transport parameters.
    pub(crate) fn peer_parameters(&self) -> Option<&[u8]> {
        self.session.as_ref()?.peer_parameters()
    }

    /// Client: the transport parameters that the server had in the resumed session, encoded.
    pub(crate) fn remembered_parameters(&self) -> Option<&[u8]> {
        self.session.as_ref()?.remembered_parameters()
    }

    /// Which version's labels keys of the levels to come use.
    pub(crate) fn set_version(&mut self, version: Version) {
        if let Some(session) = &mut self.session {
            session.set_version(version);
        }
    }

    /// Client: whether the server took 0-RTT.
    pub(crate) fn early_data_accepted(&self) -> bool {
        self.session.as_ref().and_then(|s| s.early_data_accepted()) == Some(true)
    }

    /// New keys are there: what came too early may now be readable.
    pub(crate) fn keys_changed(&mut self) {
        self.keys_changed = true;
    }

    /// Whether new keys came since the last call.
    pub(crate) fn take_keys_changed(&mut self) -> bool {
        core::mem::take(&mut self.keys_changed)
    }

    /// Drops the CRYPTO streams of a level that is done.
    pub(crate) fn discard(&mut self, space: Space) {
        self.send[space_index(space)] = CryptoSend::default();
        self.recv[space_index(space)] = CryptoRecv::default();
    }

    /// Server: addresses to tell the client.
    pub(crate) fn set_preferred(&mut self, preferred: PreferredAddresses) {
        self.preferred = preferred;
    }

    pub(crate) fn preferred(&self) -> PreferredAddresses {
        self.preferred
    }

    pub(crate) fn confirm(&mut self) {
        self.confirmed = true;
    }

    /// The handshake is confirmed: drops what it alone needed.
    pub(crate) fn release(&mut self) {
        if self.session.as_ref().is_some_and(|s| s.is_over()) {
            self.session = None;
        }
    }

    fn side(&self) -> Side {
        match self.tls {
            Tls::Client { .. } => Side::Client,
            Tls::Server { .. } => Side::Server,
        }
    }

    /// RFC 9001 section 4.1.1: TLS reports completion.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// RFC 9001 section 4.1.2: both ends know that both are complete.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// How far 0-RTT came.
    pub fn zero_rtt(&self) -> ZeroRtt {
        self.zero_rtt
    }

    /// The application protocol agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        match &self.agreed {
            Some(agreed) => agreed.alpn.as_deref(),
            None => self.session.as_ref()?.alpn(),
        }
    }

    /// The cipher agreed on.
    pub fn suite(&self) -> Option<Suite> {
        match &self.agreed {
            Some(agreed) => agreed.suite,
            None => self.session.as_ref()?.suite(),
        }
    }

    /// What was agreed on (certificates, SNI, resumption), once the handshake is complete.
    pub fn agreed(&self) -> Option<&Agreed> {
        self.agreed.as_deref()
    }
}

fn alert(number: u8, reason: &'static str) -> TransportError {
    TransportError::new(TransportErrorCode::crypto(number), reason)
}

pub(crate) fn tls_error(e: &TlsError) -> TransportError {
    TransportError::new(TransportErrorCode::crypto(e.alert), e.reason.clone())
}
