//! The keys a connection holds, by encryption level, and their usage limits (RFC 9001).

mod one_rtt;

use tquic_crypto::{DirectionKeys, Keys};
use tquic_wire::Space;

use crate::error::{TransportError, TransportErrorCode};

pub use one_rtt::{OneRttKeys, Phase};

/// Packet keys of all levels. Those that go after the handshake lie elsewhere: a connection that rests
/// pays for what it uses.
#[derive(Default)]
pub struct KeyRing {
    /// Initial keys, until the first Handshake packet (RFC 9001 section 4.9.1).
    pub initial: Option<Box<Keys>>,
    /// Keys of the client's first version, to open its Initial packets after the version changed
    /// (RFC 9369 section 4.1).
    pub initial_original: Option<Box<Keys>>,
    /// 0-RTT keys: a client seals with them, a server opens.
    pub zero_rtt: Option<Box<DirectionKeys>>,
    /// Handshake keys, until the handshake is confirmed.
    pub handshake: Option<Box<Keys>>,
    /// 1-RTT keys with their updates.
    pub one_rtt: Option<OneRttKeys>,
    /// Packets that did not authenticate, over all keys and paths.
    failures: u64,
}

impl KeyRing {
    /// Whether packets of `space` can no longer be sent.
    pub fn is_gone(&self, space: Space) -> bool {
        match space {
            Space::Initial => self.initial.is_none(),
            Space::Handshake => self.handshake.is_none(),
            Space::Data => false,
        }
    }

    /// Counts a packet that did not authenticate (RFC 9001 section 6.6).
    pub fn on_open_failure(&mut self) -> Result<(), TransportError> {
        self.failures += 1;
        let limit = self.one_rtt.as_ref().map_or(u64::MAX, OneRttKeys::integrity_limit);
        if self.failures >= limit {
            return Err(TransportError::new(
                TransportErrorCode::AEAD_LIMIT_REACHED,
                "too many packets failed authentication",
            ));
        }
        Ok(())
    }

    /// Number of packets that did not authenticate.
    pub fn failures(&self) -> u64 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use tquic_crypto::{Suite, TrafficSecret, UpdateSecrets};
    use tquic_wire::Version;

    use super::*;

    #[test]
    fn forged_packets_end_the_connection_at_the_integrity_limit() {
        let secret = || TrafficSecret::new(Suite::Aes128Gcm, &[7; 32]).unwrap();
        let direction = || DirectionKeys::derive(Version::V1, &secret());
        let keys = Keys { local: direction(), remote: direction() };
        let updates = UpdateSecrets::new(Version::V1, secret(), secret());
        let mut ring = KeyRing {
            one_rtt: Some(OneRttKeys::new(Suite::Aes128Gcm, keys, updates, None)),
            // RFC 9001 section 6.6: 2^52 for AES-GCM, two to go.
            failures: (1 << 52) - 2,
            ..KeyRing::default()
        };
        assert_eq!(ring.on_open_failure(), Ok(()));
        let error = ring.on_open_failure().unwrap_err();
        assert_eq!(error.code, TransportErrorCode::AEAD_LIMIT_REACHED);
    }
}
