//! The sockets of a shard: which one a train leaves through, and trains that wait for a full one.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};

use arrayvec::ArrayVec;
use slab::Slab;
use tquic_core::path::{Ecn, FourTuple};
use tquic_core::time::{Duration, Instant};
use tquic_net::os::{Interest, Poller};
use tquic_net::udp::{self, MAX_TRAINS, RecvBatch, Sent, TrainError, Transmit, UdpSocket};
use tquic_net::xdp::Interface;

use super::outbox::{Outbox, Train};
use super::service::Place;
use super::token::queue_of;
use crate::application::Source;
use crate::stats::add_socket;

/// When a socket claims to be writable and is not, it is tried again after this long.
const RETRY: Duration = Duration::from_millis(1);

/// A socket that cannot receive is left alone for a while, for the poller would report it again at
/// once: the first time so long as the first of these, then twice as long each time up to the other.
const REST: [Duration; 2] = [RETRY, Duration::from_millis(100)];

/// Whether a socket takes trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Free,
    /// Until the poller says that there is room.
    Full,
    /// Until this time: the poller said so and was wrong (`ENOBUFS` does that).
    Until(Instant),
}

/// A socket and what waits for it.
pub(super) struct Entry {
    pub socket: UdpSocket,
    pub local: SocketAddr,
    /// Whose datagrams come in here.
    pub service: usize,
    /// How many connections use it alone; `None` for a socket of the whole service.
    users: Option<usize>,
    /// For a socket that clients share: by what they ask for it.
    source: Option<Source>,
    queue: VecDeque<Train>,
    /// Whether the kernel may borrow trains.
    lends: bool,
    room: Room,
    /// The last try after the poller said that there is room sent nothing.
    lied: bool,
    /// The poller does not watch it until then, because receiving failed.
    deaf_until: Option<Instant>,
    /// For how long it was left alone the last time; zero if receiving went well since.
    rest: Duration,
}

/// A train that did not leave.
pub(super) struct Failure {
    pub place: Place,
    pub error: TrainError,
    pub addresses: FourTuple,
    /// Size of its datagrams.
    pub segment: usize,
}

/// See the module.
#[derive(Default)]
pub(super) struct Sockets {
    entries: Slab<Entry>,
    /// Takes what leaves through it past the sockets (AF_XDP).
    interface: Option<Interface>,
    /// When the interface is tried again that did not take everything.
    flush_at: Option<Instant>,
    /// Counters of those that were closed.
    gone: udp::Stats,
    /// The one used last.
    last: usize,
}

impl Entry {
    /// Whether a datagram with this local address belongs to the socket: 2 for its very address,
    /// 1 for a socket on any address, 0 for no.
    fn suits(&self, service: usize, local: SocketAddr) -> u8 {
        if self.service == service { self.hears(local) } else { 0 }
    }

    /// The same whosever it is.
    fn hears(&self, local: SocketAddr) -> u8 {
        if self.local.port() != local.port() {
            return 0;
        }
        let mine = self.local.ip();
        if mine == local.ip() {
            return 2;
        }
        // An IPv6 socket on any address is dual-stack; were it not, it would never have received
        // the packet whose address this is.
        u8::from(mine.is_unspecified() && (mine.is_ipv6() || local.is_ipv4()))
    }

    /// The addresses of a datagram that came in here.
    pub fn four_tuple(&self, remote: SocketAddr, local_ip: Option<IpAddr>) -> FourTuple {
        let ip = local_ip.map_or(self.local.ip(), |ip| ip.to_canonical());
        FourTuple { local: SocketAddr::new(ip, self.local.port()), remote }
    }

    /// One call with the trains at the front of the queue.
    fn send(&self, outbox: &Outbox, interface: &mut Option<Interface>) -> io::Result<Sent> {
        let lendable = if self.lends { outbox.lendable() } else { 0 };
        // Extended: what `collect` gives is moved as a whole, room and all.
        let mut batch: ArrayVec<udp::Transmit<'_>, MAX_TRAINS> = ArrayVec::new();
        let trains = self.queue.iter().take(MAX_TRAINS).enumerate();
        batch.extend(trains.map(|(at, train)| udp::Transmit {
            remote: train.transmit.addresses.remote,
            local_ip: self.source(train.transmit.addresses.local),
            ecn: train.transmit.ecn.map(to_socket),
            segment_size: train.transmit.segment,
            data: outbox.data(train),
            buffer: outbox.buffer(train).filter(|_| at < lendable),
        }));
        send(&self.socket, interface, &batch)
    }

    /// The source address to ask the kernel for: none where there is no choice.
    pub fn source(&self, local: SocketAddr) -> Option<IpAddr> {
        (self.local.ip().is_unspecified() && !local.ip().is_unspecified()).then(|| local.ip())
    }
}

fn send(
    socket: &UdpSocket,
    interface: &mut Option<Interface>,
    batch: &[Transmit<'_>],
) -> io::Result<Sent> {
    match interface {
        Some(interface) => interface.send(socket, batch),
        None => socket.send(batch),
    }
}

impl Sockets {
    /// None yet. `interface`: what they send through where that leads to the peer.
    pub fn new(interface: Option<Interface>) -> Self {
        Self { interface, ..Self::default() }
    }

    /// Takes a socket in. `alone`: it was opened for one connection, and closes with it.
    pub fn add(
        &mut self,
        poller: &mut Poller,
        socket: UdpSocket,
        service: usize,
        alone: bool,
    ) -> io::Result<usize> {
        let at = self.entries.vacant_key();
        poller.add(&socket, at, Interest::Readable)?;
        let local = socket.local_addr();
        if let Some(interface) = &mut self.interface {
            interface.claim(&socket);
        }
        let users = alone.then_some(1);
        let (queue, lends) = (VecDeque::new(), socket.capabilities().zerocopy);
        self.entries.insert(Entry {
            socket,
            local,
            service,
            users,
            source: None,
            queue,
            lends,
            room: Room::Free,
            lied: false,
            deaf_until: None,
            rest: Duration::ZERO,
        });
        Ok(at)
    }

    fn remove(&mut self, poller: &mut Poller, outbox: &mut Outbox, at: usize) {
        let Some(entry) = self.entries.try_remove(at) else { return };
        // The descriptor is closed in any case.
        let _ = poller.remove(&entry.socket, at);
        if let Some(interface) = &mut self.interface {
            interface.release(&entry.socket);
        }
        for train in &entry.queue {
            outbox.release(train);
        }
        add_socket(&mut self.gone, &entry.socket.stats());
    }

    /// A connection that had sockets of its own is gone. What it still had to say has been tried.
    pub fn release(&mut self, poller: &mut Poller, outbox: &mut Outbox, own: &[usize]) {
        for &at in own {
            let Some(entry) = self.entries.get_mut(at) else { continue };
            let Some(users) = &mut entry.users else { continue };
            *users = users.saturating_sub(1);
            if *users == 0 {
                self.remove(poller, outbox, at);
            }
        }
    }

    /// Closes all sockets of a service.
    pub fn remove_service(&mut self, poller: &mut Poller, outbox: &mut Outbox, service: usize) {
        let mine: Vec<usize> =
            self.entries.iter().filter(|(_, e)| e.service == service).map(|(at, _)| at).collect();
        for at in mine {
            self.remove(poller, outbox, at);
        }
    }

    pub fn get(&self, at: usize) -> Option<&Entry> {
        self.entries.get(at)
    }

    pub fn indices(&self) -> impl Iterator<Item = usize> + '_ {
        self.entries.iter().map(|(at, _)| at)
    }

    /// The socket of a service for datagrams from this address.
    pub fn find(&mut self, service: usize, local: SocketAddr) -> Option<usize> {
        let last = self.entries.get(self.last).map_or(0, |e| e.suits(service, local));
        if last == 2 || (last == 1 && self.entries.len() == 1) {
            return Some(self.last);
        }
        let suits = |(at, e): (usize, &Entry)| (e.suits(service, local), at);
        let (fit, at) = self.entries.iter().map(suits).max()?;
        (fit > 0).then(|| {
            self.last = at;
            at
        })
    }

    /// Receives from the socket, or the queue of the interface, that the poller named.
    pub fn recv(&mut self, token: usize, batch: &mut RecvBatch) -> io::Result<usize> {
        match (queue_of(token), &mut self.interface) {
            (Some(queue), Some(interface)) => Ok(interface.recv(queue, batch)),
            _ => self.entries.get(token).map_or(Ok(0), |entry| entry.socket.recv(batch)),
        }
    }

    /// The socket that a datagram was for which came in here: the one that the poller named, or that
    /// of the datagram's port.
    pub fn addressee(&self, token: usize, slot: &udp::Slot<'_>) -> Option<usize> {
        let (Some(port), Some(ip)) = (slot.local_port, slot.local_ip) else { return Some(token) };
        let local = SocketAddr::new(ip, port);
        if self.entries.get(self.last).is_some_and(|e| e.hears(local) == 2) {
            return Some(self.last);
        }
        let hears = |(at, e): (usize, &Entry)| (e.hears(local), at);
        let (fit, at) = self.entries.iter().map(hears).max()?;
        (fit > 0).then_some(at)
    }

    /// Sends what belongs to no connection, as far as there is room.
    pub fn send_now(&mut self, at: usize, batch: &[Transmit<'_>]) {
        if let Some(entry) = self.entries.get(at) {
            // An unusable socket shows where connections use it.
            let _ = send(&entry.socket, &mut self.interface, batch);
        }
    }

    /// The interface, if there is one.
    pub fn interface(&self) -> Option<&Interface> {
        self.interface.as_ref()
    }

    /// The end of a turn: the time to try the interface again, and what it has to tell.
    pub fn settle(&mut self, now: Instant) -> Option<String> {
        let interface = self.interface.as_mut()?;
        self.flush_at = interface.has_waiting().then(|| now + RETRY);
        interface.take_news()
    }

    /// The socket that clients with this source share.
    pub fn shared(&self, source: Source) -> Option<usize> {
        self.entries.iter().find(|(_, e)| e.source == Some(source)).map(|(at, _)| at)
    }

    /// Takes a socket in that clients with this source share.
    pub fn add_shared(
        &mut self,
        poller: &mut Poller,
        socket: UdpSocket,
        service: usize,
        source: Source,
    ) -> io::Result<usize> {
        let at = self.add(poller, socket, service, false)?;
        if let Some(entry) = self.entries.get_mut(at) {
            entry.source = Some(source);
        }
        Ok(at)
    }

    /// Puts a train at the end of a socket's queue; answers how many stand there.
    pub fn push(&mut self, at: usize, train: Train) -> usize {
        self.entries.get_mut(at).map_or(0, |entry| {
            entry.queue.push_back(train);
            entry.queue.len()
        })
    }

    /// Sends what stands in the queue, until that is empty or the socket full.
    pub fn flush(
        &mut self,
        at: usize,
        now: Instant,
        poller: &mut Poller,
        outbox: &mut Outbox,
        failures: &mut Vec<Failure>,
    ) -> io::Result<()> {
        let Some(entry) = self.entries.get_mut(at) else { return Ok(()) };
        if entry.room != Room::Free {
            return Ok(());
        }
        while !entry.queue.is_empty() {
            let sent = match entry.send(outbox, &mut self.interface) {
                Ok(sent) => sent,
                Err(error) => {
                    // The socket is of no use any more: everything is lost, timeouts will tell.
                    entry.queue.drain(..).for_each(|train| outbox.release(&train));
                    return Err(error);
                }
            };
            for &(i, error) in &sent.errors {
                if let Some(train) = entry.queue.get(i) {
                    let tquic_core::tx::Transmit { addresses, segment, .. } = train.transmit;
                    failures.push(Failure { place: train.place, error, addresses, segment });
                }
            }
            let done = sent.trains.min(entry.queue.len());
            entry.queue.drain(..done).for_each(|train| outbox.release(&train));
            if let Some(first) = entry.queue.front_mut() {
                Outbox::advance(first, sent.partial);
            }
            if sent.blocked {
                let progress = sent.datagrams > 0 || !sent.errors.is_empty();
                return entry.on_full(at, now, progress, poller);
            }
            entry.lied = false;
        }
        Ok(())
    }

    /// The poller says that a socket takes trains again.
    pub fn on_writable(&mut self, at: usize, poller: &mut Poller) -> io::Result<()> {
        match self.entries.get_mut(at) {
            Some(entry) if entry.room == Room::Full => {
                entry.room = Room::Free;
                entry.watch(at, poller)
            }
            _ => Ok(()),
        }
    }

    /// How receiving went. Answers whether somebody should be told that it fails.
    pub fn on_received(
        &mut self,
        at: usize,
        now: Instant,
        well: bool,
        poller: &mut Poller,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(at) else { return false };
        if well {
            entry.rest = Duration::ZERO;
            return false;
        }
        let first = entry.rest.is_zero();
        entry.rest = (entry.rest * 2).clamp(REST[0], REST[1]);
        entry.deaf_until = Some(now + entry.rest);
        // What the poller does not know any more, it reports no more.
        let _ = poller.remove(&entry.socket, at);
        first
    }

    /// When a socket is to be tried again.
    pub fn retry_at(&self) -> Option<Instant> {
        let times = |(_, e): (usize, &Entry)| match (e.room, e.deaf_until) {
            (Room::Until(at), Some(deaf)) => Some(at.min(deaf)),
            (Room::Until(at), None) => Some(at),
            (_, deaf) => deaf,
        };
        self.entries.iter().filter_map(times).chain(self.flush_at).min()
    }

    /// Tries sockets, and the interface, again whose time has come.
    pub fn on_timeout(&mut self, now: Instant, poller: &mut Poller) {
        if self.flush_at.is_some_and(|at| at <= now)
            && let Some(interface) = &mut self.interface
        {
            interface.flush();
        }
        for (at, entry) in &mut self.entries {
            if matches!(entry.room, Room::Until(at) if at <= now) {
                entry.room = Room::Free;
            }
            if entry.deaf_until.is_some_and(|at| at <= now) {
                let watched = poller.add(&entry.socket, at, entry.interest());
                entry.deaf_until = watched.is_err().then(|| now + entry.rest);
            }
        }
    }

    /// Whether trains wait.
    pub fn has_queued(&self) -> bool {
        self.entries.iter().any(|(_, e)| !e.queue.is_empty())
    }

    /// Counters of all sockets there were.
    pub fn stats(&self) -> udp::Stats {
        let mut sum = self.gone;
        self.entries.iter().for_each(|(_, e)| add_socket(&mut sum, &e.socket.stats()));
        if let Some(interface) = &self.interface {
            add_socket(&mut sum, &interface.socket_stats());
        }
        sum
    }
}

impl Entry {
    fn interest(&self) -> Interest {
        if self.room == Room::Full { Interest::ReadableWritable } else { Interest::Readable }
    }

    /// Tells the poller what is of interest, unless it does not watch the socket at the time.
    fn watch(&self, at: usize, poller: &mut Poller) -> io::Result<()> {
        match self.deaf_until {
            Some(_) => Ok(()),
            None => poller.modify(&self.socket, at, self.interest()),
        }
    }

    fn on_full(
        &mut self,
        at: usize,
        now: Instant,
        progress: bool,
        poller: &mut Poller,
    ) -> io::Result<()> {
        if self.lied && !progress {
            self.room = Room::Until(now + RETRY);
            return Ok(());
        }
        self.lied = !progress;
        self.room = Room::Full;
        self.watch(at, poller)
    }
}

/// The same mark in the words of the socket.
pub(super) fn to_socket(ecn: Ecn) -> udp::Ecn {
    match ecn {
        Ecn::Ect0 => udp::Ecn::Ect0,
        Ecn::Ect1 => udp::Ecn::Ect1,
        Ecn::Ce => udp::Ecn::Ce,
    }
}

/// The same mark in the words of the protocol.
pub(super) fn from_socket(ecn: udp::Ecn) -> Ecn {
    match ecn {
        udp::Ecn::Ect0 => Ecn::Ect0,
        udp::Ecn::Ect1 => Ecn::Ect1,
        udp::Ecn::Ce => Ecn::Ce,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tquic_net::udp::SocketOptions;

    fn bind(address: &str) -> UdpSocket {
        UdpSocket::bind(address.parse().unwrap(), &SocketOptions::default()).unwrap()
    }

    #[test]
    fn datagrams_leave_through_the_socket_of_their_address() {
        let mut poller = Poller::new().unwrap();
        let mut sockets = Sockets::default();
        let any = sockets.add(&mut poller, bind("0.0.0.0:0"), 0, false).unwrap();
        let own = sockets.add(&mut poller, bind("127.0.0.2:0"), 0, true).unwrap();
        let port = |sockets: &Sockets, at| sockets.get(at).unwrap().local.port();
        let (any_port, own_port) = (port(&sockets, any), port(&sockets, own));
        let address = |ip: &str, port| SocketAddr::new(ip.parse().unwrap(), port);
        for _ in 0..2 {
            assert_eq!(sockets.find(0, address("127.0.0.1", any_port)), Some(any));
            assert_eq!(sockets.find(0, address("0.0.0.0", any_port)), Some(any));
            assert_eq!(sockets.find(0, address("127.0.0.2", own_port)), Some(own));
            assert_eq!(sockets.find(0, address("127.0.0.3", own_port)), None);
            assert_eq!(sockets.find(1, address("127.0.0.1", any_port)), None);
        }
        let entry = sockets.get(any).unwrap();
        assert_eq!(entry.source(address("127.0.0.1", 1)), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(entry.source(address("0.0.0.0", 1)), None);
        let mapped = "::ffff:127.0.0.1".parse().unwrap();
        let tuple = entry.four_tuple(address("127.0.0.9", 9), Some(mapped));
        assert_eq!(tuple.local, address("127.0.0.1", any_port));
        let mut outbox = Outbox::new().unwrap();
        sockets.release(&mut poller, &mut outbox, &[own, any]);
        assert_eq!(sockets.find(0, address("127.0.0.2", own_port)), None);
        assert_eq!(sockets.find(0, address("127.0.0.1", any_port)), Some(any), "it is shared");
    }

    #[test]
    fn trains_wait_for_a_full_socket_and_leave_in_order() {
        let (mut poller, mut outbox) = (Poller::new().unwrap(), Outbox::new().unwrap());
        let mut sockets = Sockets::default();
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = sockets.add(&mut poller, bind("127.0.0.1:0"), 0, false).unwrap();
        let addresses =
            FourTuple { local: sockets.get(at).unwrap().local, remote: peer.local_addr().unwrap() };
        let now = Instant::ZERO;
        let full = |sockets: &mut Sockets, poller: &mut Poller, progress| {
            sockets.entries[at].on_full(at, now, progress, poller).unwrap();
        };
        full(&mut sockets, &mut poller, true);
        for n in 0..40_u8 {
            let train = outbox.fill(Place::default(), |buf| {
                buf[0] = n;
                Some(tquic_core::tx::Transmit { addresses, ecn: None, segment: 1, len: 1 })
            });
            if let Some(train) = train {
                sockets.push(at, train);
            }
        }
        assert!(outbox.is_full(), "the number of trains is bounded");
        let mut failures = Vec::new();
        sockets.flush(at, now, &mut poller, &mut outbox, &mut failures).unwrap();
        assert!(outbox.is_full() && sockets.has_queued(), "nothing leaves through a full socket");
        // Writable, and full again without progress, twice: a timer takes over from the poller.
        sockets.on_writable(at, &mut poller).unwrap();
        full(&mut sockets, &mut poller, false);
        assert_eq!(sockets.retry_at(), None);
        sockets.on_writable(at, &mut poller).unwrap();
        full(&mut sockets, &mut poller, false);
        assert_eq!(sockets.retry_at(), Some(now + RETRY));
        sockets.on_writable(at, &mut poller).unwrap();
        assert_eq!(sockets.retry_at(), Some(now + RETRY));
        sockets.on_timeout(now + RETRY, &mut poller);
        sockets.flush(at, now, &mut poller, &mut outbox, &mut failures).unwrap();
        assert!(failures.is_empty() && !sockets.has_queued() && !outbox.is_full());
        for n in 0..32 {
            let mut byte = [0];
            assert_eq!(peer.recv(&mut byte).unwrap(), 1);
            assert_eq!(byte, [n]);
        }
    }

    #[test]
    fn a_socket_that_cannot_receive_is_left_alone_for_a_while() {
        let (mut poller, mut sockets) = (Poller::new().unwrap(), Sockets::default());
        let mut events = tquic_net::os::Events::with_capacity(2);
        let mut reported = |poller: &mut Poller| {
            poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
            events.iter().next().is_some()
        };
        let at = sockets.add(&mut poller, bind("127.0.0.1:0"), 0, false).unwrap();
        let to = sockets.get(at).unwrap().local;
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[1], to).unwrap();
        let mut now = Instant::ZERO;
        for (first, rest) in [(true, 1), (false, 2), (false, 4)] {
            assert!(reported(&mut poller));
            assert_eq!(sockets.on_received(at, now, false, &mut poller), first);
            assert!(!reported(&mut poller));
            // A full one would be watched, but not now.
            sockets.entries[at].on_full(at, now, true, &mut poller).unwrap();
            let until = now + Duration::from_millis(rest);
            assert_eq!(sockets.retry_at(), Some(until));
            sockets.on_timeout(Instant::from_nanos(until.as_nanos() - 1), &mut poller);
            assert!(!reported(&mut poller));
            sockets.on_timeout(until, &mut poller);
            now = until;
        }
        assert!(reported(&mut poller));
        assert!(!sockets.on_received(at, now, true, &mut poller));
        assert_eq!(sockets.retry_at(), None);
        assert!(sockets.on_received(at, now, false, &mut poller), "told again");
        assert_eq!(sockets.retry_at(), Some(now + REST[0]));
    }
}
