//! Where a congestion controller in another language finds its batches of acknowledgements.
//!
//! They do not go through the event queue: whoever decides waits in a thread of its own, so that one
//! that is slow, or never comes back, holds up nothing but the path it controls. The shard lays a
//! batch down and goes on; there is at most one for each path, because the next comes only after
//! the answer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tquic_core::cc::AckBatch;

/// See the module.
#[derive(Default)]
pub(super) struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Who is to take batches: the one that came last.
    ticket: u64,
    batches: VecDeque<(u32, AckBatch)>,
    closed: bool,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another controller takes over; those before are told that they are done.
    pub fn hand_over(&self) -> u64 {
        let mut state = self.lock();
        state.ticket += 1;
        state.batches.clear();
        self.changed.notify_all();
        state.ticket
    }

    /// A batch of a path.
    pub fn put(&self, path: u32, batch: AckBatch) {
        let mut state = self.lock();
        state.batches.push_back((path, batch));
        self.changed.notify_all();
    }

    /// Waits for the next batch; `None` once the holder of `ticket` is not the one to ask any more.
    pub fn wait(&self, ticket: u64) -> Option<(u32, AckBatch)> {
        let mut state = self.lock();
        loop {
            if state.closed || state.ticket != ticket {
                return None;
            }
            if let Some(batch) = state.batches.pop_front() {
                return Some(batch);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The connection is over.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_wait_for_the_holder_of_the_last_ticket() {
        let desk = Desk::default();
        let first = desk.hand_over();
        desk.put(0, AckBatch { acks: 7, ..AckBatch::default() });
        assert_eq!(desk.wait(first).map(|(path, batch)| (path, batch.acks)), Some((0, 7)));
        desk.put(0, AckBatch::default());
        let second = desk.hand_over();
        assert_eq!(desk.wait(first), None);
        desk.put(3, AckBatch::default());
        assert_eq!(desk.wait(second).map(|(path, _)| path), Some(3), "old ones are gone");
        desk.close();
        assert_eq!(desk.wait(second), None);
    }
}
