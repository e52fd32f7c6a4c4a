//! What an observer is told of a connection: packets, losses, states, measures.
//!
//! A connection has an [`Observer`] only if its [`Tracer`] gives it one. What nobody wants is not even
//! gathered: every place that has something to tell asks [`Trace::wants`] first, one test of a mask that
//! lies in the connection. What changes slowly (states, keys, addresses, windows) is not told from
//! where it changes; [`watch`] compares it with what was told last, after each batch.

mod event;
mod mask;
mod sent;
mod watch;

#[cfg(test)]
mod tests;

use core::fmt;

use tquic_wire::{ConnectionId, Side, Version};

use crate::events::ConnectionError;
use crate::path::FourTuple;
use crate::time::Instant;

pub use event::{
    Direction, DropReason, EcnState, Event, KeyLevel, Life, LossTrigger, Metrics, Move, Packet,
    Reason, Update,
};
pub use mask::Mask;
use watch::Watch;

/// Kinds for which a received packet is described.
pub(crate) const RECEIVED: Mask = Mask::PACKET_RECEIVED
    .union(Mask::FRAMES_PROCESSED)
    .union(Mask::DATA_MOVED)
    .union(Mask::SPIN_BIT_UPDATED);

/// Decides who observes which connection.
pub trait Tracer: fmt::Debug + Send + Sync {
    /// The observer of a connection, if somebody wants to hear of it: asked when the connection begins,
    /// and by [`Connection::retrace`](crate::Connection::retrace) while it has none.
    fn observe(&self, subject: &Subject) -> Option<Box<dyn Observer>>;
}

/// Hears of one connection. Runs where the connection runs, in the middle of its work: it must not
/// block.
pub trait Observer: Send {
    /// What it wants to hear of. Asked when it begins and by
    /// [`Connection::retrace`](crate::Connection::retrace).
    fn mask(&self) -> Mask;

    /// Something happened.
    fn on_event(&mut self, now: Instant, event: &Event<'_>);

    /// A batch is over: what was gathered can go its way.
    fn on_batch_end(&mut self) {}

    /// What became of the events that it was told.
    fn tally(&self) -> Tally {
        Tally::default()
    }
}

/// What an observer made of what it was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events written down.
    pub told: u64,
    /// Of them, those that found no room and are gone.
    pub lost: u64,
}

/// Whom an observer hears of.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Which end we are.
    pub side: Side,
    /// The version of the first packet.
    pub version: Version,
    /// Destination Connection ID of the client's first packet: the connection's name at both ends.
    pub original_dcid: ConnectionId,
    /// The connection ID that we chose for ourselves.
    pub local_cid: ConnectionId,
    /// The addresses.
    pub addresses: FourTuple,
    /// When it began.
    pub began: Instant,
}

/// A connection's observer, and what it wants.
#[derive(Default)]
pub(crate) struct Trace {
    mask: Mask,
    observer: Option<Box<dyn Observer>>,
    watch: Option<Box<Watch>>,
    began: Instant,
    /// The peer's last spin bit.
    spin: bool,
    /// Why the connection ended, until it is told.
    ended: Option<ConnectionError>,
}

impl Trace {
    pub(crate) fn new(began: Instant) -> Self {
        Self { began, ..Self::default() }
    }

    /// Whether anybody wants to hear of any of `kinds`. Ask before gathering what to tell.
    #[inline(always)]
    pub(crate) fn wants(&self, kinds: Mask) -> bool {
        self.mask.intersects(kinds)
    }

    /// Whether anybody listens at all.
    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        !self.mask.is_empty()
    }

    /// The connection has ended.
    pub(crate) fn note_end(&mut self, error: &ConnectionError) {
        if self.is_on() {
            self.ended = Some(error.clone());
        }
    }

    /// A 1-RTT packet came with this spin bit (RFC 9000 section 17.4).
    pub(crate) fn on_spin_bit(&mut self, now: Instant, state: bool) {
        if self.spin != state {
            self.spin = state;
            if self.wants(Mask::SPIN_BIT_UPDATED) {
                self.tell(now, &Event::SpinBitUpdated { state });
            }
        }
    }

    /// Tells the observer. Its mask has been asked.
    pub(crate) fn tell(&mut self, now: Instant, event: &Event<'_>) {
        if let Some(observer) = &mut self.observer {
            observer.on_event(now, event);
        }
    }

    fn end_batch(&mut self) {
        if let Some(observer) = &mut self.observer {
            observer.on_batch_end();
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        self.observer.as_ref().map_or_else(Tally::default, |observer| observer.tally())
    }

    /// Takes over what the observer wants now; without one, asks `tracer` for one.
    fn refresh(&mut self, tracer: &dyn Tracer, subject: &Subject) {
        if self.observer.is_none() {
            self.observer = tracer.observe(subject);
        }
        self.mask = self.observer.as_ref().map_or(Mask::NONE, |observer| observer.mask());
        if self.mask.is_empty() {
            self.watch = None;
        }
    }
}

impl crate::Connection {
    /// Asks the tracer, and the observer if there is one, who wants to hear what. Called when the
    /// connection begins; to be called when the answer may have changed.
    pub fn retrace(&mut self) {
        let Some(tracer) = &self.config.tracer else { return };
        let subject = Subject {
            side: self.ids.side,
            version: self.ids.original_version,
            original_dcid: self.ids.original_dcid,
            local_cid: self.ids.local,
            addresses: self.paths[0].active().addresses,
            began: self.events.trace.began,
        };
        self.events.trace.refresh(&**tracer, &subject);
        self.streams.note_changes(self.events.trace.wants(Mask::STREAM_STATE_UPDATED));
    }

    /// Counts a packet that is not used, and says why.
    pub(crate) fn drop_packet(
        &mut self,
        now: Instant,
        ty: Option<tquic_wire::PacketType>,
        size: usize,
        reason: DropReason,
    ) {
        self.stats.dropped += 1;
        self.tell_dropped(now, ty, size, reason);
    }

    /// Says why a packet is not used that another counter counts.
    pub(crate) fn tell_dropped(
        &mut self,
        now: Instant,
        ty: Option<tquic_wire::PacketType>,
        size: usize,
        reason: DropReason,
    ) {
        if self.events.trace.wants(Mask::PACKET_DROPPED) {
            self.events.trace.tell(now, &Event::PacketDropped { ty, size, reason });
        }
    }
}
