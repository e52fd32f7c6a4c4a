//! One flow over one link, in virtual time: the real loss detection, sampler and pacer around the
//! controller whose state the tests look at.

use crate::cc::bbr::{Bbr, State};
use crate::cc::{Congestion, Controller};
use crate::recovery::{
    Recovery, RecoveryConfig, SentPacket, TimeoutAction, TimerContext, Token, TokenSink,
};
use crate::time::{Duration, Instant, nanos};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use tquic_wire::frame::ack;
use tquic_wire::{Frame, FrameIter, Space, Writer};

pub const MSS: u64 = 1200;
const MAX_ACK_DELAY: Duration = Duration::from_millis(25);

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Bytes per second of megabits per second.
pub fn mbps(rate: u64) -> u64 {
    rate * 125_000
}

/// Drops what comes faster than its rate, for which it saves up to `burst` bytes.
pub struct Policer {
    pub rate: u64,
    pub burst: u64,
    pub tokens: u64,
    pub updated: Instant,
}

/// What the network and the application do. All of it may be changed on the way.
pub struct Conditions {
    /// Bytes per second.
    pub rate: u64,
    pub round_trip: Duration,
    /// Bytes of the bottleneck's queue.
    pub buffer: u64,
    pub policer: Option<Policer>,
    /// Whether the packet of this number is lost.
    pub loses: fn(u64) -> bool,
    /// Extra delay of the packet of this number, sent so long after the start.
    pub delays: fn(u64, Duration) -> Duration,
    /// Acknowledgments travel in clumps, one in this time.
    pub clump: Option<Duration>,
    /// What the peer claims to have held acknowledgments back.
    pub claimed_delay: Duration,
    /// Bytes per second that the application has to send; `None` for all that may be sent.
    pub application: Option<u64>,
}

pub struct Flow {
    pub at: Conditions,
    pub r: Recovery,
    pub now: Instant,
    /// When the bottleneck's queue will be empty.
    free: Instant,
    /// Packets and when their acknowledgments arrive.
    acks: BinaryHeap<Reverse<(Instant, u64)>>,
    /// When the application last had data, and what is left of it.
    written: (Instant, u64),
    pub delivered: u64,
    /// Time that packets waited in the bottleneck, summed up, and how many there were.
    waited: (Duration, u32),
    probes: usize,
}

struct Ignore;

impl TokenSink for Ignore {
    fn acked(&mut self, _: Space, _: Token) {}
    fn lost(&mut self, _: Space, _: Token) {}
}

const START: Instant = Instant::from_nanos(1_000_000_000);

impl Flow {
    /// A flow that always has data, over a link that loses nothing but what overflows its queue of
    /// two bandwidth-delay products.
    pub fn new(congestion: Congestion, rate: u64, round_trip: Duration) -> Self {
        let config = RecoveryConfig { congestion, seed: 7, ..RecoveryConfig::default() };
        Self {
            at: Conditions {
                rate,
                round_trip,
                buffer: 2 * rate * nanos(round_trip) / 1_000_000_000 + 40 * MSS,
                policer: None,
                loses: |_| false,
                delays: |_, _| Duration::ZERO,
                clump: None,
                claimed_delay: Duration::ZERO,
                application: None,
            },
            r: Recovery::new(&config, START),
            now: START,
            free: START,
            acks: BinaryHeap::new(),
            written: (START, 0),
            delivered: 0,
            waited: (Duration::ZERO, 0),
            probes: 0,
        }
    }

    pub fn bbr(&self) -> &Bbr {
        let Controller::Bbr(bbr) = self.r.controller() else { panic!("this is BBR") };
        bbr
    }

    pub fn state(&self) -> State {
        self.bbr().state
    }

    /// The true bandwidth-delay product.
    pub fn bdp(&self) -> u64 {
        self.at.rate * nanos(self.at.round_trip) / 1_000_000_000
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now - START
    }

    /// Runs until `done`, which is asked after every event; panics after `limit`.
    #[track_caller]
    pub fn until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) {
        let end = self.now + limit;
        while !done(self) {
            assert!(self.now < end, "{:?} after {limit:?}", self.state());
            self.step(end);
        }
    }

    #[track_caller]
    pub fn until_state(&mut self, state: State) {
        self.until(Duration::from_secs(30), |f| f.state() == state);
    }

    /// Runs for `time`; `watch` sees the flow after every event.
    pub fn watch(&mut self, time: Duration, mut watch: impl FnMut(&Self)) {
        let end = self.now + time;
        while self.now < end {
            self.step(end);
            watch(self);
        }
    }

    pub fn run(&mut self, time: Duration) {
        self.watch(time, |_| ());
    }

    /// Share of the link that was used in the next `time`.
    pub fn utilization(&mut self, time: Duration) -> f64 {
        let (before, start) = (self.delivered, self.now);
        self.run(time);
        let seconds = (self.now - start).as_secs_f64();
        (self.delivered - before) as f64 / (self.at.rate as f64 * seconds)
    }

    /// Sends what may be sent, then lets the next event happen, no later than `end`.
    fn step(&mut self, end: Instant) {
        let release = self.send();
        let acks = self.acks.peek().map(|first| first.0.0);
        let timer = self.r.timeout(&established());
        let application = self.at.application.map(|rate| {
            let missing = MSS.saturating_sub(self.written.1);
            self.written.0 + Duration::from_nanos((missing * 1_000_000_000).div_ceil(rate.max(1)))
        });
        let application = application.filter(|at| *at > self.now);
        let next = [release, acks, timer, application].into_iter().flatten().min();
        self.now = next.unwrap_or(end).clamp(self.now, end);
        self.receive();
        if self.r.timeout(&established()).is_some_and(|at| at <= self.now)
            && let TimeoutAction::Pto { probes, .. } =
                self.r.on_timeout(self.now, &established(), &mut Ignore)
        {
            self.probes += probes;
        }
    }

    /// Mean time in the bottleneck's queue over the next `time`.
    pub fn mean_queue(&mut self, time: Duration) -> Duration {
        self.waited = (Duration::ZERO, 0);
        self.run(time);
        self.waited.0 / self.waited.1.max(1)
    }

    fn has_data(&mut self) -> bool {
        let Some(rate) = self.at.application else { return true };
        let (since, left) = self.written;
        let earned = nanos(self.now - since) * rate / 1_000_000_000;
        if earned > 0 {
            // No more than a few packets pile up.
            self.written = (self.now, (left + earned).min(10 * MSS));
        }
        self.written.1 >= MSS
    }

    /// When to go on, if only the pacer stands in the way.
    fn send(&mut self) -> Option<Instant> {
        for _ in 0..core::mem::take(&mut self.probes) {
            self.send_packet();
        }
        loop {
            if !self.has_data() {
                self.r.on_out_of_data(self.now);
                return None;
            }
            let budget = self.r.budget(self.now);
            if budget.bytes < MSS {
                return budget.next_release;
            }
            self.written.1 = self.written.1.saturating_sub(MSS);
            self.send_packet();
        }
    }

    fn send_packet(&mut self) {
        let pn = self.r.next_pn(Space::Data);
        self.r.on_packet_sent(
            Space::Data,
            pn,
            SentPacket {
                time_sent: self.now,
                size: MSS as u16,
                ack_eliciting: true,
                in_flight: true,
                ..SentPacket::default()
            },
        );
        if (self.at.loses)(pn) || !self.passes_policer() {
            return;
        }
        let start = self.free.max(self.now);
        if nanos(start - self.now) * self.at.rate / 1_000_000_000 + MSS > self.at.buffer {
            return;
        }
        self.waited = (self.waited.0 + (start - self.now), self.waited.1 + 1);
        self.free = start + Duration::from_nanos(MSS * 1_000_000_000 / self.at.rate);
        let extra = (self.at.delays)(pn, self.elapsed());
        let mut arrival = self.free + self.at.round_trip + extra;
        if let Some(clump) = self.at.clump {
            arrival = Instant::from_nanos(arrival.as_nanos().next_multiple_of(nanos(clump)));
        }
        self.acks.push(Reverse((arrival, pn)));
    }

    fn passes_policer(&mut self) -> bool {
        let Some(p) = &mut self.at.policer else { return true };
        let earned = nanos(self.now - p.updated) * p.rate / 1_000_000_000;
        if earned > 0 {
            p.tokens = (p.tokens + earned).min(p.burst);
            p.updated = self.now;
        }
        let passes = p.tokens >= MSS;
        p.tokens -= if passes { MSS } else { 0 };
        passes
    }

    /// One ACK frame for everything whose acknowledgment is there.
    fn receive(&mut self) {
        let now = self.now;
        let mut here = Vec::new();
        while self.acks.peek().is_some_and(|first| first.0.0 <= now) {
            here.extend(self.acks.pop().map(|first| first.0.1));
        }
        if here.is_empty() {
            return;
        }
        self.delivered += here.len() as u64 * MSS;
        here.sort_unstable_by(|a, b| b.cmp(a));
        let ranges: Vec<_> =
            here.chunk_by(|a, b| *a == b + 1).map(|run| run[run.len() - 1]..=run[0]).collect();
        let mut buf = [0; 8192];
        let mut w = Writer::new(&mut buf);
        assert_eq!(ack::write(&mut w, None, ranges.iter().cloned(), 0, None, 8192), ranges.len());
        let Some(Ok(Frame::Ack(ack))) = FrameIter::new(w.written()).next() else { panic!() };
        let claimed = self.at.claimed_delay;
        self.r.on_ack(now, Space::Data, &ack, claimed, MAX_ACK_DELAY, &mut Ignore).unwrap();
    }
}

fn established() -> TimerContext {
    TimerContext {
        handshake_confirmed: true,
        has_handshake_keys: false,
        peer_validated_address: true,
        amplification_blocked: false,
        peer_max_ack_delay: MAX_ACK_DELAY,
        ack_threshold: None,
        longest_backoff: Duration::MAX,
    }
}
