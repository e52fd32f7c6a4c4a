//! What a shard says of itself and its connections.

use std::time::Duration;

use tquic_core::Connection;
use tquic_core::connection::{PathStats, State};
use tquic_core::path::Path;
use tquic_core::trace::Metrics;
use tquic_trace::json::Object;

use crate::key::ConnectionKey;
use crate::stats::{ConnectionSnapshot, ShardStats};

/// A shard as it is now.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Its counters.
    pub shard: ShardStats,
    /// Its connections, as many as were asked for.
    pub connections: Vec<ConnectionView>,
}

/// A connection as it is now.
#[derive(Clone, Debug)]
pub struct ConnectionView {
    /// Its name in the engine.
    pub key: ConnectionKey,
    /// Destination Connection ID of the client's first packet, in hexadecimal.
    pub id: String,
    /// Whether we are the client.
    pub is_client: bool,
    /// Where it is in its life.
    pub state: &'static str,
    /// QUIC version.
    pub version: u32,
    /// Application protocol, once it is known.
    pub alpn: Option<String>,
    /// Streams that take memory.
    pub streams: usize,
    /// Counters.
    pub stats: ConnectionSnapshot,
    /// What is measured on its paths, in the order of `stats.paths`.
    pub paths: Vec<PathView>,
}

/// A path as it is now.
#[derive(Clone, Copy, Debug)]
pub struct PathView {
    /// Measures.
    pub metrics: Metrics,
    /// State of the congestion controller.
    pub phase: &'static str,
}

impl ConnectionView {
    /// The connection named `key`.
    pub fn of(key: ConnectionKey, connection: &mut Connection) -> Self {
        let paths = (0..).map_while(|i| connection.path(i).map(PathView::of)).collect();
        Self {
            key,
            id: connection.original_dcid().to_string(),
            is_client: connection.side().is_client(),
            state: match connection.state() {
                State::Handshaking => "handshaking",
                State::Established => "established",
                State::Closing(_) => "closing",
                State::Draining { .. } => "draining",
                State::Drained => "drained",
            },
            version: connection.version().0,
            alpn: connection.handshake().alpn().map(|a| String::from_utf8_lossy(a).into_owned()),
            streams: connection.streams().stats().streams,
            stats: ConnectionSnapshot::of(connection),
            paths,
        }
    }
}

impl PathView {
    fn of(path: &Path) -> Self {
        Self { metrics: path.metrics(), phase: path.recovery.phase().name() }
    }
}

/// Writes the snapshots of an engine's shards as one JSON document.
pub(crate) fn write(shards: &[Snapshot]) -> String {
    let mut out = Vec::new();
    Object::write(&mut out, |document| {
        document.uint("pid", u64::from(std::process::id()));
        document.text("version", env!("CARGO_PKG_VERSION"));
        document.uint("qlog_dropped", tquic_trace::qlog::dropped());
        document.list("shards", shards, |out, shard| {
            Object::write(out, |o| write_shard(o, &shard.shard));
        });
        let connections = shards.iter().flat_map(|shard| &shard.connections);
        document.list("connections", connections, |out, connection| {
            Object::write(out, |o| write_connection(o, connection));
        });
    });
    String::from_utf8_lossy(&out).into_owned()
}

fn write_shard(o: &mut Object<'_>, shard: &ShardStats) {
    let ShardStats { endpoint, socket, .. } = shard;
    for (name, value) in [
        ("connections", shard.connections as u64),
        ("accepted", endpoint.accepted),
        ("refused", endpoint.refused),
        ("retries", endpoint.retries),
        ("version_negotiations", endpoint.version_negotiations),
        ("resets_sent", endpoint.resets_sent),
        ("dropped", endpoint.dropped),
        ("datagrams_sent", socket.sent_datagrams),
        ("send_calls", socket.send_calls),
        ("datagrams_received", socket.recv_datagrams),
        ("receive_calls", socket.recv_calls),
        ("kernel_drops", socket.kernel_drops),
        ("zerocopy_sends", socket.zerocopy_sends),
        ("zerocopy_copied", socket.zerocopy_copied),
        ("zerocopy_fallbacks", socket.zerocopy_fallbacks),
        ("turns", shard.turns),
        ("sleeps", shard.sleeps),
        ("panics", shard.panics),
        ("unsent_trains", shard.unsent_trains),
        ("refused_streams", shard.refused_streams),
    ] {
        o.uint(name, value);
    }
    if let Some(cpu) = shard.cpu {
        o.float("cpu_seconds", cpu.as_secs_f64());
    }
}

fn write_connection(o: &mut Object<'_>, view: &ConnectionView) {
    let ConnectionSnapshot { connection, paths, .. } = &view.stats;
    o.uint("key", view.key.to_u64());
    o.text("id", &view.id);
    o.text("role", if view.is_client { "client" } else { "server" });
    o.text("state", view.state);
    o.uint("version", u64::from(view.version));
    if let Some(alpn) = &view.alpn {
        o.text("alpn", alpn);
    }
    o.uint("streams", view.streams as u64);
    for (name, value) in [
        ("packets_sent", connection.packets_sent),
        ("packets_received", connection.packets_received),
        ("bytes_sent", connection.bytes_sent),
        ("bytes_received", connection.bytes_received),
        ("duplicates", connection.duplicates),
        ("dropped", connection.dropped),
        ("undecryptable", connection.undecryptable),
        ("key_updates", connection.key_updates),
        ("qlog_events", connection.events.told),
        ("qlog_dropped", connection.events.lost),
    ] {
        o.uint(name, value);
    }
    o.list("paths", paths.iter().zip(&view.paths), |out, (stats, path)| {
        Object::write(out, |o| write_path(o, stats, path));
    });
}

fn write_path(o: &mut Object<'_>, stats: &PathStats, view: &PathView) {
    let seconds = |time: Duration| time.as_secs_f64();
    o.uint("id", u64::from(stats.id));
    o.text("local", &stats.addresses.local.to_string());
    o.text("remote", &stats.addresses.remote.to_string());
    o.text("phase", view.phase);
    o.float("srtt", seconds(stats.srtt));
    o.float("rttvar", seconds(stats.rttvar));
    // Before the first sample there is none.
    o.float("min_rtt", seconds(view.metrics.min_rtt));
    for (name, value) in [
        ("cwnd", Some(stats.cwnd)),
        ("ssthresh", view.metrics.ssthresh),
        ("pacing_rate", view.metrics.pacing_rate),
        ("bytes_in_flight", Some(stats.in_flight)),
        ("lost_packets", Some(stats.lost_packets)),
        ("spurious_losses", Some(stats.spurious_losses)),
        ("probe_timeouts", Some(stats.ptos)),
        ("congestion_events", Some(stats.congestion_events)),
        ("mtu", Some(u64::from(stats.mtu))),
    ] {
        if let Some(value) = value {
            o.uint(name, value);
        }
    }
    o.flag("ecn_capable", stats.ecn_capable);
}
