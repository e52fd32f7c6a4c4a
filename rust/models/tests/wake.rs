//! A thread that sleeps in the poller, and others that have something for it.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../../net/src/os/wake.rs"]
mod wake;

/// The atomics of the model.
mod sync {
    pub use loom::sync::atomic::{AtomicU8, Ordering};
}

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use wake::State;

/// An eventfd that is watched edge-triggered: a wait ends once for what was written before.
#[derive(Default)]
struct Doorbell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Doorbell {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.changed.notify_one();
    }

    fn wait(&self, block: bool) {
        let mut rung = self.rung.lock().unwrap();
        while block && !*rung {
            rung = self.changed.wait(rung).unwrap();
        }
        *rung = false;
    }
}

/// What `Poller::wait` does: whether somebody called.
fn wait(state: &State, bell: &Doorbell) -> bool {
    let asleep = state.fall_asleep();
    bell.wait(asleep);
    state.get_up()
}

/// What `Waker::wake` does.
fn wake(state: &State, bell: &Doorbell) {
    if state.call() {
        bell.ring();
    }
}

/// No call is lost: that would be a deadlock, which loom reports. Every order of three threads with at
/// most two switches that nothing forces; without a bound it takes hours.
#[test]
fn every_call_is_heard() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let shared = Arc::new((State::new(), Doorbell::default(), AtomicUsize::new(0)));
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    shared.2.fetch_add(1, Ordering::Relaxed);
                    wake(&shared.0, &shared.1);
                })
            })
            .collect();
        let mut seen = 0;
        while seen < 2 {
            if wait(&shared.0, &shared.1) {
                seen = shared.2.load(Ordering::Relaxed);
            }
        }
        for caller in callers {
            caller.join().unwrap();
        }
    });
}

/// What was written before the call is there after it.
#[test]
fn what_the_call_was_about_is_visible() {
    loom::model(|| {
        let shared = Arc::new((State::new(), Doorbell::default(), UnsafeCell::new(0)));
        let caller = {
            let shared = shared.clone();
            thread::spawn(move || {
                // SAFETY: the other thread reads only after the call below; loom checks that.
                shared.2.with_mut(|number| unsafe { *number = 7 });
                wake(&shared.0, &shared.1);
            })
        };
        while !wait(&shared.0, &shared.1) {}
        // SAFETY: as above.
        shared.2.with(|number| assert_eq!(unsafe { *number }, 7));
        caller.join().unwrap();
    });
}
