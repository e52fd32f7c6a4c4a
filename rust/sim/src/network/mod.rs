//! Links joined to a network: which packet takes which links.
//!
//! A route leads from one address to another over a chain of links. Links that several routes name
//! are shared, with their queue: a common bottleneck. Two routes between two hosts, from different
//! addresses, make multipath. Routes and address bindings may change at set times: migration and
//! rebinding.

mod nat;
#[cfg(test)]
mod tests;

use crate::digest::Digest;
use crate::event::EventQueue;
use crate::link::{Link, LinkConfig, Stats};
use crate::packet::{Delivery, Packet};
use nat::Nat;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tquic_core::time::Instant;

/// A link of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(usize);

/// A change to the network at a set time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Packets between these addresses take these links from now on. No links: they arrive at once.
    Route {
        /// Source address, as the source itself knows it.
        from: SocketAddr,
        /// Destination address, as the destination itself knows it.
        to: SocketAddr,
        /// The links in order.
        links: Vec<LinkId>,
    },
    /// Packets between these hosts take these links from now on, as [`Network::route_hosts`] says.
    RouteHosts {
        /// Source host, as it itself knows its address.
        from: IpAddr,
        /// Destination host.
        to: IpAddr,
        /// The links in order.
        links: Vec<LinkId>,
    },
    /// There is no way between these addresses any more; packets under way still arrive.
    Unroute {
        /// Source address.
        from: SocketAddr,
        /// Destination address.
        to: SocketAddr,
    },
    /// Others see `inside` as `outside` from now on. Routes keep naming it `inside`.
    Rebind {
        /// The address that the host itself knows.
        inside: SocketAddr,
        /// The address that its packets show to others. What is sent to the previous one is lost.
        outside: SocketAddr,
    },
}

/// Packets that met no link's fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undeliverable {
    /// No route led from the sender to the destination.
    pub no_route: u64,
    /// The destination was a binding that had expired.
    pub expired_binding: u64,
}

/// A network in virtual time.
#[derive(Clone, Debug)]
pub struct Network {
    seed: u64,
    links: Vec<Link>,
    /// When each link has been promised to be looked at.
    wakes: Vec<Option<Instant>>,
    events: EventQueue<Event>,
    routes: BTreeMap<(SocketAddr, SocketAddr), Arc<[LinkId]>>,
    host_routes: BTreeMap<(IpAddr, IpAddr), Arc<[LinkId]>>,
    nat: Nat,
    delivered: VecDeque<Delivery>,
    undeliverable: Undeliverable,
    sent: u64,
    digest: Digest,
}

#[derive(Clone, Debug)]
enum Event {
    Wake(LinkId),
    /// Boxed, as the next: they are rare, and events are moved about.
    Edit(Box<Edit>),
    Enter(Box<Packet>),
}

impl Network {
    /// A network without links, whose chances depend on `seed` only.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            links: Vec::new(),
            wakes: Vec::new(),
            events: EventQueue::new(),
            routes: BTreeMap::new(),
            host_routes: BTreeMap::new(),
            nat: Nat::default(),
            delivered: VecDeque::new(),
            undeliverable: Undeliverable::default(),
            sent: 0,
            digest: Digest::new(),
        }
    }

    /// Adds a link. It does not change what chance brings to the links before it.
    pub fn add_link(&mut self, config: &LinkConfig) -> LinkId {
        let id = self.links.len();
        self.links.push(Link::new(config, self.seed, id as u64));
        self.wakes.push(None);
        LinkId(id)
    }

    /// Packets between these addresses take `links`, from now on.
    pub fn route(&mut self, from: SocketAddr, to: SocketAddr, links: &[LinkId]) {
        self.routes.insert((from, to), links.into());
    }

    /// Packets between these hosts take `links` unless a route for their very addresses exists.
    pub fn route_hosts(&mut self, from: IpAddr, to: IpAddr, links: &[LinkId]) {
        self.host_routes.insert((from, to), links.into());
    }

    /// Plans a change for `time`. Changes planned for the same time are made in order.
    pub fn at(&mut self, time: Instant, edit: Edit) {
        self.events.push(time, Event::Edit(Box::new(edit)));
    }

    /// Sends `packet` at `now`. Times must not run backwards over calls.
    pub fn send(&mut self, now: Instant, packet: Packet) {
        self.advance(now);
        self.enter(now, Box::new(packet));
    }

    /// Sends `packet` at a later time, as a host does that hands release times to its network card.
    pub fn send_later(&mut self, at: Instant, packet: Packet) {
        self.events.push(at, Event::Enter(Box::new(packet)));
    }

    /// When something happens next; `None` if nothing is under way or planned.
    pub fn next_event_time(&self) -> Option<Instant> {
        let arrived = self.delivered.front().map(|delivery| delivery.at);
        [arrived, self.events.next_time()].into_iter().flatten().min()
    }

    /// The next packet that arrived at `now` or before.
    pub fn pop_delivered(&mut self, now: Instant) -> Option<Delivery> {
        while self.delivered.is_empty() {
            self.step(now)?;
        }
        self.delivered.pop_front()
    }

    /// What a link did; `None` if it belongs to another network.
    pub fn stats(&self, link: LinkId) -> Option<&Stats> {
        self.links.get(link.0).map(Link::stats)
    }

    /// Packets and payload bytes that wait in a link's queue.
    pub fn backlog(&mut self, link: LinkId) -> (usize, u64) {
        self.links.get_mut(link.0).map_or((0, 0), Link::backlog)
    }

    /// Packets that were lost between links.
    pub const fn undeliverable(&self) -> Undeliverable {
        self.undeliverable
    }

    /// A hash over everything that happened: same network, same seed and same packets sent at the
    /// same times give the same hash.
    pub fn trace_hash(&self) -> u64 {
        let mut digest = self.digest;
        for link in &self.links {
            digest.update(&[link.stats().digest().value()]);
        }
        digest.value()
    }

    /// Lets happen what is due at `now`.
    fn advance(&mut self, now: Instant) {
        while self.step(now).is_some() {}
    }

    fn step(&mut self, now: Instant) -> Option<()> {
        let (time, event) = self.events.pop_due(now)?;
        match event {
            Event::Wake(id) => self.wake(time, id),
            Event::Edit(edit) => self.edit(*edit),
            Event::Enter(packet) => self.enter(time, packet),
        }
        Some(())
    }

    fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Route { from, to, links } => {
                self.routes.insert((from, to), links.into());
            }
            Edit::RouteHosts { from, to, links } => self.route_hosts(from, to, &links),
            Edit::Unroute { from, to } => {
                self.routes.remove(&(from, to));
            }
            Edit::Rebind { inside, outside } => self.nat.rebind(inside, outside),
        }
    }

    fn enter(&mut self, now: Instant, mut packet: Box<Packet>) {
        packet.id = self.sent;
        self.sent += 1;
        self.digest.update(&[now.as_nanos(), packet.id, u64::from(packet.size)]);
        let ends = (packet.from, self.nat.inside(packet.to));
        let hosts = (ends.0.ip(), ends.1.ip());
        let route = self.routes.get(&ends).or_else(|| self.host_routes.get(&hosts));
        let Some(route) = route.cloned() else {
            self.undeliverable.no_route += 1;
            return;
        };
        packet.from = self.nat.outside(packet.from);
        packet.route = Some(route);
        packet.hop = 0;
        self.forward(now, packet);
    }

    /// Puts a packet into the next link of its route, or delivers it behind the last.
    fn forward(&mut self, now: Instant, mut packet: Box<Packet>) {
        let next = packet.route.as_ref().and_then(|route| route.get(packet.hop)).copied();
        let Some(id) = next else {
            return self.deliver(now, packet);
        };
        packet.hop += 1;
        if let Some(link) = self.links.get_mut(id.0) {
            link.send(now, packet);
            self.promise(id);
        } else {
            self.undeliverable.no_route += 1;
        }
    }

    fn deliver(&mut self, now: Instant, mut packet: Box<Packet>) {
        let Some(to) = self.nat.admit(packet.to) else {
            self.undeliverable.expired_binding += 1;
            return;
        };
        packet.to = to;
        packet.route = None;
        self.digest.update(&[now.as_nanos(), packet.id]);
        self.delivered.push_back(Delivery { at: now, packet });
    }

    /// Looks at a link, unless an earlier promise has made this one void.
    fn wake(&mut self, now: Instant, id: LinkId) {
        let Some(promised) = self.wakes.get_mut(id.0).filter(|wake| **wake == Some(now)) else {
            return;
        };
        *promised = None;
        while let Some(delivery) = self.links.get_mut(id.0).and_then(|link| link.poll(now)) {
            self.forward(now, delivery.packet);
        }
        self.promise(id);
    }

    /// Makes sure that a link is looked at when it has something next.
    fn promise(&mut self, id: LinkId) {
        let (Some(link), Some(wake)) = (self.links.get(id.0), self.wakes.get_mut(id.0)) else {
            return;
        };
        if let Some(next) = link.next_time()
            && wake.is_none_or(|promised| next < promised)
        {
            *wake = Some(next);
            self.events.push(next, Event::Wake(id));
        }
    }
}
