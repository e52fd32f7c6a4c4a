//! Copa (Arun and Balakrishnan, NSDI 2018): steers the rate to 1 / (delta * queueing delay), which
//! keeps a queue of a few packets, and competes like TCP where others keep the queue full.
//!
//! Beside the paper: the velocity limit and the answer to heavy loss of its authors' program, and no
//! growth of a window that the application leaves unused (RFC 9002 section 7.8).

use crate::cc::filter::WindowedMin;
use crate::cc::math::scale;
use crate::cc::{
    AckEvent, Algorithm, ControllerConfig, DeliverySnapshot, EcnEvent, Inheritance, LossEvent,
    Phase,
};
use crate::recovery::Rtt;
use crate::time::{Duration, Instant, nanos};

/// 1 / delta in default mode; delta is 0.5 (section 2.1). Smaller deltas are greedier.
const INVERSE_DELTA: f64 = 2.0;
/// How long RTTmin remembers (section 2.1).
const MIN_RTT_WINDOW: Duration = Duration::from_secs(10);
/// Round trips in which the queue must have been nearly empty once (section 2.2).
const EMPTY_ROUNDS: u32 = 5;
/// And at least so long: the queue breathes with the longest RTT of all flows in it, which these are
/// five of if it is 400 ms. Short flows that go by their own alone take long ones for rivals, and once
/// two compete neither sees it empty.
const EMPTY_TIME: Duration = Duration::from_secs(2);
/// Nearly empty: less than this part of the range of delays.
const NEARLY_EMPTY: f64 = 0.1;
/// Round trips in one direction before the velocity doubles.
const STEADY_ROUNDS: u32 = 3;
/// Share of packets lost over two round trips above which even default mode yields, and to what.
const HEAVY_LOSS: f64 = 0.3;
const HEAVY_LOSS_BETA: f64 = 0.7;
const LOSS_ROUNDS: u32 = 2;
const MINIMUM_DATAGRAMS: u64 = 2;
/// Most windows per RTTstanding (section 2.1).
const MAX_GAIN: f64 = 2.0;
/// What the pacing rate is above what the window needs, so that the window is the limit.
const PACING_MARGIN: f64 = 0.05;
/// As with Prague: a burst is a queue, and Copa's own is two packets.
const BURST: Duration = Duration::from_micros(250);
/// Initial window (RFC 9002 section 7.2).
const INITIAL_DATAGRAMS: u64 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Copa {
    /// Window in bytes.
    cwnd: f64,
    mss: u64,
    configured: Option<u64>,
    slow_start: bool,
    min_rtt: WindowedMin,
    standing: WindowedMin,
    /// Largest RTT of each of the last four round trips.
    max_rtt: [Duration; 4],
    velocity: f64,
    direction: Direction,
    /// Round trips that the window went this way.
    steady: u32,
    /// Window at the start of this round trip.
    cwnd_before: f64,
    /// 1 / delta of competitive mode; the default in default mode.
    inverse_delta: f64,
    /// Smallest queueing delay in this round trip.
    emptiest: Option<Duration>,
    /// Round trips since the queue was nearly empty, and when it last was.
    full_rounds: u32,
    emptied: Option<Instant>,
    competitive: bool,
    lost_in_round: bool,
    /// Bytes acknowledged and lost over up to two round trips.
    acked: u64,
    lost: u64,
    loss_rounds: u32,
    /// When losses last made the window smaller.
    reduced: Option<Instant>,
}

impl Copa {
    /// A controller for a new path.
    pub fn new(config: &ControllerConfig) -> Self {
        let mss = config.max_datagram.max(1);
        let mut copa = Self {
            cwnd: 0.0,
            mss,
            configured: config.initial_window,
            slow_start: true,
            min_rtt: WindowedMin::default(),
            standing: WindowedMin::default(),
            max_rtt: [Duration::ZERO; 4],
            velocity: 1.0,
            direction: Direction::Up,
            steady: 0,
            cwnd_before: 0.0,
            inverse_delta: INVERSE_DELTA,
            emptiest: None,
            full_rounds: 0,
            emptied: None,
            competitive: false,
            lost_in_round: false,
            acked: 0,
            lost: 0,
            loss_rounds: 0,
            reduced: None,
        };
        copa.cwnd = copa.initial() as f64;
        copa
    }

    /// Whether it competes with flows that fill the queue.
    pub fn is_competitive(&self) -> bool {
        self.competitive
    }

    fn initial(&self) -> u64 {
        let minimum = MINIMUM_DATAGRAMS * self.mss;
        let default = (INITIAL_DATAGRAMS * self.mss).min(minimum.max(14_720));
        self.configured.unwrap_or(default).max(minimum)
    }

    fn floor(&self) -> f64 {
        (MINIMUM_DATAGRAMS * self.mss) as f64
    }

    /// RTTstanding - RTTmin.
    fn queueing_delay(&self) -> Option<Duration> {
        Some(self.standing.value()?.saturating_sub(self.min_rtt.value()?))
    }

    /// Whether the rate is at or below its target 1 / (delta * dq).
    fn is_below_target(&self) -> bool {
        let (Some(delay), Some(standing)) = (self.queueing_delay(), self.standing.value()) else {
            return true;
        };
        let packets = self.cwnd / self.mss as f64;
        packets * delay.as_secs_f64() <= self.inverse_delta * standing.as_secs_f64()
    }

    /// The pacing rate in windows per RTTstanding. The paper has 2, the most that a window may need
    /// that grows by a packet per packet acknowledged. Where an ACK stands for many packets, twice
    /// the rate makes each of them a burst, its last packets tell of the queue that the burst itself
    /// is, and those are the ones whose RTT is known. So: as much as this window will grow.
    fn pacing_gain(&self) -> f64 {
        if self.slow_start {
            return MAX_GAIN;
        }
        let growth = match self.direction {
            Direction::Up => self.velocity * self.inverse_delta * self.mss as f64 / self.cwnd,
            Direction::Down => 0.0,
        };
        (1.0 + growth + PACING_MARGIN).min(MAX_GAIN)
    }

    fn on_round(&mut self, now: Instant) {
        self.update_velocity();
        self.update_mode(now);
        self.max_rtt.rotate_right(1);
        self.max_rtt[0] = Duration::ZERO;
        self.lost_in_round = false;
        self.loss_rounds += 1;
        if self.loss_rounds >= LOSS_ROUNDS {
            self.yield_to_heavy_loss(now);
            (self.acked, self.lost, self.loss_rounds) = (0, 0, 0);
        }
    }

    fn update_velocity(&mut self) {
        let direction = if self.cwnd > self.cwnd_before { Direction::Up } else { Direction::Down };
        if direction == self.direction {
            self.steady += 1;
            if self.steady >= STEADY_ROUNDS {
                self.velocity *= 2.0;
            }
        } else {
            self.turn(direction);
        }
        // The authors' limit: no more than one packet per packet acknowledged.
        let packets = self.cwnd / self.mss as f64;
        self.velocity = self.velocity.min(packets / self.inverse_delta).max(1.0);
        self.cwnd_before = self.cwnd;
    }

    fn turn(&mut self, direction: Direction) {
        self.direction = direction;
        self.velocity = 1.0;
        self.steady = 0;
    }

    /// The target was passed. The moves of this round trip cannot have been seen yet: of a window that
    /// moved fast they are taken back, or it would overshoot by as much at every turn, the more the
    /// faster, and swing for ever. Nor must what led there fast lead away as fast.
    fn pass_target(&mut self, direction: Direction) {
        self.cwnd = match direction {
            // The delay is others'.
            _ if self.competitive => self.cwnd,
            Direction::Down => self.cwnd.min(self.cwnd_before),
            Direction::Up => self.cwnd.max(self.cwnd_before),
        };
        self.turn(direction);
    }

    /// Section 2.2: alone, Copa flows empty the queue once in five round trips.
    fn update_mode(&mut self, now: Instant) {
        let (Some(delay), Some(min)) = (self.emptiest.take(), self.min_rtt.value()) else {
            return;
        };
        let most = self.max_rtt.iter().max().copied().unwrap_or_default();
        let range = most.saturating_sub(min).as_secs_f64();
        if delay.as_secs_f64() <= NEARLY_EMPTY * range {
            self.full_rounds = 0;
            self.emptied = Some(now);
        } else {
            self.full_rounds = self.full_rounds.saturating_add(1);
        }
        let full_since = *self.emptied.get_or_insert(now);
        self.competitive = self.full_rounds >= EMPTY_ROUNDS && now - full_since >= EMPTY_TIME;
        if !self.competitive {
            self.inverse_delta = INVERSE_DELTA;
        } else if !self.lost_in_round {
            self.inverse_delta += 1.0;
        }
    }

    /// Losses over the last round trips may be so many that the rate itself must be wrong. Judged at
    /// their end: the first packet lost after a new count began would be all of it.
    fn yield_to_heavy_loss(&mut self, now: Instant) {
        if self.lost as f64 > HEAVY_LOSS * (self.acked + self.lost) as f64 {
            self.cwnd = (self.cwnd * HEAVY_LOSS_BETA).max(self.floor());
            self.cwnd_before = self.cwnd;
            self.slow_start = false;
            self.turn(Direction::Down);
            self.reduced = Some(now);
        }
    }
}

impl Algorithm for Copa {
    fn on_sent(&mut self, _now: Instant, _bytes: u64, _snapshot: &DeliverySnapshot) {}

    fn on_ack(&mut self, ack: &AckEvent<'_>) {
        self.acked += ack.acked_bytes;
        if let Some(sample) = ack.rtt_sample {
            self.min_rtt.update(ack.now, sample, MIN_RTT_WINDOW);
            self.standing.update(ack.now, sample, ack.rtt.smoothed() / 2);
            self.max_rtt[0] = self.max_rtt[0].max(sample);
        }
        if let Some(delay) = self.queueing_delay() {
            self.emptiest = Some(self.emptiest.map_or(delay, |least| least.min(delay)));
        }
        if ack.rate.round_start {
            self.on_round(ack.now);
        }
        let below = self.is_below_target();
        if self.slow_start {
            if below {
                self.cwnd += if ack.rate.app_limited { 0.0 } else { ack.acked_bytes as f64 };
                self.cwnd_before = self.cwnd;
                return;
            }
            self.slow_start = false;
            self.turn(Direction::Down);
        }
        if below && ack.rate.app_limited {
            // RFC 9002 section 7.8.
            self.cwnd_before = self.cwnd;
            return;
        }
        let direction = if below { Direction::Up } else { Direction::Down };
        if direction != self.direction && self.velocity > 1.0 {
            self.pass_target(direction);
        }
        let mss = self.mss as f64;
        let acked = ack.acked_bytes as f64 / mss;
        let change = self.velocity * self.inverse_delta * acked / (self.cwnd / mss) * mss;
        // One ACK frame for a whole window must not take more than half of it.
        let change = change.min(self.cwnd / 2.0);
        self.cwnd = (self.cwnd + if below { change } else { -change }).max(self.floor());
    }

    fn on_packet_lost(&mut self, loss: &LossEvent) -> bool {
        self.lost += loss.size;
        if self.reduced.is_some_and(|reduced| loss.time_sent <= reduced) {
            return false;
        }
        if !self.competitive {
            // Default mode goes by delay alone.
            return false;
        }
        self.inverse_delta = (self.inverse_delta / 2.0).max(INVERSE_DELTA);
        self.lost_in_round = true;
        self.reduced = Some(loss.now);
        true
    }

    fn on_ecn(&mut self, report: &EcnEvent<'_>) -> bool {
        // A mark is a loss that did not happen (RFC 3168 section 5): the same answer, except that
        // Copa's own queue is below every classic AQM's target, so that marks come from others.
        let answered = self.reduced.is_some_and(|reduced| report.time_sent <= reduced);
        if report.ce == 0 || answered || !self.competitive {
            return false;
        }
        self.inverse_delta = (self.inverse_delta / 2.0).max(INVERSE_DELTA);
        self.lost_in_round = true;
        self.reduced = Some(report.now);
        true
    }

    fn on_persistent_congestion(&mut self, now: Instant) {
        self.cwnd = self.floor();
        self.cwnd_before = self.cwnd;
        self.slow_start = true;
        self.inverse_delta = INVERSE_DELTA;
        self.turn(Direction::Up);
        self.reduced = Some(now);
    }

    fn undo(&mut self) -> bool {
        false
    }

    fn available(&self, in_flight: u64) -> u64 {
        self.window().saturating_sub(in_flight)
    }

    fn window(&self) -> u64 {
        self.cwnd as u64
    }

    fn ssthresh(&self) -> Option<u64> {
        None
    }

    fn phase(&self) -> Phase {
        match (self.slow_start, self.is_competitive()) {
            (true, _) => Phase::SlowStart,
            (false, true) => Phase::Competitive,
            (false, false) => Phase::CongestionAvoidance,
        }
    }

    fn recovery_start(&self) -> Option<Instant> {
        None
    }

    fn pacing_rate(&self, rtt: &Rtt) -> Option<u64> {
        let standing = self.standing.value().unwrap_or(rtt.smoothed());
        rtt.has_sample().then(|| {
            scale((self.cwnd * self.pacing_gain()) as u64, 1_000_000_000, nanos(standing).max(1))
        })
    }

    fn burst_time(&self) -> Duration {
        BURST
    }

    fn set_max_datagram(&mut self, bytes: u64) {
        let unused = self.cwnd as u64 == self.initial() && self.slow_start;
        self.mss = bytes.max(1);
        if unused {
            self.cwnd = self.initial() as f64;
        }
        self.cwnd = self.cwnd.max(self.floor());
    }

    fn inherit(&mut self, past: &Inheritance<'_>) {
        self.cwnd = (past.window as f64).max(self.floor());
        self.cwnd_before = self.cwnd;
        self.slow_start = past.ssthresh.is_none();
        self.reduced = past.recovery_start;
    }
}

#[cfg(test)]
#[path = "copa_tests.rs"]
mod tests;
