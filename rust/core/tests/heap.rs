//! What a connection takes from the heap: while it is idle, and when it is over.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod pair;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pair::Pair;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands every call on to the system's allocator unchanged; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`, and `alloc` took it from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CONNECTIONS: usize = 40;
/// Both ends of a connection are in this process.
const ENDS: usize = 2 * CONNECTIONS;
const KIB: usize = 1024;

/// Lets time pass, and throws away what was told; answers the bytes in use.
fn rest(pair: &mut Pair, time: Duration) -> usize {
    pair.run_until(time, |_| false);
    pair.client.events = Vec::new();
    pair.server.events = Vec::new();
    pair.accepted = Vec::new();
    LIVE.load(Ordering::Relaxed)
}

#[test]
fn connections_cost_little_while_idle_and_nothing_afterwards() {
    let mut pair = Pair::new();
    // Tables that the first connections make, and later ones share.
    let first: Vec<_> = (0..CONNECTIONS).map(|_| pair.establish()).collect();
    for handle in first {
        let now = pair.now;
        pair.client_conn(handle).close(now, 0, b"");
    }
    let before = rest(&mut pair, Duration::from_secs(10));
    let handles: Vec<_> = (0..CONNECTIONS).map(|_| pair.establish()).collect();
    let idle = rest(&mut pair, Duration::from_secs(5)) - before;
    assert!(idle / ENDS <= 25 * KIB, "{} bytes for each idle connection", idle / ENDS);
    for handle in handles {
        let now = pair.now;
        pair.client_conn(handle).close(now, 0, b"");
    }
    let after = rest(&mut pair, Duration::from_secs(10)).saturating_sub(before);
    assert!(after / ENDS <= 2 * KIB, "{} bytes for each that was closed", after / ENDS);
}
