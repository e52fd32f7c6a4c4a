//! Key update (RFC 9001 section 6).

use tquic_wire::Version;

use crate::{PacketKey, TrafficSecret};

/// The secrets from which each next generation of 1-RTT packet keys is made.
///
/// Header keys are not updated (RFC 9001 section 6.1). Make the next generation ahead of need, so
/// that the time to react to the peer's key phase does not tell whether it was new (section 9.5).
#[derive(Debug)]
pub struct UpdateSecrets {
    version: Version,
    local: TrafficSecret,
    remote: TrafficSecret,
}

impl UpdateSecrets {
    /// Starts from the secrets of the first generation, whose keys are in use already.
    #[must_use]
    pub fn new(version: Version, local: TrafficSecret, remote: TrafficSecret) -> Self {
        Self { version, local, remote }
    }

    /// The packet keys (local, remote) of the next generation.
    pub fn next_keys(&mut self) -> (PacketKey, PacketKey) {
        self.local = self.local.next(self.version);
        self.remote = self.remote.next(self.version);
        (self.local.packet_key(self.version), self.remote.packet_key(self.version))
    }
}
