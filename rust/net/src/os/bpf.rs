//! The calls of `bpf(2)` that an XDP program needs: maps, loading, a link to an interface.
//!
//! Everything is a descriptor. When the last one of a link is closed, be it because the process was
//! killed, the kernel takes the program off the interface.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

// Numbers of linux/bpf.h.
const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const MAP_DELETE_ELEM: libc::c_long = 3;
const PROG_LOAD: libc::c_long = 5;
#[cfg(test)]
const PROG_TEST_RUN: libc::c_long = 10;
const LINK_CREATE: libc::c_long = 28;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_TYPE_XDP: u32 = 37;

/// Kinds of maps.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum MapKind {
    /// `BPF_MAP_TYPE_HASH`.
    Hash = 1,
    /// `BPF_MAP_TYPE_XSKMAP`: AF_XDP sockets by index.
    Sockets = 17,
}

/// How an XDP program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Attach {
    /// `XDP_FLAGS_SKB_MODE`: by the network stack, on any interface.
    Generic = 1 << 1,
    /// `XDP_FLAGS_DRV_MODE`: by the driver, before the kernel spends anything on a packet.
    Native = 1 << 2,
}

/// One instruction, as the kernel reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high ones (little endian;
    /// big-endian machines have them the other way round).
    pub registers: u8,
    /// Distance of a jump, or of a memory access from its register.
    pub offset: i16,
    /// Constant.
    pub constant: i32,
}

/// A map with keys of `K` bytes and values of four.
#[derive(Debug)]
pub struct Map<const K: usize>(OwnedFd);

impl<const K: usize> Map<K> {
    /// An empty map with room for `entries`.
    pub fn new(kind: MapKind, entries: u32) -> io::Result<Self> {
        #[repr(C)]
        struct Attributes {
            kind: u32,
            key: u32,
            value: u32,
            entries: u32,
        }
        let attributes = Attributes { kind: kind as u32, key: K as u32, value: 4, entries };
        // SAFETY: the attributes of MAP_CREATE begin like this and hold no pointer.
        unsafe { descriptor(MAP_CREATE, &attributes) }.map(Self)
    }

    /// Sets the value of `key`. In a map of sockets it is a descriptor.
    pub fn insert(&self, key: [u8; K], value: u32) -> io::Result<()> {
        self.element(MAP_UPDATE_ELEM, &key, Some(&value))
    }

    /// Forgets `key`; that it is not there is an error.
    pub fn remove(&self, key: [u8; K]) -> io::Result<()> {
        self.element(MAP_DELETE_ELEM, &key, None)
    }

    fn element(&self, command: libc::c_long, key: &[u8; K], value: Option<&u32>) -> io::Result<()> {
        #[repr(C)]
        struct Attributes {
            map: u32,
            padding: u32,
            key: u64,
            value: u64,
            flags: u64,
        }
        let attributes = Attributes {
            map: number(self.0.as_fd()),
            padding: 0,
            key: key.as_ptr() as u64,
            // What a command does not read must be 0.
            value: value.map_or(0, |value| std::ptr::from_ref(value) as u64),
            flags: 0,
        };
        // SAFETY: the pointers name the key and the value of this map, whose sizes were fixed when
        // it was made as `K` and 4; both live through the call, which only reads them.
        unsafe { call(command, &attributes) }.map(|_| ())
    }
}

impl<const K: usize> AsFd for Map<K> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A loaded XDP program.
#[derive(Debug)]
pub struct Program(OwnedFd);

impl Program {
    /// Has the kernel verify and load `code`.
    pub fn load(code: &[Instruction], license: &CStr) -> io::Result<Self> {
        #[repr(C)]
        struct Attributes {
            kind: u32,
            count: u32,
            code: u64,
            license: u64,
        }
        let attributes = Attributes {
            kind: PROG_TYPE_XDP,
            count: code.len() as u32,
            code: code.as_ptr() as u64,
            license: license.as_ptr() as u64,
        };
        // SAFETY: the pointers name `count` instructions and a string that ends in 0; both live
        // through the call, which only reads them.
        unsafe { descriptor(PROG_LOAD, &attributes) }.map(Self)
    }

    /// Puts the program on an interface for as long as the answer lives.
    pub fn attach(&self, interface: u32, how: Attach) -> io::Result<Link> {
        #[repr(C)]
        struct Attributes {
            program: u32,
            interface: u32,
            kind: u32,
            flags: u32,
        }
        let attributes = Attributes {
            program: number(self.0.as_fd()),
            interface,
            kind: ATTACH_TYPE_XDP,
            flags: how as u32,
        };
        // SAFETY: the attributes of LINK_CREATE begin like this and hold no pointer.
        unsafe { descriptor(LINK_CREATE, &attributes) }.map(Link)
    }

    /// What the program answers to `packet`, which came to queue 0 of no interface.
    #[cfg(test)]
    pub fn answer(&self, packet: &[u8]) -> io::Result<u32> {
        #[repr(C)]
        struct Attributes {
            program: u32,
            answer: u32,
            size_in: u32,
            size_out: u32,
            data_in: u64,
            data_out: u64,
            repeat: u32,
            duration: u32,
        }
        let mut attributes = Attributes {
            program: number(self.0.as_fd()),
            answer: 0,
            size_in: packet.len() as u32,
            size_out: 0,
            data_in: packet.as_ptr() as u64,
            data_out: 0,
            repeat: 1,
            duration: 0,
        };
        let size = size_of::<Attributes>();
        // SAFETY: `data_in` names `size_in` bytes that live through the call; there is no buffer for
        // what comes out, and `attributes` is borrowed mutably for the answer.
        let done =
            unsafe { libc::syscall(libc::SYS_bpf, PROG_TEST_RUN, &raw mut attributes, size) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(attributes.answer) }
    }
}

/// A program on an interface.
#[derive(Debug)]
pub struct Link(#[allow(dead_code, reason = "it is open, that is all")] OwnedFd);

/// The number under which the kernel knows an open descriptor, which is never negative.
pub fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// # Safety
/// `A` is laid out as the beginning of what `command` reads, and its pointers are valid for it.
unsafe fn call<A>(command: libc::c_long, attributes: &A) -> io::Result<libc::c_long> {
    // SAFETY: promised by the caller; the kernel takes what lies beyond `size_of::<A>()` as zeros.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<A>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done) }
}

/// # Safety
/// As for `call`; and the command returns a new descriptor.
unsafe fn descriptor<A>(command: libc::c_long, attributes: &A) -> io::Result<OwnedFd> {
    // SAFETY: promised by the caller.
    let fd = unsafe { call(command, attributes) }?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the descriptor is new, so nobody else's. The kernel sets close-on-exec for all of bpf(2).
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
