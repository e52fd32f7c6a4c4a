//! Coupled congestion control: each path's controller learns what the others leave to it.

use smallvec::SmallVec;

use crate::cc::Member;
use crate::connection::Connection;
use crate::path::Stage;

impl Connection {
    /// Before an acknowledgement on a path: its share is taken from where all windows are now.
    pub(crate) fn couple(&mut self, path: usize) {
        let Some(coupling) = self.paths[path].recovery.coupling() else { return };
        // One that is being abandoned or validated takes nothing from the others.
        let takes_part = |at: usize| at == path || self.paths[at].standing.stage == Stage::Open;
        let all: SmallVec<[Member; 4]> = (0..self.paths.len())
            .filter(|at| takes_part(*at))
            .filter_map(|at| self.paths[at].recovery.member(coupling))
            .collect();
        if let Some(own) = self.paths[path].recovery.member(coupling) {
            self.paths[path].recovery.set_share(coupling.share(&all, &own));
        }
    }
}
