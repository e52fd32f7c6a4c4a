//! `recvmmsg` into pooled slots.

use std::io;

use arrayvec::ArrayVec;

use super::syscall::Envelope;
use super::{MAX_ICMP_RETRIES, is_from_icmp};
use crate::udp::stats::Counters;
use crate::udp::{DEFAULT_SLOTS, MAX_SLOTS, Meta, SLOT_SIZE, Slot};

/// Receive slots of [`SLOT_SIZE`] bytes each, used again by every call.
pub struct RecvBatch {
    buffer: Box<[u8]>,
    envelopes: Box<[Envelope]>,
    filled: ArrayVec<Meta, MAX_SLOTS>,
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self::new(DEFAULT_SLOTS)
    }
}

impl RecvBatch {
    /// `slots` slots, at least 1 and at most [`MAX_SLOTS`].
    pub fn new(slots: usize) -> Self {
        let slots = slots.clamp(1, MAX_SLOTS);
        Self {
            buffer: vec![0; slots * SLOT_SIZE].into(),
            envelopes: vec![Envelope::EMPTY; slots].into(),
            filled: ArrayVec::new(),
        }
    }

    /// Number of slots.
    pub fn capacity(&self) -> usize {
        self.envelopes.len()
    }

    /// What the last call received, in the order of arrival.
    pub fn slots(&mut self) -> impl Iterator<Item = Slot<'_>> {
        let slots = self.buffer.chunks_exact_mut(SLOT_SIZE);
        self.filled.iter().zip(slots).filter_map(|(meta, bytes)| meta.slot(bytes))
    }
}

/// Fills `batch`. `kernel` is `recvmmsg`, or a test's script of what it might answer.
pub fn recv(
    mut kernel: impl FnMut(&mut [u8], &mut [Envelope]) -> io::Result<usize>,
    batch: &mut RecvBatch,
    reports: bool,
    counters: &Counters,
) -> io::Result<usize> {
    batch.filled.clear();
    let mut forgiven = 0;
    let count = loop {
        let error = match kernel(&mut batch.buffer, &mut batch.envelopes) {
            Ok(count) => break count,
            Err(error) => error,
        };
        match error.raw_os_error() {
            Some(libc::EAGAIN) => return Ok(0),
            Some(libc::EINTR) => {}
            Some(code) if is_from_icmp(code, reports) && forgiven < MAX_ICMP_RETRIES => {
                Counters::add(&counters.soft_errors, 1);
                forgiven += 1;
            }
            _ => {
                Counters::add(&counters.soft_errors, 1);
                return Err(error);
            }
        }
    };
    if count == 0 {
        return Ok(0);
    }
    let mut datagrams = 0;
    for envelope in batch.envelopes.iter().take(count) {
        let meta = open(envelope);
        if meta.stride == 0 {
            Counters::add(&counters.soft_errors, 1);
        }
        datagrams += meta.datagrams();
        batch.filled.push(meta);
    }
    Counters::add(&counters.recv_calls, 1);
    Counters::add(&counters.recv_datagrams, datagrams);
    Ok(count)
}

/// What the envelope says. A message that did not fit is no message (its stride may be missing),
/// neither is an empty datagram: length and stride 0.
fn open(envelope: &Envelope) -> Meta {
    let from = envelope.name.addr().filter(|_| !envelope.truncated);
    let (remote, len) = match from {
        Some(remote) => (remote, envelope.len),
        None => (([0, 0, 0, 0], 0).into(), 0),
    };
    let said = envelope.control.parse();
    Meta {
        remote,
        local_ip: said.local_ip,
        ecn: said.ecn,
        stride: said.stride.unwrap_or(len).min(len),
        interface: said.interface,
        len,
    }
}
