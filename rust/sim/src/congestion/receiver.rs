//! A receiver that acknowledges: the real tracker of received packets and its rules.

use super::sender::{ACK_DELAY_EXPONENT, untag};
use crate::packet::{Ecn as PacketEcn, Packet};
use crate::simulation::Outbox;
use std::net::SocketAddr;
use tquic_core::path::{Ecn, PathLabel};
use tquic_core::recovery::Tokens;
use tquic_core::space::{AckRequestFrame, AckTracker};
use tquic_core::time::{Duration, Instant};
use tquic_core::tx::FrameWriter;
use tquic_wire::Space;

/// Bytes that a packet with an ACK frame takes on the wire.
const ACK_PACKET: u32 = 40;
/// Room for an ACK frame.
const FRAME: usize = 1200;

/// See the module.
pub struct Receiver {
    ends: (SocketAddr, SocketAddr),
    tracker: AckTracker,
    received: u64,
}

impl Receiver {
    /// A receiver at `ends.0` that sends an ACK frame to `ends.1` for every `ack_every` packets, and
    /// `ack_delay` after the first at the latest.
    pub fn new(ends: (SocketAddr, SocketAddr), ack_every: u64, ack_delay: Duration) -> Self {
        let mut tracker = AckTracker::new(Space::Data, ack_delay);
        let request = AckRequestFrame {
            sequence: 0,
            threshold: ack_every.saturating_sub(1),
            max_ack_delay_us: u64::try_from(ack_delay.as_micros()).unwrap_or(u64::MAX),
            reordering_threshold: 1,
        };
        // Delays below its min_ack_delay are not for it: then it stays with every other packet.
        let _ = tracker.on_ack_frequency(&request);
        Self { ends, tracker, received: 0 }
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Data packets arrived.
    pub fn receive(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        for packet in packets.drain(..) {
            let (pn, told) = untag(packet.tag);
            if self.tracker.is_duplicate(pn) {
                continue;
            }
            self.received += u64::from(packet.size);
            let mark = match packet.ecn {
                PacketEcn::NotEct => None,
                PacketEcn::Ect0 => Some(Ecn::Ect0),
                PacketEcn::Ect1 => Some(Ecn::Ect1),
                PacketEcn::Ce => Some(Ecn::Ce),
            };
            if told > 0 {
                self.tracker.on_ack_acked(told);
            }
            self.tracker.on_received(now, pn, true, mark);
        }
    }

    /// Sends an ACK frame if one is due.
    pub fn transmit(&mut self, now: Instant, out: &mut Outbox) {
        if !self.tracker.ack_due(now) {
            return;
        }
        let (mut buffer, mut tokens) = ([0; FRAME], Tokens::new());
        let mut writer = FrameWriter::new(&mut buffer, &mut tokens);
        if self.tracker.write(now, &mut writer, ACK_DELAY_EXPONENT, PathLabel::default()) {
            let length = writer.position();
            let packet = Packet::descriptor(self.ends.0, self.ends.1, ACK_PACKET);
            out.send(Packet { bytes: buffer[..length].to_vec(), ..packet });
        }
    }

    /// When an ACK frame falls due.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.tracker.timeout()
    }
}
