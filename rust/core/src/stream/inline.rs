//! A queue whose first element needs no allocation: most streams never have a second.

use std::collections::VecDeque;

#[derive(Debug)]
pub(crate) struct InlineQueue<T> {
    first: Option<T>,
    /// Empty if there is no first.
    rest: VecDeque<T>,
}

impl<T> Default for InlineQueue<T> {
    fn default() -> Self {
        Self { first: None, rest: VecDeque::new() }
    }
}

impl<T> InlineQueue<T> {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        match index {
            0 => self.first.as_ref(),
            _ => self.rest.get(index - 1),
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        match index {
            0 => self.first.as_mut(),
            _ => self.rest.get_mut(index - 1),
        }
    }

    pub(crate) fn last_mut(&mut self) -> Option<&mut T> {
        self.rest.back_mut().or(self.first.as_mut())
    }

    pub(crate) fn push(&mut self, value: T) {
        if self.first.is_none() {
            self.first = Some(value);
        } else {
            self.rest.push_back(value);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        core::mem::replace(&mut self.first, self.rest.pop_front())
    }

    /// Keeps the first `len` elements.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.rest.truncate(len.saturating_sub(1));
        if len == 0 {
            self.first = None;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.rest)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.first.iter_mut().chain(&mut self.rest)
    }

    /// Index of the first element for which `before` does not hold, as for sorted slices.
    pub(crate) fn partition_point(&self, mut before: impl FnMut(&T) -> bool) -> usize {
        match &self.first {
            Some(first) if before(first) => 1 + self.rest.partition_point(before),
            _ => 0,
        }
    }

    /// Memory beyond the queue itself, in bytes.
    pub(crate) fn allocated(&self) -> usize {
        self.rest.capacity() * size_of::<T>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_in_order() {
        let mut q = InlineQueue::default();
        assert_eq!((q.pop(), q.len(), q.last_mut()), (None::<u32>, 0, None));
        q.push(0);
        assert_eq!(q.allocated(), 0);
        for i in 1..10 {
            q.push(i);
            assert_eq!(q.last_mut(), Some(&mut { i }));
        }
        assert!(q.allocated() > 0);
        for i in 0..10 {
            assert_eq!((q.get(i), q.partition_point(|v| *v < i as u32)), (Some(&(i as u32)), i));
        }
        assert_eq!((q.get(10), q.partition_point(|_| true)), (None, 10));
        for v in q.iter_mut() {
            *v += 1;
        }
        assert_eq!(q.iter().sum::<u32>(), 55);
        *q.get_mut(0).unwrap() = 7;
        assert_eq!((q.pop(), q.pop(), q.len()), (Some(7), Some(2), 8));
        for len in [9, 3, 1, 0] {
            q.truncate(len);
            assert_eq!((q.len(), q.get(0).is_some()), (len.min(8), len > 0));
        }
    }
}
