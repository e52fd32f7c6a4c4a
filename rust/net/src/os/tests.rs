//! Readiness, waking, time and seed, on the system's poller and on the portable one.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::*;

#[test]
fn time_goes_on_and_seeds_differ() {
    let start = monotonic_nanos();
    thread::sleep(Duration::from_millis(2));
    let passed = monotonic_nanos() - start;
    assert!((2_000_000..60_000_000_000).contains(&passed), "{passed} ns");
    assert_ne!(random_seed().unwrap(), random_seed().unwrap());
}

#[test]
fn a_thread_can_be_kept_on_a_cpu() {
    let cpus = allowed_cpus().unwrap();
    let last = *cpus.last().unwrap();
    thread::spawn(move || {
        pin_thread(last).unwrap();
        assert_eq!(allowed_cpus().unwrap(), [last]);
    })
    .join()
    .unwrap();
    assert_eq!(allowed_cpus().unwrap(), cpus, "other threads are not concerned");
    assert!(pin_thread(usize::MAX).is_err());
}

#[test]
fn cpu_time_counts_work_and_not_sleep() {
    let start = thread_cpu_time().unwrap();
    thread::sleep(Duration::from_millis(30));
    let slept = thread_cpu_time().unwrap() - start;
    assert!(slept < Duration::from_millis(20), "{slept:?}");
    while thread_cpu_time().unwrap() - start < Duration::from_millis(2) {}
}

#[test]
fn timeouts_are_finer_than_milliseconds() {
    let mut poller = Poller::new().unwrap();
    let mut events = Events::with_capacity(8);
    let timeout = Duration::from_micros(200);
    let took = |poller: &mut Poller, events: &mut Events| {
        let start = Instant::now();
        poller.wait(events, Some(timeout)).unwrap();
        start.elapsed()
    };
    // Once is enough: a machine with other work wakes late, and never early.
    let fine = (0..5000).any(|_| {
        let time = took(&mut poller, &mut events);
        assert!(time >= timeout, "{time:?}");
        time < Duration::from_micros(950)
    });
    assert!(fine);
}

/// The tests of one implementation of the poller, in a module of its own.
macro_rules! poller_tests {
    ($module:ident, $implementation:path) => {
        mod $module {
            use super::*;
            use $implementation::{Events, Poller};

            const LONG: Option<Duration> = Some(Duration::from_secs(10));

            #[test]
            fn sources_are_reported_while_ready() {
                let mut poller = Poller::new().unwrap();
                let mut events = Events::with_capacity(8);
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                let (read, both) = (Interest::Readable, Interest::ReadableWritable);
                assert!(poller.add(&socket, RESERVED_TOKEN, read).is_err());
                poller.add(&socket, 7, read).unwrap();
                poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
                assert_eq!(events.iter().count(), 0);
                socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
                for _ in 0..2 {
                    poller.wait(&mut events, LONG).unwrap();
                    let event = Event { token: 7, readable: true, writable: false, error: false };
                    assert_eq!(events.iter().collect::<Vec<_>>(), [event]);
                    assert!(!events.woken());
                }
                socket.recv(&mut [0; 8]).unwrap();
                poller.modify(&socket, 7, both).unwrap();
                poller.wait(&mut events, LONG).unwrap();
                let event = Event { token: 7, readable: false, writable: true, error: false };
                assert_eq!(events.iter().collect::<Vec<_>>(), [event]);
                poller.remove(&socket, 7).unwrap();
                poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
                assert_eq!(events.iter().count(), 0);
                assert!(poller.remove(&socket, 7).is_err());
            }

            #[test]
            fn a_wake_before_the_wait_counts_once() {
                let mut poller = Poller::new().unwrap();
                let mut events = Events::with_capacity(8);
                let waker = poller.waker();
                waker.wake().unwrap();
                waker.wake().unwrap();
                poller.wait(&mut events, LONG).unwrap();
                assert!(events.woken());
                assert_eq!(events.iter().count(), 0);
                poller.wait(&mut events, Some(Duration::from_millis(1))).unwrap();
                assert!(!events.woken());
            }

            #[test]
            fn a_waker_does_not_hide_a_source() {
                let mut poller = Poller::new().unwrap();
                let mut events = Events::with_capacity(8);
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                poller.add(&socket, 0, Interest::Readable).unwrap();
                socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
                poller.waker().wake().unwrap();
                poller.wait(&mut events, LONG).unwrap();
                assert!(events.woken());
                assert_eq!(events.iter().map(|event| event.token).collect::<Vec<_>>(), [0]);
            }

            /// No wake may be lost, whenever it comes: a lost one would show as a wait of 10 s.
            #[test]
            fn every_wake_is_seen() {
                const ROUNDS: usize = 2000;
                let mut poller = Poller::new().unwrap();
                let mut events = Events::with_capacity(8);
                let waker = poller.waker();
                let (asked, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
                thread::scope(|scope| {
                    scope.spawn(|| {
                        for round in 1..=ROUNDS {
                            asked.store(round, Ordering::Release);
                            waker.wake().unwrap();
                            while answered.load(Ordering::Acquire) < round {
                                thread::yield_now();
                            }
                            // Now and then let the other fall asleep first.
                            if round % 16 == 0 {
                                thread::sleep(Duration::from_micros(50));
                            }
                        }
                    });
                    let mut seen = 0;
                    while seen < ROUNDS {
                        let start = Instant::now();
                        poller.wait(&mut events, LONG).unwrap();
                        assert!(start.elapsed() < Duration::from_secs(9), "lost {}", seen + 1);
                        seen = asked.load(Ordering::Acquire);
                        answered.store(seen, Ordering::Release);
                    }
                });
            }
        }
    };
}

poller_tests!(native, super::super);
poller_tests!(elsewhere, super::super::portable);
