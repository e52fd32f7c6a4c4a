//! ProbeBW of versions 2 and 3: down, cruise, refill, up (draft-ietf-ccwg-bbr-06, "ProbeBW").

use super::model::UNBOUNDED;
use super::params::{Cycle, UNIT, UpEnd};
use super::{Bbr, State};
use crate::cc::AckEvent;
use crate::time::{Duration, Instant};

/// The longest time between probes for those who share a link with Reno or CUBIC, in round trips.
const RENO_ROUNDS: u64 = 63;
/// The shortest time between probes by the clock; up to a second more is added at random.
const WAIT: Duration = Duration::from_secs(2);
/// Growth doubles each round trip, this often at most.
const MAX_UP_ROUNDS: u32 = 30;

/// BBR.ack_phase: what acknowledgments say about probing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum AckPhase {
    /// Nothing.
    #[default]
    Init,
    /// Sending refills the pipe.
    Refilling,
    /// Sending probes; acknowledgments are of before.
    ProbeStarting,
    /// They tell how probing goes.
    ProbeFeedback,
    /// Probing is over; acknowledgments still tell of it.
    ProbeStopping,
}

/// State of the cycle. The cycle of version 1 uses `stamp` alone.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    ack_phase: AckPhase,
    /// BBR.is_bw_probe_sample: losses tell whether the probe is too high.
    pub samples: bool,
    /// BBR.bw_probe_up_acked.
    up_acked: u64,
    /// BBR.probe_up_acked_per_inc.
    acked_per_inc: u64,
    /// BBR.bw_probe_up_rounds.
    up_rounds: u32,
    /// BBR.rounds_since_probe_up.
    pub rounds_since_up: u64,
    /// BBR.bw_probe_wait.
    wait: Duration,
    /// BBR.cycle_stamp.
    pub stamp: Instant,
    /// BBR.prev_probe_too_high.
    pub too_high: bool,
    /// BBR.prev_probe_precautionary.
    precautionary: bool,
    /// BBR.cycle_count, the time of the bandwidth filter.
    pub cycle_count: u64,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            ack_phase: AckPhase::Init,
            samples: false,
            up_acked: 0,
            acked_per_inc: UNBOUNDED,
            up_rounds: 0,
            rounds_since_up: 0,
            wait: Duration::ZERO,
            stamp: Instant::ZERO,
            too_high: false,
            precautionary: false,
            cycle_count: 0,
        }
    }
}

impl Probe {
    /// For how many round trips inflight_longterm was raised.
    #[cfg(test)]
    pub fn growth_rounds(&self) -> u32 {
        self.up_rounds
    }

    /// One datagram of growth for so many bytes.
    #[cfg(test)]
    pub fn set_growth(&mut self, acked_per_inc: u64) {
        self.acked_per_inc = acked_per_inc;
    }

    /// What is acknowledged from now on says nothing about probing, or soon will not.
    pub fn stop(&mut self) {
        self.ack_phase = AckPhase::ProbeStopping;
    }
}

impl Bbr {
    /// IsInAProbeBWState().
    pub(super) fn is_in_probe_bw(&self) -> bool {
        use State::{ProbeCruise, ProbeDown, ProbeRefill, ProbeUp};
        matches!(self.state, ProbeDown | ProbeCruise | ProbeRefill | ProbeUp)
    }

    /// StartProbeBW_DOWN().
    pub(super) fn start_down(&mut self, now: Instant) {
        self.bounds.reset_signals();
        self.probe.acked_per_inc = UNBOUNDED;
        // PickProbeWait(): chance keeps flows from probing in step.
        self.probe.rounds_since_up = self.random.below(2);
        self.probe.wait = WAIT + Duration::from_micros(self.random.below(1_000_000));
        self.probe.stamp = now;
        self.probe.stop();
        self.round.begin(self.delivered);
        self.state = State::ProbeDown;
    }

    /// StartProbeBW_REFILL().
    pub(super) fn start_refill(&mut self) {
        self.bounds.reset_shortterm();
        self.probe.up_rounds = 0;
        self.probe.up_acked = 0;
        self.probe.precautionary = false;
        self.probe.ack_phase = AckPhase::Refilling;
        self.round.begin(self.delivered);
        self.state = State::ProbeRefill;
    }

    /// StartProbeBW_UP().
    fn start_up(&mut self, ack: &AckEvent<'_>) {
        self.probe.ack_phase = AckPhase::ProbeStarting;
        self.round.begin(self.delivered);
        self.full_pipe.restart(ack.rate.delivery_rate.unwrap_or(0));
        self.probe.stamp = ack.now;
        self.state = State::ProbeUp;
        self.raise_slope();
    }

    /// UpdateProbeBWCyclePhase().
    pub(super) fn update_phase(&mut self, ack: &AckEvent<'_>, up_end: UpEnd) {
        if !self.full_pipe.reached || self.adapt_long_term_model(ack) {
            return;
        }
        if self.state == State::ProbeUp && self.is_time_to_go_down(ack, up_end) {
            self.probe.too_high = false;
            self.start_down(ack.now);
            return;
        }
        match self.state {
            State::ProbeDown | State::ProbeCruise if self.is_time_to_probe(ack.now) => {
                self.start_refill();
            }
            State::ProbeDown if self.is_time_to_cruise(ack) => self.state = State::ProbeCruise,
            // One round trip of refilling, so that what the probe sends meets a full pipe.
            State::ProbeRefill if self.round.start => {
                self.probe.samples = true;
                self.start_up(ack);
            }
            _ => {}
        }
    }

    /// IsTimeToProbeBW().
    fn is_time_to_probe(&self, now: Instant) -> bool {
        let reno_rounds = (self.target_inflight() / self.mss).min(RENO_ROUNDS);
        now > self.probe.stamp + self.probe.wait || self.probe.rounds_since_up >= reno_rounds
    }

    /// IsTimeToCruise().
    fn is_time_to_cruise(&self, ack: &AckEvent<'_>) -> bool {
        ack.in_flight <= self.inflight_with_headroom()
            && ack.in_flight <= self.inflight(self.max_bw.value(), UNIT)
    }

    /// Whether `volume` was in flight, as far as whole packets go. That is judged by the flight before
    /// the ACK: after it, no flight has the volume of the window.
    pub(super) fn was_in_flight(&self, ack: &AckEvent<'_>, volume: u64) -> bool {
        ack.prior_in_flight.saturating_add(self.mss) > volume
    }

    /// IsTimeToGoDown().
    fn is_time_to_go_down(&mut self, ack: &AckEvent<'_>, up_end: UpEnd) -> bool {
        let longterm = self.bounds.inflight_longterm;
        // "Precautionary Bandwidth Probing: Deceleration".
        if self.probe.too_high && self.was_in_flight(ack, longterm) {
            self.probe.precautionary = true;
            return true;
        }
        match up_end {
            UpEnd::QueueBuilt => {
                let gain = self.params.up_pacing_gain;
                self.has_min_rtt_passed(ack.now)
                    && self.was_in_flight(ack, self.inflight(self.max_bw.value(), gain))
            }
            UpEnd::Plateau if self.window_use.is_limited() && self.cwnd >= longterm => {
                // The bandwidth is limited by inflight_longterm, not by the path.
                self.full_pipe.restart(ack.rate.delivery_rate.unwrap_or(0));
                false
            }
            UpEnd::Plateau => self.full_pipe.now,
        }
    }

    /// Whether the phase has lasted a min_rtt.
    pub(super) fn has_min_rtt_passed(&self, now: Instant) -> bool {
        self.min_rtt.estimate().is_some_and(|min_rtt| now > self.probe.stamp + min_rtt)
    }

    /// AdaptLongTermModel(): follows the ACK phases, and raises inflight_longterm where losses are
    /// few. True if it decided a state transition.
    fn adapt_long_term_model(&mut self, ack: &AckEvent<'_>) -> bool {
        if self.probe.ack_phase == AckPhase::ProbeStarting && self.round.start {
            self.probe.ack_phase = AckPhase::ProbeFeedback;
        }
        if self.probe.ack_phase == AckPhase::ProbeStopping && self.round.start {
            self.probe.samples = false;
            self.probe.ack_phase = AckPhase::Init;
            if self.is_in_probe_bw() {
                // AdvanceMaxBwFilter(): here and nowhere else, or good samples would be forgotten
                // before the next probe.
                self.probe.cycle_count += u64::from(!ack.rate.app_limited);
                // "Precautionary Bandwidth Probing: Acceleration".
                if self.probe.precautionary && !self.probe.too_high {
                    self.start_refill();
                    return true;
                }
            }
        }
        let rate = ack.rate;
        let longterm = self.bounds.inflight_longterm;
        if longterm != UNBOUNDED && !super::bounds::is_too_high(rate.lost, rate.tx_in_flight) {
            self.bounds.inflight_longterm = longterm.max(rate.tx_in_flight);
            if self.state == State::ProbeUp {
                self.raise_long_term(ack);
            }
        }
        false
    }

    /// ProbeInflightLongtermUpward().
    pub(super) fn raise_long_term(&mut self, ack: &AckEvent<'_>) {
        if !self.window_use.is_limited() || self.cwnd < self.bounds.inflight_longterm {
            return;
        }
        self.probe.up_acked += ack.acked_bytes;
        // What is left of the increments stays for the next; it does not count twice.
        let increments = self.probe.up_acked / self.probe.acked_per_inc.max(1);
        self.probe.up_acked -= increments * self.probe.acked_per_inc;
        self.bounds.inflight_longterm += increments * self.mss;
        if self.round.start {
            self.raise_slope();
        }
    }

    /// RaiseInflightLongtermSlope(): 1, 2, 4, 8... datagrams per round trip.
    fn raise_slope(&mut self) {
        let growth = 1 << self.probe.up_rounds;
        self.probe.up_rounds = (self.probe.up_rounds + 1).min(MAX_UP_ROUNDS);
        self.probe.acked_per_inc = (self.cwnd / growth).max(self.mss);
    }

    /// EnterProbeBW().
    pub(super) fn enter_probe_bw(&mut self, now: Instant) {
        match self.params.cycle {
            Cycle::Gains => self.enter_gain_cycle(now),
            Cycle::Phases(_) => self.start_down(now),
        }
    }
}
