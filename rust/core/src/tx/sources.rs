//! Who may write into a packet, in order.

use tquic_wire::{Frame, PacketType, Space};

use crate::connection::{Connection, space_index};
use crate::path::mtu;
use crate::stream::StreamChunk;
use crate::time::Instant;
use crate::tx::FrameWriter;

/// Ranges in an ACK frame above which the peer is asked to acknowledge the frame.
const MANY_RANGES: usize = 8;

/// What a packet may carry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    /// Whether the window lets ack-eliciting frames go.
    pub(super) eliciting: bool,
    /// Whether stream data that fills the packet may be left to the sealing pass.
    pub(super) scatter: bool,
}

impl Connection {
    /// Whether an acknowledgement is due in `space`.
    pub(super) fn ack_due(&self, now: Instant, path: usize, space: Space) -> bool {
        self.paths[path].acks[space_index(space)].ack_due(now)
    }

    /// Whether there is anything ack-eliciting to put into a 1-RTT (or 0-RTT) packet.
    pub(super) fn has_content(&self, now: Instant, path: usize, ty: PacketType) -> bool {
        if self.streams.has_data() || self.streams.has_control() || self.datagrams.has_data() {
            return true;
        }
        if ty == PacketType::ZeroRtt {
            return false;
        }
        let path = &self.paths[path];
        self.control.has_pending()
            || self.control.echo.has_pending()
            || self.handshake.send[2].has_pending()
            || path.local_cids.has_pending()
            || path.remote_cids.has_pending()
            || path.active().challenges.owes()
            || path.active().challenges.is_due(now)
    }

    /// Writes Initial or Handshake frames.
    pub(super) fn write_handshake(
        &mut self,
        now: Instant,
        path: usize,
        space: Space,
        eliciting: bool,
        fw: &mut FrameWriter<'_>,
    ) {
        let at = space_index(space);
        self.write_ack(now, path, space, fw);
        if eliciting {
            self.handshake.send[at].write(fw);
        }
        if self.paths[path].probes[at] > 0 && !fw.is_ack_eliciting() {
            fw.frame(&Frame::Ping, None);
        }
    }

    /// Writes an ACK frame if packets wait for one: alone when due, in passing when not.
    fn write_ack(&mut self, now: Instant, path: usize, space: Space, fw: &mut FrameWriter<'_>) {
        // RFC 9000 section 18.2: ours is the default exponent of 3, told by saying nothing.
        const EXPONENT: u64 = 3;
        let acks = &mut self.paths[path].acks[space_index(space)];
        if acks.has_news() && acks.write(now, fw, EXPONENT) {
            self.stats.acks_sent += 1;
            // RFC 9000 section 13.2.4: a pure receiver is never acknowledged, so now and then it
            // asks, or the ranges it reports would only grow.
            if acks.ranges().len() > MANY_RANGES && self.stats.acks_sent.is_multiple_of(16) {
                self.control.ping();
            }
        }
    }

    /// Writes 1-RTT or 0-RTT frames. A returned chunk fills the packet to its end: its header is
    /// written, its bytes are left to the sealing pass.
    pub(super) fn write_data(
        &mut self,
        now: Instant,
        path: usize,
        ty: PacketType,
        allowed: Allowed,
        fw: &mut FrameWriter<'_>,
    ) -> Option<StreamChunk> {
        if ty == PacketType::OneRtt {
            // The first packet to a new address carries the challenge (RFC 9000 section 9.3).
            self.write_validation(now, path, fw);
            self.write_ack(now, path, Space::Data, fw);
        }
        if !allowed.eliciting {
            return None;
        }
        if ty == PacketType::OneRtt {
            self.handshake.send[2].write(fw);
            self.control.write(fw);
            let path = &mut self.paths[path];
            path.local_cids.write(fw);
            path.remote_cids.write(fw);
        }
        self.streams.write_control(fw, now);
        while self.datagrams.has_data() && self.datagrams.write_frame(fw) {}
        let tail = self.write_streams(allowed.scatter, fw);
        if ty == PacketType::OneRtt && tail.is_none() {
            let last = !self.streams.has_data();
            self.control.echo.write(now, fw, self.peer.min_ack_delay.is_some(), last);
        }
        if self.paths[path].probes[2] > 0 && !fw.is_ack_eliciting() {
            fw.frame(&Frame::Ping, None);
        }
        tail
    }

    fn write_streams(&mut self, scatter: bool, fw: &mut FrameWriter<'_>) -> Option<StreamChunk> {
        if !scatter {
            while self.streams.has_data() && self.streams.write_frame(fw) {}
            return None;
        }
        while self.streams.has_data() {
            let chunk = self.streams.next_frame(fw.remaining())?;
            chunk.write_header(fw);
            if chunk.to_end {
                return Some(chunk);
            }
            let (first, second) = self.streams.data(&chunk);
            fw.raw().bytes(first);
            fw.raw().bytes(second);
        }
        None
    }

    /// PATH_CHALLENGE and PATH_RESPONSE of the active 4-tuple.
    fn write_validation(&mut self, now: Instant, path: usize, fw: &mut FrameWriter<'_>) {
        let delay = self.peer_max_ack_delay();
        let path = &mut self.paths[path];
        let (interval, _) = path.challenge_times(delay);
        let active = path.active_mut();
        if active.challenges.is_due(now) && fw.remaining() >= 9 {
            let full = active.ledger.allowance() >= u64::from(mtu::BASE);
            let data = active.challenges.send(now, interval, full, &mut self.rng);
            fw.frame(&Frame::PathChallenge(data), None);
        }
        while fw.remaining() >= 9 {
            let Some(data) = active.challenges.next_owed() else { break };
            fw.frame(&Frame::PathResponse(data), None);
            self.stats.challenges_answered += 1;
        }
    }
}
