//! Decides what is sent next.

use crate::connection::{Connection, State};
use crate::path::{Ecn, FourTuple};
use crate::time::Instant;

/// One GSO train in the caller's buffer: datagrams of `segment` bytes each, the last may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// From where to where.
    pub addresses: FourTuple,
    /// The mark for all of them.
    pub ecn: Option<Ecn>,
    /// Bytes of each datagram but the last.
    pub segment: usize,
    /// Bytes altogether.
    pub len: usize,
}

impl Connection {
    /// Writes the next train into `buf`, which should hold 64 KiB and must hold 1500 bytes. Call
    /// until `None`, after anything was received, written by the application, or timed out.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        let transmit = match &self.state {
            State::Handshaking | State::Established => self.transmit_open(now, buf),
            State::Closing(closing) if closing.send => self.transmit_close(now, buf),
            _ => None,
        }?;
        self.stats.trains_sent += 1;
        self.stats.datagrams_sent += transmit.len.div_ceil(transmit.segment.max(1)) as u64;
        self.stats.bytes_sent += transmit.len as u64;
        Some(transmit)
    }

    fn transmit_open(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        self.timers.pacing = None;
        if self.paths.len() == 1 {
            return self.transmit_on(now, 0, buf);
        }
        let order = self.order_paths();
        if let Some(sent) = order.iter().find_map(|path| self.transmit_on(now, *path, buf)) {
            return Some(sent);
        }
        let idle = self.reinject(now, &order)?;
        self.transmit_on(now, idle, buf)
    }

    fn transmit_on(&mut self, now: Instant, path: usize, buf: &mut [u8]) -> Option<Transmit> {
        let sent = self
            .transmit_off_path(now, path, buf)
            .or_else(|| self.transmit_coalesced(now, path, buf))
            .or_else(|| self.transmit_train(now, path, buf))
            .or_else(|| self.transmit_mtu_probe(now, path, buf))?;
        self.paths[path].bytes_sent += sent.len as u64;
        Some(sent)
    }
}
