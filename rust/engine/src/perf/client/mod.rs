//! The client's side: scenarios, each an application or a few, and a report.

mod bulk;
mod datagrams;
mod handshakes;
mod requests;

use std::fmt;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use tquic_core::events::ConnectionError;
use tquic_crypto::session::TicketStore;

use super::report::Tally;
use super::{Histogram, Report};
use crate::application::Application;
use crate::config::ConnectRequest;
use crate::engine::{Engine, EngineError};
use crate::stats::ShardStats;

pub use bulk::Bulk;
pub use datagrams::DatagramLoad;
pub use handshakes::{HandshakeKind, Handshakes};
pub use requests::Requests;

/// What is done.
#[derive(Clone, Debug)]
pub enum Scenario {
    /// Bytes up and down.
    Bulk(Bulk),
    /// Many small exchanges.
    Requests(Requests),
    /// Connections that only begin.
    Handshakes(Handshakes),
    /// Unreliable datagrams to the server.
    Datagrams(DatagramLoad),
}

/// A run.
#[derive(Clone)]
pub struct ClientOptions {
    /// Where, and how to connect.
    pub request: ConnectRequest,
    /// The ticket store of `request.tls`, for handshakes that resume.
    pub tickets: Option<TicketStore>,
    /// Connections at a time; each does the whole scenario. Default 1.
    pub connections: usize,
    /// What to do.
    pub scenario: Scenario,
}

/// Why a run gave no report.
#[derive(Debug)]
pub enum PerfError {
    /// A connection ended early.
    Connection(ConnectionError),
    /// The engine refused.
    Engine(EngineError),
    /// The options make no sense, or the peer cannot do this.
    Unsupported(&'static str),
}

impl fmt::Display for PerfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => error.fmt(f),
            Self::Engine(error) => error.fmt(f),
            Self::Unsupported(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for PerfError {}

impl From<EngineError> for PerfError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// How an application tells its end.
#[derive(Clone)]
struct Teller(Sender<Result<Tally, PerfError>>);

impl Teller {
    fn done(&self, tally: Tally) {
        // Who started the run waits, unless an earlier failure has ended the wait.
        let _ = self.0.send(Ok(tally));
    }

    fn failed(&self, error: PerfError) {
        let _ = self.0.send(Err(error));
    }
}

/// Does it, waits for the end, and reports.
pub fn run(engine: &Engine, options: &ClientOptions) -> Result<Report, PerfError> {
    run_with(engine, options).map(|(report, _)| report)
}

/// The same, with all latencies.
pub fn run_with(
    engine: &Engine,
    options: &ClientOptions,
) -> Result<(Report, Histogram), PerfError> {
    let before = total(engine)?;
    let (sender, results) = channel();
    let teller = Teller(sender);
    for _ in 0..options.connections.max(1) {
        let application = application(options, &teller)?;
        engine.connect(options.request.clone(), application)?;
    }
    drop(teller);
    let mut sum = Tally::default();
    for _ in 0..options.connections.max(1) {
        // Without an answer the application is gone: its thread, or it itself, has panicked.
        let tally = results.recv().map_err(|_| PerfError::Engine(EngineError::Gone))?;
        sum.add(tally?);
    }
    let after = total(engine)?;
    let latencies = sum.latencies.clone();
    Ok((sum.report(&before, &after), latencies))
}

fn application(
    options: &ClientOptions,
    teller: &Teller,
) -> Result<Box<dyn Application>, PerfError> {
    let teller = teller.clone();
    Ok(match &options.scenario {
        Scenario::Bulk(bulk) => Box::new(bulk::Client::new(bulk, teller)),
        Scenario::Requests(requests) => Box::new(requests::Client::new(requests, teller)),
        Scenario::Datagrams(load) => Box::new(datagrams::Client::new(load.clone(), teller)),
        Scenario::Handshakes(handshakes) => {
            if handshakes.kind.resumes() && options.tickets.is_none() {
                return Err(PerfError::Unsupported("resumption needs a ticket store"));
            }
            let run = handshakes::Run::new(handshakes.clone(), options, teller);
            Box::new(handshakes::Client::new(run))
        }
    })
}

fn total(engine: &Engine) -> Result<ShardStats, PerfError> {
    let mut sum = ShardStats::default();
    engine.stats()?.iter().for_each(|shard| sum.add(shard));
    Ok(sum)
}

/// A duration as the protocol core counts.
fn nanos(duration: Duration) -> u64 {
    tquic_core::time::nanos(duration)
}
