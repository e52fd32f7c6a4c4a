//! Connections that begin, one after another, and end at once.

use std::sync::{Arc, Mutex, PoisonError};

use tquic_core::events::{ConnectionError, Event};
use tquic_core::handshake::ZeroRtt;
use tquic_core::time::Instant;
use tquic_crypto::session::TicketStore;
use tquic_wire::{Direction, StreamId};

use super::super::header;
use super::super::report::Tally;
use super::{ClientOptions, PerfError, Teller};
use crate::application::{Application, Context};
use crate::config::ConnectRequest;
use crate::key::ConnectionKey;
use crate::shard::clock;
use crate::stats::ConnectionSnapshot;

/// What kind of handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeKind {
    /// With certificates. The TLS settings must keep no tickets.
    Full,
    /// Of a resumed session.
    Resumed,
    /// Of a resumed session, with a request in 0-RTT whose answer ends it.
    ZeroRtt,
    /// With certificates, then a request whose answer ends it.
    FirstByte,
}

impl HandshakeKind {
    /// Whether it needs a session of before.
    pub fn resumes(self) -> bool {
        matches!(self, Self::Resumed | Self::ZeroRtt)
    }
}

/// Handshakes in a row.
#[derive(Clone, Debug)]
pub struct Handshakes {
    /// How many.
    pub count: u64,
    /// Which kind.
    pub kind: HandshakeKind,
}

/// What the connections of a run share.
#[derive(Clone)]
pub(super) struct Run {
    handshakes: Handshakes,
    request: ConnectRequest,
    tickets: Option<TicketStore>,
    teller: Teller,
    state: Arc<Mutex<State>>,
}

struct State {
    left: u64,
    /// The first connection only fetches tickets, if those are needed.
    warm: bool,
    begun: Option<Instant>,
    tally: Tally,
}

impl Run {
    pub fn new(handshakes: Handshakes, options: &ClientOptions, teller: Teller) -> Self {
        let state = State {
            left: handshakes.count.max(1),
            warm: !handshakes.kind.resumes(),
            begun: None,
            tally: Tally::default(),
        };
        Self {
            handshakes,
            request: options.request.clone(),
            tickets: options.tickets.clone(),
            teller,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Whether the next connection can be of the kind that is wanted.
    fn has_ticket(&self) -> bool {
        !self.handshakes.kind.resumes() || self.tickets.as_ref().is_some_and(|t| !t.is_empty())
    }
}

/// The application of one of the connections.
pub(super) struct Client {
    run: Run,
    start: Instant,
    /// The request.
    stream: Option<StreamId>,
    answered: bool,
    connected: bool,
    recorded: bool,
    over: bool,
}

impl Client {
    pub fn new(run: Run) -> Self {
        Self {
            run,
            start: clock(),
            stream: None,
            answered: false,
            connected: false,
            recorded: false,
            over: false,
        }
    }

    /// 0-RTT: asks before the handshake has begun, if a ticket allows it.
    fn ask(&mut self, context: &mut Context<'_>) {
        let now = match self.run.handshakes.kind {
            HandshakeKind::Full | HandshakeKind::Resumed => false,
            HandshakeKind::ZeroRtt => !self.connected,
            HandshakeKind::FirstByte => self.connected,
        };
        if !now || self.stream.is_some() {
            return;
        }
        let streams = context.connection.streams();
        if let Some(id) = streams.open(Direction::Bidirectional) {
            // A fresh stream takes both.
            let _ = streams.write(id, header(1));
            let _ = streams.finish(id);
            self.stream = Some(id);
        }
    }

    fn is_served(&self) -> bool {
        self.connected && (self.stream.is_none() || self.answered)
    }

    /// Puts the handshake down; with the last one the run is over.
    fn record(&mut self, context: &mut Context<'_>) {
        self.recorded = true;
        let mut state = self.run.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut state.warm, true) {
            return;
        }
        state.begun.get_or_insert(self.start);
        let handshake = context.connection.handshake();
        let resumed = handshake.agreed().is_some_and(|a| a.resumed);
        let as_wanted = match self.run.handshakes.kind {
            HandshakeKind::Full | HandshakeKind::FirstByte => !resumed,
            HandshakeKind::Resumed => resumed,
            HandshakeKind::ZeroRtt => handshake.zero_rtt() == ZeroRtt::Accepted,
        };
        state.left -= 1;
        state.tally.events += 1;
        state.tally.failed += u64::from(!as_wanted);
        state.tally.latencies.record(super::nanos(context.now - self.start));
        // Counters of connections add up; their paths are not worth keeping.
        let mut snapshot = ConnectionSnapshot::of(context.connection);
        match state.tally.snapshots.first_mut() {
            None => state.tally.snapshots.push(snapshot),
            Some(sum) => {
                sum.connection.packets_sent += snapshot.connection.packets_sent;
                sum.connection.packets_received += snapshot.connection.packets_received;
                sum.connection.bytes_sent += snapshot.connection.bytes_sent;
                sum.connection.bytes_received += snapshot.connection.bytes_received;
                sum.paths = std::mem::take(&mut snapshot.paths);
            }
        }
    }

    /// Begins the next connection. This one ends in the next turn: closed at once, it would never
    /// send its last handshake message, and the server would have done less than a handshake.
    fn go_on(&mut self, context: &mut Context<'_>) {
        self.over = true;
        context.wake_at = Some(context.now);
        let mut state = self.run.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.left > 0 {
            drop(state);
            context.connect(self.run.request.clone(), Box::new(Self::new(self.run.clone())));
            return;
        }
        let mut tally = std::mem::take(&mut state.tally);
        tally.nanos = super::nanos(clock() - state.begun.unwrap_or(self.start));
        self.run.teller.done(tally);
    }
}

impl Application for Client {
    fn on_event(&mut self, context: &mut Context<'_>, event: Event) {
        match event {
            Event::Connected => self.connected = true,
            Event::Stream(tquic_core::stream::StreamEvent::Readable { id })
                if Some(id) == self.stream =>
            {
                self.answered |= matches!(
                    context.connection.streams().read(id, usize::MAX),
                    Ok(Some(chunk)) if chunk.fin
                );
            }
            Event::Closed(error) if !self.over => {
                self.over = true;
                self.run.teller.failed(PerfError::Connection(error));
            }
            _ => {}
        }
    }

    fn on_tick(&mut self, context: &mut Context<'_>) {
        self.ask(context);
        if self.over {
            return context.connection.close(context.now, 0, b"");
        }
        if !self.is_served() {
            return;
        }
        if !self.recorded {
            self.record(context);
        }
        if self.run.has_ticket() {
            self.go_on(context);
        }
    }

    fn on_refused(&mut self, _: ConnectionKey, error: ConnectionError) {
        self.run.teller.failed(PerfError::Connection(error));
    }
}
