//! What runs on top of a connection, in the connection's own thread.

use tquic_core::Connection;
use tquic_core::events::Event;
use tquic_core::time::Instant;

/// What an application may use while it is called.
pub struct Context<'a> {
    /// The time of this batch; no clock is read per event.
    pub now: Instant,
    /// The connection: its streams, datagrams, state.
    pub connection: &'a mut Connection,
    /// Set to be called (`on_tick`) at this time if nothing happens before.
    pub wake_at: Option<Instant>,
}

/// An application of one connection. Its methods run in the shard's thread and must not block: file
/// reads and writes of a bounded size are fine, waiting for anything else is not.
pub trait Application: Send {
    /// Something happened. Called for each event of a batch, in order.
    fn on_event(&mut self, context: &mut Context<'_>, event: Event);

    /// The batch is over: called once after its events, after a command for this connection, and at
    /// `wake_at`. The place to fill send buffers.
    fn on_tick(&mut self, context: &mut Context<'_>);
}
