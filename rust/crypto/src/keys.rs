//! From traffic secrets to the keys of a direction (RFC 9001 section 5.1).

use ring::hkdf::Prk;
use tquic_wire::Version;
use zeroize::Zeroizing;

use crate::aead::IV_LEN;
use crate::hkdf::{expand_label, labels};
use crate::{HeaderKey, PacketKey, Suite};

/// The longest traffic secret (SHA-384), in bytes.
const MAX_SECRET_LEN: usize = 48;

/// The longest packet or header key, in bytes.
const MAX_KEY_LEN: usize = 32;

/// The keys of one direction at one encryption level.
#[derive(Debug)]
pub struct DirectionKeys {
    /// Protects payloads.
    pub packet: PacketKey,
    /// Protects packet numbers and flags.
    pub header: HeaderKey,
}

impl DirectionKeys {
    /// Derives the keys that belong to `secret` under the labels of `version`.
    #[must_use]
    pub fn derive(version: Version, secret: &TrafficSecret) -> Self {
        let (suite, prk) = (secret.suite(), secret.prk());
        let mut bytes = Zeroizing::new([0; MAX_KEY_LEN]);
        let bytes = &mut bytes[..suite.key_len()];
        expand_label(&prk, labels(version).header, bytes);
        let header = HeaderKey::new(suite, bytes).expect("length is that of the suite");
        Self { packet: packet_key(suite, &prk, version), header }
    }
}

/// The keys of both directions at one encryption level.
#[derive(Debug)]
pub struct Keys {
    /// For the packets that we send.
    pub local: DirectionKeys,
    /// For the packets that the peer sends.
    pub remote: DirectionKeys,
}

/// A TLS traffic secret: the root of one direction's keys. Wiped when dropped.
pub struct TrafficSecret {
    suite: Suite,
    bytes: Zeroizing<[u8; MAX_SECRET_LEN]>,
}

impl TrafficSecret {
    /// A secret for `suite`; `None` if `bytes` has not the length of the suite's hash.
    #[must_use]
    pub fn new(suite: Suite, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != suite.secret_len() {
            return None;
        }
        let mut secret = Self { suite, bytes: Zeroizing::new([0; MAX_SECRET_LEN]) };
        secret.bytes[..bytes.len()].copy_from_slice(bytes);
        Some(secret)
    }

    /// The suite whose keys this secret makes.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    fn prk(&self) -> Prk {
        Prk::new_less_safe(self.suite.hkdf(), &self.bytes[..self.suite.secret_len()])
    }

    /// The packet key alone, as a key update needs it.
    pub(crate) fn packet_key(&self, version: Version) -> PacketKey {
        packet_key(self.suite, &self.prk(), version)
    }

    /// The secret of the next key generation (RFC 9001 section 6.1).
    pub(crate) fn next(&self, version: Version) -> Self {
        let mut next = Self { suite: self.suite, bytes: Zeroizing::new([0; MAX_SECRET_LEN]) };
        let out = &mut next.bytes[..self.suite.secret_len()];
        expand_label(&self.prk(), labels(version).update, out);
        next
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.suite.secret_len()]
    }
}

fn packet_key(suite: Suite, prk: &Prk, version: Version) -> PacketKey {
    let labels = labels(version);
    let mut key = Zeroizing::new([0; MAX_KEY_LEN]);
    let key = &mut key[..suite.key_len()];
    expand_label(prk, labels.key, key);
    let mut iv = [0; IV_LEN];
    expand_label(prk, labels.iv, &mut iv);
    PacketKey::new(suite, key, iv).expect("length is that of the suite")
}

impl std::fmt::Debug for TrafficSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrafficSecret").field("suite", &self.suite).finish_non_exhaustive()
    }
}
