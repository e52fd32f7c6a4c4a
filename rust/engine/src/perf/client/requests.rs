//! Many small exchanges, some at a time.

use std::any::Any;
use std::time::Duration;

use tquic_core::events::{ConnectionError, Event};
use tquic_core::stream::{StreamEvent, StreamSet};
use tquic_core::time::Instant;

use super::super::header;
use super::super::report::Tally;
use super::{PerfError, Start, Teller};
use crate::application::{Application, Context};
use crate::exchange::{Exchanges, Response, Template};
use crate::key::ConnectionKey;
use crate::stats::ConnectionSnapshot;

/// Exchanges: 8 bytes there, some back, each on a stream of its own.
#[derive(Clone, Debug)]
pub struct Requests {
    /// How many; `None` for as many as the duration allows.
    pub total: Option<u64>,
    /// How many at a time.
    pub inflight: usize,
    /// Bytes of each answer.
    pub response: u64,
    /// Begin no more after this time.
    pub duration: Option<Duration>,
}

impl Default for Requests {
    fn default() -> Self {
        Self { total: Some(1), inflight: 1, response: 0, duration: None }
    }
}

/// The application.
pub(super) struct Client {
    requests: Requests,
    /// How many more to begin.
    left: u64,
    teller: Teller,
    template: Template,
    open: Exchanges,
    start: Start,
    deadline: Option<Instant>,
    tally: Tally,
    over: bool,
}

impl Client {
    pub fn new(requests: &Requests, teller: Teller) -> Self {
        let left = match (requests.total, requests.duration) {
            (Some(total), _) => total,
            (None, Some(_)) => u64::MAX,
            (None, None) => 1,
        };
        Self {
            requests: requests.clone(),
            left,
            teller,
            template: Template { head: header(requests.response), pattern: 0 },
            open: Exchanges::new(Response::Verify),
            start: Start::default(),
            deadline: None,
            tally: Tally::default(),
            over: false,
        }
    }

    fn begin(&mut self, now: Instant, streams: &mut StreamSet) {
        while self.left > 0 && self.open.len() < self.requests.inflight.max(1) {
            if !self.open.begin((now, now), streams, &self.template) {
                return;
            }
            self.left -= 1;
        }
    }

    fn on_stream(&mut self, now: Instant, streams: &mut StreamSet, event: StreamEvent) {
        let Some(finished) = self.open.on_stream(now, streams, &event) else { return };
        let outcome = finished.outcome;
        self.tally.latencies.record(super::nanos(now - finished.begun));
        self.tally.events += 1;
        self.tally.bytes += outcome.bytes;
        self.tally.mismatches += outcome.mismatches;
        let whole = outcome.error.is_none() && outcome.bytes == self.requests.response;
        self.tally.failed += u64::from(!whole);
    }
}

impl Application for Client {
    fn on_event(&mut self, context: &mut Context<'_>, event: Event) {
        match event {
            Event::Connected => self.teller.connected(),
            Event::Stream(event) => {
                self.on_stream(context.now, context.connection.streams(), event);
            }
            Event::Closed(error) if !self.over => {
                self.teller.failed(PerfError::Connection(error));
            }
            _ => {}
        }
    }

    fn on_tick(&mut self, context: &mut Context<'_>) {
        if self.start.is_new(context.now) {
            self.deadline = self.requests.duration.map(|d| context.now + d);
        }
        let Some(start) = self.start.at().filter(|_| !self.over) else { return };
        if self.deadline.is_some_and(|at| at <= context.now) {
            self.left = 0;
            self.deadline = None;
        }
        context.wake_at = self.deadline;
        self.begin(context.now, context.connection.streams());
        if self.left == 0 && self.open.is_empty() {
            self.over = true;
            let mut tally = std::mem::take(&mut self.tally);
            tally.nanos = super::nanos(context.now - start);
            tally.snapshots.push(ConnectionSnapshot::of(context.connection));
            self.teller.done(tally);
            context.connection.close(context.now, 0, b"");
        }
    }

    fn on_message(&mut self, _: &dyn Any) {
        self.start.call();
    }

    fn on_refused(&mut self, _: ConnectionKey, error: ConnectionError) {
        self.teller.failed(PerfError::Connection(error));
    }
}
