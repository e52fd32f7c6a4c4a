//! The server's side: answers, and throws away what it gets.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tquic_core::events::Event;
use tquic_core::stream::{StreamEvent, StreamSet};
use tquic_wire::{Direction, StreamId};

use crate::application::{Application, Context};
use crate::config::Acceptor;
use crate::pump::{Checker, Outflow, Source};

const HEADER: usize = 8;

/// Counters of a server, shared by its connections.
#[derive(Debug, Default)]
pub struct ServerCounters {
    connections: AtomicU64,
    requests: AtomicU64,
    received: AtomicU64,
    mismatches: AtomicU64,
    datagrams: AtomicU64,
    datagram_bytes: AtomicU64,
}

/// What [`ServerCounters`] count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerTotals {
    /// Connections whose handshake is complete.
    pub connections: u64,
    /// Streams that were read to the end.
    pub requests: u64,
    /// Bytes received behind the first eight of each stream.
    pub received: u64,
    /// Those that were not the pattern; other clients send other things.
    pub mismatches: u64,
    /// Unreliable datagrams.
    pub datagrams: u64,
    /// Their bytes.
    pub datagram_bytes: u64,
}

impl ServerCounters {
    /// The counters now.
    pub fn totals(&self) -> ServerTotals {
        ServerTotals {
            connections: self.connections.load(Relaxed),
            requests: self.requests.load(Relaxed),
            received: self.received.load(Relaxed),
            mismatches: self.mismatches.load(Relaxed),
            datagrams: self.datagrams.load(Relaxed),
            datagram_bytes: self.datagram_bytes.load(Relaxed),
        }
    }
}

/// What has come of a stream.
#[derive(Default)]
struct Request {
    header: [u8; HEADER],
    received: u64,
    checker: Checker,
}

impl Request {
    fn take(&mut self, at: u64, piece: &[u8]) {
        let missing = HEADER.saturating_sub(usize::try_from(at).unwrap_or(HEADER));
        let (head, body) = piece.split_at(missing.min(piece.len()));
        let from = HEADER - missing;
        self.header[from..from + head.len()].copy_from_slice(head);
        self.checker.check((at + head.len() as u64).saturating_sub(HEADER as u64), body);
        self.received += piece.len() as u64;
    }

    /// How many bytes the client wants; `None` if it never said.
    fn wanted(&self) -> Option<u64> {
        (self.received >= HEADER as u64).then(|| u64::from_be_bytes(self.header))
    }
}

/// The application of one accepted connection.
pub struct Server {
    counters: Arc<ServerCounters>,
    /// Streams whose end has not come.
    requests: HashMap<StreamId, Request>,
    /// Answers on their way.
    answers: HashMap<StreamId, Outflow>,
    /// Answers that wait for a unidirectional stream to be opened.
    waiting: VecDeque<u64>,
}

impl Server {
    /// A connection of the server that has these counters.
    pub fn new(counters: Arc<ServerCounters>) -> Self {
        Self {
            counters,
            requests: HashMap::new(),
            answers: HashMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// For [`Engine::listen`](crate::Engine::listen).
    pub fn acceptor(counters: Arc<ServerCounters>) -> Acceptor {
        Arc::new(move |_| Box::new(Self::new(counters.clone())))
    }

    fn on_readable(&mut self, streams: &mut StreamSet, id: StreamId) {
        // Most requests come whole, and are answered without having been in the table.
        let known = if self.requests.is_empty() { None } else { self.requests.remove(&id) };
        let mut request = known.unwrap_or_default();
        let result = streams.read_with(id, |at, piece| {
            request.take(at, piece);
            piece.len()
        });
        match result {
            Ok(consumed) if !consumed.fin => {
                self.requests.insert(id, request);
            }
            Ok(_) => {
                self.count(&request);
                self.answer(streams, id, request.wanted());
            }
            Err(_) => {
                // Unidirectional streams of the client have nothing to reset.
                let _ = streams.reset(id, 0);
            }
        }
    }

    fn count(&self, request: &Request) {
        let body = request.received.saturating_sub(HEADER as u64);
        self.counters.requests.fetch_add(1, Relaxed);
        self.counters.received.fetch_add(body, Relaxed);
        self.counters.mismatches.fetch_add(request.checker.mismatches, Relaxed);
    }

    fn answer(&mut self, streams: &mut StreamSet, id: StreamId, wanted: Option<u64>) {
        match (id.direction(), wanted) {
            (Direction::Bidirectional, wanted) => {
                self.begin(streams, id, wanted.unwrap_or(0));
            }
            // Section 2.3.2: a new stream for the answer, none for no answer.
            (Direction::Unidirectional, Some(wanted)) if wanted > 0 => {
                self.waiting.push_back(wanted);
                self.open_waiting(streams);
            }
            (Direction::Unidirectional, _) => {}
        }
    }

    fn begin(&mut self, streams: &mut StreamSet, id: StreamId, wanted: u64) {
        let mut answer = Outflow::new(id, Source::Pattern(wanted), true);
        if answer.drive(streams).is_none() {
            self.answers.insert(id, answer);
        }
    }

    fn open_waiting(&mut self, streams: &mut StreamSet) {
        while let Some(&wanted) = self.waiting.front() {
            let Some(id) = streams.open(Direction::Unidirectional) else { return };
            self.waiting.pop_front();
            self.begin(streams, id, wanted);
        }
    }

    fn on_stream(&mut self, streams: &mut StreamSet, event: StreamEvent) {
        match event {
            StreamEvent::Readable { id } | StreamEvent::Reset { id, .. } => {
                self.on_readable(streams, id);
            }
            StreamEvent::Writable { id } => {
                let over = self.answers.get_mut(&id).is_some_and(|a| a.drive(streams).is_some());
                if over {
                    self.answers.remove(&id);
                }
            }
            StreamEvent::Stopped { id, code } => {
                self.answers.remove(&id);
                // It is reset already; this says that we are done with it.
                let _ = streams.reset(id, code);
            }
            StreamEvent::StreamsAvailable { .. } => self.open_waiting(streams),
            StreamEvent::Opened { .. }
            | StreamEvent::Finished { .. }
            | StreamEvent::FinalSize { .. } => {}
        }
    }
}

impl Application for Server {
    fn on_event(&mut self, context: &mut Context<'_>, event: Event) {
        match event {
            Event::Connected => {
                self.counters.connections.fetch_add(1, Relaxed);
            }
            Event::Stream(event) => self.on_stream(context.connection.streams(), event),
            Event::DatagramReceived => {
                while let Some(datagram) = context.connection.datagrams().recv() {
                    self.counters.datagrams.fetch_add(1, Relaxed);
                    self.counters.datagram_bytes.fetch_add(datagram.len() as u64, Relaxed);
                }
            }
            _ => {}
        }
    }

    fn on_tick(&mut self, _: &mut Context<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pump::pattern_slice;

    #[test]
    fn a_request_is_read_in_any_pieces() {
        let mut stream = 77_u64.to_be_bytes().to_vec();
        stream.extend_from_slice(&pattern_slice(0, 1000));
        for size in [1, 3, 7, 8, 9, 500, 2000] {
            let mut request = Request::default();
            let mut at = 0;
            for piece in stream.chunks(size) {
                assert_eq!(request.wanted(), (at >= 8).then_some(77));
                request.take(at, piece);
                at += piece.len() as u64;
            }
            assert_eq!((request.wanted(), request.checker.mismatches), (Some(77), 0));
        }
    }
}
