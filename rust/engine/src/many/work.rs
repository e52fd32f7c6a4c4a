//! One connection's part in a run.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tquic_core::stream::{StreamEvent, StreamSet};
use tquic_core::time::Instant;
use tquic_wire::StreamId;

use super::run::{Pacing, RunState};
use super::schedule::Schedule;
use crate::exchange::{End, Exchanges, Finished, Template};
use crate::h3::Violation;

/// How the part is cut.
enum Part {
    /// Open loop.
    Timed(Box<Schedule>),
    /// Closed loop: what the others leave.
    Shared,
    /// Closed loop: so many, the first of which should have left at a time that is long fixed.
    Own(u64, Option<Instant>),
}

/// See the module.
pub(super) struct Work {
    run: Arc<RunState>,
    connection: u32,
    exchanges: Exchanges,
    part: Part,
    /// Which template is next.
    turn: usize,
    now: Instant,
    wake_at: Option<Instant>,
}

impl Work {
    /// The connection is the `index`-th of `of` that take part.
    pub fn new(run: Arc<RunState>, (connection, index, of): (u32, u64, u64), http: bool) -> Self {
        let part = match run.plan.pacing {
            Pacing::Closed => Part::Shared,
            Pacing::Open { rate, ramp, poisson, seed } => {
                let seed = poisson.then_some(seed);
                let count = run.plan.count;
                let part = (index, of);
                Part::Timed(Box::new(Schedule::new(run.start, (rate, ramp), seed, count, part)))
            }
        };
        Self::with(run, connection, part, index as usize, http)
    }

    /// All of a connection that comes for this and goes, and should have come at `due`.
    pub fn visit(run: Arc<RunState>, connection: u32, due: Instant, http: bool) -> Self {
        let part = Part::Own(run.plan.count.unwrap_or(1), Some(due));
        Self::with(run, connection, part, connection as usize, http)
    }

    fn with(run: Arc<RunState>, connection: u32, part: Part, turn: usize, http: bool) -> Self {
        let exchanges = Exchanges::new(run.plan.response).http(http).patience(run.plan.patience);
        Self { connection, exchanges, part, turn, now: run.start, wake_at: None, run }
    }

    pub fn contains(&self, id: StreamId) -> bool {
        self.exchanges.contains(id)
    }

    pub fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }

    /// An error is what the peer did wrong.
    pub fn on_stream(
        &mut self,
        now: Instant,
        streams: &mut StreamSet,
        event: &StreamEvent,
    ) -> Result<(), Violation> {
        let Some(finished) = self.exchanges.on_stream(now, streams, event) else { return Ok(()) };
        self.run.on_finished(now, self.connection, &finished);
        match finished.end {
            End::Broken(violation) => Err(violation),
            _ => Ok(()),
        }
    }

    /// Begins what is to begin, unless the peer takes no more. False when this part of the run is
    /// done.
    pub fn drive(&mut self, now: Instant, streams: &mut StreamSet, is_leaving: bool) -> bool {
        self.now = now;
        self.wake_at = None;
        while let Some(finished) = self.exchanges.expire(now, streams) {
            self.run.on_finished(now, self.connection, &finished);
        }
        let stopped = is_leaving || self.run.stopped.load(Relaxed);
        let more = !stopped && self.begin(now, streams);
        let deadline = self.exchanges.deadline();
        self.wake_at = [self.wake_at, deadline].into_iter().flatten().min();
        more || !self.exchanges.is_empty()
    }

    /// False if nothing more will begin.
    fn begin(&mut self, now: Instant, streams: &mut StreamSet) -> bool {
        match self.part {
            Part::Timed(_) => self.begin_timed(now, streams),
            Part::Shared => {
                if self.run.is_over(now) {
                    return false;
                }
                self.wake_at = self.run.until;
                self.begin_shared(now, streams)
            }
            Part::Own(..) => self.begin_own(now, streams),
        }
    }

    fn begin_timed(&mut self, now: Instant, streams: &mut StreamSet) -> bool {
        let until = self.run.until;
        loop {
            let Part::Timed(schedule) = &self.part else { return false };
            let Some(next) = schedule.next().filter(|at| until.is_none_or(|until| *at < until))
            else {
                return false;
            };
            if next > now {
                self.wake_at = Some(next);
                return true;
            }
            if !self.has_room() || !self.send((now, next), streams) {
                if until.is_none_or(|until| now < until) {
                    self.wake_at = until;
                    return true;
                }
                // What finds no room when time is up does not leave any more.
                self.miss();
                return false;
            }
            if let Part::Timed(schedule) = &mut self.part {
                schedule.advance();
            }
        }
    }

    /// What has not left counts as failed; nothing leaves after that.
    fn miss(&mut self) {
        let missed = match &mut self.part {
            Part::Timed(schedule) => schedule.end(self.run.until),
            Part::Shared => 0,
            Part::Own(left, _) => std::mem::take(left),
        };
        self.run.on_not_sent(missed);
    }

    fn begin_shared(&mut self, now: Instant, streams: &mut StreamSet) -> bool {
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

    fn begin_own(&mut self, now: Instant, streams: &mut StreamSet) -> bool {
        while let Part::Own(left, due) = self.part
            && left > 0
            && self.has_room()
        {
            if !self.send((now, due.unwrap_or(now)), streams) {
                return true;
            }
            self.part = Part::Own(left - 1, None);
        }
        matches!(self.part, Part::Own(1.., _))
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
            self.run.on_finished(self.now, self.connection, &finished);
        }
        self.miss();
        self.run.leave();
    }
}
