//! By which connections come in: who may still bring one, and when nobody may any more.

use std::sync::{Arc, OnceLock};

use super::queue::EventQueue;
use crate::config::ListenerId;
use crate::shard::clock;

/// The way in through a listener. To be given the listener's name once it has one: from then on its
/// end is told, by `Unlistened`.
pub struct Entry(Arc<Threshold>);

impl Entry {
    pub(super) fn new(queue: Arc<EventQueue>) -> (Self, Arc<Threshold>) {
        let threshold = Arc::new(Threshold { queue, listener: OnceLock::new() });
        (Self(threshold.clone()), threshold)
    }

    /// Names the listener.
    pub fn name(self, listener: ListenerId) {
        // It has no other: an entry is named once.
        let _ = self.0.listener.set(listener);
    }
}

/// Held by all who may bring a connection: the acceptor in each shard, and each connection that has
/// not been told of. The last of them to go tells.
pub(super) struct Threshold {
    queue: Arc<EventQueue>,
    listener: OnceLock<ListenerId>,
}

impl Drop for Threshold {
    fn drop(&mut self) {
        if let Some(&listener) = self.listener.get() {
            self.queue.push_unlistened(listener, clock());
        }
    }
}
