//! Packets on their way out, told before they are sealed: then their frames can still be read.

use tquic_wire::{PacketType, header};

use super::{Event, Mask, Packet};
use crate::Connection;
use crate::recovery::Token;
use crate::time::Instant;
use crate::tx::Draft;

impl Connection {
    /// A packet is about to be sealed: `plain` is its header, not yet hidden, and its frames; `tail`
    /// bytes of stream data follow.
    #[inline(always)]
    pub(crate) fn tell_sent(
        &mut self,
        now: Instant,
        path: usize,
        draft: &Draft,
        plain: &[u8],
        tail: usize,
    ) {
        if self.events.trace.wants(Mask::PACKET_SENT | Mask::DATA_MOVED) {
            self.describe_sent(now, path, draft, plain, tail);
        }
    }

    #[cold]
    fn describe_sent(
        &mut self,
        now: Instant,
        path: usize,
        draft: &Draft,
        plain: &[u8],
        tail: usize,
    ) {
        let path = &self.paths[path];
        let size = draft.sealed_len(tail);
        let first = plain.first().copied().unwrap_or_default();
        let long = (draft.ty != PacketType::OneRtt).then(|| {
            let version = match draft.ty {
                PacketType::ZeroRtt => self.ids.original_version,
                _ => self.ids.version,
            };
            let dcid = path.remote_cids.cid(path.active().remote_cid).unwrap_or_default();
            (version, self.ids.local, dcid)
        });
        let recovery = &path.recovery;
        let in_flight = draft.ack_eliciting || draft.padded;
        let event = Event::PacketSent {
            packet: Packet {
                ty: draft.ty,
                pn: draft.pn,
                size,
                path: path.id,
                key_phase: long.is_none().then_some(first & header::KEY_PHASE != 0),
                long,
                payload: plain.get(draft.header_len..).unwrap_or_default(),
                tail,
            },
            mtu_probe: draft.tokens.iter().any(|t| matches!(t, Token::MtuProbe(_))),
            bytes_in_flight: recovery.bytes_in_flight() + if in_flight { size as u64 } else { 0 },
            cwnd: recovery.cwnd(),
        };
        self.events.trace.tell(now, &event);
    }
}
