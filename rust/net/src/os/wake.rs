//! Whether a thread sleeps, and whether somebody wants it awake.

use crate::sync::{AtomicU8, Ordering};

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const CALLED: u8 = 2;

/// Shared by a thread that waits and those that call it. Only a call to one that is (about to be)
/// asleep has to reach it through the system; many calls while it works or before it looks cost one
/// atomic swap each.
#[derive(Debug)]
pub struct State(AtomicU8);

impl State {
    /// Of a thread that works.
    pub fn new() -> Self {
        Self(AtomicU8::new(AWAKE))
    }

    /// Calls it. True if it sleeps, and only the system can wake it. What was written before is
    /// visible to the thread after [`Self::get_up`] has told of the call.
    pub fn call(&self) -> bool {
        self.0.swap(CALLED, Ordering::AcqRel) == ASLEEP
    }

    /// The thread is about to sleep. False if it was called: then it must not.
    pub fn fall_asleep(&self) -> bool {
        self.0.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The thread works again. True if it was called since the last time.
    pub fn get_up(&self) -> bool {
        self.0.swap(AWAKE, Ordering::AcqRel) == CALLED
    }
}
