//! The quiche peer of the interop tests: one program for both roles, driven by the environment contract
//! described in `tests/interop/peers/README.md`.

mod client;
mod http;
mod server;

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::ExitCode;

/// What quic-interop-runner wants from a peer that cannot play a test case.
const EXIT_UNSUPPORTED: u8 = 127;
/// Bytes a connection, and a stream, may receive ahead.
const WINDOW: u64 = 16 << 20;
/// Size of received datagrams.
pub const MAX_DATAGRAM: usize = 65_535;

/// Why a run ended badly.
#[derive(Debug)]
pub enum Failure {
    /// quiche cannot play this test case in this role.
    Unsupported(String),
    /// Anything else, told to a person.
    Failed(String),
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// An environment variable, or the place where quic-interop-runner mounts the thing.
pub fn setting(name: &str, fallback: &str) -> String {
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| fallback.into())
}

/// Whether files travel over HTTP/3.
pub fn speaks_http3(testcase: &str) -> bool {
    testcase == "http3" || setting("PROTOCOL", "") == "h3"
}

/// What both roles need.
pub fn config(testcase: &str) -> Result<quiche::Config, Failure> {
    let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION)?;
    let alpn: &[u8] = if speaks_http3(testcase) { b"h3" } else { b"hq-interop" };
    config.set_application_protos(&[alpn])?;
    config.set_max_idle_timeout(60_000);
    config.set_max_recv_udp_payload_size(MAX_DATAGRAM);
    config.set_initial_max_data(WINDOW);
    config.set_initial_max_stream_data_bidi_local(WINDOW);
    config.set_initial_max_stream_data_bidi_remote(WINDOW);
    config.set_initial_max_stream_data_uni(WINDOW);
    config.set_initial_max_streams_bidi(100);
    config.set_initial_max_streams_uni(100);
    config.set_active_connection_id_limit(4);
    config.log_keys();
    config.enable_early_data();
    Ok(config)
}

/// Has a connection write its secrets and its qlog, where that is wanted.
pub fn record(conn: &mut quiche::Connection) -> Result<(), Failure> {
    let keys = setting("SSLKEYLOGFILE", "");
    if !keys.is_empty() {
        let file = OpenOptions::new().create(true).append(true).open(keys)?;
        conn.set_keylog(Box::new(file));
    }
    let folder = setting("QLOGDIR", "");
    if !folder.is_empty() {
        let file = File::create(Path::new(&folder).join(format!("{}.sqlog", conn.trace_id())))?;
        conn.set_qlog(Box::new(file), "interop".into(), "quiche".into());
    }
    Ok(())
}

/// Random bytes for connection IDs.
pub fn random_id() -> Result<quiche::ConnectionId<'static>, Failure> {
    let mut id = vec![0; 16];
    boring::rand::rand_bytes(&mut id)?;
    Ok(quiche::ConnectionId::from_vec(id))
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Unsupported(what)) => {
            eprintln!("quiche: unsupported test case {what}");
            ExitCode::from(EXIT_UNSUPPORTED)
        }
        Err(Failure::Failed(why)) => {
            eprintln!("quiche: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let testcase = setting("TESTCASE", "");
    match setting("ROLE", "").as_str() {
        "client" => client::run(&testcase),
        "server" => server::run(&testcase),
        other => Err(Failure::Failed(format!("ROLE must be client or server, not {other:?}"))),
    }
}
