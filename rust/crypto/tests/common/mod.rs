//! Certificates and a wire without packets, for the tests of sessions.
#![allow(dead_code, reason = "every test file uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "support of tests only")]

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use tquic_crypto::session::{ClientConfigBuilder, ServerConfigBuilder};
use tquic_crypto::{
    ClientConfig, KeyChange, Keys, Level, ServerConfig, Session, TlsError, UpdateSecrets,
};
use tquic_wire::Version;

/// The time of all tests: 2025-06-01.
pub const NOW: u64 = 1_748_736_000;

pub const NAME: &str = "server.example";

/// A certificate and its key, as PEM.
pub struct Identity {
    pub chain: String,
    pub key: String,
}

/// A certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2026, 1, 1);
    params
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn der(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    pub fn server(&self, names: &[&str]) -> Identity {
        self.issue(names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub fn client(&self, name: &str) -> Identity {
        self.issue(&[name], ExtendedKeyUsagePurpose::ClientAuth)
    }

    pub fn issue(&self, names: &[&str], purpose: ExtendedKeyUsagePurpose) -> Identity {
        let mut params = params(names);
        params.extended_key_usages.push(purpose);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A self-signed certificate, which also says that it is a CA, as `openssl req -x509` makes it.
pub fn self_signed_ca(names: &[&str]) -> Identity {
    let mut params = params(names);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Identity { chain: certificate.pem(), key: key.serialize_pem() }
}

/// A client that trusts `ca`.
pub fn client(ca: &Authority) -> ClientConfigBuilder {
    ClientConfig::builder()
        .roots(ca.pem().as_bytes())
        .unwrap()
        .alpn(&["h3"])
        .clock(std::sync::Arc::new(|| NOW))
}

/// A server with a certificate of `ca` for [`NAME`].
pub fn server(ca: &Authority) -> ServerConfigBuilder {
    let identity = ca.server(&[NAME]);
    ServerConfig::builder()
        .certificate(identity.chain.as_bytes(), identity.key.as_bytes())
        .unwrap()
        .alpn(&["h3"])
        .clock(std::sync::Arc::new(|| NOW))
}

/// One end: the session and the keys it gave.
pub struct End {
    pub session: Session,
    pub handshake: Option<Keys>,
    pub one_rtt: Option<Keys>,
    pub updates: Option<UpdateSecrets>,
}

impl End {
    pub fn new(session: Session) -> Self {
        Self { session, handshake: None, one_rtt: None, updates: None }
    }

    /// Everything that the session has to send, by level.
    pub fn flight(&mut self) -> Vec<(Level, Vec<u8>)> {
        let mut flight = Vec::new();
        loop {
            let level = self.session.write_level();
            let mut bytes = Vec::new();
            let change = self.session.write(&mut bytes);
            let done = change.is_none() && bytes.is_empty();
            if !bytes.is_empty() {
                flight.push((level, bytes));
            }
            match change {
                Some(KeyChange::Handshake(keys)) => {
                    assert_eq!(self.session.write_level(), Level::Handshake);
                    assert!(self.handshake.replace(keys).is_none());
                }
                Some(KeyChange::OneRtt(keys, updates)) => {
                    assert_eq!(self.session.write_level(), Level::OneRtt);
                    assert!(self.one_rtt.replace(keys).is_none());
                    assert!(self.updates.replace(updates).is_none());
                }
                None => {}
            }
            if done {
                return flight;
            }
        }
    }
}

/// Which end failed, and how.
#[derive(Debug)]
pub enum Failure {
    Client(TlsError),
    Server(TlsError),
}

impl Failure {
    pub fn client(self) -> TlsError {
        match self {
            Self::Client(error) => error,
            Self::Server(error) => panic!("the server failed: {error}"),
        }
    }

    pub fn server(self) -> TlsError {
        match self {
            Self::Server(error) => error,
            Self::Client(error) => panic!("the client failed: {error}"),
        }
    }
}

/// A connection in memory.
pub struct Pair {
    pub client: End,
    pub server: End,
}

impl Pair {
    pub fn new(client: &ClientConfig, server: &ServerConfig) -> Self {
        Self::of_version(client, server, Version::V1)
    }

    pub fn of_version(client: &ClientConfig, server: &ServerConfig, version: Version) -> Self {
        let client = Session::client(client, version, NAME, b"client parameters".to_vec()).unwrap();
        let server = Session::server(server, version, b"server parameters".to_vec()).unwrap();
        Self { client: End::new(client), server: End::new(server) }
    }

    /// Carries CRYPTO bytes in pieces of `size` until nobody has any more.
    pub fn run_in_pieces(&mut self, size: usize) -> Result<(), Failure> {
        loop {
            let flight = self.client.flight();
            let mut idle = flight.is_empty();
            for (_, bytes) in flight {
                for piece in bytes.chunks(size) {
                    self.server.session.read(piece).map_err(Failure::Server)?;
                }
            }
            let flight = self.server.flight();
            idle &= flight.is_empty();
            for (_, bytes) in flight {
                for piece in bytes.chunks(size) {
                    self.client.session.read(piece).map_err(Failure::Client)?;
                }
            }
            if idle {
                return Ok(());
            }
        }
    }

    pub fn run(&mut self) -> Result<(), Failure> {
        self.run_in_pieces(usize::MAX)
    }

    /// A whole handshake and an exchange of packets, which must succeed.
    pub fn connected(client: &ClientConfig, server: &ServerConfig) -> Self {
        let mut pair = Self::new(client, server);
        pair.run().unwrap();
        pair.check_packets();
        pair
    }

    /// Both sides can read each other's packets at every level.
    pub fn check_packets(&self) {
        for (client, server) in [
            (&self.client.handshake, &self.server.handshake),
            (&self.client.one_rtt, &self.server.one_rtt),
        ] {
            let (client, server) = (client.as_ref().unwrap(), server.as_ref().unwrap());
            check_direction(&client.local, &server.remote);
            check_direction(&server.local, &client.remote);
        }
        assert!(!self.client.session.is_handshaking());
        assert!(!self.server.session.is_handshaking());
    }
}

/// A packet sealed with `local` opens with `remote`, and the header masks are the same.
pub fn check_direction(local: &tquic_crypto::DirectionKeys, remote: &tquic_crypto::DirectionKeys) {
    assert_eq!(local.header.mask(&[7; 16]), remote.header.mask(&[7; 16]));
    check_packet_keys(&local.packet, &remote.packet);
}

pub fn check_packet_keys(local: &tquic_crypto::PacketKey, remote: &tquic_crypto::PacketKey) {
    let mut packet = b"header, room for the text and tag".to_vec();
    packet.resize(7 + 11 + 16, 0);
    local.seal(2, 77, &mut packet, 7, b"hello world");
    assert_eq!(remote.open(2, 77, &mut packet, 7).as_deref(), Some(&b"hello world"[..]));
}
