//! What runs on top of a connection, in the connection's own thread.

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;

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
    /// Streams of the peer that were refused: counted by the shard.
    pub(crate) refused_streams: &'a mut u64,
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

    /// Another thread says something. Called outside of a turn; `on_tick` follows soon.
    #[doc(hidden)]
    fn on_message(&mut self, _message: &dyn Any) {}

    /// The connection could not even begin: no socket, or settings that TLS refuses. Nothing else
    /// will be called.
    fn on_refused(&mut self, _key: ConnectionKey, _error: ConnectionError) {}
}

/// The application of a listener's connection, made when TLS has agreed on a protocol: one port for
/// several.
pub struct ByAlpn(Choice);

type Make = Box<dyn FnOnce(&[u8]) -> Box<dyn Application> + Send>;

enum Choice {
    Open(Make),
    Made(Box<dyn Application>),
    /// The connection ended before there was a protocol.
    Never,
}

impl ByAlpn {
    /// `make` is given the protocol's name (ALPN).
    pub fn new(make: impl FnOnce(&[u8]) -> Box<dyn Application> + Send + 'static) -> Self {
        Self(Choice::Open(Box::new(make)))
    }
}

impl Application for ByAlpn {
    fn on_event(&mut self, context: &mut Context<'_>, event: Event) {
        if matches!(self.0, Choice::Open(_))
            && let Some(alpn) = context.connection.handshake().alpn()
            && let Choice::Open(make) = std::mem::replace(&mut self.0, Choice::Never)
        {
            self.0 = Choice::Made(make(alpn));
        }
        if let Choice::Made(application) = &mut self.0 {
            application.on_event(context, event);
        }
    }

    fn on_tick(&mut self, context: &mut Context<'_>) {
        if let Choice::Made(application) = &mut self.0 {
            application.on_tick(context);
        }
    }
}

/// What one thread tells the applications of many connections.
pub(crate) trait Message: Any + Send + Sync {
    /// One of the connections did not get it: it is gone, or its shard.
    fn on_missed(&self) {}
}

/// A message on its way: every connection gets it, or is reported to have missed it.
pub(crate) struct Tell {
    pub keys: Vec<ConnectionKey>,
    pub message: Arc<dyn Message>,
}

impl Drop for Tell {
    fn drop(&mut self) {
        self.keys.drain(..).for_each(|_| self.message.on_missed());
    }
}

/// A socket that a shard's connections share: those from one local address. The number tells several
/// sockets at the same address apart.
pub(crate) type Source = (IpAddr, u16);

/// A connection that a [`Supply`] begins.
pub(crate) struct Begin {
    pub key: ConnectionKey,
    pub request: ConnectRequest,
    /// The socket to use.
    pub source: Option<Source>,
    pub application: Box<dyn Application>,
}

/// What a [`Supply`] wants done.
pub(crate) enum Next {
    /// Begin this connection, and ask again.
    Begin(Box<Begin>),
    /// Ask again at this time.
    At(Instant),
    /// Ask again after the shard's next turn: something must happen first.
    Later,
    /// Never ask again.
    Over,
}

/// Begins connections when their time has come, in a shard's thread.
pub(crate) trait Supply: Send {
    /// Asked after each turn of the shard, and at the time it said.
    fn next(&mut self, now: Instant) -> Next;
}
