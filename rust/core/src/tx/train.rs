//! Trains of 1-RTT packets: the way of bulk data. The first packet goes the full way; those after it
//! check the window and continue.

use tquic_wire::{PacketType, Space};

use crate::connection::Connection;
use crate::error::{TransportError, TransportErrorCode};
use crate::path::{Ecn, amplification, mtu};
use crate::stream::StreamChunk;
use crate::time::Instant;
use crate::tx::Transmit;
use crate::tx::packet::{Draft, SentOptions};
use crate::tx::sources::Allowed;

/// Packets of a train at most: what UDP GSO takes in one call.
const MAX_SEGMENTS: u32 = 64;
/// Bytes of a train at most: an IP packet's length field has 16 bits.
const MAX_TRAIN: usize = 65_507;

/// What a train may still use.
struct Budget {
    /// Of the congestion window and the pacer.
    window: u64,
    /// Of the anti-amplification limit.
    allowance: u64,
    /// The mark of all its packets: one GSO send has one.
    mark: Option<Ecn>,
}

impl Connection {
    pub(super) fn transmit_train(
        &mut self,
        now: Instant,
        path: usize,
        buf: &mut [u8],
    ) -> Option<Transmit> {
        self.keys.one_rtt.as_ref()?;
        let content = self.has_content(now, path, PacketType::OneRtt);
        let probing = self.paths[path].probes[2] > 0;
        if !content && !probing && !self.ack_due(now, path, Space::Data) {
            self.paths[path].recovery.on_out_of_data(now);
            return None;
        }
        if !self.keys_usable(now) {
            return None;
        }
        let mut budget = self.train_budget(now, path, content);
        let active = self.paths[path].active();
        let addresses = active.addresses;
        // Before validation the timers know the limit in units of the base size.
        let most = if active.ledger.is_validated() { u16::MAX } else { mtu::BASE };
        let mut segment = usize::from(active.mtu.current().min(most));
        let room = buf.len().min(MAX_TRAIN);
        let dcid = self.paths[path].remote_cids.cid(active.remote_cid)?;
        let (mut len, mut packets) = (0, 0_u32);
        while len + segment <= room && packets < MAX_SEGMENTS {
            let packet = &mut buf[len..len + segment];
            let Some(size) = self.train_packet(now, path, &dcid, packet, &mut budget) else {
                break;
            };
            len += size;
            packets += 1;
            if packets == 1 && self.may_shorten(now, path) {
                // Unreliable datagrams of one length fill all packets alike, if not to the brim.
                segment = size;
            }
            // The kernel cuts a train into equal datagrams: a short one ends it.
            if size < segment {
                break;
            }
        }
        if packets == 0 {
            return None;
        }
        if content {
            self.on_train(now, path, len);
        }
        let first_len = segment.min(len);
        self.mask_train(&mut buf[..len], first_len, 1 + dcid.len());
        let active = self.paths[path].active_mut();
        active.ledger.on_sent(len as u64);
        active.ecn.on_sent(budget.mark, packets);
        Some(Transmit { addresses, ecn: budget.mark, segment: first_len, len })
    }

    /// Whether the packets of a train may all be as short as its first: more datagrams wait, and
    /// nothing that needs a long packet does.
    fn may_shorten(&self, now: Instant, path: usize) -> bool {
        self.datagrams.has_data()
            && self.paths[path].probes[2] == 0
            && !self.must_validate(now, path)
    }

    /// Writes one packet; `None` if there is nothing (more) to put into it.
    fn train_packet(
        &mut self,
        now: Instant,
        path: usize,
        dcid: &tquic_wire::ConnectionId,
        buf: &mut [u8],
        budget: &mut Budget,
    ) -> Option<usize> {
        let segment = buf.len() as u64;
        let probing = self.paths[path].probes[2] > 0;
        let eliciting = (budget.window >= segment || probing) && budget.allowance >= segment;
        let content = eliciting && (probing || self.has_content(now, path, PacketType::OneRtt));
        let ack = self.ack_due(now, path, Space::Data) && budget.allowance >= amplification::LEAST;
        if !content && !ack && !self.must_validate(now, path) {
            return None;
        }
        let limit = buf.len().min(usize::try_from(budget.allowance).unwrap_or(usize::MAX));
        let buf = &mut buf[..limit];
        let mut draft = self.begin(path, PacketType::OneRtt, dcid, buf)?;
        let validating = self.paths[path].active().challenges.is_due(now)
            || self.paths[path].active().challenges.owes();
        let allowed = Allowed { eliciting, scatter: true };
        let tail =
            draft.frames(buf, |fw| self.write_data(now, path, PacketType::OneRtt, allowed, fw));
        if draft.is_empty() {
            return None;
        }
        if validating && tail.is_none() && budget.allowance >= u64::from(mtu::BASE) {
            // RFC 9000 section 8.2.1: to at least 1200 bytes.
            draft.pad_to(buf, usize::from(mtu::BASE) - super::packet::TAG);
        }
        if tail.is_none() {
            draft.pad_for_sample(buf);
        }
        let size = self.finish_train_packet(now, path, &mut draft, tail.as_ref(), buf);
        let options = SentOptions { ecn: budget.mark, mtu_probe: false };
        let flight = self.on_sent(now, path, draft, size, options);
        budget.window = budget.window.saturating_sub(flight);
        budget.allowance = budget.allowance.saturating_sub(size as u64);
        Some(size)
    }

    /// Seals a packet, with the stream bytes that fill it straight from the application's buffer.
    fn finish_train_packet(
        &mut self,
        now: Instant,
        path: usize,
        draft: &mut Draft,
        tail: Option<&StreamChunk>,
        buf: &mut [u8],
    ) -> usize {
        self.tell_sent(now, path, draft, &buf[..draft.len], tail.map_or(0, |chunk| chunk.len));
        let id = self.paths[path].id;
        let (mut bytes, second): (&[u8], &[u8]) = match tail {
            Some(chunk) => self.streams.data(chunk),
            None => (&[], &[]),
        };
        if !second.is_empty() {
            // The chunk straddles two of the application's buffers: rare enough to copy.
            let (at, all) = (draft.len, bytes.len() + second.len());
            buf[at..at + bytes.len()].copy_from_slice(bytes);
            buf[at + bytes.len()..at + all].copy_from_slice(second);
            draft.len += all;
            bytes = &[];
        }
        let size = draft.sealed_len(bytes.len());
        if let Some(keys) = &mut self.keys.one_rtt {
            keys.seal_key().seal(id, draft.pn, &mut buf[..size], draft.header_len, bytes);
            keys.on_sealed(id, draft.pn);
        }
        size
    }

    fn must_validate(&self, now: Instant, path: usize) -> bool {
        let active = self.paths[path].active();
        (active.challenges.is_due(now) || active.challenges.owes()) && !active.ledger.is_blocked()
    }

    fn train_budget(&mut self, now: Instant, path: usize, content: bool) -> Budget {
        let active = self.paths[path].active();
        let allowance = active.ledger.allowance();
        let mark = active.ecn.mark(self.paths[path].recovery.ect());
        if !content {
            return Budget { window: 0, allowance, mark };
        }
        let budget = self.paths[path].recovery.budget(now);
        self.timers.pacing = match (self.timers.pacing, budget.next_release) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Budget { window: budget.bytes, allowance, mark }
    }

    /// Updates keys that have sealed enough packets; false if they must seal no more.
    fn keys_usable(&mut self, now: Instant) -> bool {
        let confirmed = self.handshake.is_confirmed();
        let Some(keys) = &mut self.keys.one_rtt else { return false };
        if confirmed && keys.wants_update() {
            keys.update(now);
        }
        if keys.is_exhausted() {
            self.fail(
                now,
                TransportError::new(
                    TransportErrorCode::AEAD_LIMIT_REACHED,
                    "the packet keys have sealed as much as is safe",
                ),
            );
            return false;
        }
        true
    }
}
