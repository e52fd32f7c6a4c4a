//! Received bytes on their way to the application: one copy, from the packet to where they stay.
//!
//! The stream is cut into pages of 64 KiB. A byte has one place, in its page, whether it comes in
//! order or not: nothing is moved when a gap closes, and reading splits the page's front off
//! without a copy. Which bytes behind a gap are there is a bitmap, so that a peer who sends single
//! bytes with all gaps can make memory grow by an eighth over the flow-control window and no more,
//! and no number of gaps is too large.

use super::inline::InlineQueue;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;

const PAGE_BITS: u32 = 16;
/// Bytes of a page: the size of the chunks that the application gets from a busy stream.
pub(crate) const PAGE: usize = 1 << PAGE_BITS;
/// The smallest buffer of a stream's first page.
const FIRST_BUFFER: usize = 128;

/// Full-size buffers that were read and may be used again once the application has let go of them.
#[derive(Debug, Default)]
pub(crate) struct ChunkPool(VecDeque<BytesMut>);

impl ChunkPool {
    /// Buffers kept at most: half a MiB per connection, and nothing without streams.
    const KEPT: usize = 8;

    fn take(&mut self) -> BytesMut {
        // Oldest first: those the application most likely has let go of. Two tries, not a search.
        for _ in 0..2 {
            let Some(mut buffer) = self.0.pop_front() else { break };
            if buffer.try_reclaim(PAGE) {
                return buffer;
            }
            self.0.push_back(buffer);
        }
        BytesMut::with_capacity(PAGE)
    }

    fn give(&mut self, mut buffer: BytesMut) {
        if self.0.len() < Self::KEPT {
            buffer.clear();
            self.0.push_back(buffer);
        }
    }

    /// Lets go of all buffers.
    pub(crate) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Up to 64 KiB of the stream, at a multiple of 64 KiB.
#[derive(Debug, Default)]
struct Page {
    /// The bytes from `head` on; gaps hold zeros.
    data: BytesMut,
    /// Bytes of the page that were read and split off.
    head: usize,
    /// One bit for each byte received behind a gap. Bits below the contiguous part mean nothing.
    islands: Vec<u64>,
    /// Whether the buffer came from the pool.
    pooled: bool,
}

impl Page {
    /// Puts bytes at `at`, counted from the start of the page.
    fn write(&mut self, at: usize, bytes: &[u8]) {
        let at = at - self.head;
        let len = self.data.len();
        if at >= len {
            self.data.resize(at, 0);
            self.data.extend_from_slice(bytes);
        } else {
            let (old, new) = bytes.split_at(bytes.len().min(len - at));
            self.data[at..at + old.len()].copy_from_slice(old);
            self.data.extend_from_slice(new);
        }
    }

    fn mark_island(&mut self, from: usize, to: usize) {
        if self.islands.len() * 64 < to {
            self.islands.resize(to.div_ceil(64), 0);
        }
        let (first, last) = (from / 64, (to - 1) / 64);
        let head = u64::MAX << (from % 64);
        let tail = u64::MAX >> (63 - (to - 1) % 64);
        if first == last {
            self.islands[first] |= head & tail;
        } else {
            self.islands[first] |= head;
            self.islands[first + 1..last].fill(u64::MAX);
            self.islands[last] |= tail;
        }
    }

    /// Where the run of received bytes that starts at `from` ends; `from` itself if there is none.
    fn run_end(&self, from: usize) -> usize {
        let mut word = from / 64;
        let Some(&bits) = self.islands.get(word) else { return from };
        // Bits before `from` count as set, so that the first clear bit is at or after it.
        let mut clear = !(bits | !(u64::MAX << (from % 64)));
        while clear == 0 {
            word += 1;
            match self.islands.get(word) {
                Some(bits) => clear = !bits,
                None => return word * 64,
            }
        }
        word * 64 + clear.trailing_zeros() as usize
    }
}

/// The receive buffer of one stream.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    /// Pages from the one that holds `start`.
    pages: InlineQueue<Page>,
    /// The first byte not read yet.
    start: u64,
    /// The end of what is there without a gap.
    next: u64,
    /// The end of the last byte received.
    highest: u64,
}

impl Assembler {
    /// The first byte not read yet.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// The end of what can be read now.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Takes in the bytes at `offset`; flow control was checked before, so `offset` is at most a
    /// window away. `last`: the stream ends with these bytes. Answers whether there is more to read.
    pub(crate) fn insert(
        &mut self,
        mut offset: u64,
        mut data: &[u8],
        last: bool,
        pool: &mut ChunkPool,
    ) -> bool {
        let end = offset + data.len() as u64;
        if end <= self.next {
            return false;
        }
        if offset < self.next {
            // RFC 9000 section 2.2: data received before can be discarded.
            data = &data[(self.next - offset) as usize..];
            offset = self.next;
        }
        self.store(offset, data, last, pool);
        if offset != self.next {
            self.highest = self.highest.max(end);
            return false;
        }
        self.next = end;
        if end < self.highest {
            self.join_islands();
        } else {
            // Whatever islands there were are inside these bytes or behind them.
            let caught_up = self.highest > offset;
            self.highest = end;
            if caught_up {
                self.drop_islands(offset);
            }
        }
        true
    }

    /// Copies bytes to their pages.
    fn store(&mut self, mut offset: u64, mut data: &[u8], last: bool, pool: &mut ChunkPool) {
        let island = offset != self.next;
        let base = self.start >> PAGE_BITS;
        while !data.is_empty() {
            let index = ((offset >> PAGE_BITS) - base) as usize;
            let at = offset as usize & (PAGE - 1);
            let (now, rest) = data.split_at(data.len().min(PAGE - at));
            while index >= self.pages.len() {
                self.pages.push(Page::default());
            }
            let first_page = offset >> PAGE_BITS == 0;
            let Some(page) = self.pages.get_mut(index) else { return };
            let end = at + now.len();
            if page.data.capacity() < end - page.head {
                if first_page {
                    // The stream is young and may stay small: grow with its bytes. A byte far
                    // ahead pays for what it takes with flow-control credit.
                    let grown = end.next_power_of_two().clamp(FIRST_BUFFER, PAGE);
                    let size = if last { end } else { grown } - page.head;
                    if page.data.capacity() == 0 {
                        page.data = BytesMut::with_capacity(size);
                    } else {
                        page.data.reserve(size - page.data.len());
                    }
                } else {
                    page.data = pool.take();
                    page.pooled = true;
                }
            }
            page.write(at, now);
            if island {
                page.mark_island(at, end);
            }
            offset += now.len() as u64;
            data = rest;
        }
    }

    /// Moves `next` over what was received earlier behind the gap that has just closed.
    fn join_islands(&mut self) {
        let from = self.next;
        let base = self.start >> PAGE_BITS;
        loop {
            let at = self.next as usize & (PAGE - 1);
            let index = ((self.next >> PAGE_BITS) - base) as usize;
            let Some(page) = self.pages.get(index) else { return };
            let end = page.run_end(at);
            self.next += (end - at) as u64;
            if end < PAGE {
                break;
            }
        }
        if self.next == self.highest {
            self.drop_islands(from);
        }
    }

    /// All is contiguous: no bitmap is needed. There were none before `from`.
    fn drop_islands(&mut self, from: u64) {
        let index = ((from >> PAGE_BITS) - (self.start >> PAGE_BITS)) as usize;
        for page in self.pages.iter_mut().skip(index) {
            page.islands = Vec::new();
        }
    }

    /// Bytes of the front page that can be read.
    fn front_len(&self) -> usize {
        let page_left = PAGE - (self.start as usize & (PAGE - 1));
        (self.next - self.start).min(page_left as u64) as usize
    }

    /// Takes up to `max` bytes from the front; `None` when there are none. `all`: the stream is
    /// complete.
    pub(crate) fn read(&mut self, max: usize, all: bool, pool: &mut ChunkPool) -> Option<Bytes> {
        let len = self.front_len().min(max);
        if len == 0 {
            return None;
        }
        let page = self.pages.get_mut(0)?;
        let bytes = if all && len == page.data.len() && !page.pooled {
            // Nothing more comes: the buffer goes whole, which saves its reference count.
            core::mem::take(&mut page.data).freeze()
        } else {
            page.data.split_to(len).freeze()
        };
        self.consumed(len, pool);
        Some(bytes)
    }

    /// Lends the front bytes, up to a page, to `f`, which says how many it has used.
    pub(crate) fn read_with(
        &mut self,
        pool: &mut ChunkPool,
        f: impl FnOnce(&[u8]) -> usize,
    ) -> Option<usize> {
        let len = self.front_len();
        if len == 0 {
            return None;
        }
        let page = self.pages.get_mut(0)?;
        let used = f(&page.data[..len]).min(len);
        page.data.advance(used);
        self.consumed(used, pool);
        Some(used)
    }

    fn consumed(&mut self, len: usize, pool: &mut ChunkPool) {
        self.start += len as u64;
        let Some(page) = self.pages.get_mut(0) else { return };
        page.head += len;
        if page.head == PAGE
            && let Some(page) = self.pages.pop()
            && page.pooled
        {
            pool.give(page.data);
        }
    }

    /// Memory held, in bytes: buffers, bitmaps and the pages themselves.
    pub(crate) fn allocated(&self) -> usize {
        let pages: usize =
            self.pages.iter().map(|p| p.data.capacity() + p.islands.capacity() * 8).sum();
        pages + self.pages.allocated()
    }
}

#[cfg(test)]
#[path = "assembler_tests.rs"]
mod tests;
