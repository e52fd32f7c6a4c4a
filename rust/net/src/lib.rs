//! Sockets and the shard event loop: batched UDP with GSO, GRO, ECN and packet information, and AF_XDP.
//!
//! [`udp`] moves datagrams, [`xdp`] moves them past the kernel's network stack, [`os`] holds what else a shard needs from the operating system:
//! readiness with nanosecond timeouts, a waker for other threads, a clock and a seed.
//!
//! All `unsafe` code stands in a few small files: `udp/linux/{syscall,sockopt}.rs` and
//! `os/{epoll,cpu,portable,bpf,mapping,pages}.rs` and `os/xsk`.

pub mod os;
pub mod udp;
pub mod xdp;

/// What `os::wake` is made of; the model checks in `rust/models` put theirs in place.
#[cfg(target_os = "linux")]
mod sync {
    pub use std::sync::atomic::{AtomicU8, Ordering};
}
