//! A peer that breaks rules: it completes real handshakes with the TLS session and the packet keys
//! directly, and then seals whatever frames a test wants. It shares no decision with the engine: it
//! has no flow control, no loss recovery, no limits and no state machine.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test double fails by panicking")]

pub mod arena;
mod packet;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use tquic_crypto::session::{ClientConfigBuilder, Group, ServerConfigBuilder};
use tquic_crypto::{
    ClientConfig, DirectionKeys, KeyChange, Keys, Level, PacketKey, ServerConfig, Session,
    TicketStore, UpdateSecrets, initial_keys,
};
use tquic_wire::frame::{ack, next_frame};
use tquic_wire::{
    ConnectionId, Frame, Reader, Side, TransportErrorCode, TransportParameters, Version, Writer,
};

pub use packet::{Draft, space_of};

/// Bytes of CRYPTO data that go into one packet.
const CRYPTO_CHUNK: usize = 1000;

/// A certificate for `localhost` and its key, PEM; signed by itself.
fn identity() -> &'static (String, String) {
    static IDENTITY: OnceLock<(String, String)> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    })
}

/// TLS of a server, whoever plays it.
pub fn server_tls() -> ServerConfigBuilder {
    let (cert, key) = identity();
    let builder = ServerConfig::builder().certificate(cert.as_bytes(), key.as_bytes()).unwrap();
    builder.alpn(&["test"]).groups(&[Group::X25519])
}

/// TLS of a client, whoever plays it.
pub fn client_tls() -> ClientConfigBuilder {
    let builder = ClientConfig::builder().roots(identity().0.as_bytes()).unwrap();
    builder.alpn(&["test"]).groups(&[Group::X25519]).tickets(Some(TicketStore::new(4)))
}

/// Frames as bytes.
pub fn bytes(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut out = vec![0; frames.iter().map(Frame::size).sum()];
    let mut w = Writer::new(&mut out);
    for frame in frames {
        frame.write(&mut w);
    }
    out
}

/// Variable-length integers, one after the other.
pub fn varints(values: &[u64]) -> Vec<u8> {
    let mut out = vec![0; values.len() * 8];
    let mut w = Writer::new(&mut out);
    for v in values {
        w.varint(*v);
    }
    let len = w.position();
    out.truncate(len);
    out
}

/// How the rogue behaves in the handshake.
pub struct Script {
    /// Changes the transport parameters before they are encoded.
    pub parameters: Box<dyn Fn(&mut TransportParameters)>,
    /// Changes them afterwards.
    pub encoded: Box<dyn Fn(&mut Vec<u8>)>,
    /// Changes the bytes of TLS before they are sent at a level.
    pub tls_bytes: Box<dyn Fn(Level, &mut Vec<u8>)>,
    pub client_tls: Arc<ClientConfig>,
    pub server_tls: Arc<ServerConfig>,
    pub version: Version,
    /// Our connection ID.
    pub scid: ConnectionId,
    /// A client's first Destination Connection ID.
    pub first_dcid: ConnectionId,
    /// Token of a client's Initial packets.
    pub token: Vec<u8>,
}

impl Default for Script {
    fn default() -> Self {
        static TLS: OnceLock<(Arc<ClientConfig>, Arc<ServerConfig>)> = OnceLock::new();
        let (client_tls, server_tls) = TLS
            .get_or_init(|| {
                let client = client_tls().tickets(None).build().unwrap();
                (Arc::new(client), Arc::new(server_tls().build().unwrap()))
            })
            .clone();
        Self {
            parameters: Box::new(|_| {}),
            encoded: Box::new(|_| {}),
            tls_bytes: Box::new(|_, _| {}),
            client_tls,
            server_tls,
            version: Version::V1,
            scid: ConnectionId::new(b"rogue-01").unwrap(),
            first_dcid: ConnectionId::new(b"original").unwrap(),
            token: Vec::new(),
        }
    }
}

impl Script {
    /// Generous parameters, with what the role needs, changed as the script says.
    fn parameters(&self, side: Side, odcid: ConnectionId) -> Vec<u8> {
        let mut p = TransportParameters {
            initial_max_data: 1 << 30,
            initial_max_stream_data_bidi_local: 1 << 30,
            initial_max_stream_data_bidi_remote: 1 << 30,
            initial_max_stream_data_uni: 1 << 30,
            initial_max_streams_bidi: 100,
            initial_max_streams_uni: 100,
            active_connection_id_limit: 4,
            max_datagram_frame_size: 65_535,
            initial_source_connection_id: Some(self.scid),
            ..TransportParameters::default()
        };
        if side == Side::Server {
            p.original_destination_connection_id = Some(odcid);
        }
        (self.parameters)(&mut p);
        let mut out = Vec::new();
        p.encode(side, &mut out);
        (self.encoded)(&mut out);
        out
    }
}

/// A packet of the engine that could be opened.
pub struct Heard {
    pub level: Level,
    pub pn: u64,
    pub dcid: ConnectionId,
    /// Of long headers.
    pub scid: Option<ConnectionId>,
    /// Size of the datagram it came in.
    pub datagram: usize,
    /// Where the engine sent it.
    pub to: SocketAddr,
    pub payload: Vec<u8>,
}

impl Heard {
    /// Its frames; a frame that does not parse is the engine's fault.
    pub fn frames(&self) -> Vec<Frame<'_>> {
        let mut reader = Reader::new(&self.payload);
        let mut out = Vec::new();
        while !reader.is_empty() {
            out.push(next_frame(&mut reader).expect("the engine sent a frame that does not parse"));
        }
        out
    }
}

/// The CONNECTION_CLOSE that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    pub code: TransportErrorCode,
    /// `None` for one of the application (type 0x1d).
    pub frame: Option<u64>,
    pub level: Level,
}

/// Received CRYPTO bytes, put in order without any check.
#[derive(Default)]
struct CryptoIn {
    pieces: BTreeMap<u64, Vec<u8>>,
    read: u64,
}

impl CryptoIn {
    fn insert(&mut self, offset: u64, data: &[u8]) {
        let known = self.pieces.get(&offset).map_or(0, Vec::len);
        if data.len() > known {
            self.pieces.insert(offset, data.to_vec());
        }
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        while let Some((&offset, piece)) = self.pieces.first_key_value() {
            let end = offset + piece.len() as u64;
            if offset > self.read {
                return None;
            }
            let fresh = piece.get((self.read - offset) as usize..).unwrap_or_default().to_vec();
            self.pieces.pop_first();
            if end > self.read {
                self.read = end;
                return Some(fresh);
            }
        }
        None
    }
}

/// What TLS wants sent at a level, and how far it was sent.
#[derive(Default)]
struct CryptoOut {
    data: Vec<u8>,
    sent: usize,
}

/// The peer.
pub struct Rogue {
    pub side: Side,
    pub version: Version,
    pub session: Session,
    pub initial: Keys,
    pub handshake: Option<Keys>,
    pub one_rtt: Option<Keys>,
    pub zero_rtt: Option<DirectionKeys>,
    updates: Option<UpdateSecrets>,
    /// Keys before updates: the engine may not have followed.
    old_remote: Vec<PacketKey>,
    /// The key phase of what we send.
    pub phase: bool,
    next_pn: [u64; 3],
    /// The engine's connection ID.
    pub dcid: ConnectionId,
    pub scid: ConnectionId,
    pub token: Vec<u8>,
    incoming: [CryptoIn; 3],
    outgoing: [CryptoOut; 3],
    received: [Vec<u64>; 3],
    owes_ack: [bool; 3],
    /// Whether to acknowledge what arrives.
    pub acknowledge: bool,
    /// Everything that could be opened.
    pub heard: Vec<Heard>,
    /// Packets that could not be opened.
    pub unreadable: usize,
    /// TLS refused what the engine sent.
    pub tls_failed: bool,
    tls_bytes: Box<dyn Fn(Level, &mut Vec<u8>)>,
}

impl Rogue {
    fn new(
        side: Side,
        script: &mut Script,
        session: Session,
        initial: Keys,
        dcid: ConnectionId,
    ) -> Self {
        Self {
            side,
            version: script.version,
            session,
            initial,
            handshake: None,
            one_rtt: None,
            zero_rtt: None,
            updates: None,
            old_remote: Vec::new(),
            phase: false,
            next_pn: [0; 3],
            dcid,
            scid: script.scid,
            token: script.token.clone(),
            incoming: Default::default(),
            outgoing: Default::default(),
            received: Default::default(),
            owes_ack: [false; 3],
            acknowledge: true,
            heard: Vec::new(),
            unreadable: 0,
            tls_failed: false,
            tls_bytes: std::mem::replace(&mut script.tls_bytes, Box::new(|_, _| {})),
        }
    }

    /// A client, whose ClientHello is ready to be sent.
    pub fn client(script: &mut Script) -> Self {
        let odcid = script.first_dcid;
        let params = script.parameters(Side::Client, odcid);
        let session =
            Session::client(&script.client_tls, script.version, "localhost", params).unwrap();
        let initial = initial_keys(script.version, &odcid, Side::Client);
        let mut this = Self::new(Side::Client, script, session, initial, odcid);
        this.zero_rtt = this.session.zero_rtt_keys();
        this.write_tls();
        this
    }

    /// A server for a client's first datagram, which is not read yet. `None` if it is no Initial.
    pub fn server(script: &mut Script, first: &[u8]) -> Option<Self> {
        use tquic_wire::header::{Long, parse_long};
        let Ok(Long::Protected(h)) = parse_long(first) else { return None };
        let (dcid, scid) = (h.dcid, h.scid);
        script.version = h.version;
        let params = script.parameters(Side::Server, dcid);
        let session = Session::server(&script.server_tls, h.version, params).unwrap();
        let initial = initial_keys(h.version, &dcid, Side::Server);
        Some(Self::new(Side::Server, script, session, initial, scid))
    }

    fn write_tls(&mut self) {
        loop {
            let level = self.session.write_level();
            let mut fresh = Vec::new();
            let change = self.session.write(&mut fresh);
            (self.tls_bytes)(level, &mut fresh);
            self.outgoing[space_of(level)].data.extend_from_slice(&fresh);
            match change {
                Some(KeyChange::Handshake(keys)) => self.handshake = Some(keys),
                Some(KeyChange::OneRtt(keys, updates)) => {
                    self.one_rtt = Some(keys);
                    self.updates = Some(updates);
                }
                None if fresh.is_empty() => return,
                None => {}
            }
        }
    }

    /// Takes a datagram of the engine.
    pub fn receive(&mut self, to: SocketAddr, datagram: &[u8]) {
        let mut rest = datagram;
        while !rest.is_empty() {
            // One at a time: the first packet may bring the keys of the second.
            let (heard, tail) = self.open_first(rest, to, datagram.len());
            rest = tail;
            let Some(heard) = heard else { continue };
            let space = space_of(heard.level);
            if let Some(scid) = heard.scid.filter(|_| self.side == Side::Client) {
                // RFC 9000 section 7.2: the server chooses its connection ID.
                self.dcid = scid;
            }
            self.received[space].push(heard.pn);
            for frame in heard.frames() {
                self.owes_ack[space] |= frame.is_ack_eliciting();
                if let Frame::Crypto { offset, data } = frame {
                    self.incoming[space].insert(offset, data);
                }
            }
            self.heard.push(heard);
            while let Some(data) = self.incoming[space].next() {
                self.tls_failed |= self.session.read(&data).is_err();
            }
            if !self.tls_failed {
                self.write_tls();
            }
        }
    }

    /// Datagrams with what TLS wants sent at `levels`, and acknowledgements that are owed there.
    pub fn flight(&mut self, levels: &[Level]) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for &level in levels {
            let space = space_of(level);
            loop {
                let mut payload = self.ack(level);
                let CryptoOut { data, sent } = &mut self.outgoing[space];
                let end = data.len().min(*sent + CRYPTO_CHUNK);
                if *sent < end {
                    let frame = Frame::Crypto { offset: *sent as u64, data: &data[*sent..end] };
                    payload.extend_from_slice(&bytes(&[frame]));
                    *sent = end;
                }
                if payload.is_empty() || !self.can_send(level) {
                    break;
                }
                out.push(self.seal(Draft::new(level, payload)));
            }
        }
        out
    }

    /// An ACK frame of all that arrived, if one is owed.
    pub fn ack(&mut self, level: Level) -> Vec<u8> {
        let space = space_of(level);
        if !(self.acknowledge && std::mem::take(&mut self.owes_ack[space])) {
            return Vec::new();
        }
        let seen = &mut self.received[space];
        seen.sort_unstable();
        seen.dedup();
        let mut ranges: Vec<std::ops::RangeInclusive<u64>> = Vec::new();
        for &pn in seen.iter().rev() {
            match ranges.last_mut() {
                Some(r) if *r.start() == pn + 1 => *r = pn..=*r.end(),
                _ => ranges.push(pn..=pn),
            }
        }
        let mut buf = [0; 256];
        let mut w = Writer::new(&mut buf);
        ack::write(&mut w, None, ranges.into_iter(), 0, None, 256);
        w.written().to_vec()
    }

    /// Offset in the CRYPTO stream of a level behind what was sent.
    pub fn crypto_offset(&self, level: Level) -> u64 {
        self.outgoing[space_of(level)].sent as u64
    }

    /// What TLS has made for a level.
    pub fn crypto_data(&self, level: Level) -> &[u8] {
        &self.outgoing[space_of(level)].data
    }

    pub fn is_complete(&self) -> bool {
        !self.session.is_handshaking()
    }

    /// Goes on to the next generation of keys, without asking anybody.
    pub fn update_keys(&mut self) {
        let (Some(keys), Some(updates)) = (&mut self.one_rtt, &mut self.updates) else { return };
        let (local, remote) = (updates.next_local(), updates.next_remote());
        keys.local.packet = local;
        self.old_remote.push(std::mem::replace(&mut keys.remote.packet, remote));
        self.phase = !self.phase;
    }

    /// Why the engine closed, by the first CONNECTION_CLOSE that could be read.
    pub fn closed(&self) -> Option<Closed> {
        self.heard.iter().find_map(|h| {
            h.frames().into_iter().find_map(|f| match f {
                Frame::ConnectionClose(c) => Some(Closed {
                    code: TransportErrorCode(c.error_code),
                    frame: c.frame_type,
                    level: h.level,
                }),
                _ => None,
            })
        })
    }

    /// All frames heard in packets of a level that `pick` wants.
    pub fn find<T>(&self, level: Level, mut pick: impl FnMut(&Frame<'_>) -> Option<T>) -> Vec<T> {
        let heard = self.heard.iter().filter(|h| h.level == level);
        heard.flat_map(|h| h.frames().iter().filter_map(&mut pick).collect::<Vec<_>>()).collect()
    }
}
