//! Counters of a connection and its paths.

use core::time::Duration;

use crate::cc::{Congestion, Controller, ExternalStats, Phase};
use crate::path::{FourTuple, Path, Stage};
use crate::trace::Tally;

/// Counters of a connection since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStats {
    /// UDP datagrams sent.
    pub datagrams_sent: u64,
    /// Bytes of UDP payload sent.
    pub bytes_sent: u64,
    /// GSO trains handed to the socket.
    pub trains_sent: u64,
    /// UDP datagrams received.
    pub datagrams_received: u64,
    /// ICMP messages about this client's handshake: nobody listens there.
    pub unreachable: u64,
    /// Bytes of UDP payload received.
    pub bytes_received: u64,
    /// Packets opened.
    pub packets_received: u64,
    /// Packets sealed.
    pub packets_sent: u64,
    /// Packets received twice.
    pub duplicates: u64,
    /// Packets dropped: malformed header, foreign connection ID, keys not there or gone.
    pub dropped: u64,
    /// Packets that did not authenticate.
    pub undecryptable: u64,
    /// Key updates, begun by either end.
    pub key_updates: u64,
    /// ACK frames sent.
    pub acks_sent: u64,
    /// Path challenges answered.
    pub challenges_answered: u64,
    /// Bytes of 0-RTT packets sent or received.
    pub zero_rtt_bytes: u64,
    /// Bytes that were sent on another path as well, although they were not lost.
    pub reinjected_bytes: u64,
    /// Decisions that the application's own scheduler should have made and could not.
    pub scheduler_failures: u64,
    /// What the observer made of events.
    pub events: Tally,
}

/// A path as it is now.
#[derive(Clone, Copy, Debug)]
pub struct PathStats {
    /// Path ID.
    pub id: u32,
    /// `validating`, `open` or `abandoned`.
    pub state: &'static str,
    /// Whether either end wants it used only when no other can be.
    pub backup: bool,
    /// Bytes of UDP payload sent there since the start of the path.
    pub bytes_sent: u64,
    /// Bytes of UDP payload received there in packets that could be opened.
    pub bytes_received: u64,
    /// Its active addresses.
    pub addresses: FourTuple,
    /// Smoothed round-trip time.
    pub srtt: Duration,
    /// Its mean deviation.
    pub rttvar: Duration,
    /// Smallest round-trip time seen.
    pub min_rtt: Duration,
    /// The congestion controller in force.
    pub congestion: Congestion,
    /// Its state.
    pub phase: Phase,
    /// Congestion window in bytes.
    pub cwnd: u64,
    /// Slow start threshold in bytes, once there is one.
    pub ssthresh: Option<u64>,
    /// Bytes per second at which sending is paced; `None` if it is not.
    pub pacing_rate: Option<u64>,
    /// The newest delivery rate that the network limited, in bytes per second.
    pub delivery_rate: Option<u64>,
    /// Bytes in flight.
    pub in_flight: u64,
    /// Packets declared lost.
    pub lost_packets: u64,
    /// Losses that turned out to be late packets.
    pub spurious_losses: u64,
    /// Probe timeouts.
    pub ptos: u64,
    /// Times the congestion window was reduced.
    pub congestion_events: u64,
    /// Datagram size in bytes of UDP payload.
    pub mtu: u16,
    /// Whether ECN marks are known to survive.
    pub ecn_capable: bool,
    /// Packets that the peer reported as marked CE.
    pub ecn_ce: u64,
    /// Prague: marks seem to come from a queue that does not know L4S.
    pub classic_ecn_suspected: bool,
    /// What became of the questions to a controller outside.
    pub external: ExternalStats,
}

impl Path {
    /// The path as it is now.
    pub fn stats(&self) -> PathStats {
        let (rtt, recovery) = (self.recovery.rtt(), self.recovery.stats());
        PathStats {
            id: self.id,
            state: match self.standing.stage {
                Stage::Validating => "validating",
                Stage::Open => "open",
                Stage::Abandoned(_) => "abandoned",
            },
            backup: self.standing.is_backup(),
            bytes_sent: self.bytes_sent,
            bytes_received: self.bytes_received,
            addresses: self.active().addresses,
            srtt: rtt.smoothed(),
            rttvar: rtt.var(),
            min_rtt: rtt.min(),
            congestion: self.recovery.congestion(),
            phase: self.recovery.phase(),
            cwnd: self.recovery.cwnd(),
            ssthresh: self.recovery.ssthresh(),
            pacing_rate: self.recovery.pacing_rate(),
            delivery_rate: self.recovery.delivery_rate(),
            in_flight: self.recovery.bytes_in_flight(),
            lost_packets: recovery.lost_packets,
            spurious_losses: recovery.spurious_losses,
            ptos: recovery.ptos,
            congestion_events: recovery.congestion_events,
            mtu: self.active().mtu.current(),
            ecn_capable: self.active().ecn.is_capable(),
            ecn_ce: recovery.ecn_ce,
            classic_ecn_suspected: match self.recovery.controller() {
                Controller::Prague(prague) => prague.suspects_classic_ecn(),
                _ => false,
            },
            external: match self.recovery.controller() {
                Controller::External(external) => external.stats(),
                _ => ExternalStats::default(),
            },
        }
    }
}
