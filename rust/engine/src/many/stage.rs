//! Setting connections up: a bounded number of handshakes at a time, at a bounded rate.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tquic_core::time::{Duration, Instant};

use super::member::{Member, Visit};
use super::run::RunState;
use super::shared::{Shared, State};
use crate::application::{Begin, Next, Supply};
use crate::config::ConnectRequest;
use crate::key::ConnectionKey;

/// Where connections leave from, by turns.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Local addresses; none for any.
    pub addresses: Vec<IpAddr>,
    /// Sockets for each of them; 0 counts as 1.
    pub sockets: u16,
}

impl Sources {
    /// The source of the `n`-th connection of a shard.
    fn pick(&self, n: u32, remote: IpAddr) -> (IpAddr, u16) {
        let any = if remote.to_canonical().is_ipv6() {
            IpAddr::from([0_u16; 8])
        } else {
            IpAddr::from([0_u8; 4])
        };
        let addresses = self.addresses.len().max(1);
        let address = self.addresses.get(n as usize % addresses).copied().unwrap_or(any);
        let socket = n as usize / addresses % usize::from(self.sockets.max(1));
        (address, socket as u16)
    }
}

/// Another way to connect: with a store of session tickets.
#[derive(Clone)]
pub struct Variant {
    /// The part of the connections that takes it, from 0 to 1; with the others at most 1.
    pub share: f64,
    /// Each of them.
    pub request: ConnectRequest,
}

/// Which of the variants with these shares the `n`-th connection takes: all are mixed evenly.
fn vary(shares: impl IntoIterator<Item = f64>, n: u32) -> Option<usize> {
    // Multiples of the golden ratio fill the interval from 0 to 1 without clusters.
    let mut place = (f64::from(n) * 0.618_033_988_749_894_9).fract();
    shares.into_iter().position(|share| {
        place -= share;
        place < 0.0
    })
}

/// One shard's part of a set.
pub(super) struct Stage {
    pub shared: Arc<Shared>,
    pub request: ConnectRequest,
    pub variants: Vec<Variant>,
    pub http: bool,
    /// What every connection does before it goes, where they do not stay.
    pub run: Option<Arc<RunState>>,
    pub sources: Sources,
    /// Of this shard: numbers in the set, and names.
    pub keys: std::vec::IntoIter<(u32, ConnectionKey)>,
    /// Connections that this shard has begun.
    pub begun: u32,
    /// Handshakes under way in this shard (or connections, where they do not stay), and how many
    /// there may be.
    pub handshakes: Arc<AtomicUsize>,
    pub limit: usize,
    /// When the first connection of the set begins, and the time between two.
    pub start: Instant,
    pub interval: Duration,
}

impl Supply for Stage {
    fn next(&mut self, now: Instant) -> Next {
        if self.shared.stopping.load(Relaxed) || self.run.as_ref().is_some_and(|r| r.is_over(now)) {
            return Next::Over;
        }
        let Some(&(number, key)) = self.keys.as_slice().first() else { return Next::Over };
        if self.handshakes.load(Relaxed) >= self.limit {
            return Next::Later;
        }
        let due = self.start + self.interval * number;
        if due > now {
            return Next::At(due);
        }
        self.keys.next();
        self.handshakes.fetch_add(1, Relaxed);
        let source = self.sources.pick(self.begun, self.request.remote.ip());
        self.begun += 1;
        self.shared.on_change(number, State::Connecting, None);
        let mut member = Member::new(self.shared.clone(), number, now, self.handshakes.clone());
        member.http = self.http;
        if let Some(run) = &self.run {
            // A connection that begins late because all others are slow is late.
            let due = if self.interval.is_zero() { now } else { due };
            member.visit(Visit::new(run.clone(), due));
        }
        let variant = vary(self.variants.iter().map(|variant| variant.share), number);
        let variant = variant.and_then(|at| self.variants.get(at));
        member.wants_ticket = variant.is_some();
        let request = variant.map_or(&self.request, |variant| &variant.request);
        Next::Begin(Box::new(Begin {
            key,
            request: request.clone(),
            source: Some(source),
            application: Box::new(member),
        }))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for &(number, _) in self.keys.as_slice() {
            self.shared.on_change(number, State::Closed, None);
            if let Some(run) = &self.run {
                run.leave();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_mixed_evenly() {
        for from in [0, 1000, 3_000_000] {
            let mut counts = [0; 3];
            for n in from..from + 1000 {
                counts[vary([0.1, 0.25], n).unwrap_or(2)] += 1;
            }
            for (counted, share) in counts.into_iter().zip([100_i32, 250, 650]) {
                assert!((counted - share).abs() <= 3, "{counts:?}");
            }
        }
        assert_eq!(vary([], 5), None);
    }

    #[test]
    fn connections_leave_from_all_sources_by_turns() {
        let remote = "192.0.2.1".parse().unwrap();
        let some: Vec<IpAddr> = ["127.0.0.2", "127.0.0.3"].map(|a| a.parse().unwrap()).into();
        let sources = Sources { addresses: some.clone(), sockets: 2 };
        let picked: Vec<_> = (0..5).map(|n| sources.pick(n, remote)).collect();
        let expected = [(0, 0), (1, 0), (0, 1), (1, 1), (0, 0)];
        assert_eq!(picked, expected.map(|(a, socket)| (some[a], socket)));
        let any = Sources::default();
        assert_eq!(any.pick(7, remote), ("0.0.0.0".parse().unwrap(), 0));
        assert_eq!(any.pick(7, "2001:db8::1".parse().unwrap()), ("::".parse().unwrap(), 0));
    }
}
