//! What a QUIC packet shows without keys (RFC 8999, RFC 9000 section 17, RFC 9369 section 3.2).
//!
//! The relay's findings judge our own stack and others, so it does not share their parser.

const V1: u32 = 0x0000_0001;
const V2: u32 = 0x6b33_43cf;

/// The kind of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Client's first flight and what answers it.
    Initial,
    /// 0-RTT.
    ZeroRtt,
    /// Handshake.
    Handshake,
    /// Retry.
    Retry,
    /// Version Negotiation.
    VersionNegotiation,
    /// Short header: 1-RTT, a stateless reset, or not QUIC at all.
    Short,
    /// A long header of a version that we do not know.
    Unknown,
}

impl Kind {
    /// A name for reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::ZeroRtt => "0rtt",
            Self::Handshake => "handshake",
            Self::Retry => "retry",
            Self::VersionNegotiation => "version_negotiation",
            Self::Short => "short",
            Self::Unknown => "unknown",
        }
    }
}

/// What is visible of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Visible<'a> {
    pub(super) kind: Kind,
    /// 0 for a short header.
    pub(super) version: u32,
    pub(super) scid: &'a [u8],
    /// The token of an Initial or Retry.
    pub(super) token: &'a [u8],
}

/// The packets of a datagram, as far as it can be read.
pub(super) struct Packets<'a> {
    rest: &'a [u8],
    first: bool,
}

impl<'a> Packets<'a> {
    pub(super) const fn of(datagram: &'a [u8]) -> Self {
        Self { rest: datagram, first: true }
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Visible<'a>;

    fn next(&mut self) -> Option<Visible<'a>> {
        let &first = self.rest.first()?;
        if first & 0x80 == 0 {
            // Zeroes behind a packet are padding of the datagram that some stacks add.
            let padding = !self.first && self.rest.iter().all(|&byte| byte == 0);
            self.rest = &[];
            let short = Visible { kind: Kind::Short, version: 0, scid: &[], token: &[] };
            return (!padding).then_some(short);
        }
        self.first = false;
        let mut cursor = Cursor(core::mem::take(&mut self.rest));
        let (visible, continues) = long(first, &mut cursor)?;
        if continues {
            self.rest = cursor.0;
        }
        Some(visible)
    }
}

/// Reads a packet with a long header. Says whether its end is known, so that another may follow.
fn long<'a>(first: u8, cursor: &mut Cursor<'a>) -> Option<(Visible<'a>, bool)> {
    cursor.take(1)?;
    let version = u32::from_be_bytes(cursor.take(4)?.try_into().ok()?);
    let dcid_len = cursor.take(1)?.first().copied()?;
    cursor.take(u64::from(dcid_len))?;
    let scid_len = cursor.take(1)?.first().copied()?;
    let scid = cursor.take(u64::from(scid_len))?;
    let kind = match (version, (first >> 4) & 0b11) {
        (0, _) => Kind::VersionNegotiation,
        (V1, 0) | (V2, 1) => Kind::Initial,
        (V1, 1) | (V2, 2) => Kind::ZeroRtt,
        (V1, 2) | (V2, 3) => Kind::Handshake,
        (V1 | V2, _) => Kind::Retry,
        _ => Kind::Unknown,
    };
    let mut visible = Visible { kind, version, scid, token: &[] };
    match kind {
        Kind::Initial => {
            let length = cursor.varint()?;
            visible.token = cursor.take(length)?;
        }
        Kind::ZeroRtt | Kind::Handshake => {}
        Kind::Retry => {
            // The last 16 bytes are the integrity tag.
            visible.token = cursor.0.get(..cursor.0.len().checked_sub(16)?)?;
            return Some((visible, false));
        }
        _ => return Some((visible, false)),
    }
    let length = cursor.varint()?;
    cursor.take(length)?;
    Some((visible, true))
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    /// RFC 9000 section 16.
    fn varint(&mut self) -> Option<u64> {
        let &first = self.0.first()?;
        let bytes = self.take(1 << (first >> 6))?;
        let value = bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
        Some(value & (u64::MAX >> (66 - 8 * bytes.len())))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A packet with a long header, as far as the relay looks.
    pub(crate) fn long_packet(
        type_bits: u8,
        version: u32,
        scid: &[u8],
        token: Option<&[u8]>,
        payload: usize,
    ) -> Vec<u8> {
        let mut out = vec![0xc0 | type_bits << 4];
        out.extend(version.to_be_bytes());
        out.extend([4, 1, 2, 3, 4, scid.len() as u8]);
        out.extend(scid);
        if let Some(token) = token {
            out.extend((0x4000 | token.len() as u16).to_be_bytes());
            out.extend(token);
        }
        out.extend((0x4000 | payload as u16).to_be_bytes());
        out.extend(vec![9; payload]);
        out
    }

    fn kinds(datagram: &[u8]) -> Vec<(Kind, u32)> {
        Packets::of(datagram).map(|packet| (packet.kind, packet.version)).collect()
    }

    #[test]
    fn coalesced_packets_are_told_apart() {
        let mut datagram = long_packet(0, V1, b"abc", Some(b"token"), 100);
        datagram.extend(long_packet(2, V1, b"abc", None, 70));
        datagram.extend([0x41; 30]);
        assert_eq!(kinds(&datagram), [(Kind::Initial, 1), (Kind::Handshake, 1), (Kind::Short, 0)]);
        let first = Packets::of(&datagram).next().unwrap();
        assert_eq!((first.scid, first.token), (&b"abc"[..], &b"token"[..]));
        // Padding with zeroes is no packet.
        datagram.truncate(datagram.len() - 30);
        datagram.extend([0; 300]);
        assert_eq!(kinds(&datagram).len(), 2);
    }

    #[test]
    fn versions_have_their_own_type_bits() {
        let kind = |bits, version| kinds(&long_packet(bits, version, b"", Some(b""), 40))[0].0;
        assert_eq!([0, 1].map(|bits| kind(bits, V2)), [Kind::Retry, Kind::Initial]);
        assert_eq!(kind(0, 0), Kind::VersionNegotiation);
        assert_eq!(kind(0, 0x1a2a_3a4a), Kind::Unknown);
        assert_eq!(kinds(&long_packet(2, V2, b"", None, 40))[0].0, Kind::ZeroRtt);
        assert_eq!(kinds(&long_packet(3, V2, b"", None, 40))[0].0, Kind::Handshake);
        let mut retry = long_packet(3, V1, b"s", None, 0);
        retry.truncate(retry.len() - 2);
        retry.extend([b"the token", &[7; 16][..]].concat());
        assert_eq!(Packets::of(&retry).next().unwrap().token, b"the token");
    }

    #[test]
    fn damage_ends_the_reading() {
        let whole = long_packet(0, V1, b"abc", Some(b"token"), 100);
        for length in 0..whole.len() {
            assert_eq!(kinds(&whole[..length]), []);
        }
        assert_eq!(kinds(&[0xff; 40]).len(), 0);
    }
}
