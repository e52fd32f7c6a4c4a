//! Counters, as they were at one moment.

use std::time::Duration;

use tquic_core::connection::{ConnectionStats, PathStats};
use tquic_core::datagram::DatagramStats;
use tquic_core::endpoint::EndpointStats;
use tquic_net::{udp, xdp};

/// A connection.
#[derive(Clone, Debug, Default)]
pub struct ConnectionSnapshot {
    /// Counters since its start.
    pub connection: ConnectionStats,
    /// Counters of unreliable datagrams.
    pub datagrams: DatagramStats,
    /// Its paths.
    pub paths: Vec<PathStats>,
}

impl ConnectionSnapshot {
    /// The connection as it is now.
    pub fn of(connection: &mut tquic_core::Connection) -> Self {
        let paths = (0..).map_while(|i| connection.path(i).map(tquic_core::path::Path::stats));
        let paths = paths.collect();
        let datagrams = connection.datagrams().stats();
        Self { connection: connection.stats(), datagrams, paths }
    }
}

/// A shard.
#[derive(Clone, Debug, Default)]
pub struct ShardStats {
    /// Connections, closing ones included.
    pub connections: usize,
    /// Sums over its endpoints.
    pub endpoint: EndpointStats,
    /// Sums over its sockets, closed ones included, and its interface.
    pub socket: udp::Stats,
    /// The interface, if it has one (AF_XDP).
    pub xdp: Option<xdp::Stats>,
    /// Times the thread looked for work.
    pub turns: u64,
    /// Times it slept.
    pub sleeps: u64,
    /// Panics caught.
    pub panics: u64,
    /// Trains that did not leave, and were lost.
    pub unsent_trains: u64,
    /// Requests of clients that were refused because a program had too much to do.
    pub refused_streams: u64,
    /// CPU time of the thread, where known.
    pub cpu: Option<Duration>,
}

impl ShardStats {
    /// Datagrams per system call that sent; 0 if nothing was sent.
    pub fn datagrams_per_send(&self) -> f64 {
        ratio(self.socket.sent_datagrams, self.socket.send_calls)
    }

    /// Adds the counters of another shard.
    pub fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        add_endpoint(&mut self.endpoint, &other.endpoint);
        add_socket(&mut self.socket, &other.socket);
        // An engine with an interface has one shard.
        self.xdp = self.xdp.take().or_else(|| other.xdp.clone());
        self.turns += other.turns;
        self.sleeps += other.sleeps;
        self.panics += other.panics;
        self.unsent_trains += other.unsent_trains;
        self.refused_streams += other.refused_streams;
        self.cpu = match (self.cpu, other.cpu) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
    }
}

fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

pub(crate) fn add_endpoint(sum: &mut EndpointStats, one: &EndpointStats) {
    sum.accepted += one.accepted;
    sum.refused += one.refused;
    sum.retries += one.retries;
    sum.version_negotiations += one.version_negotiations;
    sum.resets_sent += one.resets_sent;
    sum.resets_suppressed += one.resets_suppressed;
    sum.dropped += one.dropped;
}

pub(crate) fn add_socket(sum: &mut udp::Stats, one: &udp::Stats) {
    sum.send_calls += one.send_calls;
    sum.sent_datagrams += one.sent_datagrams;
    sum.recv_calls += one.recv_calls;
    sum.recv_datagrams += one.recv_datagrams;
    sum.gso_fallbacks += one.gso_fallbacks;
    sum.zerocopy_sends += one.zerocopy_sends;
    sum.zerocopy_copied += one.zerocopy_copied;
    sum.zerocopy_fallbacks += one.zerocopy_fallbacks;
    sum.soft_errors += one.soft_errors;
    sum.kernel_drops += one.kernel_drops;
}
