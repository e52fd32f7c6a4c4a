//! One connection's part in a run.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tquic_core::rng::Rng;
use tquic_core::stream::{StreamEvent, StreamSet};
use tquic_core::time::{Duration, Instant};
use tquic_wire::StreamId;

use super::run::{Pacing, RunState};
use crate::exchange::{Exchanges, Finished, Template};

/// When the requests of one connection should leave.
struct Schedule {
    start: Instant,
    /// Requests per second over all connections.
    rate: f64,
    /// This connection's place, and how many there are.
    index: u64,
    of: u64,
    /// Requests so far, and how many there are to be.
    issued: u64,
    share: u64,
    /// Time of the next one.
    next: Instant,
    random: Option<Rng>,
}

impl Schedule {
    fn new(run: &RunState, (rate, seed): (f64, Option<u64>), (index, of): (u64, u64)) -> Self {
        let share = |count: u64| count / of + u64::from(index < count % of);
        let random = seed.map(|seed| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            bytes[8..16].copy_from_slice(&index.to_le_bytes());
            Rng::from_seed(bytes)
        });
        let share = run.plan.count.map_or(u64::MAX, share);
        let start = run.start;
        let mut this = Self { start, rate, index, of, issued: 0, share, next: start, random };
        this.next = this.after(start);
        this
    }

    /// The time of the next request, the last one having been at `previous`.
    fn after(&mut self, previous: Instant) -> Instant {
        let seconds = |s: f64| Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX);
        match &mut self.random {
            None => {
                // By multiplication: sums of rounded intervals would drift.
                let number = self.index as f64 + self.issued as f64 * self.of as f64;
                self.start + seconds(number / self.rate)
            }
            Some(rng) => {
                // In (0, 1], 53 bits of it.
                let uniform = ((rng.u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
                previous + seconds(-uniform.ln() * self.of as f64 / self.rate)
            }
        }
    }

    fn advance(&mut self) {
        self.issued += 1;
        self.next = self.after(self.next);
    }
}

/// See the module.
pub(super) struct Work {
    run: Arc<RunState>,
    connection: u32,
    exchanges: Exchanges,
    schedule: Option<Schedule>,
    /// Which template is next.
    turn: usize,
    now: Instant,
    wake_at: Option<Instant>,
}

impl Work {
    pub fn new(run: Arc<RunState>, (connection, index, of): (u32, u64, u64)) -> Self {
        let schedule = match run.plan.pacing {
            Pacing::Closed => None,
            Pacing::Open { rate, poisson, seed } => {
                Some(Schedule::new(&run, (rate, poisson.then_some(seed)), (index, of)))
            }
        };
        Self {
            connection,
            exchanges: Exchanges::new(run.plan.response),
            schedule,
            turn: index as usize,
            now: run.start,
            wake_at: None,
            run,
        }
    }

    pub fn contains(&self, id: StreamId) -> bool {
        self.exchanges.contains(id)
    }

    pub fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }

    pub fn on_stream(&mut self, now: Instant, streams: &mut StreamSet, event: &StreamEvent) {
        if let Some(finished) = self.exchanges.on_stream(streams, event) {
            self.run.on_finished(now, self.connection, &finished, false);
        }
    }

    /// Begins what is to begin. False when this part of the run is done.
    pub fn drive(&mut self, now: Instant, streams: &mut StreamSet) -> bool {
        self.now = now;
        self.wake_at = None;
        let more = !self.run.stopped.load(Relaxed) && self.begin(now, streams);
        more || !self.exchanges.is_empty()
    }

    /// False if nothing more will begin.
    fn begin(&mut self, now: Instant, streams: &mut StreamSet) -> bool {
        let until = self.run.until;
        let in_time = |at: Instant| until.is_none_or(|until| at < until);
        let Some(schedule) = &self.schedule else {
            if !in_time(now) {
                return false;
            }
            self.wake_at = self.run.until;
            return self.begin_closed(now, streams);
        };
        let mut next = schedule.next;
        let mut left = schedule.share > schedule.issued;
        while left && in_time(next) && next <= now && self.has_room() {
            if !self.send((now, next), streams) {
                return true;
            }
            let Some(schedule) = &mut self.schedule else { break };
            schedule.advance();
            next = schedule.next;
            left = schedule.share > schedule.issued;
        }
        let more = left && in_time(next);
        if more && next > now {
            self.wake_at = Some(next);
        }
        more
    }

    fn begin_closed(&mut self, now: Instant, streams: &mut StreamSet) -> bool {
        while self.has_room() {
            if !self.run.claim() {
                return false;
            }
            if !self.send((now, now), streams) {
                self.run.give_back();
                return true;
            }
        }
        !self.run.is_exhausted()
    }

    fn has_room(&self) -> bool {
        self.exchanges.len() < self.run.plan.in_flight.max(1)
    }

    fn send(&mut self, when: (Instant, Instant), streams: &mut StreamSet) -> bool {
        let templates = &self.run.plan.templates;
        let nothing = Template::default();
        let template = templates.get(self.turn % templates.len().max(1)).unwrap_or(&nothing);
        if !self.exchanges.begin(when, streams, template) {
            return false;
        }
        self.turn = self.turn.wrapping_add(1);
        self.run.on_sent(template.size());
        true
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // Done, or the connection is: then exchanges end without their responses.
        let lost: Vec<Finished> = self.exchanges.give_up();
        if !lost.is_empty() {
            self.now = self.now.max(crate::shard::clock());
        }
        for finished in lost {
            self.run.on_finished(self.now, self.connection, &finished, true);
        }
        self.run.leave();
    }
}
