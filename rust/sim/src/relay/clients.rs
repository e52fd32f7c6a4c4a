//! Clients and the sockets that stand for them before the server.

use super::facts::Ledger;
use super::socket::RelaySocket;
use crate::scenario::Rebinding;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tquic_core::rng::Rng;
use tquic_core::time::{Duration, Instant};

/// Most clients at a time; for another, the one that has been silent longest is forgotten.
const MAX_CLIENTS: usize = 512;

/// Most sockets of expired bindings kept open. While one is open, the server's packets to it are
/// swallowed, as a translator does; later the kernel would answer that nobody is there.
const MAX_EXPIRED: usize = 256;

/// A client that has sent nothing for so long is not rebound any more.
const REBIND_WHILE: Duration = Duration::from_secs(60);

/// Names a client for as long as the relay runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClientId(pub(super) u64);

/// A client, by the address from which it reaches the relay.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) address: SocketAddr,
    pub(super) socket: RelaySocket,
    pub(super) ledger: Ledger,
    last_heard: Instant,
    next_rebind: Option<Instant>,
}

/// A change of the address by which the server sees a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebound {
    /// When, counted from the relay's first packet.
    pub at: Instant,
    /// The client's own address.
    pub client: SocketAddr,
    /// What the server saw before.
    pub from: SocketAddr,
    /// What the server sees now.
    pub to: SocketAddr,
}

/// All clients.
#[derive(Debug)]
pub(super) struct Clients {
    server: SocketAddr,
    rebinding: Option<Rebinding>,
    rng: Rng,
    by_id: BTreeMap<ClientId, Client>,
    by_address: BTreeMap<SocketAddr, ClientId>,
    expired: VecDeque<RelaySocket>,
    created: u64,
}

impl Clients {
    pub(super) const fn new(server: SocketAddr, rebinding: Option<Rebinding>, rng: Rng) -> Self {
        Self {
            server,
            rebinding,
            rng,
            by_id: BTreeMap::new(),
            by_address: BTreeMap::new(),
            expired: VecDeque::new(),
            created: 0,
        }
    }

    /// How many there have been.
    pub(super) const fn created(&self) -> u64 {
        self.created
    }

    pub(super) fn get_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        self.by_id.get_mut(&id)
    }

    /// Clients and their sockets.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ClientId, &RelaySocket)> {
        self.by_id.iter().map(|(&id, client)| (id, &client.socket))
    }

    /// Sockets of expired bindings.
    pub(super) fn expired(&self) -> &VecDeque<RelaySocket> {
        &self.expired
    }

    /// The client at `address`, from which a packet came at `now`.
    pub(super) fn heard(
        &mut self,
        now: Instant,
        address: SocketAddr,
    ) -> io::Result<(ClientId, &mut Client)> {
        let id = match self.by_address.get(&address) {
            Some(&id) => id,
            None => self.admit(now, address)?,
        };
        let client = self.by_id.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
        client.last_heard = now;
        Ok((id, client))
    }

    fn admit(&mut self, now: Instant, address: SocketAddr) -> io::Result<ClientId> {
        if self.by_id.len() >= MAX_CLIENTS {
            let silent = self.by_id.iter().min_by_key(|(_, client)| client.last_heard);
            if let Some((&id, _)) = silent
                && let Some(client) = self.by_id.remove(&id)
            {
                self.by_address.remove(&client.address);
            }
        }
        let socket = RelaySocket::open(any_port(self.server), Some(self.server))?;
        let id = ClientId(self.created);
        self.created += 1;
        let next_rebind = self.rebinding.map(|rebinding| now + rebinding.first);
        let ledger = Ledger::default();
        self.by_id.insert(id, Client { address, socket, ledger, last_heard: now, next_rebind });
        self.by_address.insert(address, id);
        Ok(id)
    }

    /// When the next client is to be rebound.
    pub(super) fn next_rebind(&self) -> Option<Instant> {
        self.by_id.values().filter_map(|client| client.next_rebind).min()
    }

    /// Rebinds the clients whose time has come. A client for which no socket can be opened keeps its
    /// address until the next time.
    pub(super) fn rebind(&mut self, now: Instant) -> Vec<io::Result<Rebound>> {
        let Some(rebinding) = self.rebinding else {
            return Vec::new();
        };
        let mut rebound = Vec::new();
        for client in self.by_id.values_mut() {
            let Some(due) = client.next_rebind.filter(|&due| due <= now) else {
                continue;
            };
            if now - client.last_heard > REBIND_WHILE {
                client.next_rebind = None;
                continue;
            }
            client.next_rebind = Some(due + rebinding.every);
            let opened = another_socket(&client.socket, self.server, rebinding, &mut self.rng);
            rebound.push(opened.map(|(socket, from, to)| {
                self.expired.push_back(core::mem::replace(&mut client.socket, socket));
                Rebound { at: now, client: client.address, from, to }
            }));
        }
        while self.expired.len() > MAX_EXPIRED {
            self.expired.pop_front();
        }
        rebound
    }
}

/// A socket with another address than `old`, and both addresses.
fn another_socket(
    old: &RelaySocket,
    server: SocketAddr,
    rebinding: Rebinding,
    rng: &mut Rng,
) -> io::Result<(RelaySocket, SocketAddr, SocketAddr)> {
    let from = old.local_addr()?;
    let mut local = any_port(server);
    if rebinding.address {
        local.set_ip(other_loopback(from.ip(), rng));
    }
    let socket = RelaySocket::open(local, Some(server))?;
    let to = socket.local_addr()?;
    Ok((socket, from, to))
}

/// Any port from which `server` can be reached; on loopback, the address that stays the same.
fn any_port(server: SocketAddr) -> SocketAddr {
    let ip = match server.ip() {
        ip if ip.is_loopback() && ip.is_ipv6() => ip,
        ip if ip.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, 0)
}

/// Another of 127.0.0.2 to 127.0.0.254, all of which are this machine.
fn other_loopback(now: IpAddr, rng: &mut Rng) -> IpAddr {
    loop {
        let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2 + rng.below(253) as u8));
        if ip != now {
            return ip;
        }
    }
}
