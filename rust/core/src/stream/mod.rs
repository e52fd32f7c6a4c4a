//! Streams (RFC 9000 sections 2 to 4): states, flow control, buffers and the order of sending.
//!
//! [`StreamSet`] owns all streams of a connection. It never sees the connection: frames come in as
//! values, frames go out through [`next_frame`](StreamSet::next_frame) and
//! [`write_control`](StreamSet::write_control), what happened is told by
//! [`poll_event`](StreamSet::poll_event).

mod assembler;
mod chunk;
mod event;
mod flow;
mod inline;
mod ranges;
mod recv;
mod schedule;
mod send;
mod sendbuf;
mod set;

pub use chunk::StreamChunk;
pub use event::StreamEvent;
pub use recv::RecvState;
pub use schedule::Priority;
pub use send::SendState;
pub use set::{StreamNote, StreamSet, StreamStats};

use bytes::Bytes;
use core::fmt;
use tquic_wire::{StreamId, TransportParameters};

/// Limits and defaults of the streams of one connection.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// Receive window of a new stream, in bytes; default 2 MiB.
    pub stream_window: u64,
    /// Where tuning of a stream's window stops; default 16 MiB.
    pub max_stream_window: u64,
    /// Receive window of the connection at its start, in bytes; default 3 MiB.
    pub connection_window: u64,
    /// Where tuning of the connection's window stops; default 24 MiB. This bounds the memory that a
    /// peer can take, give or take an eighth and a 64 KiB buffer per stream.
    pub max_connection_window: u64,
    /// Bidirectional streams that the peer may have open at a time; default 128.
    pub max_streams_bidi: u64,
    /// Unidirectional streams that the peer may have open at a time; default 128.
    pub max_streams_uni: u64,
    /// Bytes of one stream that may wait for acknowledgement before writes are refused; default
    /// 8 MiB.
    pub send_buffer: u64,
    /// Priority of a stream until it is set.
    pub priority: Priority,
    /// Whether the peer may end streams by RESET_STREAM_AT, so that their beginning is delivered
    /// (draft-ietf-quic-reliable-stream-reset-10); default true. What we may send is the peer's
    /// choice.
    pub reset_stream_at: bool,
    /// Packets of one stream before an equal one has its turn; default 8.
    pub turn: u32,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            stream_window: 2 << 20,
            max_stream_window: 16 << 20,
            connection_window: 3 << 20,
            max_connection_window: 24 << 20,
            max_streams_bidi: 128,
            max_streams_uni: 128,
            send_buffer: 8 << 20,
            priority: Priority::default(),
            reset_stream_at: true,
            turn: 8,
        }
    }
}

impl StreamConfig {
    /// No window is larger: tables that grow with it stay small. 4 GiB.
    pub const WINDOW_LIMIT: u64 = 1 << 32;

    /// The same with every value inside its range.
    fn clamped(&self) -> Self {
        let window = |w: u64| w.min(Self::WINDOW_LIMIT);
        Self {
            stream_window: window(self.stream_window),
            max_stream_window: window(self.max_stream_window),
            connection_window: window(self.connection_window),
            max_connection_window: window(self.max_connection_window),
            max_streams_bidi: self.max_streams_bidi.min(StreamId::MAX_STREAMS),
            max_streams_uni: self.max_streams_uni.min(StreamId::MAX_STREAMS),
            send_buffer: self.send_buffer.max(1),
            ..self.clone()
        }
    }

    /// Fills in the transport parameters that tell the peer our limits (RFC 9000 section 18.2).
    pub fn advertise(&self, params: &mut TransportParameters) {
        let c = self.clamped();
        params.initial_max_data = c.connection_window;
        params.initial_max_stream_data_bidi_local = c.stream_window;
        params.initial_max_stream_data_bidi_remote = c.stream_window;
        params.initial_max_stream_data_uni = c.stream_window;
        params.initial_max_streams_bidi = c.max_streams_bidi;
        params.initial_max_streams_uni = c.max_streams_uni;
        params.reset_stream_at = c.reset_stream_at;
    }
}

/// Received bytes, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Offset of the first byte in the stream.
    pub offset: u64,
    /// The bytes; empty only together with `fin`.
    pub data: Bytes,
    /// Whether the stream ends here.
    pub fin: bool,
}

/// What [`StreamSet::read_with`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// Bytes that were used.
    pub bytes: usize,
    /// Whether the stream has ended.
    pub fin: bool,
}

/// Why an operation on the sending part, or on the stream as a whole, was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// No such stream: never opened, or closed on both sides.
    Unknown,
    /// The stream has no part that could do this (RFC 9000 section 2.1).
    WrongDirection,
    /// The stream was finished or reset here.
    Finished,
    /// The peer does not want the data (STOP_SENDING with this code).
    Stopped(u64),
    /// The send buffer is full; an event will tell when it has room.
    Full,
    /// An error code above 2^62-1.
    InvalidCode,
    /// The stream would become longer than 2^62-1 bytes.
    TooLong,
    /// The peer does not know RESET_STREAM_AT.
    NoResetAt,
    /// More was to be delivered than was written.
    NotWritten,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no such stream"),
            Self::WrongDirection => f.write_str("the stream has no such direction"),
            Self::Finished => f.write_str("the stream was finished or reset"),
            Self::Stopped(code) => write!(f, "the peer stopped the stream with code {code}"),
            Self::Full => f.write_str("the stream's send buffer is full"),
            Self::InvalidCode => f.write_str("the error code is above 2^62-1"),
            Self::TooLong => f.write_str("the stream would exceed 2^62-1 bytes"),
            Self::NoResetAt => f.write_str("the peer does not know RESET_STREAM_AT"),
            Self::NotWritten => f.write_str("less was written than is to be delivered"),
        }
    }
}

impl std::error::Error for StreamError {}

/// Why nothing can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// No such stream: never opened, or closed on both sides.
    Unknown,
    /// The stream has no receiving part.
    WrongDirection,
    /// Everything was read, or reading was stopped.
    Finished,
    /// The peer reset the stream.
    Reset {
        /// The application's code.
        code: u64,
        /// How much of the stream it promised to deliver, all of which was read; 0 unless by
        /// RESET_STREAM_AT.
        reliable_size: u64,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no such stream"),
            Self::WrongDirection => f.write_str("the stream has no receiving part"),
            Self::Finished => f.write_str("the stream was read to its end or stopped"),
            Self::Reset { code, .. } => write!(f, "the peer reset the stream with code {code}"),
        }
    }
}

impl std::error::Error for ReadError {}
