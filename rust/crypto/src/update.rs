//! Key update (RFC 9001 section 6).

use tquic_wire::Version;

use crate::{PacketKey, TrafficSecret};

/// The secrets from which each next generation of 1-RTT packet keys is made.
///
/// Header keys are not updated (RFC 9001 section 6.1). Make the next remote key ahead of need, so that
/// the time to open a packet does not tell whether its key phase was new (section 9.5).
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

    /// The key of the next generation for the packets that we send.
    pub fn next_local(&mut self) -> PacketKey {
        self.local = self.local.next(self.version);
        self.local.packet_key(self.version)
    }

    /// The same for the packets that the peer sends.
    pub fn next_remote(&mut self) -> PacketKey {
        self.remote = self.remote.next(self.version);
        self.remote.packet_key(self.version)
    }
}
