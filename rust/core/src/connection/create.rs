//! How connections begin.

use std::sync::Arc;

use tquic_crypto::{ClientConfig as ClientTls, ServerConfig as ServerTls, initial_keys};
use tquic_wire::params::PreferredAddress;
use tquic_wire::{ConnectionId, Side, Space, TransportParameters, Version};

use crate::cid::{CID_LEN, CidFactory, LocalCids, RemoteCids};
use crate::config::{PreferredAddresses, TransportConfig};
use crate::connection::{Connection, ConnectionStats, Control, Identity, State, Timers};
use crate::datagram::Datagrams;
use crate::error::TransportError;
use crate::events::{EndpointEvent, Events};
use crate::handshake::{Handshake, ZeroRtt, parameters, tls_error};
use crate::keys::KeyRing;
use crate::path::{FourTuple, Mtu, Path, Tuple};
use crate::recovery::{Recovery, RecoveryConfig};
use crate::rng::Rng;
use crate::space::AckTracker;
use crate::stream::StreamSet;
use crate::time::Instant;
use crate::trace::Trace;

/// What a client's connection starts from.
pub struct ClientSetup {
    /// Settings.
    pub transport: Arc<TransportConfig>,
    /// TLS.
    pub tls: Arc<ClientTls>,
    /// Name (or address) that the server's certificate must be for.
    pub server_name: String,
    /// Token of an earlier connection's NEW_TOKEN frame, or empty.
    pub token: Vec<u8>,
    /// Addresses.
    pub addresses: FourTuple,
}

/// What a server's connection starts from: the first Initial packet.
pub struct ServerSetup {
    /// Settings.
    pub transport: Arc<TransportConfig>,
    /// TLS.
    pub tls: Arc<ServerTls>,
    /// Addresses of the packet.
    pub addresses: FourTuple,
    /// Version of the packet.
    pub version: Version,
    /// Its Destination Connection ID.
    pub dcid: ConnectionId,
    /// Its Source Connection ID.
    pub scid: ConnectionId,
    /// After a Retry: the first Destination Connection ID, from the token. The packet's own is then
    /// the one that the Retry chose.
    pub retried_from: Option<ConnectionId>,
    /// Whether a token has proved the client's address.
    pub address_validated: bool,
    /// Addresses to tell the client.
    pub preferred: PreferredAddresses,
}

impl Connection {
    // Boxed here: it is some kilobytes, and its way to the endpoint's table would copy them twice.
    fn assemble(
        config: Arc<TransportConfig>,
        ids: Identity,
        handshake: Handshake,
        context: (CidFactory, Rng, Instant),
        (tuple, remote_cid): (Tuple, ConnectionId),
    ) -> Box<Self> {
        let (factory, mut rng, now) = context;
        let settings = RecoveryConfig { side: ids.side, seed: rng.u64(), ..config.recovery };
        let mut recovery = Recovery::new(&settings, now);
        recovery.set_max_datagram(tuple.mtu.current());
        let local = LocalCids::new(ids.local, factory.reset_token(&ids.local));
        let remote = RemoteCids::new(remote_cid, config.active_connection_id_limit);
        let acks = [Space::Initial, Space::Handshake, Space::Data]
            .map(|space| AckTracker::new(space, config.max_ack_delay));
        let mut events = Events::default();
        events.trace = Trace::new(now);
        events.push_endpoint(EndpointEvent::CidIssued(ids.local));
        Box::new(Self {
            streams: StreamSet::new(ids.side, &config.streams, &mut rng),
            datagrams: Datagrams::new(config.datagrams.clone()),
            paths: vec![Path::new(0, recovery, acks, (local, remote), tuple)],
            multipath: None,
            state: State::Handshaking,
            keys: KeyRing::default(),
            control: Control::default(),
            timers: Timers {
                handshake: Some(now + config.handshake_timeout),
                idle: (!config.max_idle_timeout.is_zero()).then(|| now + config.max_idle_timeout),
                ..Timers::default()
            },
            peer: TransportParameters::default(),
            stats: ConnectionStats::default(),
            events,
            config,
            ids,
            handshake,
            factory,
            rng,
        })
    }

    /// A client's connection. Its first flight is ready for `poll_transmit`.
    pub fn client(
        setup: ClientSetup,
        factory: CidFactory,
        mut rng: Rng,
        now: Instant,
    ) -> Result<Box<Self>, TransportError> {
        let config = setup.transport;
        let version = config.first_version();
        // RFC 9000 section 7.2: at least 8 unpredictable bytes.
        let dcid = ConnectionId::new(&rng.array::<CID_LEN>()).unwrap_or_default();
        let ids = Identity {
            side: Side::Client,
            version,
            original_version: version,
            original_dcid: dcid,
            initial_dcid: dcid,
            local: factory.generate(&mut rng),
            peer: None,
            retry: None,
            token: setup.token,
            grease: rng.u64() | 1,
            negotiated_from: None,
        };
        let mut tuple = new_tuple(&config, setup.addresses, 0);
        // RFC 9000 section 8.1: the limit is the server's, who has not asked for our packets.
        tuple.ledger.validate();
        let handshake = Handshake::client(setup.tls, setup.server_name);
        let mut this = Self::assemble(config, ids, handshake, (factory, rng, now), (tuple, dcid));
        this.start_client()?;
        this.retrace();
        Ok(this)
    }

    /// Makes the client's session and Initial keys: at the start, and again after Version
    /// Negotiation.
    pub(crate) fn start_client(&mut self) -> Result<(), TransportError> {
        let version = self.ids.version;
        let initial = initial_keys(version, &self.ids.initial_dcid, Side::Client);
        self.keys.initial = Some(Box::new(initial));
        let mut encoded = Vec::new();
        parameters::ours(&self.config, &self.ids, &mut self.rng).encode(Side::Client, &mut encoded);
        self.handshake.start(version, version, encoded).map_err(|e| tls_error(&e))?;
        // The ClientHello; no keys can change before the server has spoken.
        self.handshake.write()?;
        self.keys.zero_rtt = self.handshake.zero_rtt_keys().map(Box::new);
        self.handshake.zero_rtt =
            if self.keys.zero_rtt.is_some() { ZeroRtt::Offered } else { ZeroRtt::None };
        if self.keys.zero_rtt.is_some() {
            self.restore_parameters();
        }
        Ok(())
    }

    /// RFC 9000 section 7.4.1: 0-RTT runs under the limits of the resumed session.
    fn restore_parameters(&mut self) {
        let remembered = self
            .handshake
            .remembered_parameters()
            .and_then(|bytes| TransportParameters::decode(Side::Server, bytes).ok());
        match remembered {
            Some(p) => {
                self.streams.set_peer_limits(&p);
                self.datagrams.set_peer_limit(p.max_datagram_frame_size);
                self.peer = TransportParameters {
                    // RFC 9000 section 7.4.1: these are never remembered.
                    max_ack_delay: TransportParameters::default().max_ack_delay,
                    ack_delay_exponent: TransportParameters::default().ack_delay_exponent,
                    // draft-ietf-quic-multipath-21 section 2.1: nor is this.
                    initial_max_path_id: None,
                    ..p
                };
            }
            // Without limits nothing could be sent: do as if there was no ticket.
            None => {
                self.keys.zero_rtt = None;
                self.handshake.zero_rtt = ZeroRtt::None;
            }
        }
    }

    /// A server's connection for a first Initial packet, which is then given to `receive`.
    pub fn server(
        setup: ServerSetup,
        factory: CidFactory,
        mut rng: Rng,
        now: Instant,
    ) -> Box<Self> {
        let config = setup.transport;
        let ids = Identity {
            side: Side::Server,
            version: setup.version,
            original_version: setup.version,
            original_dcid: setup.retried_from.unwrap_or(setup.dcid),
            initial_dcid: setup.dcid,
            local: factory.generate(&mut rng),
            peer: Some(setup.scid),
            retry: setup.retried_from.map(|_| setup.dcid),
            token: Vec::new(),
            grease: rng.u64() | 1,
            negotiated_from: None,
        };
        let mut tuple = new_tuple(&config, setup.addresses, 0);
        if setup.address_validated {
            tuple.ledger.validate();
        }
        let handshake = Handshake::server(setup.tls);
        let context = (factory, rng, now);
        let mut this = Self::assemble(config, ids, handshake, context, (tuple, setup.scid));
        let initial = initial_keys(setup.version, &setup.dcid, Side::Server);
        this.keys.initial = Some(Box::new(initial));
        this.events.push_endpoint(EndpointEvent::CidIssued(setup.dcid));
        this.handshake.set_preferred(setup.preferred);
        this.retrace();
        this
    }

    /// Our parameters as a server, once the version is settled.
    pub(crate) fn server_parameters(&mut self) -> Vec<u8> {
        let mut p = parameters::ours(&self.config, &self.ids, &mut self.rng);
        p.stateless_reset_token = Some(self.factory.reset_token(&self.ids.local));
        let preferred = self.handshake.preferred();
        if preferred.ipv4.is_some() || preferred.ipv6.is_some() {
            let cid = self.factory.generate(&mut self.rng);
            let reset_token = self.factory.reset_token(&cid);
            self.paths[0].local_cids.add_preferred(cid, reset_token);
            self.events.push_endpoint(EndpointEvent::CidIssued(cid));
            let PreferredAddresses { ipv4, ipv6 } = preferred;
            p.preferred_address = Some(PreferredAddress { ipv4, ipv6, cid, reset_token });
        }
        let mut encoded = Vec::new();
        p.encode(Side::Server, &mut encoded);
        encoded
    }
}

/// A 4-tuple with this connection's settings for datagram size and marking.
pub(crate) fn new_tuple(config: &TransportConfig, addresses: FourTuple, remote_cid: u64) -> Tuple {
    let mtu = Mtu::new(config.max_udp_payload, config.mtu_discovery);
    Tuple::new(addresses, remote_cid, mtu, config.ecn)
}
