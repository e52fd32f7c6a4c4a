//! A run of requests over connections of a set.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tquic_core::time::Instant;

use super::record::{CAUSES, Cause, Kind, Record};
use super::shared::Shared;
use crate::exchange::{End, Finished, Response, Template};
use crate::perf::Histogram;

/// When requests begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pacing {
    /// The next as soon as one has ended: closed loop.
    Closed,
    /// So many per second, over all connections, whether earlier ones have ended or not: open loop.
    /// Latencies count from the time at which the request should have left.
    Open {
        /// Requests per second.
        rate: f64,
        /// How long the rate takes to get there, evenly from 0.
        ramp: std::time::Duration,
        /// At random, as if independent users sent them, instead of evenly.
        poisson: bool,
        /// Seeds that.
        seed: u64,
    },
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Requests, sent by turns.
    pub templates: Vec<Template>,
    /// How many in all; `None` for as many as there is time for.
    pub count: Option<u64>,
    /// No request begins later than this after the start.
    pub duration: Option<std::time::Duration>,
    /// When they begin.
    pub pacing: Pacing,
    /// How many may be under way on a connection.
    pub in_flight: usize,
    /// What is done with responses.
    pub response: Response,
    /// Bytes that a response (in HTTP/3 its content) must have.
    pub expected: Option<u64>,
    /// How long a response may take from when its request left.
    pub patience: Option<std::time::Duration>,
    /// Latencies kept one by one; the histogram has all.
    pub latencies: usize,
}

/// Latencies one by one, written once and then never changed.
pub struct LatencyLog {
    slots: Box<[AtomicI64]>,
    len: AtomicUsize,
}

impl LatencyLog {
    fn new(capacity: usize) -> Self {
        let slots = (0..capacity).map(|_| AtomicI64::new(0)).collect();
        Self { slots, len: AtomicUsize::new(0) }
    }

    /// One writer at a time.
    fn push(&self, nanos: i64) {
        let at = self.len.load(Relaxed);
        if let Some(slot) = self.slots.get(at) {
            slot.store(nanos, Relaxed);
            self.len.store(at + 1, Release);
        }
    }

    /// Those written so far, in nanoseconds, in the order in which exchanges ended.
    pub fn written(&self) -> &[AtomicI64] {
        self.slots.get(..self.len.load(Acquire)).unwrap_or_default()
    }
}

/// Counters of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunStats {
    /// Connections that take part.
    pub connections: usize,
    /// Requests sent.
    pub requests: u64,
    /// Whole responses, as expected.
    pub responses: u64,
    /// Exchanges that failed.
    pub failed: u64,
    /// Bytes of responses.
    pub bytes_received: u64,
    /// Bytes of requests.
    pub bytes_sent: u64,
    /// Bytes of responses that were not the pattern, where that is checked.
    pub mismatches: u64,
    /// When the run began and ended (or the last exchange did), on the clock of records.
    pub started: i64,
    /// See `started`.
    pub ended: i64,
    /// Exchanges by how they ended: by the number of [`Cause`].
    pub causes: [u64; CAUSES],
    /// HTTP statuses that came, and how often; in the order in which they first came.
    pub statuses: Vec<(u16, u64)>,
}

impl RunStats {
    fn count_status(&mut self, status: u16) {
        match self.statuses.iter_mut().find(|(known, _)| *known == status) {
            Some((_, count)) => *count += 1,
            // At most 900 of them: they have three digits.
            None => self.statuses.push((status, 1)),
        }
    }
}

#[derive(Default)]
struct Tally {
    stats: RunStats,
    latencies: Histogram,
    service: Histogram,
    first_byte: Histogram,
}

/// See the module.
pub(super) struct RunState {
    pub number: u16,
    pub plan: Plan,
    pub start: Instant,
    /// No request begins at or after this time.
    pub until: Option<Instant>,
    /// Requests that no connection has taken on, where all take from the same: in a closed loop.
    left: AtomicU64,
    /// Connections that are not done.
    active: AtomicUsize,
    pub stopped: AtomicBool,
    pub log: LatencyLog,
    tally: Mutex<Tally>,
    shared: Arc<Shared>,
}

impl RunState {
    pub fn new(
        shared: Arc<Shared>,
        number: u16,
        plan: Plan,
        start: Instant,
        connections: usize,
    ) -> Self {
        let mut tally = Tally::default();
        tally.stats.connections = connections;
        tally.stats.started = shared.time(start);
        tally.stats.ended = tally.stats.started;
        Self {
            number,
            until: plan.duration.map(|d| start + d),
            left: AtomicU64::new(match plan.pacing {
                Pacing::Closed => plan.count.unwrap_or(u64::MAX),
                Pacing::Open { .. } => 0,
            }),
            log: LatencyLog::new(plan.latencies),
            plan,
            start,
            active: AtomicUsize::new(connections),
            stopped: AtomicBool::new(false),
            tally: Mutex::new(tally),
            shared,
        }
    }

    /// The same for connections that come to do the plan's `count` each.
    pub fn of_visits(shared: Arc<Shared>, plan: Plan, start: Instant, connections: usize) -> Self {
        Self { left: AtomicU64::new(0), ..Self::new(shared, 1, plan, start, connections) }
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        // Nothing that can panic runs under the lock.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request on; false if there are no more.
    pub fn claim(&self) -> bool {
        self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Gives it back: it could not be sent now.
    pub fn give_back(&self) {
        self.left.fetch_add(1, Relaxed);
    }

    /// Whether no request begins any more.
    pub fn is_over(&self, now: Instant) -> bool {
        self.stopped.load(Relaxed) || self.until.is_some_and(|until| until <= now)
    }

    /// Whether no request is left to be taken on.
    pub fn is_exhausted(&self) -> bool {
        self.left.load(Relaxed) == 0
    }

    pub fn on_sent(&self, bytes: u64) {
        let mut tally = self.lock();
        tally.stats.requests += 1;
        tally.stats.bytes_sent += bytes;
    }

    /// An exchange is over.
    pub fn on_finished(&self, now: Instant, connection: u32, done: &Finished) {
        let outcome = &done.outcome;
        let whole = self.plan.expected.is_none_or(|bytes| bytes == outcome.bytes);
        let cause = match done.end {
            End::Lost => Cause::ConnectionLost,
            End::TimedOut => Cause::TimedOut,
            End::Broken(_) => Cause::Http,
            End::Reset(_) => Cause::PeerApplication,
            End::Complete if done.status.is_some_and(|status| status >= 400) => Cause::Status,
            End::Complete if !whole || outcome.mismatches > 0 => Cause::Unexpected,
            End::Complete => Cause::None,
        };
        let nanos = |since: Instant| now.saturating_since(since).as_nanos() as i64;
        let (latency, service) = (nanos(done.intended), nanos(done.begun));
        let first_byte =
            done.first_byte.map(|at| at.saturating_since(done.begun).as_nanos() as i64);
        let time = self.shared.time(now);
        {
            let mut tally = self.lock();
            tally.stats.bytes_received += outcome.bytes;
            tally.stats.mismatches += outcome.mismatches;
            tally.stats.ended = tally.stats.ended.max(time);
            if let Some(count) = tally.stats.causes.get_mut(cause as usize) {
                *count += 1;
            }
            if let Some(status) = done.status {
                tally.stats.count_status(status);
            }
            if cause == Cause::None {
                tally.stats.responses += 1;
                tally.latencies.record(latency as u64);
                tally.service.record(service as u64);
                tally.first_byte.record(first_byte.unwrap_or(service) as u64);
                self.log.push(latency);
            } else {
                tally.stats.failed += 1;
            }
        }
        let hash = outcome.digest.as_ref().and_then(|d| d.first_chunk::<8>());
        self.shared.push(&Record {
            latency,
            service,
            first_byte: first_byte.unwrap_or(-1),
            stream: done.id.0 as i64,
            bytes: outcome.bytes,
            hash: hash.map_or(0, |first| u64::from_be_bytes(*first)),
            error: done.code().map_or(-1, |code| code as i64),
            status: done.status.unwrap_or(0),
            cause,
            run: self.number,
            ..Record::new(Kind::Response, time, connection)
        });
    }

    /// So many requests will never leave: they count as failed, unless nobody wants them any more.
    /// They are not told one by one.
    pub fn on_not_sent(&self, count: u64) {
        if count == 0 || self.stopped.load(Relaxed) {
            return;
        }
        let mut tally = self.lock();
        tally.stats.failed = tally.stats.failed.saturating_add(count);
        if let Some(known) = tally.stats.causes.get_mut(Cause::NotSent as usize) {
            *known = known.saturating_add(count);
        }
    }

    /// A connection has done its part. The last one tells the owner.
    pub fn leave(&self) {
        if self.active.fetch_sub(1, Relaxed) > 1 {
            return;
        }
        let now = crate::shard::clock();
        if self.plan.count.is_some() && !self.is_over(now) {
            // Nobody is left to take them on.
            self.on_not_sent(self.left.swap(0, Relaxed));
        }
        let time = self.shared.time(now);
        self.shared
            .push(&Record { run: self.number, ..Record::new(Kind::Finished, time, u32::MAX) });
        self.shared.wake();
    }
}

/// The owner's end of a run.
#[derive(Clone)]
pub struct Run {
    pub(super) state: Arc<RunState>,
}

impl Run {
    /// Its number in its set, as in records; from 1.
    pub fn number(&self) -> u16 {
        self.state.number
    }

    /// Whether every connection has done its part.
    pub fn is_done(&self) -> bool {
        self.state.active.load(Relaxed) == 0
    }

    /// Waits for that: false if `timeout` passed before.
    pub fn wait(&self, timeout: Option<std::time::Duration>) -> bool {
        self.state.shared.wait(timeout, |_| self.is_done())
    }

    /// Begins no more requests; those under way go on.
    pub fn stop(&self) {
        self.state.stopped.store(true, Relaxed);
    }

    /// Counters.
    pub fn stats(&self) -> RunStats {
        self.state.lock().stats.clone()
    }

    /// Latencies since requests should have left.
    pub fn latencies(&self) -> Histogram {
        self.state.lock().latencies.clone()
    }

    /// Latencies since requests did leave: what a tool shows that does not know about coordinated
    /// omission.
    pub fn service(&self) -> Histogram {
        self.state.lock().service.clone()
    }

    /// From when requests left to the first byte of their responses.
    pub fn first_byte(&self) -> Histogram {
        self.state.lock().first_byte.clone()
    }

    /// Latencies one by one; keeps them as long as it lives.
    pub fn log(&self) -> impl AsRef<LatencyLog> + Send + Sync + use<> {
        struct Keep(Arc<RunState>);
        impl AsRef<LatencyLog> for Keep {
            fn as_ref(&self) -> &LatencyLog {
                &self.0.log
            }
        }
        Keep(self.state.clone())
    }
}
