//! What the sockets of a process share: an engine, and the thread that hears for them.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use tquic_core::config::AcceptConfig;
use tquic_engine::bridge::{Bridge, BridgeConnection, BridgeEvent, EventKind};
use tquic_engine::{
    ConnectRequest, ConnectionKey, Engine, EngineConfig, ListenRequest, ListenerId, Listening,
    LocalAddress, Prepared,
};

use crate::errno::Failure;
use crate::options::Options;
use crate::session::Session;
use crate::socket::Socket;

/// Events handled before others have their turn.
const BATCH: usize = 512;
/// How long a closed socket stays for what was written to it. The peer may never answer.
const LINGER: Duration = Duration::from_secs(5);
/// Of the bridge in the poller; sockets have others.
const BRIDGE: u64 = 0;

/// See the module.
pub struct Service {
    engine: Engine,
    bridge: Bridge,
    epoll: OwnedFd,
    registry: Mutex<Registry>,
    /// A socket has gone.
    gone: Condvar,
}

#[derive(Default)]
struct Registry {
    last: u64,
    sockets: HashMap<u64, Arc<Socket>>,
    connections: HashMap<ConnectionKey, u64>,
    listeners: HashMap<ListenerId, u64>,
    /// Closed, but the peer does not have everything yet: until when that is waited for.
    lingering: HashMap<u64, Instant>,
}

impl Service {
    /// Starts the engine and the thread.
    pub fn start() -> io::Result<Arc<Self>> {
        let live = std::env::var_os("TQUIC_LIVE").is_none_or(|value| value != "0");
        let socket = crate::defaults::udp();
        let xdp = crate::defaults::xdp();
        let engine = Engine::new(EngineConfig { live, socket, xdp, ..EngineConfig::default() })?;
        let bridge = Bridge::new()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(BRIDGE);
        epoll::add(&epoll, bridge.as_fd(), data, epoll::EventFlags::IN)?;
        let registry = Mutex::default();
        let service = Arc::new(Self { engine, bridge, epoll, registry, gone: Condvar::new() });
        let hearing = service.clone();
        let thread = std::thread::Builder::new().name("tquic-socket".to_owned());
        thread.spawn(move || hearing.run())?;
        Ok(service)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sockets that are not gone, closed ones that wait for their peers included.
    pub fn len(&self) -> usize {
        self.lock().sockets.len()
    }

    /// Whether all are gone.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes all sockets as if the program had, and waits until their peers have what was written,
    /// but no longer than `patience`. For the end of a process.
    pub fn finish(&self, patience: Duration) {
        let limit = Instant::now() + patience;
        let open: Vec<_> = self.lock().sockets.keys().copied().collect();
        for id in open {
            self.hang_up(id);
        }
        let mut registry = self.lock();
        while !registry.sockets.is_empty() {
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.gone.wait_timeout(registry, left);
            registry = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(registry);
        self.engine.shutdown(patience.min(Duration::from_secs(1)), 0, b"");
    }

    /// Keeps a new socket, and hears for it.
    pub(crate) fn adopt(&self, make: impl FnOnce(u64) -> Socket) -> io::Result<Arc<Socket>> {
        let mut registry = self.lock();
        registry.last += 1;
        let id = registry.last;
        let socket = Arc::new(make(id));
        // Nothing but the hang-up, which is always told.
        let data = epoll::EventData::new_u64(id);
        socket.with_far(|far| epoll::add(&self.epoll, far, data, epoll::EventFlags::empty()))?;
        registry.sockets.insert(id, socket.clone());
        Ok(socket)
    }

    /// Makes a connection of a socket that has not begun.
    pub(crate) fn prepare(
        &self,
        socket: &Socket,
        remote: SocketAddr,
        local: Option<SocketAddr>,
        options: &Options,
    ) -> Result<(BridgeConnection, Prepared), Failure> {
        let name = options.hostname.clone().unwrap_or_else(|| remote.ip().to_string());
        let local = local.map(|address| LocalAddress { address: Some(address), interface: None });
        let request = ConnectRequest {
            paths: local.into_iter().collect(),
            transport: Arc::new(options.transport()?),
            ..ConnectRequest::new(remote, name, Arc::new(options.client_tls()?))
        };
        let (connection, prepared) = self.bridge.prepare(&self.engine, request)?;
        self.lock().connections.insert(connection.key(), socket.id);
        Ok((connection, prepared))
    }

    pub(crate) fn listen(
        &self,
        socket: &Socket,
        address: SocketAddr,
        accept: AcceptConfig,
    ) -> Result<Listening, Failure> {
        let acceptor = self.bridge.acceptor(&accept.transport, None);
        // Kept while it begins, so that no connection comes before the listener is known.
        let mut registry = self.lock();
        let listening = self.engine.listen(&ListenRequest::new(address, accept), acceptor)?;
        registry.listeners.insert(listening.id, socket.id);
        Ok(listening)
    }

    fn run(&self) {
        let mut events = Vec::with_capacity(64);
        loop {
            events.clear();
            let wait = self.next_deadline().map(timespec);
            let spare = rustix::buffer::spare_capacity(&mut events);
            // Interrupted: as if nothing had come.
            if epoll::wait(&self.epoll, spare, wait.as_ref()).is_err() {
                continue;
            }
            for event in &events {
                match event.data.u64() {
                    BRIDGE => self.dispatch(),
                    id => self.hang_up(id),
                }
            }
            self.end_lingering();
        }
    }

    fn next_deadline(&self) -> Option<Duration> {
        let registry = self.lock();
        let first = registry.lingering.values().min()?;
        Some(first.saturating_duration_since(Instant::now()))
    }

    fn dispatch(&self) {
        for BridgeEvent { key, kind } in self.bridge.poll_events(BATCH) {
            if let EventKind::Accepted { connection, listener, remote } = kind {
                self.accept(Session::new(connection, remote), key, listener);
                continue;
            }
            let over = matches!(kind, EventKind::Closed(_));
            let mut registry = self.lock();
            let id = match over {
                true => registry.connections.remove(&key),
                false => registry.connections.get(&key).copied(),
            };
            let socket = id.and_then(|id| registry.sockets.get(&id).cloned());
            drop(registry);
            if let Some(socket) = socket {
                socket.on_event(kind);
            }
        }
    }

    fn accept(&self, session: Session, key: ConnectionKey, listener: ListenerId) {
        let registry = self.lock();
        let id = registry.listeners.get(&listener);
        let parent = id.and_then(|id| registry.sockets.get(id).cloned());
        drop(registry);
        let connection = session.connection.clone();
        let made = parent.as_ref().and_then(|parent| parent.accepted(session).ok());
        if let (Some(parent), Some(made)) = (parent, made) {
            self.lock().connections.insert(key, made.socket.id);
            if parent.enqueue(made) {
                return;
            }
        }
        // Nobody listens any more, the queue is full, or descriptors have run out.
        let _ = connection.close(0, b"the server takes no more connections now");
    }

    /// The last copy of a near end was closed.
    fn hang_up(&self, id: u64) {
        let Some(socket) = self.lock().sockets.get(&id).cloned() else { return };
        // A hang-up is told again and again.
        let _ = socket.with_far(|far| epoll::delete(&self.epoll, far));
        if self.lock().lingering.contains_key(&id) {
            return;
        }
        if socket.hang_up() {
            self.forget(id, &socket);
        } else {
            self.lock().lingering.insert(id, Instant::now() + LINGER);
        }
    }

    fn end_lingering(&self) {
        let now = Instant::now();
        let registry = self.lock();
        let mut over = Vec::new();
        for (id, limit) in &registry.lingering {
            if let Some(socket) = registry.sockets.get(id) {
                over.push((*id, *limit, socket.clone()));
            }
        }
        drop(registry);
        for (id, limit, socket) in over {
            if socket.is_flushed() || limit <= now {
                self.forget(id, &socket);
            }
        }
    }

    fn forget(&self, id: u64, socket: &Socket) {
        socket.close();
        let mut registry = self.lock();
        registry.lingering.remove(&id);
        registry.listeners.retain(|_, listener| *listener != id);
        registry.connections.retain(|_, connection| *connection != id);
        let gone = registry.sockets.remove(&id);
        drop(registry);
        drop(gone);
        self.gone.notify_all();
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}
