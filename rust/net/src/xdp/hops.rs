//! Where frames for a peer go, asked of the kernel once in a while.
//!
//! The kernel stays the one who resolves addresses (ARP, neighbour discovery): as long as it does not
//! know a neighbour, or has not heard of it for long, datagrams go through the kernel's socket, for
//! which it asks.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

use super::netlink::{Link, Netlink};

/// Peers remembered; more start over.
const CAPACITY: usize = 4096;
/// Nanoseconds that an answer holds: routes and neighbours change seldom.
const LIFETIME: u64 = 5_000_000_000;
/// The same for what does not leave through the interface.
const ELSEWHERE: u64 = 1_000_000_000;
/// The same while the kernel is asking for a neighbour.
const ASKING: u64 = 10_000_000;

/// How datagrams reach a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In frames to this MAC address, from this address.
    Frames { mac: [u8; 6], source: IpAddr },
    /// Through the kernel.
    Kernel,
}

/// See the module.
pub struct Hops {
    netlink: Netlink,
    interface: u32,
    known: HashMap<(IpAddr, Option<IpAddr>), (Way, u64)>,
    /// The one asked for last.
    last: Option<((IpAddr, Option<IpAddr>), Way, u64)>,
}

impl Hops {
    pub fn new(netlink: Netlink, interface: u32) -> Self {
        Self { netlink, interface, known: HashMap::new(), last: None }
    }

    /// The way to `to`, from `from` if the sender has chosen. `now` in nanoseconds.
    pub fn way(&mut self, now: u64, to: IpAddr, from: Option<IpAddr>) -> Way {
        let key = (to, from);
        if let Some((last, way, until)) = self.last
            && last == key
            && now < until
        {
            return way;
        }
        let (way, until) = match self.known.get(&key) {
            Some(&(way, until)) if now < until => (way, until),
            _ => self.ask(now, key),
        };
        self.last = Some((key, way, until));
        way
    }

    fn ask(&mut self, now: u64, key: (IpAddr, Option<IpAddr>)) -> (Way, u64) {
        let (to, from) = key;
        // That the kernel does not even answer is no reason not to try its socket.
        let resolved = self.resolve(to, from).unwrap_or(Resolved::Elsewhere);
        let (way, lifetime) = match resolved {
            Resolved::Known(way) => (way, LIFETIME),
            Resolved::Asking => (Way::Kernel, ASKING),
            Resolved::Elsewhere => (Way::Kernel, ELSEWHERE),
        };
        let until = now.saturating_add(lifetime);
        if self.known.len() >= CAPACITY {
            self.known.clear();
        }
        self.known.insert(key, (way, until));
        (way, until)
    }

    fn resolve(&mut self, to: IpAddr, from: Option<IpAddr>) -> io::Result<Resolved> {
        // A link-local address says nothing without its interface, which the kernel's socket knows.
        if is_link_local(to) || to.is_multicast() {
            return Ok(Resolved::Elsewhere);
        }
        let Some(route) = self.netlink.route(to, from)? else { return Ok(Resolved::Elsewhere) };
        let source = from.or(route.source);
        let Some(source) = source.filter(|_| route.interface == self.interface) else {
            return Ok(Resolved::Elsewhere);
        };
        Ok(match self.netlink.neighbour(self.interface, route.next)? {
            Some(neighbour) if !neighbour.stale => {
                Resolved::Known(Way::Frames { mac: neighbour.mac, source })
            }
            // The next datagrams make the kernel ask; after that it is no longer stale.
            _ => Resolved::Asking,
        })
    }

    /// Forgets everything: the interface has changed.
    pub fn clear(&mut self) {
        self.known.clear();
        self.last = None;
    }

    /// The interface as it is now.
    pub fn link(&mut self) -> io::Result<Link> {
        self.netlink.link_by_index(self.interface)
    }

    /// The interface's addresses that a socket on any address gets datagrams for.
    pub fn addresses(&mut self) -> io::Result<Vec<IpAddr>> {
        let mut addresses = self.netlink.addresses(self.interface)?;
        addresses.retain(|ip| !is_link_local(*ip));
        Ok(addresses)
    }
}

/// What the kernel knows.
enum Resolved {
    Known(Way),
    /// It has to ask for the neighbour.
    Asking,
    /// It leaves some other way, or not at all.
    Elsewhere,
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}
