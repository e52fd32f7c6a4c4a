//! Splits a slot into runs of datagrams for the same connection, so that each connection gets its
//! share of a GRO train at once.

use std::net::SocketAddr;

use tquic_wire::header::{self, Long};

use crate::cid::CID_LEN;
use crate::endpoint::{ConnectionHandle, Endpoint, Reply};
use crate::path::{Ecn, FourTuple};
use crate::time::Instant;

/// What all datagrams of a slot have in common.
pub(super) struct Batch<'a> {
    pub(super) now: Instant,
    pub(super) addresses: FourTuple,
    pub(super) ecn: Option<Ecn>,
    pub(super) replies: &'a mut Vec<Reply>,
}

/// The Destination Connection ID of any QUIC packet (RFC 8999 section 5).
fn dcid(datagram: &[u8]) -> Option<&[u8]> {
    if !header::is_long(*datagram.first()?) {
        return header::short_dcid(datagram, CID_LEN);
    }
    let len = usize::from(*datagram.get(5)?);
    datagram.get(6..)?.get(..len)
}

pub(super) fn receive(
    endpoint: &mut Endpoint,
    mut batch: Batch<'_>,
    slot: &mut [u8],
    stride: usize,
) {
    let mut rest = slot;
    while !rest.is_empty() {
        let first = &rest[..stride.min(rest.len())];
        let Some(id) = dcid(first) else {
            endpoint.stats.dropped += 1;
            rest = rest.split_at_mut(stride.min(rest.len())).1;
            continue;
        };
        let found = endpoint.cids.find(id);
        let run = match found {
            Some(_) => rest.chunks(stride).take_while(|d| dcid(d) == Some(id)).count(),
            None => 1,
        };
        let (mine, others) = rest.split_at_mut((run * stride).min(rest.len()));
        match found {
            Some(handle) => deliver(endpoint, &batch, handle, mine, stride),
            None => stranger(endpoint, &mut batch, mine),
        }
        rest = others;
    }
}

pub(super) fn deliver(
    endpoint: &mut Endpoint,
    batch: &Batch<'_>,
    handle: ConnectionHandle,
    train: &mut [u8],
    stride: usize,
) {
    endpoint.in_hand = Some(handle);
    if let Some(entry) = endpoint.entry(handle) {
        entry.connection.receive(batch.now, batch.addresses, batch.ecn, train, stride);
        endpoint.touch(handle);
        // What a connection says to its endpoint counts for the next datagram already.
        endpoint.take_events(batch.now, handle);
    }
    endpoint.in_hand = None;
}

/// The Source Connection ID of a packet with a long header (RFC 8999 section 5.1).
fn scid(datagram: &[u8]) -> Option<&[u8]> {
    if !header::is_long(*datagram.first()?) {
        return None;
    }
    let at = 6 + usize::from(*datagram.get(5)?);
    let len = usize::from(*datagram.get(at)?);
    datagram.get(at + 1..)?.get(..len)
}

pub(super) fn port_unreachable(
    endpoint: &mut Endpoint,
    now: Instant,
    remote: SocketAddr,
    quote: &[u8],
) {
    // RFC 9000 section 14.2.1: an ICMP message counts only if it quotes a packet of ours, which who
    // does not see our packets cannot: the ID is random.
    let Some(handle) = scid(quote).and_then(|id| endpoint.cids.find(id)) else { return };
    if let Some(entry) = endpoint.entry(handle)
        && entry.connection.on_port_unreachable(remote)
    {
        endpoint.touch(handle);
        endpoint.take_events(now, handle);
    }
}

fn stranger(endpoint: &mut Endpoint, batch: &mut Batch<'_>, datagram: &mut [u8]) {
    let token = datagram.last_chunk::<16>();
    if let Some(handle) = token.and_then(|t| endpoint.cids.find_token(t)) {
        // RFC 9000 section 10.3.1: a stateless reset has no known connection ID.
        if let Some(entry) = endpoint.entry(handle)
            && entry.connection.on_possible_reset(batch.now, datagram)
        {
            endpoint.touch(handle);
            return;
        }
    }
    if !header::is_long(datagram[0]) {
        return endpoint.reset_stranger(batch, datagram);
    }
    // RFC 9000 section 14.1: smaller Initial packets are discarded; so is everything that could
    // make us answer with more than we got.
    if datagram.len() < usize::from(crate::config::transport::MIN_DATAGRAM) {
        endpoint.stats.dropped += 1;
        return;
    }
    match header::parse_long(datagram) {
        Ok(Long::UnknownVersion { dcid, scid, .. }) => {
            endpoint.negotiate_version(batch, dcid, scid);
        }
        Ok(Long::Protected(h)) if h.ty == tquic_wire::PacketType::Initial => {
            let facts = super::accept::First::from(&h);
            endpoint.accept(batch, &facts, datagram);
        }
        _ => endpoint.stats.dropped += 1,
    }
}
