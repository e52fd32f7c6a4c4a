//! The client: downloads REQUESTS into DOWNLOADS, one after another, and changes its paths between.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use noq::{ClientConfig, Connection, Endpoint, FourTuple, PathId, PathStatus, VarInt};

use crate::Failure;
use crate::config::{client_tls, setting, transport};

/// How long a closed connection may still send.
const CLOSING: Duration = Duration::from_millis(100);

fn parse(url: &str) -> Result<(SocketAddr, String, String), Failure> {
    let wrong = || Failure(format!("not an https URL: {url}"));
    let rest = url.strip_prefix("https://").ok_or_else(wrong)?;
    let (authority, path) = rest.split_once('/').ok_or_else(wrong)?;
    let (host, _) = authority.rsplit_once(':').ok_or_else(wrong)?;
    let address = authority.to_socket_addrs()?.next().ok_or_else(wrong)?;
    Ok((address, host.to_owned(), format!("/{path}")))
}

pub async fn run(testcase: &str) -> Result<(), Failure> {
    let requests = setting("REQUESTS", "");
    let requests: Vec<_> = requests.split_whitespace().map(parse).collect::<Result<_, _>>()?;
    let Some((server, host, _)) = requests.first() else {
        return Err(Failure("REQUESTS is empty".into()));
    };
    let mut config = ClientConfig::new(Arc::new(client_tls()?));
    config.transport_config(transport()?);
    let endpoint = Endpoint::client(SocketAddr::new([0, 0, 0, 0].into(), 0))?;
    let connection = endpoint.connect_with(config, *server, host)?.await?;
    for (number, (_, _, path)) in requests.iter().enumerate() {
        if testcase == "multipath" {
            change_paths(&connection, number, *server).await?;
        }
        fetch(&connection, path).await?;
    }
    connection.close(VarInt::from_u32(0), b"");
    let _ = tokio::time::timeout(CLOSING, endpoint.wait_idle()).await;
    Ok(())
}

/// Before the second file a second path is opened and the first made a backup, before the third the
/// first is closed.
async fn change_paths(
    connection: &Connection,
    number: usize,
    server: SocketAddr,
) -> Result<(), Failure> {
    let first = || connection.path(PathId::ZERO).ok_or_else(|| Failure("no path 0".into()));
    match number {
        1 => {
            connection.handshake_confirmed().await?;
            let local: IpAddr = setting("SECOND_PATH", "127.0.0.2").parse()?;
            let tuple = FourTuple::new(server, Some(local));
            connection.open_path(tuple, PathStatus::Available).await?;
            first()?.set_status(PathStatus::Backup)?;
        }
        2 => first()?.close()?,
        _ => {}
    }
    Ok(())
}

async fn fetch(connection: &Connection, path: &str) -> Result<(), Failure> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(format!("GET {path}\r\n").as_bytes()).await?;
    send.finish()?;
    let body = receive.read_to_end(usize::MAX).await?;
    let name =
        Path::new(path).file_name().ok_or_else(|| Failure(format!("no file name in {path}")))?;
    std::fs::write(Path::new(&setting("DOWNLOADS", "/downloads")).join(name), body)?;
    Ok(())
}
