//! What a client measured.

use std::net::SocketAddr;
use std::time::Duration;

use super::Histogram;
use crate::stats::{ConnectionSnapshot, ShardStats};

/// The result of a run: the keys of the command line's JSON.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Stream data (or datagram payload) that was transferred, both ways.
    pub bytes: u64,
    /// From the first stream (or handshake) to the last byte.
    pub seconds: f64,
    /// `bytes` in 10^9 bits per second.
    pub gbps: f64,
    /// Whether every byte received was right, and the server read every upload to its end.
    pub verified: bool,
    /// QUIC packets.
    pub packets_sent: u64,
    /// QUIC packets.
    pub packets_received: u64,
    /// UDP datagrams per system call.
    pub packets_per_send_call: f64,
    /// UDP datagrams per system call.
    pub packets_per_receive_call: f64,
    /// CPU time of this end's threads, in seconds.
    pub cpu_seconds: f64,
    /// Largest resident memory of the process.
    pub max_rss_bytes: u64,
    /// Packets declared lost by this end.
    pub lost_packets: u64,
    /// Requests, handshakes or datagrams per second; transfers otherwise.
    pub rate_per_second: f64,
    /// Of requests or handshakes.
    pub latency_us: Option<Latency>,
    /// The paths of the (first) connection at the end.
    pub paths: Vec<PathReport>,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 90 of 100 are not longer.
    pub p90: f64,
    /// 99 of 100 are not longer.
    pub p99: f64,
    /// 999 of 1000 are not longer.
    pub p99_9: f64,
    /// The longest.
    pub max: f64,
}

impl Latency {
    /// `None` if nothing was recorded.
    pub fn of(histogram: &Histogram) -> Option<Self> {
        let us = |q| histogram.quantile(q) as f64 / 1e3;
        (!histogram.is_empty()).then(|| Self {
            p50: us(0.5),
            p90: us(0.9),
            p99: us(0.99),
            p99_9: us(0.999),
            max: histogram.max() as f64 / 1e3,
        })
    }
}

/// A path at the end of a run.
#[derive(Clone, Debug)]
pub struct PathReport {
    /// Path ID.
    pub id: u32,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// Bytes of UDP payload, both ways.
    pub bytes: u64,
    /// Smoothed round-trip time.
    pub srtt_us: f64,
    /// Packets declared lost.
    pub lost: u64,
    /// Datagram size in bytes of UDP payload.
    pub mtu: u16,
}

/// What connections did, summed up.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub bytes: u64,
    /// Requests, handshakes, datagrams, streams.
    pub events: u64,
    /// Longest time of a connection, in nanoseconds.
    pub nanos: u64,
    pub mismatches: u64,
    /// Streams that ended before their end.
    pub failed: u64,
    pub latencies: Histogram,
    pub snapshots: Vec<ConnectionSnapshot>,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.events += other.events;
        self.nanos = self.nanos.max(other.nanos);
        self.mismatches += other.mismatches;
        self.failed += other.failed;
        self.latencies.merge(&other.latencies);
        self.snapshots.extend(other.snapshots);
    }

    /// Makes the report; `before` and `after` are the engine's counters around the run.
    pub fn report(self, before: &ShardStats, after: &ShardStats) -> Report {
        let seconds = self.nanos as f64 / 1e9;
        let per_second = |n: f64| if seconds > 0.0 { n / seconds } else { 0.0 };
        let sum = |f: fn(&ConnectionSnapshot) -> u64| self.snapshots.iter().map(f).sum();
        let per = |n: u64, calls: u64| if calls == 0 { 0.0 } else { n as f64 / calls as f64 };
        let (old, new) = (&before.socket, &after.socket);
        let cpu = |s: &ShardStats| s.cpu.unwrap_or(Duration::ZERO);
        Report {
            bytes: self.bytes,
            seconds,
            gbps: per_second(self.bytes as f64 * 8.0 / 1e9),
            verified: self.mismatches == 0 && self.failed == 0,
            packets_sent: sum(|s| s.connection.packets_sent),
            packets_received: sum(|s| s.connection.packets_received),
            packets_per_send_call: per(
                new.sent_datagrams - old.sent_datagrams,
                new.send_calls - old.send_calls,
            ),
            packets_per_receive_call: per(
                new.recv_datagrams - old.recv_datagrams,
                new.recv_calls - old.recv_calls,
            ),
            cpu_seconds: cpu(after).saturating_sub(cpu(before)).as_secs_f64(),
            max_rss_bytes: max_rss_bytes(),
            lost_packets: sum(|s| s.paths.iter().map(|p| p.lost_packets).sum()),
            rate_per_second: per_second(self.events as f64),
            latency_us: Latency::of(&self.latencies),
            paths: self.snapshots.first().map(paths).unwrap_or_default(),
        }
    }
}

/// What is told of a connection's paths.
pub fn paths(snapshot: &ConnectionSnapshot) -> Vec<PathReport> {
    let path = |p: &tquic_core::connection::PathStats| PathReport {
        id: p.id,
        local: p.addresses.local,
        remote: p.addresses.remote,
        bytes: p.bytes_sent + p.bytes_received,
        srtt_us: p.srtt.as_secs_f64() * 1e6,
        lost: p.lost_packets,
        mtu: p.mtu,
    };
    snapshot.paths.iter().map(path).collect()
}

/// Largest resident memory of this process; 0 where the system does not tell in /proc.
fn max_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
