//! One packet: its header, its place in the buffer, and what is noted when it is sealed.

use tquic_wire::header::{self, LongFields, LongHandle};
use tquic_wire::{ConnectionId, PacketType, Space, Writer, pn};

use crate::connection::{Connection, space_index};
use crate::path::Ecn;
use crate::recovery::{SentPacket, Tokens};
use crate::time::Instant;
use crate::tx::FrameWriter;

/// Bytes of the authentication tag.
pub(super) const TAG: usize = 16;
/// RFC 9001 section 5.4.2: the sample must lie inside the packet, so packet number and payload
/// together have at least four bytes.
const MIN_PN_AND_PAYLOAD: usize = 4;

/// Room that is left for frames at least: a PATH_CHALLENGE fits.
const SMALL_FRAME: usize = 9;

/// A packet being written at the start of a buffer.
pub(crate) struct Draft {
    pub(crate) ty: PacketType,
    pub(crate) pn: u64,
    pub(super) pn_offset: usize,
    pub(crate) header_len: usize,
    length: Option<LongHandle>,
    /// Bytes of header and plaintext so far.
    pub(super) len: usize,
    pub(crate) tokens: Tokens,
    pub(crate) ack_eliciting: bool,
    /// Carries PADDING, and so counts as in flight.
    pub(crate) padded: bool,
}

impl Draft {
    /// The packet-number space.
    pub(super) fn space(&self) -> Space {
        match self.ty {
            PacketType::Initial => Space::Initial,
            PacketType::Handshake => Space::Handshake,
            _ => Space::Data,
        }
    }

    /// Lets `write` put frames after what is there; `buf` is the packet's buffer and must leave room
    /// for the tag.
    pub(super) fn frames<R>(
        &mut self,
        buf: &mut [u8],
        write: impl FnOnce(&mut FrameWriter<'_>) -> R,
    ) -> R {
        let end = buf.len().saturating_sub(TAG).max(self.len);
        let mut fw = FrameWriter::new(&mut buf[self.len..end], &mut self.tokens);
        let result = write(&mut fw);
        self.ack_eliciting |= fw.is_ack_eliciting();
        self.len += fw.position();
        result
    }

    /// Whether no frame was written.
    pub(super) fn is_empty(&self) -> bool {
        self.len == self.header_len
    }

    /// PADDING until header and plaintext have `len` bytes.
    pub(super) fn pad_to(&mut self, buf: &mut [u8], len: usize) {
        if len > self.len {
            buf[self.len..len].fill(0);
            self.len = len;
            self.padded = true;
        }
    }

    /// Pads what is too short to be sampled.
    pub(super) fn pad_for_sample(&mut self, buf: &mut [u8]) {
        let least = self.pn_offset + MIN_PN_AND_PAYLOAD;
        if self.len < least {
            self.pad_to(buf, least);
        }
    }

    /// Bytes of the sealed packet, with `tail` bytes of stream data still to come.
    pub(crate) fn sealed_len(&self, tail: usize) -> usize {
        self.len + tail + TAG
    }

    /// Fills in the Length field of a long header, for a sealed packet of `len` bytes.
    pub(super) fn patch_length(&self, packet: &mut [u8], len: usize) {
        if let Some(handle) = self.length {
            header::patch_length(packet, handle, len);
        }
    }
}

/// Applies a header protection mask.
pub(super) fn apply_mask(packet: &mut [u8], pn_offset: usize, mask: [u8; 5], first_bits: u8) {
    let pn_len = header::pn_len(packet[0]);
    packet[0] ^= mask[0] & first_bits;
    for (byte, mask) in packet[pn_offset..pn_offset + pn_len].iter_mut().zip(&mask[1..]) {
        *byte ^= mask;
    }
}

impl Connection {
    /// Begins a packet in `buf`. `None` if there is no room for a header and something in it.
    pub(super) fn begin(
        &mut self,
        path: usize,
        ty: PacketType,
        dcid: &ConnectionId,
        buf: &mut [u8],
    ) -> Option<Draft> {
        let space = match ty {
            PacketType::Initial => Space::Initial,
            PacketType::Handshake => Space::Handshake,
            _ => Space::Data,
        };
        let token = if ty == PacketType::Initial { self.ids.token.as_slice() } else { &[] };
        // First byte, packet number, tag and a small frame; long headers have version, lengths and
        // the other connection ID too.
        let long = if ty == PacketType::OneRtt { 0 } else { 40 + token.len() };
        if buf.len() < 1 + dcid.len() + long + pn::MAX_LEN + TAG + SMALL_FRAME {
            return None;
        }
        let recovery = &mut self.paths[path].recovery;
        let number = recovery.take_pn(space, &mut self.rng);
        let pn_len = pn::len_for(number, recovery.largest_acked(space));
        let mut w = Writer::new(buf);
        let (pn_offset, length) = if ty == PacketType::OneRtt {
            let phase = self.keys.one_rtt.as_ref()?.phase();
            let pn_offset = header::write_short(&mut w, false, phase, dcid, number, pn_len);
            // RFC 9287 section 3.1: an unpredictable fixed bit, for peers that said they ignore it.
            // Unpredictable for the CPU as well: no branch on it.
            let drawn = (number.wrapping_mul(self.ids.grease) >> 63) as u8;
            let allowed = self.peer.grease_quic_bit && self.config.grease;
            buf[0] &= !(header::FIXED_BIT * (drawn & u8::from(allowed)));
            (pn_offset, None)
        } else {
            let version = match ty {
                // RFC 9369 section 4.1: 0-RTT is sent in the original version.
                PacketType::ZeroRtt => self.ids.original_version,
                _ => self.ids.version,
            };
            let scid = &self.ids.local;
            let fields = LongFields { ty, version, dcid, scid, token, pn: number, pn_len };
            let handle = header::write_long(&mut w, &fields);
            (handle.pn_offset, Some(handle))
        };
        let header_len = pn_offset + pn_len;
        Some(Draft {
            ty,
            pn: number,
            pn_offset,
            header_len,
            length,
            len: header_len,
            tokens: Tokens::new(),
            ack_eliciting: false,
            padded: false,
        })
    }

    /// Seals a long-header packet of `draft.sealed_len(0)` bytes and hides its header.
    pub(super) fn seal_long(&mut self, now: Instant, draft: &Draft, packet: &mut [u8]) {
        self.tell_sent(now, 0, draft, &packet[..draft.len], 0);
        let keys = match draft.ty {
            PacketType::Initial => self.keys.initial.as_ref().map(|k| &k.local),
            PacketType::Handshake => self.keys.handshake.as_ref().map(|k| &k.local),
            _ => self.keys.zero_rtt.as_deref(),
        };
        let Some(keys) = keys else { return };
        draft.patch_length(packet, packet.len());
        keys.packet.seal(0, draft.pn, packet, draft.header_len, &[]);
        if let Some(sample) = packet.get(draft.pn_offset + 4..).and_then(|s| s.first_chunk()) {
            let mask = keys.header.mask(sample);
            apply_mask(packet, draft.pn_offset, mask, header::LONG_PROTECTED);
        }
    }

    /// Seals a 1-RTT packet; its header is hidden later, with those of its train (`mask_train`).
    pub(super) fn seal_short(
        &mut self,
        now: Instant,
        path: usize,
        draft: &Draft,
        packet: &mut [u8],
    ) {
        self.tell_sent(now, path, draft, &packet[..draft.len], 0);
        let id = self.paths[path].id;
        if let Some(keys) = &mut self.keys.one_rtt {
            keys.seal_key().seal(id, draft.pn, packet, draft.header_len, &[]);
            keys.on_sealed(id, draft.pn);
        }
    }

    /// Hides the headers of 1-RTT packets that lie every `segment` bytes in `train`.
    pub(super) fn mask_train(&self, train: &mut [u8], segment: usize, pn_offset: usize) {
        let Some(keys) = &self.keys.one_rtt else { return };
        let (mut samples, mut masks) = ([[0; 16]; 64], [[0; 5]; 64]);
        for group in train.chunks_mut(segment.saturating_mul(64)) {
            let n = group.len().div_ceil(segment);
            for (packet, slot) in group.chunks(segment).zip(&mut samples) {
                if let Some(s) = packet.get(pn_offset + 4..).and_then(|s| s.first_chunk()) {
                    *slot = *s;
                }
            }
            keys.header_local().masks(&samples[..n], &mut masks[..n]);
            for (packet, mask) in group.chunks_mut(segment).zip(&masks) {
                apply_mask(packet, pn_offset, *mask, header::SHORT_PROTECTED);
            }
        }
    }

    /// Notes a packet of `size` bytes as sent. Returns the bytes that it put in flight.
    pub(super) fn on_sent(
        &mut self,
        now: Instant,
        path: usize,
        draft: Draft,
        size: usize,
        options: SentOptions,
    ) -> u64 {
        let space = draft.space();
        let in_flight = draft.ack_eliciting || draft.padded;
        self.stats.packets_sent += 1;
        if draft.ty == PacketType::ZeroRtt {
            self.stats.zero_rtt_bytes += size as u64;
        }
        let repeats = self.multipath.as_ref().map_or(0, |m| m.repeating());
        let path = &mut self.paths[path];
        let probes = &mut path.probes[space_index(space)];
        if draft.ack_eliciting && !options.mtu_probe {
            *probes = probes.saturating_sub(1);
        }
        let packet = SentPacket {
            time_sent: now,
            // Lossless: no datagram is longer than 65507 bytes.
            size: size as u16,
            ack_eliciting: draft.ack_eliciting,
            in_flight,
            ecn: options.ecn,
            mtu_probe: options.mtu_probe,
            repeats,
            tokens: draft.tokens,
            ..SentPacket::default()
        };
        path.recovery.on_packet_sent(space, draft.pn, packet);
        if draft.ack_eliciting {
            self.restart_idle_on_send(now);
        }
        if in_flight { size as u64 } else { 0 }
    }
}

/// What is special about a sent packet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SentOptions {
    pub(super) ecn: Option<Ecn>,
    pub(super) mtu_probe: bool,
}
