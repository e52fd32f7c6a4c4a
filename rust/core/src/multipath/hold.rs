//! Schedulers that leave a slow path unused although it has room: BLEST and ECF.

use super::blest::Blest;
use super::ecf::Ecf;
use super::{Multipath, Order, Scheduler};
use crate::connection::Connection;
use crate::path::Path;
use crate::time::{Duration, Instant, nanos};

/// A path as the formulas see it: bytes and nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub srtt: u64,
    pub rttvar: u64,
    pub min_rtt: Duration,
    pub cwnd: u64,
    pub in_flight: u64,
    pub mss: u64,
}

/// What such schedulers remember.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    pub blest: Blest,
    pub ecf: Ecf,
}

impl Facts {
    fn of(path: &Path) -> Self {
        let rtt = path.recovery.rtt();
        Self {
            srtt: nanos(rtt.smoothed()),
            rttvar: nanos(rtt.var()),
            min_rtt: rtt.min(),
            cwnd: path.recovery.cwnd(),
            in_flight: path.recovery.bytes_in_flight(),
            mss: u64::from(path.active().mtu.current()),
        }
    }
}

impl Connection {
    /// Whether a full packet may go on a path now.
    pub(super) fn has_room(&mut self, now: Instant, path: usize) -> bool {
        let path = &mut self.paths[path];
        path.recovery.budget(now).bytes >= u64::from(path.active().mtu.current())
    }

    /// Lets none but the fastest path serve if the scheduler would rather wait for it.
    pub(super) fn hold_back(&mut self, now: Instant, order: &Order) {
        let scheduler = self.scheduler();
        if !matches!(scheduler, Scheduler::Blest | Scheduler::Ecf) || !self.has_data() {
            return;
        }
        let Some((&fast, rest)) = order.split_first() else { return };
        let serving = rest.iter().copied().filter(|at| self.paths[*at].standing.serves);
        let slower: Order = serving.collect();
        if slower.is_empty() || self.has_room(now, fast) {
            return;
        }
        let Some(slow) = slower.iter().copied().find(|at| self.has_room(now, *at)) else { return };
        let facts = [fast, slow].map(|at| Facts::of(&self.paths[at]));
        if self.waits(now, scheduler, &facts) {
            slower.iter().for_each(|at| self.paths[*at].standing.serves = false);
        }
    }

    fn waits(&mut self, now: Instant, scheduler: Scheduler, [fast, slow]: &[Facts; 2]) -> bool {
        let credit = self.streams.credit();
        let in_flight: u64 = self.paths.iter().map(|p| p.recovery.bytes_in_flight()).sum();
        // More than this changes no answer: the slow path would not be waited for either way.
        let most = fast.cwnd.saturating_mul(64);
        let unsent = self.streams.backlog(most).saturating_add(self.datagrams.queued() as u64);
        let Some(Multipath { held, .. }) = self.multipath.as_deref_mut() else { return false };
        match scheduler {
            // What is in flight counts in the window until it is acknowledged.
            Scheduler::Blest => held.blest.waits(now, fast, slow, credit.saturating_add(in_flight)),
            _ => held.ecf.waits(fast, slow, unsent),
        }
    }

    /// Whether anything waits that belongs to no path and is not control.
    pub(super) fn has_data(&self) -> bool {
        self.streams.has_data() || self.datagrams.has_data()
    }
}
