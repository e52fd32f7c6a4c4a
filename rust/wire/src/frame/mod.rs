//! Frames (RFC 9000 section 19, RFC 9221, draft-ietf-quic-ack-frequency-12,
//! draft-ietf-quic-multipath-21, draft-ietf-quic-reliable-stream-reset-10).
//!
//! Decoding checks what a frame says by itself; whether it may stand in its packet is in [`rules`],
//! whether it fits the state of the connection is for the caller.

pub mod ack;
mod ack_frequency;
mod cid;
pub mod close;
pub mod crypto;
pub mod datagram;
mod decode;
mod encode;
mod flow;
mod multipath;
mod path;
pub mod rules;
mod sink;
pub mod stream;
pub mod ty;

#[cfg(test)]
mod tests;

pub use ack::{Ack, AckRanges, EcnCounts};
pub use close::Close;
pub use decode::{FrameError, FrameIter, next_frame};
pub use stream::StreamFrame;

use crate::cid::{ConnectionId, ResetToken};
use crate::stream_id::StreamId;
use crate::types::Direction;

/// A frame, which borrows its variable parts from the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A run of PADDING frames.
    Padding {
        /// How many there are, at one byte each.
        len: usize,
    },
    /// PING.
    Ping,
    /// ACK or PATH_ACK, with or without ECN counts.
    Ack(Ack<'a>),
    /// RESET_STREAM.
    ResetStream {
        /// The stream whose sender stops.
        id: StreamId,
        /// Error code of the application.
        error_code: u64,
        /// Final size of the stream in bytes.
        final_size: u64,
    },
    /// RESET_STREAM_AT.
    ResetStreamAt {
        /// The stream whose sender stops.
        id: StreamId,
        /// Error code of the application.
        error_code: u64,
        /// Final size of the stream in bytes.
        final_size: u64,
        /// Bytes of the stream that are delivered nevertheless, at most `final_size`.
        reliable_size: u64,
    },
    /// STOP_SENDING.
    StopSending {
        /// The stream whose receiver is not interested.
        id: StreamId,
        /// Error code of the application.
        error_code: u64,
    },
    /// CRYPTO; `offset` plus the length of `data` does not exceed [`crate::MAX_VARINT`].
    Crypto {
        /// Offset of the first byte in the CRYPTO stream.
        offset: u64,
        /// TLS handshake data.
        data: &'a [u8],
    },
    /// NEW_TOKEN.
    NewToken {
        /// The token, never empty.
        token: &'a [u8],
    },
    /// STREAM.
    Stream(StreamFrame<'a>),
    /// MAX_DATA: bytes that may be sent on the connection.
    MaxData(u64),
    /// MAX_STREAM_DATA.
    MaxStreamData {
        /// The stream.
        id: StreamId,
        /// Bytes that may be sent on it.
        max: u64,
    },
    /// MAX_STREAMS.
    MaxStreams {
        /// The kind of streams.
        dir: Direction,
        /// How many may be opened over the whole connection, at most
        /// [`StreamId::MAX_STREAMS`].
        max: u64,
    },
    /// DATA_BLOCKED: the limit at which the sender was blocked.
    DataBlocked(u64),
    /// STREAM_DATA_BLOCKED.
    StreamDataBlocked {
        /// The stream.
        id: StreamId,
        /// The limit at which the sender was blocked.
        limit: u64,
    },
    /// STREAMS_BLOCKED.
    StreamsBlocked {
        /// The kind of streams.
        dir: Direction,
        /// The limit at which the sender was blocked, at most [`StreamId::MAX_STREAMS`].
        limit: u64,
    },
    /// NEW_CONNECTION_ID, or PATH_NEW_CONNECTION_ID.
    NewConnectionId {
        /// The path ID of a PATH_NEW_CONNECTION_ID frame.
        path: Option<u64>,
        /// Sequence number of the connection ID.
        sequence: u64,
        /// Connection IDs below this are to be retired; at most `sequence`.
        retire_prior_to: u64,
        /// The connection ID, never empty.
        cid: ConnectionId,
        /// The stateless reset token that goes with it.
        reset_token: ResetToken,
    },
    /// RETIRE_CONNECTION_ID, or PATH_RETIRE_CONNECTION_ID.
    RetireConnectionId {
        /// The path ID of a PATH_RETIRE_CONNECTION_ID frame.
        path: Option<u64>,
        /// Sequence number of the connection ID that the sender will not use any more.
        sequence: u64,
    },
    /// PATH_CHALLENGE.
    PathChallenge([u8; 8]),
    /// PATH_RESPONSE.
    PathResponse([u8; 8]),
    /// CONNECTION_CLOSE of either type.
    ConnectionClose(Close<'a>),
    /// HANDSHAKE_DONE.
    HandshakeDone,
    /// DATAGRAM.
    Datagram {
        /// The application's datagram; may be empty.
        data: &'a [u8],
    },
    /// PATH_ABANDON.
    PathAbandon {
        /// The path that ends.
        path: u64,
        /// Why: a transport error code.
        error_code: u64,
    },
    /// PATH_STATUS_AVAILABLE or PATH_STATUS_BACKUP.
    PathStatus {
        /// The path.
        path: u64,
        /// Sequence number of what is said of this path.
        sequence: u64,
        /// Whether the path should be used only when no other can be.
        backup: bool,
    },
    /// MAX_PATH_ID: the largest path ID that may be used.
    MaxPathId(u64),
    /// PATHS_BLOCKED: the largest path ID at which the sender was blocked.
    PathsBlocked(u64),
    /// PATH_CIDS_BLOCKED.
    PathCidsBlocked {
        /// The path for which a connection ID is missing.
        path: u64,
        /// Sequence number that the next connection ID of this path will have.
        next_sequence: u64,
    },
    /// ACK_FREQUENCY.
    AckFrequency {
        /// Sequence number; receivers ignore frames that do not increase it.
        sequence: u64,
        /// Ack-eliciting packets that may arrive without an acknowledgment being sent.
        threshold: u64,
        /// Requested max_ack_delay in microseconds.
        request_max_ack_delay_us: u64,
        /// Packet reordering that elicits an acknowledgment at once; 0 for none.
        reordering_threshold: u64,
    },
    /// IMMEDIATE_ACK.
    ImmediateAck,
}
