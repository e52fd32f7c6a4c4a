//! What a shard needs from the operating system besides sockets.

#[cfg(target_os = "linux")]
pub(crate) mod bpf;
#[cfg(target_os = "linux")]
mod cpu;
#[cfg(target_os = "linux")]
mod epoll;
#[cfg(target_os = "linux")]
mod links;
#[cfg(target_os = "linux")]
mod mapping;
#[cfg(target_os = "linux")]
mod pages;
#[cfg(any(not(target_os = "linux"), test))]
mod portable;
#[cfg(target_os = "linux")]
mod wake;
#[cfg(target_os = "linux")]
pub(crate) mod xsk;

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Instant;

#[cfg(target_os = "linux")]
pub use cpu::{allowed_cpus, pin_thread, thread_cpu_time};
#[cfg(target_os = "linux")]
pub use epoll::{Events, Poller, Waker};
#[cfg(target_os = "linux")]
pub use links::{LinkWatch, links};
#[cfg(target_os = "linux")]
pub(crate) use pages::Pages;
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::Pages;
#[cfg(not(target_os = "linux"))]
pub use portable::{
    Events, LinkWatch, Poller, Waker, allowed_cpus, links, pin_thread, thread_cpu_time,
};

/// Nanoseconds on a monotonic clock, the same for all threads of the process; it starts near 0
/// with the first call. Read it once per batch, not per packet.
pub fn monotonic_nanos() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Gives memory that was freed back to the operating system, of the whole process; walks through all
/// that is free, which can take milliseconds. Only with the GNU C library; elsewhere nothing happens.
pub fn trim_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes no pointer, and is safe to call beside other threads that allocate.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// A seed from the operating system's random generator, which an attacker cannot foresee.
pub fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::from)?;
    Ok(seed)
}

/// An interface, and an address that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// An IP address of it.
    pub address: Option<IpAddr>,
    /// Whether it is up and has a carrier.
    pub up: bool,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Data to receive.
    Readable,
    /// Data to receive, or room to send.
    ReadableWritable,
}

/// A source that is ready. Level-triggered: it is reported again while it stays so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The token the source was added with.
    pub token: usize,
    /// There is data to receive, or an error to fetch.
    pub readable: bool,
    /// There is room to send.
    pub writable: bool,
    /// There is an error to fetch, or something in the error queue (Linux).
    pub error: bool,
}

/// The token that no source may have.
pub const RESERVED_TOKEN: usize = usize::MAX;
