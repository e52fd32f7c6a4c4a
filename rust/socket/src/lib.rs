//! Sockets over the engine, with the options, messages and numbers of the TQUIC kernel API guide.
//!
//! A socket is one end of a pair of connected Unix sockets, the *near* one, which the program has. It
//! carries no data: it is readable and writable when the QUIC socket is, so that `poll`, `select`,
//! `epoll` and event loops work on it, and when the last copy of it is closed, in whatever process,
//! the *far* end tells. All calls return at once; whoever wants to wait polls the near end.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking"))]

pub mod abi;
mod defaults;
mod errno;
mod info;
mod options;
mod readiness;
mod service;
mod session;
mod socket;
#[cfg(test)]
mod tests;
mod zerocopy;

pub use errno::{Errno, Failure};
pub use service::Service;
pub use session::{Outgoing, Received};
pub use socket::{Made, Shutdown, Socket};
pub use tquic_trace::qlog::{NETLINK_FAMILY, NETLINK_GROUP};
