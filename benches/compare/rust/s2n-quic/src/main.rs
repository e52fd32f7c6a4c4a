//! The driver over s2n-quic, with its own TLS: P-256 key exchange, as its policy prefers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use compare_common::options::{self, Kind, SERVER_NAME};
use compare_common::tls::Sessions;
use compare_common::{
    ALPN, CONNECTION_WINDOW, DATAGRAM, IDLE_TIMEOUT_MS, Result, SOCKET_BUFFER, STREAM_WINDOW,
    STREAMS,
};
use compare_tasks::Established;
use s2n_quic::client::Connect;
use s2n_quic::connection;
use s2n_quic::provider::limits::Limits;
use s2n_quic::provider::{io, tls};
use s2n_quic::stream::{ReceiveStream, SendStream};

/// Headers of IPv4 and UDP: it counts them in its MTU.
const HEADERS: u16 = 28;

fn main() -> Result<()> {
    compare_tasks::main::<Server, Client>()
}

fn limits() -> Result<Limits> {
    Ok(Limits::new()
        .with_data_window(CONNECTION_WINDOW.into())?
        .with_bidirectional_local_data_window(STREAM_WINDOW.into())?
        .with_bidirectional_remote_data_window(STREAM_WINDOW.into())?
        .with_max_open_local_bidirectional_streams(STREAMS.into())?
        .with_max_open_remote_bidirectional_streams(STREAMS.into())?
        .with_max_send_buffer_size(STREAM_WINDOW)?
        .with_max_handshake_duration(Duration::from_secs(60))?
        .with_max_idle_timeout(Duration::from_millis(IDLE_TIMEOUT_MS))?)
}

fn sockets(address: SocketAddr) -> Result<io::Default> {
    Ok(io::Default::builder()
        .with_receive_address(address)?
        .with_send_buffer_size(SOCKET_BUFFER)?
        .with_recv_buffer_size(SOCKET_BUFFER)?
        .with_initial_mtu(DATAGRAM + HEADERS)?
        .with_max_mtu(DATAGRAM + HEADERS)?
        .build()?)
}

struct Server(s2n_quic::Server);

impl compare_tasks::Server for Server {
    type Incoming = s2n_quic::Connection;
    type Connection = Connection;

    fn listen(options: &options::Server) -> Result<(Self, SocketAddr)> {
        let tls = tls::default::Server::builder()
            .with_application_protocols([ALPN].iter())?
            .with_certificate(options.cert.as_path(), options.key.as_path())?
            .build()?;
        let server = s2n_quic::Server::builder()
            .with_tls(tls)?
            .with_io(sockets(options.listen)?)?
            .with_limits(limits()?)?
            .start()?;
        let address = server.local_addr()?;
        Ok((Self(server), address))
    }

    async fn incoming(&mut self) -> Option<s2n_quic::Connection> {
        self.0.accept().await
    }

    async fn establish(incoming: s2n_quic::Connection) -> Result<(Connection, Established)> {
        Ok((Connection(incoming), Box::pin(std::future::ready(true))))
    }
}

struct Client {
    endpoint: s2n_quic::Client,
    server: SocketAddr,
}

impl compare_tasks::Client for Client {
    type Connection = Connection;

    fn new(options: &options::Client, kind: Kind, _: &Arc<Sessions>) -> Result<Self> {
        if kind.resumes() {
            return Err("s2n-quic resumes no sessions without its unstable features".into());
        }
        let tls = tls::default::Client::builder()
            .with_application_protocols([ALPN].iter())?
            .with_certificate(options.ca.as_path())?
            .build()?;
        let endpoint = s2n_quic::Client::builder()
            .with_tls(tls)?
            .with_io(sockets("127.0.0.1:0".parse()?)?)?
            .with_limits(limits()?)?
            .start()?;
        Ok(Self { endpoint, server: options.to })
    }

    async fn connect(&self) -> Result<Connection> {
        let connect = Connect::new(self.server).with_server_name(SERVER_NAME);
        Ok(Connection(self.endpoint.connect(connect).await?))
    }

    fn connect_early(&self) -> Result<(Connection, Established)> {
        Err("s2n-quic sends no early data".into())
    }
}

struct Connection(s2n_quic::Connection);

impl compare_tasks::Connection for Connection {
    type Handle = Handle;

    fn handle(&self) -> Handle {
        Handle(self.0.handle())
    }

    async fn accept(&mut self) -> Option<(Sender, Receiver)> {
        let stream = self.0.accept_bidirectional_stream().await.ok()??;
        let (receive, send) = stream.split();
        Some((Sender(send), Receiver(receive)))
    }
}

#[derive(Clone)]
struct Handle(connection::Handle);

impl compare_tasks::Handle for Handle {
    type Send = Sender;
    type Receive = Receiver;

    async fn open(&mut self) -> Result<(Sender, Receiver)> {
        let (receive, send) = self.0.open_bidirectional_stream().await?.split();
        Ok((Sender(send), Receiver(receive)))
    }

    async fn send_datagram(&mut self, _: Bytes) -> Result<()> {
        Err("s2n-quic has no datagrams without its unstable features".into())
    }

    async fn receive_datagram(&mut self) -> Result<()> {
        Err("s2n-quic has no datagrams without its unstable features".into())
    }

    fn close(&mut self) {
        self.0.close(0_u8.into());
    }
}

struct Sender(SendStream);

impl compare_tasks::Sender for Sender {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        Ok(self.0.send(data).await?)
    }

    fn finish(&mut self) -> Result<()> {
        Ok(self.0.finish()?)
    }
}

struct Receiver(ReceiveStream);

impl compare_tasks::Receiver for Receiver {
    async fn read(&mut self, chunks: &mut [Bytes]) -> Result<usize> {
        // The second says whether more may come: then there is at least one.
        Ok(self.0.receive_vectored(chunks).await?.0)
    }
}
