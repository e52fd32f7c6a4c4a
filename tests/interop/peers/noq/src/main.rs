//! The noq peer of the interop tests: several paths, in both roles. The environment contract is that
//! of `tests/interop/peers/README.md`; what has one path is played by quinn, of which noq is a fork.

mod client;
mod config;
mod server;

use std::process::ExitCode;

/// What quic-interop-runner wants from a peer that cannot play a test case.
const EXIT_UNSUPPORTED: u8 = 127;

/// Why a run ended badly, told to a person.
#[derive(Debug)]
pub struct Failure(pub String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

fn main() -> ExitCode {
    let testcase = config::setting("TESTCASE", "");
    if testcase != "multipath" && testcase != "transfer" {
        eprintln!("noq: unsupported test case {testcase}");
        return ExitCode::from(EXIT_UNSUPPORTED);
    }
    match run(&testcase) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(why)) => {
            eprintln!("noq: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(testcase: &str) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match config::setting("ROLE", "").as_str() {
        "client" => runtime.block_on(client::run(testcase)),
        "server" => runtime.block_on(server::run()),
        other => Err(Failure(format!("ROLE must be client or server, not {other:?}"))),
    }
}
