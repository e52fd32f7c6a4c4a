//! The packets of one space that are neither acknowledged nor lost.
//!
//! A ring in order of packet numbers. Packets that carry only ACK frames are never put in, and
//! losses always form a prefix (they are declared by number and by age, both of which grow along
//! the ring), so the ring holds what is in flight plus what was acknowledged out of order above
//! the oldest packet in flight. Without gaps in the numbers a packet is found at `pn - base`. Gaps
//! cost a binary search rather than memory: a ring with a slot per number grows without limit when
//! one old packet stays in flight while numbers are spent on ACK-only packets.

use crate::cc::{DeliverySnapshot, Ecn};
use crate::recovery::{Token, Tokens};
use crate::time::Instant;
use std::collections::VecDeque;

/// Packets held per space; beyond this nothing new is sent until some are settled. At full size
/// packets this is about 180 MB in flight.
pub const MAX_TRACKED: usize = 1 << 17;

/// A packet as it was sent.
#[derive(Clone, Debug, Default)]
pub struct SentPacket {
    /// When it left.
    pub time_sent: Instant,
    /// Bytes, header and tag included.
    pub size: u16,
    /// Whether the peer must acknowledge it.
    pub ack_eliciting: bool,
    /// Whether it counts towards bytes in flight: it is ack-eliciting or carries PADDING.
    pub in_flight: bool,
    /// Its mark: ECT(0), ECT(1) or none.
    pub ecn: Option<Ecn>,
    /// Whether it probes the path MTU: its loss is no sign of congestion (RFC 9000 section 14.4).
    pub mtu_probe: bool,
    /// How many paths had sent its content before, where everything is sent on every path.
    pub repeats: u8,
    /// What it carried.
    pub tokens: Tokens,
    /// Filled in by [`crate::recovery::Recovery::on_packet_sent`].
    pub snapshot: DeliverySnapshot,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub pn: u64,
    pub packet: SentPacket,
    /// Its content was handed out again for a probe.
    pub probed: bool,
    /// Acknowledged entries from here on without a gap; 0 while outstanding. Never more than there
    /// are, so that walks can jump.
    run: u32,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct SentPackets {
    entries: VecDeque<Entry>,
    ack_eliciting: usize,
}

impl SentPackets {
    /// Puts in a packet with a larger number than all before.
    pub fn push(&mut self, pn: u64, packet: SentPacket) {
        debug_assert!(self.entries.back().is_none_or(|last| last.pn < pn));
        self.ack_eliciting += usize::from(packet.ack_eliciting);
        self.entries.push_back(Entry { pn, packet, probed: false, run: 0 });
    }

    /// Entries held, acknowledged ones above a gap included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Ack-eliciting packets outstanding.
    pub fn ack_eliciting(&self) -> usize {
        self.ack_eliciting
    }

    /// The smallest number held.
    pub fn first_pn(&self) -> Option<u64> {
        self.entries.front().map(|e| e.pn)
    }

    pub fn get(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    /// Marks the outstanding packets in `first..=last` acknowledged, each handed to `f` once, with
    /// whether its content was handed out again before.
    /// Returns where the last of them is, if there were any.
    pub fn ack_range(
        &mut self,
        first: u64,
        last: u64,
        mut f: impl FnMut(u64, &mut SentPacket, bool),
    ) -> Option<usize> {
        let start = self.lower_bound(first);
        let (mut i, mut newest) = (start, None);
        while let Some(entry) = self.entries.get_mut(i) {
            if entry.pn > last {
                break;
            }
            if entry.run > 0 {
                i += entry.run as usize;
                continue;
            }
            entry.run = 1;
            self.ack_eliciting -= usize::from(entry.packet.ack_eliciting);
            f(entry.pn, &mut entry.packet, entry.probed);
            newest = Some(i);
            i += 1;
        }
        // ACK frames name the same numbers again and again: let the next walk jump over them.
        if newest.is_some()
            && let Some(entry) = self.entries.get_mut(start)
        {
            entry.run = u32::try_from(i - start).unwrap_or(u32::MAX);
        }
        newest
    }

    fn lower_bound(&self, pn: u64) -> usize {
        let Some(front) = self.entries.front() else { return 0 };
        let Some(offset) = pn.checked_sub(front.pn) else { return 0 };
        let guess = usize::try_from(offset).unwrap_or(usize::MAX);
        match self.entries.get(guess) {
            Some(entry) if entry.pn == pn => guess,
            _ => self.entries.partition_point(|e| e.pn < pn),
        }
    }

    /// Drops acknowledged entries from the front; true if there were any.
    pub fn pop_acked(&mut self) -> bool {
        let mut any = false;
        while self.entries.front().is_some_and(|e| e.run > 0) {
            self.entries.pop_front();
            any = true;
        }
        any
    }

    /// The oldest packet, once [`Self::pop_acked`] has run.
    pub fn front(&self) -> Option<&Entry> {
        self.entries.front()
    }

    /// Takes the oldest packet out, outstanding or not.
    pub fn pop_front(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        if entry.run == 0 {
            self.ack_eliciting -= usize::from(entry.packet.ack_eliciting);
        }
        Some(entry)
    }

    /// The outstanding packets, oldest first.
    pub fn outstanding(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().filter(|e| e.run == 0)
    }

    /// Those with this number or a larger one.
    pub fn outstanding_from(&self, pn: u64) -> impl Iterator<Item = &Entry> {
        self.entries.range(self.lower_bound(pn)..).filter(|e| e.run == 0)
    }

    /// The same, to be changed.
    pub fn outstanding_from_mut(&mut self, pn: u64) -> impl Iterator<Item = &mut Entry> {
        let start = self.lower_bound(pn);
        self.entries.range_mut(start..).filter(|e| e.run == 0)
    }

    /// Bytes in flight, summed up.
    pub fn bytes_in_flight(&self) -> u64 {
        let counted = self.entries.iter().filter(|e| e.run == 0 && e.packet.in_flight);
        counted.map(|e| u64::from(e.packet.size)).sum()
    }

    /// Forgets all packets and gives their memory back; returns the bytes they had in flight.
    pub fn clear(&mut self) -> u64 {
        let bytes = self.outstanding().filter(|e| e.packet.in_flight);
        let bytes = bytes.map(|e| u64::from(e.packet.size)).sum();
        *self = Self::default();
        bytes
    }

    /// Gives memory back that is not in use.
    pub fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }
}

impl Entry {
    /// Whether another packet may carry what this one does, and none does yet.
    pub fn is_useful(&self) -> bool {
        self.packet.ack_eliciting && !self.probed && self.resendable().next().is_some()
    }

    /// What another packet may carry.
    pub fn resendable(&self) -> impl Iterator<Item = &Token> {
        self.packet.tokens.iter().filter(|token| is_resendable(token))
    }

    /// Whether losing this packet must hand out `token`: what a probe carries already is not
    /// handed out twice.
    pub fn owes(&self, token: &Token) -> bool {
        !(self.probed && is_resendable(token))
    }
}

/// Whether a probe may carry the information again.
fn is_resendable(token: &Token) -> bool {
    !matches!(token, Token::Ack { .. } | Token::Datagram | Token::MtuProbe(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn packet(tag: u16) -> SentPacket {
        SentPacket { size: tag, ack_eliciting: true, in_flight: true, ..SentPacket::default() }
    }

    #[test]
    fn acknowledged_runs_are_walked_once() {
        let mut sent = SentPackets::default();
        for pn in 0..1000 {
            sent.push(pn, packet(1));
        }
        for last in (1..1000).step_by(2) {
            let mut seen = 0;
            sent.ack_range(1, last, |_, _, _| seen += 1);
            assert!(seen <= 2);
            assert_eq!(sent.entries[1].run as u64, last);
        }
        sent.ack_range(0, 999, |_, _, _| ());
        assert!(sent.pop_acked());
        assert_eq!((sent.len(), sent.ack_eliciting()), (0, 0));
    }

    #[test]
    fn gaps_in_numbers_cost_no_memory() {
        let mut sent = SentPackets::default();
        for i in 0..100 {
            sent.push(i * 1_000_000, packet(1));
        }
        assert_eq!(sent.len(), 100);
        let mut seen = 0;
        sent.ack_range(5_000_000, 7_999_999, |_, _, _| seen += 1);
        assert_eq!(seen, 3);
    }

    proptest! {
        #[test]
        fn matches_a_map(
            gaps in proptest::collection::vec(1u64..4, 1..80),
            ops in proptest::collection::vec((0u64..200, 0u64..60, any::<bool>()), 0..60),
        ) {
            let mut sent = SentPackets::default();
            let mut model = BTreeMap::new();
            let mut pn = 0;
            for (i, gap) in gaps.iter().enumerate() {
                pn += gap;
                sent.push(pn, packet(i as u16));
                model.insert(pn, i as u16);
            }
            for (first, len, drop_front) in ops {
                let mut acked = Vec::new();
                let newest = sent.ack_range(first, first + len, |_, p, _| acked.push(p.size));
                let expected: Vec<u16> = model.range(first..=first + len).map(|e| *e.1).collect();
                prop_assert_eq!(&acked, &expected);
                let newest = newest.and_then(|i| sent.get(i)).map(|e| e.packet.size);
                prop_assert_eq!(newest, expected.last().copied());
                model.retain(|pn, _| !(first..=first + len).contains(pn));
                sent.pop_acked();
                if drop_front {
                    let popped = sent.pop_front().map(|e| e.pn);
                    prop_assert_eq!(popped, model.pop_first().map(|e| e.0));
                }
                prop_assert_eq!(sent.ack_eliciting(), model.len());
                let left: Vec<u64> = sent.outstanding().map(|e| e.pn).collect();
                prop_assert_eq!(left, model.keys().copied().collect::<Vec<_>>());
            }
        }
    }
}
