//! Who may write into a packet, in order.

use tquic_wire::{Frame, PacketType, Space};

use crate::connection::{Connection, space_index};
use crate::multipath::Order;
use crate::path::{Path, PathLabel, mtu};
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
        if self.paths.len() == 1 {
            return self.paths[path].acks[space_index(space)].ack_due(now);
        }
        let due = |at: usize| self.paths[at].acks[space_index(space)].ack_due(now);
        (!self.acks_elsewhere(path) && due(path)) || self.stranded_acks(path).into_iter().any(due)
    }

    /// Paths whose acknowledgements this one carries.
    fn stranded_acks(&self, path: usize) -> Order {
        if !self.paths[path].standing.serves {
            return Order::new();
        }
        (0..self.paths.len()).filter(|at| *at != path && self.acks_elsewhere(*at)).collect()
    }

    /// Whether there is anything ack-eliciting to put into a 1-RTT (or 0-RTT) packet.
    pub(super) fn has_content(&self, now: Instant, path: usize, ty: PacketType) -> bool {
        let path = &self.paths[path];
        if path.standing.serves {
            if self.streams.has_data() || self.streams.has_control() || self.datagrams.has_data() {
                return true;
            }
            if ty == PacketType::ZeroRtt {
                return false;
            }
            if self.control.has_pending()
                || self.control.echo.has_pending()
                || self.handshake.send[2].has_pending()
                || self.has_path_control()
            {
                return true;
            }
        }
        path.active().challenges.owes() || path.active().challenges.is_due(now)
    }

    /// Whether there is anything to tell about paths and their connection IDs.
    fn has_path_control(&self) -> bool {
        let pending = |p: &Path| {
            p.local_cids.has_pending() || p.remote_cids.has_pending() || p.standing.has_pending()
        };
        self.paths.iter().any(|p| p.standing.may_send() && pending(p))
            || self.multipath.as_ref().is_some_and(|m| m.has_pending())
    }

    fn write_path_control(&mut self, fw: &mut FrameWriter<'_>) {
        let told = self.multipath.is_some();
        for path in self.paths.iter_mut().filter(|p| p.standing.may_send()) {
            let label = PathLabel { id: path.id, told };
            path.local_cids.write(label, fw);
            path.remote_cids.write(label, fw);
            path.standing.write(path.id, fw);
        }
        if let Some(multipath) = &mut self.multipath {
            multipath.write(fw);
        }
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
        let mut label = self.label(path);
        label.told &= space == Space::Data;
        let acks = &mut self.paths[path].acks[space_index(space)];
        if acks.has_news() && acks.write(now, fw, EXPONENT, label) {
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
            if !self.acks_elsewhere(path) {
                self.write_ack(now, path, Space::Data, fw);
            }
            if self.paths.len() > 1 {
                for stranded in self.stranded_acks(path) {
                    self.write_ack(now, stranded, Space::Data, fw);
                }
            }
        }
        if !allowed.eliciting {
            return None;
        }
        let serves = self.paths[path].standing.serves;
        let tail = if serves { self.write_content(now, ty, allowed, fw) } else { None };
        if self.paths[path].probes[2] > 0 && !fw.is_ack_eliciting() {
            fw.frame(&Frame::Ping, None);
        }
        tail
    }

    /// What belongs to no path.
    fn write_content(
        &mut self,
        now: Instant,
        ty: PacketType,
        allowed: Allowed,
        fw: &mut FrameWriter<'_>,
    ) -> Option<StreamChunk> {
        if ty == PacketType::OneRtt {
            self.handshake.send[2].write(fw);
            self.control.write(fw);
            self.write_path_control(fw);
        }
        self.streams.write_control(fw, now);
        while self.datagrams.has_data() && self.datagrams.write_frame(fw) {}
        let tail = self.write_streams(allowed.scatter, fw);
        if ty == PacketType::OneRtt && tail.is_none() {
            let last = !self.streams.has_data();
            self.control.echo.write(now, fw, self.peer.min_ack_delay.is_some(), last);
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
        let challenges = &self.paths[path].active().challenges;
        if !challenges.is_due(now) && !challenges.owes() {
            return;
        }
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
