//! Buffers on loan to the kernel (`MSG_ZEROCOPY`), and the way back through the error queue.
//!
//! The kernel numbers the calls that it takes, from 0, and tells when it has done with the buffers of
//! numbers so-and-so. Nobody can ask it for the next number, so each call here is one message:
//! `sendmmsg` would hide that the message behind the last it took was given a number, too, before it
//! failed on its way down. Where a call fails, that number tells: the packets are dropped before the
//! call returns, and the notification waits already. Where it does not wait, the number is in doubt (a
//! part of the train may be on its way), and nothing more is lent: a wrong count would give a buffer
//! back too early.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::is_from_icmp;
use super::syscall::Message;
use crate::udp::buffer::Loan;
use crate::udp::stats::Counters;
use crate::udp::{Buffer, Refusal};

/// Trains of a socket on loan at a time. The kernel charges each with about 1 KiB of `optmem_max`, whose
/// default was 20 KiB until Linux 6.7.
pub const MAX_LOANS: usize = 16;

/// Shorter trains are copied: that costs less than to find the pages and to be told. Measured with a
/// device that throws packets away: 18 and 32 KB cost 8 % more on loan, 64 KB 9 % less.
pub const MIN_LOAN: usize = 48 << 10;

/// So many loans, one after another, of which the kernel made copies all the same, show that lending
/// is of no use here.
pub const COPIED_IN_A_ROW: usize = 16;

/// Trains that are copied before lending is tried again, after it was of no use or refused.
pub const REST: usize = 4096;

/// What the socket's error queue said, and what it is still to say. One call at a time.
#[derive(Debug, Default)]
pub struct ErrorQueue(Mutex<Queue>);

#[derive(Debug, Default)]
pub struct Queue {
    /// Not asked for yet, at most [`MAX_REFUSALS`](crate::udp::MAX_REFUSALS).
    pub refusals: Vec<Refusal>,
    pub ledger: Ledger,
}

impl ErrorQueue {
    pub fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is on loan, by number. What is still there when the socket closes counts as lost.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The number of the first of `loans`.
    first: u32,
    /// `None`: given back, or a call that failed.
    loans: VecDeque<Option<Loan>>,
    /// Loans of which copies were made, one after another.
    copied: usize,
    /// Trains to copy before the next loan.
    rest: usize,
    /// Whether the number of the next call is in doubt.
    doubtful: bool,
}

impl Ledger {
    /// Whether it is known which number the next call gets; if not, nothing is lent any more.
    pub fn is_certain(&self) -> bool {
        !self.doubtful
    }

    #[cfg(test)]
    pub fn starting_at(first: u32) -> Self {
        Self { first, ..Self::default() }
    }

    #[cfg(test)]
    pub fn stop_resting(&mut self) {
        self.rest = 0;
    }

    /// The number of the next call.
    fn next(&self) -> u32 {
        self.first.wrapping_add(self.loans.len() as u32)
    }

    /// Whether the first of so many trains may be lent; if not, all of them are copied.
    fn admits(&mut self, trains: usize) -> bool {
        if self.rest > 0 {
            self.rest = self.rest.saturating_sub(trains);
            return false;
        }
        !self.doubtful && self.loans.len() < MAX_LOANS
    }

    fn lend(&mut self, buffer: &Buffer) {
        self.loans.push_back(Some(buffer.lend()));
    }

    /// The kernel has done with the calls `first` to `last`; answers how many buffers that were.
    pub fn give_back(&mut self, first: u32, last: u32, copied: bool) -> usize {
        let among = |number: u32| number.wrapping_sub(first) <= last.wrapping_sub(first);
        // Of a call that failed after it got its number.
        if among(self.next()) {
            self.loans.push_back(None);
        }
        let mut returned = 0;
        for (at, loan) in self.loans.iter_mut().enumerate() {
            if among(self.first.wrapping_add(at as u32))
                && let Some(loan) = loan.take()
            {
                loan.give_back();
                returned += 1;
            }
        }
        while let Some(None) = self.loans.front() {
            self.loans.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        self.copied = if copied { self.copied + returned } else { 0 };
        if self.copied >= COPIED_IN_A_ROW {
            self.copied = 0;
            self.rest = REST;
        }
        returned
    }
}

/// The system calls, or a test's script.
pub trait Kernel {
    /// `sendmmsg`.
    fn copy(&self, messages: &[Message<'_>]) -> io::Result<usize>;
    /// `sendmsg` with `MSG_ZEROCOPY`.
    fn lend(&self, message: &Message<'_>) -> io::Result<()>;
    /// Reads the error queue.
    fn read(&self, queue: &mut Queue);
}

/// The buffer of a message that may be lent, and is worth it.
fn lendable<'a>(message: &Message<'a>) -> Option<&'a Buffer> {
    if message.data.len() >= MIN_LOAN { message.buffer } else { None }
}

/// Sends the first of `messages`, or more, and says how many left; an error is that of the first.
pub fn send(
    kernel: &impl Kernel,
    queue: &mut Queue,
    messages: &[Message<'_>],
    reports: bool,
    counters: &Counters,
) -> io::Result<usize> {
    let short = messages.iter().take_while(|message| lendable(message).is_none()).count();
    let Some((message, buffer)) = messages.first().and_then(|m| Some((m, lendable(m)?))) else {
        return kernel.copy(&messages[..short]);
    };
    if queue.ledger.loans.len() >= MAX_LOANS {
        kernel.read(queue);
    }
    if !queue.ledger.admits(messages.len()) {
        return kernel.copy(messages);
    }
    match kernel.lend(message) {
        Ok(()) => {
            queue.ledger.lend(buffer);
            Counters::add(&counters.zerocopy_sends, 1);
            Ok(1)
        }
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => Err(error),
            code => {
                Counters::add(&counters.zerocopy_fallbacks, 1);
                after_refusal(kernel, queue, code.unwrap_or_default(), reports);
                // What this call says is true of the train, not of lending.
                kernel.copy(&messages[..1])
            }
        },
    }
}

/// Finds out whether a call that failed was given a number.
fn after_refusal(kernel: &impl Kernel, queue: &mut Queue, code: i32, reports: bool) {
    // What earlier datagrams met is told before anything else happens.
    if is_from_icmp(code, false) {
        return;
    }
    queue.ledger.rest = REST;
    // No memory for the notification, or to pin pages: early as well. But sockets that report errors
    // get the same from a full queue of the interface, far behind.
    if code == libc::ENOBUFS && !reports {
        return;
    }
    let expected = queue.ledger.next();
    kernel.read(queue);
    queue.ledger.doubtful |= queue.ledger.next() == expected;
}
