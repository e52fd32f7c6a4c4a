//! Two endpoints in one thread, whose datagrams go straight from one to the other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tquic_core::config::{AcceptConfig, EndpointConfig, TransportConfig};
use tquic_core::connection::ClientSetup;
use tquic_core::endpoint::{EndpointSecrets, Reply};
use tquic_core::events::Event;
use tquic_core::path::FourTuple;
use tquic_core::stream::StreamEvent;
use tquic_core::time::Instant;
use tquic_core::{Connection, ConnectionHandle, Endpoint};
use tquic_crypto::session::Group;
use tquic_crypto::{ClientConfig, ServerConfig, Suite};
use tquic_wire::{Direction, Side};

/// The way of a datagram.
const DELAY: Duration = Duration::from_micros(20);
/// Bytes of a write.
const PIECE: usize = 64 << 10;
/// Bytes of a transfer.
const BULK: usize = 1 << 20;
/// Bytes of a request and of its response.
const REQUEST: &[u8] = &[1; 8];
const RESPONSE: &[u8] = &[2; 32];

struct Duo {
    now: Instant,
    ends: [Endpoint; 2],
    addresses: FourTuple,
    transport: Arc<TransportConfig>,
    tls: Arc<ClientConfig>,
    /// The connection at each end.
    handles: [Option<ConnectionHandle>; 2],
    train: Vec<u8>,
    replies: Vec<Reply>,
}

/// What the two ends' applications do.
trait Application {
    /// Something happened at one end.
    fn on_event(&mut self, side: Side, connection: &mut Connection, event: Event);
}

fn endpoint(seed: u8, accept: Option<AcceptConfig>) -> Endpoint {
    let secrets = EndpointSecrets {
        reset: [seed; 32],
        token: [seed + 1; 32],
        seed: [seed + 2; 32],
        unix_epoch: 1_700_000_000,
    };
    Endpoint::new(EndpointConfig::default(), accept, &secrets)
}

impl Duo {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let mut transport = TransportConfig::default();
        transport.streams.max_streams_bidi = 1024;
        let transport = Arc::new(transport);
        let server = ServerConfig::builder()
            .certificate(cert.as_bytes(), key.as_bytes())
            .unwrap()
            .alpn(&["bench"])
            .build()
            .unwrap();
        let client = ClientConfig::builder()
            .roots(cert.as_bytes())
            .unwrap()
            .alpn(&["bench"])
            .suites(&[Suite::Aes128Gcm])
            .groups(&[Group::X25519])
            .tickets(None)
            .build()
            .unwrap();
        let accept = AcceptConfig::new(Arc::new(server), transport.clone());
        Self {
            now: Instant::from_nanos(1_000_000_000),
            ends: [endpoint(1, None), endpoint(4, Some(accept))],
            addresses: FourTuple {
                local: "192.0.2.1:50000".parse().unwrap(),
                remote: "192.0.2.2:443".parse().unwrap(),
            },
            transport,
            tls: Arc::new(client),
            handles: [None; 2],
            train: vec![0; 65_536],
            replies: Vec::new(),
        }
    }

    /// With a connection on which nothing is left to be said.
    fn connected() -> Self {
        let mut duo = Self::new();
        duo.handshake();
        duo
    }

    /// Makes a connection, and lets go of the one before.
    fn handshake(&mut self) {
        for (end, handle) in self.ends.iter_mut().zip(&mut self.handles) {
            if let Some(handle) = handle.take() {
                end.discard(handle);
            }
        }
        let setup = ClientSetup {
            transport: self.transport.clone(),
            tls: self.tls.clone(),
            server_name: "localhost".to_owned(),
            token: Vec::new(),
            addresses: self.addresses,
        };
        self.handles[0] = Some(self.ends[0].connect(self.now, setup).unwrap());
        let mut connected = Connected::default();
        while connected.ends < 2 {
            self.exchange(&mut connected);
        }
        // What comes behind a handshake: tickets, tokens, connection IDs.
        while self.exchange(&mut connected) {}
    }

    fn client(&mut self) -> &mut Connection {
        self.handles[0].and_then(|handle| self.ends[0].connection(handle)).unwrap()
    }

    /// Each end has a turn. Whether anything was sent; if not, time goes on to the next timer.
    fn exchange(&mut self, application: &mut dyn Application) -> bool {
        let there = self.turn(Side::Client, application);
        let back = self.turn(Side::Server, application);
        self.now += DELAY;
        for end in &mut self.ends {
            end.on_timeout(self.now);
        }
        there || back
    }

    fn turn(&mut self, side: Side, application: &mut dyn Application) -> bool {
        let [client, server] = &mut self.ends;
        let (own, other, way) = match side {
            Side::Client => (client, server, self.addresses),
            Side::Server => (server, client, reversed(self.addresses)),
        };
        let mut sent = false;
        while let Some(handle) = own.poll_dirty() {
            if let Some(fresh) = own.poll_accepted() {
                self.handles[1] = Some(fresh);
            }
            let Some(connection) = own.peek(handle) else { continue };
            while let Some(event) = connection.poll_event() {
                application.on_event(side, connection, event);
            }
            while let Some(train) = connection.poll_transmit(self.now, &mut self.train) {
                sent = true;
                let slot = (&mut self.train[..train.len], train.segment);
                other.receive(self.now, reversed(way), train.ecn, slot, &mut self.replies);
            }
            own.settle(self.now, handle);
        }
        sent
    }

    /// Goes on until the application is satisfied.
    fn run(&mut self, work: &mut Work) {
        while work.left > 0 {
            if !self.exchange(work) {
                // Somebody waits: for a delayed acknowledgement, or the pacer.
                let next = self.ends.iter().filter_map(Endpoint::timeout).min();
                self.now = self.now.max(next.unwrap());
            }
        }
    }
}

fn reversed(way: FourTuple) -> FourTuple {
    FourTuple { local: way.remote, remote: way.local }
}

/// Counts ends whose handshake is complete.
#[derive(Default)]
struct Connected {
    ends: u32,
}

impl Application for Connected {
    fn on_event(&mut self, _: Side, _: &mut Connection, event: Event) {
        self.ends += u32::from(event == Event::Connected);
    }
}

/// Streams of the client that the server reads to the end, and answers.
struct Work {
    /// Streams that are not over.
    left: usize,
    /// What the server answers, if anything.
    response: Bytes,
}

impl Application for Work {
    fn on_event(&mut self, side: Side, connection: &mut Connection, event: Event) {
        let Event::Stream(StreamEvent::Readable { id }) = event else { return };
        let streams = connection.streams();
        if !streams.read_with(id, |_, piece| piece.len()).unwrap().fin {
            return;
        }
        match side {
            Side::Server => streams.write_fin(id, self.response.clone()).unwrap(),
            Side::Client => self.left -= 1,
        }
    }
}

/// So many streams with these bytes each, answered.
fn work(streams: usize, request: &Bytes, response: &[u8]) -> Box<dyn FnMut()> {
    let mut duo = Duo::connected();
    let (request, response) = (request.clone(), Bytes::copy_from_slice(response));
    Box::new(move || {
        let opened = duo.client().streams();
        for _ in 0..streams {
            let id = opened.open(Direction::Bidirectional).unwrap();
            let mut rest = request.clone();
            while rest.len() > PIECE {
                opened.write(id, rest.split_to(PIECE)).unwrap();
            }
            opened.write_fin(id, rest).unwrap();
        }
        duo.run(&mut Work { left: streams, response: response.clone() });
    })
}

/// A transfer over one stream.
pub fn transfer() -> Box<dyn FnMut()> {
    work(1, &Bytes::from(vec![3; BULK]), RESPONSE)
}

/// The same over several at a time.
pub fn streams() -> Box<dyn FnMut()> {
    work(16, &Bytes::from(vec![3; BULK / 16]), RESPONSE)
}

/// Small requests and responses at a time.
pub fn few_requests() -> Box<dyn FnMut()> {
    work(16, &Bytes::from_static(REQUEST), RESPONSE)
}

/// Many of them.
pub fn many_requests() -> Box<dyn FnMut()> {
    work(256, &Bytes::from_static(REQUEST), RESPONSE)
}

/// A full handshake with everything behind it, both ends.
pub fn handshake() -> Box<dyn FnMut()> {
    let mut duo = Duo::new();
    Box::new(move || duo.handshake())
}
