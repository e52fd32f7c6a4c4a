//! The engine and the rogue, face to face in virtual time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tquic_core::config::{AcceptConfig, EndpointConfig, TransportConfig};
use tquic_core::connection::ClientSetup;
use tquic_core::endpoint::{EndpointSecrets, Reply};
use tquic_core::events::Event;
use tquic_core::path::FourTuple;
use tquic_core::time::Instant;
use tquic_core::{Connection, ConnectionHandle, Endpoint};
use tquic_crypto::Level;
use tquic_wire::{Direction, Frame, Side, StreamId};

use super::{Closed, Draft, Rogue, Script, bytes};

pub const LEVELS: [Level; 3] = [Level::Initial, Level::Handshake, Level::OneRtt];

/// A datagram that the engine sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub at: Instant,
    pub addresses: FourTuple,
    pub data: Vec<u8>,
}

/// Both, with a wire of no delay between them.
pub struct Arena {
    pub now: Instant,
    /// Which side the engine plays.
    pub under: Side,
    pub endpoint: Endpoint,
    pub handle: Option<ConnectionHandle>,
    pub events: Vec<Event>,
    pub rogue: Option<Rogue>,
    pub script: Script,
    pub engine_at: SocketAddr,
    pub rogue_at: SocketAddr,
    /// Everything that the engine sent.
    pub sent: Vec<Sent>,
    /// Bytes that the rogue sent.
    pub given: u64,
    transport: Arc<TransportConfig>,
    buf: Vec<u8>,
}

/// Settings of the engine for tests: no probes of its own that would blur what a test looks at.
pub fn quiet() -> TransportConfig {
    TransportConfig {
        mtu_discovery: false,
        grease: false,
        ecn: false,
        ..TransportConfig::default()
    }
}

impl Arena {
    /// The engine as `under`, with quiet settings.
    pub fn new(under: Side) -> Self {
        Self::with(under, quiet(), |a| a)
    }

    pub fn with(
        under: Side,
        transport: TransportConfig,
        accept: impl FnOnce(AcceptConfig) -> AcceptConfig,
    ) -> Self {
        let script = Script::default();
        let transport = Arc::new(transport);
        let accept = (under == Side::Server)
            .then(|| accept(AcceptConfig::new(script.server_tls.clone(), transport.clone())));
        let secrets = EndpointSecrets {
            reset: [1; 32],
            token: [2; 32],
            seed: [3; 32],
            unix_epoch: 1_700_000_000,
        };
        Self {
            now: Instant::from_nanos(1_000_000_000),
            under,
            endpoint: Endpoint::new(EndpointConfig::default(), accept, &secrets),
            handle: None,
            events: Vec::new(),
            rogue: None,
            script,
            engine_at: "192.0.2.1:4433".parse().unwrap(),
            rogue_at: "192.0.2.66:6666".parse().unwrap(),
            sent: Vec::new(),
            given: 0,
            transport,
            buf: vec![0; 65_536],
        }
    }

    pub fn rogue(&mut self) -> &mut Rogue {
        self.rogue.as_mut().expect("nobody has spoken yet")
    }

    pub fn connection(&mut self) -> &mut Connection {
        let handle = self.handle.expect("no connection");
        self.endpoint.connection(handle).expect("the connection is gone")
    }

    /// Gives the engine a datagram; what it answers reaches the rogue.
    pub fn deliver(&mut self, datagram: &[u8]) {
        let from = self.rogue_at;
        self.deliver_from(from, datagram);
    }

    /// The same, from another address.
    pub fn deliver_from(&mut self, from: SocketAddr, datagram: &[u8]) {
        self.given += datagram.len() as u64;
        let mut data = datagram.to_vec();
        let len = data.len().max(1);
        let addresses = FourTuple { local: self.engine_at, remote: from };
        let mut replies: Vec<Reply> = Vec::new();
        self.endpoint.receive(self.now, addresses, None, (&mut data, len), &mut replies);
        for Reply { addresses, data } in replies {
            if let Some(rogue) = &mut self.rogue {
                rogue.receive(addresses.remote, &data);
            }
            self.sent.push(Sent { at: self.now, addresses, data });
        }
        self.pump();
    }

    /// Lets the engine send all it has to say now.
    pub fn pump(&mut self) {
        while let Some(handle) = self.endpoint.poll_accepted() {
            self.handle = Some(handle);
        }
        let from = self.sent.len();
        while let Some(handle) = self.endpoint.poll_dirty() {
            let Some(c) = self.endpoint.peek(handle) else { continue };
            while let Some(e) = c.poll_event() {
                self.events.push(e);
            }
            while let Some(t) = c.poll_transmit(self.now, &mut self.buf) {
                for data in self.buf[..t.len].chunks(t.segment) {
                    let (at, data) = (self.now, data.to_vec());
                    self.sent.push(Sent { at, addresses: t.addresses, data });
                }
            }
            while let Some(e) = c.poll_event() {
                self.events.push(e);
            }
            self.endpoint.settle(self.now, handle);
        }
        for i in from..self.sent.len() {
            let Sent { data, addresses, .. } = &self.sent[i];
            let to = addresses.remote;
            match &mut self.rogue {
                Some(rogue) => rogue.receive(to, data),
                None if self.under == Side::Client => {
                    self.rogue = Rogue::server(&mut self.script, data);
                    if let Some(rogue) = &mut self.rogue {
                        rogue.receive(to, data);
                    }
                }
                None => {}
            }
        }
    }

    /// The first flight of whoever is the client.
    pub fn begin(&mut self) {
        match self.under {
            Side::Server => self.rogue = Some(Rogue::client(&mut self.script)),
            Side::Client => {
                let setup = ClientSetup {
                    transport: self.transport.clone(),
                    tls: self.script.client_tls.clone(),
                    server_name: "localhost".to_owned(),
                    token: Vec::new(),
                    addresses: FourTuple { local: self.engine_at, remote: self.rogue_at },
                };
                self.handle = Some(self.endpoint.connect(self.now, setup).unwrap());
                self.pump();
            }
        }
    }

    /// The rogue sends what TLS and its acknowledgements ask for at these levels.
    pub fn flush(&mut self, levels: &[Level]) {
        while let Some(rogue) = &mut self.rogue {
            let flight = rogue.flight(levels);
            if flight.is_empty() {
                return;
            }
            for datagram in flight {
                self.deliver(&datagram);
            }
        }
    }

    /// The handshake as far as both have Handshake keys and neither is done.
    pub fn half_handshake(&mut self) {
        self.begin();
        self.flush(&[Level::Initial]);
        assert!(self.rogue().can_send(Level::Handshake), "no Handshake keys");
    }

    /// Everything that the rules ask for until the handshake is confirmed, or fails.
    pub fn try_handshake(&mut self) {
        if self.rogue.is_none() {
            self.begin();
        }
        self.flush(&LEVELS);
        if self.under == Side::Client && self.rogue.as_ref().is_some_and(Rogue::is_complete) {
            self.send(&[Frame::HandshakeDone]);
        }
        self.flush(&LEVELS);
    }

    /// A whole handshake.
    pub fn handshake(&mut self) {
        self.try_handshake();
        assert_eq!(self.closed(), None);
        assert!(self.connection().handshake().is_confirmed(), "no handshake");
    }

    /// Frames in one 1-RTT packet.
    pub fn send(&mut self, frames: &[Frame<'_>]) {
        self.send_at(Level::OneRtt, &bytes(frames));
    }

    /// A payload at a level.
    pub fn send_at(&mut self, level: Level, payload: &[u8]) {
        self.send_draft(Draft::new(level, payload.to_vec()));
    }

    pub fn send_draft(&mut self, draft: Draft) {
        let datagram = self.rogue().seal(draft);
        self.deliver(&datagram);
    }

    /// Why the engine closed, as far as the peer was told.
    pub fn closed(&self) -> Option<Closed> {
        self.rogue.as_ref().and_then(Rogue::closed)
    }

    /// Passes time; timers fire when they are due. The engine must not ask to be woken again and
    /// again at the same instant.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        let mut spins = 0;
        while let Some(at) = self.endpoint.timeout().filter(|at| *at <= end) {
            spins = if at > self.now { 0 } else { spins + 1 };
            assert!(
                spins < 100,
                "the engine wants to be woken at {at:?} for ever: {}",
                self.timers()
            );
            self.now = self.now.max(at);
            self.endpoint.on_timeout(self.now);
            self.pump();
        }
        self.now = end;
    }

    fn timers(&mut self) -> String {
        let handle = self.handle.and_then(|h| self.endpoint.peek(h).map(|c| c.describe_timers()));
        handle.unwrap_or_default()
    }

    /// A stream of the rogue's.
    pub fn theirs(&self, dir: Direction, index: u64) -> StreamId {
        StreamId::new(self.under.opposite(), dir, index)
    }

    /// A stream of the engine's.
    pub fn ours(&self, dir: Direction, index: u64) -> StreamId {
        StreamId::new(self.under, dir, index)
    }
}
