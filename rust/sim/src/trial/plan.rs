//! A trial as data: two endpoints, a network, and what the applications do.

use crate::link::LinkConfig;
use crate::simulation::HostConfig;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::Range;
use tquic_core::config::{RetryPolicy, TransportConfig};
use tquic_core::time::Duration;
use tquic_wire::{Direction, Side};

/// The server's address.
pub const SERVER: SocketAddr = address([10, 1, 0, 1], 443);
/// Where the server would rather be reached, if the plan says so.
pub const PREFERRED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, 2), 443);
/// Somebody whose address an attacker puts on copies of the client's datagrams.
pub const VICTIM: SocketAddr = address([10, 9, 9, 9], 9);

const fn address(ip: [u8; 4], port: u16) -> SocketAddr {
    let [a, b, c, d] = ip;
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port)
}

/// Local addresses of the client for one connection: the first is where it begins; it may migrate
/// to the others. Odd ones are on the second path.
pub const CLIENT_ADDRESSES: u16 = 4;

/// The client's address number `index` for connection `connection`.
pub fn client_address(connection: usize, index: u16) -> SocketAddr {
    let ip = [10, 0, (index % 2) as u8, 1];
    address(ip, 50_000 + connection as u16 * CLIENT_ADDRESSES + index)
}

/// Outside addresses of a NAT for one connection.
pub const NAT_ADDRESSES: u16 = 8;

/// The address number `index` that a NAT gives to connection `connection`.
pub fn nat_address(connection: usize, index: u16, other_host: bool) -> SocketAddr {
    let host = if other_host { 1 + index as u8 } else { 1 };
    address(
        [100, 64, u8::from(other_host), host],
        20_000 + connection as u16 * NAT_ADDRESSES + index,
    )
}

/// Everything that a run is made of, but for the seed of chance.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The scenario that it was drawn from.
    pub scenario: &'static str,
    /// The seed that it was drawn with, and that decides what chance brings.
    pub seed: u64,
    /// The network.
    pub network: NetworkPlan,
    /// The client's settings.
    pub client: TransportConfig,
    /// The server's settings.
    pub server: TransportConfig,
    /// Certificates, key exchange, resumption.
    pub tls: TlsPlan,
    /// When the server wants addresses proved.
    pub retry: RetryPolicy,
    /// Half-open connections above which `RetryPolicy::WhenBusy` is busy.
    pub retry_above: usize,
    /// The server has a preferred address.
    pub preferred: bool,
    /// The machines.
    pub host: HostConfig,
    /// Connections of the client, in order of their first start.
    pub connections: Vec<ConnectionPlan>,
    /// When an end stands still: to it the clock jumps.
    pub pauses: Vec<(Side, Range<Duration>)>,
    /// Bytes that an end sends in one piece, at most; but always a datagram.
    pub train: usize,
    /// The server loses all its state at this time.
    pub restart: Option<Duration>,
    /// The network is so bad that connections may die of timeouts.
    pub may_die: bool,
    /// A run that takes longer has stalled.
    pub limit: Duration,
}

impl Plan {
    /// Whether a second run must take the same course. Not with corruption: it may fall on bytes
    /// that TLS drew at random, and make of them a header that is answered.
    pub fn is_repeatable(&self) -> bool {
        let second = self.network.second.iter().flat_map(|(there, back)| [there, back]);
        let links = [&self.network.to_server, &self.network.to_client];
        links.into_iter().chain(second).all(|link| link.corruption.is_none())
    }
}

/// TLS of both ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsPlan {
    /// The server's certificate has about 7 KB, more than it may send at once.
    pub large_certificate: bool,
    /// The client offers X25519MLKEM768 first, which fills more than a datagram.
    pub post_quantum: bool,
    /// The server takes none of the client's key shares: HelloRetryRequest.
    pub hello_retry: bool,
    /// The cipher suite, as an index.
    pub suite: usize,
    /// The client sends early data when it can.
    pub client_early: bool,
    /// The server takes early data.
    pub server_early: bool,
    /// The server has forgotten its tickets when the second connection begins.
    pub forgets: bool,
}

/// Links and what happens to them.
#[derive(Clone, Debug, Default)]
pub struct NetworkPlan {
    /// From the client's first address to the server.
    pub to_server: LinkConfig,
    /// Back.
    pub to_client: LinkConfig,
    /// The same from the client's second host address.
    pub second: Option<(LinkConfig, LinkConfig)>,
    /// Changes by time.
    pub edits: Vec<(Duration, Change)>,
    /// What happens to ECN marks on the way to the server and to the client.
    pub ecn: [EcnFault; 2],
    /// The chance in a million that a copy of a client's datagram arrives from somebody else.
    pub spoof_ppm: u64,
}

/// A change of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The links of the first path carry no UDP payload larger than this any more.
    Mtu(u32),
}

/// How a path treats ECN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EcnFault {
    /// As it should.
    #[default]
    None,
    /// Marks are erased.
    Bleach,
    /// Everything that is ECN-capable arrives marked CE.
    AllCe,
    /// ECT(0) becomes ECT(1).
    Remark,
}

/// When a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At this time.
    At(Duration),
    /// So long after the one before is over at both ends.
    AfterPrevious(Duration),
}

/// One connection.
#[derive(Clone, Debug)]
pub struct ConnectionPlan {
    /// When it begins.
    pub start: Start,
    /// It uses a token of an earlier connection, if there is one.
    pub use_token: bool,
    /// Streams.
    pub transfers: Vec<Transfer>,
    /// What else happens.
    pub acts: Vec<Act>,
    /// How it ends.
    pub ending: Ending,
    /// How applications read: everything at once, or so many bytes every 10 ms.
    pub read_rate: Option<usize>,
}

/// A stream with its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Who opens it.
    pub opener: Side,
    /// Whether there is a response.
    pub direction: Direction,
    /// Bytes from the opener.
    pub request: u64,
    /// Bytes back, after the end of the request.
    pub response: u64,
    /// When it is opened, counted from the connection's beginning at the opener.
    pub delay: Duration,
    /// Bytes of a write.
    pub chunk: usize,
    /// Somebody gives up early.
    pub cut: Option<Cut>,
}

/// Giving up a direction of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The response rather than the request.
    pub response: bool,
    /// By its sender (RESET_STREAM) rather than its receiver (STOP_SENDING).
    pub by_sender: bool,
    /// After so many bytes written or read.
    pub after: u64,
    /// How many of them a sender wants delivered nevertheless (RESET_STREAM_AT).
    pub reliable: u64,
}

/// Something that an application does by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Act {
    /// Who.
    pub side: Side,
    /// When, counted from the connection's beginning at that end.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// See [`Act`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Begins a key update, if it may.
    UpdateKeys,
    /// Sends a PING.
    Ping,
    /// The client moves to its address of this number, once the handshake is confirmed.
    Migrate(u16),
    /// The client opens a path from its address of this number, once it can.
    OpenPath(u16),
    /// Abandons one of its paths, if there is another.
    AbandonPath(u16),
    /// Says of one of its paths that it is, or is not, a backup.
    AdvisePath(u16, bool),
    /// The client's system says of its address of this number that nothing leaves there, or that it is
    /// up again.
    Local(u16, bool),
    /// A NAT gives the client's first address another outside address, once the handshake is
    /// confirmed: before, QUIC relies on stable addresses (RFC 9000 section 9).
    Rebind {
        /// A number for the new address.
        index: u16,
        /// Not only another port.
        other_host: bool,
    },
    /// Sends unreliable datagrams of this size.
    Datagrams {
        /// How many.
        count: u32,
        /// Bytes of each.
        size: usize,
    },
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// This end closes when both have all they want.
    Close(Side),
    /// This end closes with a code when it likes, counted from its beginning.
    Abort {
        /// Who.
        by: Side,
        /// When.
        at: Duration,
        /// The application's error code.
        code: u64,
    },
    /// Nobody closes: the idle timeout does.
    Idle,
}
