//! The quinn peer of the interop tests: one program for both roles, driven by the environment contract
//! described in `tests/interop/peers/README.md`.

mod client;
mod config;
mod server;
mod socket;
mod verify;

use std::process::ExitCode;

/// What quic-interop-runner wants from a peer that cannot play a test case.
const EXIT_UNSUPPORTED: u8 = 127;

/// Why a run ended badly.
#[derive(Debug)]
pub enum Failure {
    /// quinn cannot play this test case in this role.
    Unsupported(String),
    /// Anything else, told to a person.
    Failed(String),
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Unsupported(what)) => {
            eprintln!("quinn: unsupported test case {what}");
            ExitCode::from(EXIT_UNSUPPORTED)
        }
        Err(Failure::Failed(why)) => {
            eprintln!("quinn: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let testcase = config::setting("TESTCASE", "");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match config::setting("ROLE", "").as_str() {
        "client" => runtime.block_on(client::run(&testcase)),
        "server" => runtime.block_on(server::run(&testcase)),
        other => Err(Failure::Failed(format!("ROLE must be client or server, not {other:?}"))),
    }
}
