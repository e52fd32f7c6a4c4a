//! What a shard does for other threads.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tquic_core::config::transport::MIN_DATAGRAM;
use tquic_core::connection::ClientSetup;
use tquic_core::error::TransportError;
use tquic_core::events::ConnectionError;
use tquic_core::multipath::{MAX_PATHS, OpenPathError};
use tquic_core::path::FourTuple;
use tquic_core::time::Instant;
use tquic_core::{Connection, Endpoint};
use tquic_net::udp::{SocketOptions, UdpSocket};
use tquic_wire::TransportErrorCode;

use super::service::{Listener, Place, Service, Slot};
use super::{CLIENTS, Command, Connect, Listen, Operation, Shard};
use crate::application::{Application, Message, Source, Tell};
use crate::config::ListenerId;
use crate::engine::bind_path;
use crate::key::ConnectionKey;
use crate::stats::ConnectionSnapshot;

/// Sockets of its own that one connection may have: as many as it may have paths, and as many that
/// are being tried.
const MAX_OWN_SOCKETS: usize = 2 * MAX_PATHS as usize;

impl Shard {
    pub(super) fn take_commands(&mut self) {
        let mut commands = std::mem::take(&mut self.scratch.commands);
        let mut called = std::mem::take(&mut self.scratch.called);
        self.inbox.take(&mut commands, &mut called);
        for command in commands.drain(..) {
            self.execute(command);
        }
        for key in called.drain(..) {
            self.touch(key);
        }
        self.scratch.commands = commands;
        self.scratch.called = called;
    }

    fn touch(&mut self, key: ConnectionKey) {
        let Some(&Place { service, handle }) = self.keys.get(&key) else { return };
        if let Some(s) = self.services.get_mut(service) {
            s.endpoint.connection(handle);
        }
    }

    pub(super) fn execute(&mut self, command: Command) {
        match command {
            Command::Connect(connect) => self.connect(*connect),
            Command::Supply(supply) => self.supplies.push(supply),
            Command::Tell(tell) => self.tell(tell),
            Command::Listen(listen) => self.listen(*listen),
            Command::Unlisten { id, refuse } => self.unlisten(id, refuse),
            Command::With(key, operation) => self.operate(key, *operation),
            // Who does not wait any more needs no answer; so below.
            Command::Stats(reply) => {
                let _ = reply.try_send(self.stats());
            }
            Command::Snapshot { most, reply } => {
                let _ = reply.try_send(self.snapshot(most));
            }
            Command::Shutdown { deadline_nanos, code, reason } => {
                self.ending = Some(Instant::from_nanos(deadline_nanos));
                self.supplies.clear();
                for (_, service) in &mut self.services {
                    service.endpoint.stop_accepting();
                    for handle in service.endpoint.handles() {
                        if let Some(connection) = service.endpoint.connection(handle) {
                            connection.close(self.now, code, &reason);
                        }
                    }
                }
            }
        }
    }

    pub(super) fn connect(&mut self, connect: Connect) {
        let Connect { key, socket, source, request, application } = connect;
        if self.ending.is_some() {
            return self.refuse(key, application, "the engine is shutting down");
        }
        let remote = SocketAddr::new(request.remote.ip().to_canonical(), request.remote.port());
        let alone = socket.is_some();
        let at = match socket {
            Some(socket) => self.sockets.add(&mut self.poller, socket, CLIENTS, true),
            None => self.shared(source.unwrap_or_else(|| any_source(&remote))),
        };
        let (at, local) = match at.map(|at| (at, self.sockets.get(at).map(|e| e.local))) {
            Ok((at, Some(local))) => (at, local),
            Ok((_, None)) => return self.refuse(key, application, "the socket is gone"),
            Err(error) => {
                return self.refuse(key, application, &format!("cannot open a socket: {error}"));
            }
        };
        let payload = self.payload(at, remote, request.transport.max_udp_payload);
        let buffer = self.sockets.get(at).map(|e| e.socket.capabilities().recv_buffer.granted);
        let buffer = buffer.unwrap_or(usize::MAX);
        let setup = ClientSetup {
            transport: self.fitted.within_buffer(&request.transport, remote.ip(), buffer),
            tls: request.tls,
            server_name: request.server_name,
            token: request.token,
            addresses: FourTuple { local, remote },
        };
        let Some(clients) = self.services.get_mut(CLIENTS) else { return };
        match clients.endpoint.connect(self.now, setup) {
            Ok(handle) => {
                if let Some(connection) = clients.endpoint.connection(handle) {
                    connection.limit_mtu(payload);
                }
                let mut slot = Slot::new(handle, key, application);
                slot.paths = request.paths;
                slot.paths.drain(..slot.paths.len().min(1));
                if alone {
                    slot.sockets.push(at);
                    self.watch_links();
                }
                self.enter(Place { service: CLIENTS, handle }, slot);
            }
            Err(error) => {
                if alone {
                    self.sockets.release(&mut self.poller, &mut self.outbox, &[at]);
                }
                refuse(key, application, ConnectionError::Local(error));
            }
        }
    }

    /// The largest datagram to try: not more than 1200 bytes where the system would fragment.
    fn payload(&mut self, socket: usize, remote: SocketAddr, configured: u16) -> u16 {
        let whole = self.sockets.get(socket).is_some_and(|e| e.socket.capabilities().dont_fragment);
        if whole { self.mtus.payload(self.now, remote, configured) } else { MIN_DATAGRAM }
    }

    pub(super) fn refuse(&self, key: ConnectionKey, app: Box<dyn Application>, why: &str) {
        let error = TransportError::internal(why.to_owned());
        refuse(key, app, ConnectionError::Local(error));
    }

    /// The socket that clients with the same source share, opened when it is first needed.
    fn shared(&mut self, source: Source) -> std::io::Result<usize> {
        if let Some(at) = self.sockets.shared(source) {
            return Ok(at);
        }
        let options = SocketOptions { report_errors: true, ..self.settings.socket.clone() };
        let socket = UdpSocket::bind((source.0, 0).into(), &options)?;
        self.sockets.add_shared(&mut self.poller, socket, CLIENTS, source)
    }

    fn tell(&mut self, mut tell: Tell) {
        let message = tell.message.clone();
        tell.keys.retain(|key| !self.tell_one(*key, &*message));
    }

    /// False if the connection is gone.
    fn tell_one(&mut self, key: ConnectionKey, message: &dyn Message) -> bool {
        let Some(&place) = self.keys.get(&key) else { return false };
        let Some(service) = self.services.get_mut(place.service) else { return false };
        let Some(slot) = service.table.get_mut(place.handle) else { return false };
        let Some(app) = &mut slot.app else { return false };
        match catch_unwind(AssertUnwindSafe(|| app.on_message(message))) {
            Ok(()) => {
                service.endpoint.connection(place.handle);
                true
            }
            Err(panic) => {
                self.contain(Some(place), &*panic);
                false
            }
        }
    }

    fn listen(&mut self, listen: Listen) {
        let max_payload = listen.accept.transport.max_udp_payload;
        let whole = listen.sockets.iter().all(|s| s.capabilities().dont_fragment);
        let endpoint = Endpoint::new(listen.endpoint, Some(listen.accept), &listen.secrets);
        let service = self.services.insert(Service {
            endpoint,
            table: Default::default(),
            listener: Some(Listener {
                id: listen.id,
                acceptor: self.ending.is_none().then_some(listen.acceptor),
                gate: listen.gate,
                max_payload: if whole { max_payload } else { MIN_DATAGRAM },
            }),
        });
        for socket in listen.sockets {
            if let Err(error) = self.sockets.add(&mut self.poller, socket, service, false) {
                self.warn(&format!("a socket cannot be watched: {error}"));
            }
        }
    }

    fn unlisten(&mut self, id: ListenerId, refuse: bool) {
        for (_, service) in &mut self.services {
            let Some(listener) = service.listener.as_mut().filter(|l| l.id == id) else { continue };
            listener.acceptor = None;
            service.endpoint.stop_accepting();
            let handles = if refuse { service.endpoint.handles() } else { Vec::new() };
            for handle in handles {
                let Some(connection) = service.endpoint.connection(handle) else { continue };
                if !connection.is_established() && !connection.is_closed() {
                    // RFC 9000 section 5.2.2: as those who come from now on, had they been quicker.
                    let code = TransportErrorCode::CONNECTION_REFUSED;
                    connection.fail(self.now, TransportError::new(code, "the server is closed"));
                }
            }
        }
    }

    fn operate(&mut self, key: ConnectionKey, operation: Operation) {
        let Some(&place) = self.keys.get(&key) else { return };
        let Some(service) = self.services.get_mut(place.service) else { return };
        let Some(connection) = service.endpoint.connection(place.handle) else { return };
        match operation {
            Operation::Close { code, reason } => connection.close(self.now, code, &reason),
            Operation::UpdateKeys { reply } => {
                let _ = reply.try_send(connection.update_keys(self.now));
            }
            Operation::Stats { reply } => {
                let _ = reply.try_send(ConnectionSnapshot::of(connection));
            }
            Operation::Do { work, reply } => {
                let _ = reply.try_send(work(connection, self.now));
            }
            Operation::Migrate { socket, reply } => {
                let migrate = |c: &mut Connection, now, local| {
                    c.migrate(now, local).map(Some).map_err(|error| error.to_string())
                };
                let begun = self.with_socket(place, socket, migrate);
                let _ = reply.try_send(begun.map(|_| ()));
            }
            Operation::OpenPath { socket, remote, reply } => {
                let _ = reply.try_send(self.open_path(place, socket, remote));
            }
        }
    }

    /// `None`: it is too early.
    fn open_path(
        &mut self,
        place: Place,
        socket: UdpSocket,
        remote: Option<SocketAddr>,
    ) -> Result<Option<u32>, String> {
        self.with_socket(place, socket, |c, now, local| {
            let server = c.path(0).map(|path| path.active().addresses.remote);
            let remote = remote.or(server).ok_or("there is no path")?;
            match c.open_path(now, FourTuple { local, remote }) {
                Ok(id) => Ok(Some(id)),
                Err(OpenPathError::NotConfirmed | OpenPathError::NoConnectionId) => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    /// Opens the paths that were asked for with the connection, as far as the server allows it.
    pub(super) fn open_paths(&mut self, place: Place) {
        let Some(service) = self.services.get_mut(place.service) else { return };
        let Some(slot) = service.table.get_mut(place.handle) else { return };
        if !std::mem::take(&mut slot.may_open) || slot.paths.is_empty() {
            return;
        }
        let wanted = std::mem::take(&mut slot.paths);
        let Some(connection) = service.endpoint.connection(place.handle) else { return };
        let Some(server) = connection.path(0).map(|path| path.active().addresses.remote) else {
            return;
        };
        if !connection.is_multipath() {
            for from in wanted {
                self.warn(&format!("no path from {from}: {}", OpenPathError::NotNegotiated));
            }
            return;
        }
        // The connection's turn may be over.
        self.more = true;
        let mut wanted = wanted.into_iter();
        while let Some(from) = wanted.next() {
            let opened = match bind_path(&from, &server, &self.settings.socket) {
                Ok(socket) => self.open_path(place, socket, None),
                Err(error) => Err(error.to_string()),
            };
            match opened {
                Ok(Some(_)) => {}
                Ok(None) => {
                    let slot = self.services.get_mut(place.service);
                    if let Some(slot) = slot.and_then(|s| s.table.get_mut(place.handle)) {
                        slot.paths = std::iter::once(from).chain(wanted).collect();
                    }
                    return;
                }
                Err(why) => self.warn(&format!("no path from {from}: {why}")),
            }
        }
    }

    /// Gives a connection another socket of its own, for what `begin` does with its address; takes
    /// it back if nothing comes of that.
    fn with_socket<T>(
        &mut self,
        place: Place,
        socket: UdpSocket,
        begin: impl FnOnce(&mut Connection, Instant, SocketAddr) -> Result<Option<T>, String>,
    ) -> Result<Option<T>, String> {
        let local = socket.local_addr();
        self.release_unused(place)?;
        let at = self
            .sockets
            .add(&mut self.poller, socket, place.service, true)
            .map_err(|error| format!("the socket cannot be watched: {error}"))?;
        let now = self.now;
        let begun = self.services.get_mut(place.service).and_then(|s| {
            let slot = s.table.get_mut(place.handle)?;
            let begun = begin(s.endpoint.connection(place.handle)?, now, local);
            if matches!(begun, Ok(Some(_))) {
                slot.sockets.push(at);
            }
            Some(begun)
        });
        let begun = begun.unwrap_or_else(|| Err("the connection is gone".to_owned()));
        match begun {
            Ok(Some(_)) => self.watch_links(),
            _ => self.sockets.release(&mut self.poller, &mut self.outbox, &[at]),
        }
        begun
    }

    /// Closes those of a connection's own sockets that none of its paths uses any more.
    fn release_unused(&mut self, place: Place) -> Result<(), String> {
        let Some(service) = self.services.get_mut(place.service) else { return Ok(()) };
        let Some(slot) = service.table.get_mut(place.handle) else { return Ok(()) };
        let Some(connection) = service.endpoint.peek(place.handle) else { return Ok(()) };
        let ports: Vec<u16> = connection
            .paths()
            .flat_map(|path| path.tuples().iter().map(|t| t.addresses.local.port()))
            .collect();
        let used = |at: &usize| {
            self.sockets.get(*at).is_some_and(|entry| ports.contains(&entry.local.port()))
        };
        let (kept, unused): (Vec<usize>, Vec<usize>) = slot.sockets.iter().partition(|at| used(at));
        slot.sockets = kept.into_iter().collect();
        let full = slot.sockets.len() >= MAX_OWN_SOCKETS;
        self.sockets.release(&mut self.poller, &mut self.outbox, &unused);
        if full { Err("the connection has too many sockets".to_owned()) } else { Ok(()) }
    }
}

/// The socket on any address of the peer's family.
fn any_source(remote: &SocketAddr) -> Source {
    match remote.is_ipv6() {
        true => (Ipv6Addr::UNSPECIFIED.into(), 0),
        false => (Ipv4Addr::UNSPECIFIED.into(), 0),
    }
}

fn refuse(key: ConnectionKey, mut app: Box<dyn Application>, error: ConnectionError) {
    // Its own defects must not end the shard.
    let _ = catch_unwind(AssertUnwindSafe(move || app.on_refused(key, error)));
}
