//! BBR, versions 1 to 3: pace at the bandwidth that the path was seen to deliver, keep little more
//! in flight than its bandwidth-delay product.
//!
//! The files follow draft-ietf-ccwg-bbr-06, and so do the names: the functions of its pseudocode are
//! named in the comments. Version 2 is the same machinery with other constants; version 1 has its own
//! cycle and does not let losses bound its model. [`params`] says where they differ.

mod aggregation;
mod bounds;
mod control;
mod full_pipe;
mod gain_cycle;
mod model;
mod params;
mod probe_bw;
mod probe_rtt;
mod recovery;
mod startup;

#[cfg(test)]
mod tests;

use super::filter::WindowedMax;
use super::math::{SplitMix, scale};
use super::window::initial_window;
use super::{
    AckEvent, Algorithm, ControllerConfig, DeliverySnapshot, EcnEvent, Inheritance, LossEvent,
    Phase, RateSample,
};
use crate::recovery::Rtt;
use crate::time::{Duration, Instant, nanos};
use aggregation::Aggregation;
use bounds::Bounds;

use full_pipe::FullPipe;
use model::{Round, WindowUse};
use params::{Cycle, Params, UNIT, V1, V2, V3};
use probe_bw::Probe;
use probe_rtt::{MinRtt, ProbeRtt};
use recovery::Undo;

/// Which BBR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BbrVersion {
    /// The first, published in 2016.
    V1,
    /// After Linux's v2alpha branch.
    V2,
    /// draft-ietf-ccwg-bbr-06.
    V3,
}

/// BBR.state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Startup,
    Drain,
    ProbeDown,
    ProbeCruise,
    ProbeRefill,
    ProbeUp,
    ProbeRtt,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Bbr {
    params: &'static Params,
    state: State,
    random: SplitMix,
    mss: u64,
    configured_window: Option<u64>,
    cwnd: u64,
    /// Bytes per second; `None` before the first RTT sample.
    pacing_rate: Option<u64>,
    /// C.delivered as of the last event.
    delivered: u64,
    /// RS as of the last ACK.
    sample: RateSample,
    round: Round,
    max_bw: WindowedMax,
    min_rtt: MinRtt,
    bounds: Bounds,
    aggregation: Aggregation,
    full_pipe: FullPipe,
    window_use: WindowUse,
    drain_start_round: u64,
    probe: Probe,
    /// Which of version 1's eight phases it is.
    gain_phase: u64,
    probe_rtt: ProbeRtt,
    /// BBR.idle_restart.
    idle_restart: bool,
    /// BBR.prior_cwnd: the last window that neither recovery nor ProbeRTT had changed.
    prior_cwnd: u64,
    undo: Undo,
    /// Start of the last recovery period.
    recovery_start: Option<Instant>,
    /// In recovery: C.delivered when the last loss was found.
    recovering: Option<u64>,
    /// First round trip of recovery in version 1 (packet conservation).
    conserving: bool,
    /// When persistent congestion last took the window.
    collapsed: Option<Instant>,
}

impl Bbr {
    /// A controller for a new path.
    pub fn new(version: BbrVersion, config: &ControllerConfig) -> Self {
        let mss = config.max_datagram.max(1);
        Self {
            params: match version {
                BbrVersion::V1 => &V1,
                BbrVersion::V2 => &V2,
                BbrVersion::V3 => &V3,
            },
            state: State::Startup,
            random: SplitMix::new(config.seed),
            mss,
            configured_window: config.initial_window,
            cwnd: initial_window(config.initial_window, mss),
            pacing_rate: None,
            delivered: 0,
            sample: RateSample::default(),
            round: Round::default(),
            max_bw: WindowedMax::default(),
            min_rtt: MinRtt::default(),
            bounds: Bounds::default(),
            aggregation: Aggregation::new(Instant::ZERO),
            full_pipe: FullPipe::default(),
            window_use: WindowUse::default(),
            drain_start_round: 0,
            probe: Probe::default(),
            gain_phase: 0,
            probe_rtt: ProbeRtt::default(),
            idle_restart: false,
            prior_cwnd: 0,
            undo: Undo::default(),
            recovery_start: None,
            recovering: None,
            conserving: false,
            collapsed: None,
        }
    }

    /// Which BBR it is.
    pub const fn version(&self) -> BbrVersion {
        self.params.version
    }

    /// C.InitialCwnd.
    fn initial_window(&self) -> u64 {
        initial_window(self.configured_window, self.mss)
    }

    /// HandleRestartFromIdle().
    fn restart_from_idle(&mut self, now: Instant) {
        self.idle_restart = true;
        self.aggregation.restart(now);
        if self.is_in_probe_bw() {
            self.set_pacing_rate(UNIT);
        } else if self.state == State::ProbeRtt {
            self.check_probe_rtt_done(now);
        }
    }
}

impl Algorithm for Bbr {
    fn on_sent(&mut self, now: Instant, bytes: u64, snapshot: &DeliverySnapshot) {
        if snapshot.tx_in_flight <= bytes && snapshot.app_limited {
            self.restart_from_idle(now);
        }
        self.window_use.on_sent(snapshot.tx_in_flight + self.mss > self.cwnd);
    }

    /// UpdateOnACK().
    fn on_ack(&mut self, ack: &AckEvent<'_>) {
        self.delivered = ack.rate.prior_delivered + ack.rate.delivered;
        self.sample = *ack.rate;
        if self.pacing_rate.is_none() && ack.rtt.has_sample() {
            self.pacing_rate = Some(self.initial_pacing_rate(ack.rtt));
        }
        self.bounds.update_latest(ack.rate, self.delivered);
        self.update_max_bw(ack);
        self.adapt_lower_bounds();
        let round = (self.round.count, self.full_pipe.reached);
        self.aggregation.update(ack.now, ack.acked_bytes, self.bw(), self.cwnd, round);
        self.check_full_pipe(ack);
        self.check_startup_done(ack);
        self.check_drain_done(ack);
        match self.params.cycle {
            Cycle::Gains => self.update_gain_cycle(ack),
            Cycle::Phases(up_end) => self.update_phase(ack, up_end),
        }
        self.check_probe_rtt(ack);
        self.bounds.advance_latest(ack.rate);
        self.check_recovery_done(ack);
        self.set_pacing_rate(self.gains().0);
        self.set_cwnd(ack);
    }

    /// HandleLostPacket().
    fn on_packet_lost(&mut self, loss: &LossEvent) -> bool {
        self.delivered = loss.delivered;
        let begins = self.note_congestion(loss.now, loss.time_sent);
        self.bounds.runs_in_round += u64::from(loss.begins_run);
        self.deflate(loss);
        if self.is_bounded_by_loss() {
            self.check_probe_loss(loss);
        }
        begins
    }

    /// Marks count as congestion, as the draft demands of those who send ECT (section "ECN"): as if
    /// the marked packets were lost.
    fn on_ecn(&mut self, report: &EcnEvent<'_>) -> bool {
        if report.ce == 0 {
            return false;
        }
        let begins = self.note_congestion(report.now, report.time_sent);
        self.forbid_undo();
        if self.is_bounded_by_loss() {
            self.bounds.runs_in_round += report.ce;
            self.bounds.marked_in_round += report.ce * self.mss;
            self.check_probe_marks(report.now);
        }
        begins
    }

    fn on_persistent_congestion(&mut self, now: Instant) {
        self.collapse(now);
    }

    fn undo(&mut self) -> bool {
        self.take_back()
    }

    fn available(&self, in_flight: u64) -> u64 {
        self.cwnd.saturating_sub(in_flight)
    }

    fn window(&self) -> u64 {
        self.cwnd
    }

    fn ssthresh(&self) -> Option<u64> {
        None
    }

    fn phase(&self) -> Phase {
        match self.state {
            State::Startup => Phase::Startup,
            State::Drain => Phase::Drain,
            State::ProbeDown => Phase::ProbeBwDown,
            State::ProbeCruise => Phase::ProbeBwCruise,
            State::ProbeRefill => Phase::ProbeBwRefill,
            State::ProbeUp => Phase::ProbeBwUp,
            State::ProbeRtt => Phase::ProbeRtt,
        }
    }

    fn recovery_start(&self) -> Option<Instant> {
        self.recovery_start
    }

    fn pacing_rate(&self, rtt: &Rtt) -> Option<u64> {
        self.paced_rate(rtt)
    }

    fn burst_time(&self) -> Duration {
        control::QUANTUM_TIME
    }

    /// As many as a burst: what restarts from idle is paced at the bandwidth as known
    /// (draft-ietf-ccwg-bbr-06, "Restarting From Idle").
    fn restart_datagrams(&self) -> u64 {
        if self.pacing_rate.is_none() { 10 } else { (self.send_quantum() / self.mss).min(10) }
    }

    /// The window leaves room for as much again: by it there would be two acknowledgements per round
    /// trip where probing needs four (draft-ietf-ccwg-bbr-06, "Impact of changing ACK frequency").
    fn usual_flight(&self) -> u64 {
        self.target_inflight().max(self.min_pipe())
    }

    /// Samples taken in ProbeRTT say little about the bandwidth.
    fn holds_back(&self) -> bool {
        self.state == State::ProbeRtt
    }

    fn sends_what_it_measures(&self) -> bool {
        true
    }

    fn set_max_datagram(&mut self, bytes: u64) {
        let before = self.initial_window();
        self.mss = bytes.max(1);
        // RFC 9002 section 7.2: the initial window follows the datagram size until it has served.
        if self.cwnd == before && self.delivered == 0 {
            self.cwnd = self.initial_window();
        }
        self.cwnd = self.cwnd.max(2 * self.mss);
    }

    /// A path that has left startup is taken to be full at the rate that it last delivered.
    fn inherit(&mut self, past: &Inheritance<'_>) {
        self.cwnd = past.window.max(2 * self.mss);
        self.recovery_start = past.recovery_start;
        if !past.rtt.has_sample() {
            return;
        }
        self.min_rtt.inherit(past.rtt.min());
        if past.ssthresh.is_some() {
            let rate = scale(past.window, 1_000_000_000, nanos(past.rtt.smoothed()));
            self.max_bw.update(0, past.delivery_rate.unwrap_or(rate), self.params.max_bw_window);
            self.full_pipe.set_full();
            self.state = State::ProbeCruise;
            self.set_pacing_rate(UNIT);
        }
    }
}
