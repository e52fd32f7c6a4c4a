//! Buffers that are lent to the kernel.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
#[cfg(target_os = "linux")]
use std::sync::atomic::Ordering::Relaxed;

use crate::os::Pages;

/// Memory for a train that the kernel may go on reading after the train was sent
/// ([`SocketOptions::zerocopy`](super::SocketOptions::zerocopy)). It cannot be written until the
/// kernel has done with it.
pub struct Buffer(Arc<Memory>);

struct Memory {
    pages: Pages,
    /// Nobody will say when the kernel has done with it.
    lost: AtomicBool,
}

impl Buffer {
    /// `len` zeroed bytes, not 0, in pages of their own.
    pub fn new(len: usize) -> io::Result<Self> {
        Ok(Self(Arc::new(Memory { pages: Pages::new(len)?, lost: AtomicBool::new(false) })))
    }

    /// Whether the kernel may still read it.
    pub fn is_lent(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// The bytes to write to; `None` while they are lent. If the socket was closed that lent them,
    /// or lost count, they stay with the kernel and others take their place; `None` too if there is no
    /// memory for that.
    pub fn writable(&mut self) -> Option<&mut [u8]> {
        // First that nobody else has it: a loan marks it and goes, in this order.
        if *Arc::get_mut(&mut self.0)?.lost.get_mut() {
            *self = Self::new(self.len()).ok()?;
        }
        Arc::get_mut(&mut self.0).map(|memory| &mut *memory.pages)
    }

    /// Whether `data` lies in it.
    #[cfg(target_os = "linux")]
    pub(super) fn contains(&self, data: &[u8]) -> bool {
        let (mine, theirs) = (self.as_ptr_range(), data.as_ptr_range());
        mine.start <= theirs.start && theirs.end <= mine.end
    }

    /// For as long as the kernel reads it.
    #[cfg(target_os = "linux")]
    pub(super) fn lend(&self) -> Loan {
        Loan { memory: self.0.clone(), returned: false }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.pages
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len()).field("lent", &self.is_lent()).finish()
    }
}

/// A buffer that the kernel has. Unless it is given back in words, it counts as lost when it is
/// dropped: its memory is then never written again.
#[cfg(target_os = "linux")]
pub(super) struct Loan {
    memory: Arc<Memory>,
    returned: bool,
}

#[cfg(target_os = "linux")]
impl Loan {
    /// The kernel has done with it.
    pub fn give_back(mut self) {
        self.returned = true;
    }
}

#[cfg(target_os = "linux")]
impl Drop for Loan {
    fn drop(&mut self) {
        if !self.returned {
            self.memory.lost.store(true, Relaxed);
        }
    }
}

#[cfg(target_os = "linux")]
impl fmt::Debug for Loan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loan")
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_is_not_written() {
        let mut buffer = Buffer::new(4096).unwrap();
        buffer.writable().unwrap().fill(1);
        let (one, two) = (buffer.lend(), buffer.lend());
        assert!(buffer.is_lent() && buffer.writable().is_none());
        one.give_back();
        assert!(buffer.is_lent() && buffer.writable().is_none());
        two.give_back();
        assert!(!buffer.is_lent());
        assert_eq!(buffer.writable().unwrap(), [1; 4096], "the same memory");
    }

    #[test]
    fn memory_that_is_lost_is_never_written_again() {
        let mut buffer = Buffer::new(4096).unwrap();
        buffer.writable().unwrap().fill(1);
        drop(buffer.lend());
        assert_eq!(buffer.writable().unwrap(), [0; 4096], "other memory of the same size");
        buffer.writable().unwrap().fill(2);
        assert_eq!(buffer.writable().unwrap(), [2; 4096], "it is not lost");
    }

    #[test]
    fn what_lies_elsewhere_is_told_apart() {
        let (a, b) = (Buffer::new(4096).unwrap(), Buffer::new(4096).unwrap());
        assert!(a.contains(&a) && a.contains(&a[4095..]) && a.contains(&a[1..2]));
        assert!(!a.contains(&b) && !a.contains(&b[..1]));
    }
}
