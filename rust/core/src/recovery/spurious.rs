//! Losses that turn out not to be: packets acknowledged after they were declared lost.
//!
//! They raise the reordering thresholds, and when every lost packet of a recovery period turns
//! up, the window gets its cut back.

use crate::recovery::Rtt;
use crate::recovery::rtt::GRANULARITY;
use crate::time::{Duration, Instant, nanos};
use std::collections::VecDeque;

/// Lost packets remembered per space.
const MAX_REMEMBERED: usize = 4096;
/// No reordering is waited for by number beyond this; the time threshold takes over before.
const MAX_PACKET_THRESHOLD: u64 = 1024;
/// kTimeThreshold at most, in eighths of the RTT.
const MAX_TIME_EIGHTHS: u32 = 16;
/// Genuine recovery periods in a row after which the thresholds relax, as in RFC 8985 section 6.2.
const QUIET_EPISODES: u32 = 16;

/// A packet declared lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost {
    pub pn: u64,
    pub time_sent: Instant,
    pub declared: Instant,
    pub size: u16,
    /// The recovery period it belongs to; 0 for none.
    pub episode: u32,
}

/// The lost packets of one space, by packet number.
#[derive(Clone, Debug, Default)]
pub(super) struct LostPackets {
    queue: VecDeque<Lost>,
}

impl LostPackets {
    /// Remembers a packet with a larger number than all before. A packet that is forgotten for it
    /// is returned.
    pub fn push(&mut self, lost: Lost) -> Option<Lost> {
        debug_assert!(self.queue.back().is_none_or(|last| last.pn < lost.pn));
        let forgotten =
            if self.queue.len() == MAX_REMEMBERED { self.queue.pop_front() } else { None };
        self.queue.push_back(lost);
        forgotten
    }

    pub fn first_pn(&self) -> Option<u64> {
        self.queue.front().map(|l| l.pn)
    }

    /// Hands the packets in `first..=last` to `f` and forgets them.
    pub fn ack_range(&mut self, first: u64, last: u64, f: impl FnMut(Lost)) {
        let start = self.queue.partition_point(|l| l.pn < first);
        let end = self.queue.partition_point(|l| l.pn <= last);
        if start < end {
            self.queue.drain(start..end).for_each(f);
        }
    }

    /// Forgets one packet declared lost before `limit`, if there is one.
    pub fn expire(&mut self, limit: Instant) -> Option<Lost> {
        if self.queue.front()?.declared < limit { self.queue.pop_front() } else { None }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}

/// The last recovery period and what became of its losses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Episode {
    id: u32,
    /// Lost packets not acknowledged since.
    missing: u32,
    undoable: bool,
    /// Some loss of it was spurious.
    spurious: bool,
}

impl Episode {
    /// A loss began a new period.
    pub fn begin(&mut self) {
        *self = Self {
            id: self.id.wrapping_add(1).max(1),
            missing: 0,
            undoable: true,
            spurious: false,
        };
    }

    /// Another packet of this period was lost. Returns the period's number.
    pub fn add(&mut self) -> u32 {
        self.missing += 1;
        self.id
    }

    /// A packet can no longer turn up, or something other than its losses confirms the congestion.
    pub fn confirm(&mut self) {
        self.undoable = false;
    }

    /// As [`Self::confirm`], for a packet that is forgotten.
    pub fn forget(&mut self, lost: &Lost) {
        if lost.episode == self.id {
            self.confirm();
        }
    }

    /// A lost packet turned up. True if it was the last one missing: the cut was a mistake.
    pub fn returned(&mut self, lost: &Lost) -> bool {
        if lost.episode == 0 || lost.episode != self.id {
            return false;
        }
        self.spurious = true;
        self.missing = self.missing.saturating_sub(1);
        self.missing == 0 && core::mem::take(&mut self.undoable)
    }

    /// Whether a loss of this period was spurious.
    pub fn had_spurious(&self) -> bool {
        self.spurious
    }
}

/// How much reordering is tolerated (RFC 9002 section 6.1).
#[derive(Clone, Debug)]
pub(super) struct Thresholds {
    packets: u64,
    least_packets: u64,
    eighths: u32,
    least_eighths: u32,
    quiet: u32,
}

impl Thresholds {
    pub fn new(packets: u64, eighths: u32) -> Self {
        // Section 6.1.1: SHOULD NOT be less than 3. Below one RTT nothing could arrive in time.
        let packets = packets.clamp(3, MAX_PACKET_THRESHOLD);
        let eighths = eighths.clamp(9, MAX_TIME_EIGHTHS);
        Self { packets, least_packets: packets, eighths, least_eighths: eighths, quiet: 0 }
    }

    /// kPacketThreshold.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// How long after sending a packet is lost once a later one was acknowledged.
    pub fn delay(&self, rtt: &Rtt) -> Duration {
        let rtt = rtt.smoothed().max(rtt.latest());
        (rtt * self.eighths / 8).max(GRANULARITY)
    }

    /// A packet `distance` numbers below the largest acknowledged turned up `elapsed` after it was
    /// sent.
    pub fn on_spurious(&mut self, distance: u64, elapsed: Duration, rtt: &Rtt) {
        self.quiet = 0;
        self.packets = self.packets.max(distance.saturating_add(1).min(MAX_PACKET_THRESHOLD));
        // By one step per report: what an acknowledgment took on its way back counts in.
        if elapsed > self.delay(rtt) {
            let rtt = nanos(rtt.smoothed().max(rtt.latest())).max(1);
            if nanos(elapsed) < rtt.saturating_mul(2) {
                self.eighths = (self.eighths + 1).min(MAX_TIME_EIGHTHS);
            }
        }
    }

    /// A recovery period is over as far as known. Tolerance that genuine losses pay for, by later
    /// detection, fades when nothing has been reordered for long.
    pub fn on_episode(&mut self, had_spurious: bool) {
        self.quiet = if had_spurious { 0 } else { self.quiet + 1 };
        if self.quiet >= QUIET_EPISODES {
            self.quiet = 0;
            self.packets = self.least_packets + (self.packets - self.least_packets) / 2;
            self.eighths = self.eighths.saturating_sub(1).max(self.least_eighths);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(pn: u64, episode: u32) -> Lost {
        Lost { pn, time_sent: Instant::ZERO, declared: Instant::from_nanos(pn), size: 1, episode }
    }

    #[test]
    fn undo_needs_every_lost_packet() {
        let mut e = Episode::default();
        e.begin();
        let id = (e.add(), e.add()).1;
        assert!(!e.returned(&lost(1, id)));
        assert!(e.returned(&lost(2, id)));
        assert!(!e.returned(&lost(2, id)), "only once");
    }

    #[test]
    fn losses_of_older_periods_and_confirmed_ones_undo_nothing() {
        let mut e = Episode::default();
        e.begin();
        let old = e.add();
        e.begin();
        e.add();
        assert!(!e.returned(&lost(1, old)));
        e.confirm();
        assert!(!e.returned(&lost(2, e.id)));
        e.begin();
        let id = e.add();
        e.forget(&lost(9, id));
        assert!(!e.returned(&lost(9, id)));
    }

    #[test]
    fn thresholds_rise_at_once_and_fade_after_quiet_periods() {
        let rtt = Rtt::new(Duration::from_millis(80));
        let mut t = Thresholds::new(3, 9);
        assert_eq!((t.packets(), t.delay(&rtt)), (3, Duration::from_millis(90)));
        t.on_spurious(42, Duration::from_millis(95), &rtt);
        assert_eq!((t.packets(), t.delay(&rtt)), (43, Duration::from_millis(100)));
        t.on_spurious(1_000_000, Duration::from_millis(96), &rtt);
        assert_eq!((t.packets(), t.delay(&rtt)), (1024, Duration::from_millis(100)));
        for _ in 0..15 {
            t.on_episode(false);
        }
        t.on_episode(true);
        assert_eq!(t.packets(), 1024);
        for _ in 0..16 * 12 {
            t.on_episode(false);
        }
        assert_eq!((t.packets(), t.delay(&rtt)), (3, Duration::from_millis(90)));
    }

    #[test]
    fn time_threshold_is_bounded_and_ignores_the_absurd() {
        let rtt = Rtt::new(Duration::from_millis(80));
        let mut t = Thresholds::new(3, 9);
        for _ in 0..100 {
            t.on_spurious(1, Duration::from_secs(9), &rtt);
        }
        assert_eq!(t.delay(&rtt), Duration::from_millis(90));
        for _ in 0..100 {
            t.on_spurious(1, Duration::from_millis(159), &rtt);
        }
        assert_eq!(t.delay(&rtt), Duration::from_millis(160));
    }

    #[test]
    fn memory_of_losses_is_bounded() {
        let mut l = LostPackets::default();
        let forgotten = (0..5000).filter_map(|pn| l.push(lost(pn, 1))).count();
        assert_eq!((l.len(), forgotten), (4096, 904));
        let mut seen = Vec::new();
        l.ack_range(1000, 1002, |p| seen.push(p.pn));
        assert_eq!(seen, [1000, 1001, 1002]);
        assert_eq!(l.expire(Instant::from_nanos(905)).map(|p| p.pn), Some(904));
        assert!(l.expire(Instant::from_nanos(905)).is_none());
    }
}
