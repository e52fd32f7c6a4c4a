//! The network of a plan, ready to run.

use super::plan::{
    Change, NAT_ADDRESSES, NetworkPlan, PREFERRED, Plan, SERVER, VICTIM, client_address,
    nat_address,
};
use crate::link::{LinkConfig, Rate};
use crate::network::{Edit, Network};
use crate::simulation::HostConfig;
use std::net::IpAddr;
use tquic_core::time::{Duration, Instant};

/// Makes the network with all that is planned to happen to it.
pub fn build(plan: &Plan) -> Network {
    let mut network = Network::new(plan.seed);
    let servers = [SERVER.ip(), IpAddr::V4(*PREFERRED.ip())];
    let wires = &plan.network;
    let first = (&wires.to_server, &wires.to_client);
    let second = wires.second.as_ref().map_or(first, |(there, back)| (there, back));
    for (index, (there, back)) in [(0, first), (1, second)] {
        let mut hosts = vec![client_address(0, index).ip()];
        if index == 0 {
            hosts.extend(nat_hosts());
        }
        route(&mut network, &hosts, &servers, (there, back), None);
    }
    // What an attacker sends in somebody's name comes fast; nobody answers there.
    let there = network.add_link(&LinkConfig::default());
    network.route_hosts(VICTIM.ip(), SERVER.ip(), &[there]);
    for &(at, change) in &wires.edits {
        let at = Instant::ZERO + at;
        match change {
            Change::Mtu(bytes) => {
                let smaller = |link: &LinkConfig| LinkConfig { mtu: Some(bytes), ..link.clone() };
                let mut hosts = vec![client_address(0, 0).ip()];
                hosts.extend(nat_hosts());
                let (there, back) = (smaller(first.0), smaller(first.1));
                route(&mut network, &hosts, &servers, (&there, &back), Some(at));
            }
        }
    }
    network
}

/// Outside addresses of the NAT before the client's first address.
fn nat_hosts() -> impl Iterator<Item = IpAddr> {
    let hosts = (0..NAT_ADDRESSES).flat_map(|i| [false, true].map(|o| nat_address(0, i, o).ip()));
    let distinct: std::collections::BTreeSet<IpAddr> = hosts.collect();
    distinct.into_iter()
}

/// Routes between hosts of the client and the server's, now or later.
fn route(
    network: &mut Network,
    hosts: &[IpAddr],
    servers: &[IpAddr],
    (there, back): (&LinkConfig, &LinkConfig),
    at: Option<Instant>,
) {
    let there = network.add_link(there);
    let back = network.add_link(back);
    for (&host, &server) in hosts.iter().flat_map(|h| servers.iter().map(move |s| (h, s))) {
        for (from, to, links) in [(host, server, vec![there]), (server, host, vec![back])] {
            match at {
                None => network.route_hosts(from, to, &links),
                Some(at) => network.at(at, Edit::RouteHosts { from, to, links }),
            }
        }
    }
}

/// The time that a datagram may need there and back at worst, queues full.
fn round_trip(links: (&LinkConfig, &LinkConfig)) -> Duration {
    [links.0, links.1]
        .into_iter()
        .map(|link| {
            let held = link.rate.map_or(Duration::ZERO, |rate| {
                let bits = queue_bytes(link) * 8;
                Duration::from_nanos(
                    (u128::from(bits) * 1_000_000_000 / u128::from(rate.as_bps().max(1)))
                        .min(60_000_000_000) as u64,
                )
            });
            link.delay + link.jitter.max + link.reorder.extra + held
        })
        .sum()
}

fn queue_bytes(link: &LinkConfig) -> u64 {
    use crate::link::{Limit, QueueConfig};
    let limit = match link.queue {
        QueueConfig::DropTail(limit) => limit,
        QueueConfig::Policer(policer) => policer.limit,
        QueueConfig::Codel(_) | QueueConfig::Step(_) | QueueConfig::DualPi2(_) => {
            Limit::Packets(200)
        }
    };
    match limit {
        Limit::Packets(packets) => packets * 1500,
        Limit::Bytes(bytes) => bytes,
    }
}

impl NetworkPlan {
    /// How long it may take to move `bytes` in about `packets` packets, with room to spare: a run
    /// that takes longer has stalled or crawls.
    pub fn patience(&self, bytes: u64, packets: u64, host: &HostConfig) -> Duration {
        let first = (&self.to_server, &self.to_client);
        let paths = [Some(first), self.second.as_ref().map(|(there, back)| (there, back))];
        let mut longest = Duration::ZERO;
        for links in paths.into_iter().flatten() {
            let round = round_trip(links) + host.timer_lateness * 2 + Duration::from_millis(50);
            let slowest =
                [links.0, links.1].into_iter().filter_map(|link| link.rate.map(Rate::as_bps)).min();
            let wire = slowest.map_or(Duration::ZERO, |rate| {
                Duration::from_secs_f64(bytes as f64 * 8.0 / rate as f64)
            });
            // A window of two packets and a timeout now and then: what is left under heavy loss.
            let crawl = round.mul_f64(packets as f64 * self.badness(links));
            longest = longest.max(round * 60 + wire * 10 + crawl);
        }
        longest
    }

    /// Round trips that a packet may cost on average.
    fn badness(&self, links: (&LinkConfig, &LinkConfig)) -> f64 {
        let harm = |link: &LinkConfig| {
            let losses = link.loss.iter().map(crate::link::Loss::average).sum::<f64>();
            let corruption = link.corruption.map_or(0.0, |c| c.chance.as_fraction());
            losses + corruption
        };
        let spoofed = self.spoof_ppm as f64 / 1e6;
        0.2 + 20.0 * (harm(links.0) + harm(links.1) + spoofed)
    }

    /// Whether a datagram that is sent surely arrives, unharmed and once.
    pub fn is_faithful(&self) -> bool {
        let paths = [&self.to_server, &self.to_client];
        self.spoof_ppm == 0
            && self.edits.is_empty()
            && self.second.is_none()
            && paths.iter().all(|link| {
                link.loss.is_empty()
                    && link.corruption.is_none()
                    && link.schedule.outages.is_empty()
                    && link.schedule.blackhole.is_none()
                    && link.mtu.is_none()
                    && link.rate.is_none()
            })
    }
}
