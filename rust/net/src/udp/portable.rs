//! UDP by the standard library, one datagram per system call: for systems other than Linux.

use std::io;
use std::net::{IpAddr, SocketAddr};

use arrayvec::ArrayVec;
use socket2::{Domain, Protocol, Socket, Type};

use super::stats::Counters;
use super::{
    BufferSize, Capabilities, DEFAULT_SLOTS, MAX_REFUSALS, MAX_SLOTS, MAX_TRAINS, Meta, Refusal,
    SLOT_SIZE, Sent, Slot, SocketOptions, Stats, TrainError, Transmit,
};

/// One non-blocking UDP socket. It can be shared, but each call is one thread's own.
#[derive(Debug)]
pub struct UdpSocket {
    socket: std::net::UdpSocket,
    local: SocketAddr,
    recv_buffer: BufferSize,
    send_buffer: BufferSize,
    counters: Counters,
}

impl UdpSocket {
    /// Opens a socket at `addr`. GSO, GRO, ECN and packet information are not to be had here; a
    /// shared port or an interface are refused.
    pub fn bind(addr: SocketAddr, options: &SocketOptions) -> io::Result<Self> {
        if options.reuse_port || options.interface.is_some() {
            let why = "shared ports and bound interfaces need Linux";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let domain = Domain::for_address(addr);
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if addr.is_ipv6() {
            socket.set_only_v6(!options.dual_stack)?;
        }
        // Systems that refuse a large buffer instead of clamping it keep their default.
        let _ = socket.set_recv_buffer_size(options.recv_buffer);
        let _ = socket.set_send_buffer_size(options.send_buffer);
        let granted = socket.recv_buffer_size()?;
        let recv_buffer = BufferSize { wished: options.recv_buffer, granted };
        let granted = socket.send_buffer_size()?;
        let send_buffer = BufferSize { wished: options.send_buffer, granted };
        socket.bind(&addr.into())?;
        let socket: std::net::UdpSocket = socket.into();
        let local = socket.local_addr()?;
        Ok(Self { socket, local, recv_buffer, send_buffer, counters: Counters::default() })
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The interface that it is bound to: none here.
    pub fn interface(&self) -> Option<&str> {
        None
    }

    /// What it can do.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            gso_max_segments: 1,
            gro: false,
            ecn: false,
            pktinfo: false,
            dont_fragment: false,
            zerocopy: false,
            recv_buffer: self.recv_buffer,
            send_buffer: self.send_buffer,
        }
    }

    /// Sends up to [`MAX_TRAINS`] trains, a datagram at a time. [`Sent`] says how far it came.
    pub fn send(&self, batch: &[Transmit<'_>]) -> io::Result<Sent> {
        let mut sent = Sent::default();
        for train in batch.iter().take(MAX_TRAINS) {
            let error = if train.is_valid() {
                self.send_train(train, &mut sent)
            } else {
                Err(TrainError::Invalid)
            };
            if sent.blocked {
                break;
            }
            if let Err(error) = error {
                Counters::add(&self.counters.soft_errors, 1);
                // One error per train at most: never full.
                let _ = sent.errors.try_push((sent.trains, error));
            }
            sent.trains += 1;
        }
        Counters::add(&self.counters.send_calls, sent.datagrams);
        Counters::add(&self.counters.sent_datagrams, sent.datagrams);
        Ok(sent)
    }

    fn send_train(&self, train: &Transmit<'_>, sent: &mut Sent) -> Result<(), TrainError> {
        let remote = self.reachable_form(train.remote);
        for at in 0..train.datagrams() {
            let start = at * train.segment_size;
            let end = (start + train.segment_size).min(train.data.len());
            let datagram = train.data.get(start..end).unwrap_or_default();
            while let Err(error) = self.socket.send_to(datagram, remote) {
                match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => {
                        sent.partial = start;
                        sent.blocked = true;
                        return Ok(());
                    }
                    _ if is_too_large(&error) => return Err(TrainError::TooLarge),
                    _ => return Err(TrainError::Soft(error.raw_os_error().unwrap_or(0))),
                }
            }
            sent.datagrams += 1;
        }
        Ok(())
    }

    /// A dual-stack socket wants IPv4 addresses mapped.
    fn reachable_form(&self, remote: SocketAddr) -> SocketAddr {
        match remote.ip() {
            IpAddr::V4(ip) if self.local.is_ipv6() => {
                SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), remote.port())
            }
            _ => remote,
        }
    }

    /// Fills the slots of `batch` with what has arrived and says how many messages came; 0 if
    /// nothing has. Fewer than [`RecvBatch::capacity`] means that the socket was empty at the end.
    pub fn recv(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.filled.clear();
        // As many errors as slots, so that a flood of forged ICMP messages ends.
        let mut forgiven = 0;
        while let Some(slot) = batch.buffer.chunks_exact_mut(SLOT_SIZE).nth(batch.filled.len()) {
            match self.socket.recv_from(slot) {
                Ok((len, remote)) => {
                    let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
                    let stride = len;
                    let (local_ip, ecn, interface) = (None, None, 0);
                    batch.filled.push(Meta {
                        remote,
                        local_ip,
                        local_port: None,
                        ecn,
                        stride,
                        interface,
                        len,
                    });
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => break,
                    io::ErrorKind::Interrupted => {}
                    // Windows reports ICMP "port unreachable" as a reset, others as refused.
                    io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
                        if forgiven < MAX_SLOTS =>
                    {
                        forgiven += 1;
                        Counters::add(&self.counters.soft_errors, 1);
                    }
                    // What came before the error is worth handing out; the error comes again.
                    _ if !batch.filled.is_empty() => break,
                    _ => return Err(error),
                },
            }
        }
        let datagrams = batch.filled.iter().map(Meta::datagrams).sum();
        Counters::add(&self.counters.recv_calls, batch.filled.len());
        Counters::add(&self.counters.recv_datagrams, datagrams);
        Ok(batch.filled.len())
    }

    /// What ICMP said: nothing, on systems without an error queue.
    pub fn take_refusals(&self) -> ArrayVec<Refusal, MAX_REFUSALS> {
        ArrayVec::new()
    }

    /// Counters since `bind`.
    pub fn stats(&self) -> Stats {
        self.counters.snapshot(0)
    }
}

/// `EMSGSIZE` and `WSAEMSGSIZE` have no `ErrorKind` of their own.
fn is_too_large(error: &io::Error) -> bool {
    const EMSGSIZE: i32 = if cfg!(windows) {
        10_040
    } else if cfg!(target_os = "linux") {
        90
    } else {
        40
    };
    error.raw_os_error() == Some(EMSGSIZE)
}

#[cfg(unix)]
impl std::os::fd::AsFd for UdpSocket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for UdpSocket {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.socket.as_socket()
    }
}

/// Receive slots of [`SLOT_SIZE`] bytes each, used again by every call.
pub struct RecvBatch {
    buffer: Box<[u8]>,
    filled: ArrayVec<Meta, MAX_SLOTS>,
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self::new(DEFAULT_SLOTS)
    }
}

impl RecvBatch {
    /// `slots` slots, at least 1 and at most [`MAX_SLOTS`].
    pub fn new(slots: usize) -> Self {
        let slots = slots.clamp(1, MAX_SLOTS);
        Self { buffer: vec![0; slots * SLOT_SIZE].into(), filled: ArrayVec::new() }
    }

    /// Number of slots.
    pub fn capacity(&self) -> usize {
        self.buffer.len() / SLOT_SIZE
    }

    /// What the last call received, in the order of arrival.
    pub fn slots(&mut self) -> impl Iterator<Item = Slot<'_>> {
        let slots = self.buffer.chunks_exact_mut(SLOT_SIZE);
        self.filled.iter().zip(slots).filter_map(|(meta, bytes)| meta.slot(bytes))
    }
}

/// The MTU of the route to `remote`: not known here.
#[cfg(not(target_os = "linux"))]
pub fn mtu_of_route(_remote: SocketAddr) -> Option<u16> {
    None
}

/// Steers datagrams to shards by connection ID: not possible here.
#[cfg(not(target_os = "linux"))]
pub fn reuseport_by_cid(_socket: &UdpSocket, _shards: u32) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "steering by connection ID needs Linux"))
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_large_is_told_by_the_error_number() {
        assert!(is_too_large(&io::Error::from_raw_os_error(libc::EMSGSIZE)));
        assert!(!is_too_large(&io::Error::from_raw_os_error(libc::EINVAL)));
    }
}
