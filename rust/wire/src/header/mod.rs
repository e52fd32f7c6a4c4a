//! Packet headers: the invariants (RFC 8999) and the forms of versions 1 and 2 (RFC 9000 section
//! 17, RFC 9369 section 3.2).
//!
//! Parsing touches only what is not under header protection. Reserved bits, key phase and packet
//! number are for the caller to read from the first byte once the protection is off; the masks for
//! that are here. So is the fixed bit: whether it may be zero depends on what was negotiated (RFC
//! 9287), so parsing does not look at it and callers discard packets by [`fixed_bit`].

mod long;
mod write;

#[cfg(test)]
mod tests;

pub use long::{Long, LongHeader, Versions, parse_long};
pub use write::{
    LongFields, LongHandle, patch_length, retry_pseudo_packet, short_size, write_long, write_retry,
    write_short, write_version_negotiation,
};

use crate::types::PacketType;
use crate::version::Version;

/// Bit of the first byte that long headers set (RFC 8999 section 5.1).
pub const LONG_FORM: u8 = 0x80;
/// Bit of the first byte that is 1 unless greased (RFC 9000 section 17.2, RFC 9287).
pub const FIXED_BIT: u8 = 0x40;
/// Latency spin bit of short headers (RFC 9000 section 17.4).
pub const SPIN_BIT: u8 = 0x20;
/// Key phase of short headers, under header protection (RFC 9000 section 17.3.1).
pub const KEY_PHASE: u8 = 0x04;
/// Reserved bits of long headers, zero once protection is off (RFC 9000 section 17.2).
pub const LONG_RESERVED: u8 = 0x0c;
/// Reserved bits of short headers, zero once protection is off (RFC 9000 section 17.3.1).
pub const SHORT_RESERVED: u8 = 0x18;
/// Packet-number length minus one, under header protection.
pub const PN_LEN: u8 = 0x03;
/// Bits of the first byte that header protection covers in long headers (RFC 9001 section 5.4.1).
pub const LONG_PROTECTED: u8 = 0x0f;
/// Bits of the first byte that header protection covers in short headers.
pub const SHORT_PROTECTED: u8 = 0x1f;
/// Length of the Retry integrity tag in bytes (RFC 9001 section 5.8).
pub const RETRY_TAG_LEN: usize = 16;

/// Whether a datagram with this first byte starts with a long header.
#[inline]
#[must_use]
pub const fn is_long(first: u8) -> bool {
    first & LONG_FORM != 0
}

/// Whether the fixed bit is set. Without `grease_quic_bit` a packet of version 1 or 2 that has it
/// cleared MUST be discarded (RFC 9000 sections 17.2 and 17.3).
#[inline]
#[must_use]
pub const fn fixed_bit(first: u8) -> bool {
    first & FIXED_BIT != 0
}

/// Length of the packet number in bytes, 1 to 4, by an unprotected first byte.
#[inline]
#[must_use]
pub const fn pn_len(first: u8) -> usize {
    (first & PN_LEN) as usize + 1
}

/// The destination connection ID of a 1-RTT packet, `cid_len` bytes long as we issued it.
///
/// `None` when the datagram is too short. The packet number starts at `1 + cid_len`.
#[inline]
#[must_use]
pub fn short_dcid(datagram: &[u8], cid_len: usize) -> Option<&[u8]> {
    datagram.get(1..)?.get(..cid_len)
}

/// The two type bits of a long header; Initial for types that have none.
#[inline]
const fn type_bits(version: Version, ty: PacketType) -> u8 {
    let v1 = match ty {
        PacketType::ZeroRtt => 1,
        PacketType::Handshake => 2,
        PacketType::Retry => 3,
        PacketType::Initial | PacketType::OneRtt | PacketType::VersionNegotiation => 0,
    };
    // RFC 9369 section 3.2: version 2 counts from one further.
    if version.0 == Version::V2.0 { (v1 + 1) & 3 } else { v1 }
}

/// The packet type by the first byte of a long header of version 1 or 2.
#[inline]
const fn long_type(version: Version, first: u8) -> PacketType {
    let bits = first >> 4 & 3;
    let v1 = if version.0 == Version::V2.0 { bits.wrapping_sub(1) & 3 } else { bits };
    match v1 {
        0 => PacketType::Initial,
        1 => PacketType::ZeroRtt,
        2 => PacketType::Handshake,
        _ => PacketType::Retry,
    }
}
