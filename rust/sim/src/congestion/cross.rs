//! Traffic that no controller governs.

use crate::packet::Packet;
use crate::simulation::Outbox;
use std::net::SocketAddr;
use tquic_core::rng::Rng;
use tquic_core::time::{Duration, Instant, nanos};

/// Packets at random intervals while it is on.
pub struct CrossTraffic {
    ends: (SocketAddr, SocketAddr),
    packet: u16,
    /// Mean time between packets.
    interval: Duration,
    on: Duration,
    off: Duration,
    next: Instant,
    rng: Rng,
}

impl CrossTraffic {
    /// Packets of `packet` bytes from `ends.0` to `ends.1`, one every `interval` in the mean. It is on
    /// for `on`, off for `off`, and so on.
    pub fn new(
        ends: (SocketAddr, SocketAddr),
        packet: u16,
        interval: Duration,
        (on, off): (Duration, Duration),
        rng: Rng,
    ) -> Self {
        let mut cross = Self { ends, packet, interval, on, off, next: Instant::ZERO, rng };
        cross.next = cross.after(Instant::ZERO);
        cross
    }

    /// Sends what is due.
    pub fn transmit(&mut self, now: Instant, out: &mut Outbox) {
        while self.next <= now {
            out.send(Packet::descriptor(self.ends.0, self.ends.1, u32::from(self.packet)));
            self.next = self.after(self.next);
        }
    }

    /// When the next packet goes.
    pub fn next_timeout(&self) -> Option<Instant> {
        Some(self.next)
    }

    /// The time of the packet after one at `last`: the process sees only time in which it is on.
    fn after(&mut self, last: Instant) -> Instant {
        // An exponential draw; 53 bits are what an f64 holds.
        let uniform = (self.rng.u64() >> 11) as f64 / (1u64 << 53) as f64;
        let next = last + self.interval.mul_f64(-(1.0 - uniform).ln());
        if self.off.is_zero() {
            return next;
        }
        let (on, period) = (nanos(self.on), nanos(self.on + self.off));
        let phase = next.as_nanos() % period;
        if phase < on { next } else { next + Duration::from_nanos(period - phase) }
    }
}
