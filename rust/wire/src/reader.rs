//! A cursor over bytes of a peer: every read is checked, none panics.

use crate::error::DecodeError;

/// Reads values from the front of a byte slice.
///
/// A failed read leaves the reader at an unspecified position not past the end.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the first byte of `buf`.
    #[inline]
    #[must_use]
    pub const fn new(buf: &'a [u8]) -> Self {
        Self { rest: buf, len: buf.len() }
    }

    /// Bytes read so far.
    #[inline]
    #[must_use]
    pub const fn position(&self) -> usize {
        self.len - self.rest.len()
    }

    /// Bytes not read yet.
    #[inline]
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether every byte has been read.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte, left in place; `None` at the end.
    #[inline]
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(DecodeError::UnexpectedEnd)?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// Two bytes in network order.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes in network order.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes in network order.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A variable-length integer of any width (RFC 9000 section 16).
    #[inline]
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        // A branch for each width: fields repeat theirs from packet to packet, so the branches
        // are predicted, and the next field does not wait for this one's width.
        let (&first, rest) = self.rest.split_first().ok_or(DecodeError::UnexpectedEnd)?;
        if first < 0x40 {
            self.rest = rest;
            return Ok(u64::from(first));
        }
        if first < 0x80 {
            return self.u16().map(|value| u64::from(value & 0x3fff));
        }
        if first < 0xc0 {
            return self.u32().map(|value| u64::from(value & 0x3fff_ffff));
        }
        self.u64().map(|value| value & crate::MAX_VARINT)
    }

    /// The next `n` bytes.
    #[inline]
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(DecodeError::UnexpectedEnd)?;
        self.rest = rest;
        Ok(head)
    }

    /// A variable-length integer and as many bytes as it says.
    #[inline]
    pub fn varint_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let n = usize::try_from(self.varint()?).map_err(|_| DecodeError::UnexpectedEnd)?;
        self.bytes(n)
    }

    /// Every byte that is left.
    #[inline]
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Skips the zero bytes that come next and returns how many there were.
    pub(crate) fn skip_zeros(&mut self) -> usize {
        let before = self.rest.len();
        // Initial packets are padded by a thousand bytes: take them 16 at a time.
        while let Some((chunk, rest)) = self.rest.split_first_chunk()
            && u128::from_ne_bytes(*chunk) == 0
        {
            self.rest = rest;
        }
        while let Some((&0, rest)) = self.rest.split_first() {
            self.rest = rest;
        }
        before - self.rest.len()
    }

    /// The bytes between `earlier`, a former state of this reader, and now.
    #[inline]
    pub(crate) fn since(&self, earlier: &Self) -> &'a [u8] {
        let n = earlier.rest.len().saturating_sub(self.rest.len());
        earlier.rest.get(..n).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_in_network_order() {
        let buf: Vec<u8> = (1..=20).collect();
        let mut r = Reader::new(&buf);
        assert_eq!(r.u8(), Ok(1));
        assert_eq!(r.u16(), Ok(0x0203));
        assert_eq!(r.u32(), Ok(0x0405_0607));
        assert_eq!(r.u64(), Ok(0x0809_0a0b_0c0d_0e0f));
        assert_eq!((r.position(), r.remaining()), (15, 5));
        assert_eq!(r.array(), Ok([16, 17]));
        assert_eq!(r.bytes(4), Err(DecodeError::UnexpectedEnd));
        assert_eq!(r.bytes(1), Ok(&[18][..]));
        assert_eq!(r.rest(), &[19, 20]);
        assert!(r.is_empty());
        assert_eq!(r.position(), 20);
        assert_eq!(r.u8(), Err(DecodeError::UnexpectedEnd));
    }

    #[test]
    fn length_prefix_beyond_the_end() {
        let mut r = Reader::new(&[0xff; 12]);
        assert_eq!(r.varint_bytes(), Err(DecodeError::UnexpectedEnd));
    }

    #[test]
    fn zeros_are_counted() {
        for n in 0..70 {
            let mut buf = vec![0; n];
            assert_eq!(Reader::new(&buf).skip_zeros(), n);
            buf.extend_from_slice(&[7, 0]);
            let mut r = Reader::new(&buf);
            assert_eq!(r.skip_zeros(), n);
            assert_eq!(r.peek(), Some(7));
        }
    }

    proptest! {
        #[test]
        fn never_panics(buf: Vec<u8>, calls in prop::collection::vec(0..9_u8, 0..40)) {
            let mut r = Reader::new(&buf);
            for call in calls {
                let _ = match call {
                    0 => r.u8().map(u64::from),
                    1 => r.u16().map(u64::from),
                    2 => r.u32().map(u64::from),
                    3 => r.u64(),
                    4 => r.varint(),
                    5 => r.varint_bytes().map(|b| b.len() as u64),
                    6 => r.bytes(3).map(|b| b.len() as u64),
                    7 => r.array::<5>().map(|b| u64::from(b[0])),
                    _ => Ok(r.skip_zeros() as u64),
                };
                prop_assert_eq!(r.position() + r.remaining(), buf.len());
            }
        }
    }
}
