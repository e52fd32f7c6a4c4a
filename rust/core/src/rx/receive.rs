//! Splits what the socket delivered into packets, and routes each by its header.

use tquic_wire::header::{self, Long, LongHeader};
use tquic_wire::{ConnectionId, PacketType, Side, Version};

use crate::cid::CID_LEN;
use crate::config::transport::MIN_DATAGRAM;
use crate::connection::{Connection, State};
use crate::handshake::Stashed;
use crate::path::{Ecn, FourTuple};
use crate::rx::Arrival;
use crate::rx::open::{TRAIN, TrainMasks};
use crate::rx::unusual::Retry;
use crate::time::Instant;
use crate::trace::{DropReason, Event, Mask};

impl Connection {
    /// Takes datagrams of one sender, laid out in `slot` every `stride` bytes (the last may be
    /// shorter), as UDP GRO delivers them. A single datagram has `stride == slot.len()`. All of
    /// them carry a connection ID of this connection.
    pub fn receive(
        &mut self,
        now: Instant,
        addresses: FourTuple,
        ecn: Option<Ecn>,
        slot: &mut [u8],
        stride: usize,
    ) {
        let bytes = slot.len() as u64;
        let arrival = Arrival { now, addresses, ecn, bytes };
        let stride = stride.max(1);
        self.stats.datagrams_received += slot.len().div_ceil(stride) as u64;
        self.stats.bytes_received += slot.len() as u64;
        if self.events.trace.wants(Mask::DATAGRAMS_RECEIVED) {
            let (len, segment) = (slot.len(), stride);
            self.events.trace.tell(now, &Event::DatagramsReceived { len, segment, ecn });
        }
        match self.state {
            State::Handshaking | State::Established => {}
            State::Closing(_) => {
                // RFC 9000 section 8.1: it may be what the answer waits for.
                self.credit(&addresses, slot);
                return self.on_packet_while_closing();
            }
            State::Draining { .. } | State::Drained => {
                if self.events.trace.wants(Mask::DATAGRAM_DROPPED) {
                    let len = slot.len();
                    self.events.trace.tell(now, &Event::DatagramDropped { len });
                }
                return;
            }
        }
        let was_blocked = !self.handshake.is_confirmed() && self.is_blocked();
        self.credit(&addresses, slot);
        let opened_before = self.stats.packets_received;
        // Groups of a fixed size keep the masks on the stack.
        for group in slot.chunks_mut(stride.saturating_mul(TRAIN)) {
            let masks = self.train_masks(group, stride);
            for (i, datagram) in group.chunks_mut(stride).enumerate() {
                self.receive_datagram(&arrival, datagram, &masks, i);
            }
        }
        self.replay_stash();
        if self.stats.packets_received > opened_before && self.state.is_open() {
            self.restart_idle_on_receive(now);
        }
        if was_blocked && self.state.is_open() {
            self.on_unblocked(now);
        }
        self.observe(now);
    }

    /// Counts a datagram towards what may be sent back before the address is validated.
    fn credit(&mut self, addresses: &FourTuple, slot: &[u8]) {
        // Several paths may use the same 4-tuple: what is sent on one is no credit for another.
        let path = match slot.first() {
            Some(&first) if self.multipath.is_some() && !header::is_long(first) => {
                Self::short_dcid(slot).and_then(|dcid| self.path_of(dcid.as_slice()))
            }
            _ => Some(0),
        };
        let Some(path) = path.and_then(|path| self.paths.get_mut(path)) else { return };
        let Some(tuple) = path.find(addresses).and_then(|at| path.tuple_mut(at)) else { return };
        tuple.ledger.on_received(slot.len() as u64);
        if tuple.addresses.local.ip().is_unspecified() {
            // The kernel has told which of our addresses it uses.
            tuple.addresses.local = addresses.local;
        }
    }

    fn receive_datagram(
        &mut self,
        arrival: &Arrival,
        datagram: &mut [u8],
        masks: &TrainMasks,
        index: usize,
    ) {
        let Some(&first) = datagram.first() else { return };
        let result = if header::is_long(first) {
            self.receive_coalesced(arrival, datagram);
            Ok(())
        } else {
            self.receive_short(arrival, datagram, masks.at(index))
        };
        if let Err(error) = result {
            self.fail(arrival.now, error);
        }
    }

    /// RFC 9000 section 12.2: several packets in one datagram.
    fn receive_coalesced(&mut self, arrival: &Arrival, datagram: &mut [u8]) {
        let datagram_len = datagram.len();
        let mut rest = datagram;
        let mut first_dcid: Option<ConnectionId> = None;
        while let Some(&first) = rest.first() {
            if !self.state.is_open() {
                return;
            }
            if !header::is_long(first) {
                // A short header has no length: it is the last. Zeros are padding that some send.
                if let Err(error) = self.receive_short(arrival, rest, None) {
                    self.fail(arrival.now, error);
                }
                return;
            }
            let (parsed, len) = match header::parse_long(rest) {
                Ok(Long::Protected(h)) => {
                    let len = h.packet_len;
                    (Parsed::from(&h), len)
                }
                Ok(Long::Retry { version, dcid, scid, token, .. }) => {
                    let retry = Retry { version, dcid, scid, token: token.to_vec() };
                    return self.on_retry(arrival, rest, &retry);
                }
                Ok(Long::VersionNegotiation { dcid, scid, versions }) => {
                    let offered: Vec<Version> = versions.take(64).collect();
                    let ours = dcid == self.ids.local.as_slice()
                        && scid == self.ids.initial_dcid.as_slice();
                    let size = rest.len();
                    return self.on_version_negotiation(arrival.now, (ours, size), offered);
                }
                Ok(Long::UnknownVersion { .. }) => {
                    let reason = DropReason::Unsupported;
                    return self.drop_packet(arrival.now, None, rest.len(), reason);
                }
                Err(_) => {
                    let reason = DropReason::Invalid;
                    return self.drop_packet(arrival.now, None, rest.len(), reason);
                }
            };
            // RFC 9000 section 14.1: a server MUST discard Initial packets in smaller datagrams.
            let small = datagram_len < usize::from(MIN_DATAGRAM)
                && parsed.ty == PacketType::Initial
                && self.ids.side == Side::Server;
            let (packet, tail) = rest.split_at_mut(len.min(rest.len()));
            // RFC 9000 section 12.2: packets for another connection ID than the first are dropped.
            if *first_dcid.get_or_insert(parsed.dcid) == parsed.dcid && !small {
                if let Err(error) = self.receive_long(arrival, packet, parsed) {
                    self.fail(arrival.now, error);
                }
            } else {
                let (size, ty) = (packet.len(), Some(parsed.ty));
                self.drop_packet(arrival.now, ty, size, DropReason::Rejected);
            }
            rest = tail;
        }
    }

    /// Packets that came before their keys, now that there are new keys.
    fn replay_stash(&mut self) {
        while self.handshake.take_keys_changed() && self.state.is_open() {
            for stashed in self.handshake.stash.take() {
                let Stashed { now, addresses, ecn, .. } = stashed;
                // Its bytes were counted when it came.
                let arrival = Arrival { now, addresses, ecn, bytes: 0 };
                let mut packet = stashed.packet;
                self.receive_coalesced(&arrival, &mut packet);
            }
        }
    }

    /// The index of the path that a Destination Connection ID belongs to; `None` if it is not ours.
    /// The endpoint has looked up that of the first packet, those of coalesced ones nobody has.
    pub(crate) fn path_of(&self, dcid: &[u8]) -> Option<usize> {
        self.paths.iter().position(|p| p.local_cids.contains(dcid)).or_else(|| {
            let initial = self.ids.side == Side::Server && dcid == self.ids.initial_dcid.as_slice();
            initial.then_some(0)
        })
    }

    /// The Destination Connection ID of a short-header packet.
    pub(crate) fn short_dcid(datagram: &[u8]) -> Option<ConnectionId> {
        ConnectionId::new(header::short_dcid(datagram, CID_LEN)?)
    }
}

/// What later steps need of a long header, free of the datagram's borrow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parsed {
    pub(crate) version: Version,
    pub(crate) ty: PacketType,
    pub(crate) dcid: ConnectionId,
    pub(crate) scid: ConnectionId,
    pub(crate) pn_offset: usize,
    pub(crate) has_token: bool,
}

impl From<&LongHeader<'_>> for Parsed {
    fn from(h: &LongHeader<'_>) -> Self {
        Self {
            version: h.version,
            ty: h.ty,
            dcid: h.dcid,
            scid: h.scid,
            pn_offset: h.pn_offset,
            has_token: !h.token.is_empty(),
        }
    }
}
