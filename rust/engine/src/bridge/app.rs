//! The shard's end of the bridge: the application of a bridged connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use tquic_core::Connection;
use tquic_core::error::TransportError;
use tquic_core::events::{ConnectionError, Event};
use tquic_core::stream::StreamEvent;
use tquic_core::time::Instant;
use tquic_wire::Direction;

use super::entry::Threshold;
use super::mailbox::{BridgeCommand, DATAGRAM_COST, Mailbox, Shared};
use super::queue::EventQueue;
use super::streams::Streams;
use super::{ConnectedInfo, EventKind, Refusal};
use crate::application::{Application, Context};
use crate::key::ConnectionKey;
use crate::shard::clock;
use crate::stats::ConnectionSnapshot;

/// What is told of a listener's connection before anything else.
pub(super) struct Announcement {
    pub event: EventKind,
    /// Let go when the event is in the queue, or will never be.
    pub _threshold: Arc<Threshold>,
}

/// See the module.
pub(super) struct BridgeApp {
    mailbox: Arc<Mailbox>,
    queue: Arc<EventQueue>,
    /// A listener's connection: told before its first event.
    announcement: Option<Announcement>,
    /// Events of this batch.
    out: VecDeque<EventKind>,
    commands: VecDeque<BridgeCommand>,
    streams: Streams,
    /// Datagrams to be sent.
    datagrams: VecDeque<Bytes>,
    closed: bool,
    /// A listener's connection: what its streams are answered when there is too much to do.
    refusal: Option<Refusal>,
}

impl BridgeApp {
    pub fn new(
        mailbox: Arc<Mailbox>,
        queue: Arc<EventQueue>,
        announcement: Option<Announcement>,
        refusal: Option<Refusal>,
    ) -> Self {
        let streams = Streams::new(mailbox.side());
        Self {
            mailbox,
            queue,
            announcement,
            out: VecDeque::new(),
            commands: VecDeque::new(),
            streams,
            datagrams: VecDeque::new(),
            closed: false,
            refusal,
        }
    }

    fn flush(&mut self, now: Instant) {
        if self.out.is_empty() {
            return;
        }
        let mut events = std::mem::take(&mut self.out);
        let announcement = self.announcement.take();
        if let Some(announcement) = &announcement {
            if matches!(events.front(), Some(EventKind::Closed(_))) {
                // A handshake that came to nothing.
                return;
            }
            events.push_front(announcement.event.clone());
        }
        self.queue.push(&self.mailbox, events, now);
    }

    fn on_closed(&mut self, error: ConnectionError, now: Instant) {
        self.closed = true;
        let dropped = {
            let mut shared = self.mailbox.lock();
            shared.closed = Some(Arc::new(error.clone()));
            (std::mem::take(&mut shared.commands), std::mem::take(&mut shared.streams))
        };
        drop(dropped);
        self.mailbox.desk.close();
        self.out.push_back(EventKind::Closed(error));
        self.flush(now);
    }

    /// What came before the end crosses as well, credit or not: the peer believes that we have it,
    /// for it was acknowledged. Receive windows bound it.
    fn deliver_rest(&mut self, connection: &mut Connection) {
        let mailbox = self.mailbox.clone();
        self.receive_datagrams(connection, &mut mailbox.lock());
        let streams = connection.streams();
        while let Some(event) = streams.poll_event() {
            self.streams.on_event(event, streams, &mut self.out);
        }
        self.streams.deliver_rest(streams, &mut self.out);
    }

    fn execute(&mut self, context: &mut Context<'_>) {
        let mut commands = std::mem::take(&mut self.commands);
        for command in commands.drain(..) {
            match command {
                BridgeCommand::Datagram(data) => self.datagrams.push_back(data),
                BridgeCommand::Stats(tag) => {
                    let snapshot = Box::new(ConnectionSnapshot::of(context.connection));
                    self.out.push_back(EventKind::Stats { tag, snapshot });
                }
                BridgeCommand::Ping => context.connection.ping(),
                BridgeCommand::Hurry => context.connection.hurry(),
                BridgeCommand::TellFinalSizes => context.connection.streams().tell_final_sizes(),
                // What follows every command: the connection looks for something to send.
                BridgeCommand::Poke => {}
                BridgeCommand::ChangeCid => {
                    context.connection.change_connection_id();
                }
                BridgeCommand::Congestion(path, kind) => {
                    context.connection.set_congestion(path, kind);
                }
                BridgeCommand::Decide(path, sequence, decision) => {
                    context.connection.decide(path, sequence, decision);
                }
                BridgeCommand::Close(code, reason) => {
                    context.connection.close(context.now, code, &reason);
                }
                command => {
                    self.streams.execute(command, context.connection.streams(), &mut self.out);
                }
            }
        }
        self.commands = commands;
    }

    fn send_datagrams(&mut self, connection: &mut Connection, shared: &mut Shared) {
        let datagrams = connection.datagrams();
        let bounds = self.mailbox.bounds;
        while let Some(data) = self.datagrams.pop_front() {
            let cost = data.len() + DATAGRAM_COST;
            let queued = datagrams.queued();
            if queued > 0 && queued + cost > bounds.datagrams_ahead {
                self.datagrams.push_front(data);
                break;
            }
            shared.datagrams_out = shared.datagrams_out.saturating_sub(cost);
            // Refused if the limit has fallen since it was checked: lost, as datagrams may be.
            let _ = datagrams.send(data);
        }
        if shared.datagrams_out <= bounds.datagrams_out / 2
            && std::mem::take(&mut shared.datagrams_refused)
        {
            self.out.push_back(EventKind::DatagramsWritable);
        }
        self.mailbox.max_datagram.store(datagrams.max_len().unwrap_or(0), SeqCst);
        self.mailbox.can_reset_at.store(connection.streams().can_reset_at(), SeqCst);
    }

    fn receive_datagrams(&mut self, connection: &mut Connection, shared: &mut Shared) {
        while shared.datagrams_in < self.mailbox.bounds.datagrams_in {
            let Some(data) = connection.datagrams().recv() else { return };
            shared.datagrams_in += data.len() + DATAGRAM_COST;
            self.out.push_back(EventKind::Datagram(data));
        }
        // The connection keeps the newest of what comes now.
        shared.datagrams_starved = true;
    }
}

impl Application for BridgeApp {
    fn on_event(&mut self, context: &mut Context<'_>, event: Event) {
        let kind = match event {
            Event::Connected => {
                EventKind::Connected(Box::new(ConnectedInfo::of(context.connection)))
            }
            Event::ZeroRttRejected => EventKind::ZeroRttRejected,
            Event::Stream(event) => {
                let streams = context.connection.streams();
                if let StreamEvent::Opened { id } = event
                    && let Some(refusal) = &self.refusal
                    && id.direction() == Direction::Bidirectional
                    && refusal.gate.is_shut()
                {
                    *context.refused_streams += 1;
                    return self.streams.refuse(id, refusal, streams, &mut self.out);
                }
                return self.streams.on_event(event, streams, &mut self.out);
            }
            Event::NewToken(token) => EventKind::NewToken(token),
            Event::TicketReceived => EventKind::TicketReceived,
            Event::PingAcked { pings, rtt } => EventKind::PingAcked { pings, rtt },
            Event::Migrated(addresses) => EventKind::Migrated(addresses),
            Event::PathFailed(addresses) => EventKind::PathFailed(addresses),
            Event::Path { id, change } => EventKind::Path { id, change },
            Event::SchedulerFailed { reason, over } => EventKind::SchedulerFailed { reason, over },
            Event::PathsAvailable => EventKind::PathsAvailable,
            Event::Closed(error) => {
                if !matches!(error, ConnectionError::LocalClose { .. }) {
                    self.deliver_rest(context.connection);
                }
                return self.on_closed(error, context.now);
            }
            // Looked at in each batch anyway.
            _ => return,
        };
        self.out.push_back(kind);
    }

    fn on_tick(&mut self, context: &mut Context<'_>) {
        self.mailbox.on_look();
        {
            let mut shared = self.mailbox.lock();
            self.commands.append(&mut shared.commands);
            self.streams.feed(&mut shared.hungry);
        }
        self.execute(context);
        while let Some((path, batch)) = context.connection.take_ack_batch(context.now) {
            self.mailbox.desk.put(path, batch);
        }
        let opened = self.streams.open_waiting(context.connection.streams(), &mut self.out);
        let mailbox = self.mailbox.clone();
        let mut shared = mailbox.lock();
        shared.unopened = shared.unopened.saturating_sub(opened);
        let backlog = |more| mailbox.pauses(more);
        self.streams.cross(context.connection.streams(), &mut shared, &mut self.out, backlog);
        self.send_datagrams(context.connection, &mut shared);
        self.receive_datagrams(context.connection, &mut shared);
        drop(shared);
        self.flush(context.now);
    }

    fn on_refused(&mut self, _: ConnectionKey, error: ConnectionError) {
        self.on_closed(error, clock());
    }
}

impl Drop for BridgeApp {
    fn drop(&mut self) {
        if !self.closed {
            let error = TransportError::internal("the engine has ended");
            self.on_closed(ConnectionError::Local(error), clock());
        }
    }
}
