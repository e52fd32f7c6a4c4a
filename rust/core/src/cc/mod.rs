//! Congestion control: how much may be in flight, and how fast it may be sent.
//!
//! Every algorithm is one file with one struct that implements [`Algorithm`], and one variant of
//! [`Controller`], which dispatches without a virtual call. Controllers see packets only as sizes
//! and times; loss detection lives in [`crate::recovery`].

mod cubic;
mod hystart;
mod math;
mod newreno;
mod pacer;
mod prr;
mod sampler;
mod window;

use crate::recovery::Rtt;
use crate::time::{Duration, Instant};

pub use cubic::Cubic;
pub use newreno::NewReno;
pub use pacer::Pacer;
pub use sampler::{DeliverySnapshot, RateSample, Sampler};

/// The choice of an algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Congestion {
    /// The controller of RFC 9002 section 7.
    NewReno,
    /// CUBIC (RFC 9438) with HyStart++ (RFC 9406). The default.
    #[default]
    Cubic,
}

/// What a controller needs to start.
#[derive(Clone, Copy, Debug)]
pub struct ControllerConfig {
    /// Initial window in bytes; `None` for the value of RFC 9002 section 7.2.
    pub initial_window: Option<u64>,
    /// Bytes of the largest datagram that may be sent.
    pub max_datagram: u64,
    /// Whether sending is paced, which lets slow start use whole ACKs (RFC 9406 section 4.2).
    pub paced: bool,
    /// What random choices are drawn from, for algorithms that make any.
    pub seed: u64,
}

/// Newly acknowledged packets, reported once per ACK frame, after its losses.
#[derive(Clone, Copy, Debug)]
pub struct AckEvent<'a> {
    /// When the ACK frame was processed.
    pub now: Instant,
    /// Bytes newly acknowledged.
    pub acked_bytes: u64,
    /// Those of `acked_bytes` that were sent after the start of the last recovery period.
    pub acked_after_recovery: u64,
    /// Bytes declared lost by the same ACK frame.
    pub lost_bytes: u64,
    /// Bytes in flight before the ACK frame.
    pub prior_in_flight: u64,
    /// Bytes in flight now.
    pub in_flight: u64,
    /// The RTT estimate, already updated by this ACK frame.
    pub rtt: &'a Rtt,
    /// The raw RTT sample of this ACK frame, without acknowledgment delay taken off.
    pub rtt_sample: Option<Duration>,
    /// Delivery rate of the newest acknowledged packet.
    pub rate: &'a RateSample,
}

/// A packet that was in flight was declared lost.
#[derive(Clone, Copy, Debug)]
pub struct LossEvent {
    /// When it was declared lost.
    pub now: Instant,
    /// When it was sent.
    pub time_sent: Instant,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes in flight before the ACK frame or timeout that found the loss.
    pub prior_in_flight: u64,
    /// State of the connection when it was sent.
    pub snapshot: DeliverySnapshot,
    /// Bytes delivered over the life of the path so far.
    pub delivered: u64,
    /// Bytes lost over the life of the path so far, this packet included.
    pub lost: u64,
    /// Whether the packet sent before it was not lost: with it a run of losses begins.
    pub begins_run: bool,
}

/// The state of a controller, in the words of RFC 9002 section 7.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Exponential growth.
    SlowStart,
    /// Additive or cubic growth.
    CongestionAvoidance,
    /// A loss or a mark was seen; no packet sent since has been acknowledged.
    Recovery,
}

/// What every algorithm does. Only [`Controller`] calls it; dispatch is static.
pub trait Algorithm {
    /// `bytes` were sent. What the packet remembers of this moment includes them.
    fn on_sent(&mut self, now: Instant, bytes: u64, snapshot: &DeliverySnapshot);
    /// Packets were acknowledged.
    fn on_ack(&mut self, ack: &AckEvent<'_>);
    /// A packet was lost. True if that began a recovery period.
    fn on_packet_lost(&mut self, loss: &LossEvent) -> bool;
    /// The peer reported more CE marks; `time_sent` is that of the newest packet acknowledged by
    /// the report. True if that began a recovery period.
    fn on_ecn_ce(&mut self, now: Instant, time_sent: Instant, prior_in_flight: u64) -> bool;
    /// Persistent congestion was established (RFC 9002 section 7.6).
    fn on_persistent_congestion(&mut self, now: Instant);
    /// All packets of the last recovery period's losses arrived after all: take its cut back. False
    /// if there is nothing to take back.
    fn undo(&mut self) -> bool;
    /// Bytes that may be sent now with `in_flight` bytes outstanding.
    fn available(&self, in_flight: u64) -> u64;
    /// The congestion window in bytes.
    fn window(&self) -> u64;
    /// The slow start threshold in bytes; `None` while it is unlimited.
    fn ssthresh(&self) -> Option<u64>;
    /// The state for logs.
    fn phase(&self) -> Phase;
    /// Start of the last recovery period, until persistent congestion or undo forgets it.
    fn recovery_start(&self) -> Option<Instant>;
    /// Bytes per second; `None` to send without pacing.
    fn pacing_rate(&self, rtt: &Rtt) -> Option<u64>;
    /// How much sending time one burst may be worth.
    fn burst_time(&self) -> Duration {
        Duration::from_millis(1)
    }
    /// Whether the algorithm itself keeps the flight below what the path would take, so that
    /// delivery rates are lower bounds as they are when the application sends little.
    fn holds_back(&self) -> bool {
        false
    }
    /// The path carries datagrams of up to `bytes` now.
    fn set_max_datagram(&mut self, bytes: u64);
}

/// A congestion controller of one of the known algorithms.
#[derive(Clone, Debug)]
pub enum Controller {
    /// See [`NewReno`].
    NewReno(NewReno),
    /// See [`Cubic`].
    Cubic(Box<Cubic>),
}

macro_rules! dispatch {
    ($self:expr, $c:ident => $call:expr) => {
        match $self {
            Controller::NewReno($c) => $call,
            Controller::Cubic($c) => $call,
        }
    };
}

impl Controller {
    /// A controller for a new path.
    pub fn new(kind: Congestion, config: &ControllerConfig) -> Self {
        match kind {
            Congestion::NewReno => Self::NewReno(NewReno::new(config)),
            Congestion::Cubic => Self::Cubic(Box::new(Cubic::new(config))),
        }
    }
}

impl Algorithm for Controller {
    fn on_sent(&mut self, now: Instant, bytes: u64, snapshot: &DeliverySnapshot) {
        dispatch!(self, c => c.on_sent(now, bytes, snapshot));
    }

    fn on_ack(&mut self, ack: &AckEvent<'_>) {
        dispatch!(self, c => c.on_ack(ack));
    }

    fn on_packet_lost(&mut self, loss: &LossEvent) -> bool {
        dispatch!(self, c => c.on_packet_lost(loss))
    }

    fn on_ecn_ce(&mut self, now: Instant, time_sent: Instant, prior_in_flight: u64) -> bool {
        dispatch!(self, c => c.on_ecn_ce(now, time_sent, prior_in_flight))
    }

    fn on_persistent_congestion(&mut self, now: Instant) {
        dispatch!(self, c => c.on_persistent_congestion(now));
    }

    fn undo(&mut self) -> bool {
        dispatch!(self, c => c.undo())
    }

    fn available(&self, in_flight: u64) -> u64 {
        dispatch!(self, c => c.available(in_flight))
    }

    fn window(&self) -> u64 {
        dispatch!(self, c => c.window())
    }

    fn ssthresh(&self) -> Option<u64> {
        dispatch!(self, c => c.ssthresh())
    }

    fn phase(&self) -> Phase {
        dispatch!(self, c => c.phase())
    }

    fn recovery_start(&self) -> Option<Instant> {
        dispatch!(self, c => c.recovery_start())
    }

    fn pacing_rate(&self, rtt: &Rtt) -> Option<u64> {
        dispatch!(self, c => c.pacing_rate(rtt))
    }

    fn burst_time(&self) -> Duration {
        dispatch!(self, c => c.burst_time())
    }

    fn holds_back(&self) -> bool {
        dispatch!(self, c => c.holds_back())
    }

    fn set_max_datagram(&mut self, bytes: u64) {
        dispatch!(self, c => c.set_max_datagram(bytes));
    }
}

#[cfg(test)]
mod testing;
