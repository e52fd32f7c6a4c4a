//! The application of one connection of a set.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tquic_core::events::{ConnectionError, Event};
use tquic_core::stream::{StreamEvent, StreamSet};
use tquic_core::time::Instant;

use super::record::{Cause, Kind, Record};
use super::run::RunState;
use super::shared::{Shared, State};
use super::work::Work;
use crate::application::{Application, Context, Message};
use crate::key::ConnectionKey;

/// What the owner of a set tells its connections.
pub(super) enum Order {
    /// Take part in a run; the connections that do, in order.
    Work(Arc<RunState>, Vec<u32>),
    /// Look at the run again: it was stopped.
    Look,
    /// Close with this code and reason.
    Close(u64, Vec<u8>),
}

impl Message for Order {
    fn on_missed(&self) {
        if let Self::Work(run, _) = self {
            run.leave();
        }
    }
}

/// See the module.
pub(super) struct Member {
    shared: Arc<Shared>,
    number: u32,
    begun: Instant,
    /// Handshakes under way in this shard; `None` when this one is no more.
    handshakes: Option<Arc<AtomicUsize>>,
    /// Holds no memory while there is none, as in most connections of a large set.
    work: Vec<Work>,
    close: Option<Box<(u64, Vec<u8>)>>,
    over: bool,
}

impl Member {
    pub fn new(
        shared: Arc<Shared>,
        number: u32,
        now: Instant,
        handshakes: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            shared,
            number,
            begun: now,
            handshakes: Some(handshakes),
            work: Vec::new(),
            close: None,
            over: false,
        }
    }

    fn handshake_over(&mut self) {
        if let Some(handshakes) = self.handshakes.take() {
            handshakes.fetch_sub(1, Relaxed);
        }
    }

    fn on_connected(&mut self, now: Instant) {
        self.handshake_over();
        let nanos = now.saturating_since(self.begun).as_nanos() as i64;
        let time = self.shared.time(now);
        let record = Record {
            latency: nanos,
            service: nanos,
            ..Record::new(Kind::Connected, time, self.number)
        };
        self.shared.on_change(self.number, State::Open, Some(&record));
    }

    fn on_closed(&mut self, now: Instant, error: &ConnectionError) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.handshake_over();
        let (cause, code) = Cause::of(error);
        if !matches!(cause, Cause::LocalApplication) {
            self.shared.note(error.to_string());
        }
        let record = Record {
            error: code.map_or(-1, |code| code as i64),
            cause,
            ..Record::new(Kind::Closed, self.shared.time(now), self.number)
        };
        self.shared.on_change(self.number, State::Closed, Some(&record));
        // Runs may end by this: who waits for that finds the connection closed.
        self.work = Vec::new();
    }

    fn on_stream(&mut self, now: Instant, streams: &mut StreamSet, event: &StreamEvent) {
        if let Some(id) = stream_of(event)
            && let Some(work) = self.work.iter_mut().find(|work| work.contains(id))
        {
            return work.on_stream(now, streams, event);
        }
        if let StreamEvent::Readable { id } = *event {
            // A stream of the server, or one that was given up: its bytes must not fill the window.
            let _ = streams.read_with(id, |_, piece| piece.len());
        }
    }
}

fn stream_of(event: &StreamEvent) -> Option<tquic_wire::StreamId> {
    match *event {
        StreamEvent::Readable { id }
        | StreamEvent::Writable { id }
        | StreamEvent::Reset { id, .. }
        | StreamEvent::Stopped { id, .. } => Some(id),
        _ => None,
    }
}

impl Application for Member {
    fn on_event(&mut self, context: &mut Context<'_>, event: Event) {
        match event {
            Event::Connected => self.on_connected(context.now),
            Event::Stream(event) => {
                self.on_stream(context.now, context.connection.streams(), &event);
            }
            Event::Closed(error) => self.on_closed(context.now, &error),
            Event::DatagramReceived => while context.connection.datagrams().recv().is_some() {},
            _ => {}
        }
    }

    fn on_tick(&mut self, context: &mut Context<'_>) {
        if let Some(close) = self.close.take() {
            return context.connection.close(context.now, close.0, &close.1);
        }
        let (now, streams) = (context.now, context.connection.streams());
        self.work.retain_mut(|work| work.drive(now, streams));
        context.wake_at = self.work.iter().filter_map(Work::wake_at).min();
        if self.work.is_empty() {
            self.work = Vec::new();
        }
    }

    fn on_message(&mut self, message: &dyn Any) {
        match message.downcast_ref::<Order>() {
            Some(Order::Work(run, members)) => {
                let Ok(index) = members.binary_search(&self.number) else { return };
                let part = (self.number, index as u64, members.len() as u64);
                self.work.push(Work::new(run.clone(), part));
            }
            Some(Order::Close(code, reason)) => {
                self.close = Some(Box::new((*code, reason.clone())));
            }
            Some(Order::Look) | None => {}
        }
    }

    fn on_refused(&mut self, _: ConnectionKey, error: ConnectionError) {
        self.on_closed(crate::shard::clock(), &error);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // The engine has ended, or this connection has panicked.
        let reason = || ConnectionError::Refused("the engine has ended".into());
        self.on_closed(crate::shard::clock(), &reason());
    }
}
