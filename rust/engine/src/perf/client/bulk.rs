//! Bytes up and down, over one stream or many.

use std::any::Any;
use std::collections::HashMap;
use std::time::Duration;

use tquic_core::events::{ConnectionError, Event};
use tquic_core::stream::{StreamEvent, StreamSet};
use tquic_core::time::Instant;
use tquic_wire::{Direction, StreamId};

use super::super::report::Tally;
use super::super::{UNLIMITED, header};
use super::{PerfError, Start, Teller};
use crate::application::{Application, Context};
use crate::key::ConnectionKey;
use crate::pump::{Inflow, Outcome, Outflow, Sink, Source};
use crate::stats::ConnectionSnapshot;

/// Bytes up and down, both at the same time if both are given.
#[derive(Clone, Debug, Default)]
pub struct Bulk {
    /// Bytes to get, over all streams. With a duration, `None` means what can be had in that time.
    pub download: Option<u64>,
    /// Bytes to send, over all streams.
    pub upload: Option<u64>,
    /// Streams; 0 counts as 1.
    pub streams: usize,
    /// Stop after this time, whatever has been transferred.
    pub duration: Option<Duration>,
}

impl Bulk {
    /// The share of stream `n`.
    fn share(&self, total: Option<u64>, n: u64) -> u64 {
        let streams = self.streams.max(1) as u64;
        match total {
            None => 0,
            Some(UNLIMITED) => UNLIMITED,
            Some(total) => total / streams + u64::from(n < total % streams),
        }
    }
}

struct Flow {
    up: Option<Outflow>,
    sent: u64,
    down: Inflow,
    /// Bytes to come.
    wanted: u64,
}

/// The application.
pub(super) struct Client {
    bulk: Bulk,
    teller: Teller,
    opened: u64,
    flows: HashMap<StreamId, Flow>,
    start: Start,
    /// When to stop, until that has happened.
    deadline: Option<Instant>,
    tally: Tally,
    over: bool,
}

impl Client {
    pub fn new(bulk: &Bulk, teller: Teller) -> Self {
        let mut bulk = bulk.clone();
        if bulk.download.is_none() && bulk.upload.is_none() {
            bulk.download = Some(UNLIMITED);
        }
        Self {
            bulk,
            teller,
            opened: 0,
            flows: HashMap::new(),
            start: Start::default(),
            deadline: None,
            tally: Tally::default(),
            over: false,
        }
    }

    fn open(&mut self, streams: &mut StreamSet) {
        while self.opened < self.bulk.streams.max(1) as u64 {
            let Some(id) = streams.open(Direction::Bidirectional) else { return };
            let wanted = self.bulk.share(self.bulk.download, self.opened);
            let upload = self.bulk.share(self.bulk.upload, self.opened);
            self.opened += 1;
            // A fresh stream takes it: its buffer is empty.
            let _ = streams.write(id, header(wanted));
            let mut up = Outflow::new(id, Source::Pattern(upload), true);
            let sent = up.drive(streams);
            let flow = Flow {
                sent: sent.as_ref().map_or(0, |o| o.bytes),
                up: sent.is_none().then_some(up),
                down: Inflow::new(id, Sink::Verify, 0),
                wanted,
            };
            self.flows.insert(id, flow);
        }
    }

    fn on_stream(&mut self, streams: &mut StreamSet, event: StreamEvent) {
        match event {
            StreamEvent::Readable { id } | StreamEvent::Reset { id, .. } => {
                let Some(flow) = self.flows.get_mut(&id) else { return };
                if let Some(outcome) = flow.down.drive(streams) {
                    self.end(id, &outcome);
                }
            }
            StreamEvent::Writable { id } | StreamEvent::Stopped { id, .. } => {
                self.write(streams, id);
            }
            StreamEvent::StreamsAvailable { .. } if self.start.at().is_some() => {
                self.open(streams);
            }
            StreamEvent::StreamsAvailable { .. } => {}
            StreamEvent::Opened { .. }
            | StreamEvent::Finished { .. }
            | StreamEvent::FinalSize { .. } => {}
        }
    }

    fn write(&mut self, streams: &mut StreamSet, id: StreamId) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        let Some(outcome) = flow.up.as_mut().and_then(|up| up.drive(streams)) else { return };
        flow.up = None;
        flow.sent = outcome.bytes;
        if outcome.error.is_some() {
            self.tally.failed += 1;
            // It says that we are done with it: it takes no more data.
            let _ = streams.reset(id, 0);
        }
    }

    /// The stream has come to its end, or to ours.
    fn end(&mut self, id: StreamId, outcome: &Outcome) {
        let Some(flow) = self.flows.remove(&id) else { return };
        let short = flow.wanted != UNLIMITED && outcome.bytes < flow.wanted;
        self.tally.bytes += flow.sent + outcome.bytes;
        self.tally.mismatches += outcome.mismatches;
        self.tally.events += 1;
        let stopped =
            self.start.at().is_some() && self.deadline.is_none() && self.bulk.duration.is_some();
        self.tally.failed += u64::from(outcome.error.is_some() || (short && !stopped));
    }

    /// The time is over.
    fn stop(&mut self, streams: &mut StreamSet) {
        self.deadline = None;
        self.opened = u64::MAX;
        let ids: Vec<StreamId> = self.flows.keys().copied().collect();
        for id in ids {
            let Some(flow) = self.flows.get_mut(&id) else { continue };
            if let Some(up) = &mut flow.up {
                up.cut();
            }
            let wanted = flow.wanted;
            self.write(streams, id);
            if wanted > 0
                && let Some(flow) = self.flows.get_mut(&id)
            {
                let outcome = flow.down.finish(None);
                // It may have ended by itself just now.
                let _ = streams.stop(id, 0);
                self.end(id, &outcome);
            }
        }
    }
}

impl Application for Client {
    fn on_event(&mut self, context: &mut Context<'_>, event: Event) {
        match event {
            Event::Connected => self.teller.connected(),
            Event::Stream(event) => self.on_stream(context.connection.streams(), event),
            Event::Closed(error) if !self.over => {
                self.teller.failed(PerfError::Connection(error));
            }
            _ => {}
        }
    }

    fn on_tick(&mut self, context: &mut Context<'_>) {
        if self.start.is_new(context.now) {
            self.deadline = self.bulk.duration.map(|d| context.now + d);
            self.open(context.connection.streams());
        }
        let Some(start) = self.start.at().filter(|_| !self.over) else { return };
        if self.deadline.is_some_and(|at| at <= context.now) {
            self.stop(context.connection.streams());
        }
        context.wake_at = self.deadline;
        let all = self.opened >= self.bulk.streams.max(1) as u64;
        if all && self.flows.is_empty() {
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
