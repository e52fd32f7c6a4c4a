//! The QUIC protocol, sans-I/O: connections, endpoints, recovery, congestion control.
#![forbid(unsafe_code)]

pub mod cc;
pub mod cid;
pub mod config;
pub mod connection;
pub mod datagram;
pub mod delivery;
pub mod endpoint;
pub mod error;
pub mod events;
pub mod handshake;
pub mod keys;
pub mod multipath;
pub mod path;
pub mod recovery;
pub mod rng;
mod rx;
pub mod space;
pub mod stream;
pub mod time;
pub mod tx;

pub use connection::Connection;
pub use endpoint::{ConnectionHandle, Endpoint};
