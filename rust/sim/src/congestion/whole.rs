//! Whole connections in the place of sender and receiver: TLS, frames, streams and flow control with
//! bytes that are encrypted, on the same links.

use super::world::FlowState;
use crate::packet::{Ecn as PacketEcn, Packet};
use crate::random::stream;
use crate::simulation::Outbox;
use crate::trial::plan::TlsPlan;
use crate::trial::tls::Tls;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use tquic_core::cc::Congestion;
use tquic_core::config::{AcceptConfig, EndpointConfig, TransportConfig};
use tquic_core::connection::ClientSetup;
use tquic_core::endpoint::{EndpointSecrets, Reply};
use tquic_core::events::Event;
use tquic_core::path::{Ecn, FourTuple};
use tquic_core::stream::StreamEvent;
use tquic_core::time::Instant;
use tquic_core::{Connection, ConnectionHandle, Endpoint};
use tquic_wire::{Direction, Side, StreamId};

/// What is written at a time.
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
/// The receive windows: more than any scenario's window.
const WINDOW: u64 = 1 << 30;

/// One end of a connection over which the client sends without end.
pub struct Whole {
    side: Side,
    endpoint: Endpoint,
    /// A client that has not begun yet.
    setup: Option<(Instant, ClientSetup)>,
    connection: Option<ConnectionHandle>,
    stream: Option<StreamId>,
    /// Bytes of UDP payload received.
    received: u64,
    /// How the connection stood when it was last driven.
    state: FlowState,
    buffer: Vec<u8>,
    replies: Vec<Reply>,
}

impl Whole {
    /// The sending end, at `ends.0`.
    pub fn client(
        ends: (SocketAddr, SocketAddr),
        transport: TransportConfig,
        start: Instant,
        seed: u64,
    ) -> Self {
        let setup = ClientSetup {
            transport: Arc::new(transport),
            tls: Tls::new(&TlsPlan::default()).client,
            server_name: "localhost".to_owned(),
            token: Vec::new(),
            addresses: FourTuple { local: ends.0, remote: ends.1 },
        };
        Self::new(Side::Client, Some((start, setup)), None, seed)
    }

    /// The receiving end.
    pub fn server(transport: TransportConfig, seed: u64) -> Self {
        let accept = AcceptConfig::new(Tls::new(&TlsPlan::default()).server, Arc::new(transport));
        Self::new(Side::Server, None, Some(accept), seed)
    }

    fn new(
        side: Side,
        setup: Option<(Instant, ClientSetup)>,
        accept: Option<AcceptConfig>,
        seed: u64,
    ) -> Self {
        let mut rng = stream(seed, "whole", side as u64);
        let secrets = EndpointSecrets {
            reset: rng.array(),
            token: rng.array(),
            seed: rng.array(),
            unix_epoch: 1_700_000_000,
        };
        Self {
            side,
            endpoint: Endpoint::new(EndpointConfig::default(), accept, &secrets),
            setup,
            connection: None,
            stream: None,
            received: 0,
            state: FlowState::default(),
            buffer: vec![0; 1 << 16],
            replies: Vec::new(),
        }
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// How its connection stands.
    pub fn state(&self) -> FlowState {
        self.state
    }

    /// Datagrams arrived.
    pub fn receive(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        for mut packet in packets.drain(..) {
            let addresses = FourTuple { local: packet.to, remote: packet.from };
            let ecn = Ecn::from_bits(packet.ecn.as_tos());
            let stride = packet.bytes.len().max(1);
            let slot = (packet.bytes.as_mut_slice(), stride);
            self.endpoint.receive(now, addresses, ecn, slot, &mut self.replies);
        }
        // Nothing here needs a stateless answer.
        self.replies.clear();
    }

    /// A timer fired.
    pub fn timeout(&mut self, now: Instant) {
        if self.endpoint.timeout().is_some_and(|at| at <= now) {
            self.endpoint.on_timeout(now);
        }
    }

    /// Hands over what it wants to send.
    pub fn transmit(&mut self, now: Instant, out: &mut Outbox) {
        if let Some((_, setup)) = self.setup.take_if(|(start, _)| *start <= now) {
            self.connection = self.endpoint.connect(now, setup).ok();
        }
        while let Some(handle) = self.endpoint.poll_accepted() {
            self.connection = Some(handle);
        }
        while let Some(handle) = self.endpoint.poll_dirty() {
            self.drive(now, handle, out);
        }
    }

    /// When it wants to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        let start = self.setup.as_ref().map(|(start, _)| *start);
        self.endpoint.timeout().into_iter().chain(start).min()
    }

    fn drive(&mut self, now: Instant, handle: ConnectionHandle, out: &mut Outbox) {
        let Some(c) = self.endpoint.peek(handle) else { return };
        let mut write = false;
        while let Some(event) = c.poll_event() {
            match event {
                Event::Connected if self.side == Side::Client => {
                    self.stream = c.streams().open(Direction::Unidirectional);
                    write = true;
                }
                Event::Stream(StreamEvent::Writable { .. }) => write = true,
                Event::Stream(StreamEvent::Readable { id }) => read(c, id),
                _ => {}
            }
        }
        if let Some(id) = self.stream.filter(|_| write) {
            while c.streams().write(id, Bytes::from_static(&ZEROS)).is_ok() {}
        }
        while let Some(t) = c.poll_transmit(now, &mut self.buffer) {
            for data in self.buffer[..t.len].chunks(t.segment.max(1)) {
                let (from, to) = (t.addresses.local, t.addresses.remote);
                let ecn = t.ecn.map_or(PacketEcn::NotEct, |ecn| PacketEcn::from_tos(ecn as u8));
                out.send(Packet::datagram(from, to, ecn, data.to_vec()));
            }
        }
        self.received = c.stats().bytes_received;
        if let Some(path) = c.path(0) {
            self.state = FlowState::of(&path.recovery);
        }
        self.endpoint.settle(now, handle);
    }
}

/// Takes what there is and throws it away.
fn read(c: &mut Connection, id: StreamId) {
    while let Ok(Some(_)) = c.streams().read(id, usize::MAX) {}
}

/// The settings of both ends for packets of `packet` bytes.
pub fn transport(congestion: Congestion, packet: u16, ecn: bool) -> TransportConfig {
    let mut transport = TransportConfig { max_udp_payload: packet, ecn, ..Default::default() };
    transport.recovery.congestion = congestion;
    transport.streams.stream_window = WINDOW;
    transport.streams.max_stream_window = WINDOW;
    transport.streams.connection_window = WINDOW;
    transport.streams.max_connection_window = WINDOW;
    transport.streams.send_buffer = WINDOW / 64;
    transport
}
