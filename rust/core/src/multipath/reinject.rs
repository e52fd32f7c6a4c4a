//! When nothing new is left to send, what a slow path has yet to bring is sent on a fast one as well:
//! the end of a transfer, and the data that a full receive window waits for, else take the slow
//! path's round trip (opportunistic retransmission, as in Multipath TCP).

use tquic_wire::Space;

use crate::connection::Connection;
use crate::multipath::Order;
use crate::path::Stage;
use crate::time::Instant;

/// Packets that are taken over at a time.
const PACKETS: usize = 32;
/// Of the bytes sent, one in so many may be a repetition.
const SHARE: u64 = 20;

impl Connection {
    /// Gives the best path, if it has room, something that a slower one has sent and that would
    /// arrive later there. Answers the path's index if there is anything for it now.
    pub(crate) fn reinject(&mut self, now: Instant, order: &Order) -> Option<usize> {
        let best = *order.first()?;
        if !self.paths[best].standing.serves {
            return None;
        }
        let size = u64::from(self.paths[best].active().mtu.current());
        let allowed = (self.stats.bytes_sent / SHARE)
            .saturating_sub(self.multipath.as_ref()?.reinjected)
            .min(PACKETS as u64 * size);
        if allowed < size || self.paths[best].recovery.budget(now).bytes < size {
            return None;
        }
        let arrives = now + self.paths[best].recovery.rtt().smoothed();
        let slow = order.iter().copied().find(|&at| {
            let path = &self.paths[at];
            let sent = path.recovery.newest_outstanding(Space::Data);
            let late = sent.is_some_and(|sent| sent + path.recovery.rtt().smoothed() > arrives);
            let fresh = path.recovery.next_pn(Space::Data) != path.standing.handed_over;
            at != best && path.standing.stage == Stage::Open && late && fresh
        })?;
        let packets = (allowed / size) as usize;
        let (recovery, mut router) = self.recovery_and_router(now, slow);
        if recovery.hand_over_some(Space::Data, packets, &mut router) == 0 {
            // All of it has been. Not to be looked for again before there is more.
            let sent = recovery.next_pn(Space::Data);
            self.paths[slow].standing.handed_over = sent;
            return None;
        }
        if let Some(multipath) = &mut self.multipath {
            multipath.reinjected += packets as u64 * size;
        }
        Some(best)
    }
}
