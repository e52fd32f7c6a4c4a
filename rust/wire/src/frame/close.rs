//! CONNECTION_CLOSE (RFC 9000 section 19.19).

use super::sink::{Count, Sink};
use super::{Frame, ty};
use crate::error::DecodeError;
use crate::reader::Reader;
use crate::varint;

/// A CONNECTION_CLOSE frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'a> {
    /// A [`crate::TransportErrorCode`] or, without `frame_type`, a code of the application.
    pub error_code: u64,
    /// `Some` in a frame of type 0x1c: the type of frame that caused the error, 0 when unknown.
    /// `None` in a frame of type 0x1d, an error of the application.
    pub frame_type: Option<u64>,
    /// The reason phrase, which should be UTF-8 but need not be.
    pub reason: &'a [u8],
}

impl Close<'_> {
    /// The same with a reason cut, at a character of UTF-8, so that the frame fits in `max_size`
    /// bytes; `None` when it does not even without a reason.
    #[must_use]
    pub fn fit(self, max_size: usize) -> Option<Self> {
        let mut count = Count(0);
        encode(&mut count, &Self { reason: &[], ..self });
        // The size counted holds the length field of an empty reason: one byte.
        let room = varint::payload_that_fits(max_size.saturating_add(1).checked_sub(count.0)?)?;
        let mut reason = self.reason;
        if let Some(cut) = reason.get(..room) {
            reason = cut;
            // Bytes 0b10xxxxxx continue a character: do not start the rest with one.
            while self.reason.get(reason.len()).is_some_and(|byte| byte & 0xc0 == 0x80) {
                let Some((_, shorter)) = reason.split_last() else { break };
                reason = shorter;
            }
        }
        Some(Self { reason, ..self })
    }

    pub(super) const fn ty(&self) -> u64 {
        if self.frame_type.is_some() { ty::CONNECTION_CLOSE } else { ty::CONNECTION_CLOSE_APP }
    }
}

pub(super) fn decode<'a>(transport: bool, r: &mut Reader<'a>) -> Result<Frame<'a>, DecodeError> {
    let error_code = r.varint()?;
    let frame_type = if transport { Some(r.varint()?) } else { None };
    let reason = r.varint_bytes()?;
    Ok(Frame::ConnectionClose(Close { error_code, frame_type, reason }))
}

pub(super) fn encode(out: &mut impl Sink, close: &Close<'_>) {
    out.varint(close.ty());
    out.varint(close.error_code);
    if let Some(frame_type) = close.frame_type {
        out.varint(frame_type);
    }
    out.varint_bytes(close.reason);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_is_cut_at_a_character() {
        let close = Close { error_code: 1, frame_type: None, reason: "aé€".as_bytes() };
        let cut = |max_size| close.fit(max_size).map(|close| close.reason);
        assert_eq!(cut(2), None);
        for (max_size, reason) in
            [(3, ""), (4, "a"), (5, "a"), (6, "aé"), (7, "aé"), (8, "aé"), (9, "aé€"), (100, "aé€")]
        {
            assert_eq!(cut(max_size), Some(reason.as_bytes()), "{max_size}");
        }
    }

    #[test]
    fn long_reason_fills_the_space() {
        let reason = [b'x'; 300];
        let close = Close { error_code: 1, frame_type: Some(6), reason: &reason };
        for max_size in 4..300 {
            let size = Frame::ConnectionClose(close.fit(max_size).unwrap()).size();
            // A reason of 64 bytes takes one byte more for its length.
            assert!(size == max_size || size == max_size - 1 && max_size == 68, "{max_size}");
        }
    }

    #[test]
    fn reason_that_is_not_text() {
        let reason = [0x80; 20];
        let close = Close { error_code: 1, frame_type: None, reason: &reason };
        assert_eq!(close.fit(10).unwrap().reason, []);
    }
}
