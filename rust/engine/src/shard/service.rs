//! One endpoint of a shard with what belongs to it: a listener, or all clients.

use smallvec::SmallVec;
use std::any::Any;
use std::sync::Arc;

use tquic_core::time::Instant;
use tquic_core::{ConnectionHandle, Endpoint};

use crate::application::Application;
use crate::bridge::Gate;
use crate::config::{Acceptor, ListenerId, LocalAddress};
use crate::key::ConnectionKey;

/// Where a connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub service: usize,
    pub handle: ConnectionHandle,
}

#[cfg(test)]
impl Default for Place {
    fn default() -> Self {
        Self { service: 0, handle: ConnectionHandle::from_u64(0) }
    }
}

/// What the shard keeps of a connection beside the connection.
pub(super) struct Slot {
    pub handle: ConnectionHandle,
    pub key: ConnectionKey,
    /// Gone after the connection closed.
    pub app: Option<Box<dyn Application>>,
    /// When the application wants to be called, and for when that was put down.
    pub wake_at: Option<Instant>,
    pub scheduled: Option<Instant>,
    /// In the list of those who wait for room in the outbox.
    pub waiting: bool,
    /// Something in it panicked: the next time it goes without a word.
    pub broken: bool,
    /// Sockets opened for this connection alone.
    pub sockets: SmallVec<[usize; 1]>,
    /// Paths that are still to be opened, and whether there is reason to try.
    pub paths: Vec<LocalAddress>,
    pub may_open: bool,
}

impl Slot {
    pub fn new(handle: ConnectionHandle, key: ConnectionKey, app: Box<dyn Application>) -> Self {
        Self {
            handle,
            key,
            app: Some(app),
            wake_at: None,
            scheduled: None,
            waiting: false,
            broken: false,
            sockets: SmallVec::new(),
            paths: Vec::new(),
            may_open: false,
        }
    }
}

/// Slots by the index in the handle: no hashing per batch.
#[derive(Default)]
pub(super) struct Table(Vec<Option<Slot>>);

/// The low half of a handle is its index in the endpoint.
fn index(handle: ConnectionHandle) -> usize {
    handle.to_u64() as u32 as usize
}

impl Table {
    pub fn get_mut(&mut self, handle: ConnectionHandle) -> Option<&mut Slot> {
        self.0.get_mut(index(handle))?.as_mut().filter(|slot| slot.handle == handle)
    }

    /// Puts a slot in. Answers what lay there: a connection that went without notice.
    pub fn insert(&mut self, slot: Slot) -> Option<Slot> {
        let at = index(slot.handle);
        if at >= self.0.len() {
            self.0.resize_with(at + 1, || None);
        }
        self.0[at].replace(slot)
    }

    pub fn remove(&mut self, handle: ConnectionHandle) -> Option<Slot> {
        let entry = self.0.get_mut(index(handle))?;
        if entry.as_ref().is_some_and(|slot| slot.handle == handle) { entry.take() } else { None }
    }
}

/// A listener.
pub(super) struct Listener {
    pub id: ListenerId,
    /// `None`: no new connections, and the listener is gone when the last one is.
    pub acceptor: Option<Acceptor>,
    /// Nobody is let in while it is shut.
    pub gate: Option<Arc<Gate>>,
    /// Settings of its connections: the largest datagram.
    pub max_payload: u16,
}

/// See the module.
pub(super) struct Service {
    pub endpoint: Endpoint,
    pub table: Table,
    /// `None` for clients.
    pub listener: Option<Listener>,
}

/// What a panic said.
pub(super) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::application::Context;
    use tquic_core::events::Event;

    struct Nothing;
    impl Application for Nothing {
        fn on_event(&mut self, _: &mut Context<'_>, _: Event) {}
        fn on_tick(&mut self, _: &mut Context<'_>) {}
    }

    #[test]
    fn a_slot_belongs_to_one_generation() {
        let mut table = Table::default();
        let (old, new) =
            (ConnectionHandle::from_u64(1 << 32 | 5), ConnectionHandle::from_u64(2 << 32 | 5));
        let key = ConnectionKey::new(0, 0);
        assert!(table.insert(Slot::new(old, key, Box::new(Nothing))).is_none());
        assert!(table.get_mut(new).is_none());
        assert!(table.remove(new).is_none());
        assert!(
            table.insert(Slot::new(new, key, Box::new(Nothing))).is_some_and(|s| s.handle == old)
        );
        assert!(table.get_mut(old).is_none());
        assert!(table.remove(new).is_some());
        assert!(table.get_mut(new).is_none());
    }
}
