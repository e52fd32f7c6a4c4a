//! `recvmmsg` into pooled slots.

use std::io;

use arrayvec::ArrayVec;

use super::syscall::Envelope;
use super::{MAX_ICMP_RETRIES, is_from_icmp};
use crate::udp::stats::Counters;
use crate::udp::{Arrived, DEFAULT_SLOTS, MAX_SEGMENTS, MAX_SLOTS, Meta, SLOT_SIZE, Slot};

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

    /// Empties all slots.
    pub(crate) fn clear(&mut self) {
        self.filled.clear();
    }

    /// Puts a datagram behind the others of its train, if it continues one, or into a slot of its
    /// own; false if there is none. What is empty or too large for a slot is dropped.
    pub(crate) fn push(&mut self, datagram: &Arrived<'_>) -> bool {
        let len = datagram.payload.len();
        if !(1..=SLOT_SIZE).contains(&len) {
            return true;
        }
        let continued = self.filled.last().is_some_and(|last| last.is_continued_by(datagram));
        if !continued {
            if self.filled.len() >= self.capacity() {
                return false;
            }
            self.filled.push(Meta {
                remote: datagram.remote,
                local_ip: Some(datagram.local.ip()),
                local_port: Some(datagram.local.port()),
                ecn: datagram.ecn,
                stride: len,
                interface: datagram.interface,
                len: 0,
            });
        }
        let slot = SLOT_SIZE * (self.filled.len() - 1);
        if let Some(meta) = self.filled.last_mut() {
            let start = slot + meta.len;
            self.buffer[start..start + len].copy_from_slice(datagram.payload);
            meta.len += len;
        }
        true
    }

    /// What the last call received, in the order of arrival.
    pub fn slots(&mut self) -> impl Iterator<Item = Slot<'_>> {
        let slots = self.buffer.chunks_exact_mut(SLOT_SIZE);
        self.filled.iter().zip(slots).filter_map(|(meta, bytes)| meta.slot(bytes))
    }
}

impl Meta {
    /// Whether a datagram fits behind those in the slot: the same ends, none longer, none behind a
    /// shorter one, and room for it.
    fn is_continued_by(&self, datagram: &Arrived<'_>) -> bool {
        let len = datagram.payload.len();
        self.remote == datagram.remote
            && self.local_ip == Some(datagram.local.ip())
            && self.local_port == Some(datagram.local.port())
            && self.ecn == datagram.ecn
            && len <= self.stride
            && self.len.is_multiple_of(self.stride)
            && self.len + len <= SLOT_SIZE
            && self.datagrams() < MAX_SEGMENTS
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
        local_port: None,
        ecn: said.ecn,
        stride: said.stride.unwrap_or(len).min(len),
        interface: said.interface,
        len,
    }
}
