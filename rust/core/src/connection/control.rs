//! Small frames that belong to the connection as a whole, delivered until acknowledged.

use core::time::Duration;

use tquic_wire::Frame;

use super::Echo;
use crate::recovery::Token;
use crate::tx::FrameWriter;

/// Packets that peers leave unacknowledged where nothing was agreed: RFC 9000 section 13.2.2 asks for
/// an ACK frame after two, stacks in use take up to ten.
const UNASKED_THRESHOLD: u64 = 10;

/// A frame to be sent until the peer has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Delivery {
    #[default]
    Idle,
    Pending,
    InFlight,
    Done,
}

impl Delivery {
    fn lost(&mut self) {
        if *self == Self::InFlight {
            *self = Self::Pending;
        }
    }
}

/// The newest ACK_FREQUENCY request.
#[derive(Clone, Copy, Debug)]
struct AckRequest {
    sequence: u64,
    threshold: u64,
    max_ack_delay: Duration,
    reordering: u64,
}

/// HANDSHAKE_DONE, NEW_TOKEN, ACK_FREQUENCY and PING.
#[derive(Default)]
pub struct Control {
    handshake_done: Delivery,
    new_token: (Delivery, Vec<u8>),
    ack_frequency: (Delivery, Option<AckRequest>),
    /// The threshold of the last request that the peer has.
    ack_threshold: Option<u64>,
    ping: bool,
    pub(crate) echo: Echo,
}

impl Control {
    /// Queues HANDSHAKE_DONE.
    pub fn handshake_done(&mut self) {
        self.handshake_done = Delivery::Pending;
    }

    /// Queues NEW_TOKEN.
    pub fn new_token(&mut self, token: Vec<u8>) {
        self.new_token = (Delivery::Pending, token);
    }

    /// Queues a PING.
    pub fn ping(&mut self) {
        self.ping = true;
    }

    /// Asks the peer to acknowledge every `threshold + 1` packets, within `max_ack_delay`, and
    /// `reordering` packets out of order at once (draft-ietf-quic-ack-frequency section 4). Asks
    /// again only when the threshold changes by a quarter or more.
    pub fn request_acks(&mut self, threshold: u64, max_ack_delay: Duration, reordering: u64) {
        let before = self.ack_frequency.1;
        if before.is_some_and(|b| {
            threshold.abs_diff(b.threshold) * 4 < b.threshold.max(1)
                && b.max_ack_delay == max_ack_delay
        }) {
            return;
        }
        let sequence = before.map_or(0, |b| b.sequence + 1);
        let request = AckRequest { sequence, threshold, max_ack_delay, reordering };
        self.ack_frequency = (Delivery::Pending, Some(request));
    }

    /// Ack-eliciting packets that the peer may leave unacknowledged for a while: the larger of what
    /// it was asked for before and what is in flight (draft-ietf-quic-ack-frequency-12, "Computation
    /// of Probe Timeout Period").
    pub fn ack_threshold(&self) -> u64 {
        let asked = self.ack_frequency.1.map(|request| request.threshold);
        self.ack_threshold.unwrap_or(UNASKED_THRESHOLD).max(asked.unwrap_or(0))
    }

    /// Whether anything waits to be sent.
    pub fn has_pending(&self) -> bool {
        self.ping
            || self.handshake_done == Delivery::Pending
            || self.new_token.0 == Delivery::Pending
            || self.ack_frequency.0 == Delivery::Pending
    }

    /// Writes what fits.
    pub fn write(&mut self, w: &mut FrameWriter<'_>) {
        if self.handshake_done == Delivery::Pending
            && w.frame(&Frame::HandshakeDone, Some(Token::HandshakeDone))
        {
            self.handshake_done = Delivery::InFlight;
        }
        if self.new_token.0 == Delivery::Pending {
            let frame = Frame::NewToken { token: &self.new_token.1 };
            if w.frame(&frame, Some(Token::NewToken)) {
                self.new_token.0 = Delivery::InFlight;
            }
        }
        if let (Delivery::Pending, Some(r)) = self.ack_frequency {
            let frame = Frame::AckFrequency {
                sequence: r.sequence,
                threshold: r.threshold,
                request_max_ack_delay_us: r.max_ack_delay.as_micros() as u64,
                reordering_threshold: r.reordering,
            };
            if w.frame(&frame, Some(Token::AckFrequency)) {
                self.ack_frequency.0 = Delivery::InFlight;
            }
        }
        if self.ping && w.frame(&Frame::Ping, None) {
            self.ping = false;
        }
    }

    /// A packet that carried this arrived.
    pub fn on_acked(&mut self, token: Token) {
        match token {
            Token::HandshakeDone => self.handshake_done = Delivery::Done,
            Token::NewToken => self.new_token = (Delivery::Done, Vec::new()),
            Token::AckFrequency if self.ack_frequency.0 == Delivery::InFlight => {
                self.ack_frequency.0 = Delivery::Done;
                self.ack_threshold = self.ack_frequency.1.map(|request| request.threshold);
            }
            _ => {}
        }
    }

    /// A packet that carried this was lost.
    pub fn on_lost(&mut self, token: Token) {
        match token {
            Token::HandshakeDone => self.handshake_done.lost(),
            Token::NewToken => self.new_token.0.lost(),
            Token::AckFrequency => self.ack_frequency.0.lost(),
            _ => {}
        }
    }
}
