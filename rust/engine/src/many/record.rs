//! What happened, in a form that other languages read as an array.

use tquic_core::events::ConnectionError;

/// Bytes of a record.
pub const RECORD_SIZE: usize = 80;
/// Where the kind stands in a record.
pub const KIND_AT: usize = 72;

/// What a record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A handshake is complete. `latency`: since its first packet.
    Connected = 1,
    /// A connection has ended, or never began.
    Closed = 2,
    /// An exchange is over.
    Response = 3,
    /// A run of requests is over.
    Finished = 4,
}

impl Kind {
    /// Its bit in a set of kinds.
    pub const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What ended a connection or an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// Nothing did: it came to its end.
    #[default]
    None = 0,
    /// A transport error that this end found.
    LocalTransport = 1,
    /// A transport error that the peer told.
    PeerTransport = 2,
    /// This end closed.
    LocalApplication = 3,
    /// The peer closed, or reset the stream.
    PeerApplication = 4,
    /// Nothing came for too long.
    IdleTimeout = 5,
    /// The handshake took too long.
    HandshakeTimeout = 6,
    /// The peer no longer knew the connection.
    StatelessReset = 7,
    /// No version in common, or refused before it began.
    Refused = 8,
    /// The connection ended, and the exchange with it.
    ConnectionLost = 9,
    /// The response was not what was expected.
    Unexpected = 10,
    /// The response took too long.
    TimedOut = 11,
    /// The response has an HTTP status of 400 or above.
    Status = 12,
    /// The peer broke a rule of HTTP/3.
    Http = 13,
    /// The request never left: its connection was gone, or had no room for it until the end.
    NotSent = 14,
}

/// Causes that there are.
pub const CAUSES: usize = 15;

impl Cause {
    /// Why a connection ended, and the code that goes with it.
    pub(super) fn of(error: &ConnectionError) -> (Self, Option<u64>) {
        match error {
            ConnectionError::Local(e) => (Self::LocalTransport, Some(e.code.0)),
            ConnectionError::Peer(e) => (Self::PeerTransport, Some(e.code.0)),
            ConnectionError::LocalClose { code, .. } => (Self::LocalApplication, Some(*code)),
            ConnectionError::PeerClose { code, .. } => (Self::PeerApplication, Some(*code)),
            ConnectionError::IdleTimeout => (Self::IdleTimeout, None),
            ConnectionError::HandshakeTimeout => (Self::HandshakeTimeout, None),
            ConnectionError::StatelessReset => (Self::StatelessReset, None),
            ConnectionError::VersionMismatch { .. } | ConnectionError::Refused(_) => {
                (Self::Refused, None)
            }
        }
    }
}

/// One event. Times are nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// When, on the clock that the owner of the set has chosen.
    pub time: i64,
    /// Since when it should have begun; -1 where that means nothing.
    pub latency: i64,
    /// Since it did begin; -1 where that means nothing.
    pub service: i64,
    /// From the begin to the first byte of the response; -1 without one.
    pub first_byte: i64,
    /// Stream ID, or -1.
    pub stream: i64,
    /// Bytes of the response.
    pub bytes: u64,
    /// The first 8 bytes of the response's SHA-256, big endian, if it was asked for.
    pub hash: u64,
    /// Error code, or -1.
    pub error: i64,
    /// Number of the connection in its set.
    pub connection: u32,
    /// HTTP status of the response, or 0.
    pub status: u16,
    /// What it is.
    pub kind: Kind,
    /// Why it ended.
    pub cause: Cause,
    /// Number of the run.
    pub run: u16,
}

impl Record {
    /// A record of this kind that says nothing yet.
    pub(super) fn new(kind: Kind, time: i64, connection: u32) -> Self {
        Self {
            time,
            latency: -1,
            service: -1,
            first_byte: -1,
            stream: -1,
            bytes: 0,
            hash: 0,
            error: -1,
            connection,
            status: 0,
            kind,
            cause: Cause::None,
            run: 0,
        }
    }

    /// The fields in order, in the byte order of this machine.
    pub fn to_bytes(&self) -> [u8; RECORD_SIZE] {
        let mut out = [0; RECORD_SIZE];
        let words = [
            self.time.to_ne_bytes(),
            self.latency.to_ne_bytes(),
            self.service.to_ne_bytes(),
            self.first_byte.to_ne_bytes(),
            self.stream.to_ne_bytes(),
            self.bytes.to_ne_bytes(),
            self.hash.to_ne_bytes(),
            self.error.to_ne_bytes(),
        ];
        for (at, word) in out.chunks_exact_mut(8).zip(words) {
            at.copy_from_slice(&word);
        }
        out[64..68].copy_from_slice(&self.connection.to_ne_bytes());
        out[68..70].copy_from_slice(&self.status.to_ne_bytes());
        out[70..72].copy_from_slice(&self.run.to_ne_bytes());
        out[KIND_AT] = self.kind as u8;
        out[KIND_AT + 1] = self.cause as u8;
        out
    }
}
