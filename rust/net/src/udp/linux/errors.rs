//! The error queue of a socket with `IP_RECVERR`: what ICMP says about datagrams that were sent.

use std::os::fd::BorrowedFd;

use arrayvec::ArrayVec;

use super::syscall;
use crate::udp::{MAX_REFUSALS, QUOTE_SIZE, Refusal};

/// Messages that one call looks at, so that a flood cannot hold a shard here.
const MAX_MESSAGES: usize = 4 * MAX_REFUSALS;

// `SO_EE_ORIGIN_ICMP` and `SO_EE_ORIGIN_ICMP6`; 1 would be the system itself, of its own send calls.
const FROM_ICMP: [u8; 2] = [2, 3];

pub fn take(socket: BorrowedFd<'_>) -> ArrayVec<Refusal, MAX_REFUSALS> {
    let mut refusals = ArrayVec::new();
    for _ in 0..MAX_MESSAGES {
        let mut bytes = [0; QUOTE_SIZE];
        // An empty queue, above all.
        let Ok(envelope) = syscall::recv_error(socket, &mut bytes) else { break };
        let Some((libc::ECONNREFUSED, origin)) = envelope.control.parse().error else { continue };
        let Some(remote) = envelope.name.addr().filter(|_| FROM_ICMP.contains(&origin)) else {
            continue;
        };
        let quote = bytes.iter().copied().take(envelope.len).collect();
        refusals.push(Refusal { remote, quote });
        if refusals.is_full() {
            break;
        }
    }
    refusals
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::{Duration, Instant};

    use crate::udp::{Refusal, SocketOptions, Transmit, UdpSocket};

    fn closed_port(ip: &str) -> SocketAddr {
        std::net::UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap()
    }

    fn refusals(socket: &UdpSocket) -> Vec<Refusal> {
        let start = Instant::now();
        loop {
            let found = socket.take_refusals();
            if !found.is_empty() || start.elapsed() > Duration::from_secs(1) {
                return found.to_vec();
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_closed_port_is_reported_with_what_was_sent() {
        for (any, ip) in [("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "::1"), ("[::]:0", "127.0.0.1")] {
            let options = SocketOptions { report_errors: true, ..SocketOptions::default() };
            let socket = UdpSocket::bind(any.parse().unwrap(), &options).unwrap();
            let remote = closed_port(ip);
            let data = [7; 100];
            let train =
                Transmit { remote, local_ip: None, ecn: None, segment_size: 100, data: &data };
            assert_eq!(socket.send(&[train]).unwrap().datagrams, 1);
            let found = refusals(&socket);
            assert_eq!(found.len(), 1, "{any} {ip}");
            assert_eq!(found[0].remote, remote);
            assert!(!found[0].quote.is_empty() && found[0].quote.iter().all(|&byte| byte == 7));
            // The error that waits is not taken for one of the next datagram.
            let peer = std::net::UdpSocket::bind((ip, 0)).unwrap();
            let train = Transmit { remote: peer.local_addr().unwrap(), ..train };
            assert_eq!(socket.send(&[train]).unwrap().errors.len(), 0);
            assert_eq!(peer.recv(&mut [0; 200]).unwrap(), 100);
        }
    }

    #[test]
    fn nothing_is_kept_unless_wished() {
        let socket =
            UdpSocket::bind("0.0.0.0:0".parse().unwrap(), &SocketOptions::default()).unwrap();
        assert!(socket.take_refusals().is_empty());
    }
}
