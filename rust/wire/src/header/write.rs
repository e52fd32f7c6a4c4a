//! Writing of headers.

use super::{FIXED_BIT, KEY_PHASE, LONG_FORM, SPIN_BIT, type_bits};
use crate::cid::ConnectionId;
use crate::pn;
use crate::types::PacketType;
use crate::varint;
use crate::version::Version;
use crate::writer::Writer;

/// Width of the Length field, which is written before its value is known.
const LENGTH_WIDTH: usize = 2;

/// What an Initial, 0-RTT or Handshake packet says in its header.
#[derive(Clone, Copy, Debug)]
pub struct LongFields<'a> {
    /// Initial, 0-RTT or Handshake.
    pub ty: PacketType,
    /// Version 1 or 2.
    pub version: Version,
    /// Destination connection ID.
    pub dcid: &'a ConnectionId,
    /// Source connection ID.
    pub scid: &'a ConnectionId,
    /// The token of an Initial packet; not written in others.
    pub token: &'a [u8],
    /// The packet number.
    pub pn: u64,
    /// Bytes of the packet number, 1 to 4 (see [`pn::len_for`]).
    pub pn_len: usize,
}

impl LongFields<'_> {
    /// Bytes that [`write_long`] writes, packet number included.
    #[must_use]
    pub fn size(&self) -> usize {
        let token = match self.ty {
            PacketType::Initial => varint::size(self.token.len() as u64) + self.token.len(),
            _ => 0,
        };
        // First byte, version, two connection-ID lengths.
        7 + self.dcid.len() + self.scid.len() + token + LENGTH_WIDTH + self.pn_len
    }
}

/// Where things are in a long header, counted from the first byte of its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongHandle {
    /// The two-byte Length field, for [`patch_length`].
    pub length_offset: usize,
    /// The packet number, where the Length field starts to count.
    pub pn_offset: usize,
}

/// Writes the header of an Initial, 0-RTT or Handshake packet, packet number included. The Length
/// field is left at zero for [`patch_length`].
pub fn write_long(w: &mut Writer<'_>, fields: &LongFields<'_>) -> LongHandle {
    let start = w.position();
    // RFC 9000 section 17.2: the reserved bits MUST be zero before protection.
    let type_bits = type_bits(fields.version, fields.ty) << 4;
    w.u8(LONG_FORM | FIXED_BIT | type_bits | pn_len_bits(fields.pn_len));
    write_invariant(w, fields.version, fields.dcid.as_slice(), fields.scid.as_slice());
    if fields.ty == PacketType::Initial {
        w.varint(fields.token.len() as u64);
        w.bytes(fields.token);
    }
    let length_offset = w.position() - start;
    w.varint_of(0, LENGTH_WIDTH);
    let pn_offset = w.position() - start;
    pn::write(w, fields.pn, fields.pn_len);
    LongHandle { length_offset, pn_offset }
}

/// Sets the Length field once the length of the packet is known.
///
/// `packet` starts with the packet's first byte; `packet_len` counts from there to its end, AEAD
/// tag included. Packets with a long header are limited to 16383 bytes after the Length field.
#[inline]
pub fn patch_length(packet: &mut [u8], handle: LongHandle, packet_len: usize) {
    let length = (packet_len - handle.pn_offset) as u64;
    let field = &mut packet[handle.length_offset..][..LENGTH_WIDTH];
    Writer::new(field).varint_of(length, LENGTH_WIDTH);
}

/// Bytes that [`write_short`] writes.
#[inline]
#[must_use]
pub const fn short_size(dcid_len: usize, pn_len: usize) -> usize {
    1 + dcid_len + pn_len
}

/// Writes the header of a 1-RTT packet and returns the offset of its packet number, counted from
/// the first byte of the packet.
#[inline]
pub fn write_short(
    w: &mut Writer<'_>,
    spin: bool,
    key_phase: bool,
    dcid: &ConnectionId,
    pn: u64,
    pn_len: usize,
) -> usize {
    let spin = if spin { SPIN_BIT } else { 0 };
    let key_phase = if key_phase { KEY_PHASE } else { 0 };
    // RFC 9000 section 17.3.1: the reserved bits MUST be zero before protection.
    w.u8(FIXED_BIT | spin | key_phase | pn_len_bits(pn_len));
    match <&[u8; 8]>::try_from(dcid.as_slice()) {
        // The usual length, as a copy of a length known to the compiler.
        Ok(dcid) => w.bytes(dcid),
        Err(_) => w.bytes(dcid.as_slice()),
    }
    pn::write(w, pn, pn_len);
    1 + dcid.len()
}

/// Writes a Version Negotiation packet (RFC 9000 section 17.2.1).
///
/// `dcid` and `scid` are the source and destination connection ID of the packet it answers, at most
/// 255 bytes each. `unused` are random bits for the first byte.
pub fn write_version_negotiation(
    w: &mut Writer<'_>,
    unused: u8,
    dcid: &[u8],
    scid: &[u8],
    versions: &[Version],
) {
    // The fixed bit SHOULD be set, for the sake of protocols that share the port.
    w.u8(LONG_FORM | FIXED_BIT | unused);
    write_invariant(w, Version::NEGOTIATION, dcid, scid);
    for version in versions {
        w.u32(version.0);
    }
}

/// Writes a Retry packet without its integrity tag, which the caller appends (RFC 9000 section
/// 17.2.5). `unused` are random bits for the first byte, of which the lowest four are used.
pub fn write_retry(
    w: &mut Writer<'_>,
    unused: u8,
    version: Version,
    dcid: &ConnectionId,
    scid: &ConnectionId,
    token: &[u8],
) {
    let type_bits = type_bits(version, PacketType::Retry) << 4;
    w.u8(LONG_FORM | FIXED_BIT | type_bits | unused & 0x0f);
    write_invariant(w, version, dcid.as_slice(), scid.as_slice());
    w.bytes(token);
}

/// The Retry pseudo-packet, which the integrity tag authenticates (RFC 9001 section 5.8).
///
/// `odcid` is the destination connection ID of the Initial that the Retry answers, `without_tag`
/// the Retry packet up to its tag.
#[must_use]
pub fn retry_pseudo_packet(odcid: &ConnectionId, without_tag: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + odcid.len() + without_tag.len());
    out.push(odcid.len() as u8);
    out.extend_from_slice(odcid.as_slice());
    out.extend_from_slice(without_tag);
    out
}

/// Version and connection IDs (RFC 8999 section 5.1).
fn write_invariant(w: &mut Writer<'_>, version: Version, dcid: &[u8], scid: &[u8]) {
    w.u32(version.0);
    for cid in [dcid, scid] {
        assert!(cid.len() <= 255, "connection IDs have at most 255 bytes");
        w.u8(cid.len() as u8);
        w.bytes(cid);
    }
}

#[inline]
fn pn_len_bits(pn_len: usize) -> u8 {
    debug_assert!((1..=pn::MAX_LEN).contains(&pn_len), "packet numbers have 1 to 4 bytes");
    (pn_len as u8).wrapping_sub(1) & super::PN_LEN
}
