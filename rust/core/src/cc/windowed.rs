//! What the controllers have in common whose state is a [`Window`]. Each says how that grows, how far
//! it is cut and what else it remembers; the rest of [`Algorithm`] is the same for all.

use crate::cc::window::Window;
use crate::cc::{
    AckEvent, Algorithm, BURST_TIME, DeliverySnapshot, Ecn, EcnEvent, Inheritance, LossEvent,
    Phase, RESTART_DATAGRAMS,
};
use crate::recovery::Rtt;
use crate::time::{Duration, Instant};

/// A sign of congestion: a loss or a mark.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// When it was seen.
    pub now: Instant,
    /// When the packet was sent that it is about.
    pub time_sent: Instant,
    /// Bytes in flight before it was seen.
    pub in_flight: u64,
    /// It may turn out to be none: a loss. Marks are facts.
    pub is_loss: bool,
}

/// A controller whose state is a [`Window`]. Methods named as in [`Algorithm`] replace what most do.
pub trait Windowed {
    /// Its window.
    fn base(&self) -> &Window;
    /// The same, to be changed.
    fn base_mut(&mut self) -> &mut Window;
    /// Packets were acknowledged.
    fn grow(&mut self, ack: &AckEvent<'_>);
    /// Cuts the window: a recovery period begins with `signal`.
    fn cut(&mut self, signal: &Signal);
    /// Persistent congestion took the window: what was learnt of its growth goes too.
    fn forget(&mut self);

    /// A packet is about to leave.
    fn before_send(&mut self, _now: Instant, _bytes: u64, _snapshot: &DeliverySnapshot) {}

    /// Answers a signal once per recovery period (RFC 9002 section 7.3.2). True if it began one.
    fn answer(&mut self, signal: &Signal) -> bool {
        if self.base().is_covered(signal.time_sent) {
            if !signal.is_loss {
                self.base_mut().forbid_undo();
            }
            return false;
        }
        self.cut(signal);
        true
    }

    fn on_ecn(&mut self, report: &EcnEvent<'_>) -> bool {
        let EcnEvent { now, time_sent, in_flight, .. } = *report;
        report.ce > 0 && self.answer(&Signal { now, time_sent, in_flight, is_loss: false })
    }

    fn undo(&mut self) -> bool {
        self.base_mut().undo()
    }

    fn ect(&self) -> Ecn {
        Ecn::Ect0
    }

    fn available(&self, in_flight: u64) -> u64 {
        self.base().available(in_flight)
    }

    fn pacing_rate(&self, rtt: &Rtt) -> Option<u64> {
        self.base().pacing_rate(rtt)
    }

    fn burst_time(&self) -> Duration {
        BURST_TIME
    }

    fn restart_datagrams(&self) -> u64 {
        RESTART_DATAGRAMS
    }

    fn inherit(&mut self, past: &Inheritance<'_>) {
        self.base_mut().inherit(past);
    }
}

impl<T: Windowed> Algorithm for T {
    fn on_sent(&mut self, now: Instant, bytes: u64, snapshot: &DeliverySnapshot) {
        self.before_send(now, bytes, snapshot);
        self.base_mut().on_sent(bytes, snapshot.tx_in_flight);
    }

    fn on_ack(&mut self, ack: &AckEvent<'_>) {
        self.grow(ack);
    }

    fn on_packet_lost(&mut self, loss: &LossEvent) -> bool {
        let LossEvent { now, time_sent, prior_in_flight: in_flight, .. } = *loss;
        self.answer(&Signal { now, time_sent, in_flight, is_loss: true })
    }

    fn on_ecn(&mut self, report: &EcnEvent<'_>) -> bool {
        Windowed::on_ecn(self, report)
    }

    fn ect(&self) -> Ecn {
        Windowed::ect(self)
    }

    fn on_persistent_congestion(&mut self, now: Instant) {
        self.base_mut().collapse(now);
        self.forget();
    }

    fn undo(&mut self) -> bool {
        Windowed::undo(self)
    }

    fn available(&self, in_flight: u64) -> u64 {
        Windowed::available(self, in_flight)
    }

    fn window(&self) -> u64 {
        self.base().cwnd()
    }

    fn ssthresh(&self) -> Option<u64> {
        self.base().ssthresh()
    }

    fn phase(&self) -> Phase {
        self.base().phase()
    }

    fn recovery_start(&self) -> Option<Instant> {
        self.base().recovery_start()
    }

    fn pacing_rate(&self, rtt: &Rtt) -> Option<u64> {
        Windowed::pacing_rate(self, rtt)
    }

    fn burst_time(&self) -> Duration {
        Windowed::burst_time(self)
    }

    fn restart_datagrams(&self) -> u64 {
        Windowed::restart_datagrams(self)
    }

    fn set_max_datagram(&mut self, bytes: u64) {
        self.base_mut().set_max_datagram(bytes);
    }

    fn inherit(&mut self, past: &Inheritance<'_>) {
        Windowed::inherit(self, past);
    }
}
