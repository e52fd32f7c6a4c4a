//! The minimal round-trip time, and ProbeRTT, which sends less to measure it
//! (draft-ietf-ccwg-bbr-06, "ProbeRTT").

use super::params::{MIN_RTT_WINDOW, PROBE_RTT_DURATION};
use super::{Bbr, State};
use crate::cc::AckEvent;
use crate::time::{Duration, Instant};

/// A sample and when it was taken.
#[derive(Clone, Copy, Debug)]
struct Sample {
    rtt: Duration,
    taken: Instant,
}

/// Both minimum filters. Samples are raw: with the peer's acknowledgment delay taken off, the peer
/// could steer the window.
#[derive(Clone, Copy, Debug, Default)]
pub struct MinRtt {
    /// BBR.min_rtt and BBR.min_rtt_stamp.
    path: Option<Sample>,
    /// BBR.probe_rtt_min_delay and BBR.probe_rtt_min_stamp.
    recent: Option<Sample>,
    /// BBR.probe_rtt_expired.
    expired: bool,
}

impl MinRtt {
    /// BBR.min_rtt; `None` before the first sample.
    pub fn estimate(&self) -> Option<Duration> {
        self.path.map(|sample| sample.rtt)
    }

    /// Goes on with what is known of a path in use. When it was measured is not known: it counts as
    /// old.
    pub fn inherit(&mut self, rtt: Duration) {
        self.path = Some(Sample { rtt, taken: Instant::ZERO });
    }

    /// UpdateMinRTT().
    fn update(&mut self, now: Instant, rtt: Option<Duration>, interval: Duration) {
        let is_old = |sample: &Sample, age| now > sample.taken + age;
        self.expired = self.recent.is_some_and(|recent| is_old(&recent, interval));
        if let Some(rtt) = rtt
            && (self.expired || self.recent.is_none_or(|recent| rtt < recent.rtt))
        {
            self.recent = Some(Sample { rtt, taken: now });
        }
        let Some(recent) = self.recent else { return };
        let replaces = |path: Sample| recent.rtt < path.rtt || is_old(&path, MIN_RTT_WINDOW);
        if self.path.is_none_or(replaces) {
            self.path = self.recent;
        }
    }

    /// The next ProbeRTT is an interval away from now.
    fn postpone(&mut self, now: Instant) {
        if let Some(recent) = &mut self.recent {
            recent.taken = now;
        }
    }
}

/// Progress of a ProbeRTT.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProbeRtt {
    /// BBR.probe_rtt_done_stamp: set once the flight is small.
    done: Option<Instant>,
    /// BBR.probe_rtt_round_done.
    round_done: bool,
}

impl Bbr {
    /// UpdateMinRTT() and CheckProbeRTT().
    pub(super) fn check_probe_rtt(&mut self, ack: &AckEvent<'_>) {
        self.min_rtt.update(ack.now, ack.rtt_sample, self.params.probe_rtt_interval);
        if self.state != State::ProbeRtt && self.min_rtt.expired && !self.idle_restart {
            self.save_cwnd();
            self.state = State::ProbeRtt;
            self.probe_rtt = ProbeRtt::default();
            self.probe.stop();
            self.round.begin(self.delivered);
        }
        if self.state == State::ProbeRtt {
            self.handle_probe_rtt(ack);
        }
        if ack.rate.delivered > 0 {
            self.idle_restart = false;
        }
    }

    /// HandleProbeRTT(). That samples are too low meanwhile is told by `holds_back`.
    fn handle_probe_rtt(&mut self, ack: &AckEvent<'_>) {
        if self.probe_rtt.done.is_none() {
            if ack.in_flight <= self.probe_rtt_cwnd() {
                self.probe_rtt.done = Some(ack.now + PROBE_RTT_DURATION);
                self.round.begin(self.delivered);
            }
            return;
        }
        self.probe_rtt.round_done |= self.round.start;
        if self.probe_rtt.round_done {
            self.check_probe_rtt_done(ack.now);
        }
    }

    /// CheckProbeRTTDone() and ExitProbeRTT().
    pub(super) fn check_probe_rtt_done(&mut self, now: Instant) {
        if self.probe_rtt.done.is_none_or(|done| now <= done) {
            return;
        }
        self.min_rtt.postpone(now);
        self.restore_cwnd();
        self.bounds.reset_shortterm();
        if !self.full_pipe.reached {
            self.state = State::Startup;
            return;
        }
        self.enter_probe_bw(now);
        if self.is_bounded_by_loss() {
            // The flight is below the bandwidth-delay product: nothing is left to drain.
            self.state = State::ProbeCruise;
        }
    }

    /// ProbeRTTCwnd(). Never below the floor of the window, or the flight would not get there.
    pub(super) fn probe_rtt_cwnd(&self) -> u64 {
        self.bdp_multiple(self.bw(), self.params.probe_rtt_cwnd_gain).max(self.min_pipe())
    }
}
