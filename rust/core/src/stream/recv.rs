//! The receiving part of a stream (RFC 9000 section 3.2).

use super::assembler::{Assembler, ChunkPool, PAGE};
use super::flow::RecvWindow;
use super::{Chunk, Consumed, ReadError};
use crate::delivery::Once;
use crate::error::{TransportError, TransportErrorCode as Code};

/// The states of RFC 9000 figure 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvState {
    /// The end is not known.
    Recv,
    /// The end is known, some data is missing.
    SizeKnown,
    /// Everything has arrived.
    DataRecvd,
    /// The application has read everything.
    DataRead,
    /// The peer reset the stream, and what it promised nevertheless was read.
    ResetRecvd,
    /// The application knows that.
    ResetRead,
}

/// What a received frame did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    /// Connection credit that comes back at once, for bytes that nobody will read.
    pub released: u64,
    /// There is something new for a reader.
    pub readable: bool,
    /// It ended a stream that the application does not read any more.
    pub discarded: bool,
}

/// What the peer's RESET_STREAM and RESET_STREAM_AT frames say.
#[derive(Clone, Copy, Debug)]
struct Reset {
    code: u64,
    /// Bytes that are delivered nevertheless.
    reliable_size: u64,
    /// Whether there was a RESET_STREAM_AT among them.
    partial: bool,
}

#[derive(Debug)]
pub(super) struct RecvPart {
    state: RecvState,
    data: Assembler,
    pub window: RecvWindow,
    /// The highest offset received: what the stream took from flow control.
    highest: u64,
    final_size: Option<u64>,
    reset: Option<Reset>,
    /// STOP_SENDING, and its code. Requested: the application does not read any more.
    pub stop: Once,
    pub stop_code: u64,
    stopped: bool,
}

impl RecvPart {
    pub fn new(window: RecvWindow) -> Self {
        Self {
            state: RecvState::Recv,
            data: Assembler::default(),
            window,
            highest: 0,
            final_size: None,
            reset: None,
            stop: Once::Idle,
            stop_code: 0,
            stopped: false,
        }
    }

    pub fn state(&self) -> RecvState {
        self.state
    }

    /// Whether the stream outgrew its first page, so that it used the pool of buffers.
    pub fn is_large(&self) -> bool {
        self.highest > PAGE as u64
    }

    pub fn allocated(&self) -> usize {
        self.data.allocated()
    }

    /// The peer's code, if it reset the stream.
    pub fn reset_code(&self) -> Option<u64> {
        let reset = matches!(self.state, RecvState::ResetRecvd | RecvState::ResetRead);
        self.reset.filter(|_| reset).map(|reset| reset.code)
    }

    /// The highest offset received.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Where the stream ends, if that is known.
    pub fn final_size(&self) -> Option<u64> {
        self.final_size
    }

    /// The peer's code, if it reset the stream and the application has not been told.
    pub fn unread_reset(&self) -> Option<u64> {
        self.reset_code().filter(|_| self.state == RecvState::ResetRecvd)
    }

    /// Whether both sides are done with this part. A stream that the application stopped is done
    /// when its final size is known and STOP_SENDING was sent once: connection credit is settled
    /// then, and what the peer still repeats can be ignored.
    pub fn is_done(&self) -> bool {
        match self.state {
            RecvState::DataRead | RecvState::ResetRead => true,
            RecvState::SizeKnown => self.stopped && !self.stop.is_pending(),
            _ => false,
        }
    }

    /// Checks a STREAM or RESET_STREAM frame that ends at `end` against the final size and the
    /// stream's limit, and gives the connection credit that it takes.
    pub fn check(&self, end: u64, is_final: bool) -> Result<u64, TransportError> {
        // RFC 9000 section 4.5: once known, the final size cannot change, and no data may come at
        // or beyond it.
        if let Some(size) = self.final_size {
            if is_final && end != size {
                return Err(final_size(format!("final size changed from {size} to {end}")));
            }
            if end > size {
                return Err(final_size(format!("data up to {end} beyond the final size {size}")));
            }
        } else if is_final && end < self.highest {
            let highest = self.highest;
            return Err(final_size(format!("final size {end} below received data {highest}")));
        }
        let limit = self.window.limit();
        if end > limit {
            // RFC 9000 section 4.1.
            let reason = format!("data up to {end} beyond the stream's limit {limit}");
            return Err(TransportError::new(Code::FLOW_CONTROL_ERROR, reason));
        }
        Ok(end.saturating_sub(self.highest))
    }

    /// Takes in a STREAM frame that passed `check`.
    pub fn on_stream(
        &mut self,
        offset: u64,
        data: &[u8],
        fin: bool,
        pool: &mut ChunkPool,
    ) -> Effect {
        let end = offset + data.len() as u64;
        let grown = end.saturating_sub(self.highest);
        self.highest += grown;
        let ended = fin && self.final_size.is_none();
        if ended {
            self.final_size = Some(end);
        }
        if self.stopped {
            // RFC 9000 section 3.5: counted, but discarded.
            if ended && self.state == RecvState::Recv {
                self.state = RecvState::SizeKnown;
            }
            return Effect { released: grown, readable: false, discarded: ended };
        }
        if !matches!(self.state, RecvState::Recv | RecvState::SizeKnown) {
            return Effect::default();
        }
        let more = self.data.insert(offset, data, self.final_size == Some(end), pool);
        let Some(size) = self.final_size else {
            return Effect { readable: more, ..Effect::default() };
        };
        // What was reset has no end, even if all of it has come.
        let whole = self.data.next() == size && self.reset.is_none();
        self.state = if whole { RecvState::DataRecvd } else { RecvState::SizeKnown };
        // The bare end is news too, once it can be read.
        Effect { readable: more || self.state == RecvState::DataRecvd, ..Effect::default() }
    }

    /// Takes in a RESET_STREAM frame that passed `check`, or a RESET_STREAM_AT frame with its
    /// Reliable Size. Answers with the credit of all bytes that will not be read, or `None` if the
    /// stream is not reset yet, or no more.
    pub fn on_reset(
        &mut self,
        code: u64,
        final_size: u64,
        reliable_size: Option<u64>,
    ) -> Result<Option<u64>, TransportError> {
        let mut reset = Reset {
            code,
            reliable_size: reliable_size.unwrap_or(0),
            partial: reliable_size.is_some(),
        };
        if let Some(known) = self.reset {
            reset.partial |= known.partial;
            if known.code != code && reset.partial {
                // draft-ietf-quic-reliable-stream-reset-10 section 5.2.
                let reason = format!("the code of a reset changed from {} to {code}", known.code);
                return Err(TransportError::new(Code::STREAM_STATE_ERROR, reason));
            }
            // The same section: a frame that increases it is late.
            reset.reliable_size = reset.reliable_size.min(known.reliable_size);
        }
        let unread_from = if self.stopped { self.highest } else { self.data.start() };
        self.highest = self.highest.max(final_size);
        self.final_size = Some(final_size);
        // RFC 9000 section 3.2: with all data here, the reset may be suppressed.
        if !matches!(self.state, RecvState::Recv | RecvState::SizeKnown) {
            return Ok(None);
        }
        self.reset = Some(reset);
        if self.stopped {
            self.state = RecvState::ResetRead;
            self.stop.cancel();
            return Ok(Some(final_size - unread_from));
        }
        self.state = RecvState::SizeKnown;
        Ok(self.reset_when_read())
    }

    /// A reset takes effect when the reader has what the peer promised. Answers with the credit of
    /// all bytes that will not be read.
    pub fn reset_when_read(&mut self) -> Option<u64> {
        let (reset, size) = (self.reset?, self.final_size?);
        let unread_from = self.data.start();
        let waits = self.state == RecvState::SizeKnown && !self.stopped;
        if !waits || unread_from < reset.reliable_size {
            return None;
        }
        self.state = RecvState::ResetRecvd;
        self.data = Assembler::default();
        self.stop.cancel();
        Some(size - unread_from)
    }

    /// The application does not want the rest. Answers with the credit of what was received and
    /// will not be read.
    pub fn stop(&mut self, code: u64) -> u64 {
        if self.stopped {
            return 0;
        }
        let released = match self.state {
            RecvState::DataRead | RecvState::ResetRead => return 0,
            RecvState::ResetRecvd => {
                self.state = RecvState::ResetRead;
                return 0;
            }
            RecvState::DataRecvd => {
                self.state = RecvState::DataRead;
                self.highest - self.data.start()
            }
            RecvState::Recv | RecvState::SizeKnown => {
                self.stop_code = code;
                self.stop.request();
                self.highest - self.data.start()
            }
        };
        self.stopped = true;
        self.data = Assembler::default();
        released
    }

    fn readable(&mut self) -> Result<(), ReadError> {
        if self.stopped {
            return Err(ReadError::Finished);
        }
        match (self.state, self.reset) {
            (RecvState::ResetRecvd | RecvState::ResetRead, Some(reset)) => {
                self.state = RecvState::ResetRead;
                let Reset { code, reliable_size, .. } = reset;
                Err(ReadError::Reset { code, reliable_size })
            }
            (RecvState::DataRead, _) => Err(ReadError::Finished),
            _ => Ok(()),
        }
    }

    /// After reading: returns stream credit and tells whether the end was reached.
    fn on_read(&mut self, len: usize) -> bool {
        self.window.consume(len as u64);
        let fin = self.state == RecvState::DataRecvd && Some(self.data.start()) == self.final_size;
        if fin {
            self.state = RecvState::DataRead;
        }
        fin
    }

    /// Whether a reader would find something.
    pub fn has_more(&self) -> bool {
        self.data.start() < self.data.next() || self.state == RecvState::DataRecvd
    }

    pub fn read(&mut self, max: usize, pool: &mut ChunkPool) -> Result<Option<Chunk>, ReadError> {
        self.readable()?;
        let offset = self.data.start();
        let all = self.state == RecvState::DataRecvd;
        let data = self.data.read(max, all, pool).unwrap_or_default();
        let fin = self.on_read(data.len());
        Ok((fin || !data.is_empty()).then_some(Chunk { offset, data, fin }))
    }

    pub fn read_with(
        &mut self,
        pool: &mut ChunkPool,
        mut f: impl FnMut(u64, &[u8]) -> usize,
    ) -> Result<Consumed, ReadError> {
        self.readable()?;
        let start = self.data.start();
        loop {
            let (offset, mut offered) = (self.data.start(), 0);
            let used = self.data.read_with(pool, |bytes| {
                offered = bytes.len();
                f(offset, bytes)
            });
            if used.is_none_or(|used| used < offered) {
                break;
            }
        }
        let bytes = (self.data.start() - start) as usize;
        Ok(Consumed { bytes, fin: self.on_read(bytes) })
    }

    /// Whether limits still matter to the peer (RFC 9000 sections 3.3 and 4.4: only in "Recv").
    pub fn wants_limit(&self) -> bool {
        self.state == RecvState::Recv && !self.stopped
    }
}

fn final_size(reason: String) -> TransportError {
    TransportError::new(Code::FINAL_SIZE_ERROR, reason)
}

#[cfg(test)]
#[path = "recv_tests.rs"]
mod tests;
