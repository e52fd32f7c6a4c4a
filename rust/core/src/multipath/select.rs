//! Which path the next train goes to: the first in the scheduler's order that serves and has room.

use smallvec::SmallVec;

use crate::connection::Connection;
use crate::multipath::outage::is_suspect;
use crate::multipath::{News, Scheduler};
use crate::path::{Path, Stage};
use crate::time::{Duration, Instant, nanos};
use crate::trace::Reason;

/// Indices of paths, the one to be tried first in front.
pub(crate) type Order = SmallVec<[usize; 4]>;

impl Connection {
    /// Decides which paths serve, and in which order they are asked; and why the first goes first.
    pub(crate) fn order_paths(&mut self, now: Instant) -> (Order, Reason) {
        let open = |p: &Path| p.standing.stage == Stage::Open;
        let healthy = self.paths.iter().any(|p| open(p) && !is_suspect(p));
        let fit = |p: &Path| open(p) && !(healthy && is_suspect(p));
        let regular = self.paths.iter().any(|p| fit(p) && !p.standing.is_backup());
        for path in &mut self.paths {
            path.standing.serves = fit(path) && !(regular && path.standing.is_backup());
        }
        let mut order: Order =
            (0..self.paths.len()).filter(|i| self.paths[*i].standing.may_send()).collect();
        let scheduler = self.scheduler();
        order.sort_by_key(|i| {
            let path = &self.paths[*i];
            (!path.standing.serves, scheduler.rank(path))
        });
        let is_asked = self.multipath.as_ref().is_some_and(|m| m.user.is_some());
        if is_asked && self.has_data() {
            return self.ask_user(now, order);
        }
        self.hold_back(now, &order);
        (order, Reason::Best)
    }

    /// What puts the paths in order.
    pub fn scheduler(&self) -> Scheduler {
        self.multipath.as_ref().map_or_else(Scheduler::default, |m| m.scheduler)
    }

    /// Changes what puts the paths in order, from the next train on. One that is not ours is done.
    pub fn set_scheduler(&mut self, scheduler: Scheduler) {
        if let Some(multipath) = &mut self.multipath {
            multipath.scheduler = scheduler;
            multipath.user = None;
        }
    }

    /// A train with data left on this path.
    pub(crate) fn on_train(&mut self, now: Instant, path: usize, bytes: usize) {
        if let Some(multipath) = &mut self.multipath {
            multipath.turn += 1;
            let one = &mut self.paths[path];
            let round = nanos(one.recovery.rtt().smoothed()).max(1);
            let rate = u128::from(one.recovery.cwnd()) * 1_000_000_000 / u128::from(round);
            let rate = u64::try_from(rate).unwrap_or(u64::MAX);
            one.turns.on_train(multipath.turn, bytes, rate);
            self.tell_scheduler(now, path, News::Sent(bytes as u64));
        }
    }

    /// A path that joins has no arrears of what the others were served.
    pub(crate) fn join_turns(&mut self, path: usize) {
        let open = self.paths.iter().filter(|p| p.standing.stage == Stage::Open);
        let least = open.map(|p| p.turns.served).min().unwrap_or_default();
        self.paths[path].turns.served = least;
    }

    /// Whether acknowledgements for this path travel on others: it may not be used any more, or
    /// nothing may get through.
    pub(crate) fn acks_elsewhere(&self, path: usize) -> bool {
        let path = &self.paths[path];
        let stranded = !path.standing.may_send() || path.is_mute() || is_suspect(path);
        self.paths.len() > 1 && !path.standing.serves && stranded
    }

    /// When a path that does not answer, beside others that do, is given up.
    pub(crate) fn silence_limit(&self, path: usize) -> Option<Instant> {
        let p = &self.paths[path];
        let dead = is_suspect(p) && self.has_other_path(path);
        self.idle_period().filter(|_| dead).map(|period| p.heard + period)
    }

    /// The longest round trip of the paths in use.
    pub(crate) fn longest_rtt(&self) -> Duration {
        let open = self.paths.iter().filter(|p| p.standing.stage == Stage::Open);
        open.map(|p| p.recovery.rtt().smoothed()).max().unwrap_or_default()
    }
}
