//! Which path the next train goes to: the one with the smallest round-trip time that has room.

use smallvec::SmallVec;

use crate::connection::Connection;
use crate::path::{Path, Stage};
use crate::time::Duration;

/// Indices of paths, the one to be tried first in front.
pub(crate) type Order = SmallVec<[usize; 4]>;

/// A path whose probe timeout has passed may be dead, and its round-trip time says nothing: data
/// goes elsewhere until something is acknowledged there.
fn is_suspect(path: &Path) -> bool {
    path.recovery.pto_count() > 0
}

impl Connection {
    /// Decides which paths serve, and in which order they are asked.
    pub(crate) fn order_paths(&mut self) -> Order {
        let open = |p: &Path| p.standing.stage == Stage::Open;
        let healthy = self.paths.iter().any(|p| open(p) && !is_suspect(p));
        let fit = |p: &Path| open(p) && !(healthy && is_suspect(p));
        let regular = self.paths.iter().any(|p| fit(p) && !p.standing.is_backup());
        for path in &mut self.paths {
            path.standing.serves = fit(path) && !(regular && path.standing.is_backup());
        }
        let mut order: Order =
            (0..self.paths.len()).filter(|i| self.paths[*i].standing.may_send()).collect();
        order.sort_by_key(|i| {
            let path = &self.paths[*i];
            (!path.standing.serves, path.recovery.rtt().smoothed())
        });
        order
    }

    /// Whether acknowledgements for this path travel on others: it may not be used any more, or
    /// nothing may get through.
    pub(crate) fn acks_elsewhere(&self, path: usize) -> bool {
        let path = &self.paths[path];
        let stranded = !path.standing.may_send() || path.is_mute() || is_suspect(path);
        self.paths.len() > 1 && !path.standing.serves && stranded
    }

    /// The longest round trip of the paths in use.
    pub(crate) fn longest_rtt(&self) -> Duration {
        let open = self.paths.iter().filter(|p| p.standing.stage == Stage::Open);
        open.map(|p| p.recovery.rtt().smoothed()).max().unwrap_or_default()
    }
}
