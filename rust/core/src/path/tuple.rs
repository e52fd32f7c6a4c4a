//! A 4-tuple: one pair of addresses that a path uses, or tries.

use std::net::SocketAddr;

use crate::path::amplification::Ledger;
use crate::path::ecn::EcnPath;
use crate::path::mtu::Mtu;
use crate::path::validate::Challenges;

/// The addresses of a datagram, seen from this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FourTuple {
    /// Ours. The address is unspecified (`0.0.0.0`, `::`) until the kernel has told which it chose.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
}

impl FourTuple {
    /// Whether `other`, as seen on a received datagram, is this tuple.
    pub fn matches(&self, other: &Self) -> bool {
        self.remote == other.remote
            && self.local.port() == other.local.port()
            && (self.local.ip() == other.local.ip() || self.local.ip().is_unspecified())
    }

    /// Whether only ports differ: probably a NAT that forgot (RFC 9000 section 9.4).
    pub fn same_hosts(&self, other: &Self) -> bool {
        self.remote.ip() == other.remote.ip() && self.local.ip() == other.local.ip()
    }
}

/// What one 4-tuple knows of its addresses. Changing addresses changes all of this; what belongs to
/// the path (packet numbers, recovery, connection IDs) stays.
#[derive(Clone, Debug)]
pub struct Tuple {
    /// The addresses.
    pub addresses: FourTuple,
    /// Bytes each way, and the limit before validation.
    pub ledger: Ledger,
    /// PATH_CHALLENGE sent and owed answers.
    pub challenges: Challenges,
    /// Sequence number of the peer's connection ID in use here.
    pub remote_cid: u64,
    /// Datagram size.
    pub mtu: Mtu,
    /// Marking.
    pub ecn: EcnPath,
    /// We mean to move here once it is validated (active migration of a client).
    pub candidate: bool,
}

impl Tuple {
    /// For `remote_cid`: the peer has given none yet. Sequence numbers are smaller.
    pub const NO_CID: u64 = u64::MAX;

    /// A tuple at which nothing is known.
    pub fn new(addresses: FourTuple, remote_cid: u64, mtu: Mtu, ecn: bool) -> Self {
        Self {
            addresses,
            ledger: Ledger::default(),
            challenges: Challenges::default(),
            remote_cid,
            mtu,
            ecn: EcnPath::new(ecn),
            candidate: false,
        }
    }
}
