//! A sender that always has data: the real loss detection, sampler, pacer and controller, and
//! packets that are descriptors.

use crate::packet::{Ecn as PacketEcn, Packet};
use crate::simulation::Outbox;
use std::net::SocketAddr;
use tquic_core::cc::Congestion;
use tquic_core::path::Ecn;
use tquic_core::path::ecn::EcnPath;
use tquic_core::recovery::{
    Recovery, RecoveryConfig, SentPacket, TimeoutAction, TimerContext, Token, TokenSink,
};
use tquic_core::rng::Rng;
use tquic_core::time::{Duration, Instant};
use tquic_wire::{Frame, FrameIter, Side, Space};

/// The exponent by which acknowledgment delays are written; that of RFC 9000 section 18.2.
pub const ACK_DELAY_EXPONENT: u64 = 3;

/// What a sender needs to start.
#[derive(Clone, Debug)]
pub struct SenderConfig {
    /// Its own address, and the receiver's.
    pub ends: (SocketAddr, SocketAddr),
    /// The controller.
    pub congestion: Congestion,
    /// Bytes of every packet.
    pub packet: u16,
    /// When it starts.
    pub start: Instant,
    /// Whether it marks its packets as ECN-capable.
    pub ecn: bool,
    /// The receiver's max_ack_delay.
    pub peer_max_ack_delay: Duration,
}

/// See the module.
pub struct Sender {
    config: SenderConfig,
    recovery: Recovery,
    ecn: EcnPath,
    rng: Rng,
    /// When the pacer lets the next burst go.
    release: Option<Instant>,
    /// Packets to send whatever the window says (RFC 9002 section 6.2.4).
    probes: usize,
    /// Largest Acknowledged of the newest ACK frame that arrived.
    told: u64,
}

/// Nothing is sent again: one byte of a flow is as good as another.
struct Forget;

impl TokenSink for Forget {
    fn acked(&mut self, _: Space, _: Token) {}
    fn lost(&mut self, _: Space, _: Token) {}
}

/// What data packets carry in their tag: their number, and up to where the sender has been told of
/// acknowledgments, as an acknowledgment of ACK frames would tell the receiver.
pub const fn tag(pn: u64, told: u64) -> u64 {
    told << 32 | pn
}

/// Number and Largest Acknowledged of a tag.
pub const fn untag(tag: u64) -> (u64, u64) {
    (tag & u32::MAX as u64, tag >> 32)
}

impl Sender {
    /// A sender that has not started.
    pub fn new(config: SenderConfig, mut rng: Rng) -> Self {
        let settings = RecoveryConfig {
            side: Side::Server,
            congestion: config.congestion,
            max_datagram: config.packet,
            seed: rng.u64(),
            ..RecoveryConfig::default()
        };
        Self {
            recovery: Recovery::new(&settings, Instant::ZERO),
            ecn: EcnPath::new(config.ecn),
            rng,
            release: Some(config.start),
            probes: 0,
            told: 0,
            config,
        }
    }

    /// The state of its recovery.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// ACK frames arrived.
    pub fn receive(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        for packet in packets.drain(..) {
            if let Some(Ok(Frame::Ack(ack))) = FrameIter::new(&packet.bytes).next() {
                self.told = self.told.max(ack.largest);
                let peer_max = self.config.peer_max_ack_delay;
                let delay = Duration::from_micros(ack.delay_us(ACK_DELAY_EXPONENT)).min(peer_max);
                let recovery = &mut self.recovery;
                let summary = recovery.on_ack(now, Space::Data, &ack, delay, peer_max, &mut Forget);
                let Ok(summary) = summary else { continue };
                let marked = summary.newly_acked_ect;
                if summary.newly_acked > 0
                    && summary.raised_largest
                    && let Some(delta) = self.ecn.on_ack(2, marked, summary.ecn)
                {
                    recovery.on_ecn(now, summary.largest_sent_at, delta.ect, delta.ce);
                }
                (0..summary.lost_packets).for_each(|_| self.ecn.on_lost());
                if !self.ecn.is_usable() {
                    recovery.on_ecn_unusable();
                }
            }
        }
    }

    /// A timer fired.
    pub fn timeout(&mut self, now: Instant) {
        if self.recovery.timeout(&self.timers()).is_some_and(|at| at <= now)
            && let TimeoutAction::Pto { probes, .. } =
                self.recovery.on_timeout(now, &self.timers(), &mut Forget)
        {
            self.probes += probes;
        }
    }

    /// Sends what window and pacer allow.
    pub fn transmit(&mut self, now: Instant, out: &mut Outbox) {
        if now < self.config.start {
            return;
        }
        self.release = None;
        while self.probes > 0 {
            self.probes -= 1;
            self.send(now, out);
        }
        if !self.recovery.rtt().has_sample() {
            // The handshake: a packet there and back, before there is data.
            if self.recovery.bytes_in_flight() == 0 {
                self.send(now, out);
            }
            return self.recovery.on_out_of_data(now);
        }
        let packet = u64::from(self.config.packet);
        loop {
            let budget = self.recovery.budget(now);
            self.release = budget.next_release;
            if budget.bytes < packet {
                return;
            }
            (0..budget.bytes / packet).for_each(|_| self.send(now, out));
        }
    }

    /// When it wants to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.release.into_iter().chain(self.recovery.timeout(&self.timers())).min()
    }

    fn send(&mut self, now: Instant, out: &mut Outbox) {
        let pn = self.recovery.take_pn(Space::Data, &mut self.rng);
        let mark = self.ecn.mark(self.recovery.ect());
        let size = self.config.packet;
        let packet = SentPacket {
            time_sent: now,
            size,
            ack_eliciting: true,
            in_flight: true,
            ecn: mark,
            ..SentPacket::default()
        };
        self.recovery.on_packet_sent(Space::Data, pn, packet);
        self.ecn.on_sent(mark, 1);
        let (from, to) = self.config.ends;
        let packet = Packet::descriptor(from, to, u32::from(size));
        out.send(packet.with_ecn(on_wire(mark)).with_tag(tag(pn, self.told)));
    }

    /// The handshake is over.
    fn timers(&self) -> TimerContext {
        TimerContext {
            handshake_confirmed: true,
            has_handshake_keys: false,
            peer_validated_address: true,
            amplification_blocked: false,
            peer_max_ack_delay: self.config.peer_max_ack_delay,
            ack_threshold: None,
            longest_backoff: Duration::MAX,
        }
    }
}

fn on_wire(mark: Option<Ecn>) -> PacketEcn {
    match mark {
        None => PacketEcn::NotEct,
        Some(Ecn::Ect0) => PacketEcn::Ect0,
        Some(Ecn::Ect1) => PacketEcn::Ect1,
        Some(Ecn::Ce) => PacketEcn::Ce,
    }
}
