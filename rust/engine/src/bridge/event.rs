//! What another language is told.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tquic_core::Connection;
use tquic_core::events::{ConnectionError, PathChange};
use tquic_core::handshake::ZeroRtt;
use tquic_core::path::FourTuple;
use tquic_wire::{Direction, StreamId};

use super::BridgeConnection;
use crate::config::ListenerId;
use crate::key::ConnectionKey;
use crate::pump::{FramesOutcome, Outcome};
use crate::stats::ConnectionSnapshot;

/// Something happened to a connection, or a listener.
#[derive(Clone, Debug)]
pub struct BridgeEvent {
    /// Which connection; [`ConnectionKey::NONE`] for what happened to a listener.
    pub key: ConnectionKey,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum EventKind {
    /// A listener has a new connection; first of its events. Told when there is more to tell, so
    /// that handshakes that lead to nothing cost nothing here.
    Accepted {
        /// The way to it.
        connection: BridgeConnection,
        /// Who took it.
        listener: ListenerId,
        /// The client.
        remote: SocketAddr,
    },
    /// A listener that was closed brings no more connections: those that had begun were told of,
    /// or came to nothing. Only if its [`Entry`](super::Entry) was named.
    Unlistened {
        /// Which.
        listener: ListenerId,
    },
    /// The handshake is complete.
    Connected(Box<ConnectedInfo>),
    /// The server refused 0-RTT; what was sent is being sent again.
    ZeroRttRejected,
    /// The peer opened a stream.
    StreamOpened {
        /// Which.
        stream: StreamId,
    },
    /// The peer opened a stream, which was answered as the listener's [`Refusal`](super::Refusal)
    /// says: nothing more is told of it.
    Refused {
        /// Which.
        stream: StreamId,
    },
    /// Bytes in order. `consumed` must be called for them.
    Data {
        /// Of which stream.
        stream: StreamId,
        /// The bytes; empty only together with `fin`.
        data: Bytes,
        /// Whether the stream ends behind them.
        fin: bool,
    },
    /// No more than was asked for waits for acknowledgement now (`notify_below`).
    Writable {
        /// Of which stream.
        stream: StreamId,
        /// Bytes written and not acknowledged.
        buffered: u64,
    },
    /// The peer's transport has everything, the end included.
    Finished {
        /// Of which stream.
        stream: StreamId,
    },
    /// The peer gave the stream up.
    Reset {
        /// Which.
        stream: StreamId,
        /// Its code.
        code: u64,
        /// What the peer promised to deliver nevertheless (RESET_STREAM_AT); it has crossed.
        reliable_size: u64,
    },
    /// One direction of a stream was given up: so many bytes of it count for flow control.
    FinalSize {
        /// Of which stream.
        stream: StreamId,
        /// Whether it is what we sent.
        outgoing: bool,
        /// Bytes from its beginning.
        size: u64,
    },
    /// The peer does not want what we send.
    Stopped {
        /// On which stream.
        stream: StreamId,
        /// Its code.
        code: u64,
    },
    /// A source or sink that was attached has come to its end.
    Pumped {
        /// On which stream.
        stream: StreamId,
        /// Whether it was a source.
        outgoing: bool,
        /// How it went.
        outcome: Outcome,
    },
    /// A stream is held: all that crossed was told, and no more will until something is attached.
    Held {
        /// Which.
        stream: StreamId,
    },
    /// Frames that went into a file have come to their end, or to others.
    Unframed {
        /// On which stream.
        stream: StreamId,
        /// How it went.
        outcome: FramesOutcome,
    },
    /// An unreliable datagram. `consumed_datagrams` must be called for it.
    Datagram(Bytes),
    /// Datagrams are taken again after one was refused.
    DatagramsWritable,
    /// The connection moved to other addresses.
    Migrated(FourTuple),
    /// Other addresses were tried and do not work.
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
        /// It is not asked any more.
        over: bool,
    },
    /// A path that could not be opened perhaps can be now.
    PathsAvailable,
    /// A token for a later connection to this server.
    NewToken(Vec<u8>),
    /// The server gave a ticket to resume the session with.
    TicketReceived,
    /// So many of the connection's pings, counted from the first, have been acknowledged.
    PingAcked {
        /// How many.
        pings: u64,
        /// From the packet with the last of them to its acknowledgement.
        rtt: Duration,
    },
    /// What `request_stats` asked for.
    Stats {
        /// The asker's mark.
        tag: u64,
        /// The counters.
        snapshot: Box<ConnectionSnapshot>,
    },
    /// The connection is over. Nothing follows.
    Closed(ConnectionError),
}

/// What the handshake agreed on.
#[derive(Clone, Debug)]
pub struct ConnectedInfo {
    /// Application protocol.
    pub alpn: Vec<u8>,
    /// Cipher suite, by its IANA name.
    pub cipher: &'static str,
    /// Key-exchange group, by its IANA name; empty if none was needed.
    pub group: &'static str,
    /// QUIC version.
    pub version: u32,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// Whether early data was offered and accepted.
    pub early_data: bool,
    /// The name that the client asked for, at a server.
    pub server_name: Option<String>,
    /// The peer's certificates in DER, its own first.
    pub certificates: Vec<Vec<u8>>,
    /// The addresses.
    pub addresses: Option<FourTuple>,
    /// Bytes of the largest unreliable datagram now; 0 if the peer takes none.
    pub max_datagram: usize,
    /// Whether several paths may be used.
    pub multipath: bool,
    /// Name of the connection in logs.
    pub original_dcid: Vec<u8>,
}

impl ConnectedInfo {
    pub(super) fn of(connection: &mut Connection) -> Self {
        let max_datagram = connection.datagrams().max_len().unwrap_or(0);
        let handshake = connection.handshake();
        let agreed = handshake.agreed();
        Self {
            alpn: handshake.alpn().unwrap_or_default().to_vec(),
            cipher: handshake.suite().map_or("", tquic_crypto::Suite::name),
            group: agreed.and_then(|a| a.group).map_or("", |g| g.name()),
            version: connection.version().0,
            resumed: agreed.is_some_and(|a| a.resumed),
            early_data: handshake.zero_rtt() == ZeroRtt::Accepted,
            server_name: agreed.and_then(|a| a.server_name.clone()),
            certificates: agreed.map(|a| a.certificates.clone()).unwrap_or_default(),
            addresses: connection.path(0).map(|p| p.active().addresses),
            max_datagram,
            multipath: connection.is_multipath(),
            original_dcid: connection.original_dcid().as_ref().to_vec(),
        }
    }
}

/// The end of a connection in plain fields, for exceptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFields {
    /// `local`, `peer`, `local_application`, `peer_application`, `idle_timeout`,
    /// `handshake_timeout`, `stateless_reset`, `version_mismatch` or `refused`.
    pub kind: &'static str,
    /// Transport or application error code, where there is one.
    pub code: Option<u64>,
    /// The transport code's RFC name, where there is one.
    pub name: Option<String>,
    /// Type of the frame at fault.
    pub frame: Option<u64>,
    /// The reason that came with the code.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// Whether this is an ordinary end.
    pub clean: bool,
}

impl CloseFields {
    /// The fields of an error.
    pub fn of(error: &ConnectionError) -> Self {
        let mut fields = Self {
            kind: "refused",
            code: None,
            name: None,
            frame: None,
            reason: String::new(),
            message: error.to_string(),
            clean: error.is_clean(),
        };
        match error {
            ConnectionError::Local(e) | ConnectionError::Peer(e) => {
                let local = matches!(error, ConnectionError::Local(_));
                fields.kind = if local { "local" } else { "peer" };
                fields.code = Some(e.code.0);
                fields.name = Some(e.code.name().to_string());
                fields.frame = e.frame;
                fields.reason = e.reason.to_string();
            }
            ConnectionError::LocalClose { code, reason }
            | ConnectionError::PeerClose { code, reason } => {
                let local = matches!(error, ConnectionError::LocalClose { .. });
                fields.kind = if local { "local_application" } else { "peer_application" };
                fields.code = Some(*code);
                fields.reason = String::from_utf8_lossy(reason).into_owned();
            }
            ConnectionError::IdleTimeout => fields.kind = "idle_timeout",
            ConnectionError::HandshakeTimeout => fields.kind = "handshake_timeout",
            ConnectionError::StatelessReset => fields.kind = "stateless_reset",
            ConnectionError::VersionMismatch { .. } => fields.kind = "version_mismatch",
            ConnectionError::Refused(why) => fields.reason = why.to_string(),
        }
        fields
    }
}

/// Which way a stream goes, seen from here.
pub(super) fn sends(stream: StreamId, side: tquic_wire::Side) -> bool {
    stream.direction() == Direction::Bidirectional || stream.initiator() == side
}

/// Which way a stream goes, seen from here.
pub(super) fn receives(stream: StreamId, side: tquic_wire::Side) -> bool {
    stream.direction() == Direction::Bidirectional || stream.initiator() != side
}
