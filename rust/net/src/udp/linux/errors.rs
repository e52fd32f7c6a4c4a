//! The error queue of a socket: what ICMP says about datagrams that were sent (`IP_RECVERR`), and which
//! of the buffers on loan the kernel gives back (`SO_ZEROCOPY`).

use std::os::fd::BorrowedFd;

use super::syscall;
use super::zerocopy::Ledger;
use crate::udp::stats::Counters;
use crate::udp::{MAX_REFUSALS, QUOTE_SIZE, Refusal};

/// Messages that one call looks at, so that a flood cannot hold a shard here.
const MAX_MESSAGES: usize = 4 * MAX_REFUSALS;

// `SO_EE_ORIGIN_ICMP` and `SO_EE_ORIGIN_ICMP6`; 1 would be the system itself, of its own send calls.
const FROM_ICMP: [u8; 2] = [2, 3];
const REFUSED: u32 = libc::ECONNREFUSED as u32;
const ORIGIN_ZEROCOPY: u8 = 5;
/// `SO_EE_CODE_ZEROCOPY_COPIED`.
const COPIED: u8 = 1;

/// Reads it until it is empty, or [`MAX_REFUSALS`] wait.
pub fn read(
    socket: BorrowedFd<'_>,
    refusals: &mut Vec<Refusal>,
    ledger: &mut Ledger,
    counters: &Counters,
) {
    for _ in 0..MAX_MESSAGES {
        if refusals.len() >= MAX_REFUSALS {
            break;
        }
        let mut bytes = [0; QUOTE_SIZE];
        // An empty queue, above all.
        let Ok(envelope) = syscall::recv_error(socket, &mut bytes) else { break };
        let Some(report) = envelope.control.parse().error else { continue };
        if report.origin == ORIGIN_ZEROCOPY {
            let copied = report.code & COPIED != 0;
            let returned = ledger.give_back(report.info, report.data, copied);
            Counters::add(&counters.zerocopy_copied, if copied { returned } else { 0 });
            continue;
        }
        if report.errno != REFUSED || !FROM_ICMP.contains(&report.origin) {
            continue;
        }
        let Some(remote) = envelope.name.addr() else { continue };
        let quote = bytes.iter().copied().take(envelope.len).collect();
        refusals.push(Refusal { remote, quote });
    }
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
            let train = Transmit {
                remote,
                local_ip: None,
                ecn: None,
                segment_size: 100,
                data: &data,
                buffer: None,
            };
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
