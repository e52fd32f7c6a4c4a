//! A bounded way of received bytes to a reader in another thread.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// Bytes that wait for the reader at most, give or take one piece; beyond, the peer has to wait.
const CAPACITY: usize = 4 << 20;

/// What a read gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes.
    Data(Bytes),
    /// Nothing came in time.
    Nothing,
    /// Everything was read, or the fetch failed.
    End,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    ended: bool,
    abandoned: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Pipe {
    state: Mutex<State>,
    changed: Condvar,
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a piece is taken now.
    pub(super) fn has_room(&self) -> bool {
        self.lock().bytes < CAPACITY
    }

    /// Hands a piece over; `false` if the reader wants no more.
    pub(super) fn push(&self, piece: Bytes) -> bool {
        let mut state = self.lock();
        if state.abandoned {
            return false;
        }
        if !piece.is_empty() {
            state.bytes += piece.len();
            state.pieces.push_back(piece);
            self.changed.notify_one();
        }
        true
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits for the next piece.
    pub fn read(&self, patience: Duration) -> Piece {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if let Some(piece) = state.pieces.pop_front() {
                state.bytes -= piece.len();
                return Piece::Data(piece);
            }
            if state.ended {
                return Piece::End;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Piece::Nothing;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The reader has gone: what comes is refused.
    pub fn abandon(&self) {
        let mut state = self.lock();
        *state = State { abandoned: true, ended: true, ..State::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_in_order_and_end() {
        let pipe = Pipe::default();
        assert_eq!(pipe.read(Duration::ZERO), Piece::Nothing);
        assert!(pipe.push(Bytes::from_static(b"a")) && pipe.push(Bytes::from_static(b"b")));
        pipe.end();
        for wanted in [Piece::Data("a".into()), Piece::Data("b".into()), Piece::End] {
            assert_eq!(pipe.read(Duration::ZERO), wanted);
        }
    }

    #[test]
    fn a_full_pipe_has_no_room_until_it_is_read() {
        let pipe = Pipe::default();
        pipe.push(vec![0; CAPACITY].into());
        assert!(!pipe.has_room());
        assert!(matches!(pipe.read(Duration::ZERO), Piece::Data(_)));
        assert!(pipe.has_room());
        pipe.abandon();
        assert!(!pipe.push(Bytes::from_static(b"x")));
        assert_eq!(pipe.read(Duration::ZERO), Piece::End);
    }

    #[test]
    fn a_waiting_reader_is_woken() {
        let pipe = Pipe::default();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| pipe.read(Duration::from_secs(30)));
            pipe.push(Bytes::from_static(b"x"));
            assert_eq!(reader.join().unwrap(), Piece::Data("x".into()));
        });
    }
}
