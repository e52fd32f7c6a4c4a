//! Named pairs of links, as data.
//!
//! The links of the QUIC interop runner carry 10 Mbit/s with 15 ms one way and a queue of 25 packets;
//! its scenarios add one fault each. Times count from the first packet.

use crate::link::{Corruption, Limit, LinkConfig, Loss, OnOff, Rate, Schedule};
use crate::random::Probability;
use tquic_core::time::Duration;

/// A pair of links and what the network does to addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// From the client to the server.
    pub to_server: LinkConfig,
    /// From the server to the client.
    pub to_client: LinkConfig,
    /// Changes of the address by which the server sees the client.
    pub rebinding: Option<Rebinding>,
}

/// When a client's address changes, counted from its first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebinding {
    /// The first change.
    pub first: Duration,
    /// The time between changes after that.
    pub every: Duration,
    /// Whether the host's address changes along with the port.
    pub address: bool,
}

/// Names of all scenarios with what they do.
pub const ALL: [(&str, &str); 12] = [
    ("clean", "no delay, no limit, no loss"),
    ("interop", "15 ms one way, 10 Mbit/s, queue of 25 packets: the interop runner's link"),
    ("longrtt", "750 ms one way, 10 Mbit/s"),
    ("blackhole", "interop link that works for 5 s, drops all for 2 s, then works for good"),
    ("blackhole-repeat", "interop link that works for 5 s and drops all for 2 s, again and again"),
    ("handshakeloss", "interop link that loses 30 % both ways, at most 3 in a row"),
    ("transferloss", "interop link that loses 2 % both ways, at most 3 in a row"),
    ("handshakecorruption", "interop link that replaces an early byte of 30 % of packets"),
    ("transfercorruption", "interop link that replaces an early byte of 2 % of packets"),
    ("amplificationlimit", "interop link that loses packets 2 to 7 to the server"),
    ("rebind-port", "interop link; the client's port changes at 1 s, then every 5 s"),
    ("rebind-addr", "interop link; the client's address changes at 1 s, then every 5 s"),
];

/// The scenario of this name.
pub fn named(name: &str) -> Option<Scenario> {
    let &(name, about) = ALL.iter().find(|(known, _)| *known == name)?;
    let mut link = interop_link();
    let (mut to_server_loss, mut rebinding) = (Vec::new(), None);
    let (first, every) = (Duration::from_secs(1), Duration::from_secs(5));
    match name {
        "clean" => link = LinkConfig::default(),
        "longrtt" => link.delay = Duration::from_millis(750),
        "blackhole" => link.schedule = blackhole(Some(1)),
        "blackhole-repeat" => link.schedule = blackhole(None),
        "handshakeloss" => link.loss = loss(30),
        "transferloss" => link.loss = loss(2),
        "handshakecorruption" => link.corruption = Some(corruption(30)),
        "transfercorruption" => link.corruption = Some(corruption(2)),
        "amplificationlimit" => to_server_loss = vec![Loss::Listed((2..=7).collect())],
        "rebind-port" => rebinding = Some(Rebinding { first, every, address: false }),
        "rebind-addr" => rebinding = Some(Rebinding { first, every, address: true }),
        _ => {}
    }
    let mut to_server = link.clone();
    to_server.loss.extend(to_server_loss);
    Some(Scenario { name, about, to_server, to_client: link, rebinding })
}

/// The interop runner's default link: `simple-p2p --delay=15ms --bandwidth=10Mbps --queue=25`.
fn interop_link() -> LinkConfig {
    LinkConfig {
        // A host's MTU of 1500 bytes, and the headers of UDP, IPv4 and PPP that the rate counts.
        mtu: Some(1472),
        overhead: 30,
        ..LinkConfig::wire(Rate::mbps(10), Duration::from_millis(15), Limit::Packets(25))
    }
}

fn blackhole(repeat: Option<u64>) -> Schedule {
    let (on, off) = (Duration::from_secs(5), Duration::from_secs(2));
    Schedule { blackhole: Some(OnOff { on, off, repeat }), ..Schedule::default() }
}

fn loss(percent: u64) -> Vec<Loss> {
    vec![Loss::Limited { chance: Probability::percent(percent), burst: 3 }]
}

fn corruption(percent: u64) -> Corruption {
    let chance = Probability::percent(percent);
    Corruption { chance, burst: 3, within: 51, spare_version_negotiation: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{Cause, Link};
    use crate::packet::Packet;
    use std::net::{Ipv4Addr, SocketAddr};
    use tquic_core::time::Instant;

    /// Sends a packet every 10 ms for 20 s and returns the numbers, from 1, of those that arrive.
    fn arrivals(config: &LinkConfig) -> (Vec<u64>, Link) {
        let end = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut link = Link::new(config, 1, 0);
        for number in 1..=2000 {
            let now = Instant::ZERO + Duration::from_millis((number - 1) * 10);
            link.send(now, Packet::descriptor(end, end, 1200).with_tag(number));
        }
        let tags = core::iter::from_fn(|| link.poll(Instant::MAX)).map(|d| d.packet.tag).collect();
        (tags, link)
    }

    #[test]
    fn each_scenario_has_its_fault_and_no_other() {
        for (name, _) in ALL {
            let scenario = named(name).unwrap();
            let (there, link) = arrivals(&scenario.to_server);
            let (back, _) = arrivals(&scenario.to_client);
            let lost = 2000 - there.len();
            match name {
                "handshakeloss" => assert!((500..680).contains(&lost), "{name} {lost}"),
                "transferloss" => assert!((20..60).contains(&lost), "{name} {lost}"),
                "blackhole" => assert_eq!(lost, 200),
                "blackhole-repeat" => assert_eq!(lost, 500),
                "amplificationlimit" => assert_eq!((there[..2].to_vec(), lost), (vec![1, 8], 6)),
                _ => assert_eq!(lost, 0, "{name}"),
            }
            assert_eq!(back.len() == 2000, lost == 0 || name == "amplificationlimit", "{name}");
            assert_eq!(link.stats().corrupted > 0, name.ends_with("corruption"), "{name}");
            assert_eq!(link.stats().dropped(Cause::QueueFull).packets, 0);
            assert_eq!(scenario.rebinding.is_some(), name.starts_with("rebind"), "{name}");
        }
        assert_eq!(named("no such"), None);
    }
}
