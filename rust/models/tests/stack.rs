//! The list in which the engine's threads lay what Python is to take back.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../../py/src/stack.rs"]
mod stack;

/// The atomics of the model.
mod sync {
    pub use loom::sync::atomic::{AtomicPtr, Ordering};
}

use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use stack::Stack;
use sync::AtomicPtr;

/// Counts itself out when it is dropped. Loom watches who reads what is in it, and when.
struct Counted(UnsafeCell<u32>, std::sync::Arc<AtomicUsize>);

impl Counted {
    fn number(&self) -> u32 {
        // SAFETY: nobody writes after the push; loom checks that this comes after it.
        self.0.with(|number| unsafe { *number })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn what_is_pushed_is_taken_once() {
    loom::model(|| {
        let stack = Arc::new(Stack(AtomicPtr::new(ptr::null_mut())));
        let dropped = std::sync::Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = (1..=2)
            .map(|number| {
                let (stack, one) = (stack.clone(), Counted(UnsafeCell::new(0), dropped.clone()));
                thread::spawn(move || {
                    // SAFETY: not shared yet.
                    one.0.with_mut(|place| unsafe { *place = number });
                    stack.push(one);
                })
            })
            .collect();
        // In the middle of it, and after the end.
        let mut taken: Vec<u32> = stack.take().iter().map(Counted::number).collect();
        for writer in writers {
            writer.join().unwrap();
        }
        assert_eq!(stack.is_empty(), taken.len() == 2);
        taken.extend(stack.take().iter().map(Counted::number));
        taken.sort_unstable();
        assert_eq!(taken, [1, 2]);
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
        assert!(stack.is_empty());
    });
}

#[test]
fn two_may_take_at_the_same_time() {
    loom::model(|| {
        let stack = Arc::new(Stack(AtomicPtr::new(ptr::null_mut())));
        stack.push(1);
        stack.push(2);
        let other = stack.clone();
        let theirs = thread::spawn(move || other.take());
        stack.push(3);
        let mut taken = stack.take();
        taken.extend(theirs.join().unwrap());
        taken.sort_unstable();
        assert_eq!(taken, [1, 2, 3]);
    });
}
