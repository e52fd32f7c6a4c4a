//! The perf protocol over stacks that are used from tokio tasks: a stack gives the traits below, and
//! the work is the same code for all of them, compiled for each.
//!
//! One thread runs everything: such stacks lose a third with more (quinn-rs/quinn#914).

mod client;
mod server;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use compare_common::options::{self, Kind, Role};
use compare_common::report::Totals;
use compare_common::tls::Sessions;
use compare_common::{Result, process};

/// Chunks that are read in one call.
const CHUNKS: usize = 32;

/// An endpoint that accepts.
pub trait Server: Sized + Send + 'static {
    /// A connection whose handshake is not done.
    type Incoming: Send + 'static;
    /// What becomes of it.
    type Connection: Connection;

    /// Listens, inside the runtime.
    fn listen(options: &options::Server) -> Result<(Self, SocketAddr)>;
    /// The next one; `None` when the endpoint is over.
    fn incoming(&mut self) -> impl Future<Output = Option<Self::Incoming>> + Send;
    /// The connection as soon as it can be used, and the end of its handshake.
    fn establish(
        incoming: Self::Incoming,
    ) -> impl Future<Output = Result<(Self::Connection, Established)>> + Send;
}

/// An endpoint that connects to one server.
pub trait Client: Sized + Send + Sync + 'static {
    /// A connection.
    type Connection: Connection;

    /// Makes the endpoint, inside the runtime.
    fn new(options: &options::Client, kind: Kind, sessions: &Arc<Sessions>) -> Result<Self>;
    /// Makes a connection and waits for the end of its handshake.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection>> + Send;
    /// A connection that sends at once, and whether the server has accepted that, known later.
    fn connect_early(&self) -> Result<(Self::Connection, Established)>;
}

/// Ends with the handshake: at a client, whether early data was accepted; at a server, true.
pub type Established = Pin<Box<dyn Future<Output = bool> + Send>>;

/// A connection as its owner has it.
pub trait Connection: Send + 'static {
    /// What opens streams.
    type Handle: Handle;

    /// Another handle.
    fn handle(&self) -> Self::Handle;
    /// The next stream of the peer; `None` when the connection is over.
    fn accept(&mut self) -> impl Future<Output = Option<Stream<Self>>> + Send;
}

/// The halves of a stream.
pub type Stream<C> =
    (<<C as Connection>::Handle as Handle>::Send, <<C as Connection>::Handle as Handle>::Receive);

/// Opens streams.
pub trait Handle: Clone + Send + 'static {
    /// The half that sends.
    type Send: Sender;
    /// The half that receives.
    type Receive: Receiver;

    /// Opens a bidirectional stream.
    fn open(&mut self) -> impl Future<Output = Result<(Self::Send, Self::Receive)>> + Send;
    /// Sends an unreliable datagram, when there is room for it.
    fn send_datagram(&mut self, data: Bytes) -> impl Future<Output = Result<()>> + Send;
    /// Receives one.
    fn receive_datagram(&mut self) -> impl Future<Output = Result<()>> + Send;
    /// Ends the connection.
    fn close(&mut self);
}

/// The half of a stream that sends.
pub trait Sender: Send + 'static {
    /// Writes all of it.
    fn write(&mut self, data: Bytes) -> impl Future<Output = Result<()>> + Send;
    /// Ends it.
    fn finish(&mut self) -> Result<()>;
}

/// The half of a stream that receives.
pub trait Receiver: Send + 'static {
    /// Waits for chunks and says how many there are; none at the end of the stream.
    fn read(&mut self, chunks: &mut [Bytes]) -> impl Future<Output = Result<usize>> + Send;
}

/// Plays the role that the command line names.
pub fn main<S: Server, C: Client>() -> Result<()> {
    let role = options::from_env()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match role {
        Role::Server(options) => {
            let totals = Arc::<Totals>::default();
            let at_end = totals.clone();
            process::at_signal(move || {
                at_end.print();
                std::process::exit(0);
            });
            // A task, like everything else: the outermost future is polled in another way.
            runtime.block_on(async { tokio::spawn(server::serve::<S>(options, totals)).await? })
        }
        Role::Client(options) => {
            runtime.block_on(async { tokio::spawn(client::run::<C>(options)).await? })
        }
    }
}
