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
        if self.known.len() >= CAPACITY && !self.known.contains_key(&key) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hops() -> Hops {
        Hops::new(Netlink::new().unwrap(), 1)
    }

    #[test]
    fn what_stays_here_or_is_link_local_is_for_the_kernel() {
        let mut hops = hops();
        for to in ["127.0.0.1", "::1", "fe80::1", "169.254.1.1", "224.0.0.1", "ff02::1"] {
            assert_eq!(hops.way(0, to.parse().unwrap(), None), Way::Kernel, "{to}");
        }
    }

    #[test]
    fn answers_hold_for_their_time() {
        let mut hops = hops();
        let to = "127.0.0.1".parse().unwrap();
        hops.way(0, to, None);
        let known = Way::Frames { mac: [1; 6], source: to };
        hops.known.insert((to, None), (known, 10));
        assert_eq!(hops.way(ELSEWHERE - 1, to, None), Way::Kernel, "the last answer holds");
        hops.last = None;
        assert_eq!(hops.way(9, to, None), known);
        assert_eq!(hops.way(9, to, None), known);
        assert_eq!(hops.way(10, to, None), Way::Kernel, "asked again");
        hops.known.insert((to, None), (known, u64::MAX));
        hops.clear();
        assert_eq!(hops.way(11, to, None), Way::Kernel);
    }

    #[test]
    fn memory_is_bounded() {
        let mut hops = hops();
        for n in 0..CAPACITY as u32 {
            hops.known.insert((IpAddr::from(n.to_be_bytes()), None), (Way::Kernel, 0));
        }
        hops.way(0, IpAddr::from([0; 4]), None);
        assert_eq!(hops.known.len(), CAPACITY, "it was among them");
        hops.way(0, "::1".parse().unwrap(), None);
        assert_eq!(hops.known.len(), 1, "no room: all start over");
    }
}
