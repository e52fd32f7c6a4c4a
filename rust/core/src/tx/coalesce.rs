//! Datagrams of the handshake: packets of several encryption levels in one (RFC 9000 section 12.2).

use smallvec::SmallVec;
use tquic_wire::{PacketType, Side, Space, header};

use crate::connection::{Connection, space_index};
use crate::path::{Ecn, mtu};
use crate::time::Instant;
use crate::tx::Transmit;
use crate::tx::packet::{Draft, SentOptions, TAG};
use crate::tx::sources::Allowed;

/// A packet of the datagram, and where it begins.
struct Placed {
    start: usize,
    draft: Draft,
}

impl Connection {
    /// The next datagram with Initial, 0-RTT or Handshake packets, if one is called for.
    pub(super) fn transmit_coalesced(
        &mut self,
        now: Instant,
        path: usize,
        buf: &mut [u8],
    ) -> Option<Transmit> {
        if path != 0 || !self.wants_handshake(now) {
            return None;
        }
        let active = self.paths[0].active();
        // RFC 9000 section 14.1: 1200 bytes until the path is known to carry more.
        let size = usize::from(mtu::BASE).min(buf.len());
        // A server must pad what elicits acknowledgements: below 1200 it cannot go on.
        if active.ledger.allowance() < size as u64 {
            return None;
        }
        let mark = active.ecn.mark(self.paths[0].recovery.ect());
        let addresses = active.addresses;
        let buf = &mut buf[..size];
        let mut packets = self.write_levels(now, buf);
        let last = packets.last()?;
        let mut len = last.start + last.draft.sealed_len(0);
        if self.needs_padding(&packets)
            && let Some(last) = packets.last_mut()
        {
            last.draft.pad_to(&mut buf[last.start..], size - last.start - TAG);
            len = size;
        }
        let count = packets.len() as u32;
        self.seal_levels(now, packets, buf, mark);
        let active = self.paths[0].active_mut();
        active.ledger.on_sent(len as u64);
        active.ecn.on_sent(mark, count);
        Some(Transmit { addresses, ecn: mark, segment: len, len })
    }

    fn wants_handshake(&self, now: Instant) -> bool {
        self.wants_level(now, PacketType::Initial)
            || self.wants_level(now, PacketType::Handshake)
            || self.wants_level(now, PacketType::ZeroRtt)
    }

    fn wants_level(&self, now: Instant, ty: PacketType) -> bool {
        let (keys, space) = match ty {
            PacketType::Initial => (self.keys.initial.is_some(), Space::Initial),
            PacketType::Handshake => (self.keys.handshake.is_some(), Space::Handshake),
            PacketType::ZeroRtt => {
                let keys = self.ids.side == Side::Client
                    && self.keys.zero_rtt.is_some()
                    && self.keys.one_rtt.is_none();
                return keys && self.may_send_content(now, ty);
            }
            _ => {
                return self.keys.one_rtt.is_some()
                    && (self.ack_due(now, 0, Space::Data) || self.may_send_content(now, ty));
            }
        };
        let at = space_index(space);
        keys && (self.ack_due(now, 0, space)
            || self.paths[0].probes[at] > 0
            || (self.handshake.send[at].has_pending() && self.window_open(space)))
    }

    fn may_send_content(&self, now: Instant, ty: PacketType) -> bool {
        self.paths[0].probes[2] > 0
            || (self.has_content(now, 0, ty) && self.window_open(Space::Data))
    }

    /// The window has room for a datagram with packets of `space`. Not paced: a flight is few
    /// datagrams. What is in flight in later spaces does not count: the peer cannot acknowledge it
    /// without the data of this one, and for application data there is not even a probe timeout
    /// before the handshake is confirmed (RFC 9002 section 6.2.1), so it would hold its own key up.
    fn window_open(&self, space: Space) -> bool {
        let recovery = &self.paths[0].recovery;
        recovery.cwnd() >= recovery.bytes_in_flight_up_to(space) + u64::from(mtu::BASE)
    }

    fn write_levels(&mut self, now: Instant, buf: &mut [u8]) -> SmallVec<[Placed; 4]> {
        const LEVELS: [PacketType; 4] =
            [PacketType::Initial, PacketType::ZeroRtt, PacketType::Handshake, PacketType::OneRtt];
        let mut placed: SmallVec<[Placed; 4]> = SmallVec::new();
        let mut start = 0;
        for ty in LEVELS {
            if !self.wants_level(now, ty) {
                continue;
            }
            self.refill_probe(now, ty);
            let active = self.paths[0].active();
            let Some(dcid) = self.paths[0].remote_cids.cid(active.remote_cid) else { break };
            let room = &mut buf[start..];
            let Some(mut draft) = self.begin(0, ty, &dcid, room) else { break };
            let space = draft.space();
            let eliciting = self.window_open(space) || self.paths[0].probes[space_index(space)] > 0;
            draft.frames(room, |fw| match ty {
                PacketType::Initial | PacketType::Handshake => {
                    self.write_handshake(now, 0, space, eliciting, fw);
                }
                _ => {
                    let allowed = Allowed { eliciting, scatter: false };
                    self.write_data(now, 0, ty, allowed, fw);
                }
            });
            if draft.is_empty() {
                continue;
            }
            draft.pad_for_sample(room);
            let next = start + draft.sealed_len(0);
            placed.push(Placed { start, draft });
            start = next;
        }
        placed
    }

    /// RFC 9002 section 6.2.4: every probe should carry data. The second of two, whose like the first
    /// has just taken, carries it again: one may get lost, and some servers refuse a first Initial
    /// packet without CRYPTO frames.
    fn refill_probe(&mut self, now: Instant, ty: PacketType) {
        let space = match ty {
            PacketType::Initial => Space::Initial,
            PacketType::Handshake => Space::Handshake,
            _ => return,
        };
        let at = space_index(space);
        if self.paths[0].probes[at] > 0 && !self.handshake.send[at].has_pending() {
            let (recovery, mut router) = self.recovery_and_router(now, 0);
            recovery.probe_tokens(space, &mut router);
        }
    }

    /// RFC 9000 section 14.1, RFC 9001 section 9.3: a client pads every datagram with an Initial packet, a server those
    /// whose Initial packet is ack-eliciting.
    fn needs_padding(&self, packets: &[Placed]) -> bool {
        packets.iter().any(|p| {
            p.draft.ty == PacketType::Initial
                && (self.ids.side == Side::Client || p.draft.ack_eliciting)
        })
    }

    fn seal_levels(
        &mut self,
        now: Instant,
        packets: SmallVec<[Placed; 4]>,
        buf: &mut [u8],
        ecn: Option<Ecn>,
    ) {
        let mut sent_handshake = false;
        for Placed { start, draft } in packets {
            let size = draft.sealed_len(0);
            let packet = &mut buf[start..start + size];
            if draft.ty == PacketType::OneRtt {
                self.seal_short(now, 0, &draft, packet);
                self.mask_train(packet, size, draft.pn_offset);
            } else {
                self.seal_long(now, &draft, packet);
            }
            debug_assert!(header::is_long(packet[0]) == (draft.ty != PacketType::OneRtt));
            sent_handshake |= draft.ty == PacketType::Handshake;
            self.on_sent(now, 0, draft, size, SentOptions { ecn, mtu_probe: false });
        }
        if sent_handshake && self.ids.side == Side::Client {
            // RFC 9001 section 4.9.1.
            self.discard_space(now, Space::Initial);
        }
    }
}
