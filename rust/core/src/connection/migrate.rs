//! Changes of addresses: ours, the peer's, and those a NAT makes (RFC 9000 section 9).

use std::net::SocketAddr;

use tquic_wire::{Side, Space};

use crate::connection::Connection;
use crate::connection::create::new_tuple;
use crate::path::{FourTuple, Path, Stage};
use crate::rx::{Arrival, Opened};
use crate::time::Instant;

/// Why a migration cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrateError {
    /// RFC 9000 section 9: not before the handshake is confirmed.
    NotConfirmed,
    /// Only clients migrate.
    NotClient,
    /// The server's transport parameters forbid it.
    Forbidden,
    /// The peer has given no connection ID to use there.
    NoConnectionId,
}

impl core::fmt::Display for MigrateError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NotConfirmed => "the handshake is not confirmed yet",
            Self::NotClient => "only a client can migrate",
            Self::Forbidden => "the server forbids migration (disable_active_migration)",
            Self::NoConnectionId => "the server has given no unused connection ID",
        })
    }
}

impl std::error::Error for MigrateError {}

impl Connection {
    /// Client: moves to another local address. The new path is tried first; data goes on where it
    /// went until `Event::Migrated` or `Event::PathFailed` tells the result.
    pub fn migrate(&mut self, now: Instant, local: SocketAddr) -> Result<(), MigrateError> {
        if self.ids.side == Side::Server {
            return Err(MigrateError::NotClient);
        }
        if !self.handshake.is_confirmed() {
            return Err(MigrateError::NotConfirmed);
        }
        if self.peer.disable_active_migration {
            return Err(MigrateError::Forbidden);
        }
        let remote = self.paths[0].active().addresses.remote;
        self.try_tuple(now, FourTuple { local, remote })
    }

    /// Uses another of the connection IDs that the peer issued. False if none is left, or before the
    /// handshake is confirmed.
    pub fn change_connection_id(&mut self) -> bool {
        let changed = self.handshake.is_confirmed() && self.paths[0].change_remote_cid();
        if changed {
            // The length may differ.
            self.sync_mtu(0);
        }
        changed
    }

    /// Client: the server would rather be reached elsewhere (RFC 9000 sections 9.6.1 to 9.6.3).
    /// Nothing but probes go there before it is validated (section 21.5.3).
    pub(crate) fn try_preferred_address(&mut self, now: Instant) {
        let Some(preferred) = &self.peer.preferred_address else { return };
        let FourTuple { local, remote } = self.paths[0].active().addresses;
        let wanted = match remote {
            SocketAddr::V4(_) => preferred.ipv4.map(SocketAddr::V4),
            SocketAddr::V6(_) => preferred.ipv6.map(SocketAddr::V6),
        };
        if let Some(remote) = wanted {
            // Sequence number 1 came with the address; without it there is nothing to try.
            let _ = self.try_tuple(now, FourTuple { local, remote });
        }
    }

    fn try_tuple(&mut self, now: Instant, addresses: FourTuple) -> Result<(), MigrateError> {
        let delay = self.peer_max_ack_delay();
        let path = &mut self.paths[0];
        // RFC 9000 section 9.5: another connection ID on another path.
        let cid = path.remote_cids.take_unused().ok_or(MigrateError::NoConnectionId)?;
        let mut tuple = new_tuple(&self.config, addresses, cid);
        tuple.candidate = true;
        tuple.ledger.validate();
        tuple.mtu.lower_limit(self.peer_payload_limit());
        let path = &mut self.paths[0];
        let (_, give_up) = path.challenge_times(delay);
        tuple.challenges.start(now, give_up);
        path.add(tuple);
        Ok(())
    }

    pub(crate) fn peer_payload_limit(&self) -> u16 {
        u16::try_from(self.peer.max_udp_payload_size).unwrap_or(u16::MAX)
    }

    /// Makes sure that the 4-tuple on which an authentic packet arrived is known.
    pub(crate) fn settle_tuple(&mut self, arrival: &Arrival, opened: &Opened) {
        if self.paths[opened.path].find(&arrival.addresses).is_some() {
            return;
        }
        // RFC 9000 section 9: before confirmation addresses do not change. A client's server moves
        // only to its preferred address.
        if !self.handshake.is_confirmed() || self.ids.side == Side::Client {
            return;
        }
        let limit = self.peer_payload_limit();
        let path = &mut self.paths[opened.path];
        let cid = path.active().remote_cid;
        let mut tuple = new_tuple(&self.config, arrival.addresses, cid);
        tuple.mtu.lower_limit(limit);
        tuple.ledger.on_received(arrival.bytes);
        if path.active().addresses.same_hosts(&arrival.addresses) {
            // A NAT gave another port: the path below is the same (RFC 9000 section 9.4).
            tuple.mtu = path.active().mtu.clone();
            tuple.ecn = path.active().ecn.clone();
        }
        path.add(tuple);
    }

    /// A non-probing packet, the newest so far, came from other addresses: the peer moved there
    /// (RFC 9000 section 9.3).
    pub(crate) fn on_peer_moved(&mut self, arrival: &Arrival, opened: &Opened, index: usize) {
        if self.ids.side == Side::Client || opened.space != Space::Data {
            return;
        }
        let now = arrival.now;
        let delay = self.peer_max_ack_delay();
        let path = &mut self.paths[opened.path];
        let (_, give_up) = path.challenge_times(delay);
        let before = path.active().addresses;
        let old_dcid = core::mem::replace(&mut path.last_dcid, opened.dcid);
        // RFC 9000 section 9.5: the peer changed connection IDs, so do we; after a NAT's rebinding
        // neither does.
        let fresh = if old_dcid == opened.dcid { None } else { path.remote_cids.take_unused() };
        path.activate(index);
        let active = path.active_mut();
        if let Some(cid) = fresh {
            active.remote_cid = cid;
        }
        let same_hosts = active.addresses.same_hosts(&before);
        if !active.ledger.is_validated() {
            active.challenges.start(now, give_up);
            active.ledger.take_news();
        }
        // RFC 9000 section 9.3.3: the old address is asked too, in case the move was forged.
        if let Some(old) = path.find(&before).and_then(|i| path.tuple_mut(i))
            && old.ledger.is_validated()
        {
            old.challenges.start(now, give_up);
        }
        if !same_hosts {
            self.reset_recovery(now, opened.path);
        }
        self.sync_mtu(opened.path);
    }

    /// RFC 9000 section 9.4: another path, another capacity and round-trip time.
    pub(crate) fn reset_recovery(&mut self, now: Instant, path: usize) {
        self.paths[path].recovery.reset_for_new_path(now);
        self.sync_mtu(path);
    }

    /// Tells those concerned the datagram size of the active 4-tuple.
    pub(crate) fn sync_mtu(&mut self, path: usize) {
        let path = &mut self.paths[path];
        let size = path.active().mtu.current();
        path.recovery.set_max_datagram(size);
        self.sync_datagram_room();
    }

    /// Unreliable datagrams must fit every path that may carry them.
    pub(crate) fn sync_datagram_room(&mut self) {
        let room = |path: &Path| {
            // First byte, packet number, tag: what is left for frames.
            let header = 1 + path.remote_cid_len() + 4 + tquic_crypto::TAG_LEN;
            usize::from(path.active().mtu.current()) - header
        };
        let carrying = self.paths.iter().filter(|p| p.standing.stage == Stage::Open);
        if let Some(room) = carrying.map(room).min() {
            self.datagrams.set_room(room);
        }
    }
}
