//! Settings of an endpoint: identity of its connection IDs, admission of new connections.

use core::time::Duration;
use std::net::{SocketAddrV4, SocketAddrV6};
use std::sync::Arc;

use tquic_crypto::ServerConfig as ServerTls;

use crate::config::TransportConfig;

/// When a server asks a client to prove its address before it keeps any state (RFC 9000 section
/// 8.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryPolicy {
    /// Only when more handshakes are under way than `AcceptConfig::retry_above`.
    WhenBusy,
    /// Always.
    Always,
    /// Never; above the limit new connections are refused.
    Never,
}

/// Addresses at which a server would rather be reached after the handshake (RFC 9000 section 9.6).
#[derive(Clone, Copy, Debug, Default)]
pub struct PreferredAddresses {
    /// IPv4 address and port.
    pub ipv4: Option<SocketAddrV4>,
    /// IPv6 address and port.
    pub ipv6: Option<SocketAddrV6>,
}

/// How an endpoint accepts connections.
#[derive(Clone)]
pub struct AcceptConfig {
    /// Certificates, ALPN, tickets.
    pub tls: Arc<ServerTls>,
    /// Settings of accepted connections.
    pub transport: Arc<TransportConfig>,
    /// Address validation. Default: when busy.
    pub retry: RetryPolicy,
    /// Handshakes under way above which `WhenBusy` asks for address validation. Default 256.
    pub retry_above: usize,
    /// Handshakes under way above which new connections are refused. Default 16384.
    pub max_handshakes: usize,
    /// Connections above which new ones are refused. Default 100000.
    pub max_connections: usize,
    /// How long a Retry token is good. Default 30 s.
    pub retry_token_lifetime: Duration,
    /// How long a NEW_TOKEN token is good. Default 24 h.
    pub token_lifetime: Duration,
    /// Preferred addresses told to clients. Default none.
    pub preferred: PreferredAddresses,
}

impl AcceptConfig {
    /// The defaults, with these certificates and settings.
    pub fn new(tls: Arc<ServerTls>, transport: Arc<TransportConfig>) -> Self {
        Self {
            tls,
            transport,
            retry: RetryPolicy::WhenBusy,
            retry_above: 256,
            max_handshakes: 16_384,
            max_connections: 100_000,
            retry_token_lifetime: Duration::from_secs(30),
            token_lifetime: Duration::from_secs(24 * 3600),
            preferred: PreferredAddresses::default(),
        }
    }
}

/// Settings of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct EndpointConfig {
    /// Which of `shards` this endpoint is: its connection IDs are those whose first byte modulo
    /// `shards` gives `shard`, so that the kernel can spread datagrams over sockets by that byte.
    pub shard: u8,
    /// Number of endpoints sharing an address, 1 to 128.
    pub shards: u8,
    /// Stateless resets sent per second at most (RFC 9000 section 10.3). Default 100.
    pub resets_per_second: u32,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self { shard: 0, shards: 1, resets_per_second: 100 }
    }
}
