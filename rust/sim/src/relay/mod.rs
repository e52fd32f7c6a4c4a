//! A UDP relay that plays a pair of links in real time.
//!
//! Clients send to the relay as if it were the server. For each client it opens a socket of its own
//! to the server, as an address translator does. Both directions pass through [`Link`]s, one each
//! for all clients. One thread does everything; datagrams move in batches, and the TOS byte travels
//! along. The clock starts with the first datagram.

mod clients;
mod facts;
mod header;
mod socket;
mod summary;

pub use clients::Rebound;
pub use facts::{Amplification, Direction, Facts, KindFacts};
pub use header::Kind;
pub use summary::{Batches, Summary, Unplanned};

use crate::link::Link;
use crate::packet::{Ecn, Packet};
use crate::random::stream;
use crate::scenario::Scenario;
use clients::{ClientId, Clients};
use core::fmt;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket::{Outgoing, Receiver, RelaySocket};
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::thread::{Builder, JoinHandle};
use std::time::Instant as WallClock;
use tquic_core::time::{Duration, Instant, nanos};

/// Most changes of address that are reported.
const MAX_REBOUND: usize = 4096;

/// Datagrams handed to a socket at a time.
const BATCH: usize = 512;

/// Most spare buffers kept.
const MAX_SPARE: usize = 4096;

/// How a relay is set up.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Where clients send to; port 0 picks one.
    pub listen: SocketAddr,
    /// Where the server is.
    pub server: SocketAddr,
    /// The links.
    pub scenario: Scenario,
    /// The seed of all chance.
    pub seed: u64,
}

/// A relay.
pub struct Relay {
    config: RelayConfig,
    listener: RelaySocket,
    stop: UnixStream,
    stopper: UnixStream,
    clients: Clients,
    to_server: Link,
    to_client: Link,
    started: Option<WallClock>,
    receiver: Receiver,
    outbox: Outbox,
    rebound: Vec<Rebound>,
    unplanned: Unplanned,
    batches: Batches,
    facts: Facts,
}

/// Datagrams to be sent, and buffers to be used again.
#[derive(Default)]
struct Outbox {
    datagrams: Vec<Outgoing>,
    spare: Vec<Vec<u8>>,
}

impl Outbox {
    fn buffer(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.extend_from_slice(bytes);
        buffer
    }

    fn send(&mut self, socket: &RelaySocket) -> u64 {
        let failed = socket.send(&self.datagrams);
        for mut datagram in self.datagrams.drain(..) {
            if self.spare.len() < MAX_SPARE {
                datagram.bytes.clear();
                self.spare.push(datagram.bytes);
            }
        }
        failed
    }
}

/// What a socket in the poll set is for.
#[derive(Clone, Copy)]
enum Source {
    Stop,
    Listener,
    Client(ClientId),
    Expired(usize),
}

impl Relay {
    /// Opens the relay's socket.
    pub fn bind(config: RelayConfig) -> io::Result<Self> {
        let on_ipv4_loopback = config.server.is_ipv4() && config.server.ip().is_loopback();
        if config.scenario.rebinding.is_some_and(|r| r.address) && !on_ipv4_loopback {
            let reason = "changing the client's address needs a server on IPv4 loopback";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
        }
        let listener = RelaySocket::open(config.listen, None)?;
        let (stop, stopper) = UnixStream::pair()?;
        let scenario = &config.scenario;
        let rng = stream(config.seed, "rebinding", 0);
        Ok(Self {
            clients: Clients::new(config.server, scenario.rebinding, rng),
            to_server: Link::new(&scenario.to_server, config.seed, 0),
            to_client: Link::new(&scenario.to_client, config.seed, 1),
            config,
            listener,
            stop,
            stopper,
            started: None,
            receiver: Receiver::new(),
            outbox: Outbox::default(),
            rebound: Vec::new(),
            unplanned: Unplanned::default(),
            batches: Batches::default(),
            facts: Facts::default(),
        })
    }

    /// Where clients reach it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Writing a byte to the stream, or closing it and the relay's own copy, ends [`Relay::run`].
    pub fn stopper(&self) -> io::Result<UnixStream> {
        self.stopper.try_clone()
    }

    /// Relays until it is told to stop, then reports.
    pub fn run(mut self) -> io::Result<Summary> {
        // The default slack of 50 us would make every departure late by as much.
        rustix::thread::set_current_timer_slack(core::num::NonZero::new(1))?;
        while self.turn()? {}
        Ok(self.summary())
    }

    /// Runs it on a thread of its own.
    pub fn spawn(self) -> io::Result<RelayHandle> {
        let (address, stopper) = (self.local_addr()?, self.stopper()?);
        let thread = Builder::new().name("relay".into()).spawn(|| self.run())?;
        Ok(RelayHandle { address, stopper, thread })
    }

    /// Waits, takes what has come and sends what is due. Returns whether to go on.
    fn turn(&mut self) -> io::Result<bool> {
        for source in self.wait()? {
            match source {
                Source::Stop => return Ok(false),
                Source::Listener => self.receive_from_clients()?,
                Source::Client(id) => self.receive_from_server(id)?,
                Source::Expired(index) => self.swallow(index)?,
            }
        }
        let now = self.now();
        for change in self.clients.rebind(now) {
            match change {
                Ok(change) if self.rebound.len() < MAX_REBOUND => self.rebound.push(change),
                Ok(_) => {}
                Err(_) => self.unplanned.failed += 1,
            }
        }
        self.send_to_server(now);
        self.send_to_clients(now);
        Ok(true)
    }

    /// Time since the first datagram.
    fn now(&self) -> Instant {
        let elapsed = self.started.map_or(Duration::ZERO, |started| started.elapsed());
        Instant::ZERO + elapsed
    }

    /// Waits for a socket or for the next event and returns the sockets that have something.
    fn wait(&self) -> io::Result<Vec<Source>> {
        let mut sources = vec![Source::Stop, Source::Listener];
        let mut sockets = vec![
            PollFd::new(&self.stop, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        for (id, socket) in self.clients.iter() {
            sources.push(Source::Client(id));
            sockets.push(PollFd::new(socket, PollFlags::IN));
        }
        for (index, socket) in self.clients.expired().iter().enumerate() {
            sources.push(Source::Expired(index));
            sockets.push(PollFd::new(socket, PollFlags::IN));
        }
        let events =
            [self.to_server.next_time(), self.to_client.next_time(), self.clients.next_rebind()];
        let timeout = events.into_iter().flatten().min().map(|at| timespec(at - self.now()));
        match poll(&mut sockets, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = sources.into_iter().zip(&sockets);
        Ok(ready.filter(|(_, socket)| !socket.revents().is_empty()).map(|(s, _)| s).collect())
    }

    fn receive_from_clients(&mut self) -> io::Result<()> {
        self.started.get_or_insert_with(WallClock::now);
        let now = self.now();
        let Self { listener, receiver, clients, facts, outbox, to_server, unplanned, .. } = self;
        let server = self.config.server;
        let result = receiver.receive(listener, |datagram| {
            let Ok((id, client)) = clients.heard(now, datagram.from) else {
                unplanned.failed += 1;
                return;
            };
            let (bytes, tos) = (datagram.bytes, datagram.tos);
            facts.sent(Direction::ToServer, bytes, tos, &mut client.ledger);
            let packet =
                Packet::datagram(datagram.from, server, Ecn::from_tos(tos), outbox.buffer(bytes));
            to_server.send(now, packet.with_tag(tag(id, tos)));
        });
        self.note_receive(result)
    }

    fn receive_from_server(&mut self, id: ClientId) -> io::Result<()> {
        let now = self.now();
        let Self { receiver, clients, facts, outbox, to_client, .. } = self;
        let Some(client) = clients.get_mut(id) else {
            return Ok(());
        };
        let (to, ledger) = (client.address, &mut client.ledger);
        let result = receiver.receive(&client.socket, |datagram| {
            let (bytes, tos) = (datagram.bytes, datagram.tos);
            facts.sent(Direction::ToClient, bytes, tos, ledger);
            let packet =
                Packet::datagram(datagram.from, to, Ecn::from_tos(tos), outbox.buffer(bytes));
            to_client.send(now, packet.with_tag(tag(id, tos)));
        });
        self.note_receive(result)
    }

    /// Takes what the server still sends to an address that its client no longer has.
    fn swallow(&mut self, index: usize) -> io::Result<()> {
        let Some(socket) = self.clients.expired().get(index) else {
            return Ok(());
        };
        let expired = &mut self.unplanned.expired_binding;
        let result = self.receiver.receive(socket, |_| *expired += 1);
        self.note_receive(result.map(|_| None))
    }

    fn note_receive(&mut self, result: io::Result<Option<u32>>) -> io::Result<()> {
        use io::ErrorKind::{ConnectionRefused, Interrupted, WouldBlock};
        match result {
            Ok(overflow) => {
                self.batches.receive_calls += 1;
                // Each socket counts for itself; the worst is enough to distrust a run.
                let overflow = overflow.map_or(0, u64::from);
                self.unplanned.receive_overflow = self.unplanned.receive_overflow.max(overflow);
                Ok(())
            }
            // A server that is not there yet, or no more.
            Err(error) if matches!(error.kind(), ConnectionRefused | Interrupted | WouldBlock) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn send_to_server(&mut self, now: Instant) {
        let mut current = None;
        while let Some(delivery) = self.to_server.poll(now) {
            let packet = delivery.packet;
            let (id, tos) = untag(packet.tag, packet.ecn);
            if current != Some(id) || self.outbox.datagrams.len() >= BATCH {
                self.flush_to_server(current);
                current = Some(id);
            }
            let Some(client) = self.clients.get_mut(id) else {
                self.unplanned.forgotten_client += 1;
                continue;
            };
            self.facts.reached_server(&packet.bytes, !packet.corrupted, &mut client.ledger);
            self.outbox.datagrams.push(Outgoing { to: None, tos, bytes: packet.bytes });
        }
        self.flush_to_server(current);
    }

    fn flush_to_server(&mut self, id: Option<ClientId>) {
        if self.outbox.datagrams.is_empty() {
            return;
        }
        if let Some(client) = id.and_then(|id| self.clients.get_mut(id)) {
            self.unplanned.failed += self.outbox.send(&client.socket);
            self.batches.send_calls += 1;
        }
    }

    fn send_to_clients(&mut self, now: Instant) {
        loop {
            while self.outbox.datagrams.len() < BATCH
                && let Some(delivery) = self.to_client.poll(now)
            {
                let packet = delivery.packet;
                let (_, tos) = untag(packet.tag, packet.ecn);
                self.outbox.datagrams.push(Outgoing {
                    to: Some(packet.to),
                    tos,
                    bytes: packet.bytes,
                });
            }
            if self.outbox.datagrams.is_empty() {
                return;
            }
            self.unplanned.failed += self.outbox.send(&self.listener);
            self.batches.send_calls += 1;
        }
    }

    fn summary(self) -> Summary {
        Summary {
            scenario: self.config.scenario.name,
            seed: self.config.seed,
            duration: self.now() - Instant::ZERO,
            clients: self.clients.created(),
            to_server: self.to_server.stats().clone(),
            to_client: self.to_client.stats().clone(),
            rebound: self.rebound,
            unplanned: self.unplanned,
            batches: self.batches,
            facts: self.facts,
        }
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A relay that runs on its own thread.
#[derive(Debug)]
pub struct RelayHandle {
    address: SocketAddr,
    stopper: UnixStream,
    thread: JoinHandle<io::Result<Summary>>,
}

impl RelayHandle {
    /// Where clients reach it.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it.
    pub fn stop(mut self) -> io::Result<Summary> {
        io::Write::write_all(&mut self.stopper, &[0])?;
        self.thread.join().map_err(|_| io::Error::other("the relay's thread panicked"))?
    }
}

/// The client and the upper six bits of the TOS byte, which links neither read nor change.
const fn tag(id: ClientId, tos: u8) -> u64 {
    id.0 << 6 | (tos >> 2) as u64
}

const fn untag(tag: u64, ecn: Ecn) -> (ClientId, u8) {
    (ClientId(tag >> 6), ((tag & 0b11_1111) as u8) << 2 | ecn.as_tos())
}

fn timespec(duration: Duration) -> Timespec {
    // A day is enough: the relay looks again.
    let nanos = nanos(duration.min(Duration::from_secs(86_400)));
    Timespec { tv_sec: (nanos / 1_000_000_000) as i64, tv_nsec: (nanos % 1_000_000_000) as i64 }
}
