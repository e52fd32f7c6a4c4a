//! Bytes in pages of their own.

use std::io;
use std::ops::{Deref, DerefMut};
use std::slice;

use super::mapping::Mapping;

/// Zeroed bytes in whole pages. When they are dropped while the kernel still reads a page, as it
/// does with data sent without a copy, that page goes to nobody else until it is done: an allocator
/// would hand the memory out again, and what is written there next would leave in the old packet.
#[derive(Debug)]
pub struct Pages(Mapping);

impl Pages {
    /// `len` bytes, not 0.
    pub fn new(len: usize) -> io::Result<Self> {
        Mapping::anonymous(len).map(Self)
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` bytes from `start` are mapped as long as `self` lives, zeroed at first, and
        // private to it; they are written through `&mut self` only.
        unsafe { slice::from_raw_parts(self.0.start().as_ptr(), self.0.len()) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above. The kernel may still read them, which at worst sends other bytes; that
        // nobody writes then is the business of `udp::Buffer`.
        unsafe { slice::from_raw_parts_mut(self.0.start().as_ptr(), self.0.len()) }
    }
}
