//! Requests and their responses, each pair on a stream of its own, in the connection's thread.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use bytes::Bytes;
use tquic_core::stream::{ReadError, StreamError, StreamEvent, StreamSet};
use tquic_core::time::{Duration, Instant};
use tquic_wire::{Direction, StreamId};

use crate::h3;
use crate::pump::{Inflow, Outcome, Outflow, PumpError, Sink, Source};

/// A request, made once and sent many times.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// Its first bytes.
    pub head: Bytes,
    /// Bytes of [`Source::Pattern`] behind them.
    pub pattern: u64,
}

impl Template {
    /// Bytes of the whole request.
    pub fn size(&self) -> u64 {
        self.head.len() as u64 + self.pattern
    }
}

/// What is done with responses (in HTTP/3 their content); their bytes are counted in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Response {
    /// Nothing else.
    #[default]
    Discard,
    /// They are hashed with SHA-256.
    Hash,
    /// They are compared with the pattern that perf servers send.
    Verify,
}

impl Response {
    fn sink(self) -> Sink {
        match self {
            Self::Discard => Sink::Discard,
            Self::Hash => Sink::Hash,
            Self::Verify => Sink::Verify,
        }
    }
}

enum Down {
    /// All bytes of the stream are the response.
    Raw(Inflow),
    Http(h3::Reader),
}

struct Exchange {
    intended: Instant,
    begun: Instant,
    first_byte: Option<Instant>,
    /// What is left of a request that the stream did not take at once.
    up: Option<Outflow>,
    down: Down,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With its whole response.
    Complete,
    /// The peer reset the stream with this code.
    Reset(u64),
    /// The connection went first.
    Lost,
    /// The response took too long.
    TimedOut,
    /// The peer broke a rule of HTTP/3; its connection is to be closed.
    Broken(h3::Violation),
}

/// An exchange that is over.
#[derive(Debug)]
pub(crate) struct Finished {
    pub id: StreamId,
    /// When it should have begun.
    pub intended: Instant,
    /// When it did.
    pub begun: Instant,
    /// When something of the response came.
    pub first_byte: Option<Instant>,
    /// Of an HTTP/3 response.
    pub status: Option<u16>,
    /// What became of the response's bytes.
    pub outcome: Outcome,
    /// How it ended.
    pub end: End,
}

impl Finished {
    /// The error code with which it ended.
    pub fn code(&self) -> Option<u64> {
        match self.end {
            End::Reset(code) => Some(code),
            End::Broken(violation) => Some(violation.code),
            End::Complete | End::Lost | End::TimedOut => None,
        }
    }
}

/// Hashes the IDs of streams that this end has opened. They count up, and nobody else chooses them,
/// so they need no secret key: one multiplication spreads them.
#[derive(Default)]
struct OwnId(u64);

impl Hasher for OwnId {
    fn write_u64(&mut self, id: u64) {
        // The golden ratio; its best bits are the upper ones, which the table would not look at.
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The exchanges of one connection that are under way.
#[derive(Default)]
pub(crate) struct Exchanges {
    open: HashMap<StreamId, Exchange, BuildHasherDefault<OwnId>>,
    response: Response,
    http: bool,
    patience: Option<Duration>,
    /// In the order in which they end; those of exchanges that are over stay until their turn.
    deadlines: VecDeque<(Instant, StreamId)>,
}

impl Exchanges {
    /// Responses are bytes.
    pub fn new(response: Response) -> Self {
        Self { response, ..Self::default() }
    }

    /// Responses are those of HTTP/3.
    pub fn http(self, http: bool) -> Self {
        Self { http, ..self }
    }

    /// They have so much time.
    pub fn patience(self, patience: Option<Duration>) -> Self {
        Self { patience, ..self }
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Sends a request that should have left at `intended`. False if the peer allows no stream now;
    /// `StreamsAvailable` tells when it does.
    pub fn begin(
        &mut self,
        (now, intended): (Instant, Instant),
        streams: &mut StreamSet,
        template: &Template,
    ) -> bool {
        let Some(id) = streams.open(Direction::Bidirectional) else { return false };
        // A fresh stream takes one write of any size.
        let up = if template.pattern == 0 {
            let _ = streams.write_fin(id, template.head.clone());
            None
        } else {
            let _ = streams.write(id, template.head.clone());
            let mut up = Outflow::new(id, Source::Pattern(template.pattern), true);
            up.drive(streams).is_none().then_some(up)
        };
        let sink = self.response.sink();
        let down = match self.http {
            true => Down::Http(h3::Reader::new(sink)),
            false => Down::Raw(Inflow::new(id, sink, 0)),
        };
        self.open.insert(id, Exchange { intended, begun: now, first_byte: None, up, down });
        if let Some(patience) = self.patience {
            self.deadlines.push_back((now + patience, id));
        }
        true
    }

    /// Does what follows from an event; `Some` if an exchange is over by it.
    pub fn on_stream(
        &mut self,
        now: Instant,
        streams: &mut StreamSet,
        event: &StreamEvent,
    ) -> Option<Finished> {
        let id = match *event {
            StreamEvent::Readable { id } | StreamEvent::Reset { id, .. } => id,
            StreamEvent::Writable { id } | StreamEvent::Stopped { id, .. } => {
                self.write(streams, id);
                return None;
            }
            _ => return None,
        };
        let exchange = self.open.get_mut(&id)?;
        if matches!(event, StreamEvent::Readable { .. }) {
            exchange.first_byte.get_or_insert(now);
        }
        let (end, outcome) = match &mut exchange.down {
            Down::Raw(inflow) => {
                let outcome = inflow.drive(streams)?;
                (raw_end(&outcome), outcome)
            }
            Down::Http(reader) => (http_end(reader.drive(id, streams)?), reader.outcome()),
        };
        self.close(streams, id, (end, outcome))
    }

    fn close(
        &mut self,
        streams: &mut StreamSet,
        id: StreamId,
        (end, outcome): (End, Outcome),
    ) -> Option<Finished> {
        let exchange = self.open.remove(&id)?;
        if exchange.up.is_some() {
            // The response came before the end of the request: nobody wants the rest.
            let _ = streams.reset(id, self.cancel_code());
        }
        Some(exchange.finish(id, (end, outcome)))
    }

    /// Whether the stream is one of these.
    pub fn contains(&self, id: StreamId) -> bool {
        self.open.contains_key(&id)
    }

    /// Ends one whose time is over.
    pub fn expire(&mut self, now: Instant, streams: &mut StreamSet) -> Option<Finished> {
        while let Some(&(deadline, id)) = self.deadlines.front() {
            if !self.open.contains_key(&id) {
                self.deadlines.pop_front();
                continue;
            }
            if deadline > now {
                return None;
            }
            self.deadlines.pop_front();
            let exchange = self.open.remove(&id)?;
            // Either side of the stream may have ended.
            let _ = streams.close(id, self.cancel_code());
            return Some(exchange.give_up(id, End::TimedOut));
        }
        None
    }

    /// When the first of them runs out of time; after [`Self::expire`].
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }

    fn cancel_code(&self) -> u64 {
        // RFC 9114 section 4.1.1
        if self.http { h3::code::REQUEST_CANCELLED } else { 0 }
    }

    fn write(&mut self, streams: &mut StreamSet, id: StreamId) {
        let Some(exchange) = self.open.get_mut(&id) else { return };
        let Some(outcome) = exchange.up.as_mut().and_then(|up| up.drive(streams)) else { return };
        exchange.up = None;
        if let Some(PumpError::Write(StreamError::Stopped(code))) = outcome.error {
            // Says that we are done with it. The response may still come.
            let _ = streams.reset(id, code);
        }
    }

    /// The connection is gone: all that are under way end without their responses.
    pub fn give_up(&mut self) -> Vec<Finished> {
        let open = std::mem::take(&mut self.open).into_iter();
        open.map(|(id, exchange)| exchange.give_up(id, End::Lost)).collect()
    }
}

impl Exchange {
    fn give_up(mut self, id: StreamId, end: End) -> Finished {
        let outcome = match &mut self.down {
            Down::Raw(inflow) => inflow.finish(None),
            Down::Http(reader) => reader.outcome(),
        };
        self.finish(id, (end, outcome))
    }

    fn finish(self, id: StreamId, (end, outcome): (End, Outcome)) -> Finished {
        let status = match &self.down {
            Down::Raw(_) => None,
            Down::Http(reader) => Some(reader.status()).filter(|status| *status > 0),
        };
        let Self { intended, begun, first_byte, .. } = self;
        Finished { id, intended, begun, first_byte, status, outcome, end }
    }
}

fn raw_end(outcome: &Outcome) -> End {
    match &outcome.error {
        None => End::Complete,
        Some(PumpError::Read(ReadError::Reset { code, .. })) => End::Reset(*code),
        // Nobody else reads the stream.
        Some(_) => End::Lost,
    }
}

fn http_end(end: h3::End) -> End {
    match end {
        h3::End::Complete => End::Complete,
        h3::End::Reset(code) => End::Reset(code),
        h3::End::Broken(violation) => End::Broken(violation),
    }
}
