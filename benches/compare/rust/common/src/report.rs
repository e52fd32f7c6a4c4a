//! What drivers print: one line of JSON each.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::latency::Latencies;
use crate::pattern::Request;
use crate::process;

/// What a server has seen.
#[derive(Debug, Default)]
pub struct Totals {
    /// Connections with a finished handshake.
    pub connections: AtomicU64,
    /// Streams read to the end.
    pub streams: AtomicU64,
    /// Bytes behind the headers.
    pub received: AtomicU64,
    /// Those that were not the pattern.
    pub mismatches: AtomicU64,
    /// Unreliable datagrams.
    pub datagrams: AtomicU64,
}

impl Totals {
    /// Counts a stream that was read to its end.
    pub fn count(&self, request: &Request) {
        self.streams.fetch_add(1, Relaxed);
        self.received.fetch_add(request.body.offset, Relaxed);
        self.mismatches.fetch_add(request.body.mismatches, Relaxed);
    }

    /// Counts a connection.
    pub fn connected(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// Prints them.
    pub fn print(&self) {
        let value = |counter: &AtomicU64| counter.load(Relaxed);
        let totals = json!({
            "connections": value(&self.connections),
            "streams": value(&self.streams),
            "received": value(&self.received),
            "mismatches": value(&self.mismatches),
            "datagrams": value(&self.datagrams),
        });
        println!("{totals}");
    }
}

/// The line that whoever started a server waits for.
pub fn listening(address: SocketAddr) {
    println!("listening on {address}");
}

/// What a client has done.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// Bytes of streams or datagrams, without headers.
    pub bytes: u64,
    /// Streams, requests, handshakes or datagrams.
    pub count: u64,
    /// Bytes that were not the pattern.
    pub mismatches: u64,
    /// Of requests or handshakes.
    pub latencies: Latencies,
}

impl Done {
    /// Adds what another has done.
    pub fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.count += other.count;
        self.mismatches += other.mismatches;
        self.latencies.merge(&other.latencies);
    }
}

/// Time and CPU time of some work.
pub struct Watch {
    start: Instant,
    cpu: Duration,
}

impl Watch {
    /// From now on.
    pub fn start() -> Self {
        Self { start: Instant::now(), cpu: process::cpu_time() }
    }

    /// The work is done.
    pub fn stop(self) -> Times {
        let cpu = process::cpu_time() - self.cpu;
        Times { seconds: self.start.elapsed().as_secs_f64(), cpu: cpu.as_secs_f64() }
    }
}

/// What a [`Watch`] saw.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    seconds: f64,
    cpu: f64,
}

/// Prints the client's report.
pub fn print(done: Done, times: Times) {
    print_with(done, times, Map::new());
}

/// The same, with more facts.
pub fn print_with(done: Done, times: Times, more: Map<String, Value>) {
    let mut report = json!({
        "bytes": done.bytes,
        "count": done.count,
        "mismatches": done.mismatches,
        "seconds": times.seconds,
        "cpu_seconds": times.cpu,
        "peak_memory": process::peak_memory(),
    });
    if let Some(percentiles) = done.latencies.percentiles() {
        let latencies = percentiles.into_iter().map(|(name, us)| (name.to_owned(), us.into()));
        report["latency_us"] = Value::Object(latencies.collect());
    }
    for (name, value) in more {
        report[name] = value;
    }
    println!("{report}");
}
