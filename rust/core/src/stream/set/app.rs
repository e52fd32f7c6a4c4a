//! What the application does with streams.

use super::super::recv::RecvPart;
use super::super::schedule::Priority;
use super::super::send::{AHEAD, SendPart};
use super::super::{Chunk, Consumed, ReadError, StreamError};
use super::{StreamSet, kind};
use bytes::Bytes;
use tquic_wire::{Direction, MAX_VARINT, StreamId};

impl StreamSet {
    /// Opens a stream. `None`: the peer's limit is reached; STREAMS_BLOCKED will tell it, and an
    /// event when there is room.
    pub fn open(&mut self, dir: Direction) -> Option<StreamId> {
        let local = &mut self.local[dir as usize];
        if local.opened >= local.limit {
            // RFC 9000 section 4.6. Before the handshake there is no limit to complain about.
            if local.limit > 0 || self.credit.limit() > 0 {
                local.blocked.at(local.limit);
            }
            local.wanted = true;
            return None;
        }
        let id = StreamId::new(self.side, dir, local.opened);
        local.opened += 1;
        self.create(id);
        Some(id)
    }

    /// Queues bytes for sending; they are referenced, not copied, until they are acknowledged
    /// (short writes after short writes are gathered). Refused as `Full` while `writable` is 0; a
    /// write may exceed it.
    pub fn write(&mut self, id: StreamId, data: Bytes) -> Result<(), StreamError> {
        let bound = self.config.send_buffer;
        let (slot, send) = self.send_part(id)?;
        send.write(data, bound)?;
        self.sync(slot);
        Ok(())
    }

    /// Queues the last bytes of the stream and ends it, as [`Self::write`] and [`Self::finish`] do
    /// one after the other. Refused bytes do not end it.
    pub fn write_fin(&mut self, id: StreamId, data: Bytes) -> Result<(), StreamError> {
        let bound = self.config.send_buffer;
        let (slot, send) = self.send_part(id)?;
        send.write(data, bound)?;
        send.finish()?;
        self.sync(slot);
        Ok(())
    }

    /// Bytes left under the send buffer's bound; 0 too for a stream that takes no data.
    pub fn writable(&self, id: StreamId) -> u64 {
        let send = self.index.get(id).and_then(|slot| self.streams.get(slot)?.send.as_ref());
        match send {
            Some(send) => send.writable(self.config.send_buffer),
            // A stream that the peer opened silently is as good as new.
            None if self.is_silent(id) => self.config.send_buffer,
            None => 0,
        }
    }

    /// Bytes that are worth reading from a file for this stream now, at most [`Self::writable`]. All
    /// of a connection's streams together get what one stream may hold, and 64 KiB each beyond
    /// that, and none gets more than 64 KiB beyond what the peer's limits let it send: somebody who
    /// asks for many files and takes none of them costs little. 0: nothing now; an event tells when
    /// to ask again.
    pub fn read_ahead(&mut self, id: StreamId) -> u64 {
        let (room, credit) = (self.writable(id), self.credit.left());
        if room == 0 {
            // The next write is refused, and asks to be told in time.
            return 0;
        }
        let left = self.config.send_buffer.saturating_sub(self.held);
        let Ok((_, send)) = self.send_part(id) else { return 0 };
        let share = left.max(AHEAD.saturating_sub(send.buffered()));
        let wanted = send.read_ahead(room.min(share), credit);
        self.reads_ahead |= wanted == 0;
        wanted
    }

    /// Bytes written and not yet acknowledged; 0 for a stream that is gone, and for what a reset has
    /// given up.
    pub fn buffered(&self, id: StreamId) -> u64 {
        let send = self.index.get(id).and_then(|slot| self.streams.get(slot)?.send.as_ref());
        send.map_or(0, SendPart::buffered)
    }

    fn is_silent(&self, id: StreamId) -> bool {
        id.initiator() != self.side
            && id.direction() == Direction::Bidirectional
            && self.remote[id.direction() as usize].silent.contains(id.index())
    }

    /// Ends the stream after what was written. Finishing again is fine.
    pub fn finish(&mut self, id: StreamId) -> Result<(), StreamError> {
        let (slot, send) = self.send_part(id)?;
        let result = send.finish();
        self.sync(slot);
        self.release(slot);
        result
    }

    /// Gives up sending (RESET_STREAM). Without effect on a stream that is acknowledged or reset
    /// already, but it always ends the application's use of the sending part.
    pub fn reset(&mut self, id: StreamId, code: u64) -> Result<(), StreamError> {
        self.reset_at(id, code, 0)
    }

    /// Whether the peer knows RESET_STREAM_AT.
    pub fn can_reset_at(&self) -> bool {
        self.peer_reset_at
    }

    /// Gives up sending, but delivers the first `reliable_size` bytes of the stream, which must have
    /// been written (RESET_STREAM_AT, draft-ietf-quic-reliable-stream-reset-10). Again with a
    /// smaller size, less is delivered; code and end of the stream stay as they were first.
    pub fn reset_at(
        &mut self,
        id: StreamId,
        code: u64,
        reliable_size: u64,
    ) -> Result<(), StreamError> {
        let known = self.peer_reset_at;
        let (slot, send) = self.send_part(id)?;
        if code > MAX_VARINT {
            return Err(StreamError::InvalidCode);
        }
        if reliable_size > 0 && !known {
            return Err(StreamError::NoResetAt);
        }
        if reliable_size > send.written() && !send.state().is_reset() {
            return Err(StreamError::NotWritten);
        }
        send.done = true;
        if send.reset(code, reliable_size) {
            self.streams[slot].events &= !kind::WRITABLE;
            self.sync(slot);
            self.push_control(slot);
            self.push_final_size(slot, kind::FINAL_SENT);
        }
        self.release(slot);
        Ok(())
    }

    /// Gives up reading: what comes is thrown away, and the peer is asked to stop (STOP_SENDING).
    pub fn stop(&mut self, id: StreamId, code: u64) -> Result<(), StreamError> {
        let slot = self.find(id).ok_or(StreamError::Unknown)?;
        let stream = &mut self.streams[slot];
        let recv = stream.recv.as_mut().ok_or(StreamError::WrongDirection)?;
        if code > MAX_VARINT {
            return Err(StreamError::InvalidCode);
        }
        let released = recv.stop(code);
        let asks = recv.stop.is_pending();
        let known = recv.final_size().is_some();
        stream.events &= !(kind::READABLE | kind::RESET);
        self.window.consume(released);
        if known {
            self.push_final_size(slot, kind::FINAL_RECEIVED);
        }
        if asks {
            self.push_control(slot);
        }
        self.release(slot);
        Ok(())
    }

    /// Ends the application's use of the stream: stops reading and resets sending where either has
    /// not ended. A stream of the peer counts against its limit until both sides are done, and the
    /// application is done by reading to the end or stopping, and by finishing or resetting.
    pub fn close(&mut self, id: StreamId, code: u64) -> Result<(), StreamError> {
        let slot = self.find(id).ok_or(StreamError::Unknown)?;
        let Self { streams, .. } = self;
        let sends = streams[slot].send.as_ref().is_some_and(|s| !s.done);
        let reads = streams[slot].recv.is_some();
        if sends {
            self.reset(id, code)?;
        }
        if reads {
            // The reset may have been all that the stream waited for.
            match self.stop(id, code) {
                Ok(()) | Err(StreamError::Unknown) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Changes when the stream is served in relation to others; urgencies above 7 count as 7.
    pub fn set_priority(&mut self, id: StreamId, priority: Priority) -> Result<(), StreamError> {
        let slot = self.find(id).ok_or(StreamError::Unknown)?;
        self.scheduler.set_priority(slot, priority);
        Ok(())
    }

    /// Up to `max` bytes in order, at most 64 KiB at a time, without a copy. `None`: nothing now.
    /// Reading returns flow-control credit to the peer.
    pub fn read(&mut self, id: StreamId, max: usize) -> Result<Option<Chunk>, ReadError> {
        let slot = self.readable_slot(id)?;
        let Some(recv) = &mut self.streams[slot].recv else { return Ok(None) };
        let result = recv.read(max, &mut self.pool);
        let len = match &result {
            Ok(Some(chunk)) => chunk.data.len(),
            _ => 0,
        };
        self.after_read(slot, len);
        result
    }

    /// Lends what can be read to `f`, piece by piece, with its offset, for as long as `f` uses all
    /// of a piece; `f` answers how much it has used. For sinks that need no buffer of their own.
    pub fn read_with(
        &mut self,
        id: StreamId,
        f: impl FnMut(u64, &[u8]) -> usize,
    ) -> Result<Consumed, ReadError> {
        let slot = self.readable_slot(id)?;
        let Some(recv) = &mut self.streams[slot].recv else {
            return Err(ReadError::WrongDirection);
        };
        let result = recv.read_with(&mut self.pool, f);
        self.after_read(slot, result.map_or(0, |consumed| consumed.bytes));
        result
    }

    fn readable_slot(&mut self, id: StreamId) -> Result<usize, ReadError> {
        let slot = self.find(id).ok_or(ReadError::Unknown)?;
        match self.streams[slot].recv {
            Some(_) => Ok(slot),
            None => Err(ReadError::WrongDirection),
        }
    }

    fn after_read(&mut self, slot: usize, len: usize) {
        self.window.consume(len as u64);
        let stream = &mut self.streams[slot];
        let Some(recv) = &mut stream.recv else { return };
        if let Some(released) = recv.reset_when_read() {
            self.settle_reset(slot, released);
            return;
        }
        if !recv.has_more() {
            stream.events &= !kind::READABLE;
        }
        if recv.unread_reset().is_none() {
            stream.events &= !kind::RESET;
        }
        if wants_frame(recv) {
            self.push_control(slot);
        }
        self.release(slot);
    }

    fn send_part(&mut self, id: StreamId) -> Result<(usize, &mut SendPart), StreamError> {
        let slot = self.find(id).ok_or(StreamError::Unknown)?;
        match &mut self.streams[slot].send {
            Some(send) => Ok((slot, send)),
            None => Err(StreamError::WrongDirection),
        }
    }
}

/// Whether a MAX_STREAM_DATA frame should be written.
pub(super) fn wants_frame(recv: &RecvPart) -> bool {
    recv.wants_limit() && recv.window.is_due()
}
