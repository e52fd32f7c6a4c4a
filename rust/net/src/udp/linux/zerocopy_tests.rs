//! Loans: against a script of what a kernel may answer, and on real sockets.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use super::cmsg::{Control, Name};
use super::syscall::Message;
use super::zerocopy::{COPIED_IN_A_ROW, Kernel, MAX_LOANS, MIN_LOAN, Queue, REST, send};
use crate::os::{Events, Interest, Poller};
use crate::udp::stats::Counters;
use crate::udp::{Buffer, RecvBatch, Sent, SocketOptions, Stats, Transmit, UdpSocket};

/// A kernel that lends as the script says, then takes everything; it copies whatever it is given.
struct Script {
    lend: RefCell<VecDeque<Result<(), i32>>>,
    /// What the error queue says the next time: first, last, copied.
    told: RefCell<Vec<(u32, u32, bool)>>,
    lent: Cell<usize>,
    copied: Cell<usize>,
    counters: Counters,
    queue: RefCell<Queue>,
    buffers: Vec<Buffer>,
}

impl Kernel for Script {
    fn copy(&self, messages: &[Message<'_>]) -> io::Result<usize> {
        self.copied.set(self.copied.get() + messages.len());
        Ok(messages.len())
    }

    fn lend(&self, _: &Message<'_>) -> io::Result<()> {
        let answer = self.lend.borrow_mut().pop_front().unwrap_or(Ok(()));
        answer.map_err(io::Error::from_raw_os_error)?;
        self.lent.set(self.lent.get() + 1);
        Ok(())
    }

    fn read(&self, queue: &mut Queue) {
        for (first, last, copied) in self.told.take() {
            queue.ledger.give_back(first, last, copied);
        }
    }
}

impl Script {
    fn new(lend: &[Result<(), i32>]) -> Self {
        Self {
            lend: RefCell::new(lend.iter().copied().collect()),
            told: RefCell::default(),
            lent: Cell::new(0),
            copied: Cell::new(0),
            counters: Counters::default(),
            queue: RefCell::default(),
            buffers: (0..2 * MAX_LOANS).map(|_| Buffer::new(MIN_LOAN).unwrap()).collect(),
        }
    }

    /// Sends the buffers of these places, the way `Sender` does.
    fn send_to(&self, places: &[usize], reports: bool) -> io::Result<usize> {
        let name = Name::new(SocketAddr::from(([127, 0, 0, 1], 9)), false);
        let control = Control::EMPTY;
        let message = |&at: &usize| {
            let buffer = &self.buffers[at];
            Message { name: &name, control: &control, data: buffer, buffer: Some(buffer) }
        };
        let messages: Vec<Message<'_>> = places.iter().map(message).collect();
        let mut sent = 0;
        while sent < messages.len() {
            let mut queue = self.queue.borrow_mut();
            sent += send(self, &mut queue, &messages[sent..], reports, &self.counters)?;
        }
        Ok(sent)
    }

    fn send(&self, places: &[usize]) {
        assert_eq!(self.send_to(places, false).unwrap(), places.len());
    }

    fn tell(&self, first: u32, last: u32, copied: bool) {
        self.told.borrow_mut().push((first, last, copied));
        self.read(&mut self.queue.borrow_mut());
    }

    /// The places of buffers that are on loan.
    fn on_loan(&self) -> Vec<usize> {
        (0..self.buffers.len()).filter(|&at| self.buffers[at].is_lent()).collect()
    }

    fn stats(&self) -> Stats {
        self.counters.snapshot(0)
    }
}

#[test]
fn buffers_come_back_by_number_in_any_order_and_several_at_once() {
    let kernel = Script::new(&[]);
    kernel.send(&[0, 1, 2, 3, 4]);
    assert_eq!((kernel.lent.get(), kernel.stats().zerocopy_sends), (5, 5));
    kernel.tell(3, 3, false);
    assert_eq!(kernel.on_loan(), [0, 1, 2, 4]);
    kernel.tell(0, 1, false);
    assert_eq!(kernel.on_loan(), [2, 4]);
    kernel.send(&[0, 1]);
    kernel.tell(2, 5, false);
    assert_eq!(kernel.on_loan(), [1]);
    // Told again, and of numbers that were never given.
    kernel.tell(0, 5, false);
    kernel.tell(100, 200, false);
    assert_eq!(kernel.on_loan(), [1]);
    kernel.tell(6, 6, false);
    assert!(kernel.on_loan().is_empty());
}

#[test]
fn one_buffer_may_be_lent_several_times() {
    let kernel = Script::new(&[]);
    kernel.send(&[0, 0, 0]);
    kernel.tell(0, 1, false);
    assert_eq!(kernel.on_loan(), [0]);
    kernel.tell(2, 2, false);
    assert!(kernel.on_loan().is_empty());
}

#[test]
fn loans_are_bounded_and_the_rest_is_copied() {
    let kernel = Script::new(&[]);
    let all: Vec<usize> = (0..MAX_LOANS + 4).collect();
    kernel.send(&all);
    assert_eq!((kernel.lent.get(), kernel.copied.get()), (MAX_LOANS, 4));
    // What came back in the meantime is seen without being asked.
    kernel.told.borrow_mut().push((0, 1, false));
    kernel.send(&[20, 21, 22]);
    assert_eq!((kernel.lent.get(), kernel.copied.get()), (MAX_LOANS + 2, 5));
}

#[test]
fn short_trains_are_copied_together() {
    let kernel = Script::new(&[]);
    let name = Name::new(SocketAddr::from(([127, 0, 0, 1], 9)), false);
    let buffer = &kernel.buffers[0];
    let message = |data, buffer| Message { name: &name, control: &Control::EMPTY, data, buffer };
    let (short, long) = (&buffer[1..], &buffer[..]);
    let messages = [message(short, Some(buffer)), message(long, None), message(long, Some(buffer))];
    let mut queue = kernel.queue.borrow_mut();
    let mut call = |messages| send(&kernel, &mut queue, messages, false, &kernel.counters).unwrap();
    assert_eq!((call(&messages), call(&messages[2..]), call(&[])), (2, 1, 0));
    assert_eq!((kernel.lent.get(), kernel.copied.get()), (1, 2));
}

#[test]
fn a_kernel_without_memory_for_it_copies_for_a_while() {
    let kernel = Script::new(&[Ok(()), Err(libc::ENOBUFS)]);
    kernel.send(&[0, 1, 2]);
    assert_eq!((kernel.lent.get(), kernel.copied.get()), (1, 2));
    assert_eq!(kernel.stats().zerocopy_fallbacks, 1);
    for _ in 0..REST / 2 {
        kernel.send(&[3, 4]);
    }
    kernel.tell(0, 0, false);
    kernel.send(&[5]);
    assert_eq!(kernel.on_loan(), [5]);
    // The call that failed had no number.
    kernel.tell(1, 1, false);
    assert!(kernel.on_loan().is_empty());
}

#[test]
fn a_full_socket_is_full() {
    for code in [libc::EAGAIN, libc::EINTR] {
        let kernel = Script::new(&[Ok(()), Err(code)]);
        let error = kernel.send_to(&[0, 1], true).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(code));
        assert_eq!((kernel.copied.get(), kernel.stats().zerocopy_fallbacks), (0, 0));
        kernel.send(&[1]);
        kernel.tell(1, 1, false);
        assert_eq!(kernel.on_loan(), [0]);
    }
}

#[test]
fn a_call_that_failed_late_has_a_number() {
    for (code, reports) in [(libc::EPERM, false), (libc::EINVAL, false), (libc::ENOBUFS, true)] {
        let kernel = Script::new(&[Ok(()), Err(code)]);
        kernel.told.borrow_mut().push((1, 1, false));
        kernel.send_to(&[0, 1], reports).unwrap();
        assert_eq!((kernel.on_loan(), kernel.copied.get()), (vec![0], 1));
        kernel.queue.borrow_mut().ledger.give_back(0, 0, false);
        for _ in 0..REST {
            kernel.send(&[2]);
        }
        kernel.send(&[3]);
        kernel.tell(1, 1, false);
        assert_eq!(kernel.on_loan(), [3], "its number is 2");
        kernel.tell(2, 2, false);
        assert!(kernel.on_loan().is_empty());
        assert!(kernel.queue.borrow().ledger.is_certain());
    }
}

#[test]
fn nothing_is_lent_after_the_count_was_lost() {
    for (code, reports) in [(libc::EPERM, false), (libc::ENETDOWN, true), (libc::ENOBUFS, true)] {
        let kernel = Script::new(&[Ok(()), Ok(()), Err(code)]);
        kernel.send_to(&[0, 1, 2], reports).unwrap();
        assert!(!kernel.queue.borrow().ledger.is_certain());
        for _ in 0..=REST {
            kernel.send(&[3]);
        }
        assert_eq!(kernel.lent.get(), 2);
        // What was lent before comes back all the same; the number in doubt, too, or never.
        kernel.tell(0, 0, false);
        assert_eq!(kernel.on_loan(), [1]);
        kernel.tell(1, 2, false);
        assert!(kernel.on_loan().is_empty());
    }
}

#[test]
fn echoes_of_icmp_are_not_about_the_loan() {
    let kernel = Script::new(&[Err(libc::ECONNREFUSED)]);
    kernel.send_to(&[0, 1], true).unwrap();
    assert_eq!((kernel.on_loan(), kernel.copied.get()), (vec![1], 1));
    assert!(kernel.queue.borrow().ledger.is_certain());
}

#[test]
fn where_the_kernel_copies_anyway_lending_rests() {
    let kernel = Script::new(&[]);
    for n in 0..COPIED_IN_A_ROW as u32 {
        kernel.send(&[0]);
        kernel.tell(n, n, true);
    }
    let lent = kernel.lent.get();
    for _ in 0..REST {
        kernel.send(&[0]);
    }
    assert_eq!((kernel.lent.get(), kernel.copied.get()), (lent, REST));
    // Tried again; one that is not copied shows that it is of use.
    for n in 0..2 * COPIED_IN_A_ROW as u32 {
        kernel.send(&[0]);
        let number = COPIED_IN_A_ROW as u32 + n;
        kernel.tell(number, number, n % 8 != 0);
    }
    assert_eq!(kernel.lent.get(), lent + 2 * COPIED_IN_A_ROW);
}

#[test]
fn numbers_begin_again_after_the_last() {
    let kernel = Script::new(&[]);
    let mut queue = kernel.queue.borrow_mut();
    queue.ledger = super::zerocopy::Ledger::starting_at(u32::MAX - 1);
    drop(queue);
    kernel.send(&[0, 1, 2, 3]);
    kernel.tell(u32::MAX, 0, false);
    assert_eq!(kernel.on_loan(), [0, 3]);
    kernel.tell(u32::MAX - 1, 1, false);
    assert!(kernel.on_loan().is_empty());
}

// From here on, real sockets. Loopback makes a copy when the datagram is received, and says so.

const SEGMENT: usize = 1400;
const TRAIN: usize = 40 * SEGMENT;

fn bind(addr: &str, options: &SocketOptions) -> UdpSocket {
    UdpSocket::bind(addr.parse().unwrap(), options).unwrap()
}

fn lending() -> SocketOptions {
    SocketOptions { zerocopy: true, ..SocketOptions::default() }
}

fn train(remote: SocketAddr, buffer: &Buffer) -> Transmit<'_> {
    let data = &buffer[..TRAIN];
    Transmit {
        remote,
        local_ip: None,
        ecn: None,
        segment_size: SEGMENT,
        data,
        buffer: Some(buffer),
    }
}

fn filled(byte: u8) -> Buffer {
    let mut buffer = Buffer::new(1 << 16).unwrap();
    buffer.writable().unwrap().fill(byte);
    buffer
}

fn all_sent(socket: &UdpSocket, batch: &[Transmit<'_>]) {
    let datagrams = batch.iter().map(Transmit::datagrams).sum();
    let expected = Sent { trains: batch.len(), datagrams, ..Sent::default() };
    assert_eq!(socket.send(batch).unwrap(), expected);
}

/// Waits until the kernel says something about what was sent, and reads it.
fn take_back(socket: &UdpSocket, buffers: &[Buffer]) {
    let mut poller = Poller::new().unwrap();
    poller.add(socket, 1, Interest::Readable).unwrap();
    let mut events = Events::with_capacity(2);
    while buffers.iter().any(Buffer::is_lent) {
        poller.wait(&mut events, None).unwrap();
        assert!(events.iter().all(|event| event.error && !event.writable));
        assert!(socket.take_refusals().is_empty());
    }
}

/// Every byte that comes, in order.
fn receive(socket: &UdpSocket, len: usize) -> Vec<u8> {
    let (mut poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(2));
    poller.add(socket, 1, Interest::Readable).unwrap();
    let (mut batch, mut got) = (RecvBatch::default(), Vec::new());
    while got.len() < len {
        while socket.recv(&mut batch).unwrap() > 0 {
            batch.slots().for_each(|slot| got.extend_from_slice(slot.data));
        }
        if got.len() < len {
            poller.wait(&mut events, None).unwrap();
        }
    }
    got
}

#[test]
fn what_is_lent_arrives_and_comes_back() {
    for (any, ip) in
        [("0.0.0.0:0", "127.0.0.1:0"), ("[::]:0", "[::1]:0"), ("[::]:0", "127.0.0.1:0")]
    {
        let (a, b) = (bind(any, &lending()), bind(ip, &SocketOptions::default()));
        assert!(a.capabilities().zerocopy && !b.capabilities().zerocopy);
        let buffers = [filled(1), filled(2), filled(3)];
        let batch: Vec<_> = buffers.iter().map(|buffer| train(b.local_addr(), buffer)).collect();
        for round in 1..=3 {
            all_sent(&a, &batch);
            assert!(buffers.iter().all(Buffer::is_lent), "until the error queue was read");
            let got = receive(&b, 3 * TRAIN);
            let expected: Vec<u8> = (1..=3).flat_map(|byte| [byte; TRAIN]).collect();
            assert!(got == expected);
            take_back(&a, &buffers);
            assert_eq!(
                (a.stats().zerocopy_sends, a.stats().zerocopy_copied),
                (3 * round, 3 * round)
            );
        }
        assert_eq!(a.stats().zerocopy_fallbacks, 0);
    }
}

#[test]
fn nothing_is_lent_unless_wished() {
    let (a, b) = (bind("127.0.0.1:0", &SocketOptions::default()), bind("127.0.0.1:0", &lending()));
    let buffer = filled(1);
    all_sent(&a, &[train(b.local_addr(), &buffer)]);
    assert!(!buffer.is_lent());
    // Nor what lies elsewhere.
    let other = filled(2);
    let elsewhere = Transmit { buffer: Some(&other), ..train(a.local_addr(), &buffer) };
    all_sent(&b, &[elsewhere, Transmit { buffer: None, ..elsewhere }]);
    assert!(!buffer.is_lent() && !other.is_lent());
    assert_eq!((a.stats().zerocopy_sends, b.stats().zerocopy_sends), (0, 0));
}

#[test]
fn a_socket_that_closes_with_loans_gives_nothing_back() {
    let (a, b) = (bind("127.0.0.1:0", &lending()), bind("127.0.0.1:0", &SocketOptions::default()));
    let mut buffer = filled(1);
    all_sent(&a, &[train(b.local_addr(), &buffer)]);
    assert!(buffer.is_lent() && buffer.writable().is_none());
    drop(a);
    assert!(!buffer.is_lent());
    let other = buffer.writable().unwrap();
    assert!(other.iter().all(|&byte| byte == 0), "memory that the kernel does not read");
    other.fill(2);
    assert!(receive(&b, TRAIN).iter().all(|&byte| byte == 1));
}

#[test]
fn the_error_queue_is_shared_with_icmp() {
    let options = SocketOptions { report_errors: true, ..lending() };
    let a = bind("127.0.0.1:0", &options);
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let open = bind("127.0.0.1:0", &SocketOptions::default());
    let buffers: Vec<Buffer> = (0..4).map(filled).collect();
    let mut refusals = 0;
    let (mut poller, mut events) = (Poller::new().unwrap(), Events::with_capacity(2));
    poller.add(&a, 1, Interest::Readable).unwrap();
    for round in 0..10 {
        let to = |at: usize| if at.is_multiple_of(2) { closed } else { open.local_addr() };
        for (at, buffer) in buffers.iter().enumerate() {
            all_sent(&a, &[train(to(at), buffer)]);
        }
        while buffers.iter().any(Buffer::is_lent) || refusals <= round {
            poller.wait(&mut events, None).unwrap();
            for refusal in a.take_refusals() {
                assert_eq!(refusal.remote, closed);
                assert!(refusal.quote.iter().all(|&byte| byte == 0 || byte == 2));
                refusals += 1;
            }
        }
        assert!(receive(&open, 2 * TRAIN).iter().all(|&byte| byte == 1 || byte == 3));
    }
    assert!(a.capabilities().zerocopy, "the count was kept");
}

#[test]
fn a_train_that_the_kernel_drops_late_keeps_the_count() {
    let (a, b) = (bind("127.0.0.1:0", &lending()), bind("127.0.0.1:0", &SocketOptions::default()));
    let buffer = filled(1);
    let name = Name::new(b.local_addr(), false);
    // More segments than the kernel cuts: it finds out when the packet, and its number, are made.
    let mut control = Control::EMPTY;
    control.segment_size(10);
    let data = &buffer[..TRAIN];
    let message = Message { name: &name, control: &control, data, buffer: Some(&buffer) };
    let mut queue = a.queue.lock();
    let error = send(&a, &mut queue, &[message], false, &a.counters).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    assert!(queue.ledger.is_certain() && !buffer.is_lent());
    queue.ledger.stop_resting();
    drop(queue);
    all_sent(&a, &[train(b.local_addr(), &buffer)]);
    assert!(buffer.is_lent());
    take_back(&a, std::slice::from_ref(&buffer));
    assert_eq!((a.stats().zerocopy_sends, a.stats().zerocopy_fallbacks), (1, 1));
}

#[test]
fn many_loans_are_told_of_at_once() {
    let (a, b) = (bind("127.0.0.1:0", &lending()), bind("127.0.0.1:0", &SocketOptions::default()));
    let buffers: Vec<Buffer> = (0..MAX_LOANS as u8).map(filled).collect();
    for (byte, buffer) in buffers.iter().enumerate() {
        all_sent(&a, &[train(b.local_addr(), buffer)]);
        assert!(receive(&b, TRAIN).iter().all(|&got| usize::from(got) == byte));
    }
    assert_eq!(a.stats().zerocopy_sends, MAX_LOANS as u64);
    assert!(buffers.iter().all(Buffer::is_lent));
    // They follow each other: one message for all.
    let mut queue = a.queue.lock();
    Kernel::read(&a, &mut queue);
    drop(queue);
    assert!(!buffers.iter().any(Buffer::is_lent));
}
