//! Addresses of C.

use std::ffi::c_int;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use libc::{sockaddr, sockaddr_in, sockaddr_in6, socklen_t};
use tquic_socket::{Errno, Failure};

/// Reads one.
///
/// # Safety
/// There are `length` bytes.
pub unsafe fn read(address: *const sockaddr, length: socklen_t) -> Result<SocketAddr, Failure> {
    let wrong = |why| Err(Failure::new(Errno::INVALID, why));
    let length = length as usize;
    if address.is_null() || length < size_of::<libc::sa_family_t>() {
        return wrong("there is no address");
    }
    // SAFETY: so many bytes are there; reads need no alignment.
    unsafe {
        match c_int::from((&raw const (*address).sa_family).read_unaligned()) {
            libc::AF_INET if length >= size_of::<sockaddr_in>() => {
                let v4 = address.cast::<sockaddr_in>().read_unaligned();
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Ok((ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 if length >= size_of::<sockaddr_in6>() => {
                let v6 = address.cast::<sockaddr_in6>().read_unaligned();
                let (ip, port) = (Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port));
                Ok(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            libc::AF_INET | libc::AF_INET6 => wrong("the address is too short"),
            _ => {
                let why = "an address of IPv4 or IPv6";
                Err(Failure::new(Errno::BAD_ADDRESS_FAMILY, why))
            }
        }
    }
}

/// Writes as much of one as there is room for, and how long it is. A null pointer wants nothing.
///
/// # Safety
/// If the pointers are not null there are `length` bytes of room.
pub unsafe fn write(value: SocketAddr, address: *mut sockaddr, length: *mut socklen_t) {
    if address.is_null() || length.is_null() {
        return;
    }
    let put = |from: *const u8, size: usize| {
        // SAFETY: no more is written than there is room for, from a struct of `size` bytes.
        unsafe {
            std::ptr::copy_nonoverlapping(from, address.cast(), size.min(*length as usize));
            *length = size as socklen_t;
        }
    };
    match value {
        SocketAddr::V4(v4) => {
            let c = sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
                sin_zero: [0; 8],
            };
            put((&raw const c).cast(), size_of_val(&c));
        }
        SocketAddr::V6(v6) => {
            let c = sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            put((&raw const c).cast(), size_of_val(&c));
        }
    }
}
