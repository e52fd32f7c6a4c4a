//! TCP Prague (draft-briscoe-iccrg-prague-congestion-control-04), the controller for L4S
//! (RFC 9330, RFC 9331), with the growth rule of L4STeam's UDP Prague.
//!
//! It answers marks in proportion to their share, so that a queue can mark at a millisecond of
//! delay instead of at its end, and sends ECT(1), which promises just that. Where marks do not
//! survive, [`crate::recovery::Recovery`] puts CUBIC in its place.

use crate::cc::hystart::HyStart;
use crate::cc::math::scale;
use crate::cc::window::Window;
use crate::cc::windowed::{Signal, Windowed};
use crate::cc::{AckEvent, ControllerConfig, Ecn, EcnEvent, Phase};
use crate::recovery::Rtt;
use crate::time::{Duration, Instant, nanos};

/// Flows with shorter RTTs behave as if theirs were this long (RFC 9331 section 4.3, requirement 4).
const REFERENCE_RTT: Duration = Duration::from_millis(25);
/// Weight of the newest share of marks in alpha.
const GAIN: f64 = 1.0 / 16.0;
/// A queue of an L4S bottleneck marks packets of a burst that is longer than about a millisecond:
/// no burst is longer than a quarter of that.
const BURST: Duration = Duration::from_micros(250);
/// The queue that growth may build up in a virtual round trip once the path has been quiet. UDP
/// Prague has 1 ms. Marks tell of it a round trip later, with that much more in the queue: with half
/// a millisecond its 99th percentile stays below 2 ms.
const QUEUE_GROWTH: Duration = Duration::from_micros(500);
/// Growth waits for a virtual round trip per so many bytes per second (15.36 Mbit/s): as long as
/// additive increase takes to be marked again at a steady rate.
const RATE_STEP: u64 = 1_920_000;
/// And for this many more.
const QUIET_LEAST: u32 = 7;
/// A standing queue above this at the time of marks is not one that an L4S bottleneck allows: the
/// targets of classic AQMs begin here (RFC 8289 section 4.2).
const CLASSIC_QUEUE: Duration = Duration::from_millis(5);
/// Bounds of the score, and where suspicion begins: so many more deep periods than shallow ones.
const CLASSIC_BOUND: i32 = 16;
const CLASSIC_SUSPECTED: i32 = 8;

/// See the module.
#[derive(Clone, Debug)]
pub struct Prague {
    window: Window,
    hystart: HyStart,
    /// Growth below one byte, carried over.
    credit: f64,
    /// What the ACK frame in hand added, before its marks are known.
    grown: u64,
    /// Moving average of the share of marks, from the first period on that has any.
    alpha: Option<f64>,
    /// Packets counted since `updated`.
    marked: u64,
    counted: u64,
    /// When alpha was last updated, or counting began.
    updated: Option<Instant>,
    reduction: Option<Reduction>,
    /// Virtual round trips without a mark before growth may be faster than additive.
    wait: u32,
    /// Whether this half of a virtual round trip is paced above the average.
    fast_half: bool,
    classic_score: i32,
}

/// The last answer to marks.
#[derive(Clone, Copy, Debug)]
struct Reduction {
    at: Instant,
    /// The window before it.
    before: u64,
}

impl Prague {
    /// A controller for a new path.
    pub fn new(config: &ControllerConfig) -> Self {
        Self {
            window: Window::new(config),
            hystart: HyStart::new(config.paced),
            credit: 0.0,
            grown: 0,
            alpha: None,
            marked: 0,
            counted: 0,
            updated: None,
            reduction: None,
            wait: QUIET_LEAST,
            fast_half: false,
            classic_score: 0,
        }
    }

    /// The moving average of the share of marked packets, 0 to 1; 1 until it is known, because the
    /// first mark may stand for an overshoot of slow start.
    pub fn alpha(&self) -> f64 {
        self.alpha.unwrap_or(1.0)
    }

    /// Whether marks come from a queue that treats ECT(1) as ECT(0) (RFC 9331 section 4.3,
    /// requirement 3): it is deep when it marks. Told in statistics; behaviour does not change.
    pub fn suspects_classic_ecn(&self) -> bool {
        self.classic_score >= CLASSIC_SUSPECTED
    }

    fn rate(&self, rtt: &Rtt) -> u64 {
        scale(self.window.cwnd(), 1_000_000_000, nanos(rtt.smoothed()))
    }

    fn congestion_avoidance(&mut self, acked: u64, rtt: &Rtt) {
        let mss = self.window.mss() as f64;
        let step = if self.wait > 0 {
            mss
        } else {
            mss.max(self.rate(rtt) as f64 * QUEUE_GROWTH.as_secs_f64())
        };
        // One step per virtual round trip and, because the window is that of a real one, scaled by
        // their ratio once more.
        let ratio = rtt.smoothed().as_secs_f64() / virtual_rtt(rtt).as_secs_f64();
        self.credit += step * ratio * ratio * acked as f64 / self.window.cwnd() as f64;
        let whole = self.credit.floor();
        self.credit -= whole;
        self.window.grow(whole as u64);
    }

    /// Ends a period of alpha if a real and a virtual round trip have passed.
    fn count(&mut self, report: &EcnEvent<'_>) {
        self.marked += report.ce;
        self.counted += report.ce + report.ect;
        let since = *self.updated.get_or_insert(report.now);
        if report.now - since < virtual_rtt(report.rtt) || report.time_sent <= since {
            return;
        }
        if self.counted > 0 && (self.marked > 0 || self.alpha.is_some()) {
            // The average begins with its first sample: from 1 on it would take 50 round trips, in
            // which a flow that joins others gives way to each of their marks.
            let share = self.marked as f64 / self.counted as f64;
            self.alpha = Some(self.alpha.map_or(share, |alpha| alpha + GAIN * (share - alpha)));
        }
        if self.marked > 0 {
            let queue = report.rtt.smoothed().saturating_sub(report.rtt.min());
            let score = self.classic_score + if queue > CLASSIC_QUEUE { 1 } else { -1 };
            self.classic_score = score.clamp(0, CLASSIC_BOUND);
        }
        self.wait = self.wait.saturating_sub(1);
        (self.marked, self.counted) = (0, 0);
        self.updated = Some(report.now);
    }

    /// Whether marks on packets sent at `time_sent` were answered already: once in a virtual round
    /// trip, and not for the flight that an answer found under way.
    fn is_answered(&self, report: &EcnEvent<'_>) -> bool {
        let reduced = self.reduction.is_some_and(|reduction| {
            let young = report.now - reduction.at < virtual_rtt(report.rtt);
            young || report.time_sent <= reduction.at
        });
        reduced || self.window.is_covered(report.time_sent)
    }
}

/// The RTT whose flows this one behaves like.
fn virtual_rtt(rtt: &Rtt) -> Duration {
    rtt.smoothed().max(REFERENCE_RTT)
}

impl Windowed for Prague {
    fn base(&self) -> &Window {
        &self.window
    }

    fn base_mut(&mut self) -> &mut Window {
        &mut self.window
    }

    fn grow(&mut self, ack: &AckEvent<'_>) {
        let before = self.window.cwnd();
        // Paced at the window per RTT, the flight stays a little below the window: whether that is
        // full says nothing here.
        let acked = self.window.on_ack_if(!ack.rate.app_limited, ack);
        if self.window.in_slow_start() {
            // Where nothing marks, a rise of the RTT ends slow start.
            self.hystart.slow_start(&mut self.window, acked, ack);
        } else if acked > 0 {
            self.congestion_avoidance(acked, ack.rtt);
        }
        self.grown = self.window.cwnd().saturating_sub(before);
        // Alternation of the rate shows the queue's end without moving its mean.
        let half = virtual_rtt(ack.rtt) / 2;
        self.fast_half = self.updated.is_some_and(|updated| ack.now - updated < half);
    }

    fn cut(&mut self, signal: &Signal) {
        // Section 2.4.2 of the draft: losses halve. An answer to marks of the same round trip counts.
        let cwnd = self.window.cwnd();
        let recent = self.reduction.filter(|r| signal.time_sent <= r.at);
        let target = recent.map_or(cwnd, |r| r.before.max(cwnd)) / 2;
        self.window.cut(signal, target.min(cwnd));
        self.credit = 0.0;
        // As long as a flow of the reference RTT takes to come back.
        let packets = cwnd / 2 / self.window.mss().max(1);
        self.wait = u32::try_from(packets).unwrap_or(u32::MAX).max(QUIET_LEAST);
    }

    fn on_ecn(&mut self, report: &EcnEvent<'_>) -> bool {
        self.count(report);
        let grown = core::mem::take(&mut self.grown);
        if report.ce == 0 {
            return false;
        }
        // Only unmarked packets add to the window.
        self.window.take_back(scale(grown, report.ce, report.ce + report.ect));
        self.wait = u32::try_from(self.rate(report.rtt) / RATE_STEP).unwrap_or(u32::MAX);
        self.wait = self.wait.saturating_add(QUIET_LEAST);
        if self.is_answered(report) {
            return false;
        }
        self.reduction = Some(Reduction { at: report.now, before: self.window.cwnd() });
        self.window.shrink(1.0 - self.alpha() / 2.0);
        true
    }

    fn ect(&self) -> Ecn {
        Ecn::Ect1
    }

    fn forget(&mut self) {
        self.credit = 0.0;
        self.reduction = None;
    }

    fn available(&self, in_flight: u64) -> u64 {
        let room = self.window.available(in_flight);
        if self.window.phase() != Phase::CongestionAvoidance {
            return room;
        }
        // The pacer is the limit; the window is for a network that stalls.
        let slack = self.window.cwnd() / 32 + self.window.mss();
        (self.window.cwnd() + slack).saturating_sub(in_flight)
    }

    fn pacing_rate(&self, rtt: &Rtt) -> Option<u64> {
        if !rtt.has_sample() {
            return None;
        }
        let rate = self.rate(rtt);
        Some(match (self.window.in_slow_start(), self.fast_half) {
            (true, _) => rate.saturating_mul(2),
            (false, true) => rate + rate * 3 / 100,
            (false, false) => rate - rate * 3 / 100,
        })
    }

    fn burst_time(&self) -> Duration {
        BURST
    }

    fn restart_datagrams(&self) -> u64 {
        // What is idle no longer knows the queue: no more than a burst.
        1
    }
}

#[cfg(test)]
#[path = "prague_tests.rs"]
mod tests;
