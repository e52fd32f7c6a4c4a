//! Shared by the tests of recovery.

use super::*;
use crate::error::TransportError;
use core::ops::RangeInclusive;
use tquic_wire::frame::ack::{self, EcnCounts};
use tquic_wire::{Frame, FrameIter, Writer};

mod bottleneck;
mod congestion;
mod detection;
mod properties;
mod timers;

pub const MSS: u64 = 1200;
pub const MAX_ACK_DELAY: Duration = Duration::from_millis(25);

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Milliseconds after the start of a test.
pub fn at(ms: u64) -> Instant {
    Instant::from_nanos(1_000_000_000 + ms * 1_000_000)
}

/// A context of an established connection.
pub fn established() -> TimerContext {
    TimerContext {
        handshake_confirmed: true,
        has_handshake_keys: false,
        peer_validated_address: true,
        amplification_blocked: false,
        peer_max_ack_delay: MAX_ACK_DELAY,
        ack_threshold: None,
        longest_backoff: Duration::MAX,
    }
}

/// A context of a client that waits for the server's first flight.
pub fn handshaking() -> TimerContext {
    TimerContext { handshake_confirmed: false, peer_validated_address: false, ..established() }
}

#[derive(Default)]
pub struct Sink {
    pub acked: Vec<Token>,
    pub lost: Vec<Token>,
    pub probed: Vec<Token>,
}

impl TokenSink for Sink {
    fn acked(&mut self, _: Space, token: Token) {
        self.acked.push(token);
    }
    fn lost(&mut self, _: Space, token: Token) {
        self.lost.push(token);
    }
    fn probe(&mut self, _: Space, token: Token) {
        self.probed.push(token);
    }
}

/// A recovery and the sink it reports to. Packet `n` of a space carries `token(n)`.
pub struct Bench {
    pub r: Recovery,
    pub sink: Sink,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(RecoveryConfig { congestion: Congestion::NewReno, ..RecoveryConfig::default() })
    }

    pub fn with(config: RecoveryConfig) -> Self {
        Self { r: Recovery::new(&config, at(0)), sink: Sink::default() }
    }

    /// A bench whose RTT was sampled: packet 0 was acknowledged at once.
    pub fn warmed(rtt_ms: u64) -> Self {
        let mut b = Self::new();
        b.send(Space::Data, 0);
        b.ack(Space::Data, rtt_ms, &[0..=0]).unwrap();
        b.sink = Sink::default();
        b
    }

    pub fn packet(&self, space: Space, time_ms: u64) -> SentPacket {
        SentPacket {
            time_sent: at(time_ms),
            size: MSS as u16,
            ack_eliciting: true,
            in_flight: true,
            tokens: [token(self.r.next_pn(space))].into_iter().collect(),
            ..SentPacket::default()
        }
    }

    pub fn send(&mut self, space: Space, time_ms: u64) -> u64 {
        let packet = self.packet(space, time_ms);
        self.send_packet(space, packet)
    }

    pub fn send_packet(&mut self, space: Space, packet: SentPacket) -> u64 {
        let pn = self.r.next_pn(space);
        self.r.on_packet_sent(space, pn, packet);
        pn
    }

    pub fn send_many(&mut self, count: u64, time_ms: u64) {
        for _ in 0..count {
            self.send(Space::Data, time_ms);
        }
    }

    pub fn ack(
        &mut self,
        space: Space,
        time_ms: u64,
        ranges: &[RangeInclusive<u64>],
    ) -> Result<AckSummary, TransportError> {
        on_ack(&mut self.r, &mut self.sink, at(time_ms), space, ranges, None)
    }

    pub fn timeout(&mut self, time_ms: u64, ctx: &TimerContext) -> TimeoutAction {
        self.r.on_timeout(at(time_ms), ctx, &mut self.sink)
    }
}

/// Encodes an ACK frame of descending `ranges` and processes it.
pub fn on_ack(
    r: &mut Recovery,
    sink: &mut Sink,
    now: Instant,
    space: Space,
    ranges: &[RangeInclusive<u64>],
    ecn: Option<EcnCounts>,
) -> Result<AckSummary, TransportError> {
    let mut buf = [0; 4096];
    let mut w = Writer::new(&mut buf);
    let written = ack::write(&mut w, None, ranges.iter().cloned(), 0, ecn, 4096);
    assert_eq!(written, ranges.len());
    match FrameIter::new(w.written()).next() {
        Some(Ok(Frame::Ack(ack))) => {
            r.on_ack(now, space, &ack, Duration::ZERO, MAX_ACK_DELAY, sink)
        }
        other => panic!("{other:?}"),
    }
}

pub fn cids(range: impl IntoIterator<Item = u64>) -> Vec<Token> {
    range.into_iter().map(token).collect()
}

/// What packet `sequence` carries.
fn token(sequence: u64) -> Token {
    Token::NewConnectionId { path: 0, sequence }
}
