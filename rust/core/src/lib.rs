//! The QUIC protocol, sans-I/O: connections, endpoints, recovery, congestion control.
#![forbid(unsafe_code)]

pub mod error;
pub mod recovery;
pub mod rng;
pub mod time;
