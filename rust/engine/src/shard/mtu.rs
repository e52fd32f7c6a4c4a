//! What the routes of this host carry, asked of the kernel once in a while.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use tquic_core::time::{Duration, Instant};
use tquic_net::udp::mtu_of_route;

/// Peers remembered; more start over.
const CAPACITY: usize = 1024;
/// Routes change seldom.
const LIFETIME: Duration = Duration::from_secs(10);
const UDP_HEADER: u16 = 8;
const IPV4_HEADER: u16 = 20;
const IPV6_HEADER: u16 = 40;

/// UDP payloads that routes carry, by peer.
#[derive(Default)]
pub(super) struct RouteMtus(HashMap<IpAddr, (u16, Instant)>);

impl RouteMtus {
    /// The largest UDP payload on the way to `remote`, as far as this host knows. `configured` is
    /// the largest wanted, in the usual way of counting: with an IPv4 header. What does not fit
    /// with an IPv6 header into the same IP packet is taken off.
    pub fn payload(&mut self, now: Instant, remote: SocketAddr, configured: u16) -> u16 {
        let ip = remote.ip().to_canonical();
        let route = self.route(now, ip, remote);
        match ip {
            IpAddr::V4(_) => (route - IPV4_HEADER - UDP_HEADER).min(configured),
            IpAddr::V6(_) => {
                (route - IPV6_HEADER - UDP_HEADER).min(configured - (IPV6_HEADER - IPV4_HEADER))
            }
        }
    }

    fn route(&mut self, now: Instant, ip: IpAddr, remote: SocketAddr) -> u16 {
        if let Some(&(mtu, until)) = self.0.get(&ip)
            && now < until
        {
            return mtu;
        }
        if self.0.len() >= CAPACITY {
            self.0.clear();
        }
        // RFC 9000 section 14: every path must carry 1200 bytes of payload.
        let mtu = mtu_of_route(remote).unwrap_or(u16::MAX).max(1280);
        self.0.insert(ip, (mtu, now + LIFETIME));
        mtu
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_carries_what_is_configured() {
        let mut mtus = RouteMtus::default();
        let (v4, v6) = ("127.0.0.1:1".parse().unwrap(), "[::1]:1".parse().unwrap());
        for now in [Instant::ZERO, Instant::from_nanos(1), Instant::MAX] {
            assert_eq!(mtus.payload(now, v4, 1472), 1472);
            assert_eq!(mtus.payload(now, v6, 1472), 1452);
        }
        for n in 0..3000_u32 {
            mtus.0.insert(IpAddr::from(n.to_be_bytes()), (1500, Instant::MAX));
            if mtus.0.len() > CAPACITY {
                mtus.payload(Instant::MAX, v4, 1472);
            }
        }
        assert!(mtus.0.len() <= CAPACITY + 1);
        mtus.0.insert("127.0.0.1".parse().unwrap(), (1400, Instant::MAX));
        assert_eq!(mtus.payload(Instant::ZERO, v4, 1472), 1372);
    }
}
