//! One transfer between two endpoints over a pair of links: nothing is drawn by chance but what the
//! links do. For tests that look at what an engine tells of itself, and for counting instructions.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use tquic_core::config::{AcceptConfig, EndpointConfig, TransportConfig};
use tquic_core::connection::{ClientSetup, ConnectionStats, PathStats};
use tquic_core::endpoint::{EndpointSecrets, Reply};
use tquic_core::events::Event;
use tquic_core::path::{Ecn, FourTuple};
use tquic_core::stream::StreamEvent;
use tquic_core::{ConnectionHandle, Endpoint};
use tquic_crypto::{ClientConfig, ServerConfig};
use tquic_wire::{Direction, StreamId};

use crate::link::LinkConfig;
use crate::network::Network;
use crate::packet::{Ecn as PacketEcn, Packet};
use crate::simulation::{Host, HostConfig, Outbox, Outcome, Simulation};
use crate::{Duration, Instant};

/// Bytes of a write.
const PIECE: usize = 64 << 10;
/// Virtual time after which a transfer has failed.
const PATIENCE: Duration = Duration::from_secs(600);

/// What to do, and over what.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Bytes that the client sends on one stream.
    pub bytes: u64,
    /// The way to the server.
    pub to_server: LinkConfig,
    /// The way back.
    pub to_client: LinkConfig,
    /// The client's settings.
    pub client: TransportConfig,
    /// The server's settings.
    pub server: TransportConfig,
}

/// What one end counted.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// The connection's counters at its end.
    pub connection: ConnectionStats,
    /// Those of its path.
    pub path: PathStats,
}

/// What came of a transfer.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Virtual time it took.
    pub time: Duration,
    /// Bytes that the server read.
    pub received: u64,
    /// The client.
    pub client: End,
    /// The server.
    pub server: End,
}

impl Transfer {
    /// `bytes` over links that lose nothing, 5 ms long.
    pub fn new(seed: u64, bytes: u64) -> Self {
        let link = LinkConfig { delay: Duration::from_millis(5), ..LinkConfig::default() };
        Self {
            seed,
            bytes,
            to_server: link.clone(),
            to_client: link,
            client: TransportConfig::default(),
            server: TransportConfig::default(),
        }
    }

    /// Plays it until both ends have forgotten the connection. `None` if it does not come to an end.
    pub fn run(&self) -> Option<Finished> {
        let [client, server] =
            [(1, 50_000), (2, 443)].map(|(host, port)| SocketAddr::from(([192, 0, 2, host], port)));
        let mut network = Network::new(self.seed);
        let (there, back) = (network.add_link(&self.to_server), network.add_link(&self.to_client));
        network.route(client, server, &[there]);
        network.route(server, client, &[back]);
        let mut simulation = Simulation::new(network, self.seed);
        let (client_tls, server_tls) = tls();
        let accept = AcceptConfig::new(server_tls, Arc::new(self.server.clone()));
        let at_server = Peer::new(self.endpoint(2, Some(accept)), 0);
        let mut at_client = Peer::new(self.endpoint(1, None), self.bytes);
        let setup = ClientSetup {
            transport: Arc::new(self.client.clone()),
            tls: client_tls,
            server_name: "localhost".to_owned(),
            token: Vec::new(),
            addresses: FourTuple { local: client, remote: server },
        };
        at_client.endpoint.connect(Instant::ZERO, setup).ok()?;
        let client = simulation.add(at_client, HostConfig::default(), &[client]);
        let server = simulation.add(at_server, HostConfig::default(), &[server]);
        let outcome = simulation.run(Instant::ZERO + PATIENCE);
        let [client, server] = [client, server].map(|id| simulation.host(id));
        let time = client.done_at? - Instant::ZERO;
        (outcome == Outcome::Idle).then_some(Finished {
            time,
            received: server.received,
            client: client.end?,
            server: server.end?,
        })
    }

    fn endpoint(&self, role: u8, accept: Option<AcceptConfig>) -> Endpoint {
        let seed = |n: u8| {
            let mut seed = [n; 32];
            seed[..8].copy_from_slice(&self.seed.to_le_bytes());
            seed
        };
        let secrets = EndpointSecrets {
            reset: seed(role),
            token: seed(role + 10),
            seed: seed(role + 20),
            unix_epoch: 1_700_000_000,
        };
        Endpoint::new(EndpointConfig::default(), accept, &secrets)
    }
}

/// Ed25519: its signatures always have the same length.
fn tls() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let made = KeyPair::generate_for(&PKCS_ED25519).and_then(|key| {
        let cert = CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
        Ok((cert.pem(), key.serialize_pem()))
    });
    let (cert, key) = made.unwrap_or_else(|e| unreachable!("constant values: {e}"));
    let server = ServerConfig::builder()
        .certificate(cert.as_bytes(), key.as_bytes())
        .unwrap_or_else(|e| unreachable!("our own certificate: {e}"))
        .alpn(&["transfer"])
        .build();
    let client = ClientConfig::builder()
        .roots(cert.as_bytes())
        .unwrap_or_else(|e| unreachable!("our own certificate: {e}"))
        .alpn(&["transfer"])
        .build();
    match (client, server) {
        (Ok(client), Ok(server)) => (Arc::new(client), Arc::new(server)),
        (Err(e), _) | (_, Err(e)) => unreachable!("constant settings: {e}"),
    }
}

/// One end: sends if it has bytes to send, reads what comes.
struct Peer {
    endpoint: Endpoint,
    stream: Option<StreamId>,
    to_send: u64,
    piece: Bytes,
    received: u64,
    done_at: Option<Instant>,
    end: Option<End>,
    replies: Vec<Reply>,
    buffer: Vec<u8>,
}

impl Peer {
    fn new(endpoint: Endpoint, to_send: u64) -> Self {
        Self {
            endpoint,
            stream: None,
            to_send,
            piece: Bytes::from(vec![7; PIECE]),
            received: 0,
            done_at: None,
            end: None,
            replies: Vec::new(),
            buffer: vec![0; 1 << 16],
        }
    }

    fn serve(&mut self, now: Instant, handle: ConnectionHandle) {
        let Some(c) = self.endpoint.peek(handle) else { return };
        while let Some(event) = c.poll_event() {
            match event {
                Event::Connected if c.side().is_client() => {
                    self.stream = c.streams().open(Direction::Unidirectional);
                }
                Event::Stream(StreamEvent::Readable { id }) => {
                    while let Ok(Some(chunk)) = c.streams().read(id, PIECE) {
                        self.received += chunk.data.len() as u64;
                    }
                }
                Event::Stream(StreamEvent::Finished { .. }) => {
                    self.done_at = Some(now);
                    c.close(now, 0, b"done");
                }
                _ => {}
            }
        }
        let Some(id) = self.stream else { return };
        while self.to_send > 0 && c.streams().writable(id) > 0 {
            let len = self.to_send.min(PIECE as u64);
            if c.streams().write(id, self.piece.slice(..len as usize)).is_err() {
                return;
            }
            self.to_send -= len;
            if self.to_send == 0 {
                // A stream that takes data can be finished.
                let _ = c.streams().finish(id);
            }
        }
    }

    fn drive(&mut self, now: Instant, handle: ConnectionHandle, out: &mut Outbox) {
        self.serve(now, handle);
        let Some(c) = self.endpoint.peek(handle) else { return };
        while let Some(t) = c.poll_transmit(now, &mut self.buffer) {
            let FourTuple { local, remote } = t.addresses;
            let ecn = if t.ecn.is_some() { PacketEcn::Ect0 } else { PacketEcn::NotEct };
            for data in self.buffer[..t.len].chunks(t.segment.max(1)) {
                out.send(Packet::datagram(local, remote, ecn, data.to_vec()));
            }
        }
        if let Some(path) = c.path(0) {
            self.end = Some(End { connection: c.stats(), path: path.stats() });
        }
        self.endpoint.settle(now, handle);
    }
}

impl Host for Peer {
    /// Packets that are alike come as one GRO train.
    fn receive(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        let mut rest = packets.as_slice();
        while let Some(first) = rest.first() {
            let alike = |p: &&Packet| (p.ecn, p.bytes.len()) == (first.ecn, first.bytes.len());
            let run = rest.iter().take(64).take_while(alike).count();
            let (train, later) = rest.split_at(run);
            let mut slot: Vec<u8> = train.iter().flat_map(|p| &p.bytes).copied().collect();
            let addresses = FourTuple { local: first.to, remote: first.from };
            let ecn = match first.ecn {
                PacketEcn::NotEct => None,
                PacketEcn::Ect1 => Some(Ecn::Ect1),
                PacketEcn::Ect0 => Some(Ecn::Ect0),
                PacketEcn::Ce => Some(Ecn::Ce),
            };
            let stride = first.bytes.len();
            self.endpoint.receive(now, addresses, ecn, (&mut slot, stride), &mut self.replies);
            rest = later;
        }
    }

    fn timeout(&mut self, now: Instant) {
        self.endpoint.on_timeout(now);
    }

    fn transmit(&mut self, now: Instant, out: &mut Outbox) {
        for Reply { addresses, data } in self.replies.drain(..) {
            let packet =
                Packet::datagram(addresses.local, addresses.remote, PacketEcn::NotEct, data);
            out.send(packet);
        }
        while self.endpoint.poll_accepted().is_some() {}
        while let Some(handle) = self.endpoint.poll_dirty() {
            self.drive(now, handle, out);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.endpoint.timeout()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_arrives_and_the_same_seed_takes_the_same_course() {
        let transfer = Transfer::new(1, 1 << 20);
        let (once, again) = (transfer.run().unwrap(), transfer.run().unwrap());
        assert_eq!(once.received, 1 << 20);
        assert_eq!(once.client.path.lost_packets, 0);
        assert_eq!(once.time, again.time);
        assert_eq!(once.client.connection, again.client.connection);
        assert!(once.client.connection.bytes_sent > 1 << 20);
    }
}
