//! UDP on Linux: `sendmmsg`, `recvmmsg`, `UDP_SEGMENT`, `UDP_GRO` and control messages.

mod cmsg;
mod errors;
#[cfg(feature = "faults")]
pub mod faults;
mod recv;
mod route;
mod send;
mod socket;
mod sockopt;
mod steer;
mod syscall;
mod zerocopy;

#[cfg(test)]
mod recv_tests;
#[cfg(test)]
mod send_tests;
#[cfg(test)]
mod zerocopy_tests;

pub use recv::RecvBatch;
pub use route::mtu_of_route;
pub use socket::UdpSocket;
pub use steer::reuseport_by_cid;

/// Whether error `code` is the echo of an ICMP message about an earlier datagram, not about the
/// call that returned it. Anybody can forge such messages, so they decide nothing.
///
/// A socket that `reports` errors (`IP_RECVERR`) echoes more of them, which other sockets only say
/// about the call itself: there, they come again when the call is repeated.
const fn is_from_icmp(code: i32, reports: bool) -> bool {
    matches!(
        code,
        libc::ECONNREFUSED | libc::EHOSTDOWN | libc::ENOPROTOOPT | libc::EPROTO | libc::ENONET
    ) || reports
        && matches!(
            code,
            libc::EMSGSIZE
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EACCES
                | libc::EOPNOTSUPP
        )
}

/// ICMP echoes that one call forgives before it gives up, so that a flood of forged messages
/// cannot hold a shard in one system call.
const MAX_ICMP_RETRIES: usize = 8;
