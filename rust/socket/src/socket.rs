//! One socket: its state, and what programs call.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use std::collections::VecDeque;

use bytes::Bytes;
use tquic_core::events::PathChange;
use tquic_engine::bridge::EventKind;
use tquic_engine::{ListenerId, LocalAddress};

use crate::abi::*;
use crate::errno::{Errno, Failure};
use crate::info::{self, Phase};
use crate::options::{self, Options};
use crate::readiness::Readiness;
use crate::service::Service;
use crate::session::{Outgoing, Received, Session, not_connected};
use crate::zerocopy::Returned;

/// Connections that wait to be accepted at most, whatever `listen` is told.
const MAX_BACKLOG: usize = 4096;

/// A socket. Its calls never wait; they fail with [`Errno::AGAIN`] where others would.
///
/// Calls that change whether it is readable or writable are given the near end.
pub struct Socket {
    service: Arc<Service>,
    pub(crate) id: u64,
    state: Mutex<State>,
    /// Something happened to a path.
    paths: Condvar,
    returned: Arc<Returned>,
}

/// A new socket, with its near end.
pub struct Made {
    /// The socket.
    pub socket: Arc<Socket>,
    /// What the program has.
    pub near: OwnedFd,
}

/// Which directions to shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Receiving.
    Read,
    /// Sending.
    Write,
    /// Both.
    Both,
}

struct State {
    options: Options,
    ready: Readiness,
    ipv6: bool,
    bound: Option<SocketAddr>,
    role: Role,
}

enum Role {
    Idle,
    Listening { id: ListenerId, address: SocketAddr, backlog: usize, fresh: VecDeque<Made> },
    Connection(Box<Session>),
}

impl State {
    fn session(&mut self) -> Result<&mut Session, Failure> {
        match &mut self.role {
            Role::Connection(session) => Ok(session),
            _ => Err(not_connected()),
        }
    }

    /// Shows on the near end what is possible.
    fn show(&mut self, near: Option<BorrowedFd<'_>>) {
        let (readable, writable) = match &self.role {
            Role::Idle => (false, true),
            Role::Listening { fresh, .. } => (!fresh.is_empty(), false),
            Role::Connection(session) => (session.is_readable(), session.is_writable()),
        };
        self.ready.set_readable(near, readable);
        self.ready.set_writable(near, writable);
    }
}

impl Socket {
    /// With the options of the environment, for IPv4 or IPv6.
    pub fn open(service: &Arc<Service>, ipv6: bool) -> Result<Made, Failure> {
        Self::with(service, ipv6, crate::defaults::options(), Role::Idle)
    }

    /// One that a listener has accepted. Its near end is with it until somebody takes it.
    pub(crate) fn accepted(&self, session: Session) -> Result<Made, Failure> {
        let state = self.lock();
        let (options, ipv6) = (state.options.clone(), state.ipv6);
        drop(state);
        Self::with(&self.service, ipv6, options, Role::Connection(Box::new(session)))
    }

    fn with(
        service: &Arc<Service>,
        ipv6: bool,
        options: Options,
        role: Role,
    ) -> Result<Made, Failure> {
        let (near, ready) = Readiness::pair()?;
        let state = State { options, ready, ipv6, bound: None, role };
        let socket = service.adopt(|id| Self {
            service: service.clone(),
            id,
            state: Mutex::new(state),
            paths: Condvar::new(),
            returned: Arc::default(),
        })?;
        Ok(Made { socket, near })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `look` see the far end.
    pub(crate) fn with_far<T>(&self, look: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        look(self.lock().ready.far())
    }

    // ---- Becoming something ----

    /// Sets the local address.
    pub fn bind(&self, address: SocketAddr) -> Result<(), Failure> {
        let mut state = self.lock();
        if address.is_ipv6() != state.ipv6 {
            let why = format!("{address} is of another family than the socket");
            return Err(Failure::new(Errno::BAD_ADDRESS_FAMILY, why));
        }
        if state.bound.is_some() || !matches!(state.role, Role::Idle) {
            return Err(Failure::new(Errno::INVALID, "the socket has an address already"));
        }
        state.bound = Some(address);
        Ok(())
    }

    /// Takes connections from now on.
    pub fn listen(&self, near: BorrowedFd<'_>, backlog: usize) -> Result<(), Failure> {
        let mut state = self.lock();
        let backlog = backlog.clamp(1, MAX_BACKLOG);
        if let Role::Listening { backlog: old, .. } = &mut state.role {
            *old = backlog;
            return Ok(());
        }
        if !matches!(state.role, Role::Idle) {
            return Err(Failure::new(Errno::INVALID, "the socket has a connection"));
        }
        let address = state.bound.unwrap_or_else(|| any_address(state.ipv6));
        let accept = state.options.accept()?;
        let listening = self.service.listen(self, address, accept)?;
        let address = listening.addresses.first().copied().unwrap_or(address);
        let fresh = VecDeque::new();
        state.role = Role::Listening { id: listening.id, address, backlog, fresh };
        state.show(Some(near));
        Ok(())
    }

    /// The next connection, and the client's address.
    pub fn accept(&self, near: BorrowedFd<'_>) -> Result<(Made, SocketAddr), Failure> {
        let mut state = self.lock();
        let Role::Listening { fresh, .. } = &mut state.role else {
            return Err(Failure::new(Errno::INVALID, "the socket does not listen"));
        };
        let made = fresh.pop_front().ok_or_else(Failure::again)?;
        state.show(Some(near));
        drop(state);
        let remote = made.socket.peer_name().unwrap_or_else(|_| any_address(false));
        Ok((made, remote))
    }

    /// Puts a new connection into the queue; false if that is full.
    pub(crate) fn enqueue(&self, made: Made) -> bool {
        let mut state = self.lock();
        let Role::Listening { backlog, fresh, .. } = &mut state.role else { return false };
        if fresh.len() >= *backlog {
            return false;
        }
        fresh.push_back(made);
        state.show(None);
        true
    }

    /// Begins a connection, which is there when the socket becomes writable: see [`Self::progress`].
    pub fn connect(&self, near: BorrowedFd<'_>, remote: SocketAddr) -> Result<(), Failure> {
        let mut state = self.lock();
        match &state.role {
            Role::Idle => {}
            Role::Listening { .. } => {
                return Err(Failure::new(Errno::INVALID, "the socket listens"));
            }
            Role::Connection(session) if session.info.is_none() && session.error.is_none() => {
                return Err(Failure::new(Errno::ALREADY, "a connection is being made"));
            }
            Role::Connection(_) => {
                return Err(Failure::new(Errno::IS_CONNECTED, "the socket has its connection"));
            }
        }
        if remote.is_ipv6() != state.ipv6 {
            let why = format!("{remote} is of another family than the socket");
            return Err(Failure::new(Errno::BAD_ADDRESS_FAMILY, why));
        }
        let (connection, prepared) =
            self.service.prepare(self, remote, state.bound, &state.options)?;
        state.role = Role::Connection(Box::new(Session::new(connection, remote)));
        state.show(Some(near));
        drop(state);
        prepared.begin()?;
        Ok(())
    }

    /// How far `connect` is: done, failed, or [`Errno::IN_PROGRESS`].
    pub fn progress(&self) -> Result<(), Failure> {
        let mut state = self.lock();
        let session = state.session()?;
        match (&session.error, &session.info) {
            (_, Some(_)) => Ok(()),
            (Some(error), None) => Err(Failure::of_end(error)),
            (None, None) => Err(Failure::new(Errno::IN_PROGRESS, "a connection is being made")),
        }
    }

    // ---- Messages ----

    /// Sends a message, or its beginning: answers how many bytes were taken. Only if it is all of
    /// them the stream ends, where it should.
    pub fn send(&self, near: BorrowedFd<'_>, message: Outgoing) -> Result<usize, Failure> {
        let mut state = self.lock();
        let lend = message.zerocopy && state.options.zerocopy && !message.data.is_empty();
        let session = state.session()?;
        let sent = match lend {
            false => session.send(message),
            true => {
                let Outgoing { data, .. } = &message;
                let data = data.clone();
                self.returned.lend(data, |data| session.send(Outgoing { data, ..message }))
            }
        };
        state.show(Some(near));
        sent
    }

    /// Whether the option ZEROCOPY is on: only then a buffer may be lent.
    pub fn lends(&self) -> bool {
        self.lock().options.zerocopy
    }

    /// The next message, of at most `room` bytes; with `peek` it stays.
    pub fn recv(&self, near: BorrowedFd<'_>, room: usize, peek: bool) -> Result<Received, Failure> {
        let mut state = self.lock();
        let received = state.session()?.recv(room, peek);
        state.show(Some(near));
        received
    }

    /// The numbers, first and last, of calls with MSG_ZEROCOPY whose buffers may be used again.
    pub fn recv_error(&self) -> Result<(u32, u32), Failure> {
        self.returned.take().ok_or_else(Failure::again)
    }

    /// Ends one or both directions. What was written is still delivered.
    pub fn shutdown(&self, near: BorrowedFd<'_>, how: Shutdown) -> Result<(), Failure> {
        let mut state = self.lock();
        let session = state.session()?;
        if how != Shutdown::Write {
            session.shut_reading();
        }
        if how != Shutdown::Read {
            session.shut_writing();
        }
        state.show(Some(near));
        Ok(())
    }

    // ---- What it is ----

    /// Our address; that of a connection is known when it is connected.
    pub fn name(&self) -> SocketAddr {
        let state = self.lock();
        let known = match &state.role {
            Role::Listening { address, .. } => Some(*address),
            Role::Connection(session) => session.local(),
            Role::Idle => None,
        };
        fitting(known.or(state.bound).unwrap_or_else(|| any_address(state.ipv6)), state.ipv6)
    }

    /// The peer's address.
    pub fn peer_name(&self) -> Result<SocketAddr, Failure> {
        let mut state = self.lock();
        let ipv6 = state.ipv6;
        Ok(fitting(state.session()?.remote, ipv6))
    }

    /// Whether it is for IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.lock().ipv6
    }

    /// Whether it listens.
    pub fn is_listening(&self) -> bool {
        matches!(self.lock().role, Role::Listening { .. })
    }

    /// Why the connection failed; 0 while it has not. What SO_ERROR tells.
    pub fn error(&self) -> i32 {
        let mut state = self.lock();
        let error = state.session().ok().and_then(|session| session.error.clone());
        error.filter(|error| !error.is_clean()).map_or(0, |error| Failure::of_end(&error).errno.0)
    }

    /// The name of the application protocol, once there is a connection.
    pub fn alpn(&self) -> Option<Vec<u8>> {
        self.lock().session().ok()?.info.as_ref().map(|info| info.alpn.clone())
    }

    // ---- Options ----

    /// Sets an option. `patience` is for those that wait: a path to be there.
    pub fn set_option(
        &self,
        option: i32,
        value: &[u8],
        patience: Option<Duration>,
    ) -> Result<(), Failure> {
        match option {
            TQUIC_SOCKOPT_STREAM_OPEN => {
                let info = StreamInfo::from_bytes(value).ok_or_else(short)?;
                self.lock().session()?.open(info)
            }
            TQUIC_SOCKOPT_ADD_PATH => self.add_path(address_of(value)?, patience),
            TQUIC_PATH_PRIORITY | TQUIC_PATH_WEIGHT => self.set_path(option, value),
            TQUIC_SOCKOPT_AF_XDP => self.set_xdp(value),
            _ => {
                let mut state = self.lock();
                match &state.role {
                    Role::Idle => state.options.set(option, value),
                    Role::Listening { .. } if !applies_later(option) => {
                        let why = "the socket listens: this must be set before";
                        Err(Failure::new(Errno::INVALID, why))
                    }
                    Role::Listening { .. } => state.options.set(option, value),
                    Role::Connection(_) => {
                        drop(state);
                        self.set_live(option, value)
                    }
                }
            }
        }
    }

    /// 0 off, 1 with a copy, 2 without. The interface is the process's, chosen when that began: all
    /// that is left to a socket is to insist.
    fn set_xdp(&self, value: &[u8]) -> Result<(), Failure> {
        let wanted = options::number(value, "AF_XDP", 0, 2)?;
        let why = match (wanted, self.xdp()) {
            (1 | 2, 0) => "AF_XDP: TQUIC_XDP must name the interface when the program starts",
            (2, 1) => "AF_XDP: this interface's driver copies packets",
            (0, 1 | 2) => "AF_XDP: TQUIC_XDP has turned it on for the whole program",
            _ => return Ok(()),
        };
        Err(Failure::new(Errno::NOT_SUPPORTED, why))
    }

    fn xdp(&self) -> u32 {
        self.service.engine().xdp().map_or(0, |xdp| 1 + u32::from(xdp.zero_copy))
    }

    /// Of a connection that has begun.
    fn set_live(&self, option: i32, value: &[u8]) -> Result<(), Failure> {
        match option {
            TQUIC_SOCKOPT_CONGESTION => {
                let kind = options::congestion(value)?;
                let mut state = self.lock();
                state.session()?.connection.set_congestion(None, kind)?;
                state.options.congestion = kind;
                Ok(())
            }
            TQUIC_SOCKOPT_SCHEDULER => {
                let scheduler = options::scheduler(value)?;
                let mut state = self.lock();
                let key = state.session()?.connection.key();
                state.options.scheduler = scheduler;
                drop(state);
                Ok(self.service.engine().set_scheduler(key, scheduler)?)
            }
            TQUIC_SOCKOPT_ZEROCOPY | TQUIC_SOCKOPT_OFFLOAD_ENABLE => {
                self.lock().options.set(option, value)
            }
            _ => {
                let why = "the connection has begun: this must be set before";
                Err(Failure::new(Errno::IS_CONNECTED, why))
            }
        }
    }

    /// Opens another path from a local address, and waits up to `patience` until it works; without,
    /// for as long as that takes.
    fn add_path(&self, from: SocketAddr, patience: Option<Duration>) -> Result<(), Failure> {
        let limit = patience.map(|patience| Instant::now() + patience);
        let from = LocalAddress { address: Some(from), interface: None };
        let mut state = self.lock();
        let path = loop {
            let session = state.session()?;
            session.check_up()?;
            let (key, hopes) = (session.connection.key(), session.path_hopes);
            drop(state);
            if let Some(path) = self.service.engine().open_path(key, &from, None)? {
                break path;
            }
            // The server gives the connection IDs for other paths soon after the handshake.
            state = self.lock();
            while state.session()?.path_hopes == hopes {
                state = self.wait_for_paths(state, limit)?;
            }
        };
        state = self.lock();
        loop {
            let session = state.session()?;
            session.check_up()?;
            match session.paths.get(&path) {
                Some(PathChange::Validated(_)) => return Ok(()),
                Some(PathChange::Abandoned { .. }) => {
                    let why = "nothing comes back on the new path";
                    return Err(Failure::new(Errno::HOST_UNREACHABLE, why));
                }
                _ => state = self.wait_for_paths(state, limit)?,
            }
        }
    }

    fn wait_for_paths<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        limit: Option<Instant>,
    ) -> Result<MutexGuard<'a, State>, Failure> {
        state.session()?.check_up()?;
        let left = limit.map(|limit| limit.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(Failure::new(Errno::IN_PROGRESS, "the path is being validated"));
        }
        let second = Duration::from_secs(1);
        let waited = self.paths.wait_timeout(state, left.unwrap_or(second).min(second));
        Ok(waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    fn set_path(&self, option: i32, value: &[u8]) -> Result<(), Failure> {
        let word = |at: usize| value.get(at..at + 4).and_then(integer).ok_or_else(short);
        let (path, value) = (word(0)? as u32, word(4)? as u32);
        let key = self.lock().session()?.connection.key();
        let engine = self.service.engine();
        match option {
            TQUIC_PATH_PRIORITY => engine.set_path_backup(key, path, value == 0)?,
            _ => engine.set_path_weight(key, path, value)?,
        }
        Ok(())
    }

    /// Reads an option. `given` is what the program left in its buffer.
    pub fn option(&self, option: i32, given: &[u8]) -> Result<Vec<u8>, Failure> {
        match option {
            TQUIC_INFO => Ok(self.info()),
            TQUIC_PATH_INFO => {
                let key = self.lock().session()?.connection.key();
                Ok(info::paths(&self.service.engine().connection_stats(key)?.paths))
            }
            TQUIC_QLOG_STATS => {
                let key = self.lock().session()?.connection.key();
                Ok(info::qlog(&self.service.engine().connection_stats(key)?))
            }
            TQUIC_QLOG_RING => {
                let mut state = self.lock();
                let session = state.session()?;
                let is_client = session.connection.side().is_client();
                let id = session.info.as_ref().map(|info| info.original_dcid.clone());
                drop(state);
                info::ring(id.as_deref(), is_client, given.len())
            }
            TQUIC_ERROR => {
                let mut state = self.lock();
                let error = state.session().ok().and_then(|session| session.error.as_ref());
                Ok(info::error(error))
            }
            TQUIC_SOCKOPT_AF_XDP => Ok(self.xdp().to_ne_bytes().to_vec()),
            TQUIC_MAX_DATAGRAM => {
                let max = self.lock().session()?.connection.max_datagram();
                Ok(u32::try_from(max).unwrap_or(u32::MAX).to_ne_bytes().to_vec())
            }
            TQUIC_SOCKOPT_OFFLOAD_INFO => Ok(info::offload(self.service.engine().xdp())),
            TQUIC_SOCKOPT_STREAM_OPEN => {
                let flags = StreamInfo::from_bytes(given).map_or(0, |info| info.flags);
                Ok(self.lock().session()?.open_next(flags)?.to_bytes().to_vec())
            }
            TQUIC_SOCKOPT_ALPN => match self.alpn() {
                Some(agreed) => Ok(agreed),
                None => self.lock().options.value(option),
            },
            _ => self.lock().options.value(option),
        }
    }

    fn info(&self) -> Vec<u8> {
        let mut state = self.lock();
        let (phase, version, key) = match &mut state.role {
            Role::Idle => (Phase::Idle, 0, None),
            Role::Listening { .. } => (Phase::Listening, 0, None),
            Role::Connection(session) => {
                let version = session.info.as_ref().map_or(0, |info| info.version);
                let phase = match (&session.error, &session.info) {
                    (Some(_), _) => Phase::Closed,
                    (None, Some(_)) => Phase::Connected,
                    (None, None) => Phase::Connecting,
                };
                (phase, version, Some(session.connection.key()))
            }
        };
        drop(state);
        let stats = key.and_then(|key| self.service.engine().connection_stats(key).ok());
        info::info(phase, version, stats.as_ref())
    }

    // ---- What happens to it ----

    pub(crate) fn on_event(&self, event: EventKind) {
        let mut state = self.lock();
        let about_paths = matches!(
            event,
            EventKind::Path { .. } | EventKind::PathsAvailable | EventKind::Closed(_)
        );
        if let Role::Connection(session) = &mut state.role {
            session.on_event(event);
        }
        state.show(None);
        if about_paths {
            self.paths.notify_all();
        }
    }

    /// Nobody has the near end any more. Whether that is all: if not, the peer is still to get what
    /// was written, and [`Self::is_flushed`] tells when.
    pub(crate) fn hang_up(&self) -> bool {
        let mut state = self.lock();
        match std::mem::replace(&mut state.role, Role::Idle) {
            Role::Idle => true,
            Role::Listening { id, fresh, .. } => {
                drop(state);
                self.service.engine().unlisten(id);
                // Their near ends close, and so will they.
                drop(fresh);
                true
            }
            Role::Connection(mut session) => {
                session.shut_reading();
                session.shut_writing();
                let flushed = session.is_flushed() || session.error.is_some();
                state.role = Role::Connection(session);
                drop(state);
                flushed
            }
        }
    }

    pub(crate) fn is_flushed(&self) -> bool {
        let mut state = self.lock();
        state.session().map_or(true, |session| session.is_flushed() || session.error.is_some())
    }

    /// Closes the connection, if there is one.
    pub(crate) fn close(&self) {
        if let Ok(session) = self.lock().session() {
            // Over already is as good.
            let _ = session.connection.close(0, b"");
        }
    }

    /// Copies data into a message.
    pub fn message(data: &[u8]) -> Outgoing {
        Outgoing { data: Bytes::copy_from_slice(data), ..Outgoing::default() }
    }
}

/// Options of listeners that can change while they listen.
fn applies_later(option: i32) -> bool {
    matches!(option, TQUIC_SOCKOPT_ZEROCOPY | TQUIC_SOCKOPT_OFFLOAD_ENABLE)
}

fn short() -> Failure {
    Failure::new(Errno::INVALID, "the value is too short")
}

fn any_address(ipv6: bool) -> SocketAddr {
    match ipv6 {
        true => (Ipv6Addr::UNSPECIFIED, 0).into(),
        false => (Ipv4Addr::UNSPECIFIED, 0).into(),
    }
}

/// An address in the family of the socket: IPv4 in IPv6 where that is needed.
fn fitting(address: SocketAddr, ipv6: bool) -> SocketAddr {
    match (address.ip().to_canonical(), ipv6) {
        (IpAddr::V4(v4), true) => (v4.to_ipv6_mapped(), address.port()).into(),
        (IpAddr::V4(v4), false) => (v4, address.port()).into(),
        (IpAddr::V6(_), _) => address,
    }
}

/// An address of C: struct sockaddr_in or sockaddr_in6.
pub(crate) fn address_of(value: &[u8]) -> Result<SocketAddr, Failure> {
    let family = value.get(..2).map(|family| u16::from_ne_bytes([family[0], family[1]]));
    let port = value.get(2..4).map(|port| u16::from_be_bytes([port[0], port[1]]));
    let (Some(family), Some(port)) = (family, port) else { return Err(short()) };
    if family == rustix::net::AddressFamily::INET.as_raw() {
        let octets: [u8; 4] =
            value.get(4..8).and_then(|ip| ip.try_into().ok()).ok_or_else(short)?;
        return Ok((octets, port).into());
    }
    if family == rustix::net::AddressFamily::INET6.as_raw() {
        let octets: [u8; 16] =
            value.get(8..24).and_then(|ip| ip.try_into().ok()).ok_or_else(short)?;
        return Ok((octets, port).into());
    }
    Err(Failure::new(Errno::BAD_ADDRESS_FAMILY, "an address of IPv4 or IPv6"))
}
