//! An AF_XDP socket: frames of one queue of a network interface, past the kernel's network stack.
//!
//! The socket has memory cut into frames (UMEM) and four rings. Half of the frames circulate for
//! receiving: the fill ring gives them to the kernel, the receive ring brings them back filled. The
//! others send: the transmit ring gives them to the kernel, the completion ring back. A frame is
//! read or written here only while it is in no ring, inside of one call; so none is ever seen from
//! both sides.

mod ring;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use libc::{c_int, socklen_t};

use super::mapping::Mapping;
use ring::{Place, Reader, Writer};

/// Frames that circulate in each direction, and entries of each ring.
pub const FRAMES: u32 = 4096;
/// Bytes that the kernel keeps free before every received frame.
pub const HEADROOM: u32 = 256;
/// Bytes that skbs of frames on their way may take, at most: a ring of them.
const SEND_BUFFER: c_int = 16 << 20;

/// See the module.
pub struct Xsk {
    // The rings go before the descriptor, and the frames last.
    fill: Writer<u64>,
    received: Reader<libc::xdp_desc>,
    transmit: Writer<libc::xdp_desc>,
    completed: Reader<u64>,
    socket: OwnedFd,
    frames: Mapping,
    frame_size: u32,
    /// Addresses of frames for sending that are in no ring.
    free: Vec<u64>,
    zero_copy: bool,
}

impl Xsk {
    /// Opens queue `queue` of an interface. `frame_size`: 2048 or 4096 bytes.
    pub fn open(
        interface: u32,
        queue: u32,
        copies: Option<bool>,
        frame_size: u32,
    ) -> io::Result<Self> {
        let socket = socket()?;
        let fd = socket.as_fd();
        let frames = Mapping::anonymous(2 * FRAMES as usize * frame_size as usize)?;
        // SAFETY: a structure of numbers, for which all zeros is a valid value.
        let mut memory: libc::xdp_umem_reg = unsafe { std::mem::zeroed() };
        memory.addr = frames.start().as_ptr() as u64;
        memory.len = frames.len() as u64;
        memory.chunk_size = frame_size;
        // SAFETY: XDP_UMEM_REG reads this structure. It names memory of ours that nothing else uses
        // and that lives as long as the socket: fields are dropped in order.
        unsafe { set(fd, libc::SOL_XDP, libc::XDP_UMEM_REG, &memory) }?;
        for ring in [
            libc::XDP_UMEM_FILL_RING,
            libc::XDP_UMEM_COMPLETION_RING,
            libc::XDP_RX_RING,
            libc::XDP_TX_RING,
        ] {
            // SAFETY: these options read one number.
            unsafe { set(fd, libc::SOL_XDP, ring, &FRAMES) }?;
        }
        // Without the right to more the kernel grants what it does. SAFETY: it reads one number.
        let _ = unsafe { set(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &SEND_BUFFER) };
        let offsets: libc::xdp_mmap_offsets = option(fd, libc::XDP_MMAP_OFFSETS)?;
        let place = |at, offsets| Place { socket: fd, at, offsets, size: FRAMES };
        let mut fill =
            Writer::new(&place(libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t, offsets.fr))?;
        let completion = libc::XDP_UMEM_PGOFF_COMPLETION_RING as libc::off_t;
        let completed = Reader::new(&place(completion, offsets.cr))?;
        let received = Reader::new(&place(libc::XDP_PGOFF_RX_RING, offsets.rx))?;
        let transmit = Writer::new(&place(libc::XDP_PGOFF_TX_RING, offsets.tx))?;
        let address = |frame: u32| u64::from(frame) * u64::from(frame_size);
        for frame in 0..FRAMES {
            fill.push(address(frame));
        }
        fill.publish();
        let free = (FRAMES..2 * FRAMES).map(address).collect();
        bind(fd, interface, queue, copies)?;
        let options: libc::xdp_options = option(fd, libc::XDP_OPTIONS)?;
        let zero_copy = options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0;
        Ok(Self {
            fill,
            received,
            transmit,
            completed,
            socket,
            frames,
            frame_size,
            free,
            zero_copy,
        })
    }

    /// Whether the interface reads and writes the frames itself.
    pub fn is_zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Shows `take` received frames, the oldest first, until it answers false: that one is shown
    /// again by the next call. Answers how many were taken.
    pub fn receive(&mut self, mut take: impl FnMut(&[u8]) -> bool) -> usize {
        let mut taken = 0;
        while let Some(desc) = self.received.peek() {
            let frame = desc.addr & !u64::from(self.frame_size - 1);
            if let Some(range) = self.range(desc.addr, desc.len as usize) {
                // SAFETY: inside of the memory, whose every byte is initialised. The frame is in no
                // ring: the kernel has given it back, and gets it again below.
                let data = unsafe { self.frames.start().add(range) };
                // SAFETY: as above.
                let data = unsafe { std::slice::from_raw_parts(data.as_ptr(), desc.len as usize) };
                if !take(data) {
                    break;
                }
            }
            self.received.advance();
            // Never full: no more frames circulate than it has entries.
            self.fill.push(frame);
            taken += 1;
        }
        if taken > 0 {
            self.received.release();
            self.fill.publish();
        }
        taken
    }

    /// Lets `write` fill a frame for sending, which it answers the length of; false if none is free.
    /// Frames leave with the next [`Self::flush`].
    pub fn send(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        if self.free.is_empty() {
            self.reclaim();
        }
        let size = self.frame_size as usize;
        let Some(&frame) = self.free.last() else { return false };
        let Some(range) = self.range(frame, size) else { return false };
        // SAFETY: inside of the memory, whose every byte is initialised.
        let data = unsafe { self.frames.start().add(range) };
        // SAFETY: the frame is in no ring but in `free`, and nobody else has a reference to it.
        let data = unsafe { std::slice::from_raw_parts_mut(data.as_ptr(), size) };
        let len = write(data).min(size) as u32;
        // Never full either.
        let sent = self.transmit.push(libc::xdp_desc { addr: frame, len, options: 0 });
        if sent {
            self.free.pop();
        }
        sent
    }

    /// Frames that wait for the kernel to take them.
    fn waiting(&self) -> u32 {
        self.transmit.waiting()
    }

    /// Whether frames wait and the kernel has to be called for them.
    pub fn is_stuck(&self) -> bool {
        self.waiting() > 0 && self.transmit.needs_wakeup()
    }

    /// Has the kernel take the frames written, and answers the number of system calls that took
    /// some. It may leave some (see [`Self::is_stuck`]): then its queues are full.
    pub fn flush(&mut self) -> io::Result<u32> {
        self.transmit.publish();
        let mut calls = 0;
        let mut before = self.waiting();
        // The kernel copies 32 frames in one call. A driver that does not copy is only woken up.
        while before > 0 && self.transmit.needs_wakeup() {
            // SAFETY: a null buffer of length 0 and no address.
            let done = unsafe {
                let fd = self.socket.as_raw_fd();
                libc::sendto(fd, ptr::null(), 0, libc::MSG_DONTWAIT, ptr::null(), 0)
            };
            let error = (done < 0).then(io::Error::last_os_error);
            let after = self.waiting();
            calls += u32::from(after < before);
            match error.as_ref().and_then(io::Error::raw_os_error) {
                None if self.zero_copy => break,
                None | Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::EINTR) => {}
                Some(_) => return error.map_or(Ok(calls), Err),
            }
            if after >= before {
                break;
            }
            before = after;
        }
        self.reclaim();
        Ok(calls)
    }

    /// Wakes a driver that has run out of frames to receive into.
    pub fn wake(&self) {
        if self.fill.needs_wakeup() {
            let (fd, none) = (self.socket.as_raw_fd(), ptr::null_mut());
            // What is wrong shows when frames are sent. SAFETY: a buffer of length 0, no address.
            unsafe {
                libc::recvfrom(fd, none, 0, libc::MSG_DONTWAIT, ptr::null_mut(), ptr::null_mut());
            }
        }
    }

    /// Frames for this socket that the kernel dropped because a ring was full or empty.
    pub fn drops(&self) -> u64 {
        let statistics = option::<libc::xdp_statistics>(self.as_fd(), libc::XDP_STATISTICS);
        statistics.map_or(0, |s| s.rx_dropped + s.rx_ring_full)
    }

    fn reclaim(&mut self) {
        while let Some(frame) = self.completed.peek() {
            self.completed.advance();
            self.free.push(frame);
        }
        self.completed.release();
    }

    /// Where `len` bytes at an address of the kernel's lie, if they are inside of the memory.
    fn range(&self, address: u64, len: usize) -> Option<usize> {
        let start = usize::try_from(address).ok()?;
        (start.checked_add(len)? <= self.frames.len()).then_some(start)
    }
}

impl AsFd for Xsk {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether there are such sockets for this process.
pub fn is_available() -> bool {
    socket().is_ok()
}

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointer.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bind(
    socket: BorrowedFd<'_>,
    interface: u32,
    queue: u32,
    copies: Option<bool>,
) -> io::Result<()> {
    let how = match copies {
        None => 0,
        Some(true) => libc::XDP_COPY,
        Some(false) => libc::XDP_ZEROCOPY,
    };
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: libc::XDP_USE_NEED_WAKEUP | how,
        sxdp_ifindex: interface,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: 0,
    };
    let len = size_of_val(&address) as socklen_t;
    // SAFETY: the pointer and length name `address`, which the call only reads.
    let done = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// # Safety
/// The option reads a `T`, and what that points to stays valid for as long as the kernel uses it.
unsafe fn set<T>(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let (value, len) = (ptr::from_ref(value).cast(), size_of::<T>() as socklen_t);
    // SAFETY: promised by the caller; the value lives through the call.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Structures of numbers that options of AF_XDP are read into.
trait Numbers: Copy {}
impl Numbers for libc::xdp_mmap_offsets {}
impl Numbers for libc::xdp_options {}
impl Numbers for libc::xdp_statistics {}

fn option<T: Numbers>(socket: BorrowedFd<'_>, name: c_int) -> io::Result<T> {
    // SAFETY: `Numbers` are valid when all zeros.
    let mut value: T = unsafe { std::mem::zeroed() };
    let mut len = size_of::<T>() as socklen_t;
    let pointer = (&raw mut value).cast();
    // SAFETY: the pointer and length name `value`; the kernel writes no more, and any bits are
    // valid for `Numbers`.
    let done =
        unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_XDP, name, pointer, &raw mut len) };
    if done == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}
