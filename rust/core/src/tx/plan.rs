//! Decides what is sent next.

use crate::connection::{Connection, State};
use crate::path::{Ecn, FourTuple};
use crate::time::Instant;
use crate::trace::{Event, Mask, Reason};

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
        self.observe(now);
        let transmit = match &self.state {
            State::Handshaking | State::Established => self.transmit_open(now, buf),
            State::Closing(closing) if closing.send.is_some() => self.transmit_close(now, buf),
            _ => None,
        }?;
        self.stats.trains_sent += 1;
        self.stats.datagrams_sent += transmit.len.div_ceil(transmit.segment.max(1)) as u64;
        self.stats.bytes_sent += transmit.len as u64;
        if self.events.trace.wants(Mask::DATAGRAMS_SENT) {
            let Transmit { ecn, segment, len, .. } = transmit;
            self.events.trace.tell(now, &Event::DatagramsSent { len, segment, ecn });
        }
        Some(transmit)
    }

    fn transmit_open(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        self.timers.pacing = None;
        if self.paths.len() == 1 {
            return self.transmit_on(now, 0, Reason::Only, buf);
        }
        let (order, reason) = self.order_paths(now);
        if self.is_redundant() {
            return self.transmit_redundant(now, &order, buf);
        }
        if let Some(other) = self.reinject_late(now, &order)
            && let Some(sent) = self.transmit_on(now, other, Reason::Reinjected, buf)
        {
            return Some(sent);
        }
        for (place, path) in order.iter().enumerate() {
            let reason = if place == 0 { reason } else { Reason::Spill };
            if let Some(sent) = self.transmit_on(now, *path, reason, buf) {
                return Some(sent);
            }
        }
        let idle = self.reinject(now, &order)?;
        self.transmit_on(now, idle, Reason::Reinjected, buf)
    }

    /// Whatever is to be sent on this path; `reason` says why it is asked.
    pub(crate) fn transmit_on(
        &mut self,
        now: Instant,
        path: usize,
        reason: Reason,
        buf: &mut [u8],
    ) -> Option<Transmit> {
        let sent = self
            .transmit_off_path(now, path, buf)
            .or_else(|| self.transmit_coalesced(now, path, buf))
            // Before the data, which may fill the window for as long as there is any.
            .or_else(|| self.transmit_mtu_probe(now, path, buf))
            .or_else(|| self.transmit_train(now, path, buf))?;
        self.paths[path].bytes_sent += sent.len as u64;
        if self.events.trace.wants(Mask::SCHEDULER_DECISION) {
            let (path, candidates) = (self.paths[path].id, self.paths.len() as u32);
            let decision = Event::SchedulerDecision { path, candidates, reason, bytes: sent.len };
            self.events.trace.tell(now, &decision);
        }
        Some(sent)
    }
}
