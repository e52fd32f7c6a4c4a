//! A whole sender and a whole receiver over one bottleneck, in virtual time.

use super::*;
use crate::space::AckTracker;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

/// A link with a drop-tail queue; jitter reorders.
struct Link {
    /// Bytes per second.
    rate: u64,
    one_way: Duration,
    buffer: u64,
    /// The queue is empty from then on.
    free: Instant,
    /// One packet in so many is held back, by this long.
    reorder: Option<(u64, Duration)>,
    /// One packet in so many is lost at random.
    loss: Option<u64>,
}

impl Link {
    fn carry(&mut self, now: Instant, rng: &mut Rng) -> Option<Instant> {
        let start = self.free.max(now);
        let queued = nanos(start - now) * self.rate / 1_000_000_000;
        if queued + MSS > self.buffer || self.loss.is_some_and(|n| rng.below(n) == 0) {
            return None;
        }
        self.free = start + Duration::from_nanos(MSS * 1_000_000_000 / self.rate);
        let late = self.reorder.filter(|(n, _)| rng.below(*n) == 0).map(|(_, late)| late);
        Some(self.free + self.one_way + late.unwrap_or_default())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive { pn: u64 },
    Ack { ranges: Vec<(u64, u64)> },
    Wake { turn: u64 },
}

struct Outcome {
    /// Share of the link's capacity over the second half.
    utilisation: f64,
    stats: RecoveryStats,
}

fn run(congestion: Congestion, seconds: u64, mut link: Link) -> Outcome {
    let mut b = Bench::with(RecoveryConfig { congestion, ..RecoveryConfig::default() });
    let mut rng = Rng::from_seed([9; 32]);
    let mut receiver = AckTracker::new(Space::Data, MAX_ACK_DELAY);
    let mut events = BinaryHeap::from([Reverse((at(0), 0, Event::Wake { turn: 0 }))]);
    let (mut turn, mut order, mut got, mut late_bytes) = (0u64, 0u64, HashSet::new(), 0u64);
    let (half, end) = (at(seconds * 500), at(seconds * 1000));
    let (one_way, rate) = (link.one_way, link.rate);
    while let Some(Reverse((now, _, event))) = events.pop() {
        if now > end {
            break;
        }
        let mut push = |at: Instant, event: Event| {
            order += 1;
            events.push(Reverse((at, order, event)));
        };
        match event {
            Event::Arrive { pn } => {
                receiver.on_received(now, pn, true, None);
                if got.insert(pn) && now > half {
                    late_bytes += MSS;
                }
            }
            Event::Ack { ranges } => {
                let ranges: Vec<_> = ranges.iter().map(|(a, b)| *a..=*b).collect();
                on_ack(&mut b.r, &mut b.sink, now, Space::Data, &ranges, None).unwrap();
            }
            // Every event sets a new alarm; this one is out of date.
            Event::Wake { turn: then } if then != turn => continue,
            Event::Wake { .. } => {}
        }
        if receiver.ack_due(now) {
            let ranges = receiver.ranges().map(RangeInclusive::into_inner).collect();
            receiver.on_written();
            push(now + one_way, Event::Ack { ranges });
        }
        if b.r.timeout(&established()).is_some_and(|due| due <= now) {
            b.r.on_timeout(now, &established(), &mut b.sink);
        }
        let release = loop {
            let budget = b.r.budget(now);
            if budget.bytes < MSS {
                break budget.next_release;
            }
            for _ in 0..budget.bytes / MSS {
                let packet = SentPacket { time_sent: now, ..b.packet(Space::Data, 0) };
                let pn = b.send_packet(Space::Data, packet);
                if let Some(arrival) = link.carry(now, &mut rng) {
                    push(arrival, Event::Arrive { pn });
                }
            }
        };
        let alarms = [release, b.r.timeout(&established()), receiver.timeout()];
        if let Some(alarm) = alarms.into_iter().flatten().min() {
            turn += 1;
            push(alarm, Event::Wake { turn });
        }
        b.sink = Sink::default();
    }
    let capacity = (rate * seconds / 2) as f64;
    Outcome { utilisation: late_bytes as f64 / capacity, stats: b.r.stats() }
}

/// 50 Mbit/s, 40 ms, a buffer of one bandwidth-delay product.
fn link() -> Link {
    Link {
        rate: 6_250_000,
        one_way: ms(20),
        buffer: 250_000,
        free: Instant::ZERO,
        reorder: None,
        loss: None,
    }
}

const BOTH: [Congestion; 2] = [Congestion::NewReno, Congestion::Cubic];

#[test]
fn one_flow_fills_a_link_with_a_buffer_of_one_bdp() {
    for congestion in BOTH {
        let o = run(congestion, 20, link());
        assert!(o.utilisation > 0.95, "{congestion:?}: {}", o.utilisation);
        assert!(o.stats.congestion_events >= 1 && o.stats.persistent_congestion == 0);
        assert_eq!(o.stats.spurious_losses, 0, "{congestion:?}");
    }
}

#[test]
fn shallow_buffers_are_used_well() {
    let o = run(Congestion::Cubic, 20, Link { buffer: 25_000, ..link() });
    assert!(o.utilisation > 0.85, "{}", o.utilisation);
}

#[test]
fn reordering_costs_little() {
    for congestion in BOTH {
        // Held back by 3 ms, about 15 packets: beyond the initial packet threshold.
        let o = run(congestion, 20, Link { reorder: Some((100, ms(3))), ..link() });
        assert!(o.utilisation > 0.9, "{congestion:?}: {}", o.utilisation);
        assert!(o.stats.spurious_losses > 0);
        assert!(o.stats.spurious_losses < 40, "{:?}", o.stats);
        assert!(o.stats.undone_events > 0);
    }
}

#[test]
fn random_loss_gives_the_response_function() {
    // Reno: 1.22 / sqrt(p) packets per RTT of 40 ms; CUBIC is no slower.
    let reno = run(Congestion::NewReno, 60, Link { loss: Some(1000), buffer: 1 << 30, ..link() });
    let expected = 1.22 * 1000f64.sqrt() * MSS as f64 / 0.04 / 6_250_000.0;
    let ratio = reno.utilisation / expected;
    assert!((0.75..1.25).contains(&ratio), "{ratio}");
    let cubic = run(Congestion::Cubic, 60, Link { loss: Some(1000), buffer: 1 << 30, ..link() });
    assert!(cubic.utilisation > 0.8 * reno.utilisation, "{}", cubic.utilisation);
}
