//! Sealing and opening of single packets.

use std::net::SocketAddr;

use tquic_crypto::{DirectionKeys, Level};
use tquic_wire::header::{self, Long, LongFields};
use tquic_wire::{ConnectionId, PacketType, Side, Version, Writer, pn};

use super::{Heard, Rogue};

const TAG: usize = 16;
const PN_LEN: usize = 4;

/// The packet-number space of a level, as an index.
pub fn space_of(level: Level) -> usize {
    match level {
        Level::Initial => 0,
        Level::Handshake => 1,
        Level::ZeroRtt | Level::OneRtt => 2,
    }
}

fn packet_type(level: Level) -> PacketType {
    match level {
        Level::Initial => PacketType::Initial,
        Level::Handshake => PacketType::Handshake,
        Level::ZeroRtt => PacketType::ZeroRtt,
        Level::OneRtt => PacketType::OneRtt,
    }
}

/// A packet to be sealed, with whatever is to be wrong about it.
pub struct Draft {
    pub level: Level,
    pub payload: Vec<u8>,
    /// Bits to set in the first byte before protection.
    pub first_bits: u8,
    pub pn: Option<u64>,
    pub dcid: Option<ConnectionId>,
    pub scid: Option<ConnectionId>,
    pub version: Option<Version>,
    pub token: Option<Vec<u8>>,
    /// Whether datagrams with Initial packets are filled up to 1200 bytes.
    pub padded: bool,
}

impl Draft {
    pub fn new(level: Level, payload: Vec<u8>) -> Self {
        Self {
            level,
            payload,
            first_bits: 0,
            pn: None,
            dcid: None,
            scid: None,
            version: None,
            token: None,
            padded: true,
        }
    }
}

impl Rogue {
    fn keys_to_send(&self, level: Level) -> Option<&DirectionKeys> {
        match level {
            Level::Initial => Some(&self.initial.local),
            Level::ZeroRtt => self.zero_rtt.as_ref(),
            Level::Handshake => self.handshake.as_ref().map(|k| &k.local),
            Level::OneRtt => self.one_rtt.as_ref().map(|k| &k.local),
        }
    }

    pub fn can_send(&self, level: Level) -> bool {
        self.keys_to_send(level).is_some()
    }

    /// The number of the next packet at a level.
    pub fn next_pn(&self, level: Level) -> u64 {
        self.next_pn[space_of(level)]
    }

    /// Leaves packet numbers out.
    pub fn skip_pn(&mut self, level: Level, count: u64) {
        self.next_pn[space_of(level)] += count;
    }

    /// A datagram with one packet.
    pub fn seal(&mut self, mut draft: Draft) -> Vec<u8> {
        let space = space_of(draft.level);
        let number = draft.pn.unwrap_or(self.next_pn[space]);
        if draft.pn.is_none() {
            self.next_pn[space] += 1;
        }
        let dcid = draft.dcid.unwrap_or(self.dcid);
        let scid = draft.scid.unwrap_or(self.scid);
        let token = draft.token.as_ref().unwrap_or(&self.token);
        let token: &[u8] =
            if self.side == Side::Client || draft.token.is_some() { token } else { &[] };
        let mut head = vec![0; 128 + token.len()];
        let mut w = Writer::new(&mut head);
        let (pn_offset, handle) = if draft.level == Level::OneRtt {
            (header::write_short(&mut w, false, self.phase, &dcid, number, PN_LEN), None)
        } else {
            let fields = LongFields {
                ty: packet_type(draft.level),
                version: draft.version.unwrap_or(self.version),
                dcid: &dcid,
                scid: &scid,
                token,
                pn: number,
                pn_len: PN_LEN,
            };
            let handle = header::write_long(&mut w, &fields);
            (handle.pn_offset, Some(handle))
        };
        let header_len = w.position();
        head.truncate(header_len);
        if draft.level == Level::Initial && draft.padded {
            let least = 1200_usize.saturating_sub(header_len + TAG);
            if draft.payload.len() < least {
                draft.payload.resize(least, 0);
            }
        }
        let mut packet = head;
        packet[0] |= draft.first_bits;
        packet.extend_from_slice(&draft.payload);
        packet.resize(packet.len() + TAG, 0);
        if let Some(handle) = handle {
            let len = packet.len();
            header::patch_length(&mut packet, handle, len);
        }
        let keys = self.keys_to_send(draft.level).expect("no keys for this level yet");
        keys.packet.seal(0, number, &mut packet, header_len, &[]);
        let sample = *packet[pn_offset + 4..].first_chunk().unwrap();
        let mask = keys.header.mask(&sample);
        let bits = match draft.level {
            Level::OneRtt => header::SHORT_PROTECTED,
            _ => header::LONG_PROTECTED,
        };
        packet[0] ^= mask[0] & bits;
        for (byte, mask) in packet[pn_offset..pn_offset + PN_LEN].iter_mut().zip(&mask[1..]) {
            *byte ^= mask;
        }
        packet
    }

    /// Opens the first packet of a datagram of `size` bytes, if it can be opened, and returns what
    /// follows it.
    pub(super) fn open_first<'a>(
        &mut self,
        rest: &'a [u8],
        to: SocketAddr,
        size: usize,
    ) -> (Option<Heard>, &'a [u8]) {
        let (level, dcid, scid, pn_offset, len) = if header::is_long(rest[0]) {
            let Ok(Long::Protected(h)) = header::parse_long(rest) else { return (None, &[]) };
            let level = match h.ty {
                PacketType::Initial => Level::Initial,
                PacketType::Handshake => Level::Handshake,
                _ => Level::ZeroRtt,
            };
            (level, h.dcid, Some(h.scid), h.pn_offset, h.packet_len)
        } else {
            let Some(dcid) = header::short_dcid(rest, self.scid.len()) else { return (None, &[]) };
            let dcid = ConnectionId::new(dcid).unwrap();
            (Level::OneRtt, dcid, None, 1 + self.scid.len(), rest.len())
        };
        let (packet, tail) = rest.split_at(len);
        let heard = self.open(level, packet, pn_offset).map(|(pn, payload)| Heard {
            level,
            pn,
            dcid,
            scid,
            datagram: size,
            to,
            payload,
        });
        self.unreadable += usize::from(heard.is_none());
        (heard, tail)
    }

    fn open(&self, level: Level, packet: &[u8], pn_offset: usize) -> Option<(u64, Vec<u8>)> {
        let keys = match level {
            Level::Initial => &self.initial.remote,
            Level::ZeroRtt => return None,
            Level::Handshake => &self.handshake.as_ref()?.remote,
            Level::OneRtt => &self.one_rtt.as_ref()?.remote,
        };
        let mut packet = packet.to_vec();
        let sample = packet.get(pn_offset + 4..)?.first_chunk()?;
        let mask = keys.header.mask(sample);
        let bits = match level {
            Level::OneRtt => header::SHORT_PROTECTED,
            _ => header::LONG_PROTECTED,
        };
        packet[0] ^= mask[0] & bits;
        let pn_len = header::pn_len(packet[0]);
        let mut truncated = 0;
        for (byte, mask) in packet[pn_offset..pn_offset + pn_len].iter_mut().zip(&mask[1..]) {
            *byte ^= mask;
            truncated = truncated << 8 | u64::from(*byte);
        }
        let expected = self.received[space_of(level)].iter().max().map_or(0, |pn| pn + 1);
        let number = pn::decode(truncated, pn_len, expected);
        let header_len = pn_offset + pn_len;
        let old = if level == Level::OneRtt { self.old_remote.as_slice() } else { &[] };
        std::iter::once(&keys.packet).chain(old.iter().rev()).find_map(|key| {
            let mut copy = packet.clone();
            key.open(0, number, &mut copy, header_len).map(|payload| (number, payload.to_vec()))
        })
    }
}
