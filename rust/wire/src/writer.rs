//! A cursor that fills a buffer of ours.

use crate::varint::{self, MAX_VARINT};

/// Writes values into a byte slice, front to back.
///
/// Callers ask [`Writer::remaining`] before they write: writing past the end, or a number that does
/// not fit its field, is a bug of ours and panics. Nothing that a peer sends reaches that point
/// unchecked.
#[derive(Debug)]
pub struct Writer<'a> {
    buf: &'a mut [u8],
    position: usize,
}

impl<'a> Writer<'a> {
    /// A writer at the first byte of `buf`.
    #[inline]
    #[must_use]
    pub const fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, position: 0 }
    }

    /// Bytes written so far.
    #[inline]
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// Bytes that still fit.
    #[inline]
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.buf.len() - self.position
    }

    /// The bytes written so far.
    #[inline]
    #[must_use]
    pub fn written(&self) -> &[u8] {
        &self.buf[..self.position]
    }

    /// The bytes written so far, to patch a field whose value was not known before.
    #[inline]
    #[must_use]
    pub fn written_mut(&mut self) -> &mut [u8] {
        &mut self.buf[..self.position]
    }

    /// The next `n` bytes, which count as written; the caller fills them.
    #[inline]
    pub fn reserve(&mut self, n: usize) -> &mut [u8] {
        let out = &mut self.buf[self.position..][..n];
        self.position += n;
        out
    }

    /// Leaves `n` bytes as they are.
    #[inline]
    pub fn skip(&mut self, n: usize) {
        self.reserve(n);
    }

    /// Bytes as they are.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len()).copy_from_slice(bytes);
    }

    /// `n` zero bytes.
    #[inline]
    pub fn zeros(&mut self, n: usize) {
        self.reserve(n).fill(0);
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    /// Two bytes in network order.
    #[inline]
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    /// Four bytes in network order.
    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Eight bytes in network order.
    #[inline]
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    /// The shortest encoding of a variable-length integer (RFC 9000 section 16).
    #[inline]
    pub fn varint(&mut self, value: u64) {
        match varint::size(value) {
            1 => self.u8(value as u8),
            2 => self.u16(value as u16 | 1 << 14),
            4 => self.u32(value as u32 | 2 << 30),
            _ => {
                assert!(value <= MAX_VARINT, "{value} does not fit a variable-length integer");
                self.u64(value | 3 << 62);
            }
        }
    }

    /// A variable-length integer in `width` bytes: 1, 2, 4 or 8, and no less than it needs.
    #[inline]
    pub fn varint_of(&mut self, value: u64, width: usize) {
        put_varint(self.reserve(width), value);
    }

    /// Overwrites the variable-length integer of `width` bytes at `position`.
    #[inline]
    pub(crate) fn patch_varint(&mut self, position: usize, value: u64, width: usize) {
        put_varint(&mut self.written_mut()[position..][..width], value);
    }
}

/// Fills `out`, whose length is the width, with `value`.
#[inline]
fn put_varint(out: &mut [u8], value: u64) {
    let width = out.len();
    assert!(
        value <= MAX_VARINT && varint::size(value) <= width,
        "{value} does not fit a variable-length integer of {width} bytes"
    );
    match width {
        1 => out.copy_from_slice(&[value as u8]),
        2 => out.copy_from_slice(&(value as u16 | 1 << 14).to_be_bytes()),
        4 => out.copy_from_slice(&(value as u32 | 2 << 30).to_be_bytes()),
        8 => out.copy_from_slice(&(value | 3 << 62).to_be_bytes()),
        _ => unreachable!("variable-length integers have 1, 2, 4 or 8 bytes, not {width}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_in_network_order() {
        let mut buf = [0xee; 24];
        let mut w = Writer::new(&mut buf);
        w.u8(1);
        w.u16(0x0203);
        w.u32(0x0405_0607);
        w.u64(0x0809_0a0b_0c0d_0e0f);
        w.skip(1);
        w.zeros(2);
        w.bytes(&[9, 9]);
        w.varint_of(5, 2);
        assert_eq!((w.position(), w.remaining()), (22, 2));
        let expected =
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0xee, 0, 0, 9, 9, 0x40, 5];
        assert_eq!(w.written(), expected);
        w.patch_varint(20, 300, 2);
        w.written_mut()[0] = 7;
        assert_eq!((buf[0], &buf[20..]), (7, &[0x41, 0x2c, 0xee, 0xee][..]));
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_number_too_large_for_its_field() {
        Writer::new(&mut [0; 8]).varint_of(64, 1);
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_number_too_large_for_any_field() {
        Writer::new(&mut [0; 8]).varint(MAX_VARINT + 1);
    }

    #[test]
    #[should_panic(expected = "range end index")]
    fn no_room() {
        Writer::new(&mut [0; 3]).u32(1);
    }
}
