//! CRYPTO and NEW_TOKEN (RFC 9000 sections 19.6 and 19.7).

use super::sink::{Count, Sink};
use super::{Frame, ty};
use crate::error::DecodeError;
use crate::reader::Reader;
use crate::varint::{self, MAX_VARINT};
use crate::writer::Writer;

pub(super) fn decode<'a>(r: &mut Reader<'a>) -> Result<Frame<'a>, DecodeError> {
    let offset = r.varint()?;
    let data = r.varint_bytes()?;
    // RFC 9000 section 19.6: the largest offset delivered cannot exceed 2^62-1.
    if offset + data.len() as u64 > MAX_VARINT {
        return Err(DecodeError::InvalidValue("crypto data beyond offset 2^62-1"));
    }
    Ok(Frame::Crypto { offset, data })
}

pub(super) fn decode_new_token<'a>(r: &mut Reader<'a>) -> Result<Frame<'a>, DecodeError> {
    let token = r.varint_bytes()?;
    // RFC 9000 section 19.7: the token MUST NOT be empty.
    if token.is_empty() {
        return Err(DecodeError::InvalidValue("empty token"));
    }
    Ok(Frame::NewToken { token })
}

/// Bytes of a CRYPTO frame before its `len` bytes of data.
#[inline]
#[must_use]
pub fn header_size(offset: u64, len: usize) -> usize {
    let mut count = Count(0);
    encode_header(&mut count, offset, len);
    count.0
}

/// How many bytes of handshake data fit in `space` together with their header.
///
/// `None` when not even the header of an empty frame fits.
#[inline]
#[must_use]
pub fn data_that_fits(space: usize, offset: u64) -> Option<usize> {
    varint::payload_that_fits(space.checked_sub(1 + varint::size(offset))?)
}

/// Writes everything of a CRYPTO frame before its `len` bytes of data.
#[inline]
pub fn write_header(w: &mut Writer<'_>, offset: u64, len: usize) {
    encode_header(w, offset, len);
}

#[inline]
pub(super) fn encode_header(out: &mut impl Sink, offset: u64, len: usize) {
    out.u8(ty::CRYPTO as u8);
    out.varint(offset);
    out.varint(len as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header() {
        let mut buf = [0; 16];
        let mut w = Writer::new(&mut buf);
        write_header(&mut w, 64, 3);
        assert_eq!(w.position(), header_size(64, 3));
        w.bytes(b"abc");
        let mut r = Reader::new(&w.written()[1..]);
        assert_eq!(decode(&mut r), Ok(Frame::Crypto { offset: 64, data: b"abc" }));
        assert_eq!(data_that_fits(7, 64), Some(3));
        assert_eq!(data_that_fits(4, 64), Some(0));
        assert_eq!(data_that_fits(3, 64), None);
        assert_eq!(data_that_fits(2, 64), None);
    }

    #[test]
    fn beyond_the_largest_offset() {
        let mut buf = [0; 16];
        let mut w = Writer::new(&mut buf);
        write_header(&mut w, MAX_VARINT, 1);
        w.u8(0);
        assert!(matches!(
            decode(&mut Reader::new(&w.written()[1..])),
            Err(DecodeError::InvalidValue(_))
        ));
    }

    #[test]
    fn empty_token() {
        assert!(matches!(
            decode_new_token(&mut Reader::new(&[0])),
            Err(DecodeError::InvalidValue(_))
        ));
    }
}
