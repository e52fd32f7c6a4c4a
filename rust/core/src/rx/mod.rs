//! The way of a received datagram: split into packets (`receive`), remove protection (`open`), hand
//! each frame to its owner (`dispatch`), act on acknowledgements (`acks`).

mod acks;
mod dispatch;
mod open;
mod receive;
mod unusual;

use tquic_wire::{ConnectionId, Space};

use crate::path::{Ecn, FourTuple};
use crate::time::Instant;

/// Where a datagram came from; the same for all packets in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) now: Instant,
    pub(crate) addresses: FourTuple,
    pub(crate) ecn: Option<Ecn>,
    /// Bytes that arrived together with it, for the ledger of an address seen for the first time.
    pub(crate) bytes: u64,
}

/// A packet whose protection has been removed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    pub(crate) space: Space,
    pub(crate) pn: u64,
    /// Index of the path.
    pub(crate) path: usize,
    /// Its Destination Connection ID.
    pub(crate) dcid: ConnectionId,
    /// Bytes of the packet as it came.
    pub(crate) len: usize,
    /// 0-RTT, where fewer frames are allowed.
    pub(crate) zero_rtt: bool,
}
