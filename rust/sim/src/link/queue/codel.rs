//! CoDel: drops or marks when the time spent in the queue stays above a target (RFC 8289).

use super::fifo::{Fifo, Limit};
use crate::link::stats::Stats;
use crate::packet::Packet;
use tquic_core::time::{Duration, Instant, nanos};

/// Parameters of CoDel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodelConfig {
    /// How much the queue holds.
    pub limit: Limit,
    /// The acceptable standing delay; 5 ms (RFC 8289 section 4.3).
    pub target: Duration,
    /// The width of the moving minimum, about a worst-case RTT; 100 ms (RFC 8289 section 4.3).
    pub interval: Duration,
}

impl CodelConfig {
    /// The RFC's target and interval.
    pub const fn new(limit: Limit) -> Self {
        let (target, interval) = (Duration::from_millis(5), Duration::from_millis(100));
        Self { limit, target, interval }
    }
}

/// A packet or less is never a standing queue.
const MAX_PACKET: u64 = 1500;

#[derive(Clone, Debug)]
pub(crate) struct Codel {
    config: CodelConfig,
    fifo: Fifo,
    /// When the delay will have been above the target for an interval.
    first_above: Option<Instant>,
    dropping: bool,
    drop_next: Instant,
    count: u64,
    last_count: u64,
}

impl Codel {
    pub(crate) const fn new(config: CodelConfig) -> Self {
        Self {
            config,
            fifo: Fifo::new(config.limit),
            first_above: None,
            dropping: false,
            drop_next: Instant::ZERO,
            count: 0,
            last_count: 0,
        }
    }

    pub(crate) fn fifo(&mut self) -> &mut Fifo {
        &mut self.fifo
    }

    pub(crate) fn dequeue(&mut self, now: Instant, stats: &mut Stats) -> Option<Box<Packet>> {
        let (mut packet, mut may_drop) = self.take(now, stats)?;
        if !self.dropping {
            if !may_drop {
                return Some(packet);
            }
            self.enter_dropping(now);
            return match stats.mark_or_drop(now, packet) {
                Some(marked) => Some(marked),
                None => self.take(now, stats).map(|(next, _)| next),
            };
        }
        // RFC 8289 section 5.5: leave the state when the delay is acceptable, else drop whenever a
        // drop is due.
        loop {
            self.dropping = may_drop;
            if !self.dropping || now < self.drop_next {
                return Some(packet);
            }
            self.count += 1;
            self.drop_next = self.control_law(self.drop_next);
            if let Some(marked) = stats.mark_or_drop(now, packet) {
                return Some(marked);
            }
            let Some(next) = self.take(now, stats) else {
                self.dropping = false;
                return None;
            };
            (packet, may_drop) = next;
        }
    }

    /// RFC 8289 section 5.5: take up a recent drop rate where it was left.
    fn enter_dropping(&mut self, now: Instant) {
        self.dropping = true;
        let delta = self.count - self.last_count;
        let recent = now - self.drop_next < self.config.interval * 16;
        self.count = if delta > 1 && recent { delta } else { 1 };
        self.last_count = self.count;
        self.drop_next = self.control_law(now);
    }

    /// The square root of IEEE 754 is exactly rounded, so this is the same everywhere.
    fn control_law(&self, from: Instant) -> Instant {
        let step = nanos(self.config.interval) as f64 / (self.count as f64).sqrt();
        from + Duration::from_nanos(step as u64)
    }

    /// Takes a packet and says whether it may be dropped (RFC 8289 section 5.6).
    fn take(&mut self, now: Instant, stats: &mut Stats) -> Option<(Box<Packet>, bool)> {
        let Some((waited, packet)) = self.fifo.pop(now) else {
            self.first_above = None;
            return None;
        };
        stats.waited(waited);
        if waited < self.config.target || self.fifo.bytes() <= MAX_PACKET {
            self.first_above = None;
            return Some((packet, false));
        }
        let since = *self.first_above.get_or_insert(now + self.config.interval);
        Some((packet, now >= since))
    }
}
