//! The application of one connection of a set.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tquic_core::events::{ConnectionError, Event};
use tquic_core::handshake::ZeroRtt;
use tquic_core::stream::{StreamEvent, StreamSet};
use tquic_core::time::{Duration, Instant};

use super::record::{Cause, Kind, Record};
use super::run::RunState;
use super::shared::{Shared, State};
use super::work::Work;
use crate::application::{Application, Context, Message};
use crate::h3;
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

/// How long a connection that has done its part waits for the ticket of another.
const TICKET_PATIENCE: Duration = Duration::from_millis(50);

/// What a connection comes for that does not stay.
pub(super) struct Visit {
    run: Arc<RunState>,
    /// When it should have come.
    due: Instant,
    /// It goes at this time at the latest: set when its requests are done.
    until: Option<Instant>,
}

impl Visit {
    pub fn new(run: Arc<RunState>, due: Instant) -> Self {
        Self { run, due, until: None }
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
    /// Whether it speaks HTTP/3, and what it knows of the server then.
    pub http: bool,
    peer: Option<Box<h3::Peer>>,
    visit: Option<Box<Visit>>,
    /// It stays until a session ticket has come: the next connection will need one.
    pub wants_ticket: bool,
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
            http: false,
            peer: None,
            visit: None,
            wants_ticket: false,
        }
    }

    /// It does this and goes.
    pub fn visit(&mut self, visit: Visit) {
        self.work.push(Work::visit(visit.run.clone(), self.number, visit.due, self.http));
        self.visit = Some(Box::new(visit));
    }

    fn handshake_over(&mut self) {
        if let Some(handshakes) = self.handshakes.take() {
            handshakes.fetch_sub(1, Relaxed);
        }
    }

    fn on_connected(&mut self, now: Instant, how: How) {
        if self.visit.is_none() {
            self.handshake_over();
        }
        let nanos = now.saturating_since(self.begun).as_nanos() as i64;
        let time = self.shared.time(now);
        let record = Record {
            latency: nanos,
            service: nanos,
            ..Record::new(Kind::Connected, time, self.number)
        };
        self.shared.on_connected(how.resumed, how.early);
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

    fn on_stream(
        &mut self,
        now: Instant,
        streams: &mut StreamSet,
        event: &StreamEvent,
    ) -> Result<(), h3::Violation> {
        let Some(id) = stream_of(event) else { return Ok(()) };
        if let Some(work) = self.work.iter_mut().find(|work| work.contains(id)) {
            return work.on_stream(now, streams, event);
        }
        match (event, &mut self.peer) {
            (StreamEvent::Readable { .. } | StreamEvent::Reset { .. }, Some(peer)) => {
                peer.on_readable(streams, id)
            }
            (StreamEvent::Readable { .. }, None) => {
                // A stream of the server, or one that was given up: its bytes must not fill the window.
                let _ = streams.read_with(id, |_, piece| piece.len());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The server broke a rule of HTTP/3.
    fn on_violation(&mut self, context: &mut Context<'_>, violation: h3::Violation) {
        self.shared.note(format!("the server broke HTTP/3: {}", violation.reason));
        context.connection.close(context.now, violation.code, violation.reason.as_bytes());
    }

    /// Whether it goes now: its visit is over, or the server takes nothing more.
    fn is_done(&mut self, context: &mut Context<'_>) -> bool {
        if !self.work.is_empty() {
            return false;
        }
        let Some(visit) = &mut self.visit else { return self.is_refused() };
        if !context.connection.handshake().is_complete() {
            return false;
        }
        let until = *visit.until.get_or_insert(context.now + TICKET_PATIENCE);
        context.wake_at = Some(until);
        !self.wants_ticket || until <= context.now
    }

    fn is_refused(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.is_leaving())
    }
}

/// What a handshake came to.
#[derive(Clone, Copy)]
struct How {
    resumed: bool,
    early: bool,
}

impl How {
    fn of(context: &Context<'_>) -> Self {
        let handshake = context.connection.handshake();
        Self {
            resumed: handshake.agreed().is_some_and(|agreed| agreed.resumed),
            early: handshake.zero_rtt() == ZeroRtt::Accepted,
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
            Event::Connected => self.on_connected(context.now, How::of(context)),
            Event::Stream(event) => {
                let streams = context.connection.streams();
                if let Err(violation) = self.on_stream(context.now, streams, &event) {
                    self.on_violation(context, violation);
                }
            }
            Event::TicketReceived => self.wants_ticket = false,
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
        if self.http && self.peer.is_none() {
            self.peer = h3::Peer::greet(streams).map(Box::new);
        }
        if !self.http || self.peer.is_some() {
            let is_leaving = self.is_refused();
            self.work.retain_mut(|work| work.drive(now, streams, is_leaving));
        }
        context.wake_at = self.work.iter().filter_map(Work::wake_at).min();
        if self.is_done(context) {
            // RFC 9114 section 8.1, or what a raw protocol has instead.
            let code = if self.http { h3::code::NO_ERROR } else { 0 };
            return context.connection.close(now, code, b"");
        }
        if self.work.is_empty() {
            self.work = Vec::new();
        }
    }

    fn on_message(&mut self, message: &dyn Any) {
        match message.downcast_ref::<Order>() {
            Some(Order::Work(run, members)) => {
                let Ok(index) = members.binary_search(&self.number) else { return };
                let part = (self.number, index as u64, members.len() as u64);
                self.work.push(Work::new(run.clone(), part, self.http));
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
