//! Session tickets on the client.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls_pki_types::ServerName;
use tquic_wire::Version;
use zeroize::Zeroizing;

use super::saved::SavedTicket;

/// Tickets kept per server and QUIC version. Servers give two or so per connection, and each is
/// used once (RFC 8446 appendix C.4).
const TICKETS_PER_SERVER: usize = 8;

/// The session tickets that servers gave, for resumption and 0-RTT. Clones share their content.
///
/// The server's transport parameters are kept with each ticket (RFC 9000 section 7.4.1). Tickets
/// work only with clones of the [`ClientConfig`](crate::ClientConfig) under which they came, and
/// only for the QUIC version that gave them (RFC 9369 section 5). They stay in memory, except in a
/// store made with [`TicketStore::saving`]: its tickets can be taken out as bytes, put into another
/// store, and used with any configuration that trusts the server.
///
/// At most 8 tickets per server and version are kept, for the number of servers given to
/// [`TicketStore::new`]; the oldest make room.
#[derive(Clone)]
pub struct TicketStore {
    servers: Arc<Mutex<Servers>>,
    saving: bool,
}

/// A ticket as bytes, and what one must know to keep it.
#[derive(Clone)]
pub struct Exported {
    /// The server's name or address.
    pub server: String,
    /// The QUIC version for which it is good.
    pub version: Version,
    /// When it is of no use any more, in seconds since 1970.
    pub expires: u64,
    /// All of it.
    pub bytes: Zeroizing<Vec<u8>>,
}

struct Servers {
    capacity: usize,
    known: HashMap<ServerName<'static>, Server>,
    /// The names in `known`, oldest first.
    order: VecDeque<ServerName<'static>>,
}

/// A ticket in memory.
enum Ticket {
    Live(Tls13ClientSessionValue),
    /// As it can be written down.
    Saved(Box<SavedTicket>),
    /// The same, put in for a connection that is about to begin.
    Imported(Box<SavedTicket>),
}

impl Ticket {
    fn exported(self) -> Option<Exported> {
        let (Self::Saved(saved) | Self::Imported(saved)) = self else { return None };
        Some(Exported {
            server: saved.server.clone(),
            version: saved.version,
            expires: saved.expires(),
            bytes: Zeroizing::new(saved.encode()),
        })
    }
}

#[derive(Default)]
struct Server {
    /// Newest last.
    tickets: VecDeque<(Version, Ticket)>,
    /// The key-exchange group that the server chose, to offer it first next time.
    group: Option<NamedGroup>,
}

impl TicketStore {
    /// A store for tickets of up to `servers` servers.
    #[must_use]
    pub fn new(servers: usize) -> Self {
        let servers = Servers { capacity: servers, known: HashMap::new(), order: VecDeque::new() };
        Self { servers: Arc::new(Mutex::new(servers)), saving: false }
    }

    /// A store whose tickets can be taken out as bytes. To use a ticket costs a fraction of a
    /// millisecond more than one of [`TicketStore::new`].
    #[must_use]
    pub fn saving(servers: usize) -> Self {
        Self { saving: true, ..Self::new(servers) }
    }

    /// Takes out the tickets that servers gave a store which is [`saving`](Self::saving), oldest
    /// first: who has these bytes can act as this client, and read what it resumes. Those that were
    /// put in stay for the connections that they were put in for, but for `imported`.
    #[must_use]
    pub fn export(&self, imported: bool) -> Vec<Exported> {
        let mut servers = self.lock();
        let mut exported = Vec::new();
        for server in servers.known.values_mut() {
            let stays = |ticket: &Ticket| matches!(ticket, Ticket::Imported(_)) && !imported;
            let (kept, taken) = server.tickets.drain(..).partition(|(_, ticket)| stays(ticket));
            server.tickets = kept;
            let taken: VecDeque<_> = taken;
            exported.extend(taken.into_iter().filter_map(|(_, ticket)| ticket.exported()));
        }
        exported
    }

    /// Puts a ticket in that [`export`](Self::export) gave; false if it is none, or this store is
    /// not [`saving`](Self::saving).
    pub fn import(&self, bytes: &[u8]) -> bool {
        if !self.saving {
            return false;
        }
        let put = |saved: SavedTicket| {
            let (name, version) = (saved.name()?, saved.version);
            self.insert(name, version, Ticket::Imported(Box::new(saved)));
            Some(())
        };
        SavedTicket::decode(bytes).and_then(put).is_some()
    }

    pub(super) fn is_saving(&self) -> bool {
        self.saving
    }

    pub(super) fn put(&self, saved: SavedTicket) {
        if let Some(name) = saved.name() {
            self.insert(name, saved.version, Ticket::Saved(Box::new(saved)));
        }
    }

    /// The newest ticket of this version that was put in, which is not given again.
    pub(super) fn take_saved(
        &self,
        name: &ServerName<'static>,
        version: Version,
    ) -> Option<SavedTicket> {
        match self.take(name, version)? {
            Ticket::Saved(saved) | Ticket::Imported(saved) => Some(*saved),
            Ticket::Live(_) => None,
        }
    }

    /// Forgets every ticket.
    pub fn clear(&self) {
        let mut servers = self.lock();
        servers.known.clear();
        servers.order.clear();
    }

    /// How many tickets are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().known.values().map(|server| server.tickets.len()).sum()
    }

    /// Whether no ticket is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn insert(&self, name: ServerName<'static>, version: Version, ticket: Ticket) {
        let mut servers = self.lock();
        let Some(server) = servers.entry(name) else { return };
        let same = |(other, _): &&(Version, _)| *other == version;
        if server.tickets.iter().filter(same).count() >= TICKETS_PER_SERVER {
            let oldest = server.tickets.iter().position(|(other, _)| *other == version);
            oldest.map(|at| server.tickets.remove(at));
        }
        server.tickets.push_back((version, ticket));
    }

    /// The newest ticket, which is not given again.
    fn take(&self, name: &ServerName<'static>, version: Version) -> Option<Ticket> {
        let mut servers = self.lock();
        let tickets = &mut servers.known.get_mut(name)?.tickets;
        let at = tickets.iter().rposition(|(other, _)| *other == version)?;
        tickets.remove(at).map(|(_, ticket)| ticket)
    }

    fn lock(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for TicketStore {
    /// For 256 servers.
    fn default() -> Self {
        Self::new(256)
    }
}

impl fmt::Debug for TicketStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketStore").field("tickets", &self.len()).finish()
    }
}

impl fmt::Debug for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exported").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Servers {
    /// What is known of a server; makes room for one that is new. `None` if nothing may be kept.
    fn entry(&mut self, name: ServerName<'static>) -> Option<&mut Server> {
        if self.capacity == 0 {
            return None;
        }
        if !self.known.contains_key(&name) {
            if self.order.len() >= self.capacity {
                self.order.pop_front().and_then(|oldest| self.known.remove(&oldest));
            }
            self.order.push_back(name.clone());
        }
        Some(self.known.entry(name).or_default())
    }
}

/// A QUIC version that may still change, shared by a session and its ticket adapter.
#[derive(Clone, Debug)]
pub(super) struct SharedVersion(Arc<AtomicU32>);

impl SharedVersion {
    pub fn new(version: Version) -> Self {
        Self(Arc::new(AtomicU32::new(version.0)))
    }

    pub fn get(&self) -> Version {
        Version(self.0.load(Ordering::Relaxed))
    }

    pub fn set(&self, version: Version) {
        self.0.store(version.0, Ordering::Relaxed);
    }
}

/// One connection's view of the store, which knows the QUIC version.
#[derive(Debug)]
pub(super) struct ConnectionTickets {
    pub store: TicketStore,
    /// Of the client's first packets: tickets to use must be of this version.
    pub original: Version,
    /// RFC 9369 section 5: tickets received belong to the negotiated version.
    pub negotiated: SharedVersion,
    /// Of a store that is saving: the session to resume, which nobody else may use.
    pub restored: Mutex<Option<Tls13ClientSessionValue>>,
    /// Set when a ticket comes.
    pub received: Arc<AtomicBool>,
}

impl ClientSessionStore for ConnectionTickets {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        if let Some(server) = self.store.lock().entry(name) {
            server.group = Some(group);
        }
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.store.lock().known.get(&name.to_owned())?.group
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        // Else it is written down by the session, which sees the message itself.
        if !self.store.is_saving() {
            self.store.insert(name, self.negotiated.get(), Ticket::Live(value));
        }
        self.received.store(true, Ordering::Relaxed);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        if self.store.is_saving() {
            return self.restored.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        match self.store.take(name, self.original)? {
            Ticket::Live(value) => Some(value),
            Ticket::Saved(_) | Ticket::Imported(_) => None,
        }
    }

    // QUIC has no TLS 1.2.
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
}
