//! Trials: whole connections between two endpoints in virtual time, and what must hold in each.
//!
//! A trial is drawn from a scenario's name and a seed ([`draw`]), as data ([`plan`]). [`run`] plays
//! it and judges it:
//!
//! - every byte of every stream arrives once, in order, and is the right one;
//! - everything that was begun ends, within a time that the links explain;
//! - nothing ends with an error that the plan does not explain;
//! - what a peer can make an endpoint hold is bounded, and nothing is left at the end;
//! - no address gets more than three times what it sent before it has shown that it is the client's;
//! - no more is in flight than the window allows, and nobody wakes up again and again for nothing;
//! - the same seed takes the same course.

mod conversation;
mod dissect;
pub mod draw;
mod ledger;
mod network;
mod party;
mod pattern;
pub mod plan;
pub mod record;
mod scenarios;
mod stream;
pub(crate) mod tls;
mod verdict;

use crate::simulation::{Outcome, Simulation};
use core::fmt;
use party::Party;
use plan::{CLIENT_ADDRESSES, NAT_ADDRESSES, PREFERRED, Plan, SERVER, client_address, nat_address};
use record::{Counts, Record};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use tls::Tls;
use tquic_core::time::{Duration, Instant};
use tquic_wire::Side;

pub use draw::{draw, scenarios};

/// Time after the last deadline of the plan for endpoints to become empty: handshakes of copies
/// time out, closed connections stop answering.
const AFTERMATH: Duration = Duration::from_secs(400);

/// What came of a trial that went well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// A hash over everything that happened.
    pub hash: u64,
    /// When all was over.
    pub end: Instant,
    /// When the last connection had done what the plan says.
    pub served: Instant,
    /// When each connection was over at the client.
    pub over: Vec<Instant>,
    /// The longest time between two reads of each connection, at the client and at the server.
    pub pauses: Vec<[Duration; 2]>,
    /// What was done.
    pub counts: Counts,
}

/// What went wrong in a trial.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The scenario.
    pub scenario: &'static str,
    /// The seed.
    pub seed: u64,
    /// In a line for each thing.
    pub what: Vec<String>,
    /// The state at the end.
    pub state: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, seed, what, state } = self;
        writeln!(f, "{scenario}, seed {seed}:")?;
        what.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        f.write_str(state)?;
        write!(
            f,
            "  again: TQUIC_SIM_TRACE=1 cargo run --release -p tquic-sim --bin tquic-simulate -- \
             --scenario {scenario} --seed {seed} --runs 1"
        )
    }
}

impl std::error::Error for Failure {}

/// Plays a trial and judges it. With the environment variable `TQUIC_SIM_TRACE` set, every datagram
/// and event is printed.
pub fn run(plan: Plan) -> Result<Report, Failure> {
    let (scenario, seed) = (plan.scenario, plan.seed);
    let failure = |what, state| Failure { scenario, seed, what, state };
    match catch_unwind(AssertUnwindSafe(|| play(plan))) {
        Ok(Ok(report)) => Ok(report),
        Ok(Err((what, state))) => Err(failure(what, state)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Err(failure(vec![format!("panicked: {}", text.unwrap_or_default())], String::new()))
        }
    }
}

fn play(plan: Plan) -> Result<Report, (Vec<String>, String)> {
    let trace = std::env::var_os("TQUIC_SIM_TRACE").is_some();
    if trace {
        eprintln!("{plan:#?}");
    }
    let (limit, seed, host) = (Instant::ZERO + plan.limit, plan.seed, plan.host);
    let tls = Tls::new(&plan.tls);
    let mut simulation = Simulation::new(network::build(&plan), seed);
    let connections = plan.connections.len();
    let pauses = plan.pauses.clone();
    let record = Rc::new(RefCell::new(Record::new(plan, trace)));
    let mut mine = Vec::new();
    for c in 0..connections {
        mine.extend((0..CLIENT_ADDRESSES).map(|index| client_address(c, index)));
        let outside = |index| [false, true].map(|other| nat_address(c, index, other));
        mine.extend((0..NAT_ADDRESSES).flat_map(outside));
    }
    let client = simulation.add(Party::new(Side::Client, &record, tls.clone()), host, &mine);
    let servers = [SERVER, SocketAddr::V4(PREFERRED)];
    let server = simulation.add(Party::new(Side::Server, &record, tls), host, &servers);

    for (side, span) in pauses {
        let id = if side == Side::Client { client } else { server };
        simulation.pause(id, Instant::ZERO + span.start..Instant::ZERO + span.end);
    }

    let all_over = || (0..connections).all(|index| record.borrow().is_over(index));
    let mut outcome = simulation.run_until(limit, |_| all_over());
    let served = simulation.now();
    if outcome == Outcome::Done {
        outcome = simulation.run_until(limit + AFTERMATH, |s| {
            s.host(client).is_finished() && s.host(server).is_finished()
        });
    }
    let mut wrong = verdict::judge(&record.borrow(), outcome, served);
    if outcome == Outcome::Done {
        wrong.extend(simulation.host_mut(client).leftovers());
        wrong.extend(simulation.host_mut(server).leftovers());
    }
    if !wrong.is_empty() {
        let left = [client, server].map(|host| simulation.host_mut(host).describe()).concat();
        let unfinished = record.borrow().unfinished.join("\n  ");
        let state = format!("  {unfinished}\n{left}");
        return Err((wrong, state));
    }
    let record = record.borrow();
    let mut digest = record.digest;
    digest.update(&[simulation.network.trace_hash()]);
    let ends = record.ends.iter().map(|ends| ends[Side::Client as usize].over.as_ref());
    let over = ends.map(|over| over.map_or(served, |(at, _)| *at)).collect();
    let pauses = record.ends.iter().map(|[client, server]| [client.pause, server.pause]).collect();
    let (hash, end) = (digest.value(), simulation.now());
    Ok(Report { hash, end, served, over, pauses, counts: record.counts })
}
