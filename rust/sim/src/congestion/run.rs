//! One run of a scenario: what is measured.

use super::scenario::{Quantity, Queue, Scenario};
use super::world::{FlowState, Tier, World};
use crate::link::{Histogram, Stats};
use tquic_core::cc::Congestion;
use tquic_core::time::{Duration, Instant};

/// The time between two looks at a run.
pub const STEP: Duration = Duration::from_millis(100);
/// The share that a late joiner is to reach.
const FAIR: core::ops::RangeInclusive<f64> = 0.35..=0.65;
/// Over how many looks its share is taken: three seconds.
const FAIR_STEPS: usize = 30;
/// Pacing over the rate of the link while the bandwidth is known: probes go from 0.75 of it (version 2
/// of BBR, down) to 1.25 (up), less the pacing margin of 1 %, which says nothing about what is known.
const ADAPTED: core::ops::RangeInclusive<f64> = 0.74..=1.25;
/// Looks in a second.
const SECOND: usize = 10;

/// The state of everything at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// When.
    pub at: Instant,
    /// Bytes in the bottleneck's queue.
    pub backlog: u64,
    /// Bytes of each flow that arrived so far.
    pub goodput: Vec<u64>,
    /// The flows in order.
    pub flows: Vec<FlowState>,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Run {
    /// One look each [`STEP`].
    pub looks: Vec<Look>,
    /// A hash over everything that happened.
    pub hash: u64,
    /// Packets that the bottleneck was offered.
    pub packets: u64,
    subjects: Vec<usize>,
    starts: Vec<Instant>,
    queue: Histogram,
    dropped: u64,
    offered: u64,
    measured: (usize, usize),
}

/// Plays `scenario` with `subject` as the controller under test.
pub fn run(scenario: &Scenario, subject: Congestion, seed: u64) -> Run {
    run_on(Tier::Recovery, scenario, subject, seed)
}

/// Plays it with hosts of a tier.
pub fn run_on(tier: Tier, scenario: &Scenario, subject: Congestion, seed: u64) -> Run {
    let mut world = World::new(tier, scenario, subject, seed);
    let steps = |time: Duration| (time.as_millis() / STEP.as_millis()) as usize;
    let (first, last) = (steps(scenario.warm_up.0), steps(scenario.time.0));
    let mut looks = vec![look(&mut world)];
    let mut before = None;
    for step in 1..=last {
        world.simulation.run(Instant::ZERO + STEP * step as u32);
        looks.push(look(&mut world));
        if step == first {
            before = Some(stats(&world).clone());
        }
    }
    let (before, after) = (before.unwrap_or_default(), stats(&world).clone());
    Run {
        looks,
        hash: world.simulation.network.trace_hash(),
        packets: after.offered.packets,
        subjects: (0..world.flows.len()).filter(|&i| world.flows[i].subject).collect(),
        starts: world.flows.iter().map(|flow| flow.start).collect(),
        queue: after.sojourn.since(&before.sojourn),
        dropped: after.dropped_total().packets - before.dropped_total().packets,
        offered: after.offered.packets - before.offered.packets,
        measured: (first, last),
    }
}

fn stats(world: &World) -> &Stats {
    let stats = world.simulation.network.stats(world.bottleneck);
    stats.expect("the bottleneck is of this network")
}

fn look(world: &mut World) -> Look {
    let backlog = world.simulation.network.backlog(world.bottleneck).1;
    let goodput = world.flows.iter().map(|flow| world.goodput(flow)).collect();
    let flows = world.flows.iter().map(|flow| world.state(flow)).collect();
    Look { at: world.simulation.now(), backlog, goodput, flows }
}

impl Run {
    /// A quantity; `None` if this run has none.
    pub fn quantity(&self, scenario: &Scenario, what: Quantity) -> Option<f64> {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let rate = scenario.rate.0.as_bps() as f64 / 8.0;
        let mean = self.queue.mean().as_secs_f64();
        let p99 = self.queue.percentile(99.0).as_secs_f64();
        let bdp = scenario.bdp() / rate;
        Some(match what {
            Quantity::Utilization => self.total() / self.capacity(scenario),
            Quantity::QueueMs => millis(self.queue.mean()),
            Quantity::QueueP99Ms => millis(self.queue.percentile(99.0)),
            Quantity::QueueBdp => mean / bdp,
            Quantity::QueueP99Bdp => p99 / bdp,
            Quantity::QueuePackets => mean * rate / f64::from(scenario.packet),
            Quantity::Loss => self.dropped as f64 / self.offered.max(1) as f64,
            Quantity::WindowPackets => {
                let subjects = self.subjects.len().max(1) as f64;
                let bytes: f64 = self.subjects.iter().map(|&i| self.bytes(i)).sum();
                let rtt = scenario.rtt.0.as_secs_f64();
                bytes / subjects / self.seconds() * rtt / f64::from(scenario.packet)
            }
            Quantity::Jain => self.jain(),
            Quantity::Share => self.bytes(*self.subjects.first()?) / self.total(),
            Quantity::ConvergenceS => self.convergence()?,
            Quantity::AdaptS => self.adapted(scenario)?,
            Quantity::PacingRatio => {
                let (first, last) = self.measured;
                self.median_pacing(first, last)? / rate_at(scenario, self.looks.last()?.at)
            }
        })
    }

    /// Goodput of a flow in a second up to each look, in bits per second.
    pub fn rates(&self, flow: usize) -> Vec<f64> {
        let at = |i: usize| self.looks[i].goodput[flow] as f64;
        let second = |i: usize| {
            let from = i.saturating_sub(SECOND);
            (at(i) - at(from)) * 8.0 / ((i - from).max(1) as f64 * STEP.as_secs_f64())
        };
        (0..self.looks.len()).map(second).collect()
    }

    /// Goodput of a flow while it is measured, in bytes.
    fn bytes(&self, flow: usize) -> f64 {
        let (first, last) = self.measured;
        self.between(flow, first, last)
    }

    fn between(&self, flow: usize, from: usize, to: usize) -> f64 {
        let at = |look: usize| self.looks[look].goodput[flow];
        // What was found to be in vain may have arrived before.
        at(to).saturating_sub(at(from)) as f64
    }

    fn total(&self) -> f64 {
        (0..self.starts.len()).map(|flow| self.bytes(flow)).sum()
    }

    fn seconds(&self) -> f64 {
        let (first, last) = self.measured;
        (last - first) as f64 * STEP.as_secs_f64()
    }

    /// Bytes that the bottleneck could carry while it was measured.
    fn capacity(&self, scenario: &Scenario) -> f64 {
        let (first, last) = self.measured;
        let carried = |look: &Look| rate_at(scenario, look.at) * STEP.as_secs_f64();
        self.looks[first..last].iter().map(carried).sum()
    }

    fn jain(&self) -> f64 {
        let rates: Vec<f64> = (0..self.starts.len()).map(|flow| self.bytes(flow)).collect();
        let (sum, squares) =
            rates.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
        if squares == 0.0 { 0.0 } else { sum * sum / (rates.len() as f64 * squares) }
    }

    /// The time of the whole run stands for "never".
    fn convergence(&self) -> Option<f64> {
        let joiner = self.starts.iter().enumerate().max_by_key(|(_, start)| **start)?.0;
        let begin = self.starts[joiner];
        let from = self.looks.iter().position(|look| look.at >= begin)?;
        let fair = |&look: &usize| {
            let to = look + FAIR_STEPS;
            let all: f64 = (0..self.starts.len()).map(|flow| self.between(flow, look, to)).sum();
            FAIR.contains(&(self.between(joiner, look, to) / all))
        };
        let last = self.looks.len().saturating_sub(FAIR_STEPS);
        let found = (from..last).find(fair).unwrap_or(self.looks.len() - 1);
        Some((self.looks[found].at - begin).as_secs_f64())
    }

    fn adapted(&self, scenario: &Scenario) -> Option<f64> {
        let change = Instant::ZERO + scenario.rates.last()?.at.0;
        let from = self.looks.iter().position(|look| look.at >= change)?;
        let wanted = rate_at(scenario, change);
        let near = |&look: &usize| {
            let median = self.median_pacing(look, look + SECOND).unwrap_or(0.0);
            ADAPTED.contains(&(median / wanted))
        };
        let last = self.looks.len().saturating_sub(SECOND);
        let found = (from..last).find(near).unwrap_or(self.looks.len() - 1);
        Some((self.looks[found].at - change).as_secs_f64())
    }

    /// The median of the first flow's pacing rate, bytes per second.
    fn median_pacing(&self, from: usize, to: usize) -> Option<f64> {
        let mut rates: Vec<u64> =
            self.looks.get(from..to)?.iter().map(|look| look.flows[0].pacing_rate).collect();
        rates.sort_unstable();
        rates.get(rates.len() / 2).map(|&rate| rate as f64)
    }
}

/// Bytes per second that get through the bottleneck at a time.
pub fn rate_at(scenario: &Scenario, at: Instant) -> f64 {
    let past = scenario.rates.iter().take_while(|change| Instant::ZERO + change.at.0 <= at);
    let wire = past.last().map_or(scenario.rate.0, |change| change.rate.0);
    let rate = match scenario.queue {
        Queue::Policer { rate, .. } => rate.0.min(wire),
        _ => wire,
    };
    rate.as_bps() as f64 / 8.0
}
