//! What `recv` does with answers of the kernel that loopback never gives.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use super::cmsg::{Control, Name};
use super::recv::{RecvBatch, recv};
use super::syscall::Envelope;
use crate::udp::Stats;
use crate::udp::stats::Counters;

/// What one call gave, the counters, and how often the kernel was asked.
struct Outcome {
    result: io::Result<usize>,
    received: Vec<Vec<u8>>,
    stats: Stats,
    calls: usize,
}

/// A kernel that answers from a script; a count fills as many slots with their number.
fn play(answers: &[Result<usize, i32>], reports: bool) -> Outcome {
    let mut answers: VecDeque<_> = answers.iter().copied().collect();
    let (mut batch, counters, mut calls) = (RecvBatch::new(4), Counters::default(), 0);
    let kernel = |buffer: &mut [u8], envelopes: &mut [Envelope]| {
        calls += 1;
        let count = answers.pop_front().unwrap().map_err(io::Error::from_raw_os_error)?;
        let slots = buffer.chunks_exact_mut(crate::udp::SLOT_SIZE);
        for (n, (envelope, slot)) in envelopes.iter_mut().zip(slots).take(count).enumerate() {
            slot[..3].fill(n as u8);
            let name = Name::new(SocketAddr::from(([127, 0, 0, 1], 9)), false);
            *envelope = Envelope { name, control: Control::EMPTY, len: 3, truncated: n == 2 };
        }
        Ok(count)
    };
    let result = recv(kernel, &mut batch, reports, &counters);
    let received = batch.slots().map(|slot| slot.data.to_vec()).collect();
    Outcome { result, received, stats: counters.snapshot(0), calls }
}

#[test]
fn a_wake_up_for_nothing_is_nothing() {
    let outcome = play(&[Err(libc::EAGAIN)], false);
    assert_eq!((outcome.result.unwrap(), outcome.calls), (0, 1));
    assert_eq!(outcome.stats, Stats::default());
}

#[test]
fn interruptions_and_icmp_are_passed_over_but_not_for_ever() {
    let outcome = play(&[Err(libc::EINTR), Err(libc::ECONNREFUSED), Ok(2)], false);
    assert_eq!(outcome.result.unwrap(), 2);
    assert_eq!(outcome.received, [[0; 3], [1; 3]]);
    assert_eq!((outcome.stats.soft_errors, outcome.stats.recv_calls), (1, 1));
    let outcome = play(&[Err(libc::ECONNREFUSED); 20], false);
    assert_eq!(outcome.result.unwrap_err().raw_os_error(), Some(libc::ECONNREFUSED));
    assert_eq!((outcome.calls, outcome.stats.soft_errors), (9, 9));
}

#[test]
fn what_did_not_fit_is_counted_and_left_out() {
    let outcome = play(&[Ok(4)], false);
    assert_eq!(outcome.received, [[0; 3], [1; 3], [3; 3]]);
    assert_eq!((outcome.stats.soft_errors, outcome.stats.recv_datagrams), (1, 3));
}

#[test]
fn a_failure_leaves_nothing_of_the_call_before() {
    for code in [libc::ENOMEM, libc::EIO, libc::EBADF, libc::EPERM] {
        let outcome = play(&[Err(code)], true);
        assert_eq!(outcome.result.unwrap_err().raw_os_error(), Some(code));
        assert!(outcome.received.is_empty());
        assert_eq!(outcome.stats.soft_errors, 1);
    }
}
