//! Settings of an engine, its listeners and the connections it begins.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tquic_core::config::{AcceptConfig, TransportConfig};
use tquic_crypto::ClientConfig;
use tquic_net::udp::SocketOptions;
use tquic_net::xdp;

use crate::application::Application;
use crate::bridge::Gate;
use crate::key::ConnectionKey;
use crate::shard::Inbox;

/// Takes what an engine has to say to people: one line, rarely.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// Settings of an engine.
#[derive(Clone)]
pub struct EngineConfig {
    /// Threads, each with connections of its own. Default 1, limits 1 to 128.
    pub shards: usize,
    /// CPUs to keep the threads on, one for each shard in order; threads beyond the list roam.
    /// Default empty.
    pub cpus: Vec<usize>,
    /// How long a thread looks for datagrams before it sleeps. Saves tens of microseconds per
    /// round trip and costs a busy CPU. Default 0.
    pub spin: Duration,
    /// How sockets are opened.
    pub socket: SocketOptions,
    /// Send and receive past the kernel's network stack through this interface (AF_XDP), where
    /// peers are to be reached by it. Such an engine has one shard. Default: none.
    pub xdp: Option<xdp::Options>,
    /// Where warnings go. Default: nowhere.
    pub log: Option<Log>,
    /// Which of several engines, in processes of their own, this one is that listen at one
    /// [`SharedPort`](crate::SharedPort): its number from 0, and how many. Such an engine has one
    /// shard. Default `(0, 1)`: the only one.
    pub place: (u8, u8),
    /// Answer `tquic top` of the same user, where the system can (see [`crate::live`]). Default: no.
    pub live: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            shards: 1,
            cpus: Vec::new(),
            spin: Duration::ZERO,
            socket: SocketOptions::default(),
            xdp: None,
            log: None,
            place: (0, 1),
            live: false,
        }
    }
}

/// A connection to begin.
#[derive(Clone)]
pub struct ConnectRequest {
    /// The server.
    pub remote: SocketAddr,
    /// Where to send from. The handshake goes over the first; the others become more paths as soon
    /// as the server allows it, and one that cannot be opened is told to the log. Default none: one
    /// socket shared by the shard's connections.
    pub paths: Vec<LocalAddress>,
    /// Name (or address) that the server's certificate must be for.
    pub server_name: String,
    /// Settings.
    pub transport: Arc<TransportConfig>,
    /// TLS.
    pub tls: Arc<ClientConfig>,
    /// Token of an earlier connection's NEW_TOKEN frame, or empty.
    pub token: Vec<u8>,
}

impl ConnectRequest {
    /// A request with the default transport settings.
    pub fn new(remote: SocketAddr, server_name: impl Into<String>, tls: Arc<ClientConfig>) -> Self {
        Self {
            remote,
            paths: Vec::new(),
            server_name: server_name.into(),
            transport: Arc::new(TransportConfig::default()),
            tls,
            token: Vec::new(),
        }
    }
}

/// A local address for a connection.
#[derive(Clone, Debug, Default)]
pub struct LocalAddress {
    /// Address and port; port 0 takes a free one. `None`: a fresh port on any address.
    pub address: Option<SocketAddr>,
    /// Network interface to send through.
    pub interface: Option<String>,
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.interface, &self.address) {
            (Some(name), Some(address)) => write!(f, "{name} ({})", address.ip()),
            (Some(name), None) => f.write_str(name),
            (None, Some(address)) => address.ip().fmt(f),
            (None, None) => f.write_str("another port"),
        }
    }
}

/// A connection that has just been accepted: its first packet was authentic.
#[derive(Clone)]
pub struct Accepted {
    /// Its name.
    pub key: ConnectionKey,
    /// The listener that took it.
    pub listener: ListenerId,
    /// Ours.
    pub local: SocketAddr,
    /// The client's.
    pub remote: SocketAddr,
    /// The way back into its shard.
    pub(crate) inbox: Arc<Inbox>,
}

/// Makes the applications of accepted connections. Called in the shards' threads.
pub type Acceptor = Arc<dyn Fn(&Accepted) -> Box<dyn Application> + Send + Sync>;

/// Names a listener of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u64);

/// How to listen.
#[derive(Clone)]
pub struct ListenRequest {
    /// Where; port 0 takes a free one.
    pub address: SocketAddr,
    /// More addresses that lead to the same connections: preferred addresses (RFC 9000 section 9.6).
    pub more: Vec<SocketAddr>,
    /// Whom to accept, and how.
    pub accept: AcceptConfig,
    /// Key of stateless reset and address validation tokens, to keep them good over a restart.
    /// Default: random.
    pub token_key: Option<[u8; 32]>,
    /// New connections are refused while it is shut. Default: none.
    pub gate: Option<Arc<Gate>>,
}

impl ListenRequest {
    /// Listens at one address.
    pub fn new(address: SocketAddr, accept: AcceptConfig) -> Self {
        Self { address, more: Vec::new(), accept, token_key: None, gate: None }
    }
}

/// A receive window that small does not pay even where the socket's buffer is smaller.
const LEAST_WINDOW: u64 = 256 * 1024;

/// The settings for a path that does not leave this host, where nothing but the socket's receive
/// buffer queues: a window beyond that only fills it, until it drops whole trains. Measured over
/// loopback with a buffer of 4 MiB, on a busy machine: with windows of 8 and 16 MiB most runs of
/// 1.5 GB lost hundreds of packets, with 4 MiB none did, and on an idle one none was slower.
/// `granted` is the buffer in bytes. Other paths need windows for their round-trip times.
pub(crate) fn within_buffer(
    transport: &Arc<TransportConfig>,
    peer: IpAddr,
    granted: usize,
) -> Arc<TransportConfig> {
    let streams = &transport.streams;
    let stream = (granted as u64).max(LEAST_WINDOW);
    let connection = stream + stream / 2;
    let fits = streams.max_stream_window <= stream && streams.max_connection_window <= connection;
    if fits || !peer.to_canonical().is_loopback() {
        return transport.clone();
    }
    let mut fitting = TransportConfig::clone(transport);
    for (window, limit) in [
        (&mut fitting.streams.stream_window, stream),
        (&mut fitting.streams.max_stream_window, stream),
        (&mut fitting.streams.connection_window, connection),
        (&mut fitting.streams.max_connection_window, connection),
    ] {
        *window = (*window).min(limit);
    }
    Arc::new(fitting)
}

/// The settings last made by [`within_buffer`]: connections that are begun one after another have
/// the same, and need not each have a copy.
#[derive(Default)]
pub(crate) struct Fitted(Option<(Arc<TransportConfig>, IpAddr, usize, Arc<TransportConfig>)>);

impl Fitted {
    /// What [`within_buffer`] answers.
    pub fn within_buffer(
        &mut self,
        transport: &Arc<TransportConfig>,
        peer: IpAddr,
        granted: usize,
    ) -> Arc<TransportConfig> {
        if let Some((from, ip, size, to)) = &self.0
            && Arc::ptr_eq(from, transport)
            && (*ip, *size) == (peer, granted)
        {
            return to.clone();
        }
        let to = within_buffer(transport, peer, granted);
        self.0 = Some((transport.clone(), peer, granted, to.clone()));
        to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_fit_the_socket_on_loopback_only() {
        let transport = Arc::new(TransportConfig::default());
        let fit = |ip: &str, granted| within_buffer(&transport, ip.parse().unwrap(), granted);
        let windows =
            |t: &TransportConfig| (t.streams.max_stream_window, t.streams.max_connection_window);
        for ip in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(windows(&fit(ip, 4 << 20)), (4 << 20, 6 << 20));
            assert_eq!(windows(&fit(ip, 1000)), (LEAST_WINDOW, LEAST_WINDOW * 3 / 2));
            assert!(Arc::ptr_eq(&fit(ip, 1 << 30), &transport));
        }
        assert!(Arc::ptr_eq(&fit("192.0.2.1", 1000), &transport));
        let (mut fitted, ip) = (Fitted::default(), "127.0.0.1".parse().unwrap());
        let one = fitted.within_buffer(&transport, ip, 1000);
        assert!(Arc::ptr_eq(&one, &fitted.within_buffer(&transport, ip, 1000)));
        assert_eq!(windows(&one), (LEAST_WINDOW, LEAST_WINDOW * 3 / 2));
        assert_eq!(windows(&fitted.within_buffer(&transport, ip, 4 << 20)), (4 << 20, 6 << 20));
    }
}
