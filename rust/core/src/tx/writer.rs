//! The place where owners put their frames while a packet is built.

use crate::recovery::{Token, Tokens};
use tquic_wire::{Frame, Writer};

/// Writes frames into one packet's payload and records what it carried.
#[derive(Debug)]
pub struct FrameWriter<'a> {
    w: Writer<'a>,
    tokens: &'a mut Tokens,
    ack_eliciting: bool,
}

impl<'a> FrameWriter<'a> {
    /// A writer that fills `buf`, which must end where the packet's payload may end.
    pub fn new(buf: &'a mut [u8], tokens: &'a mut Tokens) -> Self {
        Self { w: Writer::new(buf), tokens, ack_eliciting: false }
    }

    /// Bytes still free.
    pub fn remaining(&self) -> usize {
        self.w.remaining()
    }

    /// Writes a whole frame and notes its token. Without room for all of it nothing is written and
    /// the answer is false.
    pub fn frame(&mut self, frame: &Frame<'_>, token: Option<Token>) -> bool {
        if frame.size() > self.w.remaining() {
            return false;
        }
        frame.write(&mut self.w);
        // RFC 9002 section 2: all frames but ACK, PADDING and CONNECTION_CLOSE are ack-eliciting.
        if !matches!(frame, Frame::Ack(_) | Frame::Padding { .. } | Frame::ConnectionClose(_)) {
            self.ack_eliciting = true;
        }
        self.tokens.extend(token);
        true
    }

    /// The bare writer, for frames whose owner writes them piece by piece. Such an owner checks
    /// `remaining` first and calls `token` and `mark_ack_eliciting` itself.
    pub fn raw(&mut self) -> &mut Writer<'a> {
        &mut self.w
    }

    /// Notes that the packet carries what `token` names.
    pub fn token(&mut self, token: Token) {
        self.tokens.push(token);
    }

    /// Bytes written so far.
    pub fn position(&self) -> usize {
        self.w.position()
    }

    /// Notes that the packet asks for an acknowledgement.
    pub fn mark_ack_eliciting(&mut self) {
        self.ack_eliciting = true;
    }

    /// Whether the packet asks for an acknowledgement (RFC 9002 section 2).
    pub fn is_ack_eliciting(&self) -> bool {
        self.ack_eliciting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_without_room_leaves_no_trace() {
        let (mut buf, mut tokens) = ([0; 4], Tokens::new());
        let mut fw = FrameWriter::new(&mut buf, &mut tokens);
        assert!(!fw.frame(&Frame::MaxData(1 << 40), Some(Token::MaxData)));
        assert_eq!((fw.position(), fw.remaining(), fw.is_ack_eliciting()), (0, 4, false));
        assert!(fw.frame(&Frame::Padding { len: 1 }, None));
        assert!(!fw.is_ack_eliciting());
        assert!(fw.frame(&Frame::MaxData(9), Some(Token::MaxData)));
        assert!(fw.is_ack_eliciting());
        assert_eq!(fw.position(), 3);
        assert_eq!(tokens.as_slice(), [Token::MaxData]);
    }
}
