//! A connection: owns the parts and their life. What arrives is handled in `rx`, what leaves in
//! `tx`; the parts do the work and know nothing of each other.

mod close;
mod control;
mod create;
mod echo;
mod migrate;
mod state;
mod stats;
mod timeout;
mod timers;

use core::time::Duration;
use std::sync::Arc;

use tquic_wire::{ConnectionId, Side, Space, TransportParameters, Version};

use crate::cc::{AckBatch, Congestion, Decision};
use crate::cid::CidFactory;
use crate::config::TransportConfig;
use crate::datagram::Datagrams;
use crate::error::TransportError;
use crate::events::{EndpointEvent, Event, Events};
use crate::handshake::Handshake;
use crate::keys::{KeyRing, OneRttKeys};
use crate::multipath::Multipath;
use crate::path::Path;
use crate::rng::Rng;
use crate::stream::StreamSet;
use crate::time::Instant;

pub use control::Control;
pub(crate) use create::new_tuple;
pub use create::{ClientSetup, ServerSetup};
pub(crate) use echo::Echo;
pub use migrate::MigrateError;
pub use state::{Closing, Identity, State};
pub use stats::{ConnectionStats, PathStats};
pub use timers::Timers;

/// Index of a packet-number space in arrays of three.
pub(crate) fn space_index(space: tquic_wire::Space) -> usize {
    match space {
        tquic_wire::Space::Initial => 0,
        tquic_wire::Space::Handshake => 1,
        tquic_wire::Space::Data => 2,
    }
}

/// One QUIC connection, either role.
pub struct Connection {
    pub(crate) config: Arc<TransportConfig>,
    pub(crate) ids: Identity,
    pub(crate) state: State,
    pub(crate) handshake: Handshake,
    pub(crate) keys: KeyRing,
    /// That of the handshake; more come with multipath. Never empty.
    pub(crate) paths: Vec<Path>,
    /// If both ends want several paths.
    pub(crate) multipath: Option<Box<Multipath>>,
    pub(crate) streams: StreamSet,
    pub(crate) datagrams: Datagrams,
    pub(crate) control: Control,
    pub(crate) timers: Timers,
    pub(crate) events: Events,
    /// What the peer allows: remembered values first (0-RTT), then those of the handshake.
    pub(crate) peer: TransportParameters,
    pub(crate) factory: CidFactory,
    pub(crate) rng: Rng,
    pub(crate) stats: ConnectionStats,
}

impl Connection {
    /// Which end this is.
    pub fn side(&self) -> Side {
        self.ids.side
    }

    /// Where it is in its life.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The QUIC version in use.
    pub fn version(&self) -> Version {
        self.ids.version
    }

    /// The Destination Connection ID of the client's first packet: the name of this connection in
    /// logs of both ends.
    pub fn original_dcid(&self) -> ConnectionId {
        self.ids.original_dcid
    }

    /// Whether a Retry packet came before this connection (RFC 9000 section 8.1.2).
    pub fn was_retried(&self) -> bool {
        self.ids.retry.is_some()
    }

    /// Streams: open, write, read, finish, reset.
    pub fn streams(&mut self) -> &mut StreamSet {
        &mut self.streams
    }

    /// Unreliable datagrams (RFC 9221).
    pub fn datagrams(&mut self) -> &mut Datagrams {
        &mut self.datagrams
    }

    /// What TLS agreed on: ALPN, cipher, peer's certificates.
    pub fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// The path with this index; 0 is the only one without multipath. See [`Self::paths`].
    pub fn path(&self, index: usize) -> Option<&Path> {
        self.paths.get(index)
    }

    /// Changes the congestion controller of a path, or of all; false if there is no such path. Paths
    /// that are added later get that of the first.
    pub fn set_congestion(&mut self, path: Option<u32>, kind: Congestion) -> bool {
        let mut found = false;
        for one in self.paths.iter_mut().filter(|one| path.is_none_or(|id| one.id == id)) {
            one.recovery.set_congestion(kind);
            if !one.active().ecn.is_usable() {
                one.recovery.on_ecn_unusable();
            }
            found = true;
        }
        found
    }

    /// What happened on a path whose controller is outside, with the path's ID; to be answered by
    /// [`Self::decide`].
    pub fn take_ack_batch(&mut self, now: Instant) -> Option<(u32, AckBatch)> {
        let paths = self.paths.iter_mut();
        paths.filter_map(|p| p.recovery.take_ack_batch(now).map(|batch| (p.id, batch))).next()
    }

    /// The answer to batch `sequence` of a path.
    pub fn decide(&mut self, path: u32, sequence: u64, decision: Decision) {
        if let Some(path) = self.paths.iter_mut().find(|p| p.id == path) {
            path.recovery.decide(sequence, decision);
        }
    }

    /// Counters.
    pub fn stats(&self) -> ConnectionStats {
        let mut stats = self.stats;
        stats.undecryptable = self.keys.failures();
        stats.key_updates = self.keys.one_rtt.as_ref().map_or(0, OneRttKeys::updates);
        stats.events = self.events.trace.tally();
        stats
    }

    /// The application's next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        // `Closed` comes last: what is said of streams before it may still be read.
        if !self.events.is_closing()
            && let Some(event) = self.events.pop()
        {
            return Some(event);
        }
        self.streams.poll_event().map(Event::Stream).or_else(|| self.events.pop())
    }

    /// The endpoint's next event.
    pub fn poll_endpoint_event(&mut self) -> Option<EndpointEvent> {
        self.events.pop_endpoint()
    }

    /// Whether the handshake is complete and the connection not closed.
    pub fn is_established(&self) -> bool {
        matches!(self.state, State::Established)
    }

    /// Whether the connection has begun to close or is over.
    pub fn is_closed(&self) -> bool {
        !self.state.is_open()
    }

    /// Whether the state can be dropped.
    pub fn is_drained(&self) -> bool {
        matches!(self.state, State::Drained)
    }

    /// Asks the peer for a sign of life, which resets its idle timer and ours, and for its
    /// acknowledgement at once where it can be asked. `Event::PingAcked` tells when it came, and the
    /// round trip. A PING that is lost is sent again.
    pub fn ping(&mut self) {
        self.control.echo.ping();
    }

    /// Asks the peer, where it can be asked, to acknowledge at once what is sent up to here: it may
    /// otherwise take its max_ack_delay over the last packets (IMMEDIATE_ACK,
    /// draft-ietf-quic-ack-frequency-12 section 5).
    pub fn hurry(&mut self) {
        if self.peer.min_ack_delay.is_some() {
            self.control.echo.hurry();
        }
    }

    /// Begins a key update. False if it is too early: the handshake is not confirmed, the last
    /// update not acknowledged, or less than three PTO ago (RFC 9001 section 6.1 and 6.5).
    pub fn update_keys(&mut self, now: Instant) -> bool {
        if !self.handshake.is_confirmed() {
            return false;
        }
        let updated = self.keys.one_rtt.as_mut().is_some_and(|k| k.update(now));
        if updated {
            // The peer answers in the new phase as soon as it has a packet of it.
            self.control.ping();
        }
        updated
    }

    /// Gives back memory that only a busy connection needs.
    pub(crate) fn release_memory(&mut self) {
        self.paths.iter_mut().for_each(|path| path.recovery.release_memory());
        self.events.release_memory();
    }

    /// Queues a NEW_TOKEN frame.
    pub fn send_token(&mut self, token: Vec<u8>) {
        if self.ids.side == Side::Server && self.state.is_open() {
            self.control.new_token(token);
        }
    }

    /// The interface under the active 4-tuple carries no UDP payload larger than this.
    pub fn limit_mtu(&mut self, payload: u16) {
        for path in 0..self.paths.len() {
            self.paths[path].active_mut().mtu.lower_limit(payload);
            self.sync_mtu(path);
        }
    }

    /// The kernel refused a datagram of ours as too large (EMSGSIZE).
    pub fn on_datagram_too_large(&mut self, now: Instant, size: usize) {
        for path in 0..self.paths.len() {
            let mtu = &mut self.paths[path].active_mut().mtu;
            if size > usize::from(mtu.current()) {
                mtu.on_probe_lost(now, size.min(usize::from(u16::MAX)) as u16);
            } else {
                mtu.fall_back(now);
                self.sync_mtu(path);
            }
        }
    }

    /// The longest probe timeout of all paths for 1-RTT packets: what key updates and closing wait
    /// for (draft-ietf-quic-multipath-21 sections 2.5 and 2.6).
    pub(crate) fn pto(&self) -> Duration {
        longest_pto(&self.paths, self.peer_max_ack_delay())
    }

    pub(crate) fn peer_max_ack_delay(&self) -> Duration {
        Duration::from_millis(self.peer.max_ack_delay)
    }

    /// An error of ours or the peer's that the protocol defines: tell the peer, be done.
    pub fn fail(&mut self, now: Instant, error: TransportError) {
        self.close_with(now, error.into());
    }
}

/// See [`Connection::pto`].
pub(crate) fn longest_pto(paths: &[Path], max_ack_delay: Duration) -> Duration {
    let periods = paths.iter().map(|p| p.recovery.pto_period(Space::Data, max_ack_delay));
    periods.max().unwrap_or_default()
}
