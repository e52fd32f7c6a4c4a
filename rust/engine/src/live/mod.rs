//! A view of a running engine for others: `tquic top`, `tquic stats`.
//!
//! A thread listens at a Unix socket in a folder that only the user can enter. Whoever connects gets
//! one JSON document and is done: nothing is read, so there is nothing to get wrong. The shards are
//! asked only then.

mod snapshot;

#[cfg(target_os = "linux")]
mod socket;

pub(crate) use snapshot::write;
pub use snapshot::{ConnectionView, PathView, Snapshot};
#[cfg(target_os = "linux")]
pub(crate) use socket::Live;

/// Connections described for each shard at most; the others are only counted.
pub const MOST: usize = 1000;
