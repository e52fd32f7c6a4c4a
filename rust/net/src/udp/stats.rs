//! Counters of a socket.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of a socket since it was bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// System calls that sent at least one datagram.
    pub send_calls: u64,
    /// Datagrams sent; a train counts each of its own.
    pub sent_datagrams: u64,
    /// System calls that returned data.
    pub recv_calls: u64,
    /// Datagrams received; a train counts each of its own.
    pub recv_datagrams: u64,
    /// Times the kernel refused GSO and took the same datagrams one by one (0 or 1: it is off
    /// afterwards).
    pub gso_fallbacks: u64,
    /// Trains whose buffers were lent to the kernel ([`SocketOptions::zerocopy`](super::SocketOptions::zerocopy)).
    pub zerocopy_sends: u64,
    /// Those of them that the kernel copied after all, where the way leads through software. It may report
    /// several at once by what became of the first.
    pub zerocopy_copied: u64,
    /// Times it refused to borrow (`ENOBUFS`, above all), and the train was sent with a copy.
    pub zerocopy_fallbacks: u64,
    /// Trains not sent ([`TrainError`](super::TrainError)), damaged receptions, calls that failed to
    /// receive, and errors that
    /// came from ICMP messages and were swallowed: anybody can forge those (RFC 9000 section 14.2.1).
    pub soft_errors: u64,
    /// Datagrams that the kernel dropped because the receive buffer was full; a coalesced train may
    /// count as one. 0 where the system does not tell.
    pub kernel_drops: u64,
}

/// The same, as the socket counts them. Relaxed: each is a statistic of its own.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub send_calls: AtomicU64,
    pub sent_datagrams: AtomicU64,
    pub recv_calls: AtomicU64,
    pub recv_datagrams: AtomicU64,
    pub gso_fallbacks: AtomicU64,
    pub zerocopy_sends: AtomicU64,
    pub zerocopy_copied: AtomicU64,
    pub zerocopy_fallbacks: AtomicU64,
    pub soft_errors: AtomicU64,
}

impl Counters {
    pub fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(n as u64, Relaxed);
    }

    pub fn snapshot(&self, kernel_drops: u64) -> Stats {
        Stats {
            send_calls: self.send_calls.load(Relaxed),
            sent_datagrams: self.sent_datagrams.load(Relaxed),
            recv_calls: self.recv_calls.load(Relaxed),
            recv_datagrams: self.recv_datagrams.load(Relaxed),
            gso_fallbacks: self.gso_fallbacks.load(Relaxed),
            zerocopy_sends: self.zerocopy_sends.load(Relaxed),
            zerocopy_copied: self.zerocopy_copied.load(Relaxed),
            zerocopy_fallbacks: self.zerocopy_fallbacks.load(Relaxed),
            soft_errors: self.soft_errors.load(Relaxed),
            kernel_drops,
        }
    }
}
