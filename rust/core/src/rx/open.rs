//! Removes protection: masks for a whole train at once, then each packet in place (RFC 9001 section
//! 5.3 and 5.4).

use tquic_wire::{ConnectionId, PacketType, Side, Space, Version, header, pn};

use crate::cid::CID_LEN;
use crate::connection::{Connection, longest_pto, space_index};
use crate::error::TransportError;
use crate::rx::receive::Parsed;
use crate::rx::{Arrival, Opened};
use crate::time::Duration;
use crate::trace::{DropReason, Event, Mask};

/// Datagrams whose header masks are computed in one go: as many as UDP GRO joins.
pub(crate) const TRAIN: usize = 64;
/// RFC 9001 section 5.4.2: the sample starts four bytes after the packet number does.
const SAMPLE_SKIP: usize = 4;
const SAMPLE: usize = 16;
const TAG: usize = 16;

/// Header protection masks of a train of short-header packets.
pub(crate) struct TrainMasks {
    masks: [[u8; 5]; TRAIN],
    valid: usize,
}

impl TrainMasks {
    pub(crate) fn at(&self, index: usize) -> Option<[u8; 5]> {
        (index < self.valid).then(|| self.masks[index])
    }
}

/// Undoes header protection in place: returns the packet number's length and its truncated value.
fn unmask(packet: &mut [u8], pn_offset: usize, mask: [u8; 5], first_bits: u8) -> (usize, u64) {
    packet[0] ^= mask[0] & first_bits;
    let len = header::pn_len(packet[0]);
    let mut truncated = 0;
    for (byte, mask) in packet[pn_offset..pn_offset + len].iter_mut().zip(&mask[1..]) {
        *byte ^= mask;
        truncated = truncated << 8 | u64::from(*byte);
    }
    (len, truncated)
}

fn sample(packet: &[u8], pn_offset: usize) -> Option<&[u8; SAMPLE]> {
    packet.get(pn_offset + SAMPLE_SKIP..)?.first_chunk()
}

impl Connection {
    pub(crate) fn train_masks(&self, train: &[u8], stride: usize) -> TrainMasks {
        let mut out = TrainMasks { masks: [[0; 5]; TRAIN], valid: 0 };
        let Some(keys) = &self.keys.one_rtt else { return out };
        let mut samples = [[0; SAMPLE]; TRAIN];
        for (datagram, slot) in train.chunks(stride).zip(&mut samples) {
            // A long header among them gets a mask that nobody asks for.
            match sample(datagram, 1 + CID_LEN) {
                Some(s) => *slot = *s,
                None => break,
            }
            out.valid += 1;
        }
        let n = out.valid;
        keys.header_remote().masks(&samples[..n], &mut out.masks[..n]);
        out
    }

    /// A 1-RTT packet, which is all of `datagram`.
    pub(crate) fn receive_short(
        &mut self,
        arrival: &Arrival,
        datagram: &mut [u8],
        mask: Option<[u8; 5]>,
    ) -> Result<(), TransportError> {
        let pn_offset = 1 + CID_LEN;
        let Some((dcid, path, id)) = Self::short_dcid(datagram).and_then(|d| self.addressed(d))
        else {
            let reason = DropReason::ConnectionUnknown;
            self.drop_packet(arrival.now, Some(PacketType::OneRtt), datagram.len(), reason);
            return Ok(());
        };
        // RFC 9001 section 5.7: not before the handshake is complete.
        if self.keys.one_rtt.is_none() || !self.handshake.is_complete() {
            self.stash(arrival, PacketType::OneRtt, datagram);
            return Ok(());
        }
        let expected = path.map_or(0, |path| self.expected(path, space_index(Space::Data)));
        let Some(keys) = &mut self.keys.one_rtt else { return Ok(()) };
        let (Some(sample), Some(&tail)) =
            (sample(datagram, pn_offset), datagram.last_chunk::<16>())
        else {
            self.on_short_datagram(arrival, datagram);
            return Ok(());
        };
        let (fixed, len) = (header::fixed_bit(datagram[0]), datagram.len());
        let mask = mask.unwrap_or_else(|| keys.header_remote().mask(sample));
        let (pn_len, truncated) = unmask(datagram, pn_offset, mask, header::SHORT_PROTECTED);
        let pn = pn::decode(truncated, pn_len, expected);
        let first = datagram[0];
        let phase = keys.phase_of(id, pn, first & header::KEY_PHASE != 0);
        let header_len = pn_offset + pn_len;
        // RFC 9287: the fixed bit may be zero only after we said so.
        // Asked in this order: who expects a random bit does not branch on it.
        let opened = if self.config.grease || fixed {
            keys.open_key(phase).open(id, pn, datagram, header_len)
        } else {
            None
        };
        let Some(payload) = opened else {
            return self.on_unopened(arrival, len, &tail);
        };
        let (paths, max_ack_delay) = (&self.paths, self.peer.max_ack_delay);
        let pto = || longest_pto(paths, Duration::from_millis(max_ack_delay));
        keys.on_opened(arrival.now, (id, pn), phase, pto)?;
        check_reserved(first & header::SHORT_RESERVED)?;
        // The first packet of a path opens it: only now is there anything to pay for.
        let Some(path) = path.or_else(|| self.accept_path(arrival, id)) else {
            let ty = Some(PacketType::OneRtt);
            self.drop_packet(arrival.now, ty, len, DropReason::Rejected);
            return Ok(());
        };
        let opened = Opened { space: Space::Data, pn, path, dcid, len, zero_rtt: false, first };
        self.on_packet(arrival, &opened, payload)
    }

    /// Index and ID of the path that a 1-RTT packet belongs to; no index if it is not open yet.
    fn addressed(&self, dcid: ConnectionId) -> Option<(ConnectionId, Option<usize>, u32)> {
        match self.path_of(dcid.as_slice()) {
            Some(path) => Some((dcid, Some(path), self.paths[path].id)),
            None => self.spare_of(&dcid).map(|id| (dcid, None, id)),
        }
    }

    /// A packet with a long header, which is all of `packet`.
    pub(crate) fn receive_long(
        &mut self,
        arrival: &Arrival,
        packet: &mut [u8],
        parsed: Parsed,
    ) -> Result<(), TransportError> {
        let (ty, size) = (Some(parsed.ty), packet.len());
        let Some(path) = self.path_of(parsed.dcid.as_slice()) else {
            self.drop_packet(arrival.now, ty, size, DropReason::ConnectionUnknown);
            return Ok(());
        };
        let space = match parsed.ty {
            PacketType::Initial => Space::Initial,
            PacketType::Handshake => Space::Handshake,
            _ => Space::Data,
        };
        if !self.has_long_keys(&parsed) {
            // Initial and Handshake keys that are gone do not come back; others may come.
            if self.may_get_keys(&parsed) {
                self.stash(arrival, parsed.ty, packet);
            } else {
                self.drop_packet(arrival.now, ty, size, DropReason::KeyUnavailable);
            }
            return Ok(());
        }
        let expected = self.expected(path, space_index(space));
        let Some((pn, header_len)) = self.unprotect_long(packet, &parsed, expected) else {
            self.drop_packet(arrival.now, ty, size, DropReason::Invalid);
            return Ok(());
        };
        let (first, len) = (packet[0], packet.len());
        let Some(keys) = self.long_keys(&parsed) else { return Ok(()) };
        let Some(payload) = keys.packet.open(0, pn, packet, header_len) else {
            self.tell_dropped(arrival.now, ty, size, DropReason::DecryptionFailure);
            return self.keys.on_open_failure();
        };
        if !self.accept_source(&parsed) {
            self.drop_packet(arrival.now, ty, size, DropReason::Rejected);
            return Ok(());
        }
        check_reserved(first & header::LONG_RESERVED)?;
        if parsed.ty == PacketType::ZeroRtt {
            self.stats.zero_rtt_bytes += packet_len(header_len, payload);
        }
        if parsed.ty == PacketType::Handshake && self.ids.side == Side::Server {
            // RFC 9000 section 8.1: only the real owner of the address has Handshake keys.
            self.paths[path].active_mut().ledger.validate();
            // RFC 9001 section 4.9.1.
            self.discard_space(arrival.now, Space::Initial);
        }
        let zero_rtt = parsed.ty == PacketType::ZeroRtt;
        let opened = Opened { space, pn, path, dcid: parsed.dcid, len, zero_rtt, first };
        self.on_packet(arrival, &opened, payload)
    }

    fn unprotect_long(
        &self,
        packet: &mut [u8],
        parsed: &Parsed,
        expected: u64,
    ) -> Option<(u64, usize)> {
        let sample = sample(packet, parsed.pn_offset)?;
        let mask = self.long_keys(parsed)?.header.mask(sample);
        let (len, truncated) = unmask(packet, parsed.pn_offset, mask, header::LONG_PROTECTED);
        Some((pn::decode(truncated, len, expected), parsed.pn_offset + len))
    }

    /// The keys that open a long-header packet.
    fn long_keys(&self, parsed: &Parsed) -> Option<&tquic_crypto::DirectionKeys> {
        let keys = match parsed.ty {
            PacketType::Initial if parsed.version != self.ids.version => {
                &self.keys.initial_original
            }
            PacketType::Initial => &self.keys.initial,
            PacketType::Handshake if parsed.version == self.ids.version => &self.keys.handshake,
            PacketType::ZeroRtt if self.ids.side == Side::Server => {
                return self.keys.zero_rtt.as_deref();
            }
            _ => return None,
        };
        keys.as_ref().map(|k| &k.remote)
    }

    fn has_long_keys(&mut self, parsed: &Parsed) -> bool {
        self.prepare_version(parsed);
        self.long_keys(parsed).is_some()
    }

    fn may_get_keys(&self, parsed: &Parsed) -> bool {
        if self.handshake.is_complete() {
            return false;
        }
        match parsed.ty {
            PacketType::Handshake => self.keys.handshake.is_none(),
            PacketType::ZeroRtt => self.ids.side == Side::Server && !self.handshake.is_started(),
            _ => false,
        }
    }

    /// After a packet authenticated: whether its source fits the handshake (RFC 9000 section 7.2),
    /// and what its version means for a client (RFC 9000 section 5.2.1, RFC 9369 section 4.1).
    fn accept_source(&mut self, parsed: &Parsed) -> bool {
        if self.ids.side == Side::Client {
            // A server's token is meaningless (RFC 9000 section 17.2.2).
            if parsed.ty == PacketType::Initial && parsed.has_token {
                return false;
            }
            // A packet of the original version that comes late changes nothing back.
            if parsed.version != self.ids.version && parsed.version != self.ids.original_version {
                if !self.may_change_version() {
                    return false;
                }
                self.change_version(parsed.version);
            }
            if self.ids.peer.is_none() {
                self.ids.peer = Some(parsed.scid);
                self.paths[0].remote_cids.replace_initial(parsed.scid);
            }
        }
        self.ids.peer == Some(parsed.scid)
    }

    /// Whether a client waits for the server's choice of version. RFC 9369 section 4.1: handshake
    /// bytes in the original version settle it; acknowledgements alone do not, because the server
    /// sends them before it has the whole ClientHello.
    fn may_change_version(&self) -> bool {
        self.ids.side == Side::Client
            && self.ids.version == self.ids.original_version
            && self.keys.initial.is_some()
            && self.keys.handshake.is_none()
            && self.handshake.recv[0].is_untouched()
    }

    /// A client that offered several versions makes the Initial keys of the one that the server
    /// chose, to see whether the packet is genuine.
    fn prepare_version(&mut self, parsed: &Parsed) {
        let other = parsed.ty == PacketType::Initial
            && parsed.version != self.ids.version
            && self.may_change_version()
            && self.config.versions.contains(&parsed.version);
        if other && self.keys.initial_original.is_none() {
            let keys =
                tquic_crypto::initial_keys(parsed.version, &self.ids.initial_dcid, Side::Client);
            self.keys.initial_original = Some(Box::new(keys));
        }
    }

    /// Goes on with another version: Initial keys change now, those of later levels when they come.
    pub(crate) fn change_version(&mut self, version: Version) {
        if version == self.ids.version {
            return;
        }
        let fresh = tquic_crypto::initial_keys(version, &self.ids.initial_dcid, self.ids.side);
        self.keys.initial_original = self.keys.initial.replace(Box::new(fresh));
        self.ids.version = version;
        self.handshake.set_version(version);
    }

    /// The packet number to decode the next one against (RFC 9000 appendix A.3).
    fn expected(&self, path: usize, space: usize) -> u64 {
        self.paths[path].acks[space].expected()
    }

    fn stash(&mut self, arrival: &Arrival, ty: PacketType, packet: &[u8]) {
        let (now, size) = (arrival.now, packet.len());
        if !self.state.is_open() || !self.handshake.stash.keep(arrival, packet) {
            self.drop_packet(now, Some(ty), size, DropReason::KeyUnavailable);
        } else if self.events.trace.wants(Mask::PACKET_BUFFERED) {
            self.events.trace.tell(now, &Event::PacketBuffered { ty, size });
        }
    }

    fn on_unopened(
        &mut self,
        arrival: &Arrival,
        size: usize,
        tail: &[u8; TAG],
    ) -> Result<(), TransportError> {
        if self.on_possible_reset(arrival.now, tail) {
            return Ok(());
        }
        let ty = Some(PacketType::OneRtt);
        self.tell_dropped(arrival.now, ty, size, DropReason::DecryptionFailure);
        self.keys.on_open_failure()
    }

    fn on_short_datagram(&mut self, arrival: &Arrival, datagram: &[u8]) {
        if !self.on_possible_reset(arrival.now, datagram) {
            let ty = Some(PacketType::OneRtt);
            self.drop_packet(arrival.now, ty, datagram.len(), DropReason::Invalid);
        }
    }
}

fn packet_len(header_len: usize, payload: &[u8]) -> u64 {
    (header_len + payload.len() + TAG) as u64
}

/// RFC 9000 section 17.2 and 17.3.1: reserved bits are zero under the protection.
fn check_reserved(bits: u8) -> Result<(), TransportError> {
    if bits == 0 {
        return Ok(());
    }
    Err(TransportError::violation("reserved bits of the header are not zero"))
}
