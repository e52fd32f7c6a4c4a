//! A controller whose decisions come from outside, later: what happened is gathered into a batch,
//! the batch is fetched, and an answer comes when it comes.
//!
//! Nothing here waits. While there is no answer, or the last one failed, or the next is overdue, a
//! NewReno window that runs along takes its place: whatever happens outside, the path stays safe.

use crate::cc::math::scale;
use crate::cc::newreno::NewReno;
use crate::cc::{
    AckEvent, Algorithm, ControllerConfig, DeliverySnapshot, EcnEvent, Inheritance, LossEvent,
    Phase,
};
use crate::recovery::Rtt;
use crate::time::{Duration, Instant, nanos};

/// After so long without an answer the one before does not hold any more.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bounds of what may be decided: two datagrams, and 1 GiB.
const MINIMUM_DATAGRAMS: u64 = 2;
const MAXIMUM_WINDOW: u64 = 1 << 30;
/// Bytes per second at least, or nothing would ever be sent again.
const MINIMUM_RATE: u64 = 1200;

/// What happened since the batch before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AckBatch {
    /// Its number; the answer names it.
    pub sequence: u64,
    /// When the newest of it happened.
    pub now: Instant,
    /// Bytes acknowledged.
    pub acked_bytes: u64,
    /// Bytes declared lost.
    pub lost_bytes: u64,
    /// Packets declared lost.
    pub lost_packets: u64,
    /// Packets reported as marked CE.
    pub ce_packets: u64,
    /// Packets reported as ECT and not marked.
    pub ect_packets: u64,
    /// ACK frames.
    pub acks: u64,
    /// Round trips that began.
    pub rounds: u64,
    /// The newest RTT sample, as measured.
    pub rtt: Option<Duration>,
    /// smoothed_rtt.
    pub smoothed_rtt: Duration,
    /// min_rtt.
    pub min_rtt: Duration,
    /// The newest delivery rate, in bytes per second.
    pub delivery_rate: Option<u64>,
    /// Whether that was while the application left the window unused.
    pub app_limited: bool,
    /// Persistent congestion was established (RFC 9002 section 7.6).
    pub persistent_congestion: bool,
    /// Bytes in flight.
    pub in_flight: u64,
    /// The window in force, in bytes.
    pub window: u64,
    /// Bytes of a datagram.
    pub datagram_size: u64,
}

/// What is to hold from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A window in bytes, and bytes per second; without a rate, 1.25 windows per RTT.
    Send {
        /// Bytes.
        window: u64,
        /// Bytes per second.
        pacing_rate: Option<u64>,
    },
    /// There is no decision: something went wrong.
    Failed,
}

/// How it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExternalStats {
    /// Batches fetched.
    pub batches: u64,
    /// Answers that said that something went wrong.
    pub failures: u64,
    /// Answers that were overdue.
    pub overdue: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct External {
    guard: NewReno,
    /// Window and pacing rate.
    decided: Option<(u64, Option<u64>)>,
    batch: AckBatch,
    news: bool,
    /// When the batch that is being answered was fetched.
    asked: Option<Instant>,
    mss: u64,
    stats: ExternalStats,
}

impl External {
    /// A controller for a new path.
    pub fn new(config: &ControllerConfig) -> Self {
        Self {
            guard: NewReno::new(config),
            decided: None,
            batch: AckBatch::default(),
            news: false,
            asked: None,
            mss: config.max_datagram.max(1),
            stats: ExternalStats::default(),
        }
    }

    /// What happened, if something did and the batch before was answered.
    pub fn take_batch(&mut self, now: Instant) -> Option<AckBatch> {
        if !self.news || self.asked.is_some() {
            return None;
        }
        self.news = false;
        self.asked = Some(now);
        self.stats.batches += 1;
        let next = AckBatch { sequence: self.batch.sequence + 1, ..AckBatch::default() };
        let window = self.window();
        let batch = core::mem::replace(&mut self.batch, next);
        Some(AckBatch { window, datagram_size: self.mss, ..batch })
    }

    /// The answer to batch `sequence`. One to another batch than the last is ignored: it was asked
    /// of a controller that is gone.
    pub fn decide(&mut self, sequence: u64, decision: Decision) {
        if self.asked.is_none() || sequence + 1 != self.batch.sequence {
            return;
        }
        self.asked = None;
        self.decided = match decision {
            Decision::Send { window, pacing_rate } => {
                let window = window.clamp(MINIMUM_DATAGRAMS * self.mss, MAXIMUM_WINDOW);
                Some((window, pacing_rate.map(|rate| rate.max(MINIMUM_RATE))))
            }
            Decision::Failed => {
                self.stats.failures += 1;
                None
            }
        };
    }

    /// How it went so far.
    pub fn stats(&self) -> ExternalStats {
        self.stats
    }

    fn check_patience(&mut self, now: Instant) {
        if self.decided.is_some() && self.asked.is_some_and(|asked| now - asked > PATIENCE) {
            self.decided = None;
            self.stats.overdue += 1;
        }
    }
}

impl Algorithm for External {
    fn on_sent(&mut self, now: Instant, bytes: u64, snapshot: &DeliverySnapshot) {
        self.guard.on_sent(now, bytes, snapshot);
    }

    fn on_ack(&mut self, ack: &AckEvent<'_>) {
        self.guard.on_ack(ack);
        self.check_patience(ack.now);
        let batch = &mut self.batch;
        batch.now = ack.now;
        batch.acked_bytes += ack.acked_bytes;
        batch.acks += 1;
        batch.rounds += u64::from(ack.rate.round_start);
        batch.rtt = ack.rtt_sample.or(batch.rtt);
        batch.smoothed_rtt = ack.rtt.smoothed();
        batch.min_rtt = ack.rtt.min();
        batch.delivery_rate = ack.rate.delivery_rate.or(batch.delivery_rate);
        batch.app_limited = ack.rate.app_limited;
        batch.in_flight = ack.in_flight;
        self.news = true;
    }

    fn on_packet_lost(&mut self, loss: &LossEvent) -> bool {
        self.batch.now = loss.now;
        self.batch.lost_bytes += loss.size;
        self.batch.lost_packets += 1;
        self.news = true;
        self.guard.on_packet_lost(loss)
    }

    fn on_ecn(&mut self, report: &EcnEvent<'_>) -> bool {
        self.batch.ce_packets += report.ce;
        self.batch.ect_packets += report.ect;
        self.guard.on_ecn(report)
    }

    fn on_persistent_congestion(&mut self, now: Instant) {
        self.guard.on_persistent_congestion(now);
        // RFC 9002 section 7.6.2 leaves no choice until there is a new decision.
        self.decided = None;
        self.batch.persistent_congestion = true;
        self.news = true;
    }

    fn undo(&mut self) -> bool {
        self.guard.undo()
    }

    fn available(&self, in_flight: u64) -> u64 {
        match self.decided {
            Some((window, _)) => window.saturating_sub(in_flight),
            None => self.guard.available(in_flight),
        }
    }

    fn window(&self) -> u64 {
        self.decided.map_or(self.guard.window(), |(window, _)| window)
    }

    fn ssthresh(&self) -> Option<u64> {
        if self.decided.is_some() { None } else { self.guard.ssthresh() }
    }

    fn phase(&self) -> Phase {
        if self.decided.is_some() { Phase::External } else { self.guard.phase() }
    }

    fn recovery_start(&self) -> Option<Instant> {
        self.guard.recovery_start()
    }

    fn pacing_rate(&self, rtt: &Rtt) -> Option<u64> {
        match self.decided {
            Some((_, Some(rate))) => Some(rate),
            Some((window, None)) => rtt
                .has_sample()
                .then(|| scale(window / 4 * 5, 1_000_000_000, nanos(rtt.smoothed()))),
            None => self.guard.pacing_rate(rtt),
        }
    }

    fn set_max_datagram(&mut self, bytes: u64) {
        self.mss = bytes.max(1);
        self.guard.set_max_datagram(bytes);
    }

    fn inherit(&mut self, past: &Inheritance<'_>) {
        self.guard.inherit(past);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cc::testing::{MSS, Path};
    use crate::cc::{Congestion, Controller};

    fn external(p: &mut Path) -> &mut External {
        match &mut p.cc {
            Controller::External(c) => c,
            _ => unreachable!("built as external"),
        }
    }

    fn send(window: u64) -> Decision {
        Decision::Send { window, pacing_rate: None }
    }

    #[test]
    fn one_batch_is_out_at_a_time_and_what_happens_meanwhile_is_gathered() {
        let mut p = Path::new(Congestion::External, 50);
        assert_eq!(external(&mut p).take_batch(Instant::ZERO), None, "nothing happened");
        p.round();
        let now = p.now;
        let batch = external(&mut p).take_batch(now).unwrap();
        assert_eq!((batch.sequence, batch.acked_bytes, batch.acks), (0, 10 * MSS, 10));
        assert_eq!((batch.window, batch.datagram_size), (20 * MSS, MSS));
        p.fill();
        p.lose(2);
        p.ack(1);
        p.ack(1);
        assert_eq!(external(&mut p).take_batch(now), None, "not answered yet");
        external(&mut p).decide(0, send(33 * MSS));
        assert_eq!((p.cc.window(), p.cc.phase()), (33 * MSS, Phase::External));
        let batch = external(&mut p).take_batch(now).unwrap();
        assert_eq!((batch.sequence, batch.lost_packets, batch.acked_bytes), (1, 2, 2 * MSS));
    }

    #[test]
    fn newreno_holds_the_path_until_an_answer_and_after_a_failure() {
        let mut p = Path::new(Congestion::External, 50);
        p.round();
        assert_eq!(p.cc.window(), 20 * MSS);
        let now = p.now;
        external(&mut p).take_batch(now).unwrap();
        external(&mut p).decide(0, send(1));
        assert_eq!(p.cc.window(), 2 * MSS, "not below the minimum");
        p.round();
        external(&mut p).take_batch(now).unwrap();
        external(&mut p).decide(1, Decision::Failed);
        assert!(p.cc.window() >= 20 * MSS);
        assert_eq!(external(&mut p).stats(), ExternalStats { batches: 2, failures: 1, overdue: 0 });
        external(&mut p).decide(1, send(50 * MSS));
        assert!(p.cc.window() < 50 * MSS, "answered already");
    }

    #[test]
    fn overdue_answers_end_what_was_decided() {
        let mut p = Path::new(Congestion::External, 50);
        p.round();
        let now = p.now;
        external(&mut p).take_batch(now).unwrap();
        external(&mut p).decide(0, send(500 * MSS));
        p.round();
        let now = p.now;
        external(&mut p).take_batch(now).unwrap();
        p.now += Duration::from_millis(900);
        p.round();
        assert_eq!(p.cc.window(), 500 * MSS);
        p.now += Duration::from_millis(100);
        p.round();
        assert_ne!(p.cc.phase(), Phase::External);
        assert_eq!(external(&mut p).stats().overdue, 1);
        external(&mut p).decide(1, send(100 * MSS));
        assert_eq!(p.cc.window(), 100 * MSS, "late, but an answer");
    }

    #[test]
    fn persistent_congestion_overrides_decisions() {
        let mut p = Path::new(Congestion::External, 50);
        p.round();
        let now = p.now;
        external(&mut p).take_batch(now).unwrap();
        external(&mut p).decide(0, send(500 * MSS));
        p.cc.on_persistent_congestion(now);
        assert_eq!(p.cc.window(), 2 * MSS);
        assert!(external(&mut p).take_batch(now).unwrap().persistent_congestion);
    }
}
