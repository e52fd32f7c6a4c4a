//! Unreliable datagrams, as fast as the path takes them.

use std::any::Any;

use bytes::Bytes;
use tquic_core::datagram::{DatagramError, DatagramStats};
use tquic_core::events::{ConnectionError, Event};
use tquic_core::time::Instant;

use super::super::report::Tally;
use super::{PerfError, Start, Teller};
use crate::application::{Application, Context};
use crate::key::ConnectionKey;
use crate::pump::pattern_slice;
use crate::stats::ConnectionSnapshot;

/// Bytes that wait in the connection's queue: enough for two round trips of the sockets, below its
/// bound, where the oldest would be dropped.
const QUEUE: usize = 512 * 1024;

/// Datagrams to the server.
#[derive(Clone, Debug)]
pub struct DatagramLoad {
    /// How many.
    pub count: u64,
    /// Bytes of each; cut down to what a packet takes.
    pub size: usize,
}

/// The application.
pub(super) struct Client {
    load: DatagramLoad,
    teller: Teller,
    payload: Bytes,
    sent: u64,
    start: Start,
    over: bool,
}

impl Client {
    pub fn new(load: DatagramLoad, teller: Teller) -> Self {
        let payload = pattern_slice(0, load.size as u64);
        Self { load, teller, payload, sent: 0, start: Start::default(), over: false }
    }

    fn send(&mut self, context: &mut Context<'_>) {
        let datagrams = context.connection.datagrams();
        while self.sent < self.load.count && datagrams.queued() < QUEUE {
            match datagrams.send(self.payload.clone()) {
                Ok(_) => self.sent += 1,
                Err(DatagramError::TooLarge { max }) if max > 0 => self.payload.truncate(max),
                Err(_) => {
                    self.over = true;
                    let why = "the server does not accept datagrams";
                    self.teller.failed(PerfError::Unsupported(why));
                    context.connection.close(context.now, 0, b"");
                    return;
                }
            }
        }
    }

    fn end(&mut self, context: &mut Context<'_>, start: Instant, stats: DatagramStats) {
        self.over = true;
        let tally = Tally {
            bytes: stats.acked * self.payload.len() as u64,
            events: stats.acked,
            nanos: super::nanos(context.now - start),
            snapshots: vec![ConnectionSnapshot::of(context.connection)],
            ..Tally::default()
        };
        self.teller.done(tally);
        context.connection.close(context.now, 0, b"");
    }
}

impl Application for Client {
    fn on_event(&mut self, _: &mut Context<'_>, event: Event) {
        match event {
            Event::Connected => self.teller.connected(),
            Event::Closed(error) if !self.over => {
                self.teller.failed(PerfError::Connection(error));
            }
            _ => {}
        }
    }

    fn on_tick(&mut self, context: &mut Context<'_>) {
        self.start.is_new(context.now);
        let Some(start) = self.start.at().filter(|_| !self.over) else { return };
        self.send(context);
        let stats = context.connection.datagrams().stats();
        let settled = stats.acked + stats.lost + stats.dropped_unsent + stats.dropped_too_large;
        if !self.over && self.sent == self.load.count && settled >= self.sent {
            self.end(context, start, stats);
        }
    }

    fn on_message(&mut self, _: &dyn Any) {
        self.start.call();
    }

    fn on_refused(&mut self, _: ConnectionKey, error: ConnectionError) {
        self.teller.failed(PerfError::Connection(error));
    }
}
