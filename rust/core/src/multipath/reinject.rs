//! Data that is under way on one path is sent on another as well, where that brings it sooner.
//!
//! - When nothing new is left to send: the end of a transfer, and what a full receive window waits
//!   for, else take the slow path's round trip (opportunistic retransmission, as in Multipath TCP).
//! - When it has been under way for longer than a deadline.
//! - Always, with the scheduler `redundant`.

use tquic_wire::Space;

use crate::connection::Connection;
use crate::multipath::Order;
use crate::path::{Path, Stage};
use crate::time::Instant;
use crate::trace::Reason;
use crate::tx::Transmit;

/// Packets that are taken over at a time.
const PACKETS: usize = 32;
/// Of the bytes sent, one in so many may be a repetition.
pub(super) const SHARE: u64 = 20;

impl Connection {
    /// Gives the best path, if it has room, something that a slower one has sent and that would
    /// arrive later there. Answers the path's index if there is anything for it now.
    pub(crate) fn reinject(&mut self, now: Instant, order: &Order) -> Option<usize> {
        let best = *order.first()?;
        if !self.paths[best].standing.serves || !self.has_room(now, best) {
            return None;
        }
        if self.streams.is_blocked()
            && let Some(multipath) = &mut self.multipath
        {
            multipath.held.blest.on_blocked();
        }
        let arrives = now + self.paths[best].recovery.rtt().smoothed();
        let slow = order.iter().copied().find(|&at| {
            let path = &self.paths[at];
            let sent = path.recovery.newest_outstanding(Space::Data);
            let late = sent.is_some_and(|sent| sent + path.recovery.rtt().smoothed() > arrives);
            let fresh = path.recovery.next_pn(Space::Data) != path.standing.handed_over;
            at != best && path.standing.stage == Stage::Open && late && fresh
        })?;
        let packets = self.reinjections(best)?;
        let (recovery, mut router) = self.recovery_and_router(now, slow);
        let taken = recovery.hand_over_some(Space::Data, packets, &mut router);
        if taken == 0 {
            // All of it has been. Not to be looked for again before there is more.
            let sent = recovery.next_pn(Space::Data);
            self.paths[slow].standing.handed_over = sent;
            return None;
        }
        self.count_reinjected(best, taken);
        Some(best)
    }

    /// The same for what has been under way for longer than the deadline.
    pub(crate) fn reinject_late(&mut self, now: Instant, order: &Order) -> Option<usize> {
        let deadline = self.config.reinject_after?;
        self.multipath.as_mut()?.reinjection_looked = Some(now);
        let late = |sent: Instant| sent + deadline <= now;
        let has_late = |path: &Path| {
            let sent = path.recovery.oldest_not_handed_over(Space::Data);
            path.standing.stage == Stage::Open && sent.is_some_and(late)
        };
        let slow = order.iter().copied().find(|at| has_late(&self.paths[*at]))?;
        let serves = |at: &usize| *at != slow && self.paths[*at].standing.serves;
        let others: Order = order.iter().copied().filter(serves).collect();
        let best = others.into_iter().find(|at| self.has_room(now, *at))?;
        let packets = self.reinjections(best)?;
        let (recovery, mut router) = self.recovery_and_router(now, slow);
        let taken = recovery.hand_over_late(late, packets, &mut router);
        self.count_reinjected(best, taken);
        (taken > 0).then_some(best)
    }

    /// When the next of it is late. Only asked for where there is a deadline.
    pub(crate) fn reinjection_timeout(&self) -> Option<Instant> {
        let deadline = self.config.reinject_after?;
        // Where everything is repeated, nothing is late.
        if self.paths.len() < 2 || self.is_redundant() {
            return None;
        }
        let open = self.paths.iter().filter(|p| p.standing.stage == Stage::Open);
        let oldest = open.filter_map(|p| p.recovery.oldest_not_handed_over(Space::Data)).min()?;
        // Later than that it waits for room or for its share, not for time.
        let due = oldest + deadline;
        self.multipath.as_ref().filter(|m| m.reinjection_looked.is_none_or(|at| at < due))?;
        Some(due)
    }

    /// Packets that may be repeated on a path now, at least one.
    fn reinjections(&self, path: usize) -> Option<usize> {
        let size = u64::from(self.paths[path].active().mtu.current()).max(1);
        let allowed = (self.stats.bytes_sent / SHARE)
            .saturating_sub(self.multipath.as_ref()?.reinjected)
            .min(PACKETS as u64 * size);
        usize::try_from(allowed / size).ok().filter(|packets| *packets > 0)
    }

    fn count_reinjected(&mut self, path: usize, packets: usize) {
        self.on_reinjected(packets as u64 * u64::from(self.paths[path].active().mtu.current()));
    }

    /// So many bytes were sent on a second path.
    pub(super) fn on_reinjected(&mut self, bytes: u64) {
        self.stats.reinjected_bytes += bytes;
        if let Some(multipath) = &mut self.multipath {
            multipath.reinjected += bytes;
        }
    }

    /// The next train where everything is sent on every path: the first path brings what is new, the
    /// others repeat that, and bring what is new themselves when nothing is left to repeat
    /// (Froemmgen, Erbshaeusser, Buchmann, Zimmermann, Wehrle: ReMP TCP, ICC 2016).
    pub(crate) fn transmit_redundant(
        &mut self,
        now: Instant,
        order: &Order,
        buf: &mut [u8],
    ) -> Option<Transmit> {
        let (&first, others) = order.split_first()?;
        if let Some(sent) = self.transmit_on(now, first, Reason::Best, buf) {
            return Some(sent);
        }
        for &path in others {
            if let Some(sent) = self.repeat(now, path, buf) {
                return Some(sent);
            }
            if let Some(sent) = self.transmit_on(now, path, Reason::Spill, buf) {
                return Some(sent);
            }
        }
        self.repeat(now, first, buf)
    }

    /// A train with what the path before this one, in a ring of all that serve, has under way. Once
    /// around the ring everything has been everywhere.
    fn repeat(&mut self, now: Instant, path: usize, buf: &mut [u8]) -> Option<Transmit> {
        if !self.paths[path].standing.serves || !self.has_room(now, path) {
            return None;
        }
        let serves = |at: &usize| self.paths[*at].standing.serves;
        let ring: Order = (0..self.paths.len()).filter(serves).collect();
        let place = ring.iter().position(|at| *at == path)?;
        let before = *ring.get((place + ring.len() - 1) % ring.len())?;
        let rounds = u8::try_from(ring.len() - 1).unwrap_or(u8::MAX);
        let room = self.paths[path].recovery.budget(now).bytes;
        let size = usize::from(self.paths[path].active().mtu.current());
        let most = (usize::try_from(room).unwrap_or(usize::MAX) / size).min(PACKETS);
        let (recovery, mut router) = self.recovery_and_router(now, before);
        let (packets, round) = recovery.repeat(rounds, most, &mut router)?;
        self.stats.reinjected_bytes += (packets * size) as u64;
        // No room for anything else: what is new must be repeated, and this will not be.
        let room = buf.len().min(packets * size);
        self.mark_repetitions(round + 1);
        let sent = self.transmit_on(now, path, Reason::Redundant, &mut buf[..room]);
        self.mark_repetitions(0);
        sent
    }

    fn mark_repetitions(&mut self, round: u8) {
        if let Some(multipath) = &mut self.multipath {
            multipath.repeating = round;
        }
    }
}
