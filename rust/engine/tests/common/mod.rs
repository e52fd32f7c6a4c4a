//! Engines with certificates, over loopback.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test double fails by panicking")]
#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tquic_core::config::{AcceptConfig, TransportConfig};
use tquic_crypto::session::{Group, TicketStore};
use tquic_crypto::{ClientConfig, ServerConfig};
use tquic_engine::perf::{self, ServerCounters};
use tquic_engine::{Acceptor, ConnectRequest, Engine, EngineConfig, ListenRequest, Listening, Log};

/// Longer than anything takes here; only a failure waits for it.
pub const LONG: Duration = Duration::from_secs(30);

/// Certificate and key of "localhost".
pub struct Identity {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Identity {
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self {
            certificate: made.cert.der().to_vec(),
            key: made.signing_key.serialize_pem().into_bytes(),
        }
    }

    pub fn accept(&self, transport: TransportConfig) -> AcceptConfig {
        let tls = ServerConfig::builder()
            .certificate(&self.certificate, &self.key)
            .unwrap()
            .alpn(&[perf::ALPN])
            .early_data(true)
            .build()
            .unwrap();
        AcceptConfig::new(Arc::new(tls), Arc::new(transport))
    }

    pub fn request(&self, to: SocketAddr, tickets: Option<TicketStore>) -> ConnectRequest {
        let tls = ClientConfig::builder()
            .roots(&self.certificate)
            .unwrap()
            .alpn(&[perf::ALPN])
            .groups(&[Group::X25519])
            .early_data(tickets.is_some())
            .tickets(tickets)
            .build()
            .unwrap();
        ConnectRequest::new(to, "localhost", Arc::new(tls))
    }
}

pub fn log() -> (Log, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    (Arc::new(move |line: &str| sink.lock().unwrap().push(line.to_owned())), lines)
}

pub fn engine(shards: usize) -> Engine {
    Engine::new(EngineConfig { shards, ..EngineConfig::default() }).unwrap()
}

/// A listener of `engine`.
pub fn listen(
    engine: &Engine,
    identity: &Identity,
    address: &str,
    acceptor: Acceptor,
) -> Listening {
    let accept = identity.accept(TransportConfig::default());
    let request = ListenRequest::new(address.parse().unwrap(), accept);
    engine.listen(&request, acceptor).unwrap()
}

/// A perf server.
pub struct Server {
    pub engine: Engine,
    pub identity: Identity,
    pub counters: Arc<ServerCounters>,
    pub listening: Listening,
}

impl Server {
    pub fn new(shards: usize, address: &str) -> Self {
        let (engine, identity) = (engine(shards), Identity::new());
        let counters = Arc::<ServerCounters>::default();
        let acceptor = perf::Server::acceptor(counters.clone());
        let listening = listen(&engine, &identity, address, acceptor);
        Self { engine, identity, counters, listening }
    }

    pub fn address(&self) -> SocketAddr {
        self.listening.addresses[0]
    }
}
