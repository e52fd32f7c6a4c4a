//! The QUIC protocol, sans-I/O: connections, endpoints, recovery, congestion control.
#![forbid(unsafe_code)]

pub mod datagram;
pub mod delivery;
pub mod error;
pub mod recovery;
pub mod rng;
pub mod stream;
pub mod time;
pub mod tx;
