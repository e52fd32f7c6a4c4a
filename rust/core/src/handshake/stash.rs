//! Packets that arrived before the keys to open them (RFC 9000 section 5.7 and 12.2: reordering in
//! the handshake is common, and waiting for a retransmission costs a round trip).

use crate::path::{Ecn, FourTuple};
use crate::rx::Arrival;
use crate::time::Instant;

/// Packets kept at most: one flight of a server with a long certificate chain.
const MAX_PACKETS: usize = 16;
/// Bytes kept at most.
const MAX_BYTES: usize = 32 * 1024;

/// A packet kept for later.
pub(crate) struct Stashed {
    pub(crate) now: Instant,
    pub(crate) addresses: FourTuple,
    pub(crate) ecn: Option<Ecn>,
    pub(crate) packet: Vec<u8>,
}

/// A bounded store of packets.
#[derive(Default)]
pub(crate) struct Stash {
    packets: Vec<Stashed>,
    bytes: usize,
}

impl Stash {
    /// Keeps a copy if there is room.
    pub(crate) fn keep(&mut self, arrival: &Arrival, packet: &[u8]) -> bool {
        if self.packets.len() >= MAX_PACKETS || self.bytes + packet.len() > MAX_BYTES {
            return false;
        }
        self.bytes += packet.len();
        let Arrival { now, addresses, ecn, .. } = *arrival;
        self.packets.push(Stashed { now, addresses, ecn, packet: packet.to_vec() });
        true
    }

    /// Takes everything out.
    pub(crate) fn take(&mut self) -> Vec<Stashed> {
        self.bytes = 0;
        core::mem::take(&mut self.packets)
    }
}
