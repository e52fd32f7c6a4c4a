//! Many bytes one way, without loss if the receiver's socket buffer holds what is on its way.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use compare_common::pattern::Checker;
use compare_common::{DATAGRAM, Result};
use tquic_net::os::{Events, Interest, Poller};
use tquic_net::udp::{RecvBatch, Transmit, UdpSocket};

use crate::protection::Protection;

/// Datagrams of one train.
pub const TRAIN: usize = 44;
/// Bytes on their way: half of the socket buffer, whose accounting counts more than bytes.
const WINDOW: u64 = 2 << 20;
/// Longer silence means that something was lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket and what waits for it.
pub struct Link {
    socket: UdpSocket,
    poller: Poller,
    events: Events,
    batch: RecvBatch,
}

impl Link {
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        let mut poller = Poller::new()?;
        poller.add(&socket, 0, Interest::Readable)?;
        Ok(Self { socket, poller, events: Events::with_capacity(1), batch: RecvBatch::default() })
    }

    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    /// Sends one datagram.
    pub fn send_small(&mut self, to: SocketAddr, data: &[u8]) -> Result<()> {
        self.send_train(to, data.len(), data)
    }

    fn send_train(&mut self, remote: SocketAddr, segment_size: usize, data: &[u8]) -> Result<()> {
        let transmit =
            Transmit { remote, local_ip: None, ecn: None, segment_size, data, buffer: None };
        loop {
            let sent = self.socket.send(&[transmit])?;
            if let Some((_, error)) = sent.errors.first() {
                return Err(error.to_string().into());
            }
            if !sent.blocked {
                return Ok(());
            }
            self.poller.modify(&self.socket, 0, Interest::ReadableWritable)?;
            self.wait()?;
            self.poller.modify(&self.socket, 0, Interest::Readable)?;
        }
    }

    /// Waits until the socket is ready; a long silence is an error.
    fn wait(&mut self) -> Result<()> {
        self.poller.wait(&mut self.events, Some(PATIENCE))?;
        if self.events.iter().next().is_none() {
            return Err("something was lost".into());
        }
        Ok(())
    }

    /// Waits for something to come: for ever, if `patient`.
    fn fill(&mut self, patient: bool) -> Result<()> {
        while self.socket.recv(&mut self.batch)? == 0 {
            if patient {
                self.poller.wait(&mut self.events, None)?;
            } else {
                self.wait()?;
            }
        }
        Ok(())
    }

    /// The next datagrams, with who sent them; waits for ever, if `patient`.
    pub fn datagrams(&mut self, patient: bool) -> Result<Vec<(SocketAddr, Vec<u8>)>> {
        self.fill(patient)?;
        let mut found = Vec::new();
        for mut slot in self.batch.slots() {
            let remote = slot.remote;
            found.extend(slot.datagrams().map(|datagram| (remote, datagram.to_vec())));
        }
        Ok(found)
    }
}

/// Sends `total` bytes of the pattern.
pub fn send<P: Protection>(
    link: &mut Link,
    protection: &mut P,
    to: SocketAddr,
    total: u64,
) -> Result<()> {
    let size = usize::from(DATAGRAM);
    let mut train = vec![0; TRAIN * size];
    let (mut sent, mut acknowledged) = (0, 0);
    while acknowledged < total {
        while sent < total && sent - acknowledged < WINDOW {
            let (bytes, filled) = protection.seal(sent, total, &mut train);
            link.send_train(to, size, &train[..filled])?;
            sent += bytes;
            // What has come in meanwhile, without waiting for it.
            if sent - acknowledged >= WINDOW / 2 {
                acknowledged = acknowledged.max(acknowledgements(link)?);
            }
        }
        if sent == total || sent - acknowledged >= WINDOW {
            link.wait()?;
            let now = acknowledgements(link)?;
            acknowledged = acknowledged.max(now);
        }
    }
    Ok(())
}

fn acknowledgements(link: &mut Link) -> Result<u64> {
    let mut last = 0;
    if link.socket.recv(&mut link.batch)? > 0 {
        for mut slot in link.batch.slots() {
            for datagram in slot.datagrams() {
                last = last.max((&*datagram).try_into().map_or(0, u64::from_be_bytes));
            }
        }
    }
    Ok(last)
}

/// Receives `total` bytes, and says after each batch how many have come.
pub fn receive<P: Protection>(
    link: &mut Link,
    protection: &mut P,
    from: SocketAddr,
    total: u64,
) -> Result<Checker> {
    let mut checker = Checker::default();
    while checker.offset < total {
        link.fill(false)?;
        for mut slot in link.batch.slots() {
            protection.open(&mut slot, &mut checker)?;
        }
        link.send_small(from, &checker.offset.to_be_bytes())?;
    }
    Ok(checker)
}
