//! Asking the peer to answer: PINGs whose round trip is measured, and IMMEDIATE_ACK.

use core::time::Duration;

use tquic_wire::Frame;

use crate::recovery::Token;
use crate::time::Instant;
use crate::tx::FrameWriter;

/// See the module.
#[derive(Default)]
pub(crate) struct Echo {
    /// PINGs that the application asked for so far: the number of the newest, from 1 on.
    asked: u64,
    /// The newest that was answered.
    answered: u64,
    /// One waits to be sent: the newest, which stands for all before it.
    ping: bool,
    /// IMMEDIATE_ACK is to follow the stream data that waits.
    hurry: bool,
    answer: Option<(u64, Duration)>,
}

impl Echo {
    /// Queues a PING. One that waits already serves both.
    pub fn ping(&mut self) {
        self.ping = true;
        self.asked += 1;
    }

    /// Queues an IMMEDIATE_ACK.
    pub fn hurry(&mut self) {
        self.hurry = true;
    }

    /// Whether anything waits to be sent.
    pub fn has_pending(&self) -> bool {
        self.ping || self.hurry
    }

    /// Writes what fits. `immediate`: the peer knows IMMEDIATE_ACK. `last`: no stream data is left
    /// behind this packet.
    pub fn write(&mut self, now: Instant, w: &mut FrameWriter<'_>, immediate: bool, last: bool) {
        let mut hasten = self.hurry && last;
        if self.ping {
            let token = Token::Ping { sequence: self.asked, at: now };
            let written = w.frame(&Frame::Ping, Some(token));
            self.ping = !written;
            hasten |= written;
        }
        // Not sent again when it is lost: a probe follows then, which is answered as well.
        if hasten && (!immediate || w.frame(&Frame::ImmediateAck, None)) {
            self.hurry &= !last;
        }
    }

    /// A packet with a PING arrived.
    pub fn on_acked(&mut self, now: Instant, sequence: u64, at: Instant) {
        if sequence > self.answered {
            self.answered = sequence;
            self.answer = Some((sequence, now.saturating_since(at)));
        }
    }

    /// A packet with a PING was lost.
    pub fn on_lost(&mut self, sequence: u64) {
        // A newer one that is on its way, or was answered, answers for it.
        self.ping |= sequence == self.asked && sequence > self.answered;
    }

    /// The newest answer, once.
    pub fn take_answer(&mut self) -> Option<(u64, Duration)> {
        self.answer.take()
    }
}
