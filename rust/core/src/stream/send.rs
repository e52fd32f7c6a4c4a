//! The sending part of a stream (RFC 9000 section 3.1).

use super::StreamError;
use super::chunk::{Fit, fit};
use super::schedule::Work;
use super::sendbuf::SendBuffer;
use crate::delivery::{Blocked, Once};
use bytes::Bytes;
use tquic_wire::StreamId;

/// What a stream may hold of a file beyond what can be sent, in bytes, whatever others hold.
pub(super) const AHEAD: u64 = 64 * 1024;

/// The states of RFC 9000 figure 2. A stream whose RESET_STREAM still waits for a packet counts as
/// `ResetSent`: it already sends nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendState {
    /// Nothing was sent.
    Ready,
    /// Some was sent.
    Send,
    /// Everything and the FIN were sent at least once.
    DataSent,
    /// Everything was acknowledged.
    DataRecvd,
    /// The application or the peer gave the stream up. Behind a RESET_STREAM_AT, its Reliable Size
    /// is still delivered: draft-ietf-quic-reliable-stream-reset-10 section 5.3 calls that "Data
    /// Sent", but no application cares for the end of such a stream.
    ResetSent,
    /// RESET_STREAM was acknowledged; or RESET_STREAM_AT, and its Reliable Size.
    ResetRecvd,
}

impl SendState {
    /// Whether nothing can happen any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::DataRecvd | Self::ResetRecvd)
    }

    /// Whether the stream was reset, by either side.
    pub fn is_reset(self) -> bool {
        matches!(self, Self::ResetSent | Self::ResetRecvd)
    }
}

/// One frame's worth of work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub offset: u64,
    pub fit: Fit,
    pub fin: bool,
}

/// What RESET_STREAM or RESET_STREAM_AT says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reset {
    pub code: u64,
    pub final_size: u64,
    /// 0 for RESET_STREAM.
    pub reliable_size: u64,
}

#[derive(Debug)]
pub(super) struct SendPart {
    state: SendState,
    buf: SendBuffer,
    /// The peer's limit for this stream.
    max_data: u64,
    /// The end of the stream: asked for, on its way, there.
    fin: Once,
    reset: Once,
    reset_code: u64,
    /// The final size of a stream that is reset: how much of it was sent.
    final_size: u64,
    /// How much of a stream that is reset is delivered nevertheless.
    reliable_size: u64,
    pub blocked: Blocked,
    /// The code of the peer's STOP_SENDING.
    stopped: Option<u64>,
    /// Whether the application ended its use of the part itself.
    pub done: bool,
    /// The application waits until the buffer holds no more than this.
    waits_for: Option<u64>,
    /// Bytes of the buffer that the owner has counted.
    pub counted: u64,
}

impl SendPart {
    pub fn new(max_data: u64) -> Self {
        Self {
            state: SendState::Ready,
            buf: SendBuffer::default(),
            max_data,
            fin: Once::Idle,
            reset: Once::Idle,
            reset_code: 0,
            final_size: 0,
            reliable_size: 0,
            blocked: Blocked::default(),
            stopped: None,
            done: false,
            waits_for: None,
            counted: 0,
        }
    }

    pub fn state(&self) -> SendState {
        self.state
    }

    /// The code with which the part was reset.
    pub fn reset_code(&self) -> Option<u64> {
        self.state.is_reset().then_some(self.reset_code)
    }

    /// Bytes sent, repeated ones not counted.
    pub fn sent(&self) -> u64 {
        if self.state.is_reset() { self.final_size } else { self.buf.next() }
    }

    /// Where the stream ends, if it was reset: bytes promised and not sent yet are part of it.
    pub fn final_size(&self) -> Option<u64> {
        self.state.is_reset().then(|| self.final_size.max(self.reliable_size))
    }

    pub fn stopped(&self) -> Option<u64> {
        self.stopped
    }

    pub fn buffered(&self) -> u64 {
        self.buf.buffered()
    }

    /// Bytes the application may write before the buffer counts as full.
    pub fn writable(&self, bound: u64) -> u64 {
        if self.usable().is_err() { 0 } else { bound.saturating_sub(self.buf.buffered()) }
    }

    /// Whether the application may still write.
    fn usable(&self) -> Result<(), StreamError> {
        match self.stopped {
            Some(code) => Err(StreamError::Stopped(code)),
            None if self.fin.is_requested() || self.state.is_reset() => Err(StreamError::Finished),
            None => Ok(()),
        }
    }

    /// Takes the bytes if the buffer holds less than `bound`. The last write may exceed it: these
    /// bytes exist already and are referenced, not copied.
    pub fn write(&mut self, data: Bytes, bound: u64) -> Result<(), StreamError> {
        self.usable()?;
        if self.buf.buffered() >= bound {
            self.waits_for = Some(bound / 2);
            return Err(StreamError::Full);
        }
        // RFC 9000 section 4.5: no offset beyond 2^62-1 can be expressed.
        if self.buf.end() + data.len() as u64 > tquic_wire::MAX_VARINT {
            return Err(StreamError::TooLong);
        }
        self.buf.push(data);
        if self.buf.buffered() >= bound {
            // Half of it, so that it is not woken for every packet.
            self.waits_for = Some(bound / 2);
        }
        Ok(())
    }

    /// The application has written everything.
    pub fn finish(&mut self) -> Result<(), StreamError> {
        self.done = true;
        if self.fin.is_requested() && !self.state.is_reset() {
            return Ok(());
        }
        self.usable()?;
        self.fin.request();
        Ok(())
    }

    /// Bytes that the application wrote.
    pub fn written(&self) -> u64 {
        self.buf.end()
    }

    /// Gives the stream up, but for its first `reliable_size` bytes. False if this changes nothing:
    /// everything had been acknowledged, or it was reset before with no more than that.
    pub fn reset(&mut self, code: u64, reliable_size: u64) -> bool {
        if self.state.is_terminal() || self.state.is_reset() {
            return self.reduce(reliable_size);
        }
        self.state = SendState::ResetSent;
        self.reset_code = code;
        self.final_size = self.buf.next();
        self.reliable_size = reliable_size;
        self.buf.truncate(reliable_size);
        self.fin.cancel();
        self.blocked.clear();
        self.waits_for = None;
        self.reset.request();
        true
    }

    /// Delivers less of a stream that was reset. RFC 9000 section 13.3 and
    /// draft-ietf-quic-reliable-stream-reset-10 section 5.2: nothing else of a reset may change.
    pub fn reduce(&mut self, reliable_size: u64) -> bool {
        let less = self.state == SendState::ResetSent && reliable_size < self.reliable_size;
        if less {
            self.reliable_size = reliable_size;
            self.buf.truncate(reliable_size);
            self.reset = Once::Pending;
        }
        less
    }

    /// STOP_SENDING. RFC 9000 section 3.5: answered with RESET_STREAM, the code copied; by
    /// draft-ietf-quic-reliable-stream-reset-10 section 5.4 even where more was promised.
    pub fn on_stop_sending(&mut self, code: u64) -> bool {
        let used = !self.state.is_reset();
        let changed = self.reset(code, 0);
        if changed && used {
            self.stopped = Some(code);
        }
        changed
    }

    /// Raises the peer's limit; smaller ones are ignored (RFC 9000 section 4.1).
    pub fn raise_limit(&mut self, max: u64) {
        if max > self.max_data {
            self.max_data = max;
            self.blocked.clear();
        }
    }

    /// Lost bytes, or a FIN without new bytes to ride on.
    pub fn has_owed(&self) -> bool {
        self.buf.first_lost().is_some()
            || (self.fin.is_pending() && self.buf.next() == self.buf.end())
    }

    /// New bytes within the stream's limit.
    pub fn has_fresh(&self) -> bool {
        self.buf.next() < self.buf.end().min(self.max_data)
    }

    /// New bytes, within the stream's limit or not.
    pub fn unsent(&self) -> u64 {
        self.buf.end() - self.buf.next()
    }

    /// Whether the stream's limit is all that keeps new bytes back; takes note of it for
    /// STREAM_DATA_BLOCKED.
    pub fn note_blocked(&mut self) -> bool {
        let blocked = self.buf.next() == self.max_data && self.buf.next() < self.buf.end();
        if blocked {
            self.blocked.at(self.max_data);
        }
        blocked && self.blocked.pending().is_some()
    }

    /// Chooses the next frame and takes it as sent. `credit` is the connection's, for new bytes.
    /// `None`: the room is too small to be worth it.
    pub fn next_piece(
        &mut self,
        id: StreamId,
        work: Work,
        room: usize,
        credit: u64,
    ) -> Option<Piece> {
        let (offset, until) = match work {
            Work::Fresh => {
                let next = self.buf.next();
                let end = self.buf.end().min(self.max_data);
                (next, end.min(next.saturating_add(credit)))
            }
            Work::Owed => match self.buf.first_lost() {
                Some(lost) => (lost.start, lost.end),
                None => (self.buf.end(), self.buf.end()),
            },
        };
        let available = usize::try_from(until - offset).unwrap_or(usize::MAX).min(room);
        let available = self.buf.span(offset, available);
        let fit = fit(id, offset, available, room)?;
        let end = offset + fit.len as u64;
        match work {
            Work::Fresh => self.buf.sent_new(fit.len),
            Work::Owed => self.buf.sent_again(offset..end),
        }
        let all_sent = self.buf.next() == self.buf.end();
        let last = all_sent && end == self.buf.end();
        let fin = last && self.fin.is_requested() && !self.state.is_reset();
        if fin {
            self.fin.on_sent();
            self.state = SendState::DataSent;
        } else if self.state.is_reset() {
            self.final_size = self.final_size.max(end);
        } else if self.state == SendState::Ready {
            self.state = SendState::Send;
        }
        Some(Piece { offset, fit, fin })
    }

    pub fn slices(&self, offset: u64, len: usize) -> (&[u8], &[u8]) {
        self.buf.slices(offset, len)
    }

    /// A frame was acknowledged. Answers whether this completed the stream.
    pub fn on_acked(&mut self, offset: u64, len: u16, fin: bool) -> bool {
        if self.state.is_terminal() {
            return false;
        }
        self.buf.on_acked(offset..offset + u64::from(len));
        if fin {
            self.fin.on_acked();
        }
        if self.state.is_reset() {
            self.complete_reset();
            return false;
        }
        let complete = self.fin.is_acked() && self.buf.is_all_acked();
        if complete {
            self.state = SendState::DataRecvd;
        }
        complete
    }

    /// Bytes to take from a file now, at most `room`: as many as `credit`, the connection's, and the
    /// stream's own limit let be sent, and [`AHEAD`] more. 0: that is too few to be worth a read, and
    /// what is acknowledged next, or a new limit, will tell.
    pub fn read_ahead(&mut self, room: u64, credit: u64) -> u64 {
        let unsent = self.buf.end() - self.buf.next();
        let permitted = self.max_data.saturating_sub(self.buf.next()).min(credit);
        let room = room.min(permitted.saturating_add(AHEAD).saturating_sub(unsent));
        if room < AHEAD / 2 && self.buf.buffered() > 0 {
            self.waits_for = Some(u64::MAX);
            return 0;
        }
        room
    }

    /// Whether the application waited for room and has enough of it again.
    pub fn take_room(&mut self) -> bool {
        self.waits_for.take_if(|level| self.buf.buffered() <= *level).is_some()
    }

    pub fn on_lost(&mut self, offset: u64, len: u16, fin: bool) {
        if self.state.is_terminal() {
            return;
        }
        self.buf.on_lost(offset..offset + u64::from(len));
        if fin {
            self.fin.on_lost();
        }
    }

    /// RESET_STREAM or RESET_STREAM_AT to be written. Not before all that it promises was sent once:
    /// draft-ietf-quic-reliable-stream-reset-10 section 4, flow control limits the final size, and
    /// a receiver waits for these bytes anyway.
    pub fn pending_reset(&self) -> Option<Reset> {
        let due = self.reset.is_pending() && self.buf.next() == self.buf.end();
        let Self { reset_code: code, final_size, reliable_size, .. } = *self;
        due.then_some(Reset { code, final_size, reliable_size })
    }

    pub fn on_reset_sent(&mut self) {
        self.reset.on_sent();
    }

    /// A reset that promised `reliable_size` was acknowledged; only the last one counts.
    pub fn on_reset_acked(&mut self, reliable_size: u64) {
        if reliable_size == self.reliable_size {
            self.reset.on_acked();
            self.complete_reset();
        }
    }

    pub fn on_reset_lost(&mut self, reliable_size: u64) {
        if reliable_size == self.reliable_size {
            self.reset.on_lost();
        }
    }

    fn complete_reset(&mut self) {
        let complete = self.reset.is_acked() && self.buf.is_all_acked();
        if complete && self.state == SendState::ResetSent {
            self.state = SendState::ResetRecvd;
        }
    }

    /// 0-RTT was rejected: the peer knows nothing of this stream.
    pub fn restart(&mut self) {
        self.max_data = 0;
        self.blocked.clear();
        self.reset.on_lost();
        self.buf.restart();
        self.fin.on_lost();
        self.final_size = 0;
        if !self.state.is_reset() {
            self.state = SendState::Ready;
        }
    }
}

#[cfg(test)]
#[path = "send_tests.rs"]
mod tests;
