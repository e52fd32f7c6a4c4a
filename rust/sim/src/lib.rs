//! A deterministic network simulator in virtual time, and a relay that plays its links in real time.
//!
//! From the bottom up:
//!
//! - [`event`], [`random`], [`digest`]: what makes a run repeatable. Events are ordered by
//!   `(time, sequence)`, every element draws from a random stream of its own, and a running hash
//!   says whether two runs were the same.
//! - [`link`]: one direction of a link, as stages that a packet passes in order.
//! - [`network`]: links joined to routes between addresses, with address translation and timed
//!   edits for migration and rebinding.
//! - [`simulation`]: hosts at the network's edge. Whatever implements [`simulation::Host`] can take
//!   part: a bare congestion controller or a whole connection.
//! - [`scenario`]: named pairs of links as data, those of the QUIC interop runner among them.
//! - [`trial`]: whole connections with faults by chance, and what must hold in each.
//! - [`congestion`]: congestion controllers on shared bottlenecks, and what is expected of them.
//! - [`transfer`]: one plain transfer between two endpoints, for tests and for counting instructions.
//! - [`relay`]: the same links between real UDP sockets in real time.

pub mod congestion;
pub mod digest;
pub mod event;
pub mod link;
pub mod network;
pub mod packet;
pub mod random;
#[cfg(target_os = "linux")]
pub mod relay;
pub mod scenario;
pub mod simulation;
pub mod transfer;
pub mod trial;

pub use tquic_core::time::{Duration, Instant};
