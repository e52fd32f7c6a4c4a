//! A ring of entries that this process and the kernel share: one of them writes, the other reads.

use std::io;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::os::mapping::Mapping;

/// What both sides share. Indices count on and on; their low bits name the entry.
struct Ring<T> {
    /// Entries the writer has written.
    written: NonNull<AtomicU32>,
    /// Entries the reader has done with.
    read: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    size: u32,
    _memory: Mapping,
    _entries: PhantomData<T>,
}

// SAFETY: the pointers lead into `_memory`, which moves along.
unsafe impl<T: Send> Send for Ring<T> {}

impl<T: Copy> Ring<T> {
    /// `size`: entries, a power of two, as the socket was told.
    fn new(
        socket: BorrowedFd<'_>,
        at: libc::off_t,
        offsets: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Self> {
        let entries = usize::try_from(offsets.desc).map_err(io::Error::other)?;
        let memory = Mapping::of_socket(socket, entries + size as usize * size_of::<T>(), at)?;
        Ok(Self {
            written: memory.at(offsets.producer, 1)?,
            read: memory.at(offsets.consumer, 1)?,
            flags: memory.at(offsets.flags, 1)?,
            entries: memory.at(offsets.desc, size as usize)?,
            size,
            _memory: memory,
            _entries: PhantomData,
        })
    }

    fn written(&self) -> &AtomicU32 {
        // SAFETY: `new` checked that it lies in `_memory`; the kernel, too, accesses it atomically.
        unsafe { self.written.as_ref() }
    }

    fn read(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { self.read.as_ref() }
    }

    fn needs_wakeup(&self) -> bool {
        // SAFETY: as above.
        let flags = unsafe { self.flags.as_ref() }.load(Ordering::Relaxed);
        flags & libc::XDP_RING_NEED_WAKEUP != 0
    }

    /// The entry that an index names, inside of the ring for every index.
    fn entry(&self, index: u32) -> NonNull<T> {
        // SAFETY: `new` checked that there are `size` entries, a power of two.
        unsafe { self.entries.add((index & (self.size - 1)) as usize) }
    }
}

/// Where a ring is and how large.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub socket: BorrowedFd<'a>,
    pub at: libc::off_t,
    pub offsets: libc::xdp_ring_offset,
    pub size: u32,
}

/// A ring that this process writes and the kernel reads.
pub struct Writer<T> {
    ring: Ring<T>,
    next: u32,
}

impl<T: Copy> Writer<T> {
    pub fn new(place: &Place<'_>) -> io::Result<Self> {
        Ok(Self { ring: Ring::new(place.socket, place.at, &place.offsets, place.size)?, next: 0 })
    }

    /// Entries that the kernel has not read, published or not.
    pub fn waiting(&self) -> u32 {
        self.next.wrapping_sub(self.ring.read().load(Ordering::Acquire))
    }

    /// Writes an entry; false if there is no room. The kernel sees it after `publish`.
    pub fn push(&mut self, entry: T) -> bool {
        if self.waiting() >= self.ring.size {
            return false;
        }
        // SAFETY: an entry inside of the ring that the kernel has read, or never saw, so that it
        // does not look there before `publish`.
        unsafe { self.ring.entry(self.next).write(entry) };
        self.next = self.next.wrapping_add(1);
        true
    }

    pub fn publish(&self) {
        // Release: the entries are there before the index says so.
        self.ring.written().store(self.next, Ordering::Release);
    }

    /// Whether the kernel only looks when it is called.
    pub fn needs_wakeup(&self) -> bool {
        self.ring.needs_wakeup()
    }
}

/// A ring that the kernel writes and this process reads.
pub struct Reader<T> {
    ring: Ring<T>,
    next: u32,
}

impl<T: Copy> Reader<T> {
    pub fn new(place: &Place<'_>) -> io::Result<Self> {
        Ok(Self { ring: Ring::new(place.socket, place.at, &place.offsets, place.size)?, next: 0 })
    }

    /// The oldest entry, which stays.
    pub fn peek(&self) -> Option<T> {
        if self.ring.written().load(Ordering::Acquire) == self.next {
            return None;
        }
        // SAFETY: an entry inside of the ring that the kernel has written (it says so, and Acquire
        // makes it visible) and does not write again before `release`. Entries are numbers.
        Some(unsafe { self.ring.entry(self.next).read() })
    }

    /// Goes on to the next.
    pub fn advance(&mut self) {
        self.next = self.next.wrapping_add(1);
    }

    /// Tells the kernel what has been read.
    pub fn release(&self) {
        self.ring.read().store(self.next, Ordering::Release);
    }
}
