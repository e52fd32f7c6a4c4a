//! What both hosts of a trial write down: the observer who sees both ends.

use super::plan::Plan;
use crate::digest::Digest;
use tquic_core::events::ConnectionError;
use tquic_core::time::{Duration, Instant};
use tquic_wire::{ConnectionId, Side};

/// Violations kept; the first is what matters.
const MAX_VIOLATIONS: usize = 8;

/// One end of a connection, as far as the other end's application must know.
#[derive(Clone, Debug, Default)]
pub struct EndRecord {
    /// It has come into being.
    pub began: Option<Instant>,
    /// It has all it wants.
    pub done: bool,
    /// It has called `close`.
    pub closed: Option<Instant>,
    /// The longest time between two reads of stream data.
    pub pause: Duration,
    /// A path did not work, and it has given that up by itself.
    pub gave_up_path: bool,
    /// It is over.
    pub over: Option<(Instant, ConnectionError)>,
}

/// See the module.
#[derive(Debug)]
pub struct Record {
    /// What is being tried.
    pub plan: Plan,
    /// Both ends of each connection; the client's first.
    pub ends: Vec<[EndRecord; 2]>,
    /// Connections of the plan by the client's first Destination Connection ID.
    pub names: Vec<(ConnectionId, usize)>,
    /// What went wrong, with the time.
    pub violations: Vec<(Instant, String)>,
    /// What applications had left to do when their connection ended.
    pub unfinished: Vec<String>,
    /// A hash over what the applications saw.
    pub digest: Digest,
    /// Whether to print what happens.
    pub trace: bool,
    /// Numbers for the summary.
    pub counts: Counts,
}

/// Numbers of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handshakes completed, counted at the client.
    pub handshakes: u64,
    /// Stream bytes read and found right.
    pub bytes: u64,
    /// Unreliable datagrams read and found right.
    pub datagrams: u64,
    /// UDP datagrams sent by either end.
    pub packets: u64,
    /// Calls of `on_timeout`.
    pub timeouts: u64,
    /// Connections that the server accepted for copies of a client's first datagrams.
    pub ghosts: u64,
    /// Early data accepted.
    pub early: u64,
    /// Migrations, rebindings included, that were validated.
    pub migrations: u64,
    /// Paths beside the first that were validated, counted at both ends.
    pub paths: u64,
    /// Key updates.
    pub key_updates: u64,
    /// Packets declared lost.
    pub lost: u64,
    /// Bytes of UDP payload sent.
    pub sent: u64,
    /// Those of them that repeated on another path what was not lost.
    pub reinjected: u64,
}

impl Counts {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.handshakes += other.handshakes;
        self.bytes += other.bytes;
        self.datagrams += other.datagrams;
        self.packets += other.packets;
        self.timeouts += other.timeouts;
        self.ghosts += other.ghosts;
        self.early += other.early;
        self.migrations += other.migrations;
        self.paths += other.paths;
        self.key_updates += other.key_updates;
        self.lost += other.lost;
        self.sent += other.sent;
        self.reinjected += other.reinjected;
    }
}

impl Record {
    /// Nothing has happened yet.
    pub fn new(plan: Plan, trace: bool) -> Self {
        Self {
            ends: vec![Default::default(); plan.connections.len()],
            plan,
            names: Vec::new(),
            violations: Vec::new(),
            unfinished: Vec::new(),
            digest: Digest::new(),
            trace,
            counts: Counts::default(),
        }
    }

    /// Something is not as it must be.
    pub fn violation(&mut self, now: Instant, what: String) {
        if self.trace {
            eprintln!("{} !! {what}", seconds(now));
        }
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push((now, what));
        }
    }

    /// This end of a connection.
    pub fn end(&mut self, connection: usize, side: Side) -> &mut EndRecord {
        &mut self.ends[connection][side as usize]
    }

    /// This connection of the client is called so from now on.
    pub fn name(&mut self, name: ConnectionId, connection: usize) {
        if self.names.last() != Some(&(name, connection)) {
            self.names.push((name, connection));
        }
    }

    /// The connection of the plan that the client calls so.
    pub fn named(&self, name: ConnectionId) -> Option<usize> {
        self.names.iter().rev().find(|(known, _)| *known == name).map(|&(_, connection)| connection)
    }

    /// Whether both ends of a connection are over; an end that never began is.
    pub fn is_over(&self, connection: usize) -> bool {
        let [client, server] = &self.ends[connection];
        client.over.is_some() && (server.began.is_none() || server.over.is_some())
    }
}

/// A time for people.
pub fn seconds(now: Instant) -> String {
    format!("{:>13.6}", now.as_nanos() as f64 / 1e9)
}
