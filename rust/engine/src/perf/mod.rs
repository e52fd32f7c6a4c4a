//! The perf protocol (draft-banks-quic-performance-00): the client says in the first 8 bytes of a
//! stream how many bytes it wants, sends what it likes, and gets its bytes.
//!
//! The draft leaves the bytes free. Ours are the pattern of [`crate::pump`], so that our client
//! verifies every byte of our server; the server counts what it gets that differs and goes on, for
//! other clients send what they like.

mod client;
mod histogram;
mod report;
mod server;

use bytes::Bytes;

pub use client::{
    Bulk, ClientOptions, DatagramLoad, HandshakeKind, Handshakes, PerfError, Requests, Scenario,
    run,
};
pub use histogram::Histogram;
pub use report::{Latency, PathReport, Report, paths};
pub use server::{Server, ServerCounters, ServerTotals};

/// The protocol's name (section 2.1 of the draft).
pub const ALPN: &[u8] = b"perf";

/// An answer without end (section 2.3.1).
pub const UNLIMITED: u64 = u64::MAX;

/// The first bytes of a stream: how many are wanted.
fn header(wanted: u64) -> Bytes {
    Bytes::copy_from_slice(&wanted.to_be_bytes())
}
