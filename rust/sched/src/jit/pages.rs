//! Pages of memory that hold machine code: written once, then executable and never writable again.

use std::ffi::c_void;
use std::io;
use std::ptr::{NonNull, null_mut};

pub(super) struct Pages {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: after `new` the memory is read and executed only, from any thread, and unmapped by its
// one owner.
unsafe impl Send for Pages {}
// SAFETY: as above, shared references allow nothing but reading and executing.
unsafe impl Sync for Pages {}

impl Pages {
    /// Pages that hold `code`, which is not empty.
    pub fn new(code: &[u8]) -> io::Result<Self> {
        let len = code.len().max(1);
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory that
        // anything else uses.
        let start = unsafe { libc::mmap(null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let pages = Self { start, len };
        // SAFETY: the mapping is ours, has at least `code.len()` writable bytes, and is new, so it
        // does not overlap `code`.
        unsafe { code.as_ptr().copy_to_nonoverlapping(pages.start.as_ptr(), code.len()) };
        // SAFETY: the whole of our own mapping; nothing refers to it as writable any more.
        let status =
            unsafe { libc::mprotect(pages.address(0), len, libc::PROT_READ | libc::PROT_EXEC) };
        if status != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(pages)
    }

    /// Where the byte at `offset` lies, which is inside.
    pub fn address(&self, offset: usize) -> *mut c_void {
        self.start.as_ptr().wrapping_add(offset.min(self.len)).cast()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, unmapped here and only here; whoever could run the
        // code borrows its owner.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
