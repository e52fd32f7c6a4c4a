//! What runs on top of a connection, in the connection's own thread.

use tquic_core::Connection;
use tquic_core::events::{ConnectionError, Event};
use tquic_core::time::Instant;

use crate::config::ConnectRequest;
use crate::key::ConnectionKey;

/// What an application may use while it is called.
pub struct Context<'a> {
    /// The connection's name in the engine.
    pub key: ConnectionKey,
    /// The time of this batch; no clock is read per event.
    pub now: Instant,
    /// The connection: its streams, datagrams, state.
    pub connection: &'a mut Connection,
    /// Set to be called (`on_tick`) at this time if nothing happens before. Forgotten at each call.
    pub wake_at: Option<Instant>,
    pub(crate) spawned: &'a mut Vec<Spawned>,
}

impl Context<'_> {
    /// Begins another connection in this thread, as soon as this one has had its turn.
    pub fn connect(&mut self, request: ConnectRequest, application: Box<dyn Application>) {
        self.spawned.push((request, application));
    }
}

/// A connection that an application began.
pub(crate) type Spawned = (ConnectRequest, Box<dyn Application>);

/// An application of one connection. Its methods run in the shard's thread and must not block: file
/// reads and writes of a bounded size are fine, waiting for anything else is not.
pub trait Application: Send {
    /// Something happened. Called for each event of a batch, in order.
    fn on_event(&mut self, context: &mut Context<'_>, event: Event);

    /// The batch is over: called once after its events, after a command for this connection, and at
    /// `wake_at`. The place to fill send buffers.
    fn on_tick(&mut self, context: &mut Context<'_>);

    /// The connection could not even begin: no socket, or settings that TLS refuses. Nothing else
    /// will be called.
    fn on_refused(&mut self, _key: ConnectionKey, _error: ConnectionError) {}
}
