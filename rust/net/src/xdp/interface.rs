//! The interface: its program, its queues, and which datagrams go through them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::hops::{Hops, Way};
use super::netlink::{Link, Netlink};
use super::packet::{self, ETHERNET, Head};
use super::program::{self, Addresses, PASS, Queues};
use super::{MAX_QUEUES, Mode, Options, Stats};
use crate::os::bpf::{self, Attach, Program};
use crate::os::xsk::{self, HEADROOM, Xsk};
use crate::os::{Interest, Poller, monotonic_nanos};
use crate::udp::{self, MAX_TRAINS, RecvBatch, Sent, TrainError, Transmit, UdpSocket};

/// Frames are as large as this, or as the largest that there are.
const FRAME: u32 = 2048;
const LARGEST_FRAME: u32 = 4096;
/// While the interface is down it is looked at this often, in nanoseconds.
const LOOK: u64 = 250_000_000;

/// Whether frames leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    /// Until the interface is up again, which is looked for at this time.
    Down(u64),
    /// The interface does not exist any more.
    Gone,
}

/// See the module above. One thread's own; when it is dropped, or its process ends in whatever way,
/// the kernel takes the program off the interface.
pub struct Interface {
    name: String,
    link: Link,
    native: bool,
    // Taken off before the sockets are closed.
    _attached: bpf::Link,
    _program: Program,
    queues: Vec<Xsk>,
    addresses: Addresses,
    /// What each local address of a socket stands for in `addresses`.
    claims: HashMap<SocketAddr, Vec<SocketAddr>>,
    hops: Hops,
    state: State,
    news: Vec<String>,
    counters: Stats,
    totals: udp::Stats,
}

impl Interface {
    /// Attaches to an interface. The errors are for people: they name the interface and say what to
    /// do.
    pub fn open(options: &Options) -> io::Result<Self> {
        let name = &options.interface;
        let explain = |what: &str, error: &io::Error| {
            io::Error::new(error.kind(), format!("AF_XDP on {name}: {what}"))
        };
        let mut netlink = Netlink::new()?;
        let link = netlink
            .link_by_name(name)
            .map_err(|error| explain(&format!("no such interface ({error})"), &error))?;
        let Some(mac) = link.mac else {
            let error = io::ErrorKind::Unsupported.into();
            return Err(explain("frames need an Ethernet interface, which it is not", &error));
        };
        let frame_size = [FRAME, LARGEST_FRAME]
            .into_iter()
            .find(|size| link.mtu + HEADROOM + ETHERNET as u32 <= *size);
        let Some(frame_size) = frame_size else {
            let most = LARGEST_FRAME - HEADROOM - ETHERNET as u32;
            let error = io::ErrorKind::Unsupported.into();
            let why = format!("its MTU is {}, and a frame has room for {most}", link.mtu);
            return Err(explain(&why, &error));
        };
        let load = || {
            let addresses = Addresses::new()?;
            let queues = Queues::new(MAX_QUEUES as u32)?;
            let program = program::load(mac, &addresses, &queues, PASS)?;
            Ok((addresses, queues, program))
        };
        let (addresses, map, program) = load().map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied => {
                explain("needs CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW: be root", &error)
            }
            _ => explain(&format!("the kernel refuses the program: {error}"), &error),
        })?;
        let (attached, how) = attach(&program, link.index, options.mode).map_err(|error| {
            match error.raw_os_error() {
                Some(libc::EBUSY | libc::EEXIST) => explain("another XDP program is there", &error),
                _ => explain(&format!("the program cannot be attached: {error}"), &error),
            }
        })?;
        let queues = open_queues(&link, options.mode, frame_size, &map)
            .map_err(|error| explain(&format!("no socket: {error}"), &error))?;
        let counters = Stats {
            interface: name.clone(),
            queues: queues.len(),
            native: how == Attach::Native,
            zero_copy: queues.iter().all(Xsk::is_zero_copy),
            ..Stats::default()
        };
        Ok(Self {
            name: name.clone(),
            link,
            native: how == Attach::Native,
            _attached: attached,
            _program: program,
            queues,
            addresses,
            claims: HashMap::new(),
            hops: Hops::new(netlink, link.index),
            state: if link.up { State::Up } else { State::Down(0) },
            news: Vec::new(),
            counters,
            totals: udp::Stats::default(),
        })
    }

    /// Has `poller` report the queues that have received: queue `i` as `token(i)`.
    pub fn watch(&self, poller: &mut Poller, token: impl Fn(usize) -> usize) -> io::Result<()> {
        (0..)
            .zip(&self.queues)
            .try_for_each(|(i, queue)| poller.add(queue, token(i), Interest::Readable))
    }

    /// Takes what is sent to this socket's address, or, if it is bound to any address, to the
    /// addresses that the interface has now. A socket of another interface keeps its datagrams. What
    /// cannot be taken goes on coming through the socket; [`Self::take_news`] tells why.
    pub fn claim(&mut self, socket: &UdpSocket) {
        if socket.interface().is_some_and(|name| name != self.name) {
            return;
        }
        let local = socket.local_addr();
        if let Err(error) = self.take(local, socket.is_dual_stack()) {
            self.tell(&format!("what is sent to {local} goes through the kernel: {error}"));
        }
    }

    fn take(&mut self, local: SocketAddr, dual_stack: bool) -> io::Result<()> {
        let mine: Vec<SocketAddr> = self
            .hops
            .addresses()?
            .into_iter()
            .filter(|ip| suits(local.ip(), *ip, dual_stack))
            .map(|ip| SocketAddr::new(ip, local.port()))
            .collect();
        for address in &mine {
            self.addresses.insert(*address)?;
        }
        self.claims.insert(local, mine);
        Ok(())
    }

    /// Leaves what is sent to this socket to the kernel again.
    pub fn release(&mut self, socket: &UdpSocket) {
        for address in self.claims.remove(&socket.local_addr()).unwrap_or_default() {
            // It was put there by `claim`.
            let _ = self.addresses.remove(address);
        }
    }

    /// Fills the slots of `batch` with what has come to a queue, and says how many datagrams came.
    /// Datagrams behind one another that belong together share a slot.
    pub fn recv(&mut self, queue: usize, batch: &mut RecvBatch) -> usize {
        batch.clear();
        let Some(queue) = self.queues.get_mut(queue) else { return 0 };
        let (interface, mut damaged) = (self.link.index, 0);
        let taken = queue.receive(|frame| match packet::read(frame) {
            Some(datagram) => batch.push(&udp::Arrived {
                remote: datagram.from,
                local: datagram.to,
                ecn: datagram.ecn,
                interface,
                payload: datagram.payload,
            }),
            None => {
                damaged += 1;
                true
            }
        });
        queue.wake();
        let received = taken as u64 - damaged;
        self.counters.damaged += damaged;
        self.counters.recv_datagrams += received;
        self.totals.soft_errors += damaged;
        self.totals.recv_datagrams += received;
        self.totals.recv_calls += u64::from(received > 0);
        taken - damaged as usize
    }

    /// Sends trains of a socket: in frames those that the interface leads to, the others through the
    /// socket. As [`UdpSocket::send`], but it may stop where one kind follows the other.
    pub fn send(&mut self, socket: &UdpSocket, batch: &[Transmit<'_>]) -> io::Result<Sent> {
        let batch = &batch[..batch.len().min(MAX_TRAINS)];
        let now = monotonic_nanos();
        if !self.is_up(now) || socket.interface().is_some_and(|name| name != self.name) {
            return socket.send(batch);
        }
        let local = socket.local_addr();
        let ways = batch.iter().map(|train| self.way(now, local, train));
        let by_kernel = ways.take_while(|way| *way == Way::Kernel).count();
        if by_kernel > 0 {
            return socket.send(&batch[..by_kernel]);
        }
        let mut sent = Sent::default();
        while let Some(train) = batch.get(sent.trains) {
            let Way::Frames { mac, source } = self.way(now, local, train) else { break };
            let head = Head {
                macs: (mac, self.link.mac.unwrap_or_default()),
                from: SocketAddr::new(source, local.port()),
                to: SocketAddr::new(train.remote.ip().to_canonical(), train.remote.port()),
                ecn: train.ecn,
            };
            self.send_train(train, &head, &mut sent);
            if sent.blocked {
                break;
            }
        }
        self.flush();
        self.counters.sent_datagrams += sent.datagrams as u64;
        self.totals.sent_datagrams += sent.datagrams as u64;
        Ok(sent)
    }

    fn way(&mut self, now: u64, local: SocketAddr, train: &Transmit<'_>) -> Way {
        let bound = Some(local.ip()).filter(|ip| !ip.is_unspecified());
        let from = train.local_ip.or(bound).map(|ip| ip.to_canonical());
        self.hops.way(now, train.remote.ip().to_canonical(), from)
    }

    /// Writes a train into frames, as far as there is room.
    fn send_train(&mut self, train: &Transmit<'_>, head: &Head, sent: &mut Sent) {
        let largest = (self.link.mtu as usize).saturating_sub(packet::overhead(head.to.ip()));
        let size = train.segment_size.min(train.data.len());
        let error = match () {
            () if !train.is_valid() => Some(TrainError::Invalid),
            () if size > largest => Some(TrainError::TooLarge),
            () => None,
        };
        if let Some(error) = error {
            self.totals.soft_errors += 1;
            // One error per train at most, and no more trains than there is room: never full.
            let _ = sent.errors.try_push((sent.trains, error));
            sent.trains += 1;
            return;
        }
        // The datagrams of one peer stay in order: they share a queue.
        let queues = self.queues.len();
        let Some(queue) = self.queues.get_mut(usize::from(head.to.port()) % queues) else { return };
        let empty: &[u8] = &[];
        let chunks = train.data.chunks(train.segment_size.max(1));
        let before = sent.datagrams;
        for payload in chunks.chain(train.data.is_empty().then_some(empty)) {
            let write = |frame: &mut [u8]| packet::write(frame, head, payload).unwrap_or(0);
            if !queue.send(write) {
                sent.blocked = true;
                sent.partial = (sent.datagrams - before) * train.segment_size;
                return;
            }
            sent.datagrams += 1;
        }
        sent.trains += 1;
    }

    /// Whether frames wait because the kernel's queues were full: call [`Self::flush`] after a while.
    pub fn has_waiting(&self) -> bool {
        self.state == State::Up && self.queues.iter().any(Xsk::is_stuck)
    }

    /// Has the kernel take what waits.
    pub fn flush(&mut self) {
        let mut failed = None;
        for queue in &mut self.queues {
            match queue.flush() {
                Ok(calls) => self.totals.send_calls += u64::from(calls),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            self.fail(&error);
        }
    }

    /// The kernel takes no frames.
    fn fail(&mut self, error: &io::Error) {
        self.counters.errors += 1;
        self.totals.soft_errors += 1;
        self.hops.clear();
        if self.state == State::Up {
            self.state = State::Down(monotonic_nanos().saturating_add(LOOK));
            self.tell(&format!("{error}; datagrams go through the kernel until it is back"));
        }
    }

    /// Looks after an interface that was down.
    fn is_up(&mut self, now: u64) -> bool {
        match self.state {
            State::Up => return true,
            State::Down(at) if at <= now => {}
            State::Down(_) | State::Gone => return false,
        }
        match self.hops.link() {
            // Another MAC address, or less room in a packet: the program was made for the old one.
            Ok(link) if link.up && link.mac == self.link.mac && link.mtu <= self.link.mtu => {
                self.link = link;
                self.state = State::Up;
                self.hops.clear();
                self.tell("it is back");
            }
            Ok(_) => self.state = State::Down(now.saturating_add(LOOK)),
            Err(_) => {
                self.state = State::Gone;
                self.tell("the interface is gone; datagrams go through the kernel");
            }
        }
        self.state == State::Up
    }

    fn tell(&mut self, what: &str) {
        self.news.push(format!("AF_XDP on {}: {what}", self.name));
    }

    /// What is worth telling people: the interface went down, or came back. One line.
    pub fn take_news(&mut self) -> Option<String> {
        (!self.news.is_empty()).then(|| self.news.remove(0))
    }

    /// How the interface is used.
    pub fn stats(&self) -> Stats {
        Stats { up: self.state == State::Up, native: self.native, ..self.counters.clone() }
    }

    /// The same in the words of a socket. A system call is one that took frames, and receiving needs
    /// none: calls are counted that returned some.
    pub fn socket_stats(&self) -> udp::Stats {
        let kernel_drops = self.queues.iter().map(Xsk::drops).sum();
        udp::Stats { kernel_drops, ..self.totals }
    }
}

/// Whether this process may use AF_XDP: the kernel has it, and grants the rights. An interface may
/// still refuse.
pub fn is_available() -> bool {
    let load = || program::load([0; 6], &Addresses::new()?, &Queues::new(1)?, PASS);
    xsk::is_available() && load().is_ok()
}

/// By the driver, or by the network stack if the driver cannot.
fn attach(program: &Program, interface: u32, mode: Mode) -> io::Result<(bpf::Link, Attach)> {
    match program.attach(interface, Attach::Native) {
        Ok(link) => Ok((link, Attach::Native)),
        // Busy is busy in either way, and without a driver's help there is no zero-copy.
        Err(error)
            if mode == Mode::ZeroCopy
                || matches!(
                    error.raw_os_error(),
                    Some(libc::EBUSY | libc::EEXIST | libc::EPERM)
                ) =>
        {
            Err(error)
        }
        Err(_) => Ok((program.attach(interface, Attach::Generic)?, Attach::Generic)),
    }
}

/// A socket for every queue in use.
fn open_queues(link: &Link, mode: Mode, frame_size: u32, map: &Queues) -> io::Result<Vec<Xsk>> {
    let copies = match mode {
        Mode::Auto => None,
        Mode::Copy => Some(true),
        Mode::ZeroCopy => Some(false),
    };
    let mut queues = Vec::new();
    for queue in 0..link.queues.clamp(1, MAX_QUEUES as u32) {
        match Xsk::open(link.index, queue, copies, frame_size) {
            Ok(socket) => {
                map.insert(queue, &socket)?;
                queues.push(socket);
            }
            // Interfaces have more queues than they use.
            Err(error) if queue > 0 && error.raw_os_error() == Some(libc::EINVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(queues)
}

/// Whether a socket bound to `bound` gets what is sent to `ip`.
fn suits(bound: IpAddr, ip: IpAddr, dual_stack: bool) -> bool {
    match (bound.to_canonical(), ip) {
        (IpAddr::V4(any), IpAddr::V4(_)) if any.is_unspecified() => true,
        (IpAddr::V6(any), IpAddr::V6(_)) if any.is_unspecified() => true,
        (IpAddr::V6(any), IpAddr::V4(_)) if any.is_unspecified() => dual_stack,
        (bound, ip) => bound == ip,
    }
}
