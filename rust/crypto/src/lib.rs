//! QUIC packet protection, key schedule and the TLS 1.3 session.
//!
//! rustls does the TLS handshake and nothing else. Every packet key is derived here from the TLS
//! traffic secrets (RFC 9001 section 5.1, RFC 9369 section 3.3), for QUIC version 1 and 2 alike,
//! so that the version may be decided late (RFC 9368) and packets are protected in batches
//! without a virtual call.
//!
//! Nothing here reads a clock or opens a socket by itself; rustls asks the clock named in the
//! configuration.
#![deny(unsafe_code)]

mod aead;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "instructions that the CPU has or has not, and unaligned loads")]
mod aes_gcm;
pub mod client_hello;
mod header;
mod hkdf;
mod initial;
mod keys;
mod limits;
mod pq;
mod reset;
pub mod retry;
pub mod session;
mod suite;
pub mod token;
mod update;

pub use aead::{PacketKey, backend};
pub use header::HeaderKey;
pub use initial::initial_keys;
pub use keys::{DirectionKeys, Keys, TrafficSecret};
pub use reset::ResetKey;
pub use session::{ClientConfig, KeyChange, Level, ServerConfig, Session, TicketStore, TlsError};
pub use suite::Suite;
pub use token::{ReplayFilter, TokenKey};
pub use update::UpdateSecrets;

/// Length of the authentication tag of every suite, in bytes (RFC 9001 section 5.3).
pub const TAG_LEN: usize = 16;

/// Length of the ciphertext sample that header protection needs, in bytes (RFC 9001 section 5.4.2).
pub const SAMPLE_LEN: usize = 16;

#[cfg(test)]
mod test_util;
#[cfg(test)]
mod vectors;
