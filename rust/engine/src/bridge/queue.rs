//! Events of all connections on their way to the other language.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::mailbox::Mailbox;
use super::notify::Notifier;
use super::{BridgeEvent, EventKind};

/// Events of one connection, as its thread gave them.
struct Batch {
    mailbox: Arc<Mailbox>,
    events: VecDeque<EventKind>,
}

#[derive(Default)]
struct Inner {
    batches: VecDeque<Batch>,
    /// Whether the descriptor is readable: just when there are batches.
    signalled: bool,
}

/// See the module. Bounded by its writers: each connection has a limit of events in here.
pub(super) struct EventQueue {
    inner: Mutex<Inner>,
    filled: Condvar,
    notifier: Notifier,
}

impl EventQueue {
    pub fn new() -> io::Result<Self> {
        let notifier = Notifier::new()?;
        Ok(Self { inner: Mutex::default(), filled: Condvar::new(), notifier })
    }

    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that can panic runs under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts events of one connection in, in order.
    pub fn push(&self, mailbox: &Arc<Mailbox>, events: VecDeque<EventKind>) {
        if events.is_empty() {
            return;
        }
        mailbox.on_queued(events.len());
        let mut inner = self.lock();
        inner.batches.push_back(Batch { mailbox: mailbox.clone(), events });
        if !inner.signalled {
            inner.signalled = true;
            self.notifier.set();
            self.filled.notify_all();
        }
    }

    /// Takes up to `max` events, the oldest first.
    pub fn poll(&self, max: usize) -> Vec<BridgeEvent> {
        let mut taken = Vec::new();
        let mut inner = self.lock();
        while taken.len() < max {
            let Some(batch) = inner.batches.front_mut() else { break };
            let n = batch.events.len().min(max - taken.len());
            let key = batch.mailbox.key();
            taken.extend(batch.events.drain(..n).map(|kind| BridgeEvent { key, kind }));
            batch.mailbox.on_taken(n);
            if batch.events.is_empty() {
                inner.batches.pop_front();
            }
        }
        if inner.batches.is_empty() && std::mem::take(&mut inner.signalled) {
            self.notifier.clear();
        }
        taken
    }

    /// Waits until there are events: false if `timeout` passed without.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        let deadline = timeout.and_then(|t| Instant::now().checked_add(t));
        let mut inner = self.lock();
        while inner.batches.is_empty() {
            inner = match deadline {
                None => self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    let waited = self.filled.wait_timeout(inner, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }
}
