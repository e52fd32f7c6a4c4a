//! The server: HTTP/0.9 files over bidirectional streams.

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use noq::{Endpoint, Incoming, RecvStream, SendStream, ServerConfig, VarInt};
use tokio::signal::unix::{SignalKind, signal};

use crate::Failure;
use crate::config::{server_tls, setting, transport};

const MAX_REQUEST: usize = 4096;

/// Serves until SIGTERM.
pub async fn run() -> Result<(), Failure> {
    let mut config = ServerConfig::with_crypto(Arc::new(server_tls()?));
    config.transport_config(transport()?);
    let address = SocketAddr::new(setting("HOST", "::").parse()?, setting("PORT", "443").parse()?);
    let endpoint = Endpoint::server(config, address)?;
    let root: Arc<Path> = PathBuf::from(setting("WWW", "/www")).into();
    let mut terminate = signal(SignalKind::terminate())?;
    let serving = async {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(connection(incoming, root.clone()));
        }
    };
    // Nothing needs an orderly end: the harness has its files by then.
    tokio::select! {
        () = serving => {}
        _ = terminate.recv() => {}
    }
    endpoint.close(VarInt::from_u32(0), b"");
    Ok(())
}

async fn connection(incoming: Incoming, root: Arc<Path>) {
    let connection = match incoming.await {
        Ok(connection) => connection,
        Err(error) => return eprintln!("noq: {error}"),
    };
    while let Ok((send, receive)) = connection.accept_bi().await {
        let root = root.clone();
        tokio::spawn(async move {
            if let Err(Failure(why)) = answer(send, receive, &root).await {
                eprintln!("noq: {why}");
            }
        });
    }
}

async fn answer(mut send: SendStream, mut receive: RecvStream, root: &Path) -> Result<(), Failure> {
    let request = receive.read_to_end(MAX_REQUEST).await?;
    let line = std::str::from_utf8(&request)?.trim_end();
    let Some(name) = line.strip_prefix("GET /") else {
        send.reset(VarInt::from_u32(1))?;
        return Err(Failure(format!("not an HTTP/0.9 request: {line:?}")));
    };
    let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    match std::fs::read(root.join(name)) {
        Ok(body) if inside => {
            send.write_all(&body).await?;
            send.finish()?;
            Ok(())
        }
        _ => {
            send.reset(VarInt::from_u32(1))?;
            Err(Failure(format!("no such file: {name}")))
        }
    }
}
