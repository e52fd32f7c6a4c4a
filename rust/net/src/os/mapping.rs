//! Memory that comes from the system in whole pages, and goes back to it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

/// Memory mapped into this process.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory belongs to whoever holds the value, in whichever thread.
unsafe impl Send for Mapping {}
// SAFETY: a shared reference gives out where the memory is, and accesses none of it.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Zeroed memory of nobody else.
    pub fn anonymous(len: usize) -> io::Result<Self> {
        Self::new(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    }

    /// Memory of an AF_XDP socket: `at` says which ring.
    pub fn of_socket(socket: BorrowedFd<'_>, len: usize, at: libc::off_t) -> io::Result<Self> {
        Self::new(len, libc::MAP_SHARED | libc::MAP_POPULATE, socket.as_raw_fd(), at)
    }

    fn new(len: usize, flags: libc::c_int, fd: libc::c_int, at: libc::off_t) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory there is.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, fd, at) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// A pointer to a `T` at `offset`, checked to lie inside and to be aligned.
    pub fn at<T>(&self, offset: u64, count: usize) -> io::Result<NonNull<T>> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let end = size_of::<T>().checked_mul(count).and_then(|size| offset.checked_add(size));
        if end.is_none_or(|end| end > self.len) || !offset.is_multiple_of(align_of::<T>()) {
            return Err(io::Error::other("the kernel describes a ring that is none"));
        }
        // SAFETY: `offset` is within the mapping, which begins at a page.
        Ok(unsafe { self.start.add(offset) }.cast())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped, and nothing that borrows it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
