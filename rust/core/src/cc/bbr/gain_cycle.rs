//! ProbeBW of version 1: eight phases of about one min_rtt each, of which the first paces faster than
//! the bandwidth, the second slower, and the others at it (draft-cardwell-iccrg-bbr-congestion-control-00
//! section 4.3.4).

use super::params::UNIT;
use super::{Bbr, State};
use crate::cc::AckEvent;
use crate::time::Instant;

const PHASES: u64 = 8;
const DOWN: u64 = 1;

impl Bbr {
    /// Begins anywhere but with the slow phase: the queue of Startup was drained just before.
    pub(super) fn enter_gain_cycle(&mut self, now: Instant) {
        let start = self.random.below(PHASES - 1);
        self.set_gain_phase(if start < DOWN { start } else { start + 1 }, now);
    }

    fn set_gain_phase(&mut self, phase: u64, now: Instant) {
        self.gain_phase = phase;
        self.probe.stamp = now;
        self.state = match phase {
            0 => State::ProbeUp,
            DOWN => State::ProbeDown,
            _ => State::ProbeCruise,
        };
    }

    /// Moves on when the phase has done its work.
    pub(super) fn update_gain_cycle(&mut self, ack: &AckEvent<'_>) {
        let passed = self.has_min_rtt_passed(ack.now);
        let done = match self.state {
            // The probe must have put as much in flight as it is meant to, unless that is lost.
            State::ProbeUp => {
                let target = self.inflight(self.max_bw.value(), self.params.up_pacing_gain);
                passed && (ack.lost_bytes > 0 || self.was_in_flight(ack, target))
            }
            State::ProbeDown => passed || ack.in_flight <= self.inflight(self.max_bw.value(), UNIT),
            State::ProbeCruise => passed,
            _ => false,
        };
        if done {
            self.set_gain_phase((self.gain_phase + 1) % PHASES, ack.now);
        }
    }
}
