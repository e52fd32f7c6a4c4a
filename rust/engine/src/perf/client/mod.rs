//! The client's side: scenarios, each an application or a few, and a report.

mod bulk;
mod datagrams;
mod handshakes;
mod requests;

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use tquic_core::events::ConnectionError;
use tquic_core::time::Instant;
use tquic_crypto::session::TicketStore;

use super::report::Tally;
use super::{Histogram, Report};
use crate::application::{Application, Message};
use crate::config::ConnectRequest;
use crate::engine::{Engine, EngineError};
use crate::shard::tell;
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
    /// Connections at a time; each does the whole scenario, from when all are established (those of
    /// [`Handshakes`] at once). Default 1.
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

/// What an application tells of its connection.
enum News {
    /// It is established, and waits for the others.
    Connected,
    Done(Tally),
}

/// How it tells.
#[derive(Clone)]
struct Teller(Sender<Result<News, PerfError>>);

impl Teller {
    fn connected(&self) {
        // Who started the run waits, unless an earlier failure has ended the wait; so below.
        let _ = self.0.send(Ok(News::Connected));
    }

    fn done(&self, tally: Tally) {
        let _ = self.0.send(Ok(News::Done(tally)));
    }

    fn failed(&self, error: PerfError) {
        let _ = self.0.send(Err(error));
    }
}

/// All connections are established: begin.
struct Begin;

impl Message for Begin {}

/// When a connection's work begins: with that of all others, so that no handshake is part of it.
#[derive(Default)]
struct Start {
    called: bool,
    at: Option<Instant>,
}

impl Start {
    /// [`Begin`] has come.
    fn call(&mut self) {
        self.called = true;
    }

    /// Whether it begins just now.
    fn is_new(&mut self, now: Instant) -> bool {
        let new = self.called && self.at.is_none();
        if new {
            self.at = Some(now);
        }
        new
    }

    /// When it began.
    fn at(&self) -> Option<Instant> {
        self.at
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
    let mut before = total(engine)?;
    let (sender, results) = channel();
    let teller = Teller(sender);
    let mut keys = Vec::new();
    for _ in 0..options.connections.max(1) {
        let application = application(options, &teller)?;
        keys.push(engine.connect(options.request.clone(), application)?);
    }
    drop(teller);
    let mut sum = Tally::default();
    let (mut connected, mut done) = (0, 0);
    while done < keys.len() {
        // Without an answer the application is gone: its thread, or it itself, has panicked.
        match results.recv().map_err(|_| PerfError::Engine(EngineError::Gone))?? {
            News::Connected => {
                connected += 1;
                if connected == keys.len() {
                    before = total(engine)?;
                    let message: Arc<dyn Message> = Arc::new(Begin);
                    tell(engine.inboxes(), &keys, &message).map_err(EngineError::from)?;
                }
            }
            News::Done(tally) => {
                done += 1;
                sum.add(tally);
            }
        }
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
