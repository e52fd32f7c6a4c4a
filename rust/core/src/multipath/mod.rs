//! Several paths at once (draft-ietf-quic-multipath-21): which path IDs may be used, the connection
//! IDs of those that are not open, and what is told about paths. An open path is a
//! [`crate::path::Path`] like that of the handshake.

mod ask;
mod blest;
mod control;
mod couple;
mod ecf;
mod hold;
mod outage;
mod reinject;
mod scheduler;
mod select;
mod user;

#[cfg(test)]
mod tests;

use smallvec::SmallVec;
use tquic_wire::Frame;

use crate::cid::{LocalCids, RemoteCids};
use crate::delivery::{Blocked, Latest, Once};
use crate::path::{Advice, PathLabel};
use crate::recovery::Token;
use crate::space::RangeSet;
use crate::time::Instant;
use crate::tx::FrameWriter;

pub(crate) use control::Located;
pub use control::{OpenPathError, PathError};
pub use scheduler::{Scheduler, Turns};
pub(crate) use select::Order;
pub use user::{Burst, Choice, News, PathNews, PathView, SchedulerSource, UserScheduler};

use hold::{Facts, Held};
use user::User;

/// Paths that may be open at a time, at most.
pub const MAX_PATHS: u32 = 16;
/// Connection IDs that we issue for a path before it is open: one to open it with.
pub(crate) const SPARE_CIDS: u64 = 1;

/// A path ID that is not in use: both ends issue connection IDs for it, so that it can be.
pub(crate) struct Spare {
    pub id: u32,
    pub local: LocalCids,
    pub remote: RemoteCids,
    pub theirs: Advice,
}

/// A PATH_ABANDON frame to be delivered.
struct Abandon {
    path: u32,
    error_code: u64,
    once: Once,
}

/// A PATH_CIDS_BLOCKED frame to be delivered, once for each sequence number.
struct CidsBlocked {
    path: u32,
    next_sequence: u64,
    pending: bool,
}

/// See the module.
pub(crate) struct Multipath {
    /// Paths that may be open at a time, the first included.
    width: u32,
    /// The largest path ID that the peer may use.
    local_max: Latest,
    /// The largest path ID that we may use.
    peer_max: u32,
    spare: Vec<Spare>,
    /// Path IDs that were abandoned: they never come back (section 3.4).
    closed: RangeSet,
    closed_count: u32,
    abandons: Vec<Abandon>,
    paths_blocked: Blocked,
    cids_blocked: SmallVec<[CidsBlocked; 1]>,
    pub(super) scheduler: Scheduler,
    /// One that is not ours; it decides before `scheduler`.
    user: Option<User>,
    /// What BLEST and ECF remember.
    held: Held,
    /// Trains that were given to paths.
    pub(super) turn: u64,
    /// Bytes that were sent on a second path before they were lost on the first.
    pub(super) reinjected: u64,
    /// When the paths were last looked through for late packets.
    pub(super) reinjection_looked: Option<Instant>,
    /// Not 0 while a train repeats what others have sent, and counts how many have.
    pub(super) repeating: u8,
    /// `active_connection_id_limit` that we told, which holds for every path (section 2.2).
    cid_limit: u64,
}

impl Multipath {
    /// Up to `width` paths at a time; `peer_max` is the peer's initial_max_path_id.
    pub fn new(width: u32, peer_max: u32, cid_limit: u64) -> Self {
        Self {
            width,
            local_max: Latest::known(u64::from(width.saturating_sub(1))),
            peer_max,
            spare: Vec::new(),
            closed: RangeSet::default(),
            closed_count: 0,
            abandons: Vec::new(),
            paths_blocked: Blocked::default(),
            cids_blocked: SmallVec::new(),
            scheduler: Scheduler::default(),
            user: None,
            held: Held::default(),
            turn: 0,
            reinjected: 0,
            reinjection_looked: None,
            repeating: 0,
            cid_limit,
        }
    }

    /// The largest path ID that the peer may use.
    pub fn local_max(&self) -> u64 {
        self.local_max.value()
    }

    /// The largest path ID that both ends may use.
    pub fn common_max(&self) -> u32 {
        u32::try_from(self.local_max.value()).unwrap_or(u32::MAX).min(self.peer_max)
    }

    pub fn is_closed(&self, id: u64) -> bool {
        self.closed.contains(id)
    }

    /// The peer lets us use path IDs up to `max`; true if those are more.
    pub fn on_max_path_id(&mut self, max: u32) -> bool {
        if max <= self.peer_max {
            return false;
        }
        self.peer_max = max;
        self.paths_blocked.clear();
        true
    }

    /// A path is gone for good.
    pub fn close(&mut self, id: u32) {
        self.spare.retain(|s| s.id != id);
        self.cids_blocked.retain(|b| b.path != id);
        if self.closed.insert(u64::from(id)) {
            self.closed_count = self.closed_count.saturating_add(1);
        }
        self.raise();
    }

    /// Lets the peer use as many path IDs as there may be paths, closed ones aside. One that does
    /// not acknowledge how its paths ended gets no more.
    fn raise(&mut self) {
        if self.abandons.len() <= 2 * self.width as usize {
            let max = self.width.saturating_sub(1).saturating_add(self.closed_count);
            self.local_max.raise(u64::from(max));
        }
    }

    /// Path IDs above 0 that both ends may use and that are not closed.
    pub fn usable(&self) -> impl Iterator<Item = u32> + use<> {
        let first = u32::try_from(self.closed.first_missing(1)).unwrap_or(u32::MAX);
        let closed = self.closed.clone();
        (first..=self.common_max()).filter(move |id| !closed.contains(u64::from(*id)))
    }

    /// The connection IDs of a path that is not open. It must be one that the peer may use, and not
    /// be closed.
    pub fn spare_mut(&mut self, id: u32) -> &mut Spare {
        let at = self.spare.iter().position(|s| s.id == id).unwrap_or_else(|| {
            let (local, remote) = (LocalCids::default(), RemoteCids::empty(self.cid_limit));
            self.spare.push(Spare { id, local, remote, theirs: Advice::default() });
            self.spare.len() - 1
        });
        &mut self.spare[at]
    }

    pub fn find_spare(&mut self, id: u32) -> Option<&mut Spare> {
        self.spare.iter_mut().find(|s| s.id == id)
    }

    pub fn spares(&self) -> &[Spare] {
        &self.spare
    }

    pub fn take_spare(&mut self, id: u32) -> Option<Spare> {
        let at = self.spare.iter().position(|s| s.id == id)?;
        Some(self.spare.swap_remove(at))
    }

    /// Tells the peer that a path ends.
    pub fn abandon(&mut self, path: u32, error_code: u64) {
        let mut once = Once::default();
        once.request();
        self.abandons.push(Abandon { path, error_code, once });
    }

    /// No path could be opened for want of path IDs.
    pub fn blocked(&mut self) {
        self.paths_blocked.at(u64::from(self.peer_max));
    }

    /// No connection ID is left for `path`.
    pub fn cids_blocked(&mut self, path: u32, next_sequence: u64) {
        let known = |b: &CidsBlocked| b.path == path && b.next_sequence == next_sequence;
        if !self.cids_blocked.iter().any(known) {
            self.cids_blocked.retain(|b| b.path != path);
            self.cids_blocked.push(CidsBlocked { path, next_sequence, pending: true });
        }
    }

    /// How many paths have sent what the next packet repeats.
    pub fn repeating(&self) -> u8 {
        self.repeating
    }

    /// Whether anything waits to be sent.
    pub fn has_pending(&self) -> bool {
        self.local_max.is_pending()
            || self.paths_blocked.pending().is_some()
            || self.abandons.iter().any(|a| a.once.is_pending())
            || self.cids_blocked.iter().any(|b| b.pending)
            || self.spare.iter().any(|s| s.local.has_pending() || s.remote.has_pending())
    }

    /// Writes what fits.
    pub fn write(&mut self, w: &mut FrameWriter<'_>) {
        for abandon in self.abandons.iter_mut().filter(|a| a.once.is_pending()) {
            let (path, error_code) = (u64::from(abandon.path), abandon.error_code);
            let frame = Frame::PathAbandon { path, error_code };
            if w.frame(&frame, Some(Token::PathAbandon(abandon.path))) {
                abandon.once.on_sent();
            }
        }
        let max = Frame::MaxPathId(self.local_max.value());
        if self.local_max.is_pending() && w.frame(&max, Some(Token::MaxPathId)) {
            self.local_max.on_sent();
        }
        if let Some(limit) = self.paths_blocked.pending()
            && w.frame(&Frame::PathsBlocked(limit), Some(Token::PathsBlocked))
        {
            self.paths_blocked.on_sent();
        }
        for blocked in self.cids_blocked.iter_mut().filter(|b| b.pending) {
            let (path, next_sequence) = (u64::from(blocked.path), blocked.next_sequence);
            let frame = Frame::PathCidsBlocked { path, next_sequence };
            blocked.pending = !w.frame(&frame, Some(Token::PathCidsBlocked(blocked.path)));
        }
        // In order: the peer opens paths with the smallest path ID first (section 3.2.1).
        self.spare.sort_unstable_by_key(|s| s.id);
        for spare in &mut self.spare {
            let label = PathLabel { id: spare.id, told: true };
            spare.local.write(label, w);
            spare.remote.write(label, w);
        }
    }

    /// A packet that carried this arrived.
    pub fn on_acked(&mut self, token: Token) {
        if let Token::PathAbandon(path) = token {
            self.abandons.retain(|a| a.path != path);
            self.raise();
        }
    }

    /// A packet that carried this was lost.
    pub fn on_lost(&mut self, token: Token) {
        match token {
            Token::PathAbandon(path) => {
                let lost = self.abandons.iter_mut().filter(|a| a.path == path);
                lost.for_each(|a| a.once.on_lost());
            }
            Token::PathCidsBlocked(path) => {
                let lost = self.cids_blocked.iter_mut().filter(|b| b.path == path);
                lost.for_each(|b| b.pending = true);
            }
            Token::MaxPathId => self.local_max.on_lost(),
            Token::PathsBlocked => self.paths_blocked.on_lost(),
            _ => {}
        }
    }
}
