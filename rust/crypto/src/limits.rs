//! How many packets a key may protect, and how many forgeries a connection may see.

use crate::Suite;

impl Suite {
    /// Packets that may be protected with one generation of keys before a key update is due,
    /// counted over all paths (RFC 9001 section 6.6; draft-ietf-quic-multipath for the paths).
    ///
    /// The bounds are those for packets up to 2^16 bytes, which always hold.
    #[must_use]
    pub const fn confidentiality_limit(self) -> u64 {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => 1 << 23,
            // More than the 2^62 packets that a connection can send.
            Self::Chacha20Poly1305 => u64::MAX,
        }
    }

    /// Packets that fail to authenticate before the connection must be closed with
    /// `AEAD_LIMIT_REACHED`, counted over all keys and all paths of the connection (RFC 9001
    /// section 6.6).
    #[must_use]
    pub const fn integrity_limit(self) -> u64 {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => 1 << 52,
            Self::Chacha20Poly1305 => 1 << 36,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Suite;

    #[test]
    fn rfc_9001_section_6_6() {
        for suite in [Suite::Aes128Gcm, Suite::Aes256Gcm] {
            assert_eq!(suite.confidentiality_limit(), 8_388_608);
            assert_eq!(suite.integrity_limit(), 4_503_599_627_370_496);
        }
        assert!(Suite::Chacha20Poly1305.confidentiality_limit() > 1 << 62);
        assert_eq!(Suite::Chacha20Poly1305.integrity_limit(), 68_719_476_736);
    }
}
