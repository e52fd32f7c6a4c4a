//! Many connections of one owner, for load generators: set up in stages, driven by plans that run in
//! the shards' threads, and observed in batches.

mod member;
mod record;
mod run;
mod schedule;
mod shared;
mod stage;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tquic_core::time::Instant;

use crate::application::Message;
use crate::config::ConnectRequest;
use crate::engine::{Engine, EngineError};
use crate::key::ConnectionKey;
use crate::perf::Histogram;
use crate::shard::{Command, Inbox, clock, tell};

use member::Order;
use shared::{Shared, State};
use stage::Stage;

pub use record::{CAUSES, Cause, KIND_AT, Kind, RECORD_SIZE, Record};
pub use run::{LatencyLog, Pacing, Plan, Run, RunStats};
pub use shared::Counts;
pub use stage::{Sources, Variant};

/// Connections to begin.
#[derive(Clone)]
pub struct ConnectMany {
    /// Each of them; `paths` and `token` are not used.
    pub request: ConnectRequest,
    /// How many.
    pub count: u32,
    /// Where they leave from.
    pub sources: Sources,
    /// Handshakes under way at most, over all shards; one per shard at least.
    pub handshakes: usize,
    /// Connections begun per second at most.
    pub rate: Option<f64>,
    /// Kinds of records that are wanted: [`Kind::bit`]s. [`Kind::Finished`] always is.
    pub events: u8,
    /// Records that may wait; what comes when they do is counted, and dropped.
    pub capacity: usize,
    /// Nanoseconds to add to times in records.
    pub clock_offset: i64,
    /// Whether they speak HTTP/3: then templates are the frames of requests.
    pub http: bool,
    /// Other ways to connect, and how many of the connections take them.
    pub variants: Vec<Variant>,
}

/// See the module. Dropped, it closes its connections.
pub struct ConnectionSet {
    shared: Arc<Shared>,
    inboxes: Vec<Arc<Inbox>>,
    runs: AtomicU16,
}

/// The time now, as records tell it with an offset of 0.
pub fn now() -> u64 {
    clock().as_nanos()
}

impl ConnectionSet {
    /// Begins the connections: returns at once, the shards do the work.
    pub fn connect(engine: &Engine, options: &ConnectMany) -> Result<Self, EngineError> {
        Self::begin(engine, options, None).map(|(set, _)| set)
    }

    /// Begins connections that come to do the plan's `count` of requests each, and go: with 0-RTT the
    /// first of them leave in the handshake, and their latencies count from when the connection should
    /// have begun. `handshakes` bounds the connections that there are at a time, and at the end of
    /// the plan's `duration` no more begin. The plan's pacing means nothing: `rate` is that of connections.
    pub fn visit(
        engine: &Engine,
        options: &ConnectMany,
        plan: Plan,
    ) -> Result<(Self, Run), EngineError> {
        let (set, run) = Self::begin(engine, options, Some(plan))?;
        run.map(|run| (set, run)).ok_or(EngineError::Gone)
    }

    fn begin(
        engine: &Engine,
        options: &ConnectMany,
        visit: Option<Plan>,
    ) -> Result<(Self, Option<Run>), EngineError> {
        let inboxes = engine.inboxes();
        let shards = inboxes.len();
        let keys: Vec<ConnectionKey> =
            inboxes.iter().cycle().take(options.count as usize).map(|inbox| inbox.key()).collect();
        let shared =
            Shared::new(keys.clone(), options.events, options.capacity, options.clock_offset)?;
        let shared = Arc::new(shared);
        let interval = options.rate.filter(|rate| *rate > 0.0).map_or(Duration::ZERO, |rate| {
            Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX)
        });
        let start = clock();
        let run = visit.map(|plan| {
            let connections = options.count as usize;
            Arc::new(run::RunState::of_visits(shared.clone(), plan, start, connections))
        });
        for (at, inbox) in inboxes.iter().enumerate() {
            let mine: Vec<_> =
                (0_u32..).zip(&keys).skip(at).step_by(shards).map(|(n, key)| (n, *key)).collect();
            let stage = Stage {
                shared: shared.clone(),
                request: options.request.clone(),
                variants: options.variants.clone(),
                http: options.http,
                run: run.clone(),
                sources: options.sources.clone(),
                keys: mine.into_iter(),
                begun: 0,
                handshakes: Arc::new(AtomicUsize::new(0)),
                limit: options.handshakes.div_ceil(shards).max(1),
                start,
                interval,
            };
            inbox.push(Command::Supply(Box::new(stage)))?;
        }
        let first = if run.is_some() { 2 } else { 1 };
        let set = Self { shared, inboxes: inboxes.to_vec(), runs: AtomicU16::new(first) };
        Ok((set, run.map(|state| Run { state })))
    }

    /// How many connections are in which state.
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }

    /// Durations of handshakes.
    pub fn handshakes(&self) -> Histogram {
        self.shared.lock().handshakes.clone()
    }

    /// Why connections ended, in words, and how many did so; at most 64 different sentences.
    pub fn reasons(&self) -> Vec<(String, u64)> {
        let inner = self.shared.lock();
        inner.sentences.iter().map(|(sentence, n)| (sentence.clone(), *n)).collect()
    }

    /// Up to `max` records, the oldest first, as bytes.
    pub fn poll(&self, max: usize) -> Vec<u8> {
        self.shared.poll(max)
    }

    /// Records that found no room.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped()
    }

    /// Waits for records: false if `timeout` passed without any.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        self.shared.wait(timeout, shared::Inner::has_records)
    }

    /// Waits until every connection is open or over: false if `timeout` passed before.
    pub fn wait_connected(&self, timeout: Option<Duration>) -> bool {
        self.shared.wait(timeout, shared::Inner::is_settled)
    }

    /// Begins no more connections: those that wait to be begun count as failed.
    pub fn begin_no_more(&self) {
        self.shared.stopping.store(true, Relaxed);
    }

    /// Begins a run over these connections, or over all: those that are open now.
    pub fn requests(&self, plan: Plan, numbers: Option<&[u32]>) -> Result<Run, EngineError> {
        let open = self.open(numbers);
        if open.is_empty() {
            return Err(EngineError::Refused("none of these connections is open".to_owned()));
        }
        let number = self.runs.fetch_add(1, Relaxed);
        let numbers: Vec<u32> = open.iter().map(|(number, _)| *number).collect();
        let start: Instant = clock();
        let state = run::RunState::new(self.shared.clone(), number, plan, start, numbers.len());
        let run = Run { state: Arc::new(state) };
        let order = Order::Work(run.state.clone(), numbers);
        let keys: Vec<ConnectionKey> = open.into_iter().map(|(_, key)| key).collect();
        self.tell(&keys, order)?;
        Ok(run)
    }

    /// Begins no more requests of a run; those under way go on.
    pub fn stop(&self, run: &Run) -> Result<(), EngineError> {
        run.stop();
        let keys: Vec<ConnectionKey> = self.open(None).into_iter().map(|(_, key)| key).collect();
        self.tell(&keys, Order::Look)
    }

    /// Closes these connections, or all, and begins no more in that case.
    pub fn close(
        &self,
        code: u64,
        reason: &[u8],
        numbers: Option<&[u32]>,
    ) -> Result<(), EngineError> {
        if numbers.is_none() {
            self.begin_no_more();
        }
        let keys: Vec<ConnectionKey> = {
            let inner = self.shared.lock();
            let all = || 0..inner.members.len() as u32;
            let wanted: Vec<u32> = numbers.map_or_else(|| all().collect(), <[u32]>::to_vec);
            let alive = |n: u32| {
                let (key, state) = inner.members.get(n as usize)?;
                matches!(state, State::Open | State::Connecting).then_some(*key)
            };
            wanted.into_iter().filter_map(alive).collect()
        };
        self.tell(&keys, Order::Close(code, reason.to_vec()))
    }

    /// Those of `numbers` that are open, in order.
    fn open(&self, numbers: Option<&[u32]>) -> Vec<(u32, ConnectionKey)> {
        let inner = self.shared.lock();
        let of = |n: u32| {
            let (key, state) = inner.members.get(n as usize)?;
            (*state == State::Open).then_some((n, *key))
        };
        let mut open: Vec<_> = match numbers {
            None => (0..inner.members.len() as u32).filter_map(of).collect(),
            Some(some) => some.iter().copied().filter_map(of).collect(),
        };
        open.sort_unstable();
        open.dedup();
        open
    }

    fn tell(&self, keys: &[ConnectionKey], order: Order) -> Result<(), EngineError> {
        let message: Arc<dyn Message> = Arc::new(order);
        Ok(tell(&self.inboxes, keys, &message)?)
    }
}

impl Drop for ConnectionSet {
    fn drop(&mut self) {
        // An engine that has ended has closed them.
        let _ = self.close(0, b"", None);
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for ConnectionSet {
    /// Readable while records wait. Only to be polled: `poll` clears it.
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.shared.notifier().fd()
    }
}
