//! Two endpoints joined by a perfect (or meddled with) link in virtual time.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test double fails by panicking")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tquic_core::config::{AcceptConfig, EndpointConfig, TransportConfig};
use tquic_core::connection::ClientSetup;
use tquic_core::endpoint::{EndpointSecrets, Reply};
use tquic_core::events::Event;
use tquic_core::path::{Ecn, FourTuple};
use tquic_core::time::Instant;
use tquic_core::{Connection, ConnectionHandle, Endpoint};
use tquic_crypto::{ClientConfig, ServerConfig, TicketStore};
use tquic_wire::{Direction, StreamId};

/// A certificate for `localhost` and its key, PEM; signed by itself.
pub fn identity() -> &'static (String, String) {
    static IDENTITY: OnceLock<(String, String)> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    })
}

pub fn server_tls() -> tquic_crypto::session::ServerConfigBuilder {
    let (cert, key) = identity();
    ServerConfig::builder().certificate(cert.as_bytes(), key.as_bytes()).unwrap().alpn(&["test"])
}

pub fn client_tls() -> tquic_crypto::session::ClientConfigBuilder {
    let (cert, _) = identity();
    ClientConfig::builder()
        .roots(cert.as_bytes())
        .unwrap()
        .alpn(&["test"])
        .tickets(Some(TicketStore::new(4)))
}

/// A datagram on its way.
#[derive(Clone)]
pub struct Datagram {
    pub arrives: Instant,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub ecn: Option<Ecn>,
    pub data: Vec<u8>,
}

/// What a test may do to a datagram: change it, or drop it by answering false. The number counts
/// the datagrams of that direction.
pub type Meddler = Box<dyn FnMut(&mut Datagram, u64) -> bool>;

pub struct Side {
    pub endpoint: Endpoint,
    pub events: Vec<(ConnectionHandle, Event)>,
    pub sent: u64,
    pub meddler: Option<Meddler>,
    inbox: VecDeque<Datagram>,
}

impl Side {
    fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, events: vec![], sent: 0, meddler: None, inbox: VecDeque::new() }
    }

    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.drain(..).map(|(_, e)| e).collect()
    }
}

pub struct Pair {
    pub now: Instant,
    pub delay: Duration,
    pub client: Side,
    pub server: Side,
    pub client_address: SocketAddr,
    pub server_address: SocketAddr,
    pub accepted: Vec<ConnectionHandle>,
    pub client_transport: Arc<TransportConfig>,
    pub client_tls: Arc<ClientConfig>,
    spins: u32,
}

fn secrets(seed: u8) -> EndpointSecrets {
    EndpointSecrets {
        reset: [seed; 32],
        token: [seed + 1; 32],
        seed: [seed + 2; 32],
        unix_epoch: 1_700_000_000,
    }
}

impl Pair {
    pub fn new() -> Self {
        Self::with(TransportConfig::default(), TransportConfig::default(), |a| a)
    }

    pub fn with(
        client: TransportConfig,
        server: TransportConfig,
        accept: impl FnOnce(AcceptConfig) -> AcceptConfig,
    ) -> Self {
        let tls = Arc::new(server_tls().build().unwrap());
        let accept = accept(AcceptConfig::new(tls, Arc::new(server)));
        let config = EndpointConfig::default();
        Self {
            now: Instant::from_nanos(1_000_000_000),
            delay: Duration::from_millis(10),
            client: Side::new(Endpoint::new(config, None, &secrets(1))),
            server: Side::new(Endpoint::new(config, Some(accept), &secrets(10))),
            client_address: "192.0.2.1:50000".parse().unwrap(),
            server_address: "192.0.2.2:443".parse().unwrap(),
            accepted: vec![],
            client_transport: Arc::new(client),
            client_tls: Arc::new(client_tls().build().unwrap()),
            spins: 0,
        }
    }

    pub fn connect(&mut self) -> ConnectionHandle {
        self.connect_with(Vec::new())
    }

    pub fn connect_with(&mut self, token: Vec<u8>) -> ConnectionHandle {
        let setup = ClientSetup {
            transport: self.client_transport.clone(),
            tls: self.client_tls.clone(),
            server_name: "localhost".to_owned(),
            token,
            addresses: FourTuple { local: self.client_address, remote: self.server_address },
        };
        self.client.endpoint.connect(self.now, setup).unwrap()
    }

    /// Both sides say what they have to say now.
    fn flush(&mut self) {
        let (now, arrives) = (self.now, self.now + self.delay);
        let mut buf = vec![0; 65536];
        for client in [true, false] {
            let (mine, other) = if client {
                (&mut self.client, &mut self.server)
            } else {
                (&mut self.server, &mut self.client)
            };
            if !client {
                while let Some(h) = mine.endpoint.poll_accepted() {
                    self.accepted.push(h);
                }
            }
            while let Some(h) = mine.endpoint.poll_dirty() {
                let Some(c) = mine.endpoint.peek(h) else { continue };
                while let Some(e) = c.poll_event() {
                    mine.events.push((h, e));
                }
                while let Some(t) = c.poll_transmit(now, &mut buf) {
                    if std::env::var_os("PAIR_TRACE").is_some() {
                        eprintln!(
                            "{:?} {} sends {} x {}",
                            now,
                            if client { "client" } else { "server" },
                            t.len,
                            t.segment
                        );
                    }
                    for data in buf[..t.len].chunks(t.segment) {
                        mine.sent += 1;
                        let mut d = Datagram {
                            arrives,
                            from: t.addresses.local,
                            to: t.addresses.remote,
                            ecn: t.ecn,
                            data: data.to_vec(),
                        };
                        let n = mine.sent;
                        if mine.meddler.as_mut().is_none_or(|m| m(&mut d, n)) {
                            other.inbox.push_back(d);
                        }
                    }
                }
                while let Some(e) = c.poll_event() {
                    mine.events.push((h, e));
                }
                mine.endpoint.settle(now, h);
            }
        }
    }

    /// A datagram reaches the server out of the blue.
    pub fn inject(&mut self, datagram: Datagram) {
        self.server.inbox.push_back(datagram);
    }

    /// When something happens next.
    fn next_time(&self) -> Option<Instant> {
        let next = [
            self.client.inbox.front().map(|d| d.arrives),
            self.server.inbox.front().map(|d| d.arrives),
            self.client.endpoint.timeout(),
            self.server.endpoint.timeout(),
        ];
        next.into_iter().flatten().min()
    }

    /// One step of virtual time, at most to `end`. False when nothing happens until then.
    pub fn step(&mut self, end: Instant) -> bool {
        self.flush();
        let Some(next) = self.next_time().filter(|next| *next <= end) else {
            self.now = self.now.max(end);
            return false;
        };
        self.spins = if next > self.now { 0 } else { self.spins + 1 };
        if self.spins > 10_000 {
            for side in [&mut self.client, &mut self.server] {
                for h in side.endpoint.handles() {
                    let c = side.endpoint.peek(h).unwrap();
                    eprintln!("{:?} {}", c.side(), c.describe_timers());
                }
            }
            panic!("time stands still at {:?}", self.now);
        }
        self.now = self.now.max(next);
        let now = self.now;
        let server_replies = deliver(&mut self.server, now);
        let client_replies = deliver(&mut self.client, now);
        for r in server_replies {
            self.client.inbox.push_back(reply(r, now + self.delay));
        }
        for r in client_replies {
            self.server.inbox.push_back(reply(r, now + self.delay));
        }
        // What comes is answered before timers are looked at: the harder order.
        self.flush();
        self.client.endpoint.on_timeout(now);
        self.server.endpoint.on_timeout(now);
        self.flush();
        true
    }

    /// Steps until `done`, at most for `limit` of virtual time.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            if done(self) {
                return true;
            }
            if !self.step(end) {
                return done(self);
            }
        }
    }

    pub fn client_conn(&mut self, h: ConnectionHandle) -> &mut Connection {
        self.client.endpoint.connection(h).expect("client connection is gone")
    }

    pub fn server_conn(&mut self) -> &mut Connection {
        let h = *self.accepted.last().expect("nothing accepted");
        self.server.endpoint.connection(h).expect("server connection is gone")
    }

    /// Connects and waits until both ends are confirmed.
    pub fn establish(&mut self) -> ConnectionHandle {
        let h = self.connect();
        let ok = self.run_until(Duration::from_secs(5), |p| {
            p.client.endpoint.peek(h).is_some_and(|c| c.handshake().is_confirmed())
        });
        assert!(ok, "no handshake; events {:?} {:?}", self.client.events, self.server.events);
        h
    }
}

fn reply(r: Reply, arrives: Instant) -> Datagram {
    Datagram { arrives, from: r.addresses.local, to: r.addresses.remote, ecn: None, data: r.data }
}

fn deliver(side: &mut Side, now: Instant) -> Vec<Reply> {
    let mut replies = vec![];
    while side.inbox.front().is_some_and(|d| d.arrives <= now) {
        let mut d = side.inbox.pop_front().unwrap();
        let addresses = FourTuple { local: d.to, remote: d.from };
        let len = d.data.len().max(1);
        side.endpoint.receive(now, addresses, d.ecn, (&mut d.data, len), &mut replies);
    }
    replies
}

/// Bytes that differ from place to place.
pub fn content(len: usize) -> Vec<u8> {
    (0..len as u32).flat_map(|i| (i.wrapping_mul(2_654_435_761)).to_be_bytes()).take(len).collect()
}

/// Reads everything readable on `id`; true at the end.
pub fn read(c: &mut Connection, id: StreamId, out: &mut Vec<u8>) -> bool {
    while let Ok(Some(chunk)) = c.streams().read(id, 1 << 20) {
        out.extend_from_slice(&chunk.data);
        if chunk.fin {
            return true;
        }
    }
    false
}

/// The client sends `data` on one stream, the server reads it; returns what arrived.
pub fn upload(p: &mut Pair, h: ConnectionHandle, data: &[u8], limit: Duration) -> Option<Vec<u8>> {
    let mut rest = Bytes::copy_from_slice(data);
    let id = p.client_conn(h).streams().open(Direction::Bidirectional)?;
    let (mut got, mut done) = (vec![], false);
    let ok = p.run_until(limit, |p| {
        let streams = p.client.endpoint.connection(h).map(|c| {
            while !rest.is_empty() {
                let n = rest.len().min(1 << 16);
                match c.streams().write(id, rest.slice(..n)) {
                    Ok(()) => drop(rest.split_to(n)),
                    Err(_) => break,
                }
            }
            if rest.is_empty() {
                let _ = c.streams().finish(id);
            }
        });
        if streams.is_none() {
            return true;
        }
        if let Some(&s) = p.accepted.last()
            && let Some(c) = p.server.endpoint.connection(s)
        {
            done |= read(c, id, &mut got);
        }
        done
    });
    (ok && done).then_some(got)
}
