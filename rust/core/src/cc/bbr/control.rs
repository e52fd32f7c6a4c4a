//! The three things that are controlled: pacing rate, send quantum, window
//! (draft-ietf-ccwg-bbr-06, "Updating Control Parameters").

use super::model::{UNBOUNDED, volume};
use super::params::{Gain, PACING_SHARE, UNIT};
use super::{Bbr, State};
use crate::cc::AckEvent;
use crate::cc::math::scale;
use crate::recovery::Rtt;
use crate::time::{Duration, nanos};

/// C.send_quantum at most.
const MAX_QUANTUM: u64 = 65_536;
/// What it is worth of sending time.
pub const QUANTUM_TIME: Duration = Duration::from_millis(1);
/// Stands for the RTT before the first sample.
const NOMINAL_RTT: Duration = Duration::from_millis(1);

/// Below this RTT there is no pacing: timers are not that fine, and what they are late by would be
/// lost, measured as bandwidth, and lost again. The window of about two bandwidth-delay products is
/// then no longer a burst than those that pacing lets pass.
const UNPACED_RTT: Duration = Duration::from_micros(250);

impl Bbr {
    /// C.pacing_rate, or `None` where pacing is of no use.
    pub(super) fn paced_rate(&self, rtt: &Rtt) -> Option<u64> {
        let is_long = !rtt.has_sample() || rtt.min() >= UNPACED_RTT;
        is_long.then(|| self.pacing_rate.unwrap_or_else(|| self.initial_pacing_rate(rtt)))
    }

    /// BBR.pacing_gain and BBR.cwnd_gain: the table of "Summary of Control Behavior in the State
    /// Machine".
    pub(super) fn gains(&self) -> (Gain, Gain) {
        let p = self.params;
        match self.state {
            State::Startup => (p.startup_pacing_gain, p.startup_cwnd_gain),
            State::Drain => (p.drain_pacing_gain, p.drain_cwnd_gain),
            State::ProbeDown => (p.down_pacing_gain, p.cwnd_gain),
            State::ProbeCruise | State::ProbeRefill => (UNIT, p.cwnd_gain),
            State::ProbeUp => (p.up_pacing_gain, p.up_cwnd_gain),
            State::ProbeRtt => (UNIT, p.probe_rtt_cwnd_gain),
        }
    }

    /// InitPacingRate().
    pub(super) fn initial_pacing_rate(&self, rtt: &Rtt) -> u64 {
        let rtt = if rtt.has_sample() { rtt.smoothed() } else { NOMINAL_RTT };
        let nominal = scale(self.initial_window(), 1_000_000_000, nanos(rtt));
        scale(nominal, self.params.startup_pacing_gain, UNIT)
    }

    /// SetPacingRateWithGain(). Until the pipe was full the rate only rises: rates that the
    /// application limited must not slow Startup down.
    pub(super) fn set_pacing_rate(&mut self, gain: Gain) {
        let rate = scale(scale(self.bw(), gain, UNIT), PACING_SHARE, UNIT);
        // Without any sample there is no bandwidth, and a rate of zero would never end.
        if rate > 0 && (self.full_pipe.reached || rate > self.pacing_rate.unwrap_or(0)) {
            self.pacing_rate = Some(rate);
        }
    }

    /// C.send_quantum.
    pub(super) fn send_quantum(&self) -> u64 {
        let quantum = volume(self.pacing_rate.unwrap_or(0), QUANTUM_TIME);
        quantum.min(MAX_QUANTUM).max(2 * self.mss)
    }

    /// BBR.max_inflight.
    fn max_inflight(&self) -> u64 {
        let (_, gain) = self.gains();
        let inflight = self.bdp_multiple(self.bw(), gain);
        self.quantization_budget(inflight.saturating_add(self.aggregation.extra()))
    }

    /// SetCwnd().
    pub(super) fn set_cwnd(&mut self, ack: &AckEvent<'_>) {
        if self.collapsed == Some(ack.now) {
            // The frame that established persistent congestion earns no growth.
            return;
        }
        let grown = self.cwnd.saturating_add(ack.acked_bytes);
        let max_inflight = self.max_inflight();
        if self.conserving {
            // Version 1, first round trip of recovery: what is delivered may be replaced. Less than the
            // path holds is in flight when ProbeRTT ends, and is no measure of it.
            self.cwnd = ack.in_flight.saturating_add(ack.acked_bytes).max(self.bdp());
        } else if self.full_pipe.reached {
            self.cwnd = grown.min(max_inflight);
        } else if self.cwnd < max_inflight || self.delivered < self.initial_window() {
            self.cwnd = grown;
        }
        self.cwnd = self.cwnd.max(self.min_pipe());
        if self.state == State::ProbeRtt {
            self.cwnd = self.cwnd.min(self.probe_rtt_cwnd());
        }
        self.bound_cwnd_for_model();
    }

    /// BoundCwndForModel().
    fn bound_cwnd_for_model(&mut self) {
        let cap = match self.state {
            State::ProbeDown | State::ProbeRefill | State::ProbeUp => self.bounds.inflight_longterm,
            State::ProbeCruise | State::ProbeRtt => self.inflight_with_headroom(),
            State::Startup | State::Drain => UNBOUNDED,
        };
        let cap = cap.min(self.bounds.inflight_shortterm).max(self.min_pipe());
        self.cwnd = self.cwnd.min(cap);
    }
}
