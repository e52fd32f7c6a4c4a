//! The engine: its threads, and what can be asked of them.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use tquic_core::Connection;
use tquic_core::config::EndpointConfig;
use tquic_core::endpoint::EndpointSecrets;
use tquic_core::multipath::{Scheduler, UserScheduler};
use tquic_core::time::{Instant, nanos};
use tquic_net::os::{self, Poller};
use tquic_net::udp::{BufferSize, SocketOptions, UdpSocket, reuseport_by_cid};
use tquic_net::xdp::{self, Interface};
use tquic_wire::TransportErrorCode;

use crate::application::Application;
use crate::config::{
    Acceptor, ConnectRequest, EngineConfig, ListenRequest, ListenerId, LocalAddress, Log,
    within_buffer,
};
use crate::key::ConnectionKey;
use crate::live::Snapshot;
use crate::shard::{
    Command, Connect, Inbox, Listen, Operation, Outbox, Refusal, Shard, ShardSetup, clock,
    queue_token,
};
use crate::stats::{ConnectionSnapshot, ShardStats};

/// How long an answer of a shard is waited for. A shard looks for commands after every batch of
/// packets: only a dead one takes longer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the writer of qlog files is waited for at the end.
const LOGS: Duration = Duration::from_secs(5);
/// Shards at most: the first byte of connection IDs names them.
const MAX_SHARDS: usize = 128;

/// Why the engine did not do what it was asked.
#[derive(Debug)]
pub enum EngineError {
    /// The operating system refused.
    Io(io::Error),
    /// There is no such connection (any more).
    Gone,
    /// The engine has ended.
    Ended,
    /// Too many commands wait: the machine is overloaded.
    Busy,
    /// A fork made this process: it has none of the engine's threads, and nobody would answer.
    Forked,
    /// Refused for a reason in words.
    Refused(String),
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Gone => f.write_str("no such connection"),
            Self::Ended => f.write_str("the engine has been shut down"),
            Self::Busy => f.write_str("too many commands wait for the engine"),
            Self::Forked => f.write_str(
                "a fork made this process: its engine and connections are those of the parent",
            ),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for EngineError {}

impl From<io::Error> for EngineError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Refusal> for EngineError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Closed => Self::Ended,
            Refusal::Full => Self::Busy,
        }
    }
}

/// A listener.
#[derive(Clone, Debug)]
pub struct Listening {
    /// Its name.
    pub id: ListenerId,
    /// Where, in the order of the request: port 0 has become a real one.
    pub addresses: Vec<SocketAddr>,
}

/// A connection that has not begun. Dropped, it never will, and its application is.
pub struct Prepared {
    inbox: Arc<Inbox>,
    connect: Box<Connect>,
}

impl Prepared {
    /// Begins it.
    pub fn begin(self) -> Result<ConnectionKey, EngineError> {
        let key = self.connect.key;
        self.inbox.push(Command::Connect(self.connect))?;
        Ok(key)
    }
}

/// Threads with connections. Dropped, it ends at once; `shutdown` is politer.
pub struct Engine {
    inboxes: Vec<Arc<Inbox>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    config: EngineConfig,
    next_listener: AtomicU64,
    /// Takes the next connection.
    turn: AtomicU64,
    /// The interface as it was opened.
    xdp: Option<xdp::Stats>,
    #[cfg(target_os = "linux")]
    live: Mutex<Option<crate::live::Live>>,
    warned: Mutex<Vec<&'static str>>,
    /// The process that has the threads.
    process: u32,
}

impl Engine {
    /// Starts the threads.
    pub fn new(config: EngineConfig) -> io::Result<Self> {
        if !(1..=MAX_SHARDS).contains(&config.shards) {
            let why = "an engine has 1 to 128 shards";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let (number, engines) = config.place;
        if number >= engines || (engines > 1 && config.shards != 1) {
            let why = "each of several engines has one shard and a number below theirs";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        if config.xdp.is_some() && (config.shards != 1 || engines > 1) {
            let why = "an engine with AF_XDP has one shard, and is the only one at its ports";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let mut engine = Self {
            inboxes: Vec::new(),
            threads: Mutex::default(),
            config,
            next_listener: AtomicU64::new(1),
            turn: AtomicU64::new(0),
            xdp: None,
            #[cfg(target_os = "linux")]
            live: Mutex::default(),
            warned: Mutex::default(),
            process: std::process::id(),
        };
        let keys = Keys::random()?;
        for shard in 0..engine.config.shards {
            engine.start(shard as u8, &keys)?;
        }
        engine.go_live();
        Ok(engine)
    }

    fn start(&mut self, shard: u8, keys: &Keys) -> io::Result<()> {
        let mut poller = Poller::new()?;
        let interface = self.config.xdp.as_ref().map(Interface::open).transpose()?;
        if let Some(interface) = &interface {
            interface.watch(&mut poller, queue_token)?;
            self.xdp = Some(interface.stats());
        }
        let inbox = Arc::new(Inbox::new(shard, poller.waker()));
        let setup = ShardSetup {
            poller,
            inbox: inbox.clone(),
            endpoint: self.endpoint(shard),
            secrets: keys.secrets()?,
            outbox: Outbox::new()?,
            socket: SocketOptions { reuse_port: false, ..self.config.socket.clone() },
            interface,
            spin: self.config.spin,
            log: self.config.log.clone(),
        };
        let cpu = self.config.cpus.get(usize::from(shard)).copied();
        let log = self.config.log.clone();
        let body = move || {
            if let Some(cpu) = cpu
                && let Err(error) = os::pin_thread(cpu)
            {
                warn(log.as_ref(), &format!("cannot stay on CPU {cpu}: {error}"));
            }
            Shard::new(setup).run();
        };
        let thread = thread::Builder::new().name(format!("tquic-{shard}")).spawn(body)?;
        self.inboxes.push(inbox);
        self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// Lets others look. That they cannot is no reason not to work.
    fn go_live(&mut self) {
        #[cfg(target_os = "linux")]
        if self.config.live {
            match crate::live::Live::start(&self.inboxes) {
                Ok(live) => {
                    *self.live.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(live);
                }
                Err(error) => {
                    warn(self.config.log.as_ref(), &format!("tquic top cannot look in: {error}"));
                }
            }
        }
    }

    fn endpoint(&self, shard: u8) -> EndpointConfig {
        let (number, engines) = self.config.place;
        // Several engines have one shard each.
        let (shard, shards) =
            if engines > 1 { (number, engines) } else { (shard, self.config.shards as u8) };
        EndpointConfig { shard, shards, ..EndpointConfig::default() }
    }

    /// The interface that packets go through past the kernel, as it was opened; if there is one.
    pub fn xdp(&self) -> Option<&xdp::Stats> {
        self.xdp.as_ref()
    }

    /// The shards' number.
    pub fn shards(&self) -> usize {
        self.inboxes.len()
    }

    pub(crate) fn inboxes(&self) -> &[Arc<Inbox>] {
        &self.inboxes
    }

    pub(crate) fn inbox(&self, key: ConnectionKey) -> Result<&Arc<Inbox>, EngineError> {
        self.inboxes.get(key.shard()).ok_or(EngineError::Gone)
    }

    /// Accepts connections; each gets the application that `acceptor` makes.
    #[allow(clippy::needless_pass_by_value, reason = "callers make it for this call alone")]
    pub fn listen(
        &self,
        request: &ListenRequest,
        acceptor: Acceptor,
    ) -> Result<Listening, EngineError> {
        let mut groups = Vec::new();
        for address in std::iter::once(&request.address).chain(&request.more) {
            groups.push(self.bind_group(*address)?);
        }
        self.listen_with(request, &acceptor, groups)
    }

    /// The same with this engine's socket of a [`SharedPort`]; the request's addresses do not count.
    #[allow(clippy::needless_pass_by_value, reason = "callers make it for this call alone")]
    pub fn listen_at(
        &self,
        socket: UdpSocket,
        request: &ListenRequest,
        acceptor: Acceptor,
    ) -> Result<Listening, EngineError> {
        self.warn_of_buffers(&socket);
        self.listen_with(request, &acceptor, vec![vec![socket]])
    }

    /// With sockets at one or several addresses, at each of them one for each shard.
    fn listen_with(
        &self,
        request: &ListenRequest,
        acceptor: &Acceptor,
        groups: Vec<Vec<UdpSocket>>,
    ) -> Result<Listening, EngineError> {
        let id = ListenerId(self.next_listener.fetch_add(1, Ordering::Relaxed));
        let mut sockets: Vec<Vec<UdpSocket>> = self.inboxes.iter().map(|_| Vec::new()).collect();
        let mut addresses = Vec::new();
        for group in groups {
            addresses.extend(group.first().map(UdpSocket::local_addr));
            sockets.iter_mut().zip(group).for_each(|(mine, socket)| mine.push(socket));
        }
        let keys = match request.token_key {
            Some(key) => Keys::from_one(&key),
            None => Keys::random()?,
        };
        let mut accept = request.accept.clone();
        if let Some(socket) = sockets.first().and_then(|mine| mine.first()) {
            let buffer = socket.capabilities().recv_buffer.granted;
            let ip = socket.local_addr().ip();
            accept.transport = within_buffer(&accept.transport, ip, buffer);
        }
        for ((shard, inbox), sockets) in (0..).zip(&self.inboxes).zip(sockets) {
            inbox.push(Command::Listen(Box::new(Listen {
                id,
                sockets,
                accept: accept.clone(),
                endpoint: self.endpoint(shard),
                secrets: keys.secrets()?,
                acceptor: acceptor.clone(),
                gate: request.gate.clone(),
            })))?;
        }
        Ok(Listening { id, addresses })
    }

    /// One socket for each shard at the same address.
    fn bind_group(&self, address: SocketAddr) -> io::Result<Vec<UdpSocket>> {
        let group = bind_group(address, self.inboxes.len(), &self.config.socket)?;
        group.iter().take(1).for_each(|first| self.warn_of_buffers(first));
        Ok(group)
    }

    /// Accepts no more connections at this listener; those that are there go on, and so do those
    /// whose handshake has begun.
    pub fn unlisten(&self, id: ListenerId) {
        self.end_listening(id, false);
    }

    /// The same, but connections whose handshake is not complete are refused. Of a listener that
    /// accepts no more already, too.
    pub fn unlisten_now(&self, id: ListenerId) {
        self.end_listening(id, true);
    }

    fn end_listening(&self, id: ListenerId, refuse: bool) {
        for inbox in &self.inboxes {
            // A shard that has ended listens no more.
            let _ = inbox.push(Command::Unlisten { id, refuse });
        }
    }

    /// Begins a connection. If it cannot even begin, the application's `on_refused` is told.
    pub fn connect(
        &self,
        request: ConnectRequest,
        application: Box<dyn Application>,
    ) -> Result<ConnectionKey, EngineError> {
        self.prepare(request, |_, _| application)?.begin()
    }

    /// A connection to be begun, with an application that knows its name beforehand.
    pub(crate) fn prepare(
        &self,
        request: ConnectRequest,
        make: impl FnOnce(ConnectionKey, &Arc<Inbox>) -> Box<dyn Application>,
    ) -> Result<Prepared, EngineError> {
        let at = self.turn.fetch_add(1, Ordering::Relaxed) % self.inboxes.len() as u64;
        let inbox = self.inboxes.get(at as usize).ok_or(EngineError::Ended)?;
        let socket = bind_first(&request, &self.config.socket)?;
        let key = inbox.key();
        let application = make(key, inbox);
        let connect = Box::new(Connect { key, socket, source: None, request, application });
        Ok(Prepared { inbox: inbox.clone(), connect })
    }

    /// Closes a connection: returns at once, the shard does the rest.
    pub fn close(&self, key: ConnectionKey, code: u64, reason: &[u8]) -> Result<(), EngineError> {
        let operation = Operation::Close { code, reason: reason.to_vec() };
        Ok(self.inbox(key)?.push(Command::With(key, Box::new(operation)))?)
    }

    /// Moves a client's connection to another local address. Returns when the attempt has begun;
    /// `Event::Migrated` or `Event::PathFailed` tells its result.
    pub fn migrate(&self, key: ConnectionKey, to: &LocalAddress) -> Result<(), EngineError> {
        let socket = bind_path(to, &self.server(key)?, &self.config.socket)?;
        let (reply, answer) = sync_channel(1);
        self.ask(key, Operation::Migrate { socket, reply })?;
        wait(&answer)?.map_err(EngineError::Refused)
    }

    /// Opens another path of a client's connection, from a local address of its own to the server's
    /// present address or to `remote`. Returns its path ID when the attempt has begun, and
    /// `Event::Path` tells the result; `None` if it is too early, until `Event::PathsAvailable`.
    pub fn open_path(
        &self,
        key: ConnectionKey,
        from: &LocalAddress,
        remote: Option<SocketAddr>,
    ) -> Result<Option<u32>, EngineError> {
        let server = match remote {
            Some(remote) => remote,
            None => self.server(key)?,
        };
        let socket = bind_path(from, &server, &self.config.socket)?;
        let (reply, answer) = sync_channel(1);
        self.ask(key, Operation::OpenPath { socket, remote, reply })?;
        wait(&answer)?.map_err(EngineError::Refused)
    }

    /// Ends a path; the connection goes on over the others. The peer is told the code.
    pub fn abandon_path(
        &self,
        key: ConnectionKey,
        id: u32,
        code: TransportErrorCode,
    ) -> Result<(), EngineError> {
        self.apply(key, move |c, now| c.abandon_path(now, id, code).map_err(|e| e.to_string()))
    }

    /// Says whether a path is to be used only when no other can be.
    pub fn set_path_backup(
        &self,
        key: ConnectionKey,
        id: u32,
        backup: bool,
    ) -> Result<(), EngineError> {
        self.apply(key, move |c, now| c.set_path_backup(now, id, backup).map_err(|e| e.to_string()))
    }

    /// The capacity of a path in Mbit/s, for schedulers that go by weights; 0 to measure it.
    pub fn set_path_weight(
        &self,
        key: ConnectionKey,
        id: u32,
        weight: u32,
    ) -> Result<(), EngineError> {
        self.apply(key, move |c, _| c.set_path_weight(id, weight).map_err(|e| e.to_string()))
    }

    /// Changes what puts the paths in order.
    pub fn set_scheduler(
        &self,
        key: ConnectionKey,
        scheduler: Scheduler,
    ) -> Result<(), EngineError> {
        self.apply(key, move |c, _| {
            c.set_scheduler(scheduler);
            Ok(())
        })
    }

    /// Puts an application's own scheduler in place.
    pub fn set_user_scheduler(
        &self,
        key: ConnectionKey,
        scheduler: Box<dyn UserScheduler>,
    ) -> Result<(), EngineError> {
        self.apply(key, move |c, _| {
            c.set_user_scheduler(Some(scheduler));
            Ok(())
        })
    }

    fn apply(
        &self,
        key: ConnectionKey,
        work: impl FnOnce(&mut Connection, Instant) -> Result<(), String> + Send + 'static,
    ) -> Result<(), EngineError> {
        let (reply, answer) = sync_channel(1);
        self.ask(key, Operation::Do { work: Box::new(work), reply })?;
        wait(&answer)?.map_err(EngineError::Refused)
    }

    /// The peer's address.
    fn server(&self, key: ConnectionKey) -> Result<SocketAddr, EngineError> {
        let stats = self.connection_stats(key)?;
        let path = stats.paths.first().ok_or(EngineError::Gone)?;
        Ok(path.addresses.remote)
    }

    /// Begins a key update; false if it is too early for another.
    pub fn update_keys(&self, key: ConnectionKey) -> Result<bool, EngineError> {
        let (reply, answer) = sync_channel(1);
        self.ask(key, Operation::UpdateKeys { reply })?;
        wait(&answer)
    }

    /// Counters of a connection.
    pub fn connection_stats(&self, key: ConnectionKey) -> Result<ConnectionSnapshot, EngineError> {
        let (reply, answer) = sync_channel(1);
        self.ask(key, Operation::Stats { reply })?;
        wait(&answer)
    }

    fn ask(&self, key: ConnectionKey, operation: Operation) -> Result<(), EngineError> {
        if std::process::id() != self.process {
            return Err(EngineError::Forked);
        }
        Ok(self.inbox(key)?.push(Command::With(key, Box::new(operation)))?)
    }

    /// Counters of each shard.
    pub fn stats(&self) -> Result<Vec<ShardStats>, EngineError> {
        let ask = |inbox: &Arc<Inbox>| {
            let (reply, answer): (SyncSender<ShardStats>, _) = sync_channel(1);
            inbox.push(Command::Stats(reply))?;
            Ok(answer)
        };
        let answers: Result<Vec<_>, EngineError> = self.inboxes.iter().map(ask).collect();
        answers?.iter().map(|a| wait(a).map_err(|_| EngineError::Ended)).collect()
    }

    /// Every shard with up to `most` of its connections each.
    pub fn snapshots(&self, most: usize) -> Result<Vec<Snapshot>, EngineError> {
        let ask = |inbox: &Arc<Inbox>| {
            let (reply, answer) = sync_channel(1);
            inbox.push(Command::Snapshot { most, reply })?;
            Ok(answer)
        };
        let answers: Result<Vec<_>, EngineError> = self.inboxes.iter().map(ask).collect();
        answers?.iter().map(|a| wait(a).map_err(|_| EngineError::Ended)).collect()
    }

    /// What `tquic top` of another process would be told, as JSON.
    pub fn describe(&self) -> Result<String, EngineError> {
        Ok(crate::live::write(&self.snapshots(crate::live::MOST)?))
    }

    /// Closes all connections and ends the threads: as soon as every connection is forgotten, or
    /// after `patience`. Zero sends each peer one CONNECTION_CLOSE and waits for nothing.
    pub fn shutdown(&self, patience: Duration, code: u64, reason: &[u8]) {
        let deadline_nanos = clock().as_nanos().saturating_add(nanos(patience));
        for inbox in &self.inboxes {
            let reason = reason.to_vec();
            // One that has ended already is what we want.
            let _ = inbox.push(Command::Shutdown { deadline_nanos, code, reason });
        }
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread catches its own panics.
            let _ = thread.join();
        }
        #[cfg(target_os = "linux")]
        drop(self.live.lock().unwrap_or_else(PoisonError::into_inner).take());
        tquic_trace::qlog::flush(LOGS);
    }

    fn warn_of_buffers(&self, socket: &UdpSocket) {
        let capabilities = socket.capabilities();
        self.warn_of_buffer("net.core.rmem_max", "receive", capabilities.recv_buffer);
        self.warn_of_buffer("net.core.wmem_max", "send", capabilities.send_buffer);
    }

    fn warn_of_buffer(&self, sysctl: &'static str, what: &str, size: BufferSize) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if size.is_clamped() && !warned.contains(&sysctl) {
            warned.push(sysctl);
            let BufferSize { wished, granted } = size;
            let line = format!(
                "the system gave a {what} buffer of {granted} bytes instead of {wished}: packets \
                 may be lost at high rates; raise {sysctl}"
            );
            warn(self.config.log.as_ref(), &line);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shutdown(Duration::ZERO, 0, b"");
    }
}

fn warn(log: Option<&Log>, line: &str) {
    if let Some(log) = log {
        log(line);
    }
}

fn wait<T>(answer: &Receiver<T>) -> Result<T, EngineError> {
    answer.recv_timeout(ANSWER).map_err(|error| match error {
        // The connection is unknown, or the shard has ended: the question was dropped.
        RecvTimeoutError::Disconnected => EngineError::Gone,
        RecvTimeoutError::Timeout => EngineError::Busy,
    })
}

/// The socket for the handshake, if it is to have one of its own.
pub(crate) fn bind_first(
    request: &ConnectRequest,
    options: &SocketOptions,
) -> io::Result<Option<UdpSocket>> {
    let options = SocketOptions { report_errors: true, ..options.clone() };
    let bind = |from| bind_path(from, &request.remote, &options);
    request.paths.first().map(bind).transpose()
}

/// The socket for a path to `server`.
pub(crate) fn bind_path(
    from: &LocalAddress,
    server: &SocketAddr,
    options: &SocketOptions,
) -> io::Result<UdpSocket> {
    let address = from.address.unwrap_or_else(|| any_address(server));
    let (ip, to) = (address.ip().to_canonical(), server.ip().to_canonical());
    if ip.is_ipv4() != to.is_ipv4() && !ip.is_unspecified() {
        let why = format!("{ip} cannot reach {to}: one is IPv4, the other IPv6");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    bind(address, from.interface.clone(), options)
}

/// Any address and port of the family of `remote`.
fn any_address(remote: &SocketAddr) -> SocketAddr {
    match remote.ip().to_canonical().is_ipv6() {
        true => (Ipv6Addr::UNSPECIFIED, 0).into(),
        false => (Ipv4Addr::UNSPECIFIED, 0).into(),
    }
}

fn bind(
    address: SocketAddr,
    interface: Option<String>,
    options: &SocketOptions,
) -> io::Result<UdpSocket> {
    UdpSocket::bind(address, &SocketOptions { reuse_port: false, interface, ..options.clone() })
}

/// Sockets at one address among which the kernel spreads datagrams by their connection IDs.
fn bind_group(
    address: SocketAddr,
    count: usize,
    options: &SocketOptions,
) -> io::Result<Vec<UdpSocket>> {
    // Also for several the first bind is alone: it shows whether another program (or listener) has
    // the port, which sharing would hide.
    let first = bind(address, None, options)?;
    if count == 1 {
        return Ok(vec![first]);
    }
    let address = first.local_addr();
    drop(first);
    let shared = SocketOptions { reuse_port: true, interface: None, ..options.clone() };
    let group: io::Result<Vec<_>> = (0..count).map(|_| UdpSocket::bind(address, &shared)).collect();
    let group = group?;
    if let Some(first) = group.first() {
        reuseport_by_cid(first, count as u32)?;
    }
    Ok(group)
}

/// One address for several engines in processes of their own: bound by their parent, which must keep
/// it, for the kernel counts sockets in the order in which they were bound. A child takes its own
/// after the fork.
#[derive(Debug)]
pub struct SharedPort {
    address: SocketAddr,
    sockets: Vec<Option<UdpSocket>>,
}

impl SharedPort {
    /// Binds a socket for each of `engines` engines: see [`EngineConfig::place`].
    ///
    /// # Errors
    ///
    /// If the address cannot be had, or the system does not know how to spread datagrams.
    pub fn bind(address: SocketAddr, engines: usize, options: &SocketOptions) -> io::Result<Self> {
        if !(1..=MAX_SHARDS).contains(&engines) {
            let why = "a port is shared by 1 to 128 engines";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let sockets = bind_group(address, engines, options)?;
        let address = sockets.first().map_or(address, UdpSocket::local_addr);
        Ok(Self { address, sockets: sockets.into_iter().map(Some).collect() })
    }

    /// Where it is; port 0 has become a real one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket of this engine, once.
    pub fn take(&mut self, engine: usize) -> Option<UdpSocket> {
        self.sockets.get_mut(engine)?.take()
    }
}

/// Keys that all shards of a listener share.
struct Keys {
    reset: [u8; 32],
    token: [u8; 32],
}

impl Keys {
    fn random() -> io::Result<Self> {
        Ok(Self { reset: os::random_seed()?, token: os::random_seed()? })
    }

    /// Two keys out of one that was given: they must not be the same.
    fn from_one(key: &[u8; 32]) -> Self {
        let derive = |label: &[u8]| {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
            let mut out = [0; 32];
            out.copy_from_slice(ring::hmac::sign(&key, label).as_ref());
            out
        };
        Self { reset: derive(b"stateless reset"), token: derive(b"address token") }
    }

    fn secrets(&self) -> io::Result<EndpointSecrets> {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let since_start = clock().as_nanos() / 1_000_000_000;
        Ok(EndpointSecrets {
            reset: self.reset,
            token: self.token,
            seed: os::random_seed()?,
            unix_epoch: unix.as_secs().saturating_sub(since_start),
        })
    }
}
