//! What the scheduler chose for a packet: a piece of one stream.

use crate::recovery::Token;
use crate::tx::FrameWriter;
use tquic_wire::StreamId;
use tquic_wire::frame::stream::{data_that_fits, header_size, write_header};

/// A frame that continues later carries at least this much data, or what the packet had left goes
/// unused: a header per few bytes costs both sides more.
const WORTHWHILE: usize = 32;

/// Less than what 16 bits hold, by the largest Length field.
const MAX_LEN: usize = u16::MAX as usize - 8;

/// How a frame fills its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    /// Bytes of stream data.
    pub len: usize,
    /// The frame's header.
    pub header: usize,
    /// PADDING before the frame.
    pub padding: usize,
    /// Whether the frame has no length and ends with the packet.
    pub to_end: bool,
}

/// Fits up to `available` bytes of data, at `offset`, and the frame's header into `room`. When they
/// fill it, the frame needs no length; a byte or two that remain go to PADDING in front, which
/// keeps packets of a train equally long.
#[inline]
pub(super) fn fit(id: StreamId, offset: u64, available: usize, room: usize) -> Option<Fit> {
    let header = header_size(id, offset, None);
    let space = room.checked_sub(header)?;
    if available >= space && (WORTHWHILE..MAX_LEN).contains(&space) {
        // The usual frame of a transfer.
        return Some(Fit { len: space, header, padding: 0, to_end: true });
    }
    // Tokens hold lengths of 16 bits. No UDP packet has more room; a larger buffer gets a Length.
    let available = if space >= MAX_LEN { available.min(MAX_LEN) } else { available };
    let fit = match data_that_fits(room, id, offset) {
        Some(len) if len >= available => {
            let header = header_size(id, offset, Some(available));
            Fit { len: available, header, padding: 0, to_end: false }
        }
        _ => {
            let len = available.min(space);
            Fit { len, header, padding: space - len, to_end: true }
        }
    };
    (fit.len >= available.min(WORTHWHILE)).then_some(fit)
}

/// A STREAM frame to be written now: chosen, and taken as sent, by `StreamSet::next_frame`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamChunk {
    /// Where the set keeps the stream.
    pub slot: usize,
    /// The stream.
    pub id: StreamId,
    /// Offset of the first byte.
    pub offset: u64,
    /// Bytes of data, at most 65,535; 0 only together with `fin`.
    pub len: usize,
    /// Whether the stream ends here.
    pub fin: bool,
    /// Whether the frame has no Length field: nothing may follow it in the packet.
    pub to_end: bool,
    /// Bytes before the data: the frame's header, and PADDING where the frame fills the room but
    /// for a byte or two.
    pub header_len: usize,
    padding: usize,
}

impl StreamChunk {
    pub(super) fn new(slot: usize, id: StreamId, offset: u64, fit: Fit, fin: bool) -> Self {
        let Fit { len, header, padding, to_end } = fit;
        let header_len = header + padding;
        Self { slot, id, offset, len, fin, to_end, header_len, padding }
    }

    /// Writes everything before the data (`header_len` bytes) and notes the token. The caller adds
    /// the bytes that `StreamSet::data` gives, by copying or while it seals the packet.
    #[inline]
    pub fn write_header(&self, fw: &mut FrameWriter<'_>) {
        let w = fw.raw();
        if self.padding > 0 {
            w.zeros(self.padding);
        }
        write_header(w, self.id, self.offset, (!self.to_end).then_some(self.len), self.fin);
        fw.mark_ack_eliciting();
        fw.token(self.token());
    }

    /// What a packet with this frame carries.
    pub fn token(&self) -> Token {
        let (id, offset, fin) = (self.id, self.offset, self.fin);
        Token::Stream { id, offset, len: self.len as u16, fin }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_fit_and_fill(id in 0u64..1 << 20, offset in 0u64..1 << 40,
                               available in 0usize..3000, room in 0usize..1500) {
            let id = StreamId(id);
            let Some(f) = fit(id, offset, available, room) else {
                prop_assert!(room < 16 + available.min(WORTHWHILE));
                return Ok(());
            };
            let chunk = StreamChunk::new(0, id, offset, f, false);
            let used = chunk.header_len + f.len;
            prop_assert!(used <= room && f.len <= available && f.padding <= 8);
            if f.to_end {
                prop_assert_eq!(used, room);
            } else {
                prop_assert_eq!(f.len, available);
            }
        }
    }
}
