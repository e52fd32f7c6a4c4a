//! The server and the client over real sockets on loopback.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tquic_core::config::{AcceptConfig, TransportConfig};
use tquic_crypto::{ClientConfig, ServerConfig, TicketStore};

use super::testing::Folder;
use super::*;
use crate::{ConnectRequest, Engine, EngineConfig, ListenRequest};

const PATIENCE: Duration = Duration::from_secs(60);

struct Scene {
    folder: Folder,
    server: Server,
    engine: Arc<Engine>,
    tls: ClientConfig,
    tickets: TicketStore,
}

impl Scene {
    fn new() -> Self {
        Self::with(TransportConfig::default())
    }

    fn with(transport: TransportConfig) -> Self {
        let folder = Folder::new();
        let www = folder.path().join("www");
        fs::create_dir_all(&www).unwrap();
        fs::create_dir_all(folder.path().join("downloads")).unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let tls = ServerConfig::builder()
            .certificate(certificate.as_bytes(), key.as_bytes())
            .and_then(|b| b.alpn(&[ALPN]).early_data(true).build())
            .unwrap();
        let tickets = TicketStore::default();
        let client = ClientConfig::builder()
            .roots(certificate.as_bytes())
            .and_then(|b| b.alpn(&[ALPN]).early_data(true).tickets(Some(tickets.clone())).build())
            .unwrap();
        let engine = Arc::new(Engine::new(EngineConfig::default()).unwrap());
        let accept = AcceptConfig::new(Arc::new(tls), Arc::new(transport));
        let request = ListenRequest::new((Ipv4Addr::LOCALHOST, 0).into(), accept);
        let root = Root::open(&www).unwrap();
        let server = Server::start(engine.clone(), &request, root).unwrap();
        Self { folder, server, engine, tls: client, tickets }
    }

    fn put(&self, name: &str, size: usize) -> Vec<u8> {
        let content: Vec<u8> = (0..size).map(|i| ((i * 31) >> 5) as u8 ^ i as u8).collect();
        fs::write(self.folder.path().join("www").join(name), &content).unwrap();
        content
    }

    fn download(&self, name: &str) -> PathBuf {
        self.folder.path().join("downloads").join(name)
    }

    fn address(&self) -> SocketAddr {
        self.server.listening().addresses[0]
    }

    fn setup(&self, files: Vec<Get>) -> FetchSetup {
        let address = self.address();
        FetchSetup {
            request: ConnectRequest::new(address, "localhost", Arc::new(self.tls.clone())),
            addresses: vec![address],
            files,
            parallel: 64,
            update_keys: false,
            await_ticket: None,
        }
    }

    fn start(&self, setup: FetchSetup) -> Fetch {
        Fetch::start(self.engine.clone(), setup).unwrap()
    }

    fn fetch(&self, setup: FetchSetup) -> (Vec<FileResult>, Ending) {
        let fetch = self.start(setup);
        assert!(fetch.wait(PATIENCE), "{:?}", fetch.progress());
        let results = fetch.results().into_iter().map(Option::unwrap).collect();
        (results, fetch.ending().unwrap())
    }

    fn get(&self, name: &str) -> Get {
        Get {
            path: format!("/{name}"),
            target: Target::File(self.download(name)),
            sha256: None,
            origin: None,
        }
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().try_into().unwrap()
}

#[test]
fn files_of_all_sizes_arrive_whole() {
    let scene = Scene::new();
    let sizes = [0, 1, 1199, 64 * 1024, 64 * 1024 + 1, 3_000_000];
    let wanted: Vec<_> = sizes.map(|n| (format!("f{n}"), scene.put(&format!("f{n}"), n))).into();
    let files = wanted
        .iter()
        .map(|(name, content)| Get { sha256: Some(sha256(content)), ..scene.get(name) });
    let (results, ending) = scene.fetch(scene.setup(files.collect()));
    for (result, (name, content)) in results.iter().zip(&wanted) {
        assert_eq!(result.error, None, "{name}");
        assert_eq!(result.bytes, content.len() as u64);
        assert_eq!(result.digest, Some(sha256(content)));
        assert_eq!(&fs::read(scene.download(name)).unwrap(), content);
    }
    assert!(ending.error.is_clean(), "{}", ending.error);
    assert!(ending.handshake.is_some());
    assert_eq!(fs::read_dir(scene.folder.path().join("downloads")).unwrap().count(), sizes.len());
}

#[test]
fn more_files_than_streams() {
    let scene = Scene::new();
    let names: Vec<String> = (0..600).map(|i| format!("n{i}")).collect();
    names.iter().for_each(|name| drop(scene.put(name, 32)));
    let setup = scene.setup(names.iter().map(|n| scene.get(n)).collect());
    let (results, _) = scene.fetch(FetchSetup { parallel: 1000, ..setup });
    assert!(results.iter().all(|r| r.error.is_none() && r.bytes == 32));
    assert!(scene.server.drain(PATIENCE));
    let stats = scene.server.stats();
    assert_eq!(
        (stats.requests, stats.completed, stats.failed, stats.connections),
        (600, 600, 0, 0)
    );
    assert_eq!(stats.bytes, 600 * 32);
}

#[test]
fn what_is_missing_forbidden_or_wrong_fails_alone() {
    let scene = Scene::new();
    scene.put("good", 5000);
    fs::write(scene.folder.path().join("secret"), "secret").unwrap();
    let get = |path: &str| Get { path: path.to_owned(), ..scene.get("x") };
    let unwritable = Target::File(scene.folder.path().join("no/such/folder"));
    let files = vec![
        Get { target: Target::Nowhere, ..get("/missing") },
        Get { target: Target::Nowhere, ..get("/../secret") },
        Get { target: Target::Nowhere, ..get("/%2e%2e%2fsecret") },
        Get { target: Target::Nowhere, ..get("/%zz") },
        Get { target: unwritable, ..get("/good") },
        Get { sha256: Some([0; 32]), ..scene.get("good") },
        Get { target: Target::Nowhere, ..get("/good") },
    ];
    let (results, ending) = scene.fetch(scene.setup(files));
    let errors: Vec<&str> = results.iter().map(|r| r.error.as_deref().unwrap_or("")).collect();
    for (error, part) in errors.iter().zip([
        "no such file",
        "refuses this path",
        "refuses this path",
        "does not understand",
        "cannot be made",
        "SHA-256 is",
    ]) {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(errors[6], "");
    assert!(ending.error.is_clean());
    assert_eq!(fs::read_dir(scene.folder.path().join("downloads")).unwrap().count(), 0);
}

#[test]
fn a_slow_reader_holds_the_server_back_and_loses_nothing() {
    let scene = Scene::new();
    let content = scene.put("big", 12_000_000);
    let pipe = Arc::new(Pipe::default());
    let target = Target::Pipe(pipe.clone());
    let sha256 = Some(sha256(&content));
    let fetch = scene.start(scene.setup(vec![Get { target, sha256, ..scene.get("big") }]));
    std::thread::sleep(Duration::from_millis(300));
    let (before, _) = fetch.progress();
    assert!(before < 5 << 20, "{before} bytes without a reader");
    let mut got = Vec::new();
    loop {
        match pipe.read(PATIENCE) {
            Piece::Data(piece) => got.extend_from_slice(&piece),
            Piece::End => break,
            Piece::Nothing => panic!("stalled at {}", got.len()),
        }
    }
    assert!(got == content, "{} bytes", got.len());
    assert!(fetch.wait(PATIENCE));
    assert_eq!(fetch.results()[0].as_ref().unwrap().error, None);
}

#[test]
fn a_reader_that_leaves_ends_the_file() {
    let scene = Scene::new();
    scene.put("big", 12_000_000);
    let pipe = Arc::new(Pipe::default());
    let get = Get { target: Target::Pipe(pipe.clone()), ..scene.get("big") };
    let fetch = scene.start(scene.setup(vec![get]));
    assert!(matches!(pipe.read(PATIENCE), Piece::Data(_)));
    pipe.abandon();
    assert!(fetch.wait(PATIENCE));
    let error = fetch.results()[0].clone().unwrap().error.unwrap();
    assert_eq!(error, "the output was closed");
}

#[test]
fn a_cancelled_fetch_leaves_a_partial_file_and_no_whole_one() {
    let scene = Scene::new();
    scene.put("big", 64_000_000);
    let fetch = scene.start(scene.setup(vec![scene.get("big")]));
    while fetch.progress().0 == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    fetch.cancel();
    assert!(fetch.wait(PATIENCE));
    let result = fetch.results()[0].clone().unwrap();
    assert!(result.error.is_some() && result.bytes < 64_000_000, "{result:?}");
    assert!(!scene.download("big").exists());
    assert!(scene.download("big.part").exists());
    assert!(scene.server.drain(PATIENCE));
    assert_eq!(scene.server.stats().failed, 1);
}

#[test]
fn early_data_asks_for_files() {
    let scene = Scene::new();
    scene.put("a", 100);
    scene.put("b", 100);
    let first = scene.setup(vec![scene.get("a")]);
    let (_, ending) =
        scene.fetch(FetchSetup { await_ticket: Some(scene.tickets.clone()), ..first });
    assert!(!ending.session.resumed);
    let (results, ending) = scene.fetch(scene.setup(vec![scene.get("b")]));
    assert_eq!(results[0].error, None);
    assert!(ending.session.resumed && ending.session.early, "{:?}", ending.session);
    assert!(ending.snapshot.connection.zero_rtt_bytes > 0);
}

#[test]
fn keys_are_updated_on_demand() {
    let scene = Scene::new();
    scene.put("a", 3_000_000);
    let setup = scene.setup(vec![scene.get("a")]);
    let (results, ending) = scene.fetch(FetchSetup { update_keys: true, ..setup });
    assert_eq!(results[0].error, None);
    assert!(ending.snapshot.connection.key_updates > 0);
}

#[test]
fn the_next_address_is_tried() {
    let scene = Scene::new();
    scene.put("a", 10);
    // A socket that answers nothing.
    let silent = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let setup = scene.setup(vec![scene.get("a")]);
    let addresses = vec![silent.local_addr().unwrap(), scene.address()];
    let (results, ending) = scene.fetch(FetchSetup { addresses, ..setup });
    assert_eq!(results[0].error, None);
    assert_eq!(ending.remote, scene.address());
}

#[test]
fn nobody_there_is_an_error_in_time() {
    let scene = Scene::new();
    let silent = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut setup = scene.setup(vec![scene.get("a")]);
    setup.addresses = vec![silent.local_addr().unwrap()];
    let patience = Duration::from_millis(500);
    setup.request.transport =
        Arc::new(TransportConfig { handshake_timeout: patience, ..TransportConfig::default() });
    let (results, ending) = scene.fetch(setup);
    assert!(results[0].error.as_ref().unwrap().contains("handshake did not complete"));
    assert_eq!(ending.error, tquic_core::events::ConnectionError::HandshakeTimeout);
}

#[test]
fn the_engine_may_end_first() {
    let scene = Scene::new();
    scene.put("big", 64_000_000);
    let fetch = scene.start(scene.setup(vec![scene.get("big")]));
    while fetch.progress().0 == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    scene.engine.shutdown(Duration::ZERO, 0, b"");
    assert!(fetch.wait(PATIENCE));
    assert!(fetch.results()[0].as_ref().unwrap().error.is_some());
}
