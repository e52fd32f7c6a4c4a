//! What the routing table says about a peer.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, Socket, Type};

use super::sockopt;

/// The MTU in bytes, IP header included, of the route to `remote` as the kernel knows it: that of
/// the interface, or a lower one it has learnt. No packet is sent. 65535 stands for anything above;
/// `None` if there is no route.
pub fn mtu_of_route(remote: SocketAddr) -> Option<u16> {
    // A port is needed to connect, but any will do.
    let port = remote.port().max(1);
    let (remote, level, name) = match remote.ip().to_canonical() {
        ip @ IpAddr::V4(_) => (SocketAddr::new(ip, port), libc::SOL_IP, libc::IP_MTU),
        IpAddr::V6(_) => {
            let mut to = remote;
            to.set_port(port);
            (to, libc::SOL_IPV6, libc::IPV6_MTU)
        }
    };
    let kind = Type::DGRAM.cloexec();
    let socket = Socket::new(Domain::for_address(remote), kind, Some(Protocol::UDP)).ok()?;
    socket.connect(&remote.into()).ok()?;
    let [mtu] = sockopt::words::<1>(socket.as_fd(), level, name).ok()?;
    Some(u16::try_from(mtu).unwrap_or(u16::MAX))
}
