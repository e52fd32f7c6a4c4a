//! What the drivers share, so that they differ in nothing but the stack: the perf protocol's bytes
//! (draft-banks-quic-performance-00), options, latencies and the report.

pub mod latency;
pub mod options;
pub mod pattern;
pub mod process;
pub mod report;
pub mod tls;

/// The protocol's name (section 2.1 of the draft).
pub const ALPN: &[u8] = b"perf";
/// Bytes that say how many bytes are wanted.
pub const HEADER: usize = 8;
/// UDP payload of a full datagram: no IP packet is larger than 1500 bytes.
pub const DATAGRAM: u16 = 1472;
/// Bytes that a peer may send on a stream, and on a connection, before it is read.
pub const STREAM_WINDOW: u32 = 16 << 20;
/// The same for a connection.
pub const CONNECTION_WINDOW: u32 = 32 << 20;
/// Streams that a peer may have open.
pub const STREAMS: u32 = 1024;
/// What sockets ask for; the system may give less.
pub const SOCKET_BUFFER: usize = 4 << 20;
/// Milliseconds without a packet after which a connection is dead.
pub const IDLE_TIMEOUT_MS: u64 = 120_000;

/// Whatever went wrong, in words.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// A result with that.
pub type Result<T> = std::result::Result<T, Error>;
