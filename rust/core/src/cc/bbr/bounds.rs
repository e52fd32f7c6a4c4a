//! What losses say about the path (draft-ietf-ccwg-bbr-06, "Updating the Model Upon Packet Loss"):
//! short-term bounds while not probing, the long-term bound while probing. Version 1 has neither.

use super::model::UNBOUNDED;
use super::params::{BETA, Cycle, HEADROOM, LOSS_THRESHOLD, UNIT};
use super::{Bbr, State};
use crate::cc::math::scale;
use crate::cc::{LossEvent, RateSample};
use crate::time::Instant;

/// The bounds, and what was delivered in the current round trip.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// BBR.bw_shortterm.
    pub bw_shortterm: u64,
    /// BBR.inflight_shortterm.
    pub inflight_shortterm: u64,
    /// BBR.inflight_longterm.
    pub inflight_longterm: u64,
    /// BBR.bw_latest.
    bw_latest: u64,
    /// BBR.inflight_latest.
    pub inflight_latest: u64,
    /// BBR.loss_round_delivered.
    loss_round_delivered: u64,
    /// BBR.loss_round_start.
    pub loss_round_start: bool,
    /// BBR.is_loss_in_round.
    pub loss_in_round: bool,
    /// Unbroken runs of lost packets, and marked packets, in the round trip.
    pub runs_in_round: u64,
    /// Bytes marked CE in the round trip.
    pub marked_in_round: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            bw_shortterm: UNBOUNDED,
            inflight_shortterm: UNBOUNDED,
            inflight_longterm: UNBOUNDED,
            bw_latest: 0,
            inflight_latest: 0,
            loss_round_delivered: 0,
            loss_round_start: false,
            loss_in_round: false,
            runs_in_round: 0,
            marked_in_round: 0,
        }
    }
}

impl Bounds {
    /// UpdateLatestDeliverySignals(), near the start of ACK processing.
    pub fn update_latest(&mut self, rate: &RateSample, delivered: u64) {
        self.bw_latest = self.bw_latest.max(rate.delivery_rate.unwrap_or(0));
        self.inflight_latest = self.inflight_latest.max(rate.delivered);
        self.loss_round_start = rate.prior_delivered >= self.loss_round_delivered;
        if self.loss_round_start {
            self.loss_round_delivered = delivered;
        }
    }

    /// AdvanceLatestDeliverySignals(), near the end of ACK processing.
    pub fn advance_latest(&mut self, rate: &RateSample) {
        if self.loss_round_start {
            self.bw_latest = rate.delivery_rate.unwrap_or(0);
            self.inflight_latest = rate.delivered;
            self.runs_in_round = 0;
            self.marked_in_round = 0;
        }
    }

    /// ResetCongestionSignals().
    pub fn reset_signals(&mut self) {
        self.loss_in_round = false;
        self.bw_latest = 0;
        self.inflight_latest = 0;
    }

    /// ResetShortTermModel().
    pub fn reset_shortterm(&mut self) {
        self.bw_shortterm = UNBOUNDED;
        self.inflight_shortterm = UNBOUNDED;
    }

    /// The first congestion in a round trip: the round trip is counted from here.
    pub fn begin_loss_round(&mut self, delivered: u64) {
        if !self.loss_in_round {
            self.loss_in_round = true;
            self.loss_round_delivered = delivered;
        }
    }

    /// InitLowerBounds() and LossLowerBounds().
    fn cut_shortterm(&mut self, max_bw: u64, cwnd: u64) {
        let bw = if self.bw_shortterm == UNBOUNDED { max_bw } else { self.bw_shortterm };
        let inflight = self.inflight_shortterm;
        let inflight = if inflight == UNBOUNDED { cwnd } else { inflight };
        self.bw_shortterm = self.bw_latest.max(scale(bw, BETA, UNIT));
        self.inflight_shortterm = self.inflight_latest.max(scale(inflight, BETA, UNIT));
    }
}

/// IsInflightTooHigh(): whether `lost` bytes of those in flight are more than is tolerated.
pub fn is_too_high(lost: u64, tx_in_flight: u64) -> bool {
    lost > scale(tx_in_flight, LOSS_THRESHOLD, UNIT)
}

/// InflightAtLoss(): at which volume in flight the losses crossed the threshold, which may be inside
/// the lost packet of `size` bytes. It was sent as the last of `tx_in_flight`; `lost` includes it.
pub fn inflight_at_loss(size: u64, tx_in_flight: u64, lost: u64) -> u64 {
    let inflight_before = tx_in_flight.saturating_sub(size);
    let lost_before = lost.saturating_sub(size);
    let tolerated = scale(inflight_before, LOSS_THRESHOLD, UNIT);
    let prefix = scale(tolerated.saturating_sub(lost_before), UNIT, UNIT - LOSS_THRESHOLD);
    inflight_before + prefix
}

impl Bbr {
    /// UpdateCongestionSignals() after UpdateMaxBw(): once per round trip with losses.
    pub(super) fn adapt_lower_bounds(&mut self) {
        if !self.bounds.loss_round_start {
            return;
        }
        if self.bounds.loss_in_round && !self.is_probing_bw() && self.is_bounded_by_loss() {
            self.bounds.cut_shortterm(self.max_bw.value(), self.cwnd);
        }
        self.bounds.loss_in_round = false;
    }

    pub(super) fn is_bounded_by_loss(&self) -> bool {
        self.params.cycle != Cycle::Gains
    }

    /// IsProbingBW().
    fn is_probing_bw(&self) -> bool {
        matches!(self.state, State::Startup | State::ProbeRefill | State::ProbeUp)
    }

    /// The part of HandleLostPacket() that concerns probes. A loss may be found long after packets
    /// that were sent later were acknowledged: the lost packet itself knows what was in flight.
    pub(super) fn check_probe_loss(&mut self, loss: &LossEvent) {
        if !self.probe.samples {
            return;
        }
        let tx_in_flight = loss.snapshot.tx_in_flight;
        let lost = loss.lost.saturating_sub(loss.snapshot.lost);
        if is_too_high(lost, tx_in_flight) {
            let at_loss = inflight_at_loss(loss.size, tx_in_flight, lost);
            self.on_inflight_too_high(loss.now, at_loss, loss.snapshot.app_limited);
        }
    }

    /// The same for marks. They come with an acknowledgment, so there is no delay to correct for.
    pub(super) fn check_probe_marks(&mut self, now: Instant) {
        let RateSample { tx_in_flight, app_limited, .. } = self.sample;
        if self.probe.samples && is_too_high(self.bounds.marked_in_round, tx_in_flight) {
            self.on_inflight_too_high(now, tx_in_flight, app_limited);
        }
    }

    /// HandleInflightTooHigh().
    fn on_inflight_too_high(&mut self, now: Instant, tx_in_flight: u64, app_limited: bool) {
        self.probe.too_high = true;
        // React once per probe.
        self.probe.samples = false;
        if !app_limited {
            let least = scale(self.target_inflight(), BETA, UNIT);
            self.bounds.inflight_longterm = tx_in_flight.max(least);
        }
        if self.state == State::ProbeUp {
            self.undo.probing = Some(State::ProbeUp);
            self.start_down(now);
        }
    }

    /// TargetInflight(): the bandwidth-delay product, unless congestion has cut the window.
    pub(super) fn target_inflight(&self) -> u64 {
        self.bdp().min(self.cwnd)
    }

    /// InflightWithHeadroom().
    pub(super) fn inflight_with_headroom(&self) -> u64 {
        let longterm = self.bounds.inflight_longterm;
        if longterm == UNBOUNDED {
            return UNBOUNDED;
        }
        let headroom = scale(longterm, HEADROOM, UNIT).max(self.mss);
        longterm.saturating_sub(headroom).max(self.min_pipe())
    }
}
