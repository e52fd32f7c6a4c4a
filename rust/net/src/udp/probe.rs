//! What sockets of this machine really do, found out by sending to oneself.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::{Capabilities, Ecn, RecvBatch, SocketOptions, Transmit, UdpSocket};
use crate::os::{Events, Interest, Poller};

/// Datagrams that are sent: a train of full packets, as a busy sender makes them.
const DATAGRAMS: usize = 44;
/// Bytes of each.
const SIZE: usize = 1200;
/// How long datagrams that are missing are waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// What came back.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// What the receiving socket was found to be able to do when it was bound; GSO is that of the
    /// sending socket, after the train.
    pub capabilities: Capabilities,
    /// Datagrams sent.
    pub sent: u64,
    /// System calls that sent them.
    pub send_calls: u64,
    /// Datagrams received whole.
    pub received: u64,
    /// System calls that received them.
    pub recv_calls: u64,
    /// The most datagrams that lay in one receive slot: more than 1 is GRO at work.
    pub most_in_slot: usize,
    /// Every datagram came with the ECN codepoint that it was sent with.
    pub ecn_kept: bool,
    /// Every datagram came with the address that it was sent to.
    pub local_known: bool,
}

/// Sends a train of datagrams, marked ECT(0), between two sockets bound to `ip`, which must be an
/// address of this machine.
pub fn probe(ip: IpAddr, options: &SocketOptions) -> io::Result<Probe> {
    let to = UdpSocket::bind((ip, 0).into(), options)?;
    let from = UdpSocket::bind((ip, 0).into(), options)?;
    let mut data = Vec::with_capacity(DATAGRAMS * SIZE);
    for number in 0..DATAGRAMS {
        data.resize(data.len() + SIZE, number as u8);
    }
    send(&from, &to, &data)?;
    let mut seen = Seen { received: 0, most: 0, ecn: true, local: true };
    receive(&to, ip, &data, &mut seen)?;
    let (sender, receiver) = (from.stats(), to.stats());
    let gso_max_segments = from.capabilities().gso_max_segments;
    Ok(Probe {
        capabilities: Capabilities { gso_max_segments, ..to.capabilities() },
        sent: sender.sent_datagrams,
        send_calls: sender.send_calls,
        received: seen.received,
        recv_calls: receiver.recv_calls,
        most_in_slot: seen.most,
        ecn_kept: seen.ecn && seen.received > 0,
        local_known: seen.local && seen.received > 0,
    })
}

fn send(from: &UdpSocket, to: &UdpSocket, data: &[u8]) -> io::Result<()> {
    let remote = to.local_addr();
    let mut rest = data;
    while !rest.is_empty() {
        let ecn = Some(Ecn::Ect0);
        let train =
            Transmit { remote, local_ip: None, ecn, segment_size: SIZE, data: rest, buffer: None };
        let sent = from.send(&[train])?;
        if let Some((_, error)) = sent.errors.first() {
            return Err(io::Error::other(error.to_string()));
        }
        if sent.trains > 0 || sent.partial == 0 {
            // Sent, or a send buffer that is too small for one train: what left tells.
            break;
        }
        rest = rest.get(sent.partial..).unwrap_or_default();
    }
    Ok(())
}

struct Seen {
    received: u64,
    most: usize,
    ecn: bool,
    local: bool,
}

fn receive(to: &UdpSocket, ip: IpAddr, data: &[u8], seen: &mut Seen) -> io::Result<()> {
    let mut poller = Poller::new()?;
    poller.add(to, 0, Interest::Readable)?;
    let mut events = Events::with_capacity(1);
    let mut batch = RecvBatch::default();
    while seen.received < DATAGRAMS as u64 {
        if to.recv(&mut batch)? == 0 {
            poller.wait(&mut events, Some(PATIENCE))?;
            if events.iter().next().is_none() {
                // Lost.
                break;
            }
            continue;
        }
        for mut slot in batch.slots() {
            seen.ecn &= slot.ecn == Some(Ecn::Ect0);
            seen.local &= slot.local_ip == Some(ip);
            let whole = |datagram: &&mut [u8]| {
                let sent = data.chunks(SIZE).any(|sent| sent == &**datagram);
                sent && datagram.len() == SIZE
            };
            let datagrams = slot.datagrams().filter(whole).count();
            seen.most = seen.most.max(datagrams);
            seen.received += datagrams as u64;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn loopback_gives_everything_back() {
        let probe = probe(Ipv4Addr::LOCALHOST.into(), &SocketOptions::default()).unwrap();
        assert_eq!((probe.sent, probe.received), (DATAGRAMS as u64, DATAGRAMS as u64));
        assert_eq!(probe.ecn_kept, probe.capabilities.ecn);
        assert_eq!(probe.local_known, probe.capabilities.pktinfo);
        if probe.capabilities.gso_max_segments > 1 {
            assert_eq!(probe.send_calls, 1);
        }
        if probe.capabilities.gro {
            assert!(probe.most_in_slot > 1);
        }
    }

    #[test]
    fn what_is_off_is_not_seen() {
        let options =
            SocketOptions { gso: false, gro: false, ecn: false, ..SocketOptions::default() };
        let probe = probe(Ipv4Addr::LOCALHOST.into(), &options).unwrap();
        assert_eq!(probe.received, DATAGRAMS as u64);
        assert_eq!(probe.most_in_slot, 1);
        assert!(!probe.ecn_kept);
        assert!(probe.send_calls >= 1);
    }

    #[test]
    fn an_address_of_somebody_else_is_an_error() {
        let elsewhere = Ipv4Addr::new(192, 0, 2, 1).into();
        assert!(super::probe(elsewhere, &SocketOptions::default()).is_err());
    }
}
