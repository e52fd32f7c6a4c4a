//! What a stream sends: pieces of the pattern, several at a time.

use std::ptr;

use compare_common::pattern::piece;
use msquic::{BufferRef, SendFlags, Status, Stream, StreamShutdownFlags};

/// Pieces that wait to be sent and acknowledged: 4 MiB.
const OUTSTANDING: usize = 16;

/// The pattern on its way. msquic keeps pointers to the descriptors until a piece is acknowledged,
/// so they must not move.
pub struct Outflow {
    sent: u64,
    total: u64,
    pieces: Box<[BufferRef]>,
    next: usize,
    outstanding: usize,
}

impl Outflow {
    pub fn new(total: u64) -> Self {
        let count = (total / piece(0, u64::MAX).len() as u64 + 1).min(OUTSTANDING as u64);
        let pieces = (0..count).map(|_| BufferRef::from(&[][..])).collect();
        Self { sent: 0, total, pieces, next: 0, outstanding: 0 }
    }

    /// A piece has been acknowledged.
    pub fn completed(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// Whether something has not been given to the stream.
    pub fn has_more(&self) -> bool {
        self.sent < self.total
    }

    /// Sends what may be on its way, and the end with the last piece.
    pub fn drive(&mut self, stream: &Stream) -> Result<(), Status> {
        if self.total == 0 {
            return stream.shutdown(StreamShutdownFlags::GRACEFUL, 0);
        }
        while self.has_more() && self.outstanding < self.pieces.len() {
            let data = piece(self.sent, self.total - self.sent);
            self.sent += data.len() as u64;
            let fin = if self.sent == self.total { SendFlags::FIN } else { SendFlags::NONE };
            let slot = self.next % self.pieces.len();
            self.pieces[slot] = BufferRef::from(data);
            // SAFETY: the data is static, and the descriptor stays until its turn comes again,
            // after its completion: completions come in order.
            unsafe { stream.send(&self.pieces[slot..=slot], fin, ptr::null()) }?;
            self.next += 1;
            self.outstanding += 1;
        }
        Ok(())
    }
}
