//! A shard: one thread with sockets, endpoints and the applications of their connections. No packet
//! crosses a thread.

mod command;
mod drive;
mod execute;
mod links;
mod mtu;
mod outbox;
mod receive;
mod service;
mod socket;
mod supply;
mod token;
mod trim;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use slab::Slab;
use tquic_core::Endpoint;
use tquic_core::config::EndpointConfig;
use tquic_core::endpoint::{EndpointSecrets, EndpointStats, Reply};
use tquic_core::time::{Duration, Instant};
use tquic_core::trace::Mask;
use tquic_net::os::{self, Events, LinkWatch, Poller};
use tquic_net::udp::{RecvBatch, SocketOptions};
use tquic_net::xdp::Interface;

use crate::application::{Spawned, Supply};
use crate::config::{Fitted, Log};
use crate::key::ConnectionKey;
use crate::live::{ConnectionView, Snapshot};
use crate::stats::{ShardStats, add_endpoint};

pub(crate) use command::{Command, Connect, Inbox, Listen, Operation, Refusal, tell};
use mtu::RouteMtus;
pub(crate) use outbox::Outbox;
use service::{Place, Service, panic_message};
use socket::{Failure, Sockets};
pub(crate) use token::queue_token;
use trim::Trim;

/// The service of all clients.
const CLIENTS: usize = 0;
/// Events taken from the poller at a time.
const EVENTS: usize = 64;
/// While no more trains can be written, deadlines wait at least this long for a socket.
const STUFFED: Duration = Duration::from_millis(1);

/// What a shard starts from.
pub(crate) struct ShardSetup {
    pub poller: Poller,
    pub inbox: Arc<Inbox>,
    pub endpoint: EndpointConfig,
    pub secrets: EndpointSecrets,
    pub socket: SocketOptions,
    pub outbox: Outbox,
    /// Its queues are watched by the poller: see [`queue_token`].
    pub interface: Option<Interface>,
    pub spin: Duration,
    pub log: Option<Log>,
}

/// See the module.
pub(crate) struct Shard {
    services: Slab<Service>,
    keys: HashMap<ConnectionKey, Place>,
    sockets: Sockets,
    poller: Poller,
    events: Events,
    inbox: Arc<Inbox>,
    outbox: Outbox,
    /// When applications want to be called.
    wakes: BinaryHeap<Reverse<(Instant, Place)>>,
    /// Those who begin connections here, and when they want to be asked again.
    supplies: Vec<Box<dyn Supply>>,
    supply_at: Option<Instant>,
    fitted: Fitted,
    /// Connections that found no room in the outbox.
    waiting: Vec<Place>,
    /// Some connection has more to send than its turn allowed.
    more: bool,
    /// The time of this turn.
    now: Instant,
    mtus: RouteMtus,
    trim: Trim,
    /// Once a connection has a socket of its own.
    links: Option<LinkWatch>,
    /// What tools at the probes want to hear of.
    probed: Mask,
    settings: Settings,
    counters: Counters,
    /// Set by a command to end: the time at which the thread ends in any case.
    ending: Option<Instant>,
    scratch: Scratch,
}

/// What does not change.
struct Settings {
    socket: SocketOptions,
    spin: Duration,
    log: Option<Log>,
}

#[derive(Default)]
struct Counters {
    turns: u64,
    sleeps: u64,
    panics: u64,
    unsent_trains: u64,
    refused_streams: u64,
    /// Of services that are gone.
    endpoint: EndpointStats,
}

/// Memory used again by every turn.
#[derive(Default)]
struct Scratch {
    recv: RecvBatch,
    replies: Vec<Reply>,
    failures: Vec<Failure>,
    dirty: Vec<Place>,
    spawned: Vec<Spawned>,
    commands: VecDeque<Command>,
    called: Vec<ConnectionKey>,
}

/// The time, as all shards count it.
pub(crate) fn clock() -> Instant {
    Instant::from_nanos(os::monotonic_nanos())
}

impl Shard {
    pub fn new(setup: ShardSetup) -> Self {
        let endpoint = Endpoint::new(setup.endpoint, None, &setup.secrets);
        let mut services = Slab::new();
        services.insert(Service { endpoint, table: Default::default(), listener: None });
        Self {
            services,
            keys: HashMap::new(),
            sockets: Sockets::new(setup.interface),
            poller: setup.poller,
            events: Events::with_capacity(EVENTS),
            inbox: setup.inbox,
            outbox: setup.outbox,
            wakes: BinaryHeap::new(),
            supplies: Vec::new(),
            supply_at: None,
            fitted: Fitted::default(),
            waiting: Vec::new(),
            more: false,
            now: clock(),
            mtus: RouteMtus::default(),
            trim: Trim::default(),
            links: None,
            probed: Mask::NONE,
            settings: Settings { socket: setup.socket, spin: setup.spin, log: setup.log },
            counters: Counters::default(),
            ending: None,
            scratch: Scratch::default(),
        }
    }

    /// Works until a command ends it.
    pub fn run(mut self) {
        // A panic outside of any connection is a bug of this crate; it must not take the process.
        let result = catch_unwind(AssertUnwindSafe(|| {
            while !self.is_over() {
                self.turn()?;
            }
            io::Result::Ok(())
        }));
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.warn(&format!("a shard ends: {error}")),
            Err(panic) => self.warn(&format!("a shard ends: {}", panic_message(&*panic))),
        }
        self.inbox.close();
        // Applications tell others that they are gone, in whatever state they are.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(self)));
    }

    fn is_over(&self) -> bool {
        let Some(deadline) = self.ending else { return false };
        let idle = !self.more && self.waiting.is_empty() && !self.sockets.has_queued();
        let done = idle && self.services.iter().all(|(_, s)| s.endpoint.is_empty());
        self.now >= deadline || done
    }

    fn turn(&mut self) -> io::Result<()> {
        self.wait()?;
        self.counters.turns += 1;
        self.now = clock();
        self.retrace();
        if self.events.woken() {
            self.take_commands();
        }
        self.receive_ready();
        self.on_timeouts();
        self.admit();
        self.drive_dirty();
        self.draw();
        self.flush_all();
        self.reap();
        Ok(())
    }

    /// Waits for something to do.
    fn wait(&mut self) -> io::Result<()> {
        if self.more || !self.scratch.spawned.is_empty() {
            self.more = false;
            return self.poller.wait(&mut self.events, Some(Duration::ZERO));
        }
        let deadline = self.deadline();
        let mut now = clock();
        let spin_until =
            deadline.map_or(now + self.settings.spin, |d| d.min(now + self.settings.spin));
        while now < spin_until {
            self.poller.wait(&mut self.events, Some(Duration::ZERO))?;
            if self.events.woken() || self.events.iter().next().is_some() {
                return Ok(());
            }
            now = clock();
        }
        let mut timeout = deadline.map(|d| d - now);
        if self.outbox.is_full() {
            timeout = timeout.map(|t| t.max(STUFFED));
        }
        self.counters.sleeps += u64::from(timeout != Some(Duration::ZERO));
        self.poller.wait(&mut self.events, timeout)
    }

    fn deadline(&mut self) -> Option<Instant> {
        let wake = self.next_wake().map(|(at, _)| at);
        let endpoints = self.services.iter_mut().filter_map(|(_, s)| s.endpoint.timeout());
        endpoints
            .chain(wake)
            .chain(self.sockets.retry_at())
            .chain(self.supply_at)
            .chain(self.trim.at())
            .chain(self.ending)
            .min()
    }

    fn on_timeouts(&mut self) {
        self.sockets.on_timeout(self.now, &mut self.poller);
        self.trim.on_timeout(self.now);
        let mut panics = Vec::new();
        for (service, s) in &mut self.services {
            while s.endpoint.timeout().is_some_and(|at| at <= self.now) {
                let now = self.now;
                let result = catch_unwind(AssertUnwindSafe(|| s.endpoint.on_timeout(now)));
                let Err(panic) = result else { break };
                panics.push((service, s.endpoint.take_in_hand(), panic));
            }
        }
        for (service, handle, panic) in panics {
            self.contain(handle.map(|handle| Place { service, handle }), &*panic);
        }
        while let Some((at, place)) = self.next_wake()
            && at <= self.now
        {
            self.wakes.pop();
            self.call(place);
        }
    }

    /// The first of `wakes` that still holds: a connection that is gone, or wants to be called
    /// sooner, left its entry behind.
    fn next_wake(&mut self) -> Option<(Instant, Place)> {
        while let Some(&Reverse((at, place))) = self.wakes.peek() {
            let slot = self.services.get_mut(place.service);
            let slot = slot.and_then(|service| service.table.get_mut(place.handle));
            if slot.is_some_and(|slot| slot.scheduled == Some(at)) {
                return Some((at, place));
            }
            self.wakes.pop();
        }
        None
    }

    /// The time of an entry in `wakes` has come.
    fn call(&mut self, place: Place) {
        let Some(service) = self.services.get_mut(place.service) else { return };
        let Some(slot) = service.table.get_mut(place.handle) else { return };
        slot.scheduled = None;
        match slot.wake_at {
            Some(due) if due <= self.now => {
                service.endpoint.connection(place.handle);
            }
            Some(later) => {
                slot.scheduled = Some(later);
                self.wakes.push(Reverse((later, place)));
            }
            None => {}
        }
    }

    fn stats(&self) -> ShardStats {
        let mut endpoint = self.counters.endpoint;
        self.services.iter().for_each(|(_, s)| add_endpoint(&mut endpoint, &s.endpoint.stats()));
        ShardStats {
            connections: self.services.iter().map(|(_, s)| s.endpoint.len()).sum(),
            endpoint,
            socket: self.sockets.stats(),
            xdp: self.sockets.interface().map(Interface::stats),
            turns: self.counters.turns,
            sleeps: self.counters.sleeps,
            panics: self.counters.panics,
            unsent_trains: self.counters.unsent_trains,
            refused_streams: self.counters.refused_streams,
            cpu: os::thread_cpu_time(),
        }
    }

    /// The shard with up to `most` of its connections.
    fn snapshot(&mut self, most: usize) -> Snapshot {
        let mut connections = Vec::new();
        for (&key, place) in self.keys.iter().take(most) {
            let service = self.services.get_mut(place.service);
            let connection = service.and_then(|s| s.endpoint.peek(place.handle));
            connections.extend(connection.map(|c| ConnectionView::of(key, c)));
        }
        Snapshot { shard: self.stats(), connections }
    }

    /// Tools attach to the probes, and go: then connections hear of it.
    fn retrace(&mut self) {
        let probed = tquic_trace::probes::wanted();
        if probed == std::mem::replace(&mut self.probed, probed) {
            return;
        }
        for (_, service) in &mut self.services {
            for handle in service.endpoint.handles() {
                if let Some(connection) = service.endpoint.peek(handle) {
                    connection.retrace();
                }
            }
        }
    }

    fn warn(&self, line: &str) {
        if let Some(log) = &self.settings.log {
            log(line);
        }
    }
}
