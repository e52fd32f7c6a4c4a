//! DATAGRAM (RFC 9221).

use super::sink::{Count, Sink};
use super::{Frame, ty};
use crate::error::DecodeError;
use crate::reader::Reader;
use crate::writer::Writer;

pub(super) fn decode<'a>(has_len: bool, r: &mut Reader<'a>) -> Result<Frame<'a>, DecodeError> {
    Ok(Frame::Datagram { data: if has_len { r.varint_bytes()? } else { r.rest() } })
}

/// Bytes before the data. `len` is the length of the data, or `None` for a frame without a Length
/// field, which extends to the end of the packet.
///
/// A peer's `max_datagram_frame_size` limits header and data together (RFC 9221 section 3).
#[inline]
#[must_use]
pub fn header_size(len: Option<usize>) -> usize {
    let mut count = Count(0);
    encode_header(&mut count, len);
    count.0
}

/// Writes everything before the data; `len` as in [`header_size`].
#[inline]
pub fn write_header(w: &mut Writer<'_>, len: Option<usize>) {
    encode_header(w, len);
}

#[inline]
pub(super) fn encode_header(out: &mut impl Sink, len: Option<usize>) {
    match len {
        Some(len) => {
            out.u8(ty::DATAGRAM_LEN as u8);
            out.varint(len as u64);
        }
        None => out.u8(ty::DATAGRAM as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::next_frame;

    #[test]
    fn with_and_without_length() {
        for len in [None, Some(3)] {
            let mut buf = [0; 8];
            let mut w = Writer::new(&mut buf);
            write_header(&mut w, len);
            assert_eq!(w.position(), header_size(len));
            w.bytes(b"abc");
            if len.is_some() {
                w.u8(1);
            }
            let mut r = Reader::new(w.written());
            assert_eq!(next_frame(&mut r), Ok(Frame::Datagram { data: b"abc" }));
            assert_eq!(r.is_empty(), len.is_none());
        }
    }

    #[test]
    fn empty_datagram() {
        let mut r = Reader::new(&[0x30]);
        assert_eq!(next_frame(&mut r), Ok(Frame::Datagram { data: &[] }));
    }
}
