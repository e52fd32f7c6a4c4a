//! One description of how a frame is encoded serves both its size and its bytes.

use crate::varint;
use crate::writer::Writer;

pub(super) trait Sink {
    fn u8(&mut self, value: u8);
    fn varint(&mut self, value: u64);
    fn bytes(&mut self, bytes: &[u8]);
    fn zeros(&mut self, n: usize);

    /// A length and as many bytes.
    #[inline]
    fn varint_bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.bytes(bytes);
    }
}

impl Sink for Writer<'_> {
    #[inline]
    fn u8(&mut self, value: u8) {
        Writer::u8(self, value);
    }

    #[inline]
    fn varint(&mut self, value: u64) {
        Writer::varint(self, value);
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        Writer::bytes(self, bytes);
    }

    #[inline]
    fn zeros(&mut self, n: usize) {
        Writer::zeros(self, n);
    }
}

/// Counts bytes instead of writing them.
pub(super) struct Count(pub usize);

impl Sink for Count {
    #[inline]
    fn u8(&mut self, _: u8) {
        self.0 += 1;
    }

    #[inline]
    fn varint(&mut self, value: u64) {
        self.0 += varint::size(value);
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    #[inline]
    fn zeros(&mut self, n: usize) {
        self.0 += n;
    }
}
