//! What a connection tells its application and its endpoint.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use tquic_wire::{ConnectionId, ResetToken, TransportErrorCode, Version};

use crate::error::TransportError;
use crate::path::FourTuple;
use crate::stream::StreamEvent;
use crate::time::Duration;
use crate::trace::Trace;

/// For the application.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The handshake is complete: the peer is who its certificate says, 1-RTT data flows.
    Connected,
    /// The client's 0-RTT data was refused: everything sent so far is being sent again.
    ZeroRttRejected,
    /// Something happened to a stream.
    Stream(StreamEvent),
    /// Datagrams wait to be read.
    DatagramReceived,
    /// The send queue of datagrams has room again.
    DatagramsWritable,
    /// The server gave a token for a later connection (RFC 9000 section 8.1.3).
    NewToken(Vec<u8>),
    /// The server gave a ticket to resume the session with; it is in the store.
    TicketReceived,
    /// PINGs have been acknowledged.
    PingAcked {
        /// How many of the `Connection::ping`s, counted from the first.
        pings: u64,
        /// From the packet with the last of them to its acknowledgement.
        rtt: Duration,
    },
    /// The connection moved to other addresses.
    Migrated(FourTuple),
    /// Another pair of addresses was tried and does not work.
    PathFailed(FourTuple),
    /// Something happened to a path, where several are possible.
    Path {
        /// The path ID.
        id: u32,
        /// What happened.
        change: PathChange,
    },
    /// The application's own scheduler failed; the named one decides in its place.
    SchedulerFailed {
        /// What went wrong, for a person.
        reason: String,
        /// It is not asked any more: it could not start, or failed many times in a row.
        over: bool,
    },
    /// Client: a path that could not be opened perhaps can be now.
    PathsAvailable,
    /// The connection is over. Nothing follows.
    Closed(ConnectionError),
}

/// What happened to a path (draft-ietf-quic-multipath-21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// It was opened; its address is being validated.
    Added(FourTuple),
    /// It is validated and carries data.
    Validated(FourTuple),
    /// The peer says whether it should be used only when no other can be.
    Advised {
        /// Whether it should.
        backup: bool,
    },
    /// It is not used any more.
    Abandoned {
        /// Why: a transport error code.
        error_code: u64,
        /// Whether the peer began.
        by_peer: bool,
    },
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionError {
    /// This end found the peer in error, or failed itself.
    Local(TransportError),
    /// The peer found us in error: CONNECTION_CLOSE of type 0x1c.
    Peer(TransportError),
    /// This end's application closed.
    LocalClose {
        /// Application error code.
        code: u64,
        /// For people.
        reason: Vec<u8>,
    },
    /// The peer's application closed: CONNECTION_CLOSE of type 0x1d.
    PeerClose {
        /// Application error code.
        code: u64,
        /// For people.
        reason: Vec<u8>,
    },
    /// Nothing was heard for the idle timeout.
    IdleTimeout,
    /// The handshake took too long.
    HandshakeTimeout,
    /// The peer has lost the connection's state (RFC 9000 section 10.3).
    StatelessReset,
    /// The peer speaks none of our versions.
    VersionMismatch {
        /// What it offers.
        offered: Vec<Version>,
    },
    /// The endpoint refuses: too many connections.
    Refused(Cow<'static, str>),
}

impl ConnectionError {
    /// Whether this is an ordinary end: code 0 from either application, or NO_ERROR.
    pub fn is_clean(&self) -> bool {
        match self {
            Self::LocalClose { code, .. } | Self::PeerClose { code, .. } => *code == 0,
            Self::Peer(e) | Self::Local(e) => e.code == TransportErrorCode::NO_ERROR,
            _ => false,
        }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(e) => write!(f, "closed by this end: {e}"),
            Self::Peer(e) => write!(f, "closed by the peer: {e}"),
            Self::LocalClose { code, reason } => {
                write!(f, "closed by this application with code {code}")?;
                write_reason(f, reason)
            }
            Self::PeerClose { code, reason } => {
                write!(f, "closed by the peer's application with code {code}")?;
                write_reason(f, reason)
            }
            Self::IdleTimeout => {
                f.write_str("timed out: nothing was received for the idle timeout")
            }
            Self::HandshakeTimeout => f.write_str("timed out: the handshake did not complete"),
            Self::StatelessReset => {
                f.write_str("reset: the peer no longer knows this connection (stateless reset)")
            }
            Self::VersionMismatch { offered } => {
                let offered: Vec<_> = offered.iter().map(Version::to_string).collect();
                let all = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
                write!(f, "no QUIC version in common; the peer offers {all}")
            }
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

fn write_reason(f: &mut fmt::Formatter<'_>, reason: &[u8]) -> fmt::Result {
    if reason.is_empty() { Ok(()) } else { write!(f, ": {}", String::from_utf8_lossy(reason)) }
}

impl std::error::Error for ConnectionError {}

/// For the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointEvent {
    /// Datagrams to this ID are the connection's.
    CidIssued(ConnectionId),
    /// No longer.
    CidRetired(ConnectionId),
    /// The peer resets the connection with this token.
    ResetToken(ResetToken),
    /// The handshake is complete: it no longer counts as half open. One that failed does, as long as
    /// its state is kept.
    HandshakeOver,
    /// The client's address is proven and it should get a token for next time.
    WantsToken,
    /// Nothing is left to do: the state can go.
    Drained,
}

/// NEW_TOKEN frames that wait for the application at most; older ones go.
const MAX_TOKENS: usize = 8;

/// Queues of both kinds, and the observer.
#[derive(Default)]
pub struct Events {
    application: VecDeque<Event>,
    endpoint: VecDeque<EndpointEvent>,
    /// Who else is told, and of what: at once, without a queue.
    pub(crate) trace: Trace,
}

impl Events {
    /// Tells the application.
    pub fn push(&mut self, event: Event) {
        if matches!(event, Event::NewToken(_)) {
            self.forget_old_tokens();
        }
        self.application.push_back(event);
    }

    /// A server may send any number of tokens; one connection needs one.
    fn forget_old_tokens(&mut self) {
        let is_token = |e: &Event| matches!(e, Event::NewToken(_));
        if self.application.iter().filter(|e| is_token(e)).count() >= MAX_TOKENS
            && let Some(oldest) = self.application.iter().position(is_token)
        {
            self.application.remove(oldest);
        }
    }

    /// Tells the endpoint.
    pub fn push_endpoint(&mut self, event: EndpointEvent) {
        self.endpoint.push_back(event);
    }

    /// The application's next.
    pub fn pop(&mut self) -> Option<Event> {
        self.application.pop_front()
    }

    /// Whether the application's next is the last.
    pub fn is_closing(&self) -> bool {
        matches!(self.application.front(), Some(Event::Closed(_)))
    }

    /// Gives back memory, if nothing waits.
    pub fn release_memory(&mut self) {
        self.application.shrink_to_fit();
        self.endpoint.shrink_to_fit();
    }

    /// The endpoint's next.
    pub fn pop_endpoint(&mut self) -> Option<EndpointEvent> {
        self.endpoint.pop_front()
    }
}
