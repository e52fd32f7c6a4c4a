//! QUIC bytes to values and back: stateless codecs of packets, frames and transport parameters.
//!
//! Decoding borrows from the input, allocates nothing (transport parameters apart) and never
//! panics: bytes of a peer give a value or a [`DecodeError`]. Encoding writes into a buffer of the
//! caller; there, too little room is a bug of ours and panics, so callers ask for the size first.
//!
//! Versions 1 (RFC 9000) and 2 (RFC 9369), DATAGRAM (RFC 9221), the QUIC bit (RFC 9287), version
//! information (RFC 9368) and acknowledgment frequency (draft-ietf-quic-ack-frequency-12).
#![forbid(unsafe_code)]

pub mod cid;
pub mod error;
pub mod frame;
pub mod header;
pub mod params;
pub mod pn;
pub mod reader;
pub mod stream_id;
pub mod types;
pub mod varint;
pub mod version;
pub mod writer;

pub use cid::{ConnectionId, ResetToken};
pub use error::{DecodeError, TransportErrorCode};
pub use frame::{Frame, FrameError, FrameIter};
pub use params::TransportParameters;
pub use reader::Reader;
pub use stream_id::StreamId;
pub use types::{Direction, PacketType, Side, Space};
pub use varint::MAX_VARINT;
pub use version::Version;
pub use writer::Writer;

#[cfg(test)]
mod testing;
