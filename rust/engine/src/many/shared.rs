//! What the connections of a set and its owner share.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tquic_core::time::Instant;

use super::record::{Kind, RECORD_SIZE, Record};
use crate::bridge::notify::Notifier;
use crate::key::ConnectionKey;
use crate::perf::Histogram;

/// Different sentences about failures that are kept.
const MAX_SENTENCES: usize = 64;

/// How a connection of a set fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Connecting,
    Open,
    Closed,
}

/// How many connections are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Not begun.
    pub waiting: usize,
    /// In their handshake.
    pub connecting: usize,
    /// With a complete handshake.
    pub open: usize,
    /// Over, those whose handshake failed included.
    pub closed: usize,
    /// Of the closed ones: without a handshake.
    pub failed: usize,
    /// Handshakes that resumed a session.
    pub resumed: usize,
    /// Handshakes with 0-RTT that the server accepted.
    pub early: usize,
}

impl Counts {
    fn of(&mut self, state: State) -> &mut usize {
        match state {
            State::Waiting => &mut self.waiting,
            State::Connecting => &mut self.connecting,
            State::Open => &mut self.open,
            State::Closed => &mut self.closed,
        }
    }
}

pub(super) struct Inner {
    /// Records that wait, one after another.
    records: Vec<u8>,
    /// Bytes at the start that were taken.
    taken: usize,
    dropped: u64,
    signalled: bool,
    pub members: Vec<(ConnectionKey, State)>,
    pub counts: Counts,
    pub handshakes: Histogram,
    pub sentences: HashMap<String, u64>,
}

/// See the module.
pub(super) struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
    notifier: Notifier,
    /// Kinds of records that are wanted.
    wanted: u8,
    /// Bytes of records that may wait.
    capacity: usize,
    /// Added to times in records.
    offset: i64,
    /// Nothing more is begun.
    pub stopping: AtomicBool,
}

impl Shared {
    pub fn new(
        members: Vec<ConnectionKey>,
        wanted: u8,
        capacity: usize,
        offset: i64,
    ) -> io::Result<Self> {
        let counts = Counts { waiting: members.len(), ..Counts::default() };
        let inner = Inner {
            records: Vec::new(),
            taken: 0,
            dropped: 0,
            signalled: false,
            members: members.into_iter().map(|key| (key, State::Waiting)).collect(),
            counts,
            handshakes: Histogram::default(),
            sentences: HashMap::new(),
        };
        Ok(Self {
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            notifier: Notifier::new()?,
            wanted: wanted | Kind::Finished.bit(),
            capacity: capacity.saturating_mul(RECORD_SIZE),
            offset,
            stopping: AtomicBool::new(false),
        })
    }

    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that can panic runs under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time as records tell it.
    pub fn time(&self, now: Instant) -> i64 {
        (now.as_nanos() as i64).saturating_add(self.offset)
    }

    /// Puts a record where its owner finds it, if it is wanted and there is room.
    pub fn push(&self, record: &Record) {
        if self.wanted & record.kind.bit() != 0 {
            let is_first = self.keep(&mut self.lock(), record);
            self.signal(is_first);
        }
    }

    /// Whether `signal` is to be called behind the lock: who wakes takes it first of all.
    fn keep(&self, inner: &mut Inner, record: &Record) -> bool {
        if self.wanted & record.kind.bit() == 0 {
            return false;
        }
        // The end of a run is always told: there are few of them.
        let full = inner.records.len() - inner.taken >= self.capacity;
        if full && record.kind != Kind::Finished {
            inner.dropped += 1;
            return false;
        }
        inner.records.extend_from_slice(&record.to_bytes());
        inner.announce()
    }

    fn signal(&self, is_first: bool) {
        if is_first {
            self.notifier.set();
            self.changed.notify_all();
        }
    }

    /// A connection goes from one state to another; `record` tells it.
    pub fn on_change(&self, number: u32, state: State, record: Option<&Record>) {
        let mut inner = self.lock();
        let Some(member) = inner.members.get_mut(number as usize) else { return };
        let before = std::mem::replace(&mut member.1, state);
        if before == state {
            return;
        }
        *inner.counts.of(before) -= 1;
        *inner.counts.of(state) += 1;
        inner.counts.failed += usize::from(state == State::Closed && before != State::Open);
        let mut is_first = false;
        if let Some(record) = record {
            if state == State::Open {
                inner.handshakes.record(record.latency.max(0) as u64);
            }
            is_first = self.keep(&mut inner, record);
        }
        if inner.counts.closed == inner.members.len() {
            // Who waits for records waits for nothing: the end is told even if `Closed` is not.
            is_first |= inner.announce();
        }
        let is_settled = inner.is_settled();
        drop(inner);
        self.signal(is_first);
        if is_settled {
            self.changed.notify_all();
        }
    }

    /// A handshake is complete.
    pub fn on_connected(&self, resumed: bool, early: bool) {
        if resumed {
            let counts = &mut self.lock().counts;
            counts.resumed += 1;
            counts.early += usize::from(early);
        }
    }

    /// Remembers a reason in words.
    pub fn note(&self, sentence: String) {
        let mut inner = self.lock();
        let full = inner.sentences.len() >= MAX_SENTENCES;
        if !full || inner.sentences.contains_key(&sentence) {
            *inner.sentences.entry(sentence).or_default() += 1;
        }
    }

    /// Up to `max` records, the oldest first.
    pub fn poll(&self, max: usize) -> Vec<u8> {
        let mut inner = self.lock();
        let wanted = max.saturating_mul(RECORD_SIZE);
        let waiting = inner.records.len() - inner.taken;
        if waiting > wanted {
            let taken = inner.taken;
            inner.taken += wanted;
            return inner.records[taken..taken + wanted].to_vec();
        }
        let mut records = std::mem::take(&mut inner.records);
        let taken = std::mem::take(&mut inner.taken);
        // No records: they were taken before the signal came.
        if std::mem::take(&mut inner.signalled) || records.is_empty() {
            self.notifier.clear();
        }
        drop(inner);
        records.drain(..taken);
        records
    }

    /// Records that found no room.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Something that is waited for may have come true.
    pub fn wake(&self) {
        drop(self.lock());
        self.changed.notify_all();
    }

    /// Waits until `done`: false if `timeout` passed before.
    pub fn wait(&self, timeout: Option<Duration>, done: impl Fn(&Inner) -> bool) -> bool {
        let deadline = timeout.and_then(|t| std::time::Instant::now().checked_add(t));
        let mut inner = self.lock();
        while !done(&inner) {
            inner = match deadline {
                None => self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(std::time::Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    let waited = self.changed.wait_timeout(inner, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }
}

impl Inner {
    /// Whether nobody was told yet that there is something.
    fn announce(&mut self) -> bool {
        !std::mem::replace(&mut self.signalled, true)
    }

    /// Whether records wait, or everything is over.
    pub fn has_records(&self) -> bool {
        self.signalled
    }

    /// Whether every connection has been tried.
    pub fn is_settled(&self) -> bool {
        self.counts.waiting + self.counts.connecting == 0
    }
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn is_readable(shared: &Shared) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(shared.notifier.fd(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
    }

    #[test]
    fn the_descriptor_is_readable_while_records_wait() {
        let shared = Shared::new(Vec::new(), u8::MAX, 2, 0).unwrap();
        assert!(!is_readable(&shared));
        let record = Record::new(Kind::Finished, 0, 0);
        shared.push(&record);
        shared.push(&record);
        assert_eq!(shared.poll(1).len(), RECORD_SIZE);
        assert!(is_readable(&shared));
        assert_eq!(shared.poll(2).len(), RECORD_SIZE);
        assert!(!is_readable(&shared));
    }

    /// The descriptor is made readable behind the lock: by then the records may have been taken.
    #[test]
    fn a_late_signal_is_taken_back() {
        let shared = Shared::new(Vec::new(), u8::MAX, 2, 0).unwrap();
        let is_first = shared.keep(&mut shared.lock(), &Record::new(Kind::Finished, 0, 0));
        assert!(is_first && !is_readable(&shared));
        assert_eq!(shared.poll(2).len(), RECORD_SIZE);
        shared.signal(is_first);
        assert!(is_readable(&shared));
        assert!(shared.poll(2).is_empty());
        assert!(!is_readable(&shared));
    }
}
