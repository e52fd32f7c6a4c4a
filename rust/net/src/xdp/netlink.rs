//! What the kernel knows of interfaces, addresses, routes and neighbours (rtnetlink).

use std::io::{self, Read, Write};
use std::net::IpAddr;

use socket2::{Domain, Protocol, Socket, Type};

/// More than any single answer, and than one part of a long one.
const BUFFER: usize = 64 << 10;
const HEADER: usize = 16;
const ERROR: u16 = libc::NLMSG_ERROR as u16;
const DONE: u16 = libc::NLMSG_DONE as u16;

// Attributes and types that libc lacks for some C libraries (linux/if_link.h, linux/if_addr.h,
// linux/rtnetlink.h, linux/neighbour.h).
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTA_VIA: u16 = 18;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const RTN_UNICAST: u8 = 1;
const ARPHRD_ETHER: u16 = 1;

/// An interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    /// `None` for what is no Ethernet.
    pub mac: Option<[u8; 6]>,
    /// Bytes of the largest IP packet.
    pub mtu: u32,
    pub up: bool,
    /// Receive queues there may be; fewer may be in use.
    pub queues: u32,
}

/// Where packets to an address go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The interface they leave through.
    pub interface: u32,
    /// Who takes them on the link: the router, or the peer itself.
    pub next: IpAddr,
    /// The address they leave with, if the kernel has a wish.
    pub source: Option<IpAddr>,
}

/// A neighbour on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    pub mac: [u8; 6],
    /// It has not been heard of for a while: the kernel would ask for it if it had something to send.
    pub stale: bool,
}

/// A socket to ask.
pub struct Netlink {
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Netlink {
    pub fn new() -> io::Result<Self> {
        let kind = Type::RAW.cloexec();
        let route = Protocol::from(libc::NETLINK_ROUTE);
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), kind, Some(route))?;
        Ok(Self { socket, buffer: vec![0; BUFFER], sequence: 0 })
    }

    pub fn link_by_name(&mut self, name: &str) -> io::Result<Link> {
        let mut request = Request::new(libc::RTM_GETLINK, &[0; 16]);
        request.attribute(IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
        self.link(request)
    }

    pub fn link_by_index(&mut self, index: u32) -> io::Result<Link> {
        let mut body = [0; 16];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        self.link(Request::new(libc::RTM_GETLINK, &body))
    }

    fn link(&mut self, request: Request) -> io::Result<Link> {
        let mut link = None;
        self.ask(request, false, |body| link = link.or(parse_link(body)))?;
        link.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Addresses of an interface that can be bound.
    pub fn addresses(&mut self, interface: u32) -> io::Result<Vec<IpAddr>> {
        let mut addresses = Vec::new();
        self.ask(Request::new(libc::RTM_GETADDR, &[0; 8]), true, |body| {
            let Some((head, attributes)) = body.split_first_chunk::<8>() else { return };
            if u32::from_ne_bytes([head[4], head[5], head[6], head[7]]) != interface {
                return;
            }
            // The local end, where that is another than what the link leads to.
            let local = attribute(attributes, IFA_LOCAL);
            let address = local.or_else(|| attribute(attributes, IFA_ADDRESS));
            addresses.extend(address.and_then(ip));
        })?;
        Ok(addresses)
    }

    /// The route to `to`, from `from` if that is given; `None` if there is none, or packets do not
    /// leave this host, or they leave in a way that is not understood here.
    pub fn route(&mut self, to: IpAddr, from: Option<IpAddr>) -> io::Result<Option<Route>> {
        let mut head = [0; 12];
        head[0] = family(to);
        head[1] = octets(&to).len() as u8 * 8;
        head[2] = from.map_or(0, |from| octets(&from).len() as u8 * 8);
        let mut request = Request::new(libc::RTM_GETROUTE, &head);
        request.attribute(RTA_DST, &octets(&to));
        if let Some(from) = from {
            request.attribute(RTA_SRC, &octets(&from));
        }
        let mut route = None;
        let asked = self.ask(request, false, |body| route = route.or(parse_route(body, to)));
        match asked {
            Ok(()) => Ok(route),
            // No route, or one that refuses.
            Err(error) if error.raw_os_error().is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the kernel knows of a neighbour; `None` if it would have to ask first.
    pub fn neighbour(&mut self, interface: u32, ip: IpAddr) -> io::Result<Option<Neighbour>> {
        let mut head = [0; 12];
        head[0] = family(ip);
        head[4..8].copy_from_slice(&interface.to_ne_bytes());
        let mut request = Request::new(libc::RTM_GETNEIGH, &head);
        request.attribute(NDA_DST, &octets(&ip));
        let mut neighbour = None;
        let asked =
            self.ask(request, false, |body| neighbour = neighbour.or(parse_neighbour(body)));
        match asked {
            Ok(()) => Ok(neighbour),
            Err(error) if error.raw_os_error().is_some() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a request and shows every answer to `each`, without its header.
    fn ask(
        &mut self,
        mut request: Request,
        dump: bool,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        request.finish(self.sequence, dump);
        self.socket.write_all(&request.0)?;
        loop {
            let got = self.socket.read(&mut self.buffer)?;
            let mut rest = self.buffer.get(..got).unwrap_or_default();
            while let Some((kind, sequence, body, next)) = message(rest) {
                rest = next;
                if sequence != self.sequence {
                    continue;
                }
                match kind {
                    DONE => return Ok(()),
                    ERROR => return refusal(body),
                    _ => each(body),
                }
                if !dump {
                    return Ok(());
                }
            }
        }
    }
}

/// A request as it grows.
struct Request(Vec<u8>);

impl Request {
    fn new(kind: u16, head: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(head);
        Self(bytes)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let len = value.len() as u16 + 4;
        self.0.extend_from_slice(&len.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn finish(&mut self, sequence: u32, dump: bool) {
        let flags = libc::NLM_F_REQUEST | if dump { libc::NLM_F_DUMP } else { 0 };
        let len = self.0.len() as u32;
        self.0[..4].copy_from_slice(&len.to_ne_bytes());
        self.0[6..8].copy_from_slice(&(flags as u16).to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
    }
}

/// The first message: its type, its sequence number, its body, and what comes behind it.
fn message(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let (&[a, b, c, d, e, f, _, _, g, h, i, j, ..], _) = bytes.split_first_chunk::<HEADER>()?;
    let len = u32::from_ne_bytes([a, b, c, d]) as usize;
    let body = bytes.get(HEADER..len)?;
    let rest = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((u16::from_ne_bytes([e, f]), u32::from_ne_bytes([g, h, i, j]), body, rest))
}

/// An acknowledgement is an error of number 0.
fn refusal(body: &[u8]) -> io::Result<()> {
    let code = body.first_chunk::<4>().map_or(libc::EPROTO, |code| -i32::from_ne_bytes(*code));
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// The value of the first attribute of that kind.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some((&[a, b, c, d], _)) = bytes.split_first_chunk::<4>() {
        let len = usize::from(u16::from_ne_bytes([a, b]));
        let value = bytes.get(4..len)?;
        // The two highest bits say something about the value.
        if u16::from_ne_bytes([c, d]) & 0x3fff == wanted {
            return Some(value);
        }
        bytes = bytes.get(len.next_multiple_of(4)..)?;
    }
    None
}

fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*value.first_chunk()?))
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(IpAddr::from(*value.first_chunk::<4>()?)),
        16 => Some(IpAddr::from(*value.first_chunk::<16>()?)),
        _ => None,
    }
}

fn octets(ip: &IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn family(ip: IpAddr) -> u8 {
    (if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }) as u8
}

fn parse_link(body: &[u8]) -> Option<Link> {
    let (head, attributes) = body.split_first_chunk::<16>()?;
    let mac = attribute(attributes, IFLA_ADDRESS).and_then(|mac| mac.try_into().ok());
    let ethernet = u16::from_ne_bytes([head[2], head[3]]) == ARPHRD_ETHER;
    Some(Link {
        index: number(&head[4..])?,
        mac: mac.filter(|_| ethernet),
        mtu: number(attribute(attributes, IFLA_MTU)?)?,
        up: number(&head[8..])? & libc::IFF_UP as u32 != 0,
        queues: attribute(attributes, IFLA_NUM_RX_QUEUES).and_then(number).unwrap_or(1),
    })
}

fn parse_route(body: &[u8], to: IpAddr) -> Option<Route> {
    let (head, attributes) = body.split_first_chunk::<12>()?;
    // A gateway of the other family is for the kernel.
    if head[7] != RTN_UNICAST || attribute(attributes, RTA_VIA).is_some() {
        return None;
    }
    Some(Route {
        interface: number(attribute(attributes, RTA_OIF)?)?,
        next: attribute(attributes, RTA_GATEWAY).and_then(ip).unwrap_or(to),
        source: attribute(attributes, RTA_PREFSRC).and_then(ip),
    })
}

fn parse_neighbour(body: &[u8]) -> Option<Neighbour> {
    let (head, attributes) = body.split_first_chunk::<12>()?;
    let state = u16::from_ne_bytes([head[8], head[9]]);
    let known = libc::NUD_PERMANENT
        | libc::NUD_NOARP
        | libc::NUD_REACHABLE
        | libc::NUD_PROBE
        | libc::NUD_STALE
        | libc::NUD_DELAY;
    if state & known == 0 {
        return None;
    }
    let mac = attribute(attributes, NDA_LLADDR)?.try_into().ok()?;
    Some(Neighbour { mac, stale: state & libc::NUD_STALE != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_loopback_interface() {
        let mut netlink = Netlink::new().unwrap();
        let link = netlink.link_by_name("lo").unwrap();
        assert_eq!(link.mac, None, "no Ethernet");
        assert!(link.mtu >= 1280);
        assert_eq!(netlink.link_by_index(link.index).unwrap(), link);
        let localhost = "127.0.0.1".parse().unwrap();
        if link.up {
            assert!(netlink.addresses(link.index).unwrap().contains(&localhost));
        }
        assert_eq!(netlink.route(localhost, None).unwrap(), None, "stays on this host");
        assert_eq!(netlink.neighbour(link.index, "192.0.2.1".parse().unwrap()).unwrap(), None);
        let error = netlink.link_by_name("tquic-not-here").unwrap_err();
        assert!(error.raw_os_error().is_some(), "{error}");
    }

    proptest! {
        #[test]
        fn any_answer_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            message(&bytes);
            attribute(&bytes, 4);
            parse_link(&bytes);
            parse_neighbour(&bytes);
            parse_route(&bytes, "192.0.2.1".parse().unwrap());
        }
    }
}
