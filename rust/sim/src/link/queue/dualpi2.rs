//! DualPI2: two coupled queues, one for low latency and one for everyone else (RFC 9332 appendix A).

use super::fifo::{Fifo, Limit};
use crate::link::stats::{Cause, Stats};
use crate::packet::Packet;
use crate::random::Probability;
use tquic_core::rng::Rng;
use tquic_core::time::{Duration, Instant, nanos};

/// Parameters of DualPI2. The defaults are those of RFC 9332 appendix A.1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DualPi2Config {
    /// How much both queues hold together.
    pub limit: Limit,
    /// The delay that the controller steers to; 15 ms.
    pub target: Duration,
    /// How often the controller runs; 16 ms.
    pub update: Duration,
    /// Integral gain in Hz; 0.16.
    pub alpha: f64,
    /// Proportional gain in Hz; 3.2.
    pub beta: f64,
    /// Coupling: the mark probability of the low-latency queue in units of the base probability; 2.
    pub coupling: f64,
    /// Packets that waited longer in the low-latency queue are marked; 1 ms.
    pub step: Duration,
    /// The classic queue's share of the wire, in percent, while both have packets; 10.
    pub classic_share: u64,
}

impl DualPi2Config {
    /// The RFC's values.
    pub const fn new(limit: Limit) -> Self {
        Self {
            limit,
            target: Duration::from_millis(15),
            update: Duration::from_millis(16),
            alpha: 0.16,
            beta: 3.2,
            coupling: 2.0,
            step: Duration::from_millis(1),
            classic_share: 10,
        }
    }

    /// The classic drop probability at which the coupled mark probability reaches 1
    /// (RFC 9332 appendix A.1, `p_Cmax`).
    fn classic_max(&self) -> f64 {
        (1.0 / (self.coupling * self.coupling)).min(1.0)
    }
}

/// No marks and drops by chance while less than two full packets wait: the delay is that of a packet.
const FEW_BYTES: u64 = 2 * 1500;

#[derive(Clone, Debug)]
pub(crate) struct DualPi2 {
    config: DualPi2Config,
    low_latency: Fifo,
    classic: Fifo,
    base: f64,
    previous_delay: Duration,
    next_update: Instant,
    /// Weighted round robin: above zero it is the classic queue's turn.
    credit: i64,
    rng: Rng,
}

impl DualPi2 {
    pub(crate) fn new(config: DualPi2Config, rng: Rng) -> Self {
        // The limit is checked over both together.
        let fifo = || Fifo::new(Limit::Packets(u64::MAX));
        Self {
            config,
            low_latency: fifo(),
            classic: fifo(),
            base: 0.0,
            previous_delay: Duration::ZERO,
            next_update: Instant::ZERO + config.update,
            credit: 0,
            rng,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.low_latency.len() + self.classic.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.low_latency.bytes() + self.classic.bytes()
    }

    pub(crate) fn enqueue(&mut self, now: Instant, packet: Box<Packet>, stats: &mut Stats) {
        self.run_controller(now);
        let room = match self.config.limit {
            Limit::Packets(most) => (self.len() as u64) < most,
            Limit::Bytes(most) => self.bytes() + u64::from(packet.size) <= most,
        };
        if !room {
            stats.drop(now, &packet, Cause::QueueFull);
        } else if packet.ecn.is_l4s() {
            self.low_latency.push(now, packet);
        } else {
            self.classic.push(now, packet);
        }
    }

    pub(crate) fn dequeue(&mut self, now: Instant, stats: &mut Stats) -> Option<Box<Packet>> {
        self.run_controller(now);
        loop {
            let few = self.bytes() <= FEW_BYTES;
            let sent = if self.low_latency_turn()? {
                self.take_low_latency(now, few, stats)
            } else {
                self.take_classic(now, few, stats)
            };
            if sent.is_some() {
                return sent;
            }
        }
    }

    /// Which queue is next; `None` if both are empty.
    fn low_latency_turn(&mut self) -> Option<bool> {
        match (self.low_latency.is_empty(), self.classic.is_empty()) {
            (true, true) => None,
            (false, true) => Some(true),
            (true, false) => Some(false),
            (false, false) => Some(self.credit <= 0),
        }
    }

    /// Charges the scheduler for a packet, while the other queue waits.
    fn charge(&mut self, low_latency: bool, packet: &Packet) {
        if self.low_latency.is_empty() || self.classic.is_empty() {
            self.credit = 0;
            return;
        }
        let (share, size) = (self.config.classic_share.min(100) as i64, i64::from(packet.size));
        self.credit += if low_latency { share * size } else { (share - 100) * size };
    }

    fn take_low_latency(
        &mut self,
        now: Instant,
        few: bool,
        stats: &mut Stats,
    ) -> Option<Box<Packet>> {
        let (waited, mut packet) = self.low_latency.pop(now)?;
        stats.waited(waited);
        self.charge(true, &packet);
        let coupled = self.base * self.config.coupling;
        let mark = if coupled < 1.0 {
            // The step holds however little waits, as in Linux: two packets are 2 ms at 10 Mbit/s.
            waited > self.config.step || (!few && self.draw(coupled))
        } else {
            // Overload: marks no longer suffice, so both queues drop alike.
            if !few && self.draw(self.base * self.base) {
                stats.drop(now, &packet, Cause::Aqm);
                return None;
            }
            !few
        };
        if mark {
            stats.mark(now, &mut packet);
        }
        Some(packet)
    }

    fn take_classic(&mut self, now: Instant, few: bool, stats: &mut Stats) -> Option<Box<Packet>> {
        let (waited, packet) = self.classic.pop(now)?;
        stats.waited(waited);
        self.charge(false, &packet);
        let chance = self.base * self.base;
        if few || !self.draw(chance) {
            return Some(packet);
        }
        if chance >= self.config.classic_max() {
            stats.drop(now, &packet, Cause::Aqm);
            return None;
        }
        stats.mark_or_drop(now, packet)
    }

    fn draw(&mut self, chance: f64) -> bool {
        Probability::fraction(chance).happens(&mut self.rng)
    }

    /// Runs the proportional-integral controller for every update time up to `now`. Nothing entered
    /// or left in between, so each sees the queues as they were then.
    fn run_controller(&mut self, now: Instant) {
        while self.next_update <= now {
            let at = self.next_update;
            let delay = self.classic.head_wait(at).max(self.low_latency.head_wait(at));
            let error = seconds(delay) - seconds(self.config.target);
            let growth = seconds(delay) - seconds(self.previous_delay);
            let change = self.config.alpha * error + self.config.beta * growth;
            self.base = (self.base + change).clamp(0.0, 1.0);
            self.previous_delay = delay;
            self.next_update = at + self.config.update;
            if self.len() == 0 && self.base <= 0.0 {
                self.skip_idle(now);
            }
        }
    }

    /// Idle and at zero, more updates change nothing.
    fn skip_idle(&mut self, now: Instant) {
        let period = nanos(self.config.update).max(1);
        let behind = nanos(now - self.next_update) / period;
        self.next_update += Duration::from_nanos(behind.saturating_mul(period));
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
