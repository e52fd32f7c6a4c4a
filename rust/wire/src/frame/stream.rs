//! STREAM, RESET_STREAM and STOP_SENDING (RFC 9000 sections 19.8, 19.4 and 19.5), RESET_STREAM_AT
//! (draft-ietf-quic-reliable-stream-reset-10).

use super::sink::{Count, Sink};
use super::{Frame, ty};
use crate::error::DecodeError;
use crate::reader::Reader;
use crate::stream_id::StreamId;
use crate::varint::{self, MAX_VARINT};
use crate::writer::Writer;

/// A STREAM frame; `offset` plus the length of `data` does not exceed [`MAX_VARINT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamFrame<'a> {
    /// The stream.
    pub id: StreamId,
    /// Offset of the first byte in the stream.
    pub offset: u64,
    /// Whether the stream ends with the last byte.
    pub fin: bool,
    /// The bytes; may be empty.
    pub data: &'a [u8],
}

/// Decodes a STREAM frame, type included.
#[inline]
pub(super) fn decode<'a>(r: &mut Reader<'a>) -> Result<StreamFrame<'a>, DecodeError> {
    let ty = u64::from(r.u8()?);
    let id = StreamId(r.varint()?);
    let offset = if ty & ty::STREAM_OFF != 0 { r.varint()? } else { 0 };
    let data = if ty & ty::STREAM_LEN != 0 { r.varint_bytes()? } else { r.rest() };
    // RFC 9000 section 19.8: the largest offset delivered on a stream cannot exceed 2^62-1.
    if offset + data.len() as u64 > MAX_VARINT {
        return Err(DecodeError::InvalidValue("stream data beyond offset 2^62-1"));
    }
    Ok(StreamFrame { id, offset, fin: ty & ty::STREAM_FIN != 0, data })
}

/// Bytes before the data. `len` is the length of the data, or `None` for a frame without a Length
/// field, which extends to the end of the packet.
#[inline]
#[must_use]
pub fn header_size(id: StreamId, offset: u64, len: Option<usize>) -> usize {
    let mut count = Count(0);
    encode_header(&mut count, id, offset, len, false);
    count.0
}

/// How many bytes of data fit in `space` together with a header that has a Length field.
///
/// `None` when not even the header of an empty frame fits.
#[inline]
#[must_use]
pub fn data_that_fits(space: usize, id: StreamId, offset: u64) -> Option<usize> {
    varint::payload_that_fits(space.checked_sub(header_size(id, offset, None))?)
}

/// Writes everything before the data; `len` as in [`header_size`].
#[inline]
pub fn write_header(w: &mut Writer<'_>, id: StreamId, offset: u64, len: Option<usize>, fin: bool) {
    encode_header(w, id, offset, len, fin);
}

#[inline]
pub(super) fn encode_header(
    out: &mut impl Sink,
    id: StreamId,
    offset: u64,
    len: Option<usize>,
    fin: bool,
) {
    out.u8(type_of(offset, len.is_some(), fin) as u8);
    out.varint(id.0);
    if offset != 0 {
        out.varint(offset);
    }
    if let Some(len) = len {
        out.varint(len as u64);
    }
}

#[inline]
pub(super) const fn type_of(offset: u64, has_len: bool, fin: bool) -> u64 {
    let off = if offset == 0 { 0 } else { ty::STREAM_OFF };
    let len = if has_len { ty::STREAM_LEN } else { 0 };
    let fin = if fin { ty::STREAM_FIN } else { 0 };
    ty::STREAM | off | len | fin
}

pub(super) fn decode_reset<'a>(r: &mut Reader<'a>) -> Result<Frame<'a>, DecodeError> {
    let id = StreamId(r.varint()?);
    Ok(Frame::ResetStream { id, error_code: r.varint()?, final_size: r.varint()? })
}

pub(super) fn decode_reset_at<'a>(r: &mut Reader<'a>) -> Result<Frame<'a>, DecodeError> {
    let id = StreamId(r.varint()?);
    let (error_code, final_size, reliable_size) = (r.varint()?, r.varint()?, r.varint()?);
    // draft-ietf-quic-reliable-stream-reset-10 section 4: FRAME_ENCODING_ERROR.
    if reliable_size > final_size {
        return Err(DecodeError::InvalidValue("a reliable size above the final size"));
    }
    Ok(Frame::ResetStreamAt { id, error_code, final_size, reliable_size })
}

pub(super) fn decode_stop_sending<'a>(r: &mut Reader<'a>) -> Result<Frame<'a>, DecodeError> {
    let id = StreamId(r.varint()?);
    Ok(Frame::StopSending { id, error_code: r.varint()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_type() {
        let id = StreamId(0x1234);
        for (ty, offset, len, fin) in [
            (0x08, 0, None, false),
            (0x09, 0, None, true),
            (0x0a, 0, Some(3), false),
            (0x0b, 0, Some(3), true),
            (0x0c, 70, None, false),
            (0x0d, 70, None, true),
            (0x0e, 70, Some(3), false),
            (0x0f, 70, Some(3), true),
        ] {
            let mut buf = [0; 32];
            let mut w = Writer::new(&mut buf);
            write_header(&mut w, id, offset, len, fin);
            assert_eq!(w.position(), header_size(id, offset, len));
            w.bytes(b"abc");
            if len.is_some() {
                w.u8(1);
            }
            assert_eq!(w.written()[0], ty);
            let mut r = Reader::new(w.written());
            assert_eq!(decode(&mut r), Ok(StreamFrame { id, offset, fin, data: b"abc" }));
            assert_eq!(r.remaining(), usize::from(len.is_some()));
        }
    }

    #[test]
    fn beyond_the_largest_offset() {
        let mut buf = [0; 32];
        for (offset, ok) in [(MAX_VARINT - 2, true), (MAX_VARINT - 1, false)] {
            let mut w = Writer::new(&mut buf);
            write_header(&mut w, StreamId(0), offset, Some(2), false);
            w.bytes(b"ab");
            assert_eq!(decode(&mut Reader::new(w.written())).is_ok(), ok);
        }
    }

    #[test]
    fn length_beyond_the_packet() {
        assert_eq!(
            decode(&mut Reader::new(&[0x0a, 0, 4, 1, 2, 3])),
            Err(DecodeError::UnexpectedEnd)
        );
    }

    #[test]
    fn the_reliable_size_is_part_of_the_stream() {
        // Of stream 5 with code 7, 100 bytes of which so many are reliable.
        for (reliable, ok) in [(0, true), (100, true), (101, false)] {
            let mut buf = [0; 8];
            let mut w = Writer::new(&mut buf);
            [0x24, 5, 7, 0x40, 100, 0x40, reliable].iter().for_each(|b| w.u8(*b));
            let frame = super::super::next_frame(&mut Reader::new(w.written()));
            assert_eq!(frame.is_ok(), ok);
            let Err(error) = frame else { continue };
            assert_eq!(error.ty, ty::RESET_STREAM_AT);
            assert_eq!(error.code(), crate::TransportErrorCode::FRAME_ENCODING_ERROR);
        }
    }

    proptest! {
        #[test]
        fn data_that_fits_is_tight(
            space in 0..20_000_usize,
            id in 0..1_u64 << 20,
            offset in 0..1_u64 << 40,
        ) {
            let id = StreamId(id);
            let size = |len| header_size(id, offset, Some(len)) + len;
            match data_that_fits(space, id, offset) {
                Some(len) => prop_assert!(size(len) <= space && size(len + 1) > space),
                None => prop_assert!(size(0) > space),
            }
        }
    }
}
