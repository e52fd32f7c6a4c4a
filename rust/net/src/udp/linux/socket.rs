//! The socket itself: opened, set up, and asked what it can do.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arrayvec::ArrayVec;
use libc::c_int;
use socket2::{Domain, Protocol, Socket, Type};

#[cfg(feature = "faults")]
use super::faults::{Call, Faults};
use super::recv::{self, RecvBatch};
use super::send::Sender;
use super::syscall::{Envelope, Message};
use super::zerocopy::{self, ErrorQueue, Queue};
use super::{errors, sockopt, syscall};
use crate::udp::stats::Counters;
use crate::udp::{
    BufferSize, Capabilities, MAX_REFUSALS, MAX_SEGMENTS, Refusal, Sent, SocketOptions, Stats,
    Transmit,
};

/// One non-blocking UDP socket. It can be shared, but each call is one thread's own.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    local: SocketAddr,
    /// As found at `bind`; whether GSO still works is in `gso`.
    capabilities: Capabilities,
    gso: AtomicBool,
    /// Whether ICMP errors are kept (`IP_RECVERR`).
    reports: bool,
    /// What is on loan, and what the error queue said.
    pub(super) queue: ErrorQueue,
    /// What it is bound to (`SO_BINDTODEVICE`).
    interface: Option<String>,
    /// Whether IPv4 comes in, too, though it is an IPv6 socket.
    dual_stack: bool,
    pub(super) counters: Counters,
    #[cfg(feature = "faults")]
    faults: Option<Faults>,
}

impl UdpSocket {
    /// Opens a socket at `addr`. What the kernel lacks shows in [`Self::capabilities`]; only an
    /// address, port or interface that cannot be had is an error.
    pub fn bind(addr: SocketAddr, options: &SocketOptions) -> io::Result<Self> {
        #[cfg(feature = "faults")]
        Faults::check(options.faults.as_ref(), Call::Open)?;
        let v6 = addr.is_ipv6();
        let kind = Type::DGRAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(addr), kind, Some(Protocol::UDP))?;
        if v6 {
            socket.set_only_v6(!options.dual_stack)?;
        }
        if options.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if let Some(name) = &options.interface {
            socket.bind_device(Some(name.as_bytes()))?;
        }
        let recv_buffer = recv_buffer(&socket, options.recv_buffer)?;
        let send_buffer = send_buffer(&socket, options.send_buffer)?;
        let fd = socket.as_fd();
        let families = Families { v4: !v6 || options.dual_stack, v6 };
        let capabilities = Capabilities {
            gso_max_segments: if options.gso && probe_gso(fd) { MAX_SEGMENTS } else { 1 },
            gro: options.gro && sockopt::set(fd, libc::SOL_UDP, libc::UDP_GRO, 1).is_ok(),
            ecn: options.ecn && families.report_ecn(fd),
            pktinfo: families.report_pktinfo(fd),
            dont_fragment: families.forbid_fragments(fd),
            zerocopy: options.zerocopy
                && sockopt::set(fd, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1).is_ok(),
            recv_buffer,
            send_buffer,
        };
        let reports = options.report_errors && families.report_errors(fd);
        socket.bind(&addr.into())?;
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let gso = AtomicBool::new(capabilities.gso_max_segments > 1);
        Ok(Self {
            socket,
            local,
            capabilities,
            gso,
            reports,
            queue: ErrorQueue::default(),
            interface: options.interface.clone(),
            dual_stack: families.v4 && families.v6,
            counters: Counters::default(),
            #[cfg(feature = "faults")]
            faults: options.faults.clone(),
        })
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The only interface that it sends and receives through, if it is bound to one.
    pub fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// Whether it is an IPv6 socket that carries IPv4 as well.
    pub(crate) fn is_dual_stack(&self) -> bool {
        self.dual_stack
    }

    /// What it can do at this time: GSO may go away, and zero copy.
    pub fn capabilities(&self) -> Capabilities {
        let gso_max_segments = if self.gso.load(Relaxed) { MAX_SEGMENTS } else { 1 };
        let zerocopy = self.capabilities.zerocopy && self.queue.lock().ledger.is_certain();
        Capabilities { gso_max_segments, zerocopy, ..self.capabilities }
    }

    /// Sends up to [`MAX_TRAINS`](crate::udp::MAX_TRAINS) trains, as many as fit in one system
    /// call each time. [`Sent`] says how far it came; an error means that the socket is unusable.
    ///
    /// Without GSO each train leaves as datagrams of its own. If the kernel refuses GSO for a
    /// train but takes its datagrams one by one, GSO is off for this socket from then on; nothing
    /// is lost.
    pub fn send(&self, batch: &[Transmit<'_>]) -> io::Result<Sent> {
        Sender {
            kernel: |messages: &[Message<'_>]| {
                if self.capabilities.zerocopy {
                    let mut queue = self.queue.lock();
                    return zerocopy::send(
                        self,
                        &mut queue,
                        messages,
                        self.reports,
                        &self.counters,
                    );
                }
                zerocopy::Kernel::copy(self, messages)
            },
            v6: self.local.is_ipv6(),
            reports: self.reports,
            ecn: self.capabilities.ecn,
            gso: &self.gso,
            counters: &self.counters,
        }
        .send(batch)
    }

    /// Fills the slots of `batch` with what has arrived and says how many messages came; 0 if
    /// nothing has. Fewer than [`RecvBatch::capacity`] means that the socket was empty at the end.
    pub fn recv(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        let kernel = |buffer: &mut [u8], envelopes: &mut [Envelope]| {
            #[cfg(feature = "faults")]
            Faults::check(self.faults.as_ref(), Call::Receive)?;
            syscall::recvmmsg(self.as_fd(), buffer, envelopes)
        };
        recv::recv(kernel, batch, self.reports, &self.counters)
    }

    /// Reads the error queue: takes back what was lent ([`SocketOptions::zerocopy`]), and says what ICMP
    /// said since the last call, the oldest first, with [`SocketOptions::report_errors`]. While
    /// something waits there, the poller reports an error of the socket.
    pub fn take_refusals(&self) -> ArrayVec<Refusal, MAX_REFUSALS> {
        if !self.reports && !self.capabilities.zerocopy {
            return ArrayVec::new();
        }
        let mut queue = self.queue.lock();
        zerocopy::Kernel::read(self, &mut queue);
        queue.refusals.drain(..).take(MAX_REFUSALS).collect()
    }

    /// Counters since `bind`. Asks the kernel for its drops: not for every packet.
    pub fn stats(&self) -> Stats {
        let info = sockopt::words::<9>(self.as_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO);
        let drops = info.map_or(0, |info| info[libc::SK_MEMINFO_DROPS as usize]);
        self.counters.snapshot(u64::from(drops))
    }
}

impl zerocopy::Kernel for UdpSocket {
    fn copy(&self, messages: &[Message<'_>]) -> io::Result<usize> {
        #[cfg(feature = "faults")]
        let messages = Faults::send(self.faults.as_ref(), messages)?;
        syscall::sendmmsg(self.as_fd(), messages)
    }

    fn lend(&self, message: &Message<'_>) -> io::Result<()> {
        #[cfg(feature = "faults")]
        Faults::check(self.faults.as_ref(), Call::Lend(message.data.len()))?;
        syscall::sendmsg_zerocopy(self.as_fd(), message)
    }

    fn read(&self, queue: &mut Queue) {
        let Queue { refusals, ledger } = queue;
        errors::read(self.as_fd(), refusals, ledger, &self.counters);
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

// The kernel doubles what it is asked for, to pay for its own overhead, and reports the double.

fn recv_buffer(socket: &Socket, wished: usize) -> io::Result<BufferSize> {
    socket.set_recv_buffer_size(wished.min(c_int::MAX as usize))?;
    Ok(BufferSize { wished, granted: socket.recv_buffer_size()? / 2 })
}

fn send_buffer(socket: &Socket, wished: usize) -> io::Result<BufferSize> {
    socket.set_send_buffer_size(wished.min(c_int::MAX as usize))?;
    Ok(BufferSize { wished, granted: socket.send_buffer_size()? / 2 })
}

/// Whether the kernel knows `UDP_SEGMENT`. Undone at once: left on, it would cut every datagram
/// that is sent without a segment size of its own.
fn probe_gso(fd: BorrowedFd<'_>) -> bool {
    sockopt::set(fd, libc::SOL_UDP, libc::UDP_SEGMENT, 1200).is_ok()
        && sockopt::set(fd, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok()
}

/// What travels through the socket. A dual-stack one needs the options of both families: the IPv4
/// ones rule its IPv4 traffic.
#[derive(Clone, Copy)]
struct Families {
    v4: bool,
    v6: bool,
}

impl Families {
    fn set(self, fd: BorrowedFd<'_>, v4: (c_int, c_int), v6: (c_int, c_int)) -> bool {
        (!self.v4 || sockopt::set(fd, libc::SOL_IP, v4.0, v4.1).is_ok())
            && (!self.v6 || sockopt::set(fd, libc::SOL_IPV6, v6.0, v6.1).is_ok())
    }

    fn report_errors(self, fd: BorrowedFd<'_>) -> bool {
        self.set(fd, (libc::IP_RECVERR, 1), (libc::IPV6_RECVERR, 1))
    }

    fn report_ecn(self, fd: BorrowedFd<'_>) -> bool {
        self.set(fd, (libc::IP_RECVTOS, 1), (libc::IPV6_RECVTCLASS, 1))
    }

    /// The IPv6 option covers mapped IPv4 as well; both would only repeat themselves.
    fn report_pktinfo(self, fd: BorrowedFd<'_>) -> bool {
        let v4 = Self { v4: self.v4 && !self.v6, ..self };
        v4.set(fd, (libc::IP_PKTINFO, 1), (libc::IPV6_RECVPKTINFO, 1))
    }

    /// RFC 9000 section 14: datagrams must not be fragmented. "Probe" also ignores the kernel's
    /// own idea of the path MTU, which forged ICMP messages can lower.
    fn forbid_fragments(self, fd: BorrowedFd<'_>) -> bool {
        self.set(
            fd,
            (libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
            (libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE),
        )
    }
}
