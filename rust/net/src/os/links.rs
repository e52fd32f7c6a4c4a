//! The machine's interfaces: which addresses they have, whether they work, and when that changes.

use std::ffi::CStr;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use libc::{c_int, c_void};

use super::{Interest, Link, Poller};

/// Hears of changes of interfaces and addresses (rtnetlink); no privileges are needed.
#[derive(Debug)]
pub struct LinkWatch(OwnedFd);

impl LinkWatch {
    /// From now on; `poller` reports under `token` that there is something to take.
    pub fn new(poller: &mut Poller, token: usize) -> io::Result<Self> {
        let watch = Self(subscribe()?);
        poller.add(&watch.0, token, Interest::Readable)?;
        Ok(watch)
    }

    /// Takes what was told since the last call; whether there was anything. What changed is to be
    /// seen in [`links`].
    pub fn take(&self) -> bool {
        let (mut buffer, mut any) = ([0_u8; 4096], false);
        loop {
            let data: *mut c_void = buffer.as_mut_ptr().cast();
            // SAFETY: the buffer outlives the call, and its size is told.
            let n = unsafe { libc::recv(self.0.as_raw_fd(), data, buffer.len(), 0) };
            // More than the socket could keep (ENOBUFS) is news as well.
            let overrun = n < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOBUFS);
            if n <= 0 && !overrun {
                return any;
            }
            any = true;
        }
    }
}

/// A socket that hears of every change.
fn subscribe() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointer.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and owned by nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
    // SAFETY: all zeros is a valid value of this plain structure.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = groups as u32;
    let size = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: the address outlives the call, and its size is told.
    let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size) };
    if bound < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
}

/// The interfaces as they are now, one entry for each address; without an address for the interface
/// itself.
pub fn links() -> io::Result<Vec<Link>> {
    let mut first: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: the pointer to write to outlives the call.
    if unsafe { libc::getifaddrs(&raw mut first) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let (mut links, mut next) = (Vec::new(), first);
    // SAFETY: the list is the system's, ends with a null pointer, and lives until it is freed below.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: every entry has a name that ends with a zero.
        let name = unsafe { CStr::from_ptr(entry.ifa_name) }.to_string_lossy().into_owned();
        let wanted = (libc::IFF_UP | libc::IFF_RUNNING) as u32;
        let up = entry.ifa_flags & wanted == wanted;
        links.push(Link { name, address: address(entry.ifa_addr), up });
        next = entry.ifa_next;
    }
    // SAFETY: the list came from getifaddrs and is not used any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(links)
}

fn address(of: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: null or a socket address of the system, whose family says which structure it is.
    let family = c_int::from(unsafe { of.as_ref() }?.sa_family);
    match family {
        libc::AF_INET => {
            // SAFETY: as above.
            let v4 = unsafe { of.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(IpAddr::from(v4.sin_addr.s_addr.to_ne_bytes()))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { of.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(IpAddr::from(v6.sin6_addr.s6_addr))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_there() {
        let links = links().unwrap();
        let loopback = links.iter().find(|l| l.address == Some([127, 0, 0, 1].into())).unwrap();
        assert!(loopback.name == "lo" && loopback.up, "{links:?}");
    }

    #[test]
    fn nothing_is_told_where_nothing_changes() {
        // Others on this machine may change something: only the way through is certain.
        let mut poller = Poller::new().unwrap();
        let watch = LinkWatch::new(&mut poller, 3).unwrap();
        watch.take();
    }
}
