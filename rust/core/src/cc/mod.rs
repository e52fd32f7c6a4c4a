//! Congestion control: how much may be in flight, and how fast it may be sent.
//!
//! Every algorithm is one file with one struct that implements [`Algorithm`], and one variant of
//! [`Controller`], which dispatches without a virtual call. Controllers see packets only as sizes
//! and times; loss detection lives in [`crate::recovery`].

mod bbr;
mod copa;
mod coupled;
mod cubic;
mod external;
mod filter;
mod hystart;
mod math;
mod newreno;
mod pacer;
mod prague;
mod prr;
mod sampler;
mod window;
mod windowed;

use crate::recovery::Rtt;
use crate::time::{Duration, Instant};
use core::fmt;

pub use crate::space::Ecn;
pub use bbr::{Bbr, BbrVersion};
pub use copa::Copa;
pub use coupled::{Coupled, Coupling, Member, Share};
pub use cubic::Cubic;
pub use external::{AckBatch, Decision, External, ExternalStats};
pub use newreno::NewReno;
pub use pacer::{Pace, Pacer};
pub use prague::Prague;
pub use sampler::{DeliverySnapshot, RateSample, Sampler};

/// The choice of an algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Congestion {
    /// The controller of RFC 9002 section 7.
    NewReno,
    /// CUBIC (RFC 9438) with HyStart++ (RFC 9406). The default.
    #[default]
    Cubic,
    /// TCP Prague (draft-briscoe-iccrg-prague-congestion-control): for L4S.
    Prague,
    /// Copa (NSDI 2018): by delay.
    Copa,
    /// BBR, version 1.
    Bbr,
    /// BBR, version 2, after the v2alpha branch of Linux.
    Bbr2,
    /// BBR, version 3 (draft-ietf-ccwg-bbr-06).
    Bbr3,
    /// Linked increases over all paths (RFC 6356).
    Lia,
    /// Opportunistic linked increases over all paths.
    Olia,
    /// Balanced linked adaptation over all paths.
    Balia,
    /// What a program outside decides, once per batch of ACKs.
    External,
}

impl Congestion {
    /// All that can be chosen by name.
    pub const NAMED: [Self; 10] = [
        Self::NewReno,
        Self::Cubic,
        Self::Bbr,
        Self::Bbr2,
        Self::Bbr3,
        Self::Prague,
        Self::Copa,
        Self::Lia,
        Self::Olia,
        Self::Balia,
    ];

    /// Those that differ where there is one path: coupled ones are NewReno then.
    pub const SINGLE: [Self; 7] =
        [Self::NewReno, Self::Cubic, Self::Bbr, Self::Bbr2, Self::Bbr3, Self::Prague, Self::Copa];

    /// The name, as users write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NewReno => "newreno",
            Self::Cubic => "cubic",
            Self::Prague => "prague",
            Self::Copa => "copa",
            Self::Bbr => "bbr",
            Self::Bbr2 => "bbr2",
            Self::Bbr3 => "bbr3",
            Self::Lia => "lia",
            Self::Olia => "olia",
            Self::Balia => "balia",
            Self::External => "external",
        }
    }

    /// The algorithm of this name; the error lists those that there are.
    pub fn from_name(name: &str) -> Result<Self, UnknownCongestion> {
        let known = Self::NAMED.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| UnknownCongestion(name.to_owned()))
    }
}

/// No congestion controller has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCongestion(String);

impl fmt::Display for UnknownCongestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Congestion::NAMED.map(Congestion::name).join(", ");
        write!(f, "no congestion controller is called {:?}; there are {known}", self.0)
    }
}

impl core::error::Error for UnknownCongestion {}

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

/// The peer's validated ECN counts grew; told after the ACK frame's losses and acknowledgements.
#[derive(Clone, Copy, Debug)]
pub struct EcnEvent<'a> {
    /// When the ACK frame was processed.
    pub now: Instant,
    /// Send time of the newest packet that the frame acknowledged.
    pub time_sent: Instant,
    /// Bytes in flight now.
    pub in_flight: u64,
    /// Packets that newly counted as ECT(0) or ECT(1): they came through unmarked.
    pub ect: u64,
    /// Packets that newly counted as CE.
    pub ce: u64,
    /// The RTT estimate.
    pub rtt: &'a Rtt,
}

/// What a controller leaves to the one that takes its place on a live path.
#[derive(Clone, Copy, Debug)]
pub struct Inheritance<'a> {
    /// The window in bytes.
    pub window: u64,
    /// The slow start threshold in bytes, if there is one.
    pub ssthresh: Option<u64>,
    /// Start of the last recovery period: losses and marks of packets sent before were answered.
    pub recovery_start: Option<Instant>,
    /// The newest delivery rate that was not limited by the application, in bytes per second.
    pub delivery_rate: Option<u64>,
    /// The RTT estimate, which goes on.
    pub rtt: &'a Rtt,
}

/// The state of a controller; the first three in the words of RFC 9002 section 7.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Exponential growth.
    SlowStart,
    /// Additive or cubic growth.
    CongestionAvoidance,
    /// A loss or a mark was seen; no packet sent since has been acknowledged.
    Recovery,
    /// Copa: against flows that fill the queue.
    Competitive,
    /// BBR: the search for the bandwidth.
    Startup,
    /// BBR: the queue of Startup runs empty.
    Drain,
    /// BBR: sending less than the path delivers.
    ProbeBwDown,
    /// BBR: sending what the path delivers.
    ProbeBwCruise,
    /// BBR: filling the pipe again before a probe.
    ProbeBwRefill,
    /// BBR: sending more than the path delivered so far.
    ProbeBwUp,
    /// BBR: little in flight, to see the round-trip time without a queue.
    ProbeRtt,
    /// As a program outside decides.
    External,
}

impl Phase {
    /// The name for logs and statistics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SlowStart => "slow_start",
            Self::CongestionAvoidance => "congestion_avoidance",
            Self::Recovery => "recovery",
            Self::Competitive => "competitive",
            Self::Startup => "startup",
            Self::Drain => "drain",
            Self::ProbeBwDown => "probe_bw_down",
            Self::ProbeBwCruise => "probe_bw_cruise",
            Self::ProbeBwRefill => "probe_bw_refill",
            Self::ProbeBwUp => "probe_bw_up",
            Self::ProbeRtt => "probe_rtt",
            Self::External => "external",
        }
    }

    /// Whether the window may still be far below what the path carries.
    pub const fn is_startup(self) -> bool {
        matches!(self, Self::SlowStart | Self::Startup)
    }
}

/// How much sending time a burst is worth unless the algorithm says otherwise: what GSO needs, and
/// what queues that drop rather than mark early do not mind.
const BURST_TIME: Duration = Duration::from_millis(1);
/// An initial window after a pause (RFC 9002 section 7.7).
const RESTART_DATAGRAMS: u64 = 10;

/// What every algorithm does. Only [`Controller`] calls it; dispatch is static.
pub trait Algorithm {
    /// `bytes` were sent. What the packet remembers of this moment includes them.
    fn on_sent(&mut self, now: Instant, bytes: u64, snapshot: &DeliverySnapshot);
    /// Packets were acknowledged.
    fn on_ack(&mut self, ack: &AckEvent<'_>);
    /// A packet was lost. True if that began a recovery period.
    fn on_packet_lost(&mut self, loss: &LossEvent) -> bool;
    /// The peer reported what became of packets with an ECT mark. True if that began a recovery
    /// period.
    fn on_ecn(&mut self, report: &EcnEvent<'_>) -> bool;
    /// The mark for packets. ECT(1) promises the response of RFC 9331 section 4.3.
    fn ect(&self) -> Ecn {
        Ecn::Ect0
    }
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
        BURST_TIME
    }
    /// How many datagrams may go at once when nothing is in flight (RFC 9002 section 7.7).
    fn restart_datagrams(&self) -> u64 {
        RESTART_DATAGRAMS
    }
    /// Bytes in flight when sending goes as it should: what the number of acknowledgements per round
    /// trip is reckoned by.
    fn usual_flight(&self) -> u64 {
        self.window()
    }
    /// Whether the algorithm itself keeps the flight below what the path would take, so that
    /// delivery rates are lower bounds as they are when the application sends little.
    fn holds_back(&self) -> bool {
        false
    }
    /// Whether the pacing rate follows from delivery rates. What a late timer leaves unsent must not be
    /// measured as the path's rate then: the rate would sink with every such timer.
    fn sends_what_it_measures(&self) -> bool {
        false
    }
    /// The path carries datagrams of up to `bytes` now.
    fn set_max_datagram(&mut self, bytes: u64);
    /// Takes over a path that has been in use. Called once, on a new controller.
    fn inherit(&mut self, past: &Inheritance<'_>);
}

/// A congestion controller of one of the known algorithms.
#[derive(Clone, Debug)]
pub enum Controller {
    /// See [`NewReno`].
    NewReno(NewReno),
    /// See [`Cubic`].
    Cubic(Box<Cubic>),
    /// See [`Prague`].
    Prague(Box<Prague>),
    /// See [`Copa`].
    Copa(Box<Copa>),
    /// See [`Bbr`].
    Bbr(Box<Bbr>),
    /// See [`Coupled`].
    Coupled(Box<Coupled>),
    /// See [`External`].
    External(Box<External>),
}

macro_rules! dispatch {
    ($self:expr, $c:ident => $call:expr) => {
        match $self {
            Controller::NewReno($c) => $call,
            Controller::Cubic($c) => $call,
            Controller::Prague($c) => $call,
            Controller::Copa($c) => $call,
            Controller::Bbr($c) => $call,
            Controller::Coupled($c) => $call,
            Controller::External($c) => $call,
        }
    };
}

impl Controller {
    /// A controller for a new path.
    pub fn new(kind: Congestion, config: &ControllerConfig) -> Self {
        match kind {
            Congestion::NewReno => Self::NewReno(NewReno::new(config)),
            Congestion::Cubic => Self::Cubic(Box::new(Cubic::new(config))),
            Congestion::Prague => Self::Prague(Box::new(Prague::new(config))),
            Congestion::Copa => Self::Copa(Box::new(Copa::new(config))),
            Congestion::Bbr => Self::Bbr(Box::new(Bbr::new(BbrVersion::V1, config))),
            Congestion::Bbr2 => Self::Bbr(Box::new(Bbr::new(BbrVersion::V2, config))),
            Congestion::Bbr3 => Self::Bbr(Box::new(Bbr::new(BbrVersion::V3, config))),
            Congestion::Lia => Self::Coupled(Box::new(Coupled::new(Coupling::Lia, config))),
            Congestion::Olia => Self::Coupled(Box::new(Coupled::new(Coupling::Olia, config))),
            Congestion::Balia => Self::Coupled(Box::new(Coupled::new(Coupling::Balia, config))),
            Congestion::External => Self::External(Box::new(External::new(config))),
        }
    }
}

impl Controller {
    /// Which algorithm it is.
    pub fn kind(&self) -> Congestion {
        match self {
            Self::NewReno(_) => Congestion::NewReno,
            Self::Cubic(_) => Congestion::Cubic,
            Self::Prague(_) => Congestion::Prague,
            Self::Copa(_) => Congestion::Copa,
            Self::Bbr(bbr) => match bbr.version() {
                BbrVersion::V1 => Congestion::Bbr,
                BbrVersion::V2 => Congestion::Bbr2,
                BbrVersion::V3 => Congestion::Bbr3,
            },
            Self::Coupled(coupled) => match coupled.coupling() {
                Coupling::Lia => Congestion::Lia,
                Coupling::Olia => Congestion::Olia,
                Coupling::Balia => Congestion::Balia,
            },
            Self::External(_) => Congestion::External,
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

    fn on_ecn(&mut self, report: &EcnEvent<'_>) -> bool {
        dispatch!(self, c => c.on_ecn(report))
    }

    fn ect(&self) -> Ecn {
        dispatch!(self, c => c.ect())
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

    fn restart_datagrams(&self) -> u64 {
        dispatch!(self, c => c.restart_datagrams())
    }

    fn usual_flight(&self) -> u64 {
        dispatch!(self, c => c.usual_flight())
    }

    fn holds_back(&self) -> bool {
        dispatch!(self, c => c.holds_back())
    }

    fn sends_what_it_measures(&self) -> bool {
        dispatch!(self, c => c.sends_what_it_measures())
    }

    fn set_max_datagram(&mut self, bytes: u64) {
        dispatch!(self, c => c.set_max_datagram(bytes));
    }

    fn inherit(&mut self, past: &Inheritance<'_>) {
        dispatch!(self, c => c.inherit(past));
    }
}

#[cfg(test)]
mod testing;
