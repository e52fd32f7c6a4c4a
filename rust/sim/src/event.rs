//! Events in the order they happen.

use core::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use tquic_core::time::Instant;

/// A queue of values by time. Values of the same time come out in the order they went in, so that
/// the order never depends on how the heap is laid out.
#[derive(Clone, Debug)]
pub struct EventQueue<T> {
    /// Values that came in the order of their times, as packets on a wire do: no need to sort them.
    row: VecDeque<Entry<T>>,
    heap: BinaryHeap<Reverse<Entry<T>>>,
    sequence: u64,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    time: Instant,
    sequence: u64,
    value: T,
}

impl<T> EventQueue<T> {
    /// An empty queue.
    pub const fn new() -> Self {
        Self { row: VecDeque::new(), heap: BinaryHeap::new(), sequence: 0 }
    }

    /// Adds `value`, due at `time`.
    pub fn push(&mut self, time: Instant, value: T) {
        let entry = Entry { time, sequence: self.sequence, value };
        self.sequence += 1;
        if self.row.back().is_none_or(|last| last.time <= time) {
            self.row.push_back(entry);
        } else {
            self.heap.push(Reverse(entry));
        }
    }

    /// When the first value is due.
    pub fn next_time(&self) -> Option<Instant> {
        let heap = self.heap.peek().map(|Reverse(entry)| entry.time);
        self.row.front().map(|entry| entry.time).into_iter().chain(heap).min()
    }

    /// Takes the first value if it is due at `now` or before, with the time it was due.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, T)> {
        if self.next_time()? > now {
            return None;
        }
        let entry = match (self.row.front(), self.heap.peek()) {
            (Some(first), Some(Reverse(other))) if other.key() < first.key() => self.pop_heap(),
            (Some(_), _) => self.row.pop_front(),
            (None, _) => self.pop_heap(),
        };
        entry.map(|entry| (entry.time, entry.value))
    }

    fn pop_heap(&mut self) -> Option<Entry<T>> {
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// How many values wait.
    pub fn len(&self) -> usize {
        self.row.len() + self.heap.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Default for EventQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Entry<T> {
    fn key(&self) -> (Instant, u64) {
        (self.time, self.sequence)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_time_then_insertion() {
        let mut queue = EventQueue::new();
        for (time, name) in [(5, "c"), (1, "a"), (5, "d"), (1, "b")] {
            queue.push(Instant::from_nanos(time), name);
        }
        assert_eq!(queue.pop_due(Instant::ZERO), None);
        let order: Vec<_> =
            core::iter::from_fn(|| queue.pop_due(Instant::MAX)).map(|(_, name)| name).collect();
        assert_eq!(order, ["a", "b", "c", "d"]);
        assert!(queue.is_empty());
    }
}
