//! `hq-interop`: HTTP/0.9 over QUIC, as the QUIC interop runner plays it. A request is `GET`, a
//! space, a path and CR LF on a bidirectional stream, then its end; the answer is the file's bytes
//! and the end of the stream. There are no headers, so there are no sizes, ranges or errors in
//! words: what cannot be served is reset with a code.

mod client;
mod part;
mod pipe;
mod request;
mod root;
mod server;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use client::{Ending, Fetch, FetchSetup, FileResult, Get, SessionFacts, Target};
pub use pipe::{Piece, Pipe};
pub use request::{BadRequest, MAX_REQUEST, path_parts};
pub use root::{Found, Root};
pub use server::{Server, ServerStats, Service};

/// The protocol's name in TLS (ALPN).
pub const ALPN: &[u8] = b"hq-interop";

/// Codes with which streams are reset. The protocol defines none; these are ours, and read like the
/// status codes of HTTP.
pub mod code {
    /// The fetch was given up.
    pub const CANCELLED: u64 = 0;
    /// The request cannot be understood.
    pub const BAD_REQUEST: u64 = 0x400;
    /// The path leads out of the folder.
    pub const FORBIDDEN: u64 = 0x403;
    /// There is no such file.
    pub const NOT_FOUND: u64 = 0x404;
    /// The file is there and cannot be read.
    pub const FAILED: u64 = 0x500;
    /// Streams of this kind have no meaning here.
    pub const UNEXPECTED_STREAM: u64 = 0x405;

    /// What a code says, for people.
    pub fn explain(code: u64) -> &'static str {
        match code {
            BAD_REQUEST => "it does not understand the request",
            FORBIDDEN => "it refuses this path",
            NOT_FOUND => "it has no such file",
            FAILED => "it cannot read the file",
            _ => "it has no such file, or refuses it",
        }
    }
}
