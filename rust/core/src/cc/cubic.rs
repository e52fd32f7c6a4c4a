//! CUBIC (RFC 9438).
//!
//! Windows are bytes here and segments in the RFC: C is scaled by the datagram size.

use crate::cc::hystart::HyStart;
use crate::cc::math::cube_root;
use crate::cc::window::Window;
use crate::cc::windowed::{Signal, Windowed};
use crate::cc::{AckEvent, ControllerConfig, DeliverySnapshot, Inheritance};
use crate::time::Instant;

/// C of RFC 9438 section 5.1, segments per second cubed.
const C: f64 = 0.4;
/// Multiplicative decrease on loss (section 4.6).
const BETA: f64 = 0.7;
/// Multiplicative decrease on CE marks (RFC 8511 section 3.1): a queue that marks is shorter than
/// one that overflows.
const BETA_ECN: f64 = 0.85;
/// Additive increase that matches Reno's average window at `BETA` (section 4.3).
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// CUBIC with HyStart++ for the first slow start.
#[derive(Clone, Debug)]
pub struct Cubic {
    window: Window,
    hystart: HyStart,
    /// `None` before the first congestion and after persistent congestion, when the curve starts
    /// from the window as it is then (sections 4.8, 4.10).
    w_max: Option<f64>,
    cwnd_prior: f64,
    /// The current congestion avoidance stage; `None` until its first growth.
    stage: Option<Stage>,
    saved: Option<Saved>,
}

/// A congestion avoidance stage.
#[derive(Clone, Copy, Debug)]
struct Stage {
    /// t_epoch, moved forward by the time in which the window was not used.
    epoch: Instant,
    /// When this stage last saw an ACK.
    updated: Instant,
    /// K in seconds.
    k: f64,
    /// W_max on this stage's curve, bytes.
    origin: f64,
    /// W_est, bytes.
    w_est: f64,
    /// Growth below one byte, carried over.
    credit: f64,
}

/// What undo restores besides the window (section 4.9.2).
#[derive(Clone, Copy, Debug)]
struct Saved {
    w_max: Option<f64>,
    cwnd_prior: f64,
    stage: Option<Stage>,
}

impl Cubic {
    /// A controller for a new path.
    pub fn new(config: &ControllerConfig) -> Self {
        Self {
            window: Window::new(config),
            hystart: HyStart::new(config.paced),
            w_max: None,
            cwnd_prior: 0.0,
            stage: None,
            saved: None,
        }
    }

    fn congestion_avoidance(&mut self, acked: u64, ack: &AckEvent<'_>) {
        let mss = self.window.mss() as f64;
        let cwnd = self.window.cwnd() as f64;
        let stage = match &mut self.stage {
            Some(stage) => stage,
            None => {
                let origin = self.w_max.map_or(cwnd, |w_max| w_max.max(cwnd));
                self.stage.insert(Stage {
                    epoch: ack.now,
                    updated: ack.now,
                    k: cube_root((origin - cwnd) / mss / C),
                    origin,
                    w_est: cwnd,
                    credit: 0.0,
                })
            }
        };
        stage.updated = ack.now;
        let t = (ack.now - stage.epoch).as_secs_f64();
        // Section 4.3: once W_est has caught up, grow as Reno does.
        let alpha = if stage.w_est >= self.cwnd_prior { 1.0 } else { ALPHA };
        stage.w_est += alpha * mss * (acked as f64 / cwnd);

        let w_cubic = stage.at(t, mss);
        let grown = if w_cubic < stage.w_est {
            stage.credit = 0.0;
            (stage.w_est - cwnd).max(0.0)
        } else {
            let target = stage.at(t + ack.rtt.smoothed().as_secs_f64(), mss);
            let target = target.clamp(cwnd, 1.5 * cwnd);
            // Sections 4.4 and 4.5: (target - cwnd) / cwnd per segment, for all that was
            // acknowledged, but not past the target.
            stage.credit += (target - cwnd) * (acked as f64 / cwnd).min(1.0);
            let whole = stage.credit.floor();
            stage.credit -= whole;
            whole
        };
        self.window.grow(grown as u64);
    }

    /// Time up to `now` in which the window was not used does not count (section 5.8).
    fn exclude_pause(&mut self, now: Instant) {
        if let Some(stage) = &mut self.stage {
            stage.epoch += now - stage.updated;
            stage.updated = now;
        }
    }
}

impl Stage {
    /// W_cubic(t) in bytes.
    fn at(&self, t: f64, mss: f64) -> f64 {
        let d = t - self.k;
        C * mss * d * d * d + self.origin
    }
}

impl Windowed for Cubic {
    fn base(&self) -> &Window {
        &self.window
    }

    fn base_mut(&mut self) -> &mut Window {
        &mut self.window
    }

    fn before_send(&mut self, now: Instant, bytes: u64, snapshot: &DeliverySnapshot) {
        if snapshot.tx_in_flight <= bytes {
            // The pause is measured from the last ACK to the restart. From the last send it would
            // be no pause at all for windows that drain within every round trip.
            self.exclude_pause(now);
        }
    }

    fn grow(&mut self, ack: &AckEvent<'_>) {
        let acked = self.window.on_ack(ack);
        if self.window.in_slow_start() {
            if self.hystart.slow_start(&mut self.window, acked, ack) {
                self.cwnd_prior = self.window.cwnd() as f64;
                self.w_max = None;
                self.stage = None;
            }
        } else if acked > 0 {
            self.congestion_avoidance(acked, ack);
        } else {
            self.exclude_pause(ack.now);
        }
    }

    fn cut(&mut self, signal: &Signal) {
        self.saved =
            Some(Saved { w_max: self.w_max, cwnd_prior: self.cwnd_prior, stage: self.stage });
        let cwnd = self.window.cwnd() as f64;
        // Section 4.7, fast convergence. The cut itself is of the window, not of W_max.
        let shrinking = self.w_max.is_some_and(|w_max| cwnd < w_max);
        self.w_max = Some(if shrinking { cwnd * (1.0 + BETA) / 2.0 } else { cwnd });
        self.cwnd_prior = cwnd;
        self.stage = None;
        // Section 4.6 allows the window in place of the flight size because growth is validated.
        let beta = if signal.is_loss { BETA } else { BETA_ECN };
        self.window.cut(signal, (cwnd * beta) as u64);
    }

    fn forget(&mut self) {
        self.w_max = None;
        self.stage = None;
        self.saved = None;
    }

    fn undo(&mut self) -> bool {
        let unused = self.window.cwnd() as f64 >= self.cwnd_prior;
        if !self.window.undo() {
            return false;
        }
        // Section 4.9.2: a window that has outgrown the cut keeps its newer curve.
        if let Some(saved) = self.saved.take().filter(|_| !unused) {
            self.w_max = saved.w_max;
            self.cwnd_prior = saved.cwnd_prior;
            self.stage = saved.stage;
        }
        true
    }

    fn inherit(&mut self, past: &Inheritance<'_>) {
        self.window.inherit(past);
        // Without a W_max of its own the curve starts from the window as it is (section 4.10).
        self.cwnd_prior = self.window.cwnd() as f64;
    }
}

#[cfg(test)]
#[path = "cubic_tests.rs"]
mod tests;
