//! The largest datagram a path carries: DPLPMTUD (RFC 8899, RFC 9000 section 14.3), and the return
//! to 1200 bytes when large datagrams vanish.

use core::time::Duration;

pub use crate::config::transport::MIN_DATAGRAM as BASE;
use crate::config::transport::MIN_DATAGRAM;
use crate::time::Instant;

/// Losses of one probe size before it counts as too large (RFC 8899 section 5.1.2, MAX_PROBES).
const MAX_PROBES: u8 = 3;
/// The search ends when its step would gain less than this, in bytes.
const GRAIN: u16 = 16;
/// Time until a finished search begins again (RFC 8899 section 5.1.1, PMTU_RAISE_TIMER).
const RAISE: Duration = Duration::from_secs(600);
/// ACKs in a row that find large packets lost and acknowledge none: a black hole.
const BLACK_HOLE: u8 = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    /// Sizes up to `low` pass, sizes from `high` on do not (or are not allowed).
    Between {
        low: u16,
        high: u16,
    },
    /// Found; look again then.
    Done {
        again: Instant,
    },
    Off,
}

/// The datagram size of one 4-tuple.
#[derive(Clone, Debug)]
pub struct Mtu {
    current: u16,
    limit: u16,
    search: Search,
    in_flight: Option<u16>,
    lost_probes: u8,
    lossy_acks: u8,
}

impl Mtu {
    /// Starts at 1200 bytes and searches up to `limit`, if `discover`.
    pub fn new(limit: u16, discover: bool) -> Self {
        let limit = limit.max(MIN_DATAGRAM);
        let search = if discover { Self::search_up_to(MIN_DATAGRAM, limit) } else { Search::Off };
        Self {
            current: MIN_DATAGRAM,
            limit,
            search,
            in_flight: None,
            lost_probes: 0,
            lossy_acks: 0,
        }
    }

    fn search_up_to(low: u16, limit: u16) -> Search {
        if limit > low {
            // RFC 8899 section 5.3.2: the upper limit is the first guess, most paths carry it.
            Search::Between { low, high: limit + 1 }
        } else {
            Search::Off
        }
    }

    /// Size of datagrams now, in bytes of UDP payload.
    pub fn current(&self) -> u16 {
        self.current
    }

    /// Whether no larger size is looked for at present.
    pub fn is_settled(&self) -> bool {
        !matches!(self.search, Search::Between { .. })
    }

    /// The peer takes no larger datagrams than this (RFC 9000 section 18.2, max_udp_payload_size),
    /// or the interface sends none.
    pub fn lower_limit(&mut self, limit: u16) {
        let limit = limit.max(MIN_DATAGRAM);
        if limit >= self.limit {
            return;
        }
        self.limit = limit;
        self.current = self.current.min(limit);
        if let Search::Between { low, .. } = self.search {
            self.search = Self::search_up_to(low.min(limit), limit);
        }
    }

    /// The size to probe now, if a probe is due.
    pub fn probe_size(&self, now: Instant) -> Option<u16> {
        if self.in_flight.is_some() {
            return None;
        }
        match self.search {
            Search::Between { low, high } => Some(Self::guess(low, high, self.limit)),
            Search::Done { again } if now >= again && self.limit > self.current => Some(self.limit),
            _ => None,
        }
    }

    fn guess(low: u16, high: u16, limit: u16) -> u16 {
        if high == limit + 1 { limit } else { low + (high - low) / 2 }
    }

    /// A probe was sent.
    pub fn on_probe_sent(&mut self, size: u16) {
        if let Search::Done { .. } = self.search {
            self.search = Self::search_up_to(self.current, self.limit);
        }
        self.in_flight = Some(size);
    }

    /// A probe was acknowledged: returns the new size if it grew.
    pub fn on_probe_acked(&mut self, now: Instant, size: u16) -> Option<u16> {
        self.in_flight = None;
        self.lost_probes = 0;
        if let Search::Between { high, .. } = self.search {
            self.narrow(now, size, high);
        }
        if size > self.current && size <= self.limit {
            self.current = size;
            return Some(size);
        }
        None
    }

    /// A probe was lost. That says nothing about congestion (RFC 9000 section 14.4).
    pub fn on_probe_lost(&mut self, now: Instant, size: u16) {
        self.in_flight = None;
        self.lost_probes += 1;
        if self.lost_probes < MAX_PROBES {
            return;
        }
        self.lost_probes = 0;
        if let Search::Between { low, .. } = self.search {
            self.narrow(now, low, size);
        }
    }

    fn narrow(&mut self, now: Instant, low: u16, high: u16) {
        self.search = if high.saturating_sub(low) <= GRAIN.min(self.limit - MIN_DATAGRAM + 1) {
            Search::Done { again: now + RAISE }
        } else {
            Search::Between { low, high }
        };
    }

    /// A packet larger than 1200 bytes was acknowledged.
    pub fn on_acked(&mut self) {
        self.lossy_acks = 0;
    }

    /// An ACK found packets larger than 1200 bytes lost, and acknowledged none. Returns true if the
    /// size fell back to 1200 bytes: RFC 8899 section 4.3, black hole detection.
    pub fn on_losses(&mut self, now: Instant) -> bool {
        if self.current == MIN_DATAGRAM {
            return false;
        }
        self.lossy_acks += 1;
        if self.lossy_acks < BLACK_HOLE {
            return false;
        }
        self.fall_back(now);
        true
    }

    /// The kernel refused a datagram as too large, or a PTO expired twice with large packets.
    pub fn fall_back(&mut self, now: Instant) {
        self.current = MIN_DATAGRAM;
        self.lossy_acks = 0;
        self.lost_probes = 0;
        self.in_flight = None;
        if self.search != Search::Off {
            self.search = Search::Done { again: now + Duration::from_secs(5) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Instant = Instant::ZERO;

    /// Runs the search on a path that carries up to `real` bytes; returns size and probes sent.
    fn discover(limit: u16, real: u16) -> (u16, u32) {
        let mut m = Mtu::new(limit, true);
        let mut probes = 0;
        while let Some(size) = m.probe_size(T) {
            m.on_probe_sent(size);
            assert_eq!(m.probe_size(T), None, "one probe at a time");
            probes += 1;
            if size <= real {
                m.on_probe_acked(T, size);
            } else {
                m.on_probe_lost(T, size);
            }
            assert!(probes < 100);
        }
        (m.current(), probes)
    }

    #[test]
    fn takes_the_limit_with_one_probe_where_it_passes() {
        assert_eq!(discover(1472, 1500), (1472, 1));
        assert_eq!(discover(1200, 1500), (1200, 0));
    }

    #[test]
    fn narrows_down_on_a_smaller_path() {
        for real in [1200, 1250, 1280, 1400, 1452, 1471] {
            let (found, _) = discover(1472, real);
            assert!(found <= real && real - found <= GRAIN, "{real}: {found}");
        }
        let (found, probes) = discover(9000, 4352);
        assert!((4336..=4352).contains(&found) && probes < 40, "{found} {probes}");
    }

    /// RFC 9000 section 14.
    #[test]
    fn large_packets_that_vanish_bring_it_back_to_1200() {
        let mut m = Mtu::new(1472, true);
        m.on_probe_sent(1472);
        m.on_probe_acked(T, 1472);
        for _ in 0..5 {
            assert!(!m.on_losses(T));
        }
        m.on_acked();
        for _ in 0..5 {
            assert!(!m.on_losses(T));
        }
        assert!(m.on_losses(T));
        assert_eq!(m.current(), 1200);
        assert_eq!(m.probe_size(T), None);
        assert_eq!(m.probe_size(T + Duration::from_secs(6)), Some(1472));
    }

    #[test]
    fn the_peers_limit_wins() {
        let mut m = Mtu::new(1472, true);
        m.lower_limit(1300);
        assert_eq!(m.probe_size(T), Some(1300));
        m.lower_limit(1000);
        assert_eq!(m.current(), 1200);
        assert_eq!(m.probe_size(T), None);
    }
}
