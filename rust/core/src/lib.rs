//! The QUIC protocol, sans-I/O: connections, endpoints, recovery, congestion control.
#![forbid(unsafe_code)]

pub mod cc;
pub mod error;
pub mod recovery;
pub mod rng;
pub mod space;
pub mod time;
pub mod tx;
