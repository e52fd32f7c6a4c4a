//! What `send` does with answers of the kernel that loopback never gives.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::send::Sender;
use super::syscall::Message;
use crate::udp::stats::Counters;
use crate::udp::{MAX_SEGMENTS, MAX_TRAINS, Sent, TrainError, Transmit};

/// A kernel that answers from a script, then takes everything.
struct Script {
    answers: VecDeque<Result<usize, i32>>,
    gso: AtomicBool,
    counters: Counters,
    /// Data of the messages it took.
    taken: Vec<Vec<u8>>,
    calls: usize,
    reports: bool,
}

impl Script {
    fn new(answers: &[Result<usize, i32>]) -> Self {
        Self {
            answers: answers.iter().copied().collect(),
            gso: AtomicBool::new(true),
            reports: false,
            counters: Counters::default(),
            taken: Vec::new(),
            calls: 0,
        }
    }

    fn send(&mut self, batch: &[Transmit<'_>]) -> io::Result<Sent> {
        let Self { answers, gso, reports, counters, taken, calls } = self;
        let kernel = |messages: &[Message<'_>]| {
            *calls += 1;
            let answer = answers.pop_front().unwrap_or(Ok(messages.len()));
            let n = answer.map_err(io::Error::from_raw_os_error)?;
            taken.extend(messages[..n].iter().map(|message| message.data.to_vec()));
            Ok(n)
        };
        Sender { kernel, v6: false, reports: *reports, ecn: true, gso, counters }.send(batch)
    }

    fn gso(&self) -> bool {
        self.gso.load(Relaxed)
    }
}

const DATA: [u8; 40] = {
    let mut data = [0; 40];
    let mut i = 0;
    while i < data.len() {
        data[i] = i as u8;
        i += 1;
    }
    data
};

/// Four datagrams of ten bytes.
fn train() -> Transmit<'static> {
    let remote = SocketAddr::from(([127, 0, 0, 1], 9));
    Transmit { remote, local_ip: None, ecn: None, segment_size: 10, data: &DATA, buffer: None }
}

#[test]
fn a_full_buffer_stops_the_batch_where_it_is() {
    for code in [libc::EAGAIN, libc::ENOBUFS] {
        let mut kernel = Script::new(&[Ok(2), Err(code)]);
        let sent = kernel.send(&[train(); 5]).unwrap();
        assert_eq!(sent, Sent { trains: 2, datagrams: 8, blocked: true, ..Sent::default() });
        assert_eq!(kernel.send(&[train(); 3]).unwrap().trains, 3);
        assert_eq!(kernel.taken, vec![DATA.to_vec(); 5]);
    }
}

#[test]
fn a_kernel_that_takes_some_is_asked_again() {
    let mut kernel = Script::new(&[Ok(1), Ok(2), Err(libc::EINTR)]);
    let sent = kernel.send(&[train(); 5]).unwrap();
    assert_eq!(sent, Sent { trains: 5, datagrams: 20, ..Sent::default() });
    assert_eq!(kernel.calls, 4);
    assert_eq!(kernel.counters.snapshot(0).send_calls, 3);
}

#[test]
fn gso_refused_by_the_device_falls_back_once_and_for_all() {
    for code in [libc::EIO, libc::EINVAL] {
        let mut kernel = Script::new(&[Ok(1), Err(code)]);
        let sent = kernel.send(&[train(); 3]).unwrap();
        assert_eq!(sent, Sent { trains: 3, datagrams: 12, ..Sent::default() });
        assert_eq!(kernel.taken.len(), 1 + 4 + 4);
        assert_eq!(kernel.taken.concat(), DATA.repeat(3));
        assert!(!kernel.gso());
        // The train, its refusal, and each of the two others in one call.
        assert_eq!(kernel.calls, 4);
        kernel.send(&[train()]).unwrap();
        assert_eq!(kernel.taken.len(), 13);
        assert_eq!(kernel.counters.snapshot(0).gso_fallbacks, 1);
    }
}

#[test]
fn blocked_in_the_middle_of_a_split_train_says_how_far_it_came() {
    let mut kernel = Script::new(&[Err(libc::EIO), Ok(3), Err(libc::EAGAIN)]);
    let sent = kernel.send(&[train(); 2]).unwrap();
    let expected = Sent { partial: 30, datagrams: 3, blocked: true, ..Sent::default() };
    assert_eq!(sent, expected);
    assert!(!kernel.gso());
    let rest = Transmit { data: &DATA[sent.partial..], ..train() };
    let sent = kernel.send(&[rest, train()]).unwrap();
    assert_eq!(sent, Sent { trains: 2, datagrams: 5, ..Sent::default() });
    assert_eq!(kernel.taken.concat(), DATA.repeat(2));
}

#[test]
fn blocked_before_the_first_datagram_proves_nothing_about_gso() {
    let mut kernel = Script::new(&[Err(libc::EIO), Err(libc::EAGAIN)]);
    let sent = kernel.send(&[train()]).unwrap();
    assert_eq!(sent, Sent { blocked: true, ..Sent::default() });
    assert!(kernel.gso());
}

#[test]
fn einval_of_single_datagrams_too_is_not_about_gso() {
    let mut kernel = Script::new(&[Err(libc::EINVAL), Err(libc::EINVAL)]);
    let sent = kernel.send(&[train(); 2]).unwrap();
    assert_eq!(sent.errors.as_slice(), [(0, TrainError::Soft(libc::EINVAL))]);
    assert_eq!((sent.trains, sent.datagrams), (2, 4));
    assert!(kernel.gso());
    // An old kernel's EINVAL to segments beyond the MTU.
    let mut kernel = Script::new(&[Err(libc::EINVAL), Err(libc::EMSGSIZE)]);
    let sent = kernel.send(&[train()]).unwrap();
    assert_eq!(sent.errors.as_slice(), [(0, TrainError::TooLarge)]);
    assert!(kernel.gso());
}

#[test]
fn soft_errors_cost_their_train_only() {
    for code in [libc::EPERM, libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EADDRNOTAVAIL] {
        let mut kernel = Script::new(&[Err(code), Ok(1), Err(code)]);
        let sent = kernel.send(&[train(); 4]).unwrap();
        let soft = TrainError::Soft(code);
        assert_eq!(sent.errors.as_slice(), [(0, soft), (2, soft)]);
        assert_eq!((sent.trains, sent.datagrams), (4, 8));
        assert_eq!(kernel.counters.snapshot(0).soft_errors, 2);
    }
    // All of a full batch may fail.
    let mut kernel = Script::new(&[Err(libc::EPERM); MAX_TRAINS]);
    let sent = kernel.send(&[train(); MAX_TRAINS]).unwrap();
    assert_eq!((sent.trains, sent.errors.len()), (MAX_TRAINS, MAX_TRAINS));
}

/// ICMP messages can be forged: what they say about the size must not count as the system's word.
#[test]
fn more_is_forgiven_where_errors_are_reported() {
    for code in [libc::EMSGSIZE, libc::EHOSTUNREACH, libc::ENETUNREACH, libc::EACCES] {
        let mut kernel = Script { reports: true, ..Script::new(&[Err(code)]) };
        assert_eq!(kernel.send(&[train()]).unwrap().datagrams, 4);
        let mut kernel = Script::new(&[Err(code)]);
        assert_eq!(kernel.send(&[train()]).unwrap().errors.len(), 1);
    }
}

#[test]
fn echoes_of_icmp_are_forgiven_but_not_for_ever() {
    let mut kernel = Script::new(&[Err(libc::ECONNREFUSED), Err(libc::EHOSTDOWN)]);
    assert_eq!(kernel.send(&[train()]).unwrap().datagrams, 4);
    assert_eq!(kernel.counters.snapshot(0).soft_errors, 2);
    let mut kernel = Script::new(&[Err(libc::ECONNREFUSED); 9]);
    let sent = kernel.send(&[train(); 2]).unwrap();
    assert_eq!(sent.errors.as_slice(), [(0, TrainError::Soft(libc::ECONNREFUSED))]);
    assert_eq!((kernel.calls, sent.datagrams), (10, 4));
}

#[test]
fn a_dead_socket_is_an_error() {
    for code in [libc::EBADF, libc::ENOTSOCK, libc::EFAULT] {
        let error = Script::new(&[Err(code)]).send(&[train()]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(code));
    }
}

#[test]
fn the_longest_train_splits_in_one_call() {
    let data = [7; MAX_SEGMENTS];
    let mut kernel = Script::new(&[]);
    kernel.gso.store(false, Relaxed);
    let sent = kernel.send(&[Transmit { segment_size: 1, data: &data, ..train() }]).unwrap();
    assert_eq!((sent.datagrams, kernel.calls), (MAX_SEGMENTS, 1));
}
