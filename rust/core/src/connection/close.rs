//! How connections end (RFC 9000 sections 10 and 11.1).

use std::borrow::Cow;
use std::net::SocketAddr;

use tquic_wire::{ResetToken, Side, TransportErrorCode};

use crate::connection::{Closing, Connection, State};
use crate::error::TransportError;
use crate::events::{ConnectionError, EndpointEvent, Event};
use crate::time::{Duration, Instant};

/// ICMP messages that it takes to believe them: one may be a leftover of whoever had the port
/// before.
const UNREACHABLE: u64 = 2;

/// Connections that are over are forgotten at multiples of this: one alarm for all that ended about
/// the same time, where a server with a thousand short connections a second would have a thousand.
const FORGET_GRAIN: Duration = Duration::from_millis(64);

impl Connection {
    /// Closes with an application error code and a reason for people. Data not yet acknowledged is
    /// given up; the peer is told at the next `poll_transmit`.
    pub fn close(&mut self, now: Instant, code: u64, reason: &[u8]) {
        // Long reasons would not fit one packet beside what must be in it.
        let reason = reason.get(..reason.len().min(256)).unwrap_or_default().to_vec();
        self.close_with(now, ConnectionError::LocalClose { code, reason });
    }

    pub(crate) fn close_with(&mut self, now: Instant, error: ConnectionError) {
        if !self.state.is_open() {
            return;
        }
        self.finish(error.clone());
        let until = self.forget_at(now);
        self.state =
            State::Closing(Closing { error, until, send: Some(0), received: 0, threshold: 1 });
    }

    /// The peer closed: be silent (RFC 9000 section 10.2.2).
    pub(crate) fn drain(&mut self, now: Instant, error: ConnectionError) {
        match self.state {
            State::Handshaking | State::Established => self.finish(error),
            State::Closing(_) => {}
            State::Draining { .. } | State::Drained => return,
        }
        self.state = State::Draining { until: self.forget_at(now) };
    }

    /// RFC 9000 section 10.2: closing and draining last for at least three PTO.
    fn forget_at(&self, now: Instant) -> Instant {
        (now + self.pto() * 3).round_up(FORGET_GRAIN)
    }

    /// Ends without a word: nobody is there to listen.
    pub(crate) fn vanish(&mut self, error: ConnectionError) {
        if self.state.is_open() {
            self.finish(error);
        }
        self.become_drained();
    }

    pub(crate) fn become_drained(&mut self) {
        if !matches!(self.state, State::Drained) {
            self.state = State::Drained;
            self.events.push_endpoint(EndpointEvent::Drained);
        }
    }

    fn finish(&mut self, error: ConnectionError) {
        self.timers = super::Timers::default();
        self.events.trace.note_end(&error);
        self.events.push(Event::Closed(error));
    }

    /// ICMP says that nobody listens at `remote`, and quotes a packet of this connection. True if
    /// that ends it: only a client's handshake, when nothing at all came back, and not before the
    /// second time. Whoever sees our packets could forge these messages; but he could as well
    /// answer with a Version Negotiation packet, which nothing protects either.
    pub fn on_port_unreachable(&mut self, remote: SocketAddr) -> bool {
        let waiting = self.ids.side == Side::Client
            && matches!(self.state, State::Handshaking)
            && self.stats.datagrams_received == 0
            && self.paths[0].active().addresses.remote == remote;
        if !waiting {
            return false;
        }
        self.stats.unreachable += 1;
        if self.stats.unreachable < UNREACHABLE {
            return false;
        }
        self.vanish(ConnectionError::Refused(Cow::Borrowed(
            "nobody listens at that address (ICMP: port unreachable)",
        )));
        true
    }

    /// CONNECTION_CLOSE arrived.
    pub(crate) fn on_close(&mut self, now: Instant, close: &tquic_wire::frame::Close<'_>) {
        let error = match close.frame_type {
            None => {
                ConnectionError::PeerClose { code: close.error_code, reason: close.reason.to_vec() }
            }
            Some(frame) => {
                let reason = String::from_utf8_lossy(close.reason).into_owned();
                let mut e = TransportError::new(TransportErrorCode(close.error_code), reason);
                e.frame = (frame != 0).then_some(frame);
                ConnectionError::Peer(e)
            }
        };
        self.drain(now, error);
    }

    /// Whether the last 16 bytes of a datagram that could not be opened end this connection: RFC
    /// 9000 section 10.3.1.
    pub fn on_possible_reset(&mut self, now: Instant, datagram: &[u8]) -> bool {
        let Some(tail) = datagram.last_chunk::<16>() else { return false };
        let token = ResetToken::new(*tail);
        let hit = self.paths.iter().fold(false, |hit, p| p.remote_cids.is_reset(&token) | hit);
        if hit {
            self.drain(now, ConnectionError::StatelessReset);
        }
        hit
    }

    /// A packet arrived after we closed: now and then the peer is told again.
    pub(crate) fn on_packet_while_closing(&mut self) {
        if let State::Closing(closing) = &mut self.state {
            closing.received += 1;
            if closing.received >= closing.threshold {
                closing.received = 0;
                closing.threshold = closing.threshold.saturating_mul(2);
                closing.send = Some(0);
            }
        }
    }
}
