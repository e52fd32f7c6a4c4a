//! Parsing of long headers.

use super::{RETRY_TAG_LEN, is_long, long_type};
use crate::cid::ConnectionId;
use crate::error::DecodeError;
use crate::reader::Reader;
use crate::types::PacketType;
use crate::version::Version;

/// The header of an Initial, 0-RTT or Handshake packet, up to its packet number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongHeader<'a> {
    /// Version 1 or 2.
    pub version: Version,
    /// Initial, 0-RTT or Handshake.
    pub ty: PacketType,
    /// Destination connection ID.
    pub dcid: ConnectionId,
    /// Source connection ID.
    pub scid: ConnectionId,
    /// The token of an Initial packet; empty when there is none.
    pub token: &'a [u8],
    /// Where the protected packet number starts, from the start of the packet.
    pub pn_offset: usize,
    /// Where the packet ends, from its start: at most the length of the datagram. What follows is
    /// another packet (RFC 9000 section 12.2).
    pub packet_len: usize,
}

/// A packet with a long header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Long<'a> {
    /// An Initial, 0-RTT or Handshake packet.
    Protected(LongHeader<'a>),
    /// A Retry packet, which takes the whole datagram (RFC 9000 section 17.2.5).
    Retry {
        /// Version 1 or 2.
        version: Version,
        /// Destination connection ID.
        dcid: ConnectionId,
        /// Source connection ID, which the client uses from now on.
        scid: ConnectionId,
        /// The Retry token, never empty.
        token: &'a [u8],
        /// Retry integrity tag (RFC 9001 section 5.8).
        integrity_tag: [u8; RETRY_TAG_LEN],
        /// The packet before the tag: the end of the Retry pseudo-packet.
        without_tag: &'a [u8],
    },
    /// A Version Negotiation packet, which takes the whole datagram (RFC 8999 section 6).
    VersionNegotiation {
        /// Destination connection ID, 0 to 255 bytes.
        dcid: &'a [u8],
        /// Source connection ID, 0 to 255 bytes.
        scid: &'a [u8],
        /// The versions the server offers, at least one.
        versions: Versions<'a>,
    },
    /// A packet of a version we do not speak, by its invariants (RFC 8999 section 5.1).
    UnknownVersion {
        /// The version.
        version: Version,
        /// Destination connection ID, 0 to 255 bytes.
        dcid: &'a [u8],
        /// Source connection ID, 0 to 255 bytes.
        scid: &'a [u8],
    },
}

/// The versions of a Version Negotiation packet, in the server's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions<'a>(&'a [u8]);

impl Iterator for Versions<'_> {
    type Item = Version;

    fn next(&mut self) -> Option<Version> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(Version(u32::from_be_bytes(*head)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len() / 4, Some(self.0.len() / 4))
    }
}

impl ExactSizeIterator for Versions<'_> {}

/// Parses the packet with a long header that `datagram` starts with.
///
/// Of the first byte only what is outside header protection is used, and the fixed bit is left to
/// the caller. A packet is not checked to be long enough for a header-protection sample.
pub fn parse_long(datagram: &[u8]) -> Result<Long<'_>, DecodeError> {
    let mut r = Reader::new(datagram);
    let first = r.u8()?;
    if !is_long(first) {
        return Err(DecodeError::InvalidValue("not a long header"));
    }
    let version = Version(r.u32()?);
    if !version.is_supported() {
        return parse_invariant(version, r);
    }
    let ty = long_type(version, first);
    let dcid = ConnectionId::read(&mut r)?;
    let scid = ConnectionId::read(&mut r)?;
    if ty == PacketType::Retry {
        return parse_retry(datagram, r, version, dcid, scid);
    }
    let token = if ty == PacketType::Initial { r.varint_bytes()? } else { &[] };
    let length = usize::try_from(r.varint()?).map_err(|_| DecodeError::UnexpectedEnd)?;
    let pn_offset = r.position();
    r.bytes(length)?;
    let packet_len = r.position();
    Ok(Long::Protected(LongHeader { version, ty, dcid, scid, token, pn_offset, packet_len }))
}

/// The rest of a packet after the version, for versions whose form we do not know.
fn parse_invariant(version: Version, mut r: Reader<'_>) -> Result<Long<'_>, DecodeError> {
    let len = r.u8()?;
    let dcid = r.bytes(usize::from(len))?;
    let len = r.u8()?;
    let scid = r.bytes(usize::from(len))?;
    if version != Version::NEGOTIATION {
        return Ok(Long::UnknownVersion { version, dcid, scid });
    }
    let versions = r.rest();
    // RFC 8999 section 6: an endpoint MUST ignore a packet that contains no Supported Version
    // fields or a truncated one.
    if versions.is_empty() || !versions.len().is_multiple_of(4) {
        return Err(DecodeError::InvalidValue("empty or truncated list of supported versions"));
    }
    Ok(Long::VersionNegotiation { dcid, scid, versions: Versions(versions) })
}

/// The rest of a Retry packet after its connection IDs.
fn parse_retry<'a>(
    datagram: &'a [u8],
    mut r: Reader<'a>,
    version: Version,
    dcid: ConnectionId,
    scid: ConnectionId,
) -> Result<Long<'a>, DecodeError> {
    let (token, &integrity_tag) = r.rest().split_last_chunk().ok_or(DecodeError::UnexpectedEnd)?;
    // RFC 9000 section 17.2.5.2: a client MUST discard a Retry packet with a zero-length token.
    if token.is_empty() {
        return Err(DecodeError::InvalidValue("empty Retry token"));
    }
    let without_tag = datagram.get(..datagram.len() - RETRY_TAG_LEN).unwrap_or_default();
    Ok(Long::Retry { version, dcid, scid, token, integrity_tag, without_tag })
}
