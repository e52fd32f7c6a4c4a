//! The relay's report.

use super::clients::Rebound;
use super::facts::{Direction, Facts};
use crate::link::{Cause, Count, Stats};
use crate::packet::Ecn;
use serde_json::{Map, Value, json};
use tquic_core::time::Duration;

/// What a relay saw and did.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The scenario's name.
    pub scenario: &'static str,
    /// The seed of all chance.
    pub seed: u64,
    /// From the first packet to the end.
    pub duration: Duration,
    /// Client addresses that were served.
    pub clients: u64,
    /// What the link to the server did.
    pub to_server: Stats,
    /// What the link to the clients did.
    pub to_client: Stats,
    /// Changes of clients' addresses.
    pub rebound: Vec<Rebound>,
    /// Losses that no link is to blame for.
    pub unplanned: Unplanned,
    /// Datagrams per receive and per send call.
    pub batches: Batches,
    /// What the headers showed.
    pub facts: Facts,
}

/// Losses outside of the links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unplanned {
    /// The server sent to a binding that had expired. A translator loses these too.
    pub expired_binding: u64,
    /// The client had been forgotten by the time its packet came out of a link.
    pub forgotten_client: u64,
    /// The kernel would not send it, or no socket could be opened for its client or its rebinding.
    pub failed: u64,
    /// The kernel had no room for it because the relay was too slow; a train counts as one. Not zero:
    /// the machine was overloaded, and the run shows losses that the scenario does not have.
    pub receive_overflow: u64,
}

/// How well system calls were used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batches {
    /// Calls that received something.
    pub receive_calls: u64,
    /// Groups handed to the kernel to send.
    pub send_calls: u64,
}

impl Summary {
    /// What a link did in a direction.
    pub const fn link(&self, direction: Direction) -> &Stats {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        let links = Direction::ALL.map(|direction| (direction.name(), self.link_json(direction)));
        let rebound = self.rebound.iter().map(|change| {
            json!({
                "at_ms": change.at.as_nanos() / 1_000_000,
                "client": change.client.to_string(),
                "from": change.from.to_string(),
                "to": change.to.to_string(),
            })
        });
        let mut out = json!({
            "scenario": self.scenario,
            "seed": self.seed,
            "seconds": self.duration.as_secs_f64(),
            "clients": self.clients,
            "rebinds": rebound.collect::<Vec<_>>(),
            "unplanned": {
                "expired_binding": self.unplanned.expired_binding,
                "forgotten_client": self.unplanned.forgotten_client,
                "failed": self.unplanned.failed,
                "receive_overflow": self.unplanned.receive_overflow,
            },
            "batches": {
                "receive_calls": self.batches.receive_calls,
                "send_calls": self.batches.send_calls,
            },
            "facts": self.facts_json(),
        });
        for (name, link) in links {
            out[name] = link;
        }
        out
    }

    fn link_json(&self, direction: Direction) -> Value {
        let stats = self.link(direction);
        let dropped: Map<_, _> = Cause::ALL
            .iter()
            .map(|&cause| (cause.name().to_owned(), stats.dropped(cause).packets.into()))
            .collect();
        let ecn = self.facts.ecn.get(&direction).copied().unwrap_or_default();
        let count = |ecn_field: Ecn| ecn[usize::from(ecn_field.as_tos())];
        let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
        json!({
            "in": count_json(stats.offered),
            "out": count_json(stats.delivered),
            "dropped": dropped,
            "dropped_datagrams": stats.dropped_total().packets,
            "marked": stats.marked,
            "corrupted": stats.corrupted,
            "duplicated": stats.duplicated,
            "reordered": stats.reordered,
            "ecn_in": {
                "not_ect": count(Ecn::NotEct),
                "ect0": count(Ecn::Ect0),
                "ect1": count(Ecn::Ect1),
                "ce": count(Ecn::Ce),
            },
            "queue_us": {
                "mean": micros(stats.sojourn.mean()),
                "p50": micros(stats.sojourn.percentile(50.0)),
                "p99": micros(stats.sojourn.percentile(99.0)),
                "max": micros(stats.sojourn.max()),
            },
        })
    }

    fn facts_json(&self) -> Value {
        let facts = &self.facts;
        let kinds = |wanted: Direction| -> Map<String, Value> {
            let of_direction =
                facts.kinds.iter().filter(|((direction, _), _)| *direction == wanted);
            let entry = |((_, kind), facts): (&(_, super::Kind), &super::KindFacts)| {
                let version = |version: &u32| format!("0x{version:08x}");
                let versions: Vec<_> = facts.versions.iter().map(version).collect();
                let value = json!({ "packets": facts.packets, "versions": versions });
                (kind.name().to_owned(), value)
            };
            of_direction.map(entry).collect()
        };
        let packets = |direction, kind| {
            facts.kinds.get(&(direction, kind)).map_or(0, |of_kind| of_kind.packets)
        };
        json!({
            "packets": {
                "to_server": kinds(Direction::ToServer),
                "to_client": kinds(Direction::ToClient),
            },
            "client_initials": packets(Direction::ToServer, super::Kind::Initial),
            "client_initials_before_answer": facts.initials_before_answer,
            "server_initial_scids": facts.server_initial_scids.len(),
            "retry_seen": packets(Direction::ToClient, super::Kind::Retry) > 0,
            "initials_with_token": facts.initials_with_token,
            "initials_with_retry_token": facts.initials_with_retry_token,
            "version_negotiation_seen":
                packets(Direction::ToClient, super::Kind::VersionNegotiation) > 0,
            "amplification": {
                "flows_completed": facts.amplification.flows_completed,
                "server_bytes": facts.amplification.worst.0,
                "client_bytes": facts.amplification.worst.1,
                "worst_ratio": facts.amplification.worst_ratio(),
                "datagrams_over_limit": facts.amplification.datagrams_over_limit,
            },
        })
    }
}

fn count_json(count: Count) -> Value {
    json!({ "datagrams": count.packets, "bytes": count.bytes })
}
