//! The model of the path: round trips, bandwidth, and the volumes that follow from it.

use super::params::{Cycle, Gain, MIN_PIPE_DATAGRAMS, UNIT};
use super::{Bbr, State};
use crate::cc::AckEvent;
use crate::cc::math::scale;
use crate::time::{Duration, nanos};

/// Stands for "no bound" where the draft says Infinity.
pub const UNBOUNDED: u64 = u64::MAX;

/// Packet-timed round trips (draft-ietf-ccwg-bbr-06, "BBR.round_count").
#[derive(Clone, Copy, Debug, Default)]
pub struct Round {
    /// BBR.round_count.
    pub count: u64,
    /// BBR.round_start: this ACK began a round trip.
    pub start: bool,
    /// BBR.next_round_delivered.
    next_delivered: u64,
}

impl Round {
    /// StartRound(): what is sent from now on belongs to the next round trip.
    pub fn begin(&mut self, delivered: u64) {
        self.next_delivered = delivered;
    }

    /// UpdateRound(): the newest packet acknowledged was sent when `prior_delivered` bytes had been
    /// delivered; now it is `delivered`.
    fn update(&mut self, prior_delivered: u64, delivered: u64) {
        self.start = prior_delivered >= self.next_delivered;
        if self.start {
            self.begin(delivered);
            self.count += 1;
        }
    }
}

/// Whether the window was what limited sending over the last round trip (C.is_cwnd_limited). It is
/// judged when sending: at an ACK there is always room.
#[derive(Clone, Copy, Debug, Default)]
pub struct WindowUse {
    now: bool,
    before: bool,
}

impl WindowUse {
    pub fn on_sent(&mut self, full: bool) {
        self.now |= full;
    }

    fn on_round(&mut self) {
        *self = Self { now: false, before: self.now };
    }

    pub fn is_limited(&self) -> bool {
        self.now || self.before
    }
}

impl Bbr {
    /// UpdateRound() and UpdateMaxBw().
    pub(super) fn update_max_bw(&mut self, ack: &AckEvent<'_>) {
        self.round.update(ack.rate.prior_delivered, self.delivered);
        if self.round.start {
            self.probe.rounds_since_up += 1;
            self.window_use.on_round();
        }
        let time = match self.params.cycle {
            Cycle::Gains => self.round.count,
            Cycle::Phases(_) => self.probe.cycle_count,
        };
        // A rate that the application limited is a lower bound: it counts if it raises the maximum.
        let sample = ack.rate.delivery_rate;
        let sample = sample.filter(|bw| !ack.rate.app_limited || *bw >= self.max_bw.value());
        if let Some(bw) = sample {
            self.max_bw.update(time, bw, self.params.max_bw_window);
        }
    }

    /// BBR.bw in bytes per second.
    pub(super) fn bw(&self) -> u64 {
        self.max_bw.value().min(self.bounds.bw_shortterm)
    }

    /// BBR.bdp.
    pub(super) fn bdp(&self) -> u64 {
        self.bdp_multiple(self.bw(), UNIT)
    }

    /// BDPMultiple(): `gain` times what `bw` delivers in a min_rtt.
    pub(super) fn bdp_multiple(&self, bw: u64, gain: Gain) -> u64 {
        match self.min_rtt.estimate() {
            Some(min_rtt) => scale(volume(bw, min_rtt), gain, UNIT),
            None => self.initial_window(),
        }
    }

    /// Inflight(): [`Self::bdp_multiple`] as far as it can be kept in flight in whole bursts.
    pub(super) fn inflight(&self, bw: u64, gain: Gain) -> u64 {
        self.quantization_budget(self.bdp_multiple(bw, gain))
    }

    /// QuantizationBudget(). QUIC's offload budget is the send quantum.
    pub(super) fn quantization_budget(&self, inflight: u64) -> u64 {
        let inflight = inflight.max(self.send_quantum()).max(self.min_pipe());
        if self.state == State::ProbeUp { inflight + 2 * self.mss } else { inflight }
    }

    /// BBR.MinPipeCwnd in bytes.
    pub(super) fn min_pipe(&self) -> u64 {
        MIN_PIPE_DATAGRAMS * self.mss
    }
}

/// Bytes that `bw` bytes per second deliver in `time`.
pub fn volume(bw: u64, time: Duration) -> u64 {
    scale(bw, nanos(time), 1_000_000_000)
}
