//! The client: downloads REQUESTS into DOWNLOADS the way the test case asks.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quinn::{ClientConfig, Connection, Endpoint, VarInt};

use crate::Failure;
use crate::config::{client_tls, setting, transport};

/// How long a resuming client waits for its session ticket after the first download.
const TICKET_WAIT: Duration = Duration::from_millis(500);

/// How long a closed connection may still send.
const CLOSING: Duration = Duration::from_millis(100);

/// One URL of REQUESTS.
struct Request {
    host: String,
    address: SocketAddr,
    path: String,
}

impl Request {
    fn parse(url: &str) -> Result<Self, Failure> {
        let wrong = || Failure::Failed(format!("not an https URL: {url}"));
        let rest = url.strip_prefix("https://").ok_or_else(wrong)?;
        let (authority, path) = rest.split_once('/').ok_or_else(wrong)?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse()?),
            _ => (authority, 443),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let address = (host.as_str(), port).to_socket_addrs()?.next().ok_or_else(wrong)?;
        Ok(Self { host, address, path: format!("/{path}") })
    }
}

struct Client {
    endpoint: Endpoint,
    config: ClientConfig,
}

pub async fn run(testcase: &str) -> Result<(), Failure> {
    let client = || Client::new(testcase);
    let requests: Vec<Request> =
        setting("REQUESTS", "").split_whitespace().map(Request::parse).collect::<Result<_, _>>()?;
    let Some((first, others)) = requests.split_first() else {
        return Err(Failure::Failed("REQUESTS is empty".into()));
    };
    match testcase {
        "handshake" | "transfer" | "chacha20" | "retry" | "ecn" => {
            let client = client()?;
            let connection = client.connect(first).await?;
            download_all(&connection, &requests).await?;
            client.close(&connection).await;
        }
        "keyupdate" => {
            let client = client()?;
            let connection = client.connect(first).await?;
            // RFC 9001 section 6: the first update may start once the handshake is confirmed.
            let update = async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                connection.force_key_update();
                Ok::<(), Failure>(())
            };
            tokio::try_join!(update, download_all(&connection, &requests))?;
            client.close(&connection).await;
        }
        "clientmigration" => {
            let client = client()?;
            let connection = client.connect(first).await?;
            // RFC 9000 section 9: not before the handshake is confirmed, and amid the transfer, which
            // takes an unshaped link a tenth of a second.
            let migrate = async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                client.endpoint.rebind(UdpSocket::bind(any_port(first))?)?;
                Ok::<(), Failure>(())
            };
            tokio::try_join!(migrate, download_all(&connection, &requests))?;
            client.close(&connection).await;
        }
        "multiconnect" => {
            let client = client()?;
            for request in &requests {
                let connection = client.connect(request).await?;
                fetch(&connection, &request.path).await?;
                client.close(&connection).await;
            }
        }
        "resumption" | "zerortt" if !others.is_empty() => {
            let client = client()?;
            let connection = client.connect(first).await?;
            fetch(&connection, &first.path).await?;
            tokio::time::sleep(TICKET_WAIT).await;
            client.close(&connection).await;
            let connection = if testcase == "zerortt" {
                client.connect_early(first)?
            } else {
                client.connect(first).await?
            };
            download_all(&connection, others).await?;
            client.close(&connection).await;
        }
        other => return Err(Failure::Unsupported(other.to_owned())),
    }
    Ok(())
}

/// Any port of the loopback address family that reaches this request's server.
fn any_port(request: &Request) -> SocketAddr {
    let any: IpAddr = match request.address {
        SocketAddr::V4(_) => [0, 0, 0, 0].into(),
        SocketAddr::V6(_) => [0u16; 8].into(),
    };
    SocketAddr::new(any, 0)
}

impl Client {
    fn new(testcase: &str) -> Result<Self, Failure> {
        let config = ClientConfig::new(Arc::new(client_tls(testcase)?));
        let first =
            setting("REQUESTS", "").split_whitespace().next().map(Request::parse).transpose()?;
        let first = first.ok_or_else(|| Failure::Failed("REQUESTS is empty".into()))?;
        Ok(Self { endpoint: Endpoint::client(any_port(&first))?, config })
    }

    fn connecting(&self, request: &Request) -> Result<quinn::Connecting, Failure> {
        let mut config = self.config.clone();
        config.transport_config(transport("client")?);
        Ok(self.endpoint.connect_with(config, request.address, &request.host)?)
    }

    async fn connect(&self, request: &Request) -> Result<Connection, Failure> {
        Ok(self.connecting(request)?.await?)
    }

    /// A connection whose first streams travel as 0-RTT.
    fn connect_early(&self, request: &Request) -> Result<Connection, Failure> {
        match self.connecting(request)?.into_0rtt() {
            Ok((connection, _accepted)) => Ok(connection),
            Err(_) => Err(Failure::Failed("no session ticket allows 0-RTT".into())),
        }
    }

    /// Says goodbye and gives the endpoint a moment to send it; the full closing period is three PTO long.
    async fn close(&self, connection: &Connection) {
        connection.close(VarInt::from_u32(0), b"");
        let _ = tokio::time::timeout(CLOSING, self.endpoint.wait_idle()).await;
    }
}

/// All requests in parallel, each on a stream of its own.
async fn download_all(connection: &Connection, requests: &[Request]) -> Result<(), Failure> {
    let mut tasks = tokio::task::JoinSet::new();
    for request in requests {
        let connection = connection.clone();
        let path = request.path.clone();
        tasks.spawn(async move { fetch(&connection, &path).await });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    Ok(())
}

async fn fetch(connection: &Connection, path: &str) -> Result<(), Failure> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(format!("GET {path}\r\n").as_bytes()).await?;
    send.finish()?;
    let body = receive.read_to_end(usize::MAX).await?;
    let name = Path::new(path)
        .file_name()
        .ok_or_else(|| Failure::Failed(format!("no file name in {path}")))?;
    std::fs::write(Path::new(&setting("DOWNLOADS", "/downloads")).join(name), body)?;
    Ok(())
}
