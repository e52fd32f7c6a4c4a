//! As much of HTTP/3 (RFC 9114) as measuring needs, in the connection's thread: requests that were
//! encoded before, responses of which the status and the content count, and a server that answers
//! everything with the same bytes.
//!
//! Neither end uses the dynamic table of QPACK: our SETTINGS leave its capacity at 0 (RFC 9204
//! section 5), so that a field section stands for itself, and no stream of QPACK's is needed.

mod peer;
mod responder;
mod response;
mod status;

use bytes::Bytes;
use tquic_core::stream::StreamSet;
use tquic_wire::Direction;

pub(crate) use peer::Peer;
pub use responder::Responder;
pub(crate) use response::{End, Reader};

/// The protocol's name in TLS (RFC 9114 section 3.1).
pub const ALPN: &[u8] = b"h3";

/// Frame types (RFC 9114 section 7.2).
mod frame {
    pub const DATA: u64 = 0x00;
    pub const HEADERS: u64 = 0x01;
    pub const CANCEL_PUSH: u64 = 0x03;
    pub const SETTINGS: u64 = 0x04;
    pub const PUSH_PROMISE: u64 = 0x05;
    pub const GOAWAY: u64 = 0x07;
    pub const MAX_PUSH_ID: u64 = 0x0d;

    /// Types of HTTP/2 that must not come (RFC 9114 section 11.2.1).
    pub fn is_reserved(kind: u64) -> bool {
        matches!(kind, 0x02 | 0x06 | 0x08 | 0x09)
    }
}

/// Error codes (RFC 9114 section 8.1, RFC 9204 section 6).
pub(crate) mod code {
    pub const NO_ERROR: u64 = 0x0100;
    pub const STREAM_CREATION_ERROR: u64 = 0x0103;
    pub const CLOSED_CRITICAL_STREAM: u64 = 0x0104;
    pub const FRAME_UNEXPECTED: u64 = 0x0105;
    pub const FRAME_ERROR: u64 = 0x0106;
    pub const ID_ERROR: u64 = 0x0108;
    pub const MISSING_SETTINGS: u64 = 0x010a;
    pub const REQUEST_CANCELLED: u64 = 0x010c;
    pub const MESSAGE_ERROR: u64 = 0x010e;
    pub const QPACK_DECOMPRESSION_FAILED: u64 = 0x0200;
}

/// The peer broke a rule: its connection is closed with the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub code: u64,
    pub reason: &'static str,
}

impl Violation {
    const fn new(code: u64, reason: &'static str) -> Self {
        Self { code, reason }
    }
}

/// Opens our control stream: its type and SETTINGS that say nothing (RFC 9114 section 6.2.1).
/// `None` if the peer allows no stream yet.
fn open_control(streams: &mut StreamSet) -> Option<()> {
    let id = streams.open(Direction::Unidirectional)?;
    // A fresh stream takes one write.
    let _ = streams.write(id, Bytes::from_static(&[0x00, frame::SETTINGS as u8, 0x00]));
    Some(())
}

/// Bytes of a frame's header (RFC 9114 section 7.1), which may come in pieces.
#[derive(Default)]
struct FrameHeader(arrayvec::ArrayVec<u8, 16>);

impl FrameHeader {
    /// Takes from `piece` what belongs to the header: bytes used, and type and length once whole.
    fn take(&mut self, piece: &[u8]) -> (usize, Option<(u64, u64)>) {
        let parse = |bytes: &[u8]| {
            let mut reader = tquic_wire::Reader::new(bytes);
            let header = (reader.varint().ok()?, reader.varint().ok()?);
            Some((header, reader.position()))
        };
        if self.0.is_empty()
            && let Some((header, size)) = parse(piece)
        {
            return (size, Some(header));
        }
        let kept = self.0.len();
        let room = self.0.remaining_capacity();
        let more = piece.get(..room).unwrap_or(piece);
        self.0.extend(more.iter().copied());
        let Some((header, size)) = parse(&self.0) else { return (more.len(), None) };
        self.0.clear();
        (size.saturating_sub(kept), Some(header))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
