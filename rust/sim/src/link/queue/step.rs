//! Immediate marking by the time spent in the queue: a step, or a ramp.

use super::fifo::{Fifo, Limit};
use crate::link::stats::Stats;
use crate::packet::Packet;
use crate::random::Probability;
use tquic_core::rng::Rng;
use tquic_core::time::{Duration, Instant};

/// Marks ECN-capable packets that waited. The chance is 0 up to `start`, 1 from `start + range` on,
/// and linear between; a `range` of zero makes it a step. Other packets only meet the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepConfig {
    /// How much the queue holds.
    pub limit: Limit,
    /// Where marking starts.
    pub start: Duration,
    /// How far it is from never to always.
    pub range: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    config: StepConfig,
    fifo: Fifo,
    rng: Rng,
}

impl Step {
    pub(crate) const fn new(config: StepConfig, rng: Rng) -> Self {
        Self { config, fifo: Fifo::new(config.limit), rng }
    }

    pub(crate) fn fifo(&mut self) -> &mut Fifo {
        &mut self.fifo
    }

    pub(crate) fn dequeue(&mut self, now: Instant, stats: &mut Stats) -> Option<Box<Packet>> {
        let (waited, mut packet) = self.fifo.pop(now)?;
        stats.waited(waited);
        if packet.ecn.is_capable() && self.chance(waited).happens(&mut self.rng) {
            stats.mark(now, &mut packet);
        }
        Some(packet)
    }

    fn chance(&self, waited: Duration) -> Probability {
        let above = waited.saturating_sub(self.config.start);
        if above.is_zero() {
            Probability::NEVER
        } else if above >= self.config.range {
            Probability::ALWAYS
        } else {
            Probability::fraction(above.as_secs_f64() / self.config.range.as_secs_f64())
        }
    }
}
