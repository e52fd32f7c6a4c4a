//! Bytes that the application wrote, kept until the peer has acknowledged them.

use super::inline::InlineQueue;
use super::ranges::RangeSet;
use bytes::Bytes;
use core::ops::Range;

/// Writes up to this size are gathered into one buffer when they follow other small ones, so that
/// a packet is not made of scraps; copying so little costs less than a piece of its own.
const SMALL_WRITE: usize = 1024;
/// A buffer of gathered writes grows up to this size.
const GATHER_LIMIT: usize = 16 * 1024;

#[derive(Debug)]
enum Data {
    /// The application's own buffer, never copied.
    Shared(Bytes),
    /// Small writes, gathered.
    Gathered(Vec<u8>),
}

#[derive(Debug)]
struct Piece {
    /// Stream offset of the first byte.
    start: u64,
    /// Stream offset after the last byte.
    end: u64,
    data: Data,
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::Shared(b) => b,
            Data::Gathered(v) => v,
        }
    }

    /// Keeps what lies before `end`.
    fn truncate(&mut self, end: u64) {
        if end < self.end {
            self.end = end;
            let len = (end - self.start) as usize;
            match &mut self.data {
                Data::Shared(b) => b.truncate(len),
                Data::Gathered(v) => v.truncate(len),
            }
        }
    }
}

/// The send buffer of one stream: pieces in order, what was sent, acknowledged and lost of them.
#[derive(Debug, Default)]
pub(crate) struct SendBuffer {
    pieces: InlineQueue<Piece>,
    /// All bytes below are acknowledged and dropped.
    base: u64,
    /// The first byte never sent.
    next: u64,
    /// The end of what was written.
    end: u64,
    /// Index of the piece that holds `next`; the number of pieces when all is sent.
    cursor: usize,
    /// Acknowledged above `base`.
    acked: RangeSet,
    /// Lost and not yet sent again; never overlaps `acked` nor anything below `base`.
    lost: RangeSet,
}

impl SendBuffer {
    /// Bytes written and not yet acknowledged in order: what the buffer holds on to.
    pub(crate) fn buffered(&self) -> u64 {
        self.end - self.base
    }

    /// The first byte never sent.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The end of what was written.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Whether every byte written was acknowledged.
    pub(crate) fn is_all_acked(&self) -> bool {
        self.base == self.end
    }

    /// The lowest range that was lost and is to be sent again.
    pub(crate) fn first_lost(&self) -> Option<Range<u64>> {
        self.lost.first()
    }

    /// Appends a write.
    pub(crate) fn push(&mut self, data: Bytes) {
        let len = data.len();
        if len == 0 {
            return;
        }
        let (start, end) = (self.end, self.end + len as u64);
        self.end = end;
        if len <= SMALL_WRITE
            && let Some(last) = self.pieces.last_mut()
        {
            match &mut last.data {
                Data::Gathered(v) if v.len() + len <= GATHER_LIMIT => {
                    v.extend_from_slice(&data);
                    last.end = end;
                    self.cursor = self.cursor.min(self.pieces.len() - 1);
                    return;
                }
                Data::Shared(b) if b.len() > SMALL_WRITE => {}
                _ => {
                    let mut v = Vec::with_capacity((2 * len).max(256));
                    v.extend_from_slice(&data);
                    self.pieces.push(Piece { start, end, data: Data::Gathered(v) });
                    return;
                }
            }
        }
        self.pieces.push(Piece { start, end, data: Data::Shared(data) });
    }

    /// Index of the piece that holds `offset`, which must be buffered.
    fn locate(&self, offset: u64) -> usize {
        if offset >= self.next {
            return self.cursor;
        }
        self.pieces.partition_point(|p| p.end <= offset)
    }

    /// How much of `len` bytes at `offset` lies in at most two pieces, which is what one frame may
    /// carry: the sealing pass reads from two slices.
    #[inline]
    pub(crate) fn span(&self, offset: u64, len: usize) -> usize {
        let first = self.locate(offset);
        let Some(piece) = self.pieces.get(first) else { return 0 };
        let mut have = piece.end - offset;
        if have < len as u64
            && let Some(next) = self.pieces.get(first + 1)
        {
            have = next.end - offset;
        }
        have.min(len as u64) as usize
    }

    /// The bytes of a frame that `span` allowed; they are never more than two slices. Bytes that
    /// are no longer buffered are missing from the answer.
    pub(crate) fn slices(&self, offset: u64, len: usize) -> (&[u8], &[u8]) {
        // Frames are looked at right after they were chosen, when `next` has already moved on: the
        // piece is the one at the cursor or just before it.
        let mut index = self.cursor;
        match self.pieces.get(index) {
            Some(p) if p.start <= offset => {}
            _ => {
                index = index.saturating_sub(1);
                if self.pieces.get(index).is_none_or(|p| p.start > offset) {
                    index = self.pieces.partition_point(|p| p.end <= offset);
                }
            }
        }
        let first = self.part(index, offset, len);
        if first.len() == len {
            return (first, &[]);
        }
        (first, self.part(index + 1, offset + first.len() as u64, len - first.len()))
    }

    /// Up to `len` bytes from `offset` on that the piece holds.
    fn part(&self, index: usize, offset: u64, len: usize) -> &[u8] {
        let Some(piece) = self.pieces.get(index) else { return &[] };
        let from = offset.checked_sub(piece.start).and_then(|n| usize::try_from(n).ok());
        let bytes = from.and_then(|n| piece.bytes().get(n..)).unwrap_or_default();
        &bytes[..bytes.len().min(len)]
    }

    /// Marks the next `len` new bytes as sent.
    pub(crate) fn sent_new(&mut self, len: usize) {
        self.next += len as u64;
        while self.pieces.get(self.cursor).is_some_and(|p| p.end <= self.next) {
            self.cursor += 1;
        }
    }

    /// Marks a lost range as sent again.
    pub(crate) fn sent_again(&mut self, range: Range<u64>) {
        self.lost.remove(range);
    }

    /// Takes note of an acknowledgement and lets go of what is acknowledged in order.
    pub(crate) fn on_acked(&mut self, range: Range<u64>) {
        // A peer cannot acknowledge what was not sent: the token came from a packet of ours. After
        // a restart (0-RTT rejected) old tokens are gone too; the bound keeps the sums honest.
        let range = range.start..range.end.min(self.next);
        if range.end <= self.base || range.is_empty() {
            return;
        }
        if !self.lost.is_empty() {
            self.lost.remove(range.clone());
        }
        if range.start > self.base {
            self.acked.insert(range);
            return;
        }
        self.base = range.end;
        while let Some(first) = self.acked.first()
            && first.start <= self.base
        {
            self.base = self.base.max(first.end);
            self.acked.remove(first);
        }
        while self.pieces.get(0).is_some_and(|p| p.end <= self.base) {
            self.pieces.pop();
            self.cursor = self.cursor.saturating_sub(1);
        }
    }

    /// Takes note of a loss: what was not acknowledged otherwise is to be sent again.
    pub(crate) fn on_lost(&mut self, range: Range<u64>) {
        let range = range.start.max(self.base)..range.end.min(self.next);
        if range.start >= range.end {
            return;
        }
        if self.acked.is_empty() {
            self.lost.insert(range);
        } else {
            self.acked.subtract_into(range, &mut self.lost);
        }
    }

    /// Starts over: nothing of what is buffered was sent (0-RTT rejected).
    pub(crate) fn restart(&mut self) {
        self.next = self.base;
        self.cursor = 0;
        self.acked.clear();
        self.lost.clear();
    }

    /// Gives up what lies at or beyond `size`, sent or not; it does not count any more.
    pub(crate) fn truncate(&mut self, size: u64) {
        if size <= self.base {
            let base = self.base;
            *self = Self { base, next: base, end: base, ..Self::default() };
        } else if size < self.end {
            self.end = size;
            self.next = self.next.min(size);
            self.pieces.truncate(self.pieces.partition_point(|p| p.start < size));
            if let Some(last) = self.pieces.last_mut() {
                last.truncate(size);
            }
            if self.next == size {
                self.cursor = self.pieces.len();
            }
            self.acked.remove(size..u64::MAX);
            self.lost.remove(size..u64::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(buf: &SendBuffer, offset: u64, len: usize) -> Vec<u8> {
        let (a, b) = buf.slices(offset, len);
        [a, b].concat()
    }

    #[test]
    fn large_writes_are_referenced_and_small_ones_gathered() {
        let mut buf = SendBuffer::default();
        let big = Bytes::from(vec![7; 5000]);
        buf.push(big.clone());
        assert_eq!(buf.slices(0, 10).0.as_ptr(), big.as_ptr());
        for i in 0..100 {
            buf.push(Bytes::from(vec![i; 10]));
        }
        // The large one, the first small one, and one gathered piece for all others.
        assert_eq!(buf.pieces.len(), 3);
        assert_eq!(buf.span(4990, 100), 20);
        assert_eq!(all(&buf, 4990, 20), [[7; 10], [0; 10]].concat());
    }

    #[test]
    fn a_gathered_piece_that_was_sent_whole_can_still_grow() {
        let mut buf = SendBuffer::default();
        for i in 0..3u8 {
            buf.push(Bytes::from(vec![i]));
        }
        buf.sent_new(3);
        buf.push(Bytes::from_static(b"x"));
        assert_eq!((buf.pieces.len(), buf.span(3, 9)), (2, 1));
        assert_eq!(all(&buf, 3, 1), b"x");
        assert_eq!(all(&buf, 0, 3), [0, 1, 2]);
    }

    #[test]
    fn acknowledging_lets_go_of_the_application_buffer() {
        let mut buf = SendBuffer::default();
        let data = Bytes::from(vec![1; 3000]);
        buf.push(data.clone());
        buf.sent_new(3000);
        buf.on_acked(1000..3000);
        assert!(!data.is_unique());
        buf.on_acked(0..1000);
        assert!(data.is_unique() && buf.is_all_acked());
        assert_eq!(all(&buf, 0, 10), b"");
    }

    #[test]
    fn lost_and_acknowledged_ranges_never_overlap() {
        let mut buf = SendBuffer::default();
        buf.push(Bytes::from(vec![1; 100]));
        buf.sent_new(90);
        buf.on_acked(20..30);
        buf.on_lost(10..40);
        buf.on_lost(85..100);
        assert_eq!(buf.first_lost(), Some(10..20));
        buf.on_acked(0..25);
        assert_eq!((buf.base, buf.first_lost()), (30, Some(30..40)));
        buf.sent_again(30..40);
        assert_eq!(buf.first_lost(), Some(85..90));
    }

    #[test]
    fn what_is_given_up_does_not_come_back() {
        let buf = || {
            let mut buf = SendBuffer::default();
            for _ in 0..3 {
                buf.push(Bytes::from(vec![1; 2000]));
            }
            buf.sent_new(4500);
            buf.on_acked(0..500);
            buf.on_acked(4000..4200);
            buf.on_lost(3000..4000);
            buf
        };
        // Beyond what was sent: the rest of it goes out.
        let mut b = buf();
        b.truncate(5000);
        assert_eq!((b.next(), b.end(), b.span(4500, 9000)), (4500, 5000, 500));
        b.sent_new(500);
        b.on_acked(500..5000);
        assert!(b.is_all_acked());
        // Below: lost bytes are sent again up to there, and others do not matter.
        let mut b = buf();
        b.truncate(3500);
        assert_eq!((b.next(), b.end(), b.first_lost()), (3500, 3500, Some(3000..3500)));
        b.on_lost(3400..4500);
        assert_eq!(all(&b, 3000, b.span(3000, 900)), [1; 500]);
        b.on_acked(500..3500);
        assert!(b.is_all_acked() && b.pieces.len() == 0);
        b.on_acked(3500..4500);
        assert_eq!((b.base, b.first_lost()), (3500, None));
        // Below what was acknowledged: nothing is left.
        let mut b = buf();
        b.truncate(300);
        assert!(b.is_all_acked() && b.buffered() == 0 && b.first_lost().is_none());
    }

    proptest! {
        #[test]
        fn slices_give_the_bytes_written(sizes in prop::collection::vec(1usize..3000, 1..20),
                                         cuts in prop::collection::vec((1usize..1500, any::<bool>()), 1..60)) {
            let (mut buf, mut model) = (SendBuffer::default(), Vec::new());
            for (i, size) in sizes.iter().enumerate() {
                let bytes: Vec<u8> = (0..*size).map(|j| (i * 7 + j) as u8).collect();
                model.extend_from_slice(&bytes);
                buf.push(Bytes::from(bytes));
            }
            for (cut, ack) in cuts {
                let (at, left) = (buf.next(), (buf.end() - buf.next()) as usize);
                let len = buf.span(at, cut.min(left));
                prop_assert_eq!(len == 0, left == 0);
                buf.sent_new(len);
                prop_assert_eq!(all(&buf, at, len), &model[at as usize..at as usize + len]);
                if ack {
                    buf.on_acked(at..at + len as u64);
                } else {
                    let again = buf.span(at, len);
                    prop_assert_eq!(all(&buf, at, again), &model[at as usize..at as usize + again]);
                }
            }
        }
    }
}
