//! Connection IDs: those we gave to the peer, and those the peer gave to us (RFC 9000 section 5.1).

pub mod local;
pub mod remote;

use tquic_crypto::ResetKey;
use tquic_wire::{ConnectionId, ResetToken};

use crate::rng::Rng;

pub use local::LocalCids;
pub use remote::RemoteCids;

/// Length of the connection IDs we choose, in bytes.
pub const CID_LEN: usize = 8;

/// Makes connection IDs that name their shard, with their stateless reset tokens.
#[derive(Clone)]
pub struct CidFactory {
    shard: u8,
    shards: u8,
    reset: std::sync::Arc<ResetKey>,
}

impl CidFactory {
    /// IDs whose first byte modulo `shards` is `shard`; reset tokens are derived with `reset`.
    pub fn new(shard: u8, shards: u8, reset: std::sync::Arc<ResetKey>) -> Self {
        Self { shard, shards: shards.max(1), reset }
    }

    /// Whether `cid` could be one of this shard's.
    pub fn is_ours(&self, cid: &[u8]) -> bool {
        cid.first().is_some_and(|first| first % self.shards == self.shard)
    }

    /// A fresh connection ID, unpredictable but for its shard.
    pub fn generate(&self, rng: &mut Rng) -> ConnectionId {
        let mut bytes = rng.array::<CID_LEN>();
        let groups = u64::from(u8::MAX / self.shards);
        // Lossless: at most 255.
        bytes[0] = (rng.below(groups) as u8) * self.shards + self.shard;
        ConnectionId::new(&bytes).unwrap_or_default()
    }

    /// The stateless reset token that belongs to `cid`.
    pub fn reset_token(&self, cid: &ConnectionId) -> ResetToken {
        self.reset.token_for(cid)
    }
}

#[cfg(test)]
mod tests;
