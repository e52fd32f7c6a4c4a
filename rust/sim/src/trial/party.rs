//! A host of a trial: an endpoint, its applications, and the invariants that can be seen from here.

use super::conversation::Conversation;
use super::ledger::{Ledger, TOKEN};
use super::plan::{EcnFault, PREFERRED, Plan, SERVER, Start, VICTIM, client_address};
use super::record::{Record, seconds};
use super::tls::Tls;
use crate::packet::{Ecn as PacketEcn, Packet};
use crate::random::{Probability, stream};
use crate::simulation::{Host, Outbox};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tquic_core::cc::Congestion;
use tquic_core::config::{AcceptConfig, EndpointConfig, PreferredAddresses};
use tquic_core::connection::ClientSetup;
use tquic_core::endpoint::{EndpointSecrets, Reply};
use tquic_core::path::{Ecn, FourTuple};
use tquic_core::rng::Rng;
use tquic_core::time::{Duration, Instant};
use tquic_core::{Connection, ConnectionHandle, Endpoint};
use tquic_crypto::ServerConfig;
use tquic_wire::Side;

/// Both hosts write into the same record.
pub type Shared = Rc<RefCell<Record>>;

/// How often a client looks whether a connection before is over, for the next to begin.
const LOOK_PERIOD: Duration = Duration::from_millis(50);
/// Packets that may exceed the congestion window beside two for each probe timeout: those of a
/// handshake, one that was under way.
const PROBES: u64 = 8;

/// See the module.
pub struct Party {
    side: Side,
    record: Shared,
    tls: Tls,
    endpoint: Endpoint,
    conversations: BTreeMap<ConnectionHandle, Conversation>,
    /// The largest congestion windows so far.
    peaks: BTreeMap<ConnectionHandle, u64>,
    /// Client: connections of the plan not begun yet, in order.
    waiting: VecDeque<usize>,
    /// Client: when to look at them.
    look: Option<Instant>,
    /// Client: the newest token of the server.
    token: Vec<u8>,
    /// Server: when it loses its state.
    restart: Option<Instant>,
    /// Server: it is still to forget its tickets.
    forgets: bool,
    ledger: Ledger,
    /// Client: what a NAT calls its addresses.
    nat: BTreeMap<SocketAddr, SocketAddr>,
    /// Client: what was heard, as a label.
    heard: u64,
    ecn: EcnFault,
    spoof: (Probability, Rng),
    buffer: Vec<u8>,
    replies: Vec<Reply>,
}

impl Party {
    /// The host on `side`.
    pub fn new(side: Side, record: &Shared, tls: Tls) -> Self {
        let shared = record.borrow();
        let plan = &shared.plan;
        let at = |time: Duration| Instant::ZERO + time;
        let config = if side == Side::Client { &plan.client } else { &plan.server };
        Self {
            side,
            record: record.clone(),
            endpoint: endpoint(side, plan, &tls.server),
            tls,
            conversations: BTreeMap::new(),
            peaks: BTreeMap::new(),
            waiting: match side {
                Side::Client => (0..plan.connections.len()).collect(),
                Side::Server => VecDeque::new(),
            },
            look: (side == Side::Client).then_some(Instant::ZERO),
            token: Vec::new(),
            restart: plan.restart.filter(|_| side == Side::Server).map(at),
            forgets: side == Side::Server && plan.tls.forgets,
            ledger: Ledger::default(),
            nat: BTreeMap::new(),
            heard: 0,
            ecn: plan.network.ecn[usize::from(side == Side::Client)],
            spoof: (
                Probability::ppm(plan.network.spoof_ppm),
                stream(plan.seed, "spoof", side as u64),
            ),
            buffer: vec![0; plan.train.max(usize::from(config.max_udp_payload))],
            replies: Vec::new(),
        }
    }

    /// Whether nothing is left: every connection of the plan begun and gone.
    pub fn is_finished(&self) -> bool {
        self.waiting.is_empty() && self.endpoint.is_empty() && self.restart.is_none()
    }

    /// What is left at the end that should not be.
    pub fn leftovers(&mut self) -> Vec<String> {
        let census = self.endpoint.census();
        let mut left = Vec::new();
        let mut note = |what: &str, count: usize| {
            if count > 0 {
                left.push(format!("{:?}: {count} {what} left", self.side));
            }
        };
        note("connections", census.connections);
        note("half-open handshakes", census.half_open);
        note("connection IDs", census.cids);
        note("reset tokens", census.reset_tokens);
        note("table entries", census.owners);
        note("waiting connections", self.waiting.len());
        left
    }

    /// For a person: who is still busy with what.
    pub fn describe(&mut self) -> String {
        let mut text = String::new();
        for handle in self.endpoint.handles() {
            let Some(c) = self.endpoint.peek(handle) else { continue };
            let story = self.conversations.get(&handle).map(Conversation::describe);
            let path = c.path(0).map(tquic_core::path::Path::stats);
            text += &format!(
                "  {:?}: {}\n    {}\n    {path:?}\n    {:?}\n",
                c.side(),
                story.unwrap_or_else(|| "a connection without application".to_owned()),
                c.describe_timers(),
                c.stats(),
            );
        }
        text
    }

    fn begin_connections(&mut self, now: Instant) {
        self.look = None;
        while let Some(&index) = self.waiting.front() {
            let begins = self.start_time(index);
            match begins {
                Some(at) if at <= now => {
                    self.waiting.pop_front();
                    self.connect(now, index);
                }
                Some(at) => return self.look = Some(at),
                None => return self.look = Some(now + LOOK_PERIOD),
            }
        }
    }

    fn start_time(&self, index: usize) -> Option<Instant> {
        let record = self.record.borrow();
        match record.plan.connections[index].start {
            Start::At(time) => Some(Instant::ZERO + time),
            Start::AfterPrevious(pause) => {
                let before = index.checked_sub(1)?;
                if !record.is_over(before) {
                    return None;
                }
                let ends = record.ends[before].iter();
                ends.filter_map(|end| end.over.as_ref().map(|(at, _)| *at + pause)).max()
            }
        }
    }

    fn connect(&mut self, now: Instant, index: usize) {
        let record = self.record.clone();
        let mut record = record.borrow_mut();
        let plan = record.plan.connections[index].clone();
        let setup = ClientSetup {
            transport: Arc::new(record.plan.client.clone()),
            tls: self.tls.client.clone(),
            server_name: "localhost".to_owned(),
            token: if plan.use_token { self.token.clone() } else { Vec::new() },
            addresses: FourTuple { local: client_address(index, 0), remote: SERVER },
        };
        match self.endpoint.connect(now, setup) {
            Ok(handle) => {
                record.end(index, Side::Client).began = Some(now);
                let talk = Conversation::new(Side::Client, index, &plan, now);
                self.conversations.insert(handle, talk);
            }
            Err(e) => record.violation(now, format!("cannot connect: {e}")),
        }
    }

    /// A connection that the server accepted: whose is it?
    fn accepted(&mut self, now: Instant, handle: ConnectionHandle) {
        let record = self.record.clone();
        let mut record = record.borrow_mut();
        let Some(c) = self.endpoint.peek(handle) else { return };
        let Some(index) = record.named(c.original_dcid()) else {
            return record.violation(now, "the server accepted what no client began".to_owned());
        };
        if record.end(index, Side::Server).began.is_some() {
            record.counts.ghosts += 1;
            if !c.was_retried() {
                // A copy of the client's first flight, late: it comes to nothing by itself.
                return;
            }
            // Half of the first flight met a Retry, the other half did not. The client follows the
            // Retry: what the server began before comes to nothing.
            self.conversations.retain(|_, talk| talk.connection() != index);
        }
        record.end(index, Side::Server).began = Some(now);
        let plan = record.plan.connections[index].clone();
        self.conversations.insert(handle, Conversation::new(Side::Server, index, &plan, now));
    }

    fn drive(&mut self, now: Instant, handle: ConnectionHandle, out: &mut Outbox) {
        let shared = self.record.clone();
        let mut record = shared.borrow_mut();
        let Some(c) = self.endpoint.peek(handle) else { return };
        let name = c.original_dcid();
        let mut talk = self.conversations.get_mut(&handle);
        if let Some(talk) = &mut talk {
            if self.side == Side::Client {
                record.name(name, talk.connection());
            }
            talk.serve(now, c, &mut record);
        }
        let mut label = self.heard;
        if talk.as_ref().is_some_and(|t| t.uses_token()) {
            label |= TOKEN;
        }
        let mut sent = Vec::new();
        let peak = self.peaks.entry(handle).or_default();
        loop {
            *peak = c.path(0).map_or(0, |path| path.recovery.cwnd()).max(*peak);
            let before = flight(c);
            let Some(t) = c.poll_transmit(now, &mut self.buffer) else { break };
            check_window(now, c, (before, peak), &mut record);
            for data in self.buffer[..t.len].chunks(t.segment.max(1)) {
                sent.push((t.addresses, t.ecn, data.to_vec()));
            }
        }
        match &mut talk {
            Some(talk) => talk.serve(now, c, &mut record),
            None => while c.poll_event().is_some() {},
        }
        if let Some(talk) = talk {
            if let Some(token) = talk.take_token() {
                self.token = token;
            }
            if let Some(outside) = talk.take_outside() {
                self.nat.insert(client_address(talk.connection(), 0), outside);
            }
        }
        let settled = c.handshake().is_confirmed();
        check_memory(now, c, &mut record);
        if record.trace {
            let wakes = c.timeout().map(seconds);
            eprintln!(
                "{} {:?} waits for {wakes:?}: {}",
                seconds(now),
                self.side,
                c.describe_timers()
            );
        }
        drop(record);
        if !self.endpoint.settle(now, handle) {
            self.conversations.remove(&handle);
            self.peaks.remove(&handle);
        }
        for (addresses, ecn, data) in sent {
            let packet = self.send(now, (addresses, ecn, data), label);
            // In the handshake whoever is on the way can spoil it (RFC 9000 section 21.1.1).
            if settled && self.side == Side::Client && self.spoof.0.happens(&mut self.spoof.1) {
                out.send(Packet { from: VICTIM, ..packet.clone() });
            }
            out.send(packet);
        }
    }

    fn send(
        &mut self,
        now: Instant,
        (addresses, ecn, data): (FourTuple, Option<Ecn>, Vec<u8>),
        label: u64,
    ) -> Packet {
        let mut record = self.record.borrow_mut();
        record.counts.packets += 1;
        if record.trace {
            trace(now, self.side, "->", (addresses.local, addresses.remote), &data, ecn);
        }
        let label = if self.side == Side::Server {
            match self.ledger.on_sent(addresses.remote, data.len() as u64) {
                Ok(label) => label,
                Err(wrong) => {
                    record.violation(now, wrong);
                    0
                }
            }
        } else {
            label
        };
        drop(record);
        let ecn = packet_ecn(ecn);
        let outside = self.nat.get(&addresses.local).copied().unwrap_or(addresses.local);
        Packet::datagram(outside, addresses.remote, ecn, data).with_tag(label)
    }

    /// Whether the NAT lets a packet in; if so it gets its inside address.
    fn admit(&self, packet: &mut Packet) -> bool {
        if let Some((&inside, _)) = self.nat.iter().find(|(_, outside)| **outside == packet.to) {
            packet.to = inside;
            return true;
        }
        // What was once an address of ours is nobody's now.
        let inside = [0, 1].map(|index| client_address(0, index).ip());
        let here = self.side == Side::Server || inside.contains(&packet.to.ip());
        here && !self.nat.contains_key(&packet.to)
    }

    /// Takes as many packets as could have come in one GRO train.
    fn receive_run(&mut self, now: Instant, packets: &[Packet]) {
        let Some(first) = packets.first() else { return };
        let addresses = FourTuple { local: first.to, remote: first.from };
        let stride = first.bytes.len().max(1);
        let mut slot: Vec<u8> = packets.iter().flat_map(|p| p.bytes.iter().copied()).collect();
        let ecn = core_ecn(self.ecn.apply(first.ecn));
        let mut replies = core::mem::take(&mut self.replies);
        self.endpoint.receive(now, addresses, ecn, (&mut slot, stride), &mut replies);
        self.replies = replies;
    }

    fn lose_state(&mut self, now: Instant) {
        let shared = self.record.clone();
        let record = shared.borrow();
        if record.trace {
            eprintln!("{} {:?} loses its state", seconds(now), self.side);
        }
        self.endpoint = endpoint(self.side, &record.plan, &self.tls.server);
        self.conversations.clear();
        drop(record);
        let mut record = shared.borrow_mut();
        for end in &mut record.ends {
            let end = &mut end[Side::Server as usize];
            if end.began.is_some() && end.over.is_none() {
                let gone = tquic_core::events::ConnectionError::StatelessReset;
                end.over = Some((now, gone));
            }
        }
    }
}

impl Host for Party {
    fn receive(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        if self.forgets && self.record.borrow().is_over(0) {
            self.forgets = false;
            let accept = acceptance(&self.record.borrow().plan, &self.tls.other_server);
            self.endpoint.start_accepting(accept);
        }
        packets.retain_mut(|p| self.admit(p));
        for p in packets.iter() {
            match self.side {
                Side::Server => {
                    self.ledger.on_received(p.from, p.bytes.len() as u64, p.tag);
                }
                Side::Client => self.heard |= p.tag,
            }
            if self.record.borrow().trace {
                trace(now, self.side, "<-", (p.to, p.from), &p.bytes, core_ecn(p.ecn));
            }
        }
        let mut rest = packets.as_slice();
        while let Some(first) = rest.first() {
            let like = |p: &Packet| {
                (p.from, p.to, p.ecn, p.bytes.len())
                    == (first.from, first.to, first.ecn, first.bytes.len())
            };
            let mut run = rest.iter().take(64).take_while(|p| like(p)).count();
            // The last segment of a train may be shorter.
            run += usize::from(rest.get(run).is_some_and(|p| {
                run < 64
                    && (p.from, p.to, p.ecn) == (first.from, first.to, first.ecn)
                    && p.bytes.len() < first.bytes.len()
            }));
            let (now_run, later) = rest.split_at(run);
            self.receive_run(now, now_run);
            rest = later;
        }
    }

    fn timeout(&mut self, now: Instant) {
        if self.endpoint.timeout().is_some_and(|at| at <= now) {
            self.record.borrow_mut().counts.timeouts += 1;
            self.endpoint.on_timeout(now);
        }
    }

    fn transmit(&mut self, now: Instant, out: &mut Outbox) {
        if self.restart.is_some_and(|at| at <= now) {
            self.restart = None;
            self.lose_state(now);
        }
        for reply in core::mem::take(&mut self.replies) {
            let label = self.heard;
            let packet = self.send(now, (reply.addresses, None, reply.data), label);
            out.send(packet);
        }
        if self.look.is_some_and(|at| at <= now) {
            self.begin_connections(now);
        }
        while let Some(handle) = self.endpoint.poll_accepted() {
            self.accepted(now, handle);
        }
        let due = |t: &Conversation| t.next_time().is_some_and(|at| at <= now);
        let woken: Vec<_> =
            self.conversations.iter().filter(|(_, t)| due(t)).map(|(handle, _)| *handle).collect();
        for handle in woken {
            // Marks it, so that it is driven below.
            let _ = self.endpoint.connection(handle);
        }
        while let Some(handle) = self.endpoint.poll_dirty() {
            self.drive(now, handle, out);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let talks = self.conversations.values().filter_map(Conversation::next_time).min();
        [self.endpoint.timeout(), talks, self.look, self.restart].into_iter().flatten().min()
    }
}

fn endpoint(side: Side, plan: &Plan, tls: &Arc<ServerConfig>) -> Endpoint {
    let mut rng = stream(plan.seed, "endpoint", side as u64);
    // The keys for resets and tokens outlive a loss of state.
    let secrets = EndpointSecrets {
        reset: rng.array(),
        token: rng.array(),
        seed: rng.array(),
        unix_epoch: 1_700_000_000,
    };
    let accept = (side == Side::Server).then(|| acceptance(plan, tls));
    Endpoint::new(EndpointConfig::default(), accept, &secrets)
}

fn acceptance(plan: &Plan, tls: &Arc<ServerConfig>) -> AcceptConfig {
    let ipv4 = plan.preferred.then_some(PREFERRED);
    AcceptConfig {
        retry: plan.retry,
        retry_above: plan.retry_above,
        preferred: PreferredAddresses { ipv4, ipv6: None },
        ..AcceptConfig::new(tls.clone(), Arc::new(plan.server.clone()))
    }
}

fn flight(c: &Connection) -> u64 {
    c.path(0).map_or(0, |path| path.recovery.bytes_in_flight())
}

/// RFC 9002 section 7: nothing but probes makes more bytes fly than the window allows. The window is
/// the largest so far: after a cut what flies comes down in proportion (RFC 9937).
fn check_window(
    now: Instant,
    c: &Connection,
    (before, peak): (u64, &mut u64),
    record: &mut Record,
) {
    let Some(path) = c.path(0) else { return };
    *peak = path.recovery.cwnd().max(*peak);
    let (after, window) = (path.recovery.bytes_in_flight(), *peak);
    let probes = PROBES + 2 * path.recovery.stats().ptos;
    let config = if c.side() == Side::Client { &record.plan.client } else { &record.plan.server };
    // Prague's pacer is its limit: the window lets a little more pass.
    let slack = if path.recovery.congestion() == Congestion::Prague { window / 32 } else { 0 };
    let spare = probes * u64::from(config.max_udp_payload) + slack;
    if after > before && after > window + spare {
        let side = c.side();
        record.violation(
            now,
            format!("{side:?}: {after} bytes in flight, {before} before, window {window}"),
        );
    }
}

/// What a peer can make us hold is bounded.
fn check_memory(now: Instant, c: &mut Connection, record: &mut Record) {
    let side = c.side();
    let plan = if side == Side::Client { &record.plan.client } else { &record.plan.server };
    let config = &plan.streams;
    let stats = c.streams().stats();
    let open = stats.streams as u64;
    let window = config.max_connection_window.max(config.connection_window);
    // A window may lie across two pages of 64 KiB.
    let receive = window + window / 8 + open * 2 * 65_536;
    let send = open * (config.send_buffer + 65_536);
    let streams = 2 * (config.max_streams_bidi + config.max_streams_uni) + 2_000;
    let wrong = if stats.receive_memory as u64 > receive {
        format!("{} bytes of received data, bound {receive}", stats.receive_memory)
    } else if stats.send_buffered > send {
        format!("{} bytes to send, bound {send}", stats.send_buffered)
    } else if open > streams {
        format!("{open} streams, bound {streams}")
    } else {
        return;
    };
    record.violation(now, format!("{side:?}: {wrong}"));
}

fn packet_ecn(ecn: Option<Ecn>) -> PacketEcn {
    match ecn {
        None => PacketEcn::NotEct,
        Some(Ecn::Ect0) => PacketEcn::Ect0,
        Some(Ecn::Ect1) => PacketEcn::Ect1,
        Some(Ecn::Ce) => PacketEcn::Ce,
    }
}

fn core_ecn(ecn: PacketEcn) -> Option<Ecn> {
    match ecn {
        PacketEcn::NotEct => None,
        PacketEcn::Ect0 => Some(Ecn::Ect0),
        PacketEcn::Ect1 => Some(Ecn::Ect1),
        PacketEcn::Ce => Some(Ecn::Ce),
    }
}

impl EcnFault {
    fn apply(self, ecn: PacketEcn) -> PacketEcn {
        match (self, ecn) {
            (Self::None, ecn) | (_, ecn @ PacketEcn::NotEct) => ecn,
            (Self::Bleach, _) => PacketEcn::NotEct,
            (Self::AllCe, _) => PacketEcn::Ce,
            (Self::Remark, PacketEcn::Ect0) => PacketEcn::Ect1,
            (Self::Remark, ecn) => ecn,
        }
    }
}

fn trace(
    now: Instant,
    side: Side,
    way: &str,
    (ours, theirs): (SocketAddr, SocketAddr),
    data: &[u8],
    ecn: Option<Ecn>,
) {
    let sum = data.iter().fold(0_u32, |sum, byte| sum.rotate_left(5) ^ u32::from(*byte));
    let what = super::dissect::describe(data);
    let len = data.len();
    eprintln!(
        "{} {side:?} {ours} {way} {theirs} {len:>4} bytes {sum:08x} {ecn:?} {what}",
        seconds(now)
    );
}
