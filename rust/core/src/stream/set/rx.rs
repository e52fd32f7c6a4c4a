//! Frames of the peer that concern streams.

use super::{StreamSet, kind};
use crate::error::{TransportError, TransportErrorCode as Code};
use tquic_wire::frame::{StreamFrame, ty};
use tquic_wire::{Direction, MAX_VARINT, StreamId};

/// Which of our parts a frame is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Send,
    Recv,
}

fn error(code: Code, frame: u64, reason: impl Into<String>) -> TransportError {
    TransportError::new(code, reason.into()).in_frame(frame)
}

impl StreamSet {
    /// STREAM (RFC 9000 section 19.8).
    pub fn on_stream(&mut self, frame: &StreamFrame<'_>) -> Result<(), TransportError> {
        let end = frame.offset.saturating_add(frame.data.len() as u64);
        if end > MAX_VARINT {
            // RFC 9000 section 19.8: no credit can be given for such data.
            let reason = "stream data beyond offset 2^62-1";
            return Err(error(Code::FRAME_ENCODING_ERROR, ty::STREAM, reason));
        }
        let Some(slot) = self.resolve(frame.id, Part::Recv, ty::STREAM)? else { return Ok(()) };
        self.charge(slot, end, frame.fin, ty::STREAM)?;
        let Some(recv) = &mut self.streams[slot].recv else { return Ok(()) };
        let effect = recv.on_stream(frame.offset, frame.data, frame.fin, &mut self.pool);
        self.window.consume(effect.released);
        if effect.readable {
            self.push_event(slot, kind::READABLE);
        } else if frame.fin {
            if effect.discarded {
                self.push_final_size(slot, kind::FINAL_RECEIVED);
            }
            self.release(slot);
        }
        Ok(())
    }

    /// RESET_STREAM (RFC 9000 section 19.4).
    pub fn on_reset_stream(
        &mut self,
        id: StreamId,
        code: u64,
        final_size: u64,
    ) -> Result<(), TransportError> {
        self.on_reset(id, code, final_size, None, ty::RESET_STREAM)
    }

    /// RESET_STREAM_AT (draft-ietf-quic-reliable-stream-reset-10 section 4). Decoding it has compared
    /// its sizes.
    pub fn on_reset_stream_at(
        &mut self,
        id: StreamId,
        code: u64,
        final_size: u64,
        reliable_size: u64,
    ) -> Result<(), TransportError> {
        if !self.config.reset_stream_at {
            // To those who have not offered it, the type is unknown (RFC 9000 section 12.4).
            let reason = "a frame of an extension that was not negotiated";
            return Err(error(Code::FRAME_ENCODING_ERROR, ty::RESET_STREAM_AT, reason));
        }
        self.on_reset(id, code, final_size, Some(reliable_size), ty::RESET_STREAM_AT)
    }

    fn on_reset(
        &mut self,
        id: StreamId,
        code: u64,
        final_size: u64,
        reliable_size: Option<u64>,
        frame: u64,
    ) -> Result<(), TransportError> {
        let Some(slot) = self.resolve(id, Part::Recv, frame)? else { return Ok(()) };
        self.charge(slot, final_size, true, frame)?;
        let Some(recv) = &mut self.streams[slot].recv else { return Ok(()) };
        let reset = recv.on_reset(code, final_size, reliable_size);
        if let Some(released) = reset.map_err(|e| e.in_frame(frame))? {
            self.settle_reset(slot, released);
            self.release(slot);
        }
        Ok(())
    }

    /// The peer's reset has taken effect: `released` bytes will not be read.
    pub(super) fn settle_reset(&mut self, slot: usize, released: u64) {
        self.window.consume(released);
        let stream = &mut self.streams[slot];
        stream.events &= !kind::READABLE;
        if stream.recv.as_ref().is_some_and(|recv| recv.unread_reset().is_some()) {
            self.push_event(slot, kind::RESET);
        }
        self.push_final_size(slot, kind::FINAL_RECEIVED);
    }

    /// STOP_SENDING (RFC 9000 section 19.5).
    pub fn on_stop_sending(&mut self, id: StreamId, code: u64) -> Result<(), TransportError> {
        let Some(slot) = self.resolve(id, Part::Send, ty::STOP_SENDING)? else { return Ok(()) };
        let Some(send) = &mut self.streams[slot].send else { return Ok(()) };
        if send.on_stop_sending(code) {
            self.streams[slot].events &= !kind::WRITABLE;
            self.sync(slot);
            self.push_control(slot);
            self.push_event(slot, kind::STOPPED);
            self.push_final_size(slot, kind::FINAL_SENT);
        }
        Ok(())
    }

    /// MAX_DATA (RFC 9000 section 19.9).
    pub fn on_max_data(&mut self, max: u64) {
        self.raise_data_limit(max);
    }

    /// MAX_STREAM_DATA (RFC 9000 section 19.10).
    pub fn on_max_stream_data(&mut self, id: StreamId, max: u64) -> Result<(), TransportError> {
        let Some(slot) = self.resolve(id, Part::Send, ty::MAX_STREAM_DATA)? else { return Ok(()) };
        if let Some(send) = &mut self.streams[slot].send {
            send.raise_limit(max);
            self.sync(slot);
            self.tell_room(slot);
        }
        Ok(())
    }

    /// MAX_STREAMS (RFC 9000 section 19.11).
    pub fn on_max_streams(&mut self, dir: Direction, max: u64) -> Result<(), TransportError> {
        if max > StreamId::MAX_STREAMS {
            let frame = ty::MAX_STREAMS_BIDI + dir as u64;
            let reason = format!("a limit of {max} streams is more than 2^60");
            return Err(error(Code::FRAME_ENCODING_ERROR, frame, reason));
        }
        self.raise_streams_limit(dir, max);
        Ok(())
    }

    /// STREAM_DATA_BLOCKED (RFC 9000 section 19.13). Credit never waits for it (section 4.2).
    pub fn on_stream_data_blocked(&mut self, id: StreamId) -> Result<(), TransportError> {
        self.resolve(id, Part::Recv, ty::STREAM_DATA_BLOCKED).map(|_| ())
    }

    /// STREAMS_BLOCKED (RFC 9000 section 19.14): streams that are gone are given back at once.
    pub fn on_streams_blocked(&mut self, dir: Direction, limit: u64) -> Result<(), TransportError> {
        if limit > StreamId::MAX_STREAMS {
            let frame = ty::STREAMS_BLOCKED_BIDI + dir as u64;
            let reason = format!("a limit of {limit} streams is more than 2^60");
            return Err(error(Code::FRAME_ENCODING_ERROR, frame, reason));
        }
        self.remote[dir as usize].grant(true);
        Ok(())
    }

    /// The stream that a frame names, opened if the frame does that; `None` if it is closed, so
    /// that the frame is late and means nothing (RFC 9000 section 3.2).
    #[inline]
    fn resolve(
        &mut self,
        id: StreamId,
        part: Part,
        frame: u64,
    ) -> Result<Option<usize>, TransportError> {
        if let Some(slot) = self.index.get(id) {
            let stream = &self.streams[slot];
            let exists = match part {
                Part::Send => stream.send.is_some(),
                Part::Recv => stream.recv.is_some(),
            };
            if exists {
                return Ok(Some(slot));
            }
        }
        self.resolve_unknown(id, part, frame)
    }

    fn resolve_unknown(
        &mut self,
        id: StreamId,
        part: Part,
        frame: u64,
    ) -> Result<Option<usize>, TransportError> {
        let ours = id.initiator() == self.side;
        // RFC 9000 sections 19.4, 19.5, 19.8, 19.10, 19.13: frames against the stream's direction.
        if id.direction() == Direction::Unidirectional && ours == (part == Part::Recv) {
            let kind = if ours { "send-only" } else { "receive-only" };
            let reason = format!("stream {id} is {kind}");
            return Err(error(Code::STREAM_STATE_ERROR, frame, reason));
        }
        if ours {
            // The same sections: streams of ours that we never opened.
            if id.index() >= self.local[id.direction() as usize].opened {
                let reason = format!("stream {id} was never opened");
                return Err(error(Code::STREAM_STATE_ERROR, frame, reason));
            }
            return Ok(None);
        }
        let remote = &mut self.remote[id.direction() as usize];
        if id.index() >= remote.limit.value() {
            // RFC 9000 section 4.6.
            let reason = format!("stream {id} is beyond the limit of {}", remote.limit.value());
            return Err(error(Code::STREAM_LIMIT_ERROR, frame, reason));
        }
        if id.index() >= remote.opened {
            // RFC 9000 section 3.2: lower-numbered streams of the kind are opened along with it.
            remote.silent.insert(remote.opened..id.index());
            remote.opened = id.index() + 1;
            remote.grant(false);
            return Ok(Some(self.create(id)));
        }
        Ok(self.find(id))
    }

    /// Checks flow control and final size for a frame that reaches up to `end`, and takes the
    /// connection credit it needs.
    fn charge(
        &mut self,
        slot: usize,
        end: u64,
        is_final: bool,
        frame: u64,
    ) -> Result<(), TransportError> {
        let Some(recv) = &self.streams[slot].recv else { return Ok(()) };
        let grown = recv.check(end, is_final).map_err(|e| e.in_frame(frame))?;
        let received = self.received + grown;
        let limit = self.window.limit();
        if received > limit {
            // RFC 9000 section 4.1.
            let reason = format!("{received} bytes exceed the connection's limit of {limit}");
            return Err(error(Code::FLOW_CONTROL_ERROR, frame, reason));
        }
        self.received = received;
        Ok(())
    }
}
