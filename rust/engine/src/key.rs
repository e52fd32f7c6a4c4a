//! Names of connections.

/// Names a connection of an engine: never used again, known before the connection exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionKey(u64);

impl ConnectionKey {
    const SHARD_SHIFT: u32 = 56;

    /// What no connection is called.
    pub const NONE: Self = Self(u64::MAX);

    pub(crate) const fn new(shard: u8, number: u64) -> Self {
        Self((shard as u64) << Self::SHARD_SHIFT | number & ((1 << Self::SHARD_SHIFT) - 1))
    }

    /// The shard whose thread the connection lives in.
    pub const fn shard(self) -> usize {
        (self.0 >> Self::SHARD_SHIFT) as usize
    }

    /// The key as one number, for other languages.
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// The inverse of `to_u64`.
    pub const fn from_u64(value: u64) -> Self {
        Self(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_their_shard() {
        let key = ConnectionKey::new(7, 9);
        assert_eq!(key.shard(), 7);
        assert_eq!(ConnectionKey::from_u64(key.to_u64()), key);
        assert_ne!(key, ConnectionKey::new(6, 9));
    }
}
