//! The life of a connection (RFC 9000 section 10).

use tquic_wire::{ConnectionId, Side, Version};

use crate::error::TransportError;
use crate::events::ConnectionError;
use crate::time::Instant;

/// Where a connection is in its life.
#[derive(Clone, Debug)]
pub enum State {
    /// Packets of the handshake are exchanged.
    Handshaking,
    /// Application data flows.
    Established,
    /// We closed; the peer is told again when it still sends (RFC 9000 section 10.2.1).
    Closing(Closing),
    /// The peer closed, or told us nothing any more; we are silent (section 10.2.2).
    Draining {
        /// When the state can go.
        until: Instant,
    },
    /// Nothing left.
    Drained,
}

/// How we close.
#[derive(Clone, Debug)]
pub struct Closing {
    /// What the peer is told.
    pub error: ConnectionError,
    /// When the state can go.
    pub until: Instant,
    /// The first path on which a CONNECTION_CLOSE is to be sent now; then on all behind it, for
    /// nobody knows which of them work. `None` if the peer was told.
    pub send: Option<usize>,
    /// Packets received since the last CONNECTION_CLOSE, and how many cause the next: the number
    /// doubles, so that two closing ends do not echo for ever (section 10.2.1).
    pub received: u32,
    /// See `received`.
    pub threshold: u32,
}

impl State {
    /// Whether packets are still sent and received in earnest.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Handshaking | Self::Established)
    }
}

/// Who is who: everything that the handshake authenticates or fixes.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Which end we are.
    pub side: Side,
    /// The version in use.
    pub version: Version,
    /// The version of the client's first packet (RFC 9368).
    pub original_version: Version,
    /// Destination connection ID of the client's very first Initial.
    pub original_dcid: ConnectionId,
    /// Destination connection ID that the Initial keys come from.
    pub initial_dcid: ConnectionId,
    /// The ID that we chose for ourselves in the handshake.
    pub local: ConnectionId,
    /// The ID that the peer chose in the handshake, once its first packet came.
    pub peer: Option<ConnectionId>,
    /// Source connection ID of the Retry packet, if there was one.
    pub retry: Option<ConnectionId>,
    /// Token for the client's Initial packets.
    pub token: Vec<u8>,
    /// Decides in which packets the fixed bit is cleared (RFC 9287).
    pub grease: u64,
    /// Versions of a Version Negotiation packet that made the client start again.
    pub negotiated_from: Option<Vec<Version>>,
}

impl From<TransportError> for ConnectionError {
    fn from(e: TransportError) -> Self {
        Self::Local(e)
    }
}
