//! A path that fails beside others: what it carried goes elsewhere.
//!
//! Three things tell of it. Nothing is acknowledged for a probe timeout; the system says that nothing
//! leaves from the local address, which is sooner; or the peer sets the path aside, which is how it
//! tells us what its own system said.

use tquic_wire::Space;

use crate::connection::Connection;
use crate::multipath::reinject::SHARE;
use crate::multipath::{News, PathNews};
use crate::path::{FourTuple, Path, Stage};
use crate::recovery::AckSummary;
use crate::time::Instant;

/// A path that may be dead, and whose round-trip time says nothing: data goes elsewhere until
/// something is acknowledged there.
pub(super) fn is_suspect(path: &Path) -> bool {
    path.recovery.pto_count() > 0 || path.standing.is_down()
}

impl Connection {
    /// Nothing leaves on this 4-tuple: the system refuses to send, or the interface is down. Beside
    /// other paths it is as if its probe timeout had passed, and the peer is told to use the others.
    /// What is sent there again is a probe; the first that is acknowledged brings the path back.
    pub fn on_local_down(&mut self, now: Instant, addresses: &FourTuple) {
        let Some(path) = self.find_open(addresses).filter(|at| self.has_other_path(*at)) else {
            return;
        };
        if self.paths[path].standing.is_down() {
            return;
        }
        self.paths[path].standing.fall(now);
        self.tell_scheduler(now, path, News::Path(PathNews::Failed));
        self.send_elsewhere(now, path);
        self.probe_path(path);
    }

    /// The interface of this 4-tuple is up. A path that failed is asked at once.
    pub fn on_local_up(&mut self, addresses: &FourTuple) {
        if let Some(path) = self.find_open(addresses).filter(|at| is_suspect(&self.paths[*at])) {
            self.probe_path(path);
        }
    }

    /// Whether a path has failed, or may have.
    pub(crate) fn is_silent(&self, path: usize) -> bool {
        is_suspect(&self.paths[path])
    }

    fn find_open(&self, addresses: &FourTuple) -> Option<usize> {
        let mut paths = self.paths.iter();
        paths.position(|p| {
            p.standing.stage == Stage::Open && p.active().addresses.matches(addresses)
        })
    }

    /// Has the peer acknowledge something on this path.
    fn probe_path(&mut self, path: usize) {
        let probes = &mut self.paths[path].probes[2];
        *probes = (*probes).max(1);
    }

    /// Packets have been acknowledged on a path, which may have been given up too early.
    pub(crate) fn on_sign_of_life(&mut self, path: usize, summary: &AckSummary) {
        let standing = &mut self.paths[path].standing;
        standing.rise(summary.largest_sent_at);
        let Some(given_up) = standing.given_up else { return };
        if summary.largest_newly_acked >= Some(given_up) {
            standing.given_up = None;
        }
        self.on_reinjected(summary.repeated_bytes);
    }

    /// The probe timeout of a path has passed.
    pub(crate) fn on_silence(&mut self, now: Instant, path: usize) {
        if !self.has_other_path(path) {
            return;
        }
        // RFC 9002 calls nothing lost here, but others can carry it.
        self.send_elsewhere(now, path);
        if self.paths[path].recovery.pto_count() == 1 {
            self.tell_scheduler(now, path, News::Path(PathNews::Failed));
            // And the peer must hear of us there: its addresses may be out of date.
            self.control.ping();
        }
    }

    /// The peer sets a path aside. It may know that nothing arrives there, and no later packet will
    /// show what was lost.
    pub(crate) fn on_set_aside(&mut self, now: Instant, path: usize) {
        if self.paths[path].standing.stage == Stage::Open && self.has_other_path(path) {
            self.send_elsewhere(now, path);
        }
    }

    /// What is in flight on a path is sent on others as well. If much has been sent twice already,
    /// paths here are rather slow at times than dead, and it takes a second probe timeout.
    fn send_elsewhere(&mut self, now: Instant, path: usize) {
        let reinjected = self.multipath.as_ref().map_or(0, |m| m.reinjected);
        let dead = self.paths[path].recovery.pto_count() > 1;
        if dead || reinjected <= self.stats.bytes_sent / SHARE {
            self.hand_over(now, path);
            let one = &mut self.paths[path];
            one.standing.given_up = Some(one.recovery.next_pn(Space::Data));
        }
    }
}
