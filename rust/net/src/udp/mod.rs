//! One non-blocking UDP socket, and batches through it.
//!
//! On Linux a *train* (datagrams of equal length, the last may be shorter) leaves in one piece
//! through `UDP_SEGMENT`, several trains leave in one `sendmmsg`, and a receive slot takes a
//! train that the kernel coalesced (`UDP_GRO`). Other systems get a plain implementation with the
//! same interface.

mod buffer;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(not(target_os = "linux"), test))]
mod portable;
mod probe;
mod rate;
mod stats;

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use arrayvec::ArrayVec;

pub use buffer::Buffer;
#[cfg(all(target_os = "linux", feature = "faults"))]
pub use linux::faults;
#[cfg(target_os = "linux")]
pub use linux::{RecvBatch, UdpSocket, mtu_of_route, reuseport_by_cid};
#[cfg(not(target_os = "linux"))]
pub use portable::{RecvBatch, UdpSocket, mtu_of_route, reuseport_by_cid};
pub use probe::{Probe, probe};
pub use rate::{RateOptions, RawRate, raw_rate, raw_rate_with};
pub use stats::Stats;

/// Trains that one [`UdpSocket::send`] looks at; 8 trains of 44 in one system call cost about a fifth
/// less CPU time than one at a time, 32 hardly less than 8. A longer batch is sent up to here, and
/// [`Sent::trains`] says so.
pub const MAX_TRAINS: usize = 32;

/// Datagrams in one train that every kernel with GSO accepts (`UDP_MAX_SEGMENTS` was 64 when it
/// came, 128 in newer kernels).
pub const MAX_SEGMENTS: usize = 64;

/// Bytes in one train: the largest UDP payload over IPv4, which GSO does not lift.
pub const MAX_TRAIN_BYTES: usize = 65_507;

/// Bytes of one receive slot: no UDP payload and no coalesced train is longer.
pub const SLOT_SIZE: usize = 1 << 16;

/// Slots that one [`RecvBatch`] can have.
pub const MAX_SLOTS: usize = 64;

/// Slots of [`RecvBatch::default`], chosen by measurement (CPU time per datagram): trains of 44 cost
/// the same with 1 to 32 slots and about a tenth more with 64, whose bytes outgrow the cache; single
/// datagrams, which fill a slot each, gain up to 16.
pub const DEFAULT_SLOTS: usize = 16;

/// An ECN codepoint other than Not-ECT (RFC 3168 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ecn {
    /// ECT(1): L4S-capable transport (RFC 9331).
    Ect1 = 0b01,
    /// ECT(0): ECN-capable transport.
    Ect0 = 0b10,
    /// CE: congestion was met on the way.
    Ce = 0b11,
}

impl Ecn {
    /// The codepoint in the low two bits of a TOS or traffic class byte; `None` is Not-ECT.
    pub const fn from_bits(tos: u8) -> Option<Self> {
        match tos & 0b11 {
            0b01 => Some(Self::Ect1),
            0b10 => Some(Self::Ect0),
            0b11 => Some(Self::Ce),
            _ => None,
        }
    }
}

/// How to open a socket.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    /// Receive buffer to ask for, in bytes; the kernel may grant less. Default 4 MiB.
    pub recv_buffer: usize,
    /// Send buffer to ask for, in bytes; the kernel may grant less. Default 4 MiB.
    pub send_buffer: usize,
    /// Share the port with the other shards' sockets (`SO_REUSEPORT`). Default off.
    pub reuse_port: bool,
    /// Let a socket bound to `[::]` carry IPv4 as well. Default on.
    pub dual_stack: bool,
    /// Send trains in one piece where the kernel can. Default on.
    pub gso: bool,
    /// Receive trains in one piece where the kernel can. Default on.
    pub gro: bool,
    /// Report ECN codepoints of received datagrams. Default on.
    pub ecn: bool,
    /// Send and receive through this network interface only (`SO_BINDTODEVICE`).
    pub interface: Option<String>,
    /// Keep what ICMP says about sent datagrams for `UdpSocket::take_refusals`. Default off.
    pub report_errors: bool,
    /// Lend the kernel the buffers of long trains instead of having it copy them (`MSG_ZEROCOPY`,
    /// Linux): for trains with a [`Transmit::buffer`]. Default off: it costs more than a copy unless the
    /// network card fetches the bytes itself, and loopback and veth make a copy anyway.
    pub zerocopy: bool,
    /// Which of its system calls fail. Default none.
    #[cfg(all(target_os = "linux", feature = "faults"))]
    pub faults: Option<faults::Faults>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            recv_buffer: 4 << 20,
            send_buffer: 4 << 20,
            reuse_port: false,
            dual_stack: true,
            gso: true,
            gro: true,
            ecn: true,
            interface: None,
            report_errors: false,
            zerocopy: false,
            #[cfg(all(target_os = "linux", feature = "faults"))]
            faults: None,
        }
    }
}

/// A buffer size as asked for and as granted, in bytes of the kernel's own accounting: a datagram
/// is charged with its overhead, so less payload fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferSize {
    /// What the options asked for.
    pub wished: usize,
    /// What the kernel gave; on Linux `net.core.rmem_max` and `net.core.wmem_max` bound it.
    pub granted: usize,
}

impl BufferSize {
    /// Whether the kernel gave less than was asked for, which deserves a warning.
    pub const fn is_clamped(self) -> bool {
        self.granted < self.wished
    }
}

/// What a socket can do, found out when it was bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Datagrams in one train that leave in one piece: [`MAX_SEGMENTS`], or 1 without GSO (also
    /// after the kernel refused GSO on the way).
    pub gso_max_segments: usize,
    /// Whether a receive slot may hold a train.
    pub gro: bool,
    /// Whether ECN codepoints are sent and received.
    pub ecn: bool,
    /// Whether the local address of a datagram is reported and can be chosen.
    pub pktinfo: bool,
    /// Whether datagrams go out unfragmented, as RFC 9000 section 14 asks, and too large ones are
    /// refused. If not, path MTU discovery would find out nothing: stay at 1200 bytes.
    pub dont_fragment: bool,
    /// Whether buffers are lent to the kernel; false, too, after it lost count of them.
    pub zerocopy: bool,
    /// The receive buffer.
    pub recv_buffer: BufferSize,
    /// The send buffer.
    pub send_buffer: BufferSize,
}

/// A train to send: datagrams of `segment_size` bytes to one peer.
#[derive(Clone, Copy, Debug)]
pub struct Transmit<'a> {
    /// Where it goes. A socket that is dual-stack takes IPv4 addresses as they are.
    pub remote: SocketAddr,
    /// Source address, if not the kernel's choice.
    pub local_ip: Option<IpAddr>,
    /// ECN codepoint of every datagram in the train.
    pub ecn: Option<Ecn>,
    /// Length of every datagram, but the last may be shorter.
    pub segment_size: usize,
    /// The datagrams, one after another: at most [`MAX_SEGMENTS`] and [`MAX_TRAIN_BYTES`].
    pub data: &'a [u8],
    /// The buffer that `data` lies in, if it may be lent to the kernel
    /// ([`SocketOptions::zerocopy`]).
    pub buffer: Option<&'a Buffer>,
}

impl Transmit<'_> {
    /// Number of datagrams; an empty `data` is one empty datagram.
    pub const fn datagrams(&self) -> usize {
        if self.segment_size == 0 || self.data.is_empty() {
            1
        } else {
            self.data.len().div_ceil(self.segment_size)
        }
    }

    /// Whether one `sendmsg` can take it: what breaks these bounds is a bug of the caller, and
    /// must not look like a path MTU or a missing GSO.
    pub(crate) const fn is_valid(&self) -> bool {
        (self.segment_size > 0 || self.data.is_empty())
            && self.data.len() <= MAX_TRAIN_BYTES
            && self.datagrams() <= MAX_SEGMENTS
    }
}

/// Why a train (or the rest of it) did not leave. The socket stays usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainError {
    /// A datagram is larger than the path or interface takes (`EMSGSIZE`): lower the MTU.
    TooLarge,
    /// The kernel would not send it just now or that way: no route, address gone, filtered. Treat
    /// it as loss. The value is the operating system's error number.
    Soft(i32),
    /// The train breaks the bounds of [`Transmit`].
    Invalid,
}

impl fmt::Display for TrainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooLarge => f.write_str("datagram larger than the path MTU"),
            Self::Soft(code) => write!(f, "not sent: {}", io::Error::from_raw_os_error(code)),
            Self::Invalid => f.write_str("train with no segment size or beyond the size limits"),
        }
    }
}

impl std::error::Error for TrainError {}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Trains dealt with, from the start of the batch, those in `errors` included. The next call
    /// starts behind them.
    pub trains: usize,
    /// Bytes of the train `trains` that left before the socket blocked, a multiple of its segment
    /// size; only without GSO. The next call sends the rest: `&data[partial..]`.
    pub partial: usize,
    /// Datagrams that left.
    pub datagrams: usize,
    /// The send buffer or queue is full: call again when the socket is writable. (After
    /// `ENOBUFS` it may be writable at once; a timer is better than a loop then.)
    pub blocked: bool,
    /// Trains that did not leave (in full), by their place in the batch.
    pub errors: ArrayVec<(usize, TrainError), MAX_TRAINS>,
}

/// What one receive slot holds: a datagram, or a train from one peer.
#[derive(Debug)]
pub struct Slot<'a> {
    /// Who sent it. IPv4 on a dual-stack socket is an IPv4 address, not a mapped one.
    pub remote: SocketAddr,
    /// The address it was sent to, where the system says so.
    pub local_ip: Option<IpAddr>,
    /// The port it was sent to, where that is not the one port of a socket (AF_XDP).
    pub local_port: Option<u16>,
    /// ECN codepoint of every datagram in the slot; `None` is Not-ECT or unknown.
    pub ecn: Option<Ecn>,
    /// Length of every datagram in the slot but the last, which may be shorter. Not zero.
    pub stride: usize,
    /// Index of the interface it came in through, 0 if unknown.
    pub interface: u32,
    /// The datagrams, one after another; never empty.
    pub data: &'a mut [u8],
}

impl Slot<'_> {
    /// The datagrams in the slot, in the order of arrival.
    pub fn datagrams(&mut self) -> std::slice::ChunksMut<'_, u8> {
        self.data.chunks_mut(self.stride.max(1))
    }
}

/// Bytes of a refused datagram that are kept: enough for the connection IDs of a QUIC packet.
pub const QUOTE_SIZE: usize = 64;

/// Refusals that one call takes.
pub const MAX_REFUSALS: usize = 16;

/// An ICMP message says that nobody listens where a datagram was sent (port unreachable). Anybody
/// can forge one who knows the addresses and what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where the datagram was sent.
    pub remote: SocketAddr,
    /// Its beginning, as the message quotes it.
    pub quote: ArrayVec<u8, QUOTE_SIZE>,
}

/// A datagram that came some other way than through a [`UdpSocket`].
#[cfg(target_os = "linux")]
pub(crate) struct Arrived<'a> {
    pub remote: SocketAddr,
    pub local: SocketAddr,
    pub ecn: Option<Ecn>,
    pub interface: u32,
    pub payload: &'a [u8],
}

/// What is known of a filled slot besides its bytes.
#[derive(Clone, Copy, Debug)]
struct Meta {
    remote: SocketAddr,
    local_ip: Option<IpAddr>,
    local_port: Option<u16>,
    ecn: Option<Ecn>,
    stride: usize,
    interface: u32,
    len: usize,
}

impl Meta {
    /// The slot over `bytes`; `None` if nothing usable came in.
    fn slot<'a>(&self, bytes: &'a mut [u8]) -> Option<Slot<'a>> {
        let data = bytes.get_mut(..self.len).filter(|data| !data.is_empty())?;
        let Self { remote, local_ip, local_port, ecn, stride, interface, .. } = *self;
        Some(Slot { remote, local_ip, local_port, ecn, stride, interface, data })
    }

    const fn datagrams(&self) -> usize {
        if self.stride == 0 { 0 } else { self.len.div_ceil(self.stride) }
    }
}
