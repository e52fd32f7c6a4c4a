//! An endpoint: everything behind one UDP port (or one shard of it). Routes datagrams to connections
//! by connection ID, admits new ones, and answers what belongs to nobody.

mod accept;
mod cids;
mod refuse;
mod route;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;
use tquic_crypto::{ReplayFilter, ResetKey, TokenKey};

use crate::cid::CidFactory;
use crate::config::{AcceptConfig, EndpointConfig};
use crate::connection::{ClientSetup, Connection};
use crate::error::TransportError;
use crate::events::EndpointEvent;
use crate::path::{Ecn, FourTuple};
use crate::rng::Rng;
use crate::time::Instant;

use cids::CidTable;
use refuse::ResetLimit;

/// Names a connection of an endpoint. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionHandle {
    index: u32,
    generation: u32,
}

impl ConnectionHandle {
    /// The handle as one number, for tables of others.
    pub fn to_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The inverse of `to_u64`.
    pub fn from_u64(value: u64) -> Self {
        Self { index: value as u32, generation: (value >> 32) as u32 }
    }
}

/// A datagram that belongs to no connection: Version Negotiation, Retry, refusal, stateless reset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// From where to where.
    pub addresses: FourTuple,
    /// The datagram.
    pub data: Vec<u8>,
}

/// Counters of an endpoint since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointStats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused: too many.
    pub refused: u64,
    /// Retry packets sent.
    pub retries: u64,
    /// Version Negotiation packets sent.
    pub version_negotiations: u64,
    /// Stateless resets sent.
    pub resets_sent: u64,
    /// Stateless resets not sent because of the limit.
    pub resets_suppressed: u64,
    /// Datagrams that belonged to nobody and got no answer.
    pub dropped: u64,
}

/// How much an endpoint holds. All zero when its connections are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Connections, those that are draining included.
    pub connections: usize,
    /// Handshakes of accepted connections under way.
    pub half_open: usize,
    /// Connection IDs that lead to a connection.
    pub cids: usize,
    /// Stateless reset tokens that end a connection.
    pub reset_tokens: usize,
    /// Connections that IDs or tokens belong to.
    pub owners: usize,
}

struct Entry {
    /// Not in place: the table grows by doubling, and keeps its size when connections are gone.
    connection: Box<Connection>,
    generation: u32,
    half_open: bool,
    dirty: bool,
    /// Over: it goes when its last events were read.
    drained: bool,
    /// The deadline that is in the heap, so that a later one need not be put there.
    scheduled: Option<Instant>,
}

/// What an endpoint starts from.
pub struct EndpointSecrets {
    /// Makes stateless reset tokens.
    pub reset: [u8; 32],
    /// Seals address-validation tokens.
    pub token: [u8; 32],
    /// Seeds all other randomness.
    pub seed: [u8; 32],
    /// Seconds since 1970 at `Instant::ZERO`, for the age of tokens.
    pub unix_epoch: u64,
}

/// See the module.
pub struct Endpoint {
    connections: Slab<Entry>,
    cids: CidTable,
    accept: Option<AcceptConfig>,
    factory: CidFactory,
    tokens: Tokens,
    resets: ResetLimit,
    rng: Rng,
    half_open: usize,
    generation: u32,
    /// Connections that may have something to say, each once.
    dirty: VecDeque<ConnectionHandle>,
    /// Connections accepted and not yet told.
    fresh: VecDeque<ConnectionHandle>,
    timers: BinaryHeap<Reverse<(Instant, ConnectionHandle)>>,
    stats: EndpointStats,
    /// The connection that is being called, to know which one panicked.
    in_hand: Option<ConnectionHandle>,
}

/// Address-validation tokens.
struct Tokens {
    key: TokenKey,
    /// Of NEW_TOKEN frames.
    used: ReplayFilter,
    /// Of Retry packets, by the connection ID that the packet gave.
    retried: ReplayFilter,
    unix_epoch: u64,
}

impl Tokens {
    fn seconds(&self, now: Instant) -> u64 {
        self.unix_epoch + now.as_nanos() / 1_000_000_000
    }
}

/// A connection that waits for nothing for so long gives back the memory of busier times.
const IDLE: Duration = Duration::from_secs(1);

/// Tokens remembered as used, of each kind and in each of two sets.
const USED_TOKENS: usize = 1 << 16;

/// Filters for tokens of NEW_TOKEN frames and of Retry packets.
fn filters(accept: Option<&AcceptConfig>) -> (ReplayFilter, ReplayFilter) {
    let seconds =
        |lifetime: fn(&AcceptConfig) -> Duration| accept.map_or(0, |a| lifetime(a).as_secs());
    let filter = |window| ReplayFilter::new(window, USED_TOKENS);
    (filter(seconds(|a| a.token_lifetime)), filter(seconds(|a| a.retry_token_lifetime)))
}

impl Endpoint {
    /// An endpoint that connects, and accepts if `accept` is given.
    pub fn new(
        config: EndpointConfig,
        accept: Option<AcceptConfig>,
        secrets: &EndpointSecrets,
    ) -> Self {
        let mut rng = Rng::from_seed(secrets.seed);
        let reset = Arc::new(ResetKey::new(&secrets.reset));
        let (used, retried) = filters(accept.as_ref());
        Self {
            connections: Slab::new(),
            cids: CidTable::new(&mut rng),
            accept,
            factory: CidFactory::new(config.shard, config.shards, reset),
            tokens: Tokens {
                key: TokenKey::new(&secrets.token),
                used,
                retried,
                unix_epoch: secrets.unix_epoch,
            },
            resets: ResetLimit::new(config.resets_per_second),
            rng,
            half_open: 0,
            generation: 0,
            dirty: VecDeque::new(),
            fresh: VecDeque::new(),
            timers: BinaryHeap::new(),
            stats: EndpointStats::default(),
            in_hand: None,
        }
    }

    /// Begins a connection as a client.
    pub fn connect(
        &mut self,
        now: Instant,
        setup: ClientSetup,
    ) -> Result<ConnectionHandle, TransportError> {
        let rng = self.rng.fork();
        let connection = Connection::client(setup, self.factory.clone(), rng, now)?;
        Ok(self.insert(connection, false))
    }

    fn insert(&mut self, connection: Box<Connection>, half_open: bool) -> ConnectionHandle {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        self.half_open += usize::from(half_open);
        let entry = Entry {
            connection,
            generation,
            half_open,
            dirty: false,
            drained: false,
            scheduled: None,
        };
        // A slab of more than 2^32 entries would need more memory than there is.
        let index = self.connections.insert(entry) as u32;
        let handle = ConnectionHandle { index, generation };
        self.touch(handle);
        handle
    }

    fn entry(&mut self, handle: ConnectionHandle) -> Option<&mut Entry> {
        let entry = self.connections.get_mut(handle.index as usize)?;
        (entry.generation == handle.generation).then_some(entry)
    }

    /// The connection, to be read from, written to or closed. It will be given by `poll_dirty`.
    pub fn connection(&mut self, handle: ConnectionHandle) -> Option<&mut Connection> {
        self.touch(handle);
        Some(&mut self.entry(handle)?.connection)
    }

    /// Number of connections, those that are draining included.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there are no connections.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Handshakes of accepted connections under way.
    pub fn half_open(&self) -> usize {
        self.half_open
    }

    /// All connections.
    pub fn handles(&self) -> Vec<ConnectionHandle> {
        let handle = |(i, e): (usize, &Entry)| ConnectionHandle {
            index: i as u32,
            generation: e.generation,
        };
        self.connections.iter().map(handle).collect()
    }

    /// What the endpoint holds, to find leaks.
    pub fn census(&self) -> Census {
        let (cids, reset_tokens, owners) = self.cids.sizes();
        let (connections, half_open) = (self.connections.len(), self.half_open);
        Census { connections, half_open, cids, reset_tokens, owners }
    }

    /// Accepts connections from now on, in this way.
    pub fn start_accepting(&mut self, accept: AcceptConfig) {
        (self.tokens.used, self.tokens.retried) = filters(Some(&accept));
        self.accept = Some(accept);
    }

    /// Stops accepting; connections that are there go on.
    pub fn stop_accepting(&mut self) {
        self.accept = None;
    }

    /// Counters.
    pub fn stats(&self) -> EndpointStats {
        self.stats
    }

    fn touch(&mut self, handle: ConnectionHandle) {
        if let Some(entry) = self.entry(handle)
            && !entry.dirty
        {
            entry.dirty = true;
            self.dirty.push_back(handle);
        }
    }

    /// A connection accepted since the last call.
    pub fn poll_accepted(&mut self) -> Option<ConnectionHandle> {
        self.fresh.pop_front()
    }

    /// The next connection that received something, timed out, or was touched by the application:
    /// look at its events, call its `poll_transmit` until `None`, then `settle` it.
    pub fn poll_dirty(&mut self) -> Option<ConnectionHandle> {
        while let Some(handle) = self.dirty.pop_front() {
            if let Some(entry) = self.entry(handle) {
                entry.dirty = false;
                return Some(handle);
            }
        }
        None
    }

    /// The connection without marking it, for use between `poll_dirty` and `settle`.
    pub fn peek(&mut self, handle: ConnectionHandle) -> Option<&mut Connection> {
        Some(&mut self.entry(handle)?.connection)
    }

    /// After a connection was driven: takes its endpoint events and its next deadline. Returns false
    /// if the connection is gone.
    pub fn settle(&mut self, now: Instant, handle: ConnectionHandle) -> bool {
        self.take_events(now, handle);
        let Some(entry) = self.entry(handle) else { return false };
        if entry.drained {
            self.remove(handle);
            return false;
        }
        if let Some(at) = entry.connection.timeout() {
            // An earlier entry in the heap wakes us in time to put in the later one, unless it is
            // the last of all.
            let last = entry.connection.is_closed() && entry.scheduled != Some(at);
            if last || entry.scheduled.is_none_or(|s| at < s) {
                entry.scheduled = Some(at);
                self.timers.push(Reverse((at, handle)));
                self.drop_stale_deadlines();
                self.drop_stale_head();
            }
        }
        true
    }

    /// A deadline that came forward leaves its old entry behind until that is due: with an idle
    /// timeout of 30 s and an exchange each 10 ms that would be thousands for each connection.
    fn drop_stale_deadlines(&mut self) {
        if self.timers.len() < 64 + 4 * self.connections.len() {
            return;
        }
        let mut entries = core::mem::take(&mut self.timers).into_vec();
        entries.retain(|Reverse(deadline)| !self.is_stale(deadline));
        entries.sort_unstable();
        entries.dedup();
        self.timers = entries.into();
    }

    /// Nobody is to be woken for a deadline that is none any more.
    fn drop_stale_head(&mut self) {
        while self.timers.peek().is_some_and(|Reverse(first)| self.is_stale(first)) {
            self.timers.pop();
        }
    }

    fn is_stale(&self, (at, handle): &(Instant, ConnectionHandle)) -> bool {
        let entry = self.connections.get(handle.index as usize);
        !entry.is_some_and(|e| e.generation == handle.generation && e.scheduled == Some(*at))
    }

    /// Deadlines that are kept, stale ones included: at most 64 and four for each connection.
    pub fn deadlines(&self) -> usize {
        self.timers.len()
    }

    /// Takes the endpoint events of a connection. It stays, even if it is over: the application has
    /// not seen why.
    fn take_events(&mut self, now: Instant, handle: ConnectionHandle) {
        while let Some(event) = self.entry(handle).and_then(|e| e.connection.poll_endpoint_event())
        {
            self.on_event(now, handle, &event);
        }
    }

    fn on_event(&mut self, now: Instant, handle: ConnectionHandle, event: &EndpointEvent) {
        match event {
            EndpointEvent::CidIssued(cid) => self.cids.insert(*cid, handle),
            EndpointEvent::CidRetired(cid) => self.cids.remove(cid, handle),
            EndpointEvent::ResetToken(token) => self.cids.insert_token(*token, handle),
            EndpointEvent::HandshakeOver => {
                if let Some(entry) = self.entry(handle)
                    && core::mem::take(&mut entry.half_open)
                {
                    self.half_open -= 1;
                }
            }
            EndpointEvent::WantsToken => self.give_token(now, handle),
            EndpointEvent::Drained => {
                if let Some(entry) = self.entry(handle) {
                    entry.drained = true;
                }
            }
        }
    }

    fn remove(&mut self, handle: ConnectionHandle) {
        if self.entry(handle).is_some() {
            let entry = self.connections.remove(handle.index as usize);
            self.half_open -= usize::from(entry.half_open);
            self.cids.remove_all(handle);
            self.drop_stale_head();
        }
    }

    /// Drops a connection without a word, for callers that caught a panic in it.
    pub fn discard(&mut self, handle: ConnectionHandle) {
        self.remove(handle);
    }

    /// After a panic was caught: the connection that `receive` or `on_timeout` was calling. Answers
    /// once.
    pub fn take_in_hand(&mut self) -> Option<ConnectionHandle> {
        self.in_hand.take()
    }

    /// When `on_timeout` is to be called.
    pub fn timeout(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Wakes the connections whose time has come.
    pub fn on_timeout(&mut self, now: Instant) {
        while self.timeout().is_some_and(|at| at <= now) {
            let Some(Reverse((_, handle))) = self.timers.pop() else { return };
            let Some(entry) = self.entry(handle) else { continue };
            entry.scheduled = None;
            match entry.connection.timeout() {
                Some(due) if due <= now => {
                    self.in_hand = Some(handle);
                    if let Some(entry) = self.entry(handle) {
                        entry.connection.on_timeout(now);
                    }
                    self.in_hand = None;
                    self.touch(handle);
                }
                Some(later) => {
                    // Nothing is expected for long: it has fallen idle since this was put down.
                    if later.saturating_since(now) >= IDLE {
                        entry.connection.release_memory();
                    }
                    entry.scheduled = Some(later);
                    self.timers.push(Reverse((later, handle)));
                }
                None => {}
            }
            self.drop_stale_head();
        }
    }

    /// Takes datagrams of one sender, laid out every `stride` bytes in `slot`. Answers that belong to
    /// no connection are put into `replies`.
    pub fn receive(
        &mut self,
        now: Instant,
        addresses: FourTuple,
        ecn: Option<Ecn>,
        (slot, stride): (&mut [u8], usize),
        replies: &mut Vec<Reply>,
    ) {
        route::receive(self, route::Batch { now, addresses, ecn, replies }, slot, stride.max(1));
    }

    /// ICMP says that nobody listens at `remote`; `quote` is the beginning of the datagram that it
    /// is about. Ends a client's handshake that nobody has answered, the second time.
    pub fn on_port_unreachable(&mut self, now: Instant, remote: SocketAddr, quote: &[u8]) {
        route::port_unreachable(self, now, remote, quote);
    }
}
