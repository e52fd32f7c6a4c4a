//! The window around loss recovery: remembered before, restored after, and everything taken back if
//! the losses were none (draft-ietf-ccwg-bbr-06, "Modulating cwnd in Loss Recovery", "Updating the
//! Model Upon Detecting a Spurious Loss Recovery").

use super::params::Cycle;
use super::{Bbr, State};
use crate::cc::{AckEvent, LossEvent};
use crate::time::Instant;

/// What losses of the current recovery period have changed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Undo {
    /// There is something to take back.
    armed: bool,
    /// BBR.undo_state: what the losses ended.
    pub probing: Option<State>,
    bw_shortterm: u64,
    inflight_shortterm: u64,
    inflight_longterm: u64,
}

impl Bbr {
    /// SaveCwnd().
    pub(super) fn save_cwnd(&mut self) {
        let modulated = self.recovering.is_some() || self.state == State::ProbeRtt;
        self.prior_cwnd = if modulated { self.prior_cwnd.max(self.cwnd) } else { self.cwnd };
    }

    /// RestoreCwnd().
    pub(super) fn restore_cwnd(&mut self) {
        self.cwnd = self.cwnd.max(self.prior_cwnd);
    }

    /// A congestion signal about a packet sent at `time_sent`. True if it begins a recovery period.
    /// The draft saves state at the first loss of each round trip; a recovery period is what can be
    /// found spurious as a whole, so it is saved at the first loss of one.
    pub(super) fn note_congestion(&mut self, now: Instant, time_sent: Instant) -> bool {
        self.bounds.begin_loss_round(self.delivered);
        let begins = self.recovery_start.is_none_or(|start| time_sent > start);
        if begins {
            self.recovery_start = Some(now);
            self.save_state();
        }
        if self.recovering.is_none() && self.params.cycle == Cycle::Gains {
            self.conserving = true;
            self.round.begin(self.delivered);
        }
        self.recovering = Some(self.delivered);
        begins
    }

    /// SaveStateUponLoss().
    fn save_state(&mut self) {
        self.save_cwnd();
        self.undo = Undo {
            armed: true,
            probing: None,
            bw_shortterm: self.bounds.bw_shortterm,
            inflight_shortterm: self.bounds.inflight_shortterm,
            inflight_longterm: self.bounds.inflight_longterm,
        };
    }

    /// What a lost packet does to the window of version 1: it goes down by what was lost.
    pub(super) fn deflate(&mut self, loss: &LossEvent) {
        if self.params.cycle == Cycle::Gains {
            self.cwnd = self.cwnd.saturating_sub(loss.size).max(2 * self.mss);
        }
    }

    /// Recovery is over when a packet arrives that was sent after the last loss was found.
    pub(super) fn check_recovery_done(&mut self, ack: &AckEvent<'_>) {
        if self.round.start {
            self.conserving = false;
        }
        if self.recovering.is_some_and(|delivered| ack.rate.prior_delivered >= delivered) {
            self.recovering = None;
            self.conserving = false;
            self.restore_cwnd();
        }
    }

    /// OnEnterRTO(); in QUIC persistent congestion is what comes closest.
    pub(super) fn collapse(&mut self, now: Instant) {
        self.save_state();
        // RFC 9002 section 7.6.2: kMinimumWindow.
        self.cwnd = 2 * self.mss;
        self.collapsed = Some(now);
        // What was sent before is settled with this; the next recovery period is another.
        self.recovery_start = Some(now);
        self.recovering = Some(self.delivered);
        self.conserving = false;
    }

    /// HandleSpuriousLossDetection(). False if there is nothing to take back.
    pub(super) fn take_back(&mut self) -> bool {
        if !self.undo.armed {
            return false;
        }
        let undo = core::mem::take(&mut self.undo);
        self.restore_cwnd();
        self.recovery_start = None;
        self.recovering = None;
        self.conserving = false;
        let bounds = &mut self.bounds;
        bounds.loss_in_round = false;
        bounds.bw_shortterm = bounds.bw_shortterm.max(undo.bw_shortterm);
        bounds.inflight_shortterm = bounds.inflight_shortterm.max(undo.inflight_shortterm);
        bounds.inflight_longterm = bounds.inflight_longterm.max(undo.inflight_longterm);
        self.full_pipe.restart(0);
        match undo.probing {
            Some(State::Startup) if self.state != State::Startup => {
                self.full_pipe.reached = false;
                if self.state != State::ProbeRtt {
                    self.state = State::Startup;
                }
            }
            Some(State::ProbeUp) if !matches!(self.state, State::ProbeUp | State::ProbeRtt) => {
                self.start_refill();
            }
            _ => {}
        }
        true
    }

    /// The current recovery period was confirmed by what cannot be spurious.
    pub(super) fn forbid_undo(&mut self) {
        self.undo.armed = false;
    }
}
