//! The server: HTTP/0.9 files over bidirectional streams.

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use quinn::{
    Endpoint, EndpointConfig, Incoming, RecvStream, Runtime, SendStream, ServerConfig,
    TokioRuntime, VarInt,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::Failure;
use crate::config::{server_tls, setting, transport};
use crate::socket::TwoSockets;

const MAX_REQUEST: usize = 4096;

/// Serves until SIGTERM.
pub async fn run(testcase: &str) -> Result<(), Failure> {
    let known = [
        "handshake",
        "transfer",
        "chacha20",
        "retry",
        "resumption",
        "zerortt",
        "keyupdate",
        "ecn",
        "multiconnect",
        "connectionmigration",
        "clientmigration",
    ];
    if !known.contains(&testcase) {
        return Err(Failure::Unsupported(testcase.to_owned()));
    }
    let mut config = ServerConfig::with_crypto(Arc::new(server_tls(testcase)?));
    let address = SocketAddr::new(setting("HOST", "::").parse()?, setting("PORT", "443").parse()?);
    let endpoint = if testcase == "connectionmigration" {
        two_addresses(address, &mut config)?
    } else {
        Endpoint::server(config.clone(), address)?
    };
    let root: Arc<Path> = PathBuf::from(setting("WWW", "/www")).into();
    let mut terminate = signal(SignalKind::terminate())?;
    let serving = async {
        while let Some(incoming) = endpoint.accept().await {
            if testcase == "retry" && !incoming.remote_address_validated() {
                if let Err(error) = incoming.retry() {
                    eprintln!("quinn: {error}");
                }
                continue;
            }
            let mut config = config.clone();
            config.transport_config(transport("server")?);
            tokio::spawn(connection(incoming, config, root.clone()));
        }
        Ok::<(), Failure>(())
    };
    // Nothing needs an orderly end: the harness has its files by then.
    tokio::select! {
        ended = serving => ended?,
        _ = terminate.recv() => {}
    }
    endpoint.close(VarInt::from_u32(0), b"");
    Ok(())
}

/// An endpoint that also listens at the preferred address it announces.
fn two_addresses(address: SocketAddr, config: &mut ServerConfig) -> Result<Endpoint, Failure> {
    let next = format!("127.0.0.1:{}", address.port().saturating_add(1));
    let preferred: SocketAddrV4 = setting("PREFERRED_V4", &next).parse()?;
    config.preferred_address_v4(Some(preferred));
    let runtime = Arc::new(TokioRuntime);
    let open = |address| runtime.wrap_udp_socket(UdpSocket::bind(address)?);
    let sockets = TwoSockets::new(open(address)?, open(preferred.into())?);
    let endpoint = Endpoint::new_with_abstract_socket(
        EndpointConfig::default(),
        Some(config.clone()),
        Arc::new(sockets),
        runtime,
    )?;
    Ok(endpoint)
}

async fn connection(incoming: Incoming, config: ServerConfig, root: Arc<Path>) {
    let connecting = match incoming.accept_with(Arc::new(config)) {
        Ok(connecting) => connecting,
        Err(error) => return eprintln!("quinn: {error}"),
    };
    // Streams of a server's connection are usable at once; early data would otherwise wait for the handshake.
    let connection = match connecting.into_0rtt() {
        Ok((connection, _)) => connection,
        Err(connecting) => match connecting.await {
            Ok(connection) => connection,
            Err(error) => return eprintln!("quinn: {error}"),
        },
    };
    while let Ok((send, receive)) = connection.accept_bi().await {
        let root = root.clone();
        tokio::spawn(async move {
            if let Err(Failure::Failed(why) | Failure::Unsupported(why)) =
                answer(send, receive, &root).await
            {
                eprintln!("quinn: {why}");
            }
        });
    }
}

async fn answer(mut send: SendStream, mut receive: RecvStream, root: &Path) -> Result<(), Failure> {
    let request = receive.read_to_end(MAX_REQUEST).await?;
    let line = std::str::from_utf8(&request)?.trim_end();
    let Some(name) = line.strip_prefix("GET /") else {
        send.reset(VarInt::from_u32(1))?;
        return Err(Failure::Failed(format!("not an HTTP/0.9 request: {line:?}")));
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
            Err(Failure::Failed(format!("no such file: {name}")))
        }
    }
}
