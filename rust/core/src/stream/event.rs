//! What the application is told about streams.

use std::collections::VecDeque;
use tquic_wire::{Direction, StreamId};

/// Something happened to a stream. Each kind waits at most once per stream, so that a peer cannot
/// make the queue grow beyond the streams it may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// The peer opened a stream; told in order, for each one (RFC 9000 section 2.1).
    Opened {
        /// The stream.
        id: StreamId,
    },
    /// There is data, or the end, to read. Told again only when more comes.
    Readable {
        /// The stream.
        id: StreamId,
    },
    /// The send buffer has room again after a write that filled it or was refused.
    Writable {
        /// The stream.
        id: StreamId,
    },
    /// The peer's transport has acknowledged all data and the end.
    Finished {
        /// The stream.
        id: StreamId,
    },
    /// The peer does not want the data; RESET_STREAM with the same code is on its way.
    Stopped {
        /// The stream.
        id: StreamId,
        /// The application's code in STOP_SENDING.
        code: u64,
    },
    /// The peer gave the stream up; data not read yet is gone.
    Reset {
        /// The stream.
        id: StreamId,
        /// The application's code in RESET_STREAM.
        code: u64,
    },
    /// One direction of a stream was given up, and both ends know how many bytes of it count for
    /// flow control (RFC 9000 section 4.5). Only told if it was asked for.
    FinalSize {
        /// The stream.
        id: StreamId,
        /// Whether it is what we sent.
        outgoing: bool,
        /// Bytes from the beginning of the stream.
        size: u64,
    },
    /// Streams can be opened again after `open` was refused.
    StreamsAvailable {
        /// The kind of streams.
        dir: Direction,
    },
}

/// Kinds of events that wait for one stream, as bits.
pub(super) mod kind {
    pub const READABLE: u8 = 1;
    pub const WRITABLE: u8 = 2;
    pub const FINISHED: u8 = 4;
    pub const STOPPED: u8 = 8;
    pub const RESET: u8 = 16;
    pub const FINAL_SENT: u8 = 32;
    pub const FINAL_RECEIVED: u8 = 64;
}

/// Streams with events, each at most once.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    pub slots: VecDeque<usize>,
    /// Kinds of streams that became available, by `Direction as usize`.
    pub available: [bool; 2],
}
