//! AF_XDP: datagrams past the kernel's network stack, through one network interface.
//!
//! A program of ours on the interface takes UDP packets to addresses that sockets of this process
//! are bound to, and leaves everything else to the kernel. Taken packets come as frames in shared
//! memory; datagrams to peers that the interface leads to leave as frames. The [`UdpSocket`]s stay:
//! they keep their ports, and everything that does not fit here goes through them, so that nothing
//! depends on this back-end but speed.
//!
//! [`UdpSocket`]: crate::udp::UdpSocket

#[cfg(target_os = "linux")]
mod hops;
#[cfg(target_os = "linux")]
mod interface;
#[cfg(target_os = "linux")]
mod netlink;
#[cfg(target_os = "linux")]
mod packet;
#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(target_os = "linux")]
mod program;

#[cfg(target_os = "linux")]
pub use interface::{Interface, is_available};
#[cfg(not(target_os = "linux"))]
pub use portable::{Interface, is_available};

/// Queues of an interface that are used, at most.
pub const MAX_QUEUES: usize = 64;

/// How frames come to the interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Without a copy where the driver can, else with one.
    #[default]
    Auto,
    /// The kernel copies each frame.
    Copy,
    /// The interface itself reads and writes the frames; an error where its driver cannot.
    ZeroCopy,
}

/// Which interface, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Name of an Ethernet interface.
    pub interface: String,
    /// Whether frames are copied. Default: only if they have to be.
    pub mode: Mode,
}

impl Options {
    /// An interface, in the best mode that it has.
    pub fn new(interface: impl Into<String>) -> Self {
        Self { interface: interface.into(), mode: Mode::default() }
    }
}

/// An interface as it is used, and counters since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Its name.
    pub interface: String,
    /// Queues in use.
    pub queues: usize,
    /// The driver runs the program, not the network stack.
    pub native: bool,
    /// The interface reads and writes the shared memory itself.
    pub zero_copy: bool,
    /// Frames can leave. If not, everything goes through the kernel.
    pub up: bool,
    /// Datagrams that left as frames.
    pub sent_datagrams: u64,
    /// Datagrams that came as frames.
    pub recv_datagrams: u64,
    /// Frames received that were damaged.
    pub damaged: u64,
    /// Times that the kernel refused to take frames: the interface was down, or gone.
    pub errors: u64,
}
