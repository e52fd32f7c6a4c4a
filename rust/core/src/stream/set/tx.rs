//! Frames to send, and what became of them.

use super::super::chunk::StreamChunk;
use super::super::schedule::Work;
use super::super::send::{Reset, SendPart};
use super::app::wants_frame;
use super::{DIRECTIONS, Stream, StreamSet, count, kind};
use crate::recovery::Token;
use crate::time::Instant;
use crate::tx::FrameWriter;
use tquic_wire::{Frame, StreamId};

/// Streams that [`StreamSet::backlog`] looks at.
const BACKLOG_STREAMS: usize = 64;

impl StreamSet {
    /// Whether `write_control` should be called. What made it due may have become pointless since,
    /// so that it writes nothing; afterwards this is false.
    pub fn has_control(&self) -> bool {
        !self.control.is_empty()
            || self.window.is_due()
            || self.blocked.pending().is_some()
            || self.remote.iter().any(|r| r.limit.is_pending())
            || self.local.iter().any(|l| l.blocked.pending().is_some())
    }

    /// Writes RESET_STREAM, STOP_SENDING, MAX_* and *_BLOCKED frames that are due. False if room
    /// ran out before all were written.
    pub fn write_control(&mut self, fw: &mut FrameWriter<'_>, now: Instant) -> bool {
        if self.window.is_due() {
            let max = self.window.refresh(now, self.rtt);
            if !fw.frame(&Frame::MaxData(max), Some(Token::MaxData)) {
                return false;
            }
            self.window.on_sent();
        }
        for dir in DIRECTIONS {
            let limit = &mut self.remote[dir as usize].limit;
            if limit.is_pending() {
                let frame = Frame::MaxStreams { dir, max: limit.value() };
                if !fw.frame(&frame, Some(Token::MaxStreams(dir))) {
                    return false;
                }
                limit.on_sent();
            }
            let blocked = &mut self.local[dir as usize].blocked;
            if let Some(limit) = blocked.pending() {
                let frame = Frame::StreamsBlocked { dir, limit };
                if !fw.frame(&frame, Some(Token::StreamsBlocked(dir))) {
                    return false;
                }
                blocked.on_sent();
            }
        }
        if let Some(limit) = self.blocked.pending() {
            if self.credit.left() > 0 || !self.scheduler.has(Work::Fresh) {
                // RFC 9000 section 13.3: only while still blocked.
                self.blocked.clear();
            } else if fw.frame(&Frame::DataBlocked(limit), Some(Token::DataBlocked)) {
                self.blocked.on_sent();
            } else {
                return false;
            }
        }
        while let Some(&slot) = self.control.front() {
            if !self.write_stream_control(slot, fw, now) {
                return false;
            }
            self.control.pop_front();
            self.streams[slot].in_control = false;
            self.release(slot);
        }
        true
    }

    /// Writes the control frames of one stream; false if room ran out.
    fn write_stream_control(
        &mut self,
        slot: usize,
        fw: &mut FrameWriter<'_>,
        now: Instant,
    ) -> bool {
        if !self.is_permitted(self.streams[slot].id) {
            // `raise_streams_limit` comes back to it.
            return true;
        }
        let Stream { id, send, recv, .. } = &mut self.streams[slot];
        let id = *id;
        if let Some(send) = send {
            if let Some(Reset { code: error_code, final_size, reliable_size }) =
                send.pending_reset()
            {
                let (frame, token) = match reliable_size {
                    0 => {
                        (Frame::ResetStream { id, error_code, final_size }, Token::ResetStream(id))
                    }
                    _ => (
                        Frame::ResetStreamAt { id, error_code, final_size, reliable_size },
                        Token::ResetStreamAt { id, reliable_size },
                    ),
                };
                if !fw.frame(&frame, Some(token)) {
                    return false;
                }
                send.on_reset_sent();
            }
            if let Some(limit) = send.blocked.pending() {
                let frame = Frame::StreamDataBlocked { id, limit };
                if !fw.frame(&frame, Some(Token::StreamDataBlocked(id))) {
                    return false;
                }
                send.blocked.on_sent();
            }
        }
        let Some(recv) = recv else { return true };
        if recv.stop.is_pending() {
            let frame = Frame::StopSending { id, error_code: recv.stop_code };
            if !fw.frame(&frame, Some(Token::StopSending(id))) {
                return false;
            }
            recv.stop.on_sent();
        }
        if wants_frame(recv) {
            let max = recv.window.refresh(now, self.rtt);
            // The connection has to let one stream use its window, and leave some for others.
            self.window.widen(recv.window.window().saturating_mul(3) / 2);
            let frame = Frame::MaxStreamData { id, max };
            if !fw.frame(&frame, Some(Token::MaxStreamData(id))) {
                return false;
            }
            recv.window.on_sent();
        }
        true
    }

    /// Whether `next_frame` has anything to send.
    #[inline]
    pub fn has_data(&self) -> bool {
        self.scheduler.pick(self.credit.left() > 0).is_some()
    }

    /// The stream that `next_frame` would serve, and whether with bytes that were sent before.
    pub fn next_stream(&self) -> Option<(StreamId, bool)> {
        let (slot, work) = self.scheduler.pick(self.credit.left() > 0)?;
        Some((self.streams.get(slot)?.id, work == Work::Owed))
    }

    /// New bytes that the peer's connection window lets be sent now.
    pub fn credit(&self) -> u64 {
        self.credit.left()
    }

    /// Whether the peer's connection window is all that keeps new bytes back.
    pub fn is_blocked(&self) -> bool {
        self.credit.left() == 0 && self.scheduler.has(Work::Fresh)
    }

    /// Bytes written and never sent, as far as they are more than a guess: counting ends at `most`
    /// bytes, and looks at few streams.
    pub fn backlog(&self, most: u64) -> u64 {
        let mut bytes = 0;
        for slot in self.scheduler.fresh().take(BACKLOG_STREAMS) {
            let send = self.streams.get(slot).and_then(|stream| stream.send.as_ref());
            bytes += send.map_or(0, SendPart::unsent);
            if bytes >= most {
                break;
            }
        }
        bytes
    }

    /// The next STREAM frame, header included at most `room` bytes, as priorities and flow control
    /// have it; lost bytes come first within an urgency. The choice counts as sent: if the packet
    /// is given up after all, report the chunk's token as lost. `None` also when `room` is not
    /// worth a frame.
    #[inline]
    pub fn next_frame(&mut self, room: usize) -> Option<StreamChunk> {
        let credit = self.credit.left();
        let (slot, work) = self.scheduler.pick(credit > 0)?;
        let stream = self.streams.get_mut(slot)?;
        let send = stream.send.as_mut()?;
        let piece = send.next_piece(stream.id, work, room, credit)?;
        let chunk = StreamChunk::new(slot, stream.id, piece.offset, piece.fit, piece.fin);
        if work == Work::Owed {
            self.scheduler.set(slot, work, send.has_owed());
            return Some(chunk);
        }
        self.credit.spend(chunk.len as u64);
        if send.has_fresh() {
            self.scheduler.took(slot);
        } else {
            self.scheduler.set(slot, work, false);
            if send.note_blocked() || send.pending_reset().is_some() {
                self.push_control(slot);
            }
        }
        if credit == chunk.len as u64 {
            self.note_blocked();
        }
        Some(chunk)
    }

    /// The bytes of a chunk that `next_frame` has just given: one slice of the application's
    /// buffer, or two where the chunk straddles buffers. Valid until something is acknowledged or
    /// reset; then bytes may be missing.
    #[inline]
    pub fn data(&self, chunk: &StreamChunk) -> (&[u8], &[u8]) {
        match self.streams.get(chunk.slot) {
            Some(Stream { id, send: Some(send), .. }) if *id == chunk.id => {
                send.slices(chunk.offset, chunk.len)
            }
            _ => (&[], &[]),
        }
    }

    /// Writes the next STREAM frame whole, data copied. False if there is none or no room.
    pub fn write_frame(&mut self, fw: &mut FrameWriter<'_>) -> bool {
        let Some(chunk) = self.next_frame(fw.remaining()) else { return false };
        chunk.write_header(fw);
        let (a, b) = self.data(&chunk);
        fw.raw().bytes(a);
        fw.raw().bytes(b);
        true
    }

    /// A packet that carried `token` was acknowledged; tokens of others are ignored.
    pub fn on_acked(&mut self, token: Token) {
        match token {
            Token::Stream { id, offset, len, fin } => self.on_stream_acked(id, offset, len, fin),
            Token::ResetStream(id) => self.on_reset_acked(id, 0),
            Token::ResetStreamAt { id, reliable_size } => self.on_reset_acked(id, reliable_size),
            Token::StopSending(id) => {
                let Some(slot) = self.index.get(id) else { return };
                if let Some(recv) = &mut self.streams[slot].recv {
                    recv.stop.on_acked();
                    self.release(slot);
                }
            }
            // Limits and blocked signals: only losses matter.
            _ => {}
        }
    }

    fn on_reset_acked(&mut self, id: StreamId, reliable_size: u64) {
        let Some(slot) = self.index.get(id) else { return };
        if let Some(send) = &mut self.streams[slot].send {
            send.on_reset_acked(reliable_size);
            self.release(slot);
        }
    }

    fn on_stream_acked(&mut self, id: StreamId, offset: u64, len: u16, fin: bool) {
        let Some(slot) = self.index.get(id) else { return };
        let Some(send) = &mut self.streams[slot].send else { return };
        let complete = send.on_acked(offset, len, fin);
        count(&mut self.held, send);
        let room = send.take_room();
        let over = send.state().is_terminal();
        self.scheduler.set(slot, Work::Owed, send.has_owed());
        if room && !complete {
            self.push_event(slot, kind::WRITABLE);
        }
        if complete {
            self.push_event(slot, kind::FINISHED);
        } else if over {
            // It was reset, and all that was promised is there.
            self.release(slot);
        }
    }

    /// A packet that carried `token` was lost, or is to be probed for: what still matters of it
    /// will be sent again (RFC 9000 section 13.3). Tokens of others are ignored.
    pub fn on_lost(&mut self, token: Token) {
        match token {
            Token::MaxData => self.window.on_lost(),
            Token::MaxStreams(dir) => self.remote[dir as usize].limit.on_lost(),
            Token::DataBlocked => self.blocked.on_lost(),
            Token::StreamsBlocked(dir) => self.local[dir as usize].blocked.on_lost(),
            Token::Stream { id, .. }
            | Token::ResetStream(id)
            | Token::ResetStreamAt { id, .. }
            | Token::StopSending(id)
            | Token::MaxStreamData(id)
            | Token::StreamDataBlocked(id) => {
                if let Some(slot) = self.index.get(id) {
                    self.on_stream_token_lost(slot, token);
                }
            }
            _ => {}
        }
    }

    fn on_stream_token_lost(&mut self, slot: usize, token: Token) {
        let permitted = self.is_permitted(self.streams[slot].id);
        let Stream { send, recv, .. } = &mut self.streams[slot];
        match (token, send, recv) {
            (Token::Stream { offset, len, fin, .. }, Some(send), _) => {
                send.on_lost(offset, len, fin);
                let owed = permitted && send.has_owed();
                self.scheduler.set(slot, Work::Owed, owed);
                return;
            }
            (Token::ResetStream(_), Some(send), _) => send.on_reset_lost(0),
            (Token::ResetStreamAt { reliable_size, .. }, Some(send), _) => {
                send.on_reset_lost(reliable_size);
            }
            (Token::StreamDataBlocked(_), Some(send), _) => send.blocked.on_lost(),
            (Token::StopSending(_), _, Some(recv)) => recv.stop.on_lost(),
            (Token::MaxStreamData(_), _, Some(recv)) if recv.wants_limit() => {
                recv.window.on_lost();
            }
            _ => return,
        }
        self.push_control(slot);
    }
}
