//! The QUIC protocol, sans-I/O: connections, endpoints, recovery, congestion control.
#![forbid(unsafe_code)]

pub mod rng;
pub mod time;
