//! A connection's turn: its application is told what happened, then it writes its trains.

use std::any::Any;
use std::cmp::Reverse;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tquic_core::Connection;
use tquic_core::error::TransportError;
use tquic_core::events::Event;
use tquic_core::time::Instant;
use tquic_net::udp::TrainError;

use super::outbox::BATCH;
use super::service::{Place, Slot, panic_message};
use super::{CLIENTS, Command, Connect, Shard};
use crate::application::{Context, Spawned};
use crate::engine::bind_first;

/// Trains that a connection sends in its turn before others have theirs.
const TURN: usize = BATCH;

/// How a connection's turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Nothing more to send.
    Done,
    /// There may be more.
    More,
    /// There may be more, but the sockets are full.
    NoRoom,
}

impl Shard {
    /// Gives every connection that has something to do one turn.
    pub(super) fn drive_dirty(&mut self) {
        let mut dirty = std::mem::take(&mut self.scratch.dirty);
        for (service, s) in &mut self.services {
            while let Some(handle) = s.endpoint.poll_dirty() {
                dirty.push(Place { service, handle });
            }
        }
        for &place in &dirty {
            match catch_unwind(AssertUnwindSafe(|| self.drive(place))) {
                Ok(turn) => {
                    self.after(place, turn);
                    self.open_paths(place);
                }
                Err(panic) => self.contain(Some(place), &*panic),
            }
        }
        dirty.clear();
        self.scratch.dirty = dirty;
        self.begin_spawned();
    }

    fn drive(&mut self, place: Place) -> Turn {
        let Some(service) = self.services.get_mut(place.service) else { return Turn::Done };
        let Some(connection) = service.endpoint.peek(place.handle) else { return Turn::Done };
        match service.table.get_mut(place.handle) {
            Some(slot) => {
                let refused_streams = &mut self.counters.refused_streams;
                call(slot, connection, self.now, &mut self.scratch.spawned, refused_streams);
            }
            None => while connection.poll_event().is_some() {},
        }
        for _ in 0..TURN {
            if self.outbox.is_full() {
                return Turn::NoRoom;
            }
            let now = self.now;
            let train = self.outbox.fill(place, |buf| connection.poll_transmit(now, buf));
            let Some(train) = train else { return Turn::Done };
            let local = train.transmit.addresses.local;
            let Some(socket) = self.sockets.find(place.service, local) else {
                self.outbox.release(&train);
                self.counters.unsent_trains += 1;
                continue;
            };
            if self.sockets.push(socket, train) >= BATCH {
                let result = self.sockets.flush(
                    socket,
                    self.now,
                    &mut self.poller,
                    &mut self.outbox,
                    &mut self.scratch.failures,
                );
                if let Err(error) = result {
                    self.counters.unsent_trains += 1;
                    if let Some(log) = &self.settings.log {
                        log(&format!("sending failed: {error}"));
                    }
                }
            }
        }
        Turn::More
    }

    fn after(&mut self, place: Place, turn: Turn) {
        let Some(service) = self.services.get_mut(place.service) else { return };
        if !service.endpoint.settle(self.now, place.handle) {
            if let Some(slot) = service.table.remove(place.handle) {
                self.leave(slot);
            }
            return;
        }
        let Some(slot) = service.table.get_mut(place.handle) else { return };
        if let Some(at) = slot.wake_at
            && slot.scheduled.is_none_or(|s| at < s)
        {
            slot.scheduled = Some(at);
            self.wakes.push(Reverse((at, place)));
        }
        match turn {
            Turn::Done => {}
            Turn::More => {
                self.more = true;
                service.endpoint.connection(place.handle);
            }
            Turn::NoRoom => {
                if !std::mem::replace(&mut slot.waiting, true) {
                    self.waiting.push(place);
                }
            }
        }
    }

    /// There is room in the outbox again.
    pub(super) fn resume_waiting(&mut self) {
        for place in std::mem::take(&mut self.waiting) {
            let Some(service) = self.services.get_mut(place.service) else { continue };
            if let Some(slot) = service.table.get_mut(place.handle) {
                slot.waiting = false;
                service.endpoint.connection(place.handle);
            }
        }
    }

    pub(super) fn flush_all(&mut self) {
        let Self { sockets, poller, outbox, scratch, .. } = self;
        let indices: smallvec::SmallVec<[usize; 8]> = sockets.indices().collect();
        let mut error = None;
        for at in indices {
            if let Err(e) = sockets.flush(at, self.now, poller, outbox, &mut scratch.failures) {
                error = Some(e);
            }
        }
        if let Some(error) = error {
            self.warn(&format!("sending failed: {error}"));
        }
        if let Some(news) = self.sockets.settle(self.now) {
            self.warn(&news);
        }
        for failure in std::mem::take(&mut self.scratch.failures) {
            self.counters.unsent_trains += 1;
            let Some(service) = self.services.get_mut(failure.place.service) else { continue };
            let Some(connection) = service.endpoint.connection(failure.place.handle) else {
                continue;
            };
            self.more = true;
            match failure.error {
                TrainError::TooLarge => {
                    connection.on_datagram_too_large(self.now, failure.segment);
                }
                // With a single path it is as if the network had lost it.
                TrainError::Soft(_) => connection.on_local_down(self.now, &failure.addresses),
                TrainError::Invalid => {}
            }
        }
        if !self.waiting.is_empty() && !self.outbox.is_full() {
            self.resume_waiting();
            self.more = true;
        }
    }

    /// A connection or its application panicked: only this connection ends. The first time the peer
    /// is told, the second time it goes without a word.
    pub(super) fn contain(&mut self, place: Option<Place>, panic: &(dyn Any + Send)) {
        self.counters.panics += 1;
        let what = panic_message(panic);
        self.warn(&format!("a connection ends because of a defect of this program: {what}"));
        let Some(place) = place else { return };
        let Some(service) = self.services.get_mut(place.service) else { return };
        let slot = service.table.get_mut(place.handle);
        let app = slot.and_then(|slot| slot.app.take());
        let _ = catch_unwind(AssertUnwindSafe(|| drop(app)));
        let slot = service.table.get_mut(place.handle);
        let broken = slot.is_none_or(|slot| std::mem::replace(&mut slot.broken, true));
        let now = self.now;
        let told = !broken
            && catch_unwind(AssertUnwindSafe(|| {
                if let Some(connection) = service.endpoint.connection(place.handle) {
                    connection.fail(now, TransportError::internal("internal error"));
                }
            }))
            .is_ok();
        self.more = true;
        if !told {
            service.endpoint.discard(place.handle);
            if let Some(slot) = service.table.remove(place.handle) {
                self.leave(slot);
            }
        }
    }

    /// A connection is gone.
    pub(super) fn leave(&mut self, slot: Slot) {
        self.keys.remove(&slot.key);
        self.sockets.release(&mut self.poller, &mut self.outbox, &slot.sockets);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(slot)));
        self.trim.on_gone(self.now);
    }

    /// Begins the connections that applications asked for.
    fn begin_spawned(&mut self) {
        let spawned: Vec<Spawned> = std::mem::take(&mut self.scratch.spawned);
        for (request, application) in spawned {
            let key = self.inbox.key();
            let socket = match bind_first(&request, &self.settings.socket) {
                Ok(socket) => socket,
                Err(error) => {
                    self.refuse(key, application, &format!("cannot bind a socket: {error}"));
                    continue;
                }
            };
            let connect = Connect { key, socket, source: None, request, application };
            self.execute(Command::Connect(Box::new(connect)));
            self.more = true;
        }
    }

    /// Forgets listeners that are closed and have no connections left.
    pub(super) fn reap(&mut self) {
        let over = |(at, s): (usize, &super::Service)| {
            let closing = s.listener.as_ref().is_some_and(|l| l.acceptor.is_none());
            (closing && s.endpoint.is_empty() && at != CLIENTS).then_some(at)
        };
        while let Some(at) = self.services.iter().find_map(over) {
            self.sockets.remove_service(&mut self.poller, &mut self.outbox, at);
            let service = self.services.remove(at);
            crate::stats::add_endpoint(&mut self.counters.endpoint, &service.endpoint.stats());
        }
    }
}

/// Tells the application what happened, and lets it work.
fn call(
    slot: &mut Slot,
    connection: &mut Connection,
    now: Instant,
    spawned: &mut Vec<Spawned>,
    refused_streams: &mut u64,
) {
    let Some(app) = &mut slot.app else {
        while connection.poll_event().is_some() {}
        return;
    };
    let key = slot.key;
    let mut context = Context { key, now, connection, wake_at: None, spawned, refused_streams };
    let mut ticked = false;
    let closed = loop {
        match context.connection.poll_event() {
            Some(event) => {
                slot.may_open |= matches!(event, Event::Connected | Event::PathsAvailable);
                let last = matches!(event, Event::Closed(_));
                app.on_event(&mut context, event);
                if last {
                    break true;
                }
            }
            None if ticked => break false,
            None => {
                ticked = true;
                app.on_tick(&mut context);
            }
        }
    };
    slot.wake_at = context.wake_at.filter(|_| !closed);
    if closed {
        slot.app = None;
    }
}
