//! Sending and receiving do not allocate.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use tquic_net::udp::{Ecn, RecvBatch, SocketOptions, Transmit, UdpSocket};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: hands every call on to the system's allocator unchanged; the counter is a plain cell
// without a destructor, so counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `alloc` took it from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn sending_and_receiving_allocate_nothing() {
    let rounds = |gso, gro| {
        let options = SocketOptions { gso, gro, ..SocketOptions::default() };
        let open = || UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &options).unwrap();
        let (a, b) = (open(), open());
        let data = [7; 20 * 1200];
        let train = Transmit {
            remote: b.local_addr(),
            local_ip: Some(a.local_addr().ip()),
            ecn: Some(Ecn::Ect0),
            segment_size: 1200,
            data: &data,
            buffer: None,
        };
        let invalid = Transmit { segment_size: 0, ..train };
        let mut batch = RecvBatch::default();
        let mut received = 0;
        let before = ALLOCATIONS.get();
        for _ in 0..50 {
            let sent = a.send(&[train, invalid, train]).unwrap();
            assert_eq!((sent.datagrams, sent.errors.len()), (40, 1));
            while b.recv(&mut batch).unwrap() > 0 {
                received += batch.slots().map(|mut slot| slot.datagrams().count()).sum::<usize>();
            }
        }
        assert_eq!(received, 50 * 40);
        ALLOCATIONS.get() - before
    };
    assert_eq!(rounds(true, true), 0);
    assert_eq!(rounds(false, false), 0);
    // The counter counts.
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}
