//! The driver over `crate::stack`: quinn, or its fork noq.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use compare_common::options::{self, Kind, SERVER_NAME};
use compare_common::tls::{self, Sessions};
use compare_common::{
    CONNECTION_WINDOW, DATAGRAM, IDLE_TIMEOUT_MS, Result, SOCKET_BUFFER, STREAM_WINDOW, STREAMS,
};
use compare_tasks::Established;
use socket2::{Domain, Protocol, Socket, Type};

use crate::stack::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use crate::stack::{
    self, ClientConfig, ConnectionError, Endpoint, EndpointConfig, Incoming, RecvStream,
    SendStream, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};

pub fn main() -> Result<()> {
    compare_tasks::main::<Server, Client>()
}

fn transport() -> Result<Arc<TransportConfig>> {
    let mut config = TransportConfig::default();
    config
        .initial_mtu(DATAGRAM)
        .mtu_discovery_config(None)
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(CONNECTION_WINDOW.into())
        .max_concurrent_bidi_streams(STREAMS.into())
        .max_idle_timeout(Some(Duration::from_millis(IDLE_TIMEOUT_MS).try_into()?));
    Ok(Arc::new(config))
}

fn endpoint(address: SocketAddr, server: Option<ServerConfig>) -> Result<Endpoint> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.bind(&address.into())?;
    let (config, runtime) = (EndpointConfig::default(), Arc::new(TokioRuntime));
    Ok(Endpoint::new(config, server, socket.into(), runtime)?)
}

struct Server(Endpoint);

impl compare_tasks::Server for Server {
    type Incoming = Incoming;
    type Connection = Connection;

    fn listen(options: &options::Server) -> Result<(Self, SocketAddr)> {
        let tls = tls::server(&options.cert, &options.key)?;
        let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
        config.transport_config(transport()?);
        let endpoint = endpoint(options.listen, Some(config))?;
        let address = endpoint.local_addr()?;
        Ok((Self(endpoint), address))
    }

    async fn incoming(&mut self) -> Option<Incoming> {
        self.0.accept().await
    }

    async fn establish(incoming: Incoming) -> Result<(Connection, Established)> {
        // Early data is answered before the handshake is over; servers can always do that.
        let early = incoming.accept()?.into_0rtt();
        let (connection, established) = early.map_err(|_| "a server that cannot send early")?;
        let watched = connection.clone();
        let established = async move {
            // What it resolves to is for clients. One that closed has finished its handshake before:
            // applications close in 1-RTT packets (RFC 9000 section 10.2.3).
            established.await;
            matches!(watched.close_reason(), None | Some(ConnectionError::ApplicationClosed(_)))
        };
        Ok((Connection(connection), Box::pin(established)))
    }
}

struct Client {
    endpoint: Endpoint,
    config: ClientConfig,
    server: SocketAddr,
}

impl compare_tasks::Client for Client {
    type Connection = Connection;

    fn new(options: &options::Client, kind: Kind, sessions: &Arc<Sessions>) -> Result<Self> {
        let tls = tls::client(&options.ca, kind, sessions)?;
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        config.transport_config(transport()?);
        let endpoint = endpoint("127.0.0.1:0".parse()?, None)?;
        Ok(Self { endpoint, config, server: options.to })
    }

    async fn connect(&self) -> Result<Connection> {
        let connecting =
            self.endpoint.connect_with(self.config.clone(), self.server, SERVER_NAME)?;
        Ok(Connection(connecting.await?))
    }

    fn connect_early(&self) -> Result<(Connection, Established)> {
        let connecting =
            self.endpoint.connect_with(self.config.clone(), self.server, SERVER_NAME)?;
        let (connection, accepted) =
            connecting.into_0rtt().map_err(|_| "no early data possible")?;
        Ok((Connection(connection), Box::pin(accepted)))
    }
}

struct Connection(stack::Connection);

impl compare_tasks::Connection for Connection {
    type Handle = Handle;

    fn handle(&self) -> Handle {
        Handle(self.0.clone())
    }

    async fn accept(&mut self) -> Option<(Sender, Receiver)> {
        let (send, receive) = self.0.accept_bi().await.ok()?;
        Some((Sender(send), Receiver(receive)))
    }
}

#[derive(Clone)]
struct Handle(stack::Connection);

impl compare_tasks::Handle for Handle {
    type Send = Sender;
    type Receive = Receiver;

    async fn open(&mut self) -> Result<(Sender, Receiver)> {
        let (send, receive) = self.0.open_bi().await?;
        Ok((Sender(send), Receiver(receive)))
    }

    async fn send_datagram(&mut self, data: Bytes) -> Result<()> {
        Ok(self.0.send_datagram_wait(data).await?)
    }

    async fn receive_datagram(&mut self) -> Result<()> {
        self.0.read_datagram().await?;
        Ok(())
    }

    fn close(&mut self) {
        self.0.close(VarInt::from_u32(0), b"");
    }
}

struct Sender(SendStream);

impl compare_tasks::Sender for Sender {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        Ok(self.0.write_chunk(data).await?)
    }

    fn finish(&mut self) -> Result<()> {
        Ok(self.0.finish()?)
    }
}

struct Receiver(RecvStream);

impl compare_tasks::Receiver for Receiver {
    async fn read(&mut self, chunks: &mut [Bytes]) -> Result<usize> {
        Ok(crate::read_chunks(&mut self.0, chunks).await?.unwrap_or(0))
    }
}
