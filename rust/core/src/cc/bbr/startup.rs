//! Startup and Drain (draft-ietf-ccwg-bbr-06, "Startup", "Drain").

use super::bounds::is_too_high;
use super::params::{DRAIN_ROUNDS, UNIT};
use super::{Bbr, State};
use crate::cc::AckEvent;

impl Bbr {
    /// CheckFullBWReached().
    pub(super) fn check_full_pipe(&mut self, ack: &AckEvent<'_>) {
        if !self.round.start || ack.rate.app_limited {
            return;
        }
        // An ACK that allows no estimate, its interval being too short, is no sign of a plateau.
        let Some(sample) = ack.rate.delivery_rate else { return };
        let bw = if self.params.plateau_of_filter { self.max_bw.value() } else { sample };
        self.full_pipe.on_round(bw);
    }

    /// CheckStartupDone().
    pub(super) fn check_startup_done(&mut self, ack: &AckEvent<'_>) {
        if self.state != State::Startup {
            return;
        }
        if self.is_loss_too_high_in_startup(ack) {
            self.undo.probing = Some(State::Startup);
            self.full_pipe.set_full();
            self.bounds.inflight_longterm = self.bdp().max(self.bounds.inflight_latest);
        }
        if self.full_pipe.reached {
            self.state = State::Drain;
            self.drain_start_round = self.round.count;
        }
    }

    /// CheckStartupHighLoss(): judged at the end of a round trip with losses, all of it spent in
    /// recovery. Whether the application limited it does not matter.
    fn is_loss_too_high_in_startup(&self, ack: &AckEvent<'_>) -> bool {
        self.bounds.loss_round_start
            && self.recovering.is_some()
            && self.bounds.runs_in_round >= self.params.startup_loss_runs
            && is_too_high(ack.rate.lost + self.bounds.marked_in_round, ack.rate.tx_in_flight)
    }

    /// CheckDrainDone().
    pub(super) fn check_drain_done(&mut self, ack: &AckEvent<'_>) {
        if self.state != State::Drain {
            return;
        }
        let rounds = self.round.count - self.drain_start_round;
        if ack.in_flight <= self.inflight(self.bw(), UNIT) || rounds > DRAIN_ROUNDS {
            self.enter_probe_bw(ack.now);
        }
    }
}
