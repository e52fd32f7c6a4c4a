//! Requests and their responses, each pair on a stream of its own, in the connection's thread.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

use bytes::Bytes;
use tquic_core::stream::{ReadError, StreamError, StreamEvent, StreamSet};
use tquic_core::time::Instant;
use tquic_wire::{Direction, StreamId};

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

/// What is done with responses; their bytes are counted in any case.
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

struct Exchange {
    intended: Instant,
    begun: Instant,
    /// What is left of a request that the stream did not take at once.
    up: Option<Outflow>,
    down: Inflow,
}

/// An exchange that is over.
#[derive(Debug)]
pub(crate) struct Finished {
    pub id: StreamId,
    /// When it should have begun.
    pub intended: Instant,
    /// When it did.
    pub begun: Instant,
    /// What became of the response.
    pub outcome: Outcome,
}

impl Finished {
    /// The application error code with which the peer ended it.
    pub fn code(&self) -> Option<u64> {
        match &self.outcome.error {
            Some(PumpError::Read(ReadError::Reset(code))) => Some(*code),
            _ => None,
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
}

impl Exchanges {
    pub fn new(response: Response) -> Self {
        Self { open: HashMap::default(), response }
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
        let down = Inflow::new(id, self.response.sink(), 0);
        self.open.insert(id, Exchange { intended, begun: now, up, down });
        true
    }

    /// Does what follows from an event; `Some` if an exchange is over by it.
    pub fn on_stream(&mut self, streams: &mut StreamSet, event: &StreamEvent) -> Option<Finished> {
        let id = match *event {
            StreamEvent::Readable { id } | StreamEvent::Reset { id, .. } => id,
            StreamEvent::Writable { id } | StreamEvent::Stopped { id, .. } => {
                self.write(streams, id);
                return None;
            }
            _ => return None,
        };
        let Entry::Occupied(mut entry) = self.open.entry(id) else { return None };
        let outcome = entry.get_mut().down.drive(streams)?;
        let Exchange { intended, begun, up, .. } = entry.remove();
        if up.is_some() {
            // The response came before the end of the request: nobody wants the rest.
            let _ = streams.reset(id, 0);
        }
        Some(Finished { id, intended, begun, outcome })
    }

    /// Whether the stream is one of these.
    pub fn contains(&self, id: StreamId) -> bool {
        self.open.contains_key(&id)
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
        let end = |(id, mut exchange): (StreamId, Exchange)| {
            let error = PumpError::Read(ReadError::Finished);
            let outcome = exchange.down.finish(Some(error));
            Finished { id, intended: exchange.intended, begun: exchange.begun, outcome }
        };
        std::mem::take(&mut self.open).into_iter().map(end).collect()
    }
}
