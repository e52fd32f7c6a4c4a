//! The driver over quiche, in one thread with a loop of our own: quiche brings none.

mod client;
mod endpoint;
mod server;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use compare_common::options::{self, Kind, Role, Work};
use compare_common::report::{Totals, listening};
use compare_common::{
    ALPN, CONNECTION_WINDOW, DATAGRAM, IDLE_TIMEOUT_MS, Result, STREAM_WINDOW, STREAMS, process,
};
use endpoint::Endpoint;

/// Buffers that quiche keeps without copying them.
#[derive(Clone, Debug, Default)]
struct Pieces;

impl quiche::BufFactory for Pieces {
    type Buf = Bytes;
    type DgramBuf = Vec<u8>;

    fn buf_from_slice(data: &[u8]) -> Bytes {
        Bytes::copy_from_slice(data)
    }

    fn dgram_buf_from_slice(data: &[u8]) -> Vec<u8> {
        data.to_vec()
    }
}

type Connection = quiche::Connection<Pieces>;

/// Datagrams that wait on either side.
const DATAGRAMS: usize = 1 << 16;

fn config() -> Result<quiche::Config> {
    let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION)?;
    config.set_application_protos(&[ALPN])?;
    config.set_curves_list("X25519")?;
    config.set_max_idle_timeout(IDLE_TIMEOUT_MS);
    config.set_max_recv_udp_payload_size(DATAGRAM.into());
    config.set_max_send_udp_payload_size(DATAGRAM.into());
    config.set_initial_max_data(CONNECTION_WINDOW.into());
    config.set_max_connection_window(CONNECTION_WINDOW.into());
    config.set_initial_max_stream_data_bidi_local(STREAM_WINDOW.into());
    config.set_initial_max_stream_data_bidi_remote(STREAM_WINDOW.into());
    config.set_max_stream_window(STREAM_WINDOW.into());
    config.set_initial_max_streams_bidi(STREAMS.into());
    config.set_disable_active_migration(true);
    config.enable_pacing(false);
    config.enable_dgram(true, DATAGRAMS, DATAGRAMS);
    Ok(config)
}

fn text(path: &Path) -> Result<&str> {
    Ok(path.to_str().ok_or("a path that is not UTF-8")?)
}

fn main() -> Result<()> {
    match options::from_env()? {
        Role::Server(options) => serve(&options),
        Role::Client(options) => client::run(&options),
    }
}

fn serve(options: &options::Server) -> Result<()> {
    let mut config = config()?;
    config.load_cert_chain_from_pem_file(text(&options.cert)?)?;
    config.load_priv_key_from_pem_file(text(&options.key)?)?;
    config.enable_early_data();
    let totals = Arc::<Totals>::default();
    let at_end = totals.clone();
    process::at_signal(move || {
        at_end.print();
        std::process::exit(0);
    });
    let mut endpoint = Endpoint::bind(options.listen, config)?;
    listening(endpoint.address());
    let accept = || server::Application::new(totals.clone());
    loop {
        endpoint.turn(Some(&accept))?;
    }
}

/// A client's endpoint.
fn connecting<A: endpoint::Application>(options: &options::Client) -> Result<Endpoint<A>> {
    let mut config = config()?;
    config.load_verify_locations_from_file(text(&options.ca)?)?;
    config.verify_peer(true);
    if matches!(options.work, Work::Handshakes { kind: Kind::ZeroRtt, .. }) {
        config.enable_early_data();
    }
    Endpoint::bind(SocketAddr::from(([127, 0, 0, 1], 0)), config)
}
