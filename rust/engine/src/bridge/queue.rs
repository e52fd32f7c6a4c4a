//! Events of all connections on their way to the other language.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tquic_core::time::Instant;

use super::gate::{Gate, Guard, Look};
use super::mailbox::Mailbox;
use super::notify::Notifier;
use super::{BridgeEvent, EventKind};
use crate::config::ListenerId;
use crate::key::ConnectionKey;

/// Events of one connection, as its thread gave them, or a listener's last one.
struct Batch {
    mailbox: Option<Arc<Mailbox>>,
    events: VecDeque<EventKind>,
    /// When they came in.
    since: Instant,
}

#[derive(Default)]
struct Inner {
    batches: VecDeque<Batch>,
    /// Whether the descriptor is readable, or will be at once: just when there are batches.
    signalled: bool,
    /// Threads in `wait`.
    waiters: usize,
    guards: Vec<Guard>,
}

/// See the module. Bounded by its writers: each connection has a limit of events in here, each
/// listener one.
pub(super) struct EventQueue {
    inner: Mutex<Inner>,
    filled: Condvar,
    notifier: Notifier,
    /// Events in all batches.
    waiting: Arc<AtomicUsize>,
}

impl EventQueue {
    pub fn new() -> io::Result<Self> {
        let notifier = Notifier::new()?;
        let (inner, waiting) = (Mutex::default(), Arc::default());
        Ok(Self { inner, filled: Condvar::new(), notifier, waiting })
    }

    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that can panic runs under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A gate that is shut while events wait too long.
    pub fn gate(&self, limit: Duration) -> Arc<Gate> {
        let (gate, guard) = Guard::new(&self.waiting, limit);
        self.lock().guards.push(guard);
        gate
    }

    /// Puts events of one connection in, in order.
    pub fn push(&self, mailbox: &Arc<Mailbox>, events: VecDeque<EventKind>, now: Instant) {
        if events.is_empty() {
            return;
        }
        mailbox.on_queued(events.len());
        self.put(Batch { mailbox: Some(mailbox.clone()), events, since: now });
    }

    /// Tells that a listener has no more connections to bring.
    pub fn push_unlistened(&self, listener: ListenerId, now: Instant) {
        let events = VecDeque::from([EventKind::Unlistened { listener }]);
        self.put(Batch { mailbox: None, events, since: now });
    }

    fn put(&self, batch: Batch) {
        let mut inner = self.lock();
        self.waiting.fetch_add(batch.events.len(), Relaxed);
        inner.batches.push_back(batch);
        let is_first = !std::mem::replace(&mut inner.signalled, true);
        let has_waiters = inner.waiters > 0;
        // Who wakes takes the lock first of all.
        drop(inner);
        if is_first {
            self.notifier.set();
        }
        if is_first && has_waiters {
            self.filled.notify_all();
        }
    }

    /// Takes up to `max` events, the oldest first.
    pub fn poll(&self, max: usize, now: Instant) -> Vec<BridgeEvent> {
        let mut taken = Vec::new();
        let mut inner = self.lock();
        let oldest = inner.batches.front().map(|batch| now - batch.since);
        while taken.len() < max {
            let Some(batch) = inner.batches.front_mut() else { break };
            let n = batch.events.len().min(max - taken.len());
            let key = batch.mailbox.as_ref().map_or(ConnectionKey::NONE, |mailbox| mailbox.key());
            taken.extend(batch.events.drain(..n).map(|kind| BridgeEvent { key, kind }));
            if let Some(mailbox) = &batch.mailbox {
                mailbox.on_taken(n);
            }
            if batch.events.is_empty() {
                inner.batches.pop_front();
            }
        }
        let waiting = self.waiting.fetch_sub(taken.len(), Relaxed);
        if let Some(oldest) = oldest {
            let look = Look { now, oldest, waiting, taken: taken.len() };
            inner.guards.retain_mut(|guard| guard.look(look));
        }
        if inner.batches.is_empty() {
            // Nothing taken: somebody took it before the signal came.
            if std::mem::take(&mut inner.signalled) || taken.is_empty() {
                self.notifier.clear();
            }
        }
        taken
    }

    /// Waits until there are events: false if `timeout` passed without.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        let deadline = timeout.and_then(|t| std::time::Instant::now().checked_add(t));
        let mut inner = self.lock();
        inner.waiters += 1;
        while inner.batches.is_empty() {
            inner = match deadline {
                None => self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(std::time::Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    let waited = self.filled.wait_timeout(inner, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        inner.waiters -= 1;
        !inner.batches.is_empty()
    }
}
