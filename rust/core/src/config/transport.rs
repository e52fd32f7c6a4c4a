//! Settings of one connection.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;
use tquic_wire::Version;

use crate::datagram::DatagramConfig;
use crate::multipath::{MAX_PATHS, Scheduler, SchedulerSource};
use crate::recovery::RecoveryConfig;
use crate::stream::StreamConfig;
use crate::trace::Tracer;

/// Smallest datagram that every QUIC path carries (RFC 9000 section 14).
pub const MIN_DATAGRAM: u16 = 1200;
/// Largest UDP payload: 65535 less the UDP header and the smallest IP header.
pub const MAX_DATAGRAM: u16 = 65_507;

/// Settings of one connection, the same on clients and servers.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// How long a connection may be silent before it is given up; zero means for ever. Default 30 s.
    /// The smaller of both ends' values counts (RFC 9000 section 10.1).
    pub max_idle_timeout: Duration,
    /// Send a PING when nothing was received for this long. Default: none.
    pub keep_alive: Option<Duration>,
    /// Give a handshake up after this long. Default 10 s.
    pub handshake_timeout: Duration,
    /// Windows and limits of streams.
    pub streams: StreamConfig,
    /// Round-trip estimates, loss detection, congestion control, pacing.
    pub recovery: RecoveryConfig,
    /// Queues of unreliable datagrams (RFC 9221).
    pub datagrams: DatagramConfig,
    /// Longest time an acknowledgement is held back. Default 25 ms, limit 2^14 ms.
    pub max_ack_delay: Duration,
    /// Ask the peer, where it can, to acknowledge less often (draft-ietf-quic-ack-frequency).
    /// Default on.
    pub ack_frequency: bool,
    /// Connection IDs of the peer that are kept at a time. Default 8, limits 2 to 64.
    pub active_connection_id_limit: u64,
    /// Largest UDP payload ever sent, in bytes: the search for the path's MTU ends there.
    /// Default 1472 (1500 less IPv4 and UDP headers), limits 1200 to 65507.
    pub max_udp_payload: u16,
    /// Search for the largest datagram the path carries (RFC 8899). Default on.
    pub mtu_discovery: bool,
    /// Mark packets ECT(0) and report marks (RFC 9000 section 13.4). Default on.
    pub ecn: bool,
    /// Send reserved values where the protocol allows any (RFC 9287 and others). Default on.
    pub grease: bool,
    /// Tell the peer not to migrate (RFC 9000 section 18.2). Default off.
    pub disable_active_migration: bool,
    /// Versions spoken, most wanted first. Default v1, v2. A server changes to its own first where
    /// the client can (RFC 9368).
    pub versions: Vec<Version>,
    /// The version of a client's first packet: one that every server is likely to speak, when
    /// another is wanted more. Default the first of `versions`.
    pub initial_version: Option<Version>,
    /// Bytes of handshake data buffered out of order, for each encryption level. Default 64 KiB.
    pub crypto_buffer: usize,
    /// Update the packet keys after this many packets. Default: the cipher's confidentiality limit
    /// less a margin (RFC 9001 section 6.6).
    pub key_update_interval: Option<u64>,
    /// Paths that may be open at a time (draft-ietf-quic-multipath-21), the first included; 1 lets
    /// the peer know of multipath without a second path. Default: none, multipath is not offered;
    /// limit 16.
    pub max_paths: Option<u32>,
    /// What puts several paths in order. Default: the smallest round-trip time first.
    pub scheduler: Scheduler,
    /// The application's own scheduler; `scheduler` is what decides where that one fails. Default:
    /// none.
    pub user_scheduler: Option<Arc<dyn SchedulerSource>>,
    /// What has been under way on a path for so long is sent on another as well, within 5 % of all
    /// bytes. Default: only when nothing new is left to send.
    pub reinject_after: Option<Duration>,
    /// Who is told what happens. Default: nobody.
    pub tracer: Option<Arc<dyn Tracer>>,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            max_idle_timeout: Duration::from_secs(30),
            keep_alive: None,
            handshake_timeout: Duration::from_secs(10),
            streams: StreamConfig::default(),
            recovery: RecoveryConfig::default(),
            datagrams: DatagramConfig::default(),
            max_ack_delay: Duration::from_millis(25),
            ack_frequency: true,
            active_connection_id_limit: 8,
            max_udp_payload: 1472,
            mtu_discovery: true,
            ecn: true,
            grease: true,
            disable_active_migration: false,
            versions: vec![Version::V1, Version::V2],
            initial_version: None,
            crypto_buffer: 64 * 1024,
            key_update_interval: None,
            max_paths: None,
            scheduler: Scheduler::default(),
            user_scheduler: None,
            reinject_after: None,
            tracer: None,
        }
    }
}

/// A setting outside its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl TransportConfig {
    /// The version of a client's first packet.
    pub(crate) fn first_version(&self) -> Version {
        self.initial_version.or_else(|| self.versions.first().copied()).unwrap_or(Version::V1)
    }

    /// Checks every limit that the field comments name.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fail = |what: &str| Err(ConfigError(what.to_owned()));
        if self.versions.is_empty() || !self.versions.iter().all(|v| v.is_supported()) {
            return fail("versions: must name at least one of QUIC v1 and v2, and nothing else");
        }
        if self.initial_version.is_some_and(|v| !self.versions.contains(&v)) {
            return fail("initial_version: must be one of versions");
        }
        if !(MIN_DATAGRAM..=MAX_DATAGRAM).contains(&self.max_udp_payload) {
            return fail("max_udp_payload: must be from 1200 to 65507 bytes");
        }
        if !(2..=64).contains(&self.active_connection_id_limit) {
            return fail("active_connection_id_limit: must be from 2 to 64");
        }
        if self.max_ack_delay >= Duration::from_millis(1 << 14) {
            return fail("max_ack_delay: must be below 16384 ms");
        }
        if !(4096..=1 << 20).contains(&self.crypto_buffer) {
            return fail("crypto_buffer: must be from 4 KiB to 1 MiB");
        }
        if self.max_paths.is_some_and(|n| !(1..=MAX_PATHS).contains(&n)) {
            return fail("max_paths: must be from 1 to 16");
        }
        if self.handshake_timeout.is_zero() {
            return fail("handshake_timeout: must be longer than zero");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_limits_are_enforced() {
        assert_eq!(TransportConfig::default().validate(), Ok(()));
        for (name, broken) in [
            ("versions", TransportConfig { versions: vec![], ..Default::default() }),
            (
                "initial_version",
                TransportConfig { initial_version: Some(Version(9)), ..Default::default() },
            ),
            ("max_udp_payload", TransportConfig { max_udp_payload: 1199, ..Default::default() }),
            (
                "active_connection_id_limit",
                TransportConfig { active_connection_id_limit: 1, ..Default::default() },
            ),
            (
                "max_ack_delay",
                TransportConfig { max_ack_delay: Duration::from_secs(17), ..Default::default() },
            ),
            ("max_paths", TransportConfig { max_paths: Some(17), ..Default::default() }),
            ("crypto_buffer", TransportConfig { crypto_buffer: 1, ..Default::default() }),
        ] {
            assert!(broken.validate().unwrap_err().0.starts_with(name));
        }
    }
}
