//! A list that is only pushed to and taken whole: it needs no lock, so nobody waits for one that
//! another thread has.

use std::ptr;

use crate::sync::{AtomicPtr, Ordering};

/// The last one first.
pub struct Stack<T>(pub AtomicPtr<Link<T>>);

/// An element, and the one that was pushed before.
pub struct Link<T> {
    value: T,
    next: *mut Link<T>,
}

impl<T: Send> Stack<T> {
    /// Whether there was nothing in it a moment ago.
    pub fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed).is_null()
    }

    /// Puts a value in.
    pub fn push(&self, value: T) {
        let link = Box::into_raw(Box::new(Link { value, next: self.0.load(Ordering::Relaxed) }));
        // SAFETY: nobody else knows `link` before it is in the list.
        let next = unsafe { &mut (*link).next };
        while let Err(first) =
            self.0.compare_exchange_weak(*next, link, Ordering::Release, Ordering::Relaxed)
        {
            *next = first;
        }
    }

    /// Takes all that is in it.
    pub fn take(&self) -> Vec<T> {
        let mut taken = Vec::new();
        let mut link = self.0.swap(ptr::null_mut(), Ordering::Acquire);
        while !link.is_null() {
            // SAFETY: it came from a `Box`, and who has taken the list has it alone.
            let Link { value, next } = *unsafe { Box::from_raw(link) };
            taken.push(value);
            link = next;
        }
        taken
    }
}
