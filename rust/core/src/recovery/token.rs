//! What a sent packet carried, so that acknowledging or losing it can be told to the owners.
//!
//! Frames are never resent as bytes: the owner of the information decides, when a token comes back
//! lost, whether the information is still worth sending (RFC 9000 section 13.3).

use smallvec::SmallVec;
use tquic_wire::{Direction, StreamId};

use crate::time::Instant;

/// One piece of information that a packet carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// Stream bytes `offset..offset + len`, and the end of the stream if `fin`.
    Stream {
        /// The stream.
        id: StreamId,
        /// First byte.
        offset: u64,
        /// Number of bytes; a packet holds less than 64 KiB.
        len: u16,
        /// Whether the FIN bit was set.
        fin: bool,
    },
    /// Handshake bytes of the packet's own encryption level.
    Crypto {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u16,
    },
    /// An ACK frame whose largest acknowledged packet was this: once the peer has it, ranges up to
    /// it need not be reported again (RFC 9000 section 13.2.4).
    Ack {
        /// The path ID whose packets it acknowledges; 0 for those of the handshake.
        path: u32,
        /// Largest Acknowledged of the frame.
        largest: u64,
    },
    /// RESET_STREAM.
    ResetStream(StreamId),
    /// RESET_STREAM_AT with this Reliable Size, which a later one may reduce.
    ResetStreamAt {
        /// The stream.
        id: StreamId,
        /// Bytes of it that will be delivered.
        reliable_size: u64,
    },
    /// STOP_SENDING.
    StopSending(StreamId),
    /// MAX_DATA.
    MaxData,
    /// MAX_STREAM_DATA.
    MaxStreamData(StreamId),
    /// MAX_STREAMS.
    MaxStreams(Direction),
    /// DATA_BLOCKED.
    DataBlocked,
    /// STREAM_DATA_BLOCKED.
    StreamDataBlocked(StreamId),
    /// STREAMS_BLOCKED.
    StreamsBlocked(Direction),
    /// NEW_CONNECTION_ID or PATH_NEW_CONNECTION_ID.
    NewConnectionId {
        /// The path ID.
        path: u32,
        /// The sequence number.
        sequence: u64,
    },
    /// RETIRE_CONNECTION_ID or PATH_RETIRE_CONNECTION_ID.
    RetireConnectionId {
        /// The path ID.
        path: u32,
        /// The sequence number.
        sequence: u64,
    },
    /// PATH_ABANDON of this path ID.
    PathAbandon(u32),
    /// PATH_STATUS_AVAILABLE or PATH_STATUS_BACKUP.
    PathStatus {
        /// The path ID.
        path: u32,
        /// The sequence number.
        sequence: u64,
    },
    /// PATH_CIDS_BLOCKED of this path ID.
    PathCidsBlocked(u32),
    /// MAX_PATH_ID.
    MaxPathId,
    /// PATHS_BLOCKED.
    PathsBlocked,
    /// NEW_TOKEN.
    NewToken,
    /// HANDSHAKE_DONE.
    HandshakeDone,
    /// ACK_FREQUENCY.
    AckFrequency,
    /// A DATAGRAM frame: what becomes of it is counted, and it is never sent again (RFC 9221
    /// section 5.2).
    Datagram,
    /// A PING of the application.
    Ping {
        /// The number of pings that it had asked for by then.
        sequence: u64,
        /// When it was sent.
        at: Instant,
    },
    /// The packet was a path MTU probe of this datagram size (RFC 8899 section 3).
    MtuProbe(u16),
}

/// The tokens of one packet. Nearly all packets carry one or two; more spill to the heap.
pub type Tokens = SmallVec<[Token; 2]>;
