//! Events: small values, and borrows of what the connection has at hand anyway.

use core::time::Duration;

use tquic_wire::{ConnectionId, PacketType, Space, StreamId, TransportParameters, Version};

use crate::cc::Phase;
use crate::events::ConnectionError;
use crate::path::{Ecn, FourTuple};
use crate::recovery::Token;

/// Something that happened to a connection. Sizes are in bytes.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "fields are named as in the qlog drafts; what is not is explained")]
pub enum Event<'a> {
    /// The first thing that is told.
    ConnectionStarted {
        version: Version,
        scid: ConnectionId,
        dcid: ConnectionId,
        addresses: FourTuple,
    },
    /// Nothing follows but the last packets.
    ConnectionClosed {
        error: &'a ConnectionError,
        bytes_sent: u64,
        bytes_received: u64,
    },
    ConnectionIdUpdated {
        local: bool,
        old: Option<ConnectionId>,
        new: ConnectionId,
    },
    /// The peer's, which we do not answer: our own spin bit is always 0.
    SpinBitUpdated {
        state: bool,
    },
    PathUpdated(Move),
    ConnectionStateUpdated {
        old: Option<Life>,
        new: Life,
    },
    MtuUpdated {
        path: u32,
        old: u16,
        new: u16,
        done: bool,
    },
    /// A train left on `path`; `candidates` paths could have been chosen.
    SchedulerDecision {
        path: u32,
        candidates: u32,
        reason: Reason,
        bytes: usize,
    },
    VersionInformation {
        ours: &'a [Version],
        chosen: Version,
    },
    AlpnInformation {
        chosen: &'a [u8],
    },
    ParametersSet {
        local: bool,
        parameters: &'a TransportParameters,
        cipher: Option<&'static str>,
        resumed: bool,
        early_data: bool,
    },
    ParametersRestored {
        parameters: &'a TransportParameters,
    },
    PacketSent {
        packet: Packet<'a>,
        mtu_probe: bool,
        bytes_in_flight: u64,
        cwnd: u64,
    },
    PacketReceived {
        packet: Packet<'a>,
        ecn: Option<Ecn>,
    },
    /// `ty` is known if the header could be read.
    PacketDropped {
        ty: Option<PacketType>,
        size: usize,
        reason: DropReason,
    },
    /// It came before its keys.
    PacketBuffered {
        ty: PacketType,
        size: usize,
    },
    /// For the first time.
    PacketsAcked {
        space: Space,
        numbers: &'a [u64],
    },
    /// `len` bytes, cut every `segment` bytes.
    DatagramsSent {
        len: usize,
        segment: usize,
        ecn: Option<Ecn>,
    },
    /// As `DatagramsSent`.
    DatagramsReceived {
        len: usize,
        segment: usize,
        ecn: Option<Ecn>,
    },
    DatagramDropped {
        len: usize,
    },
    StreamOpened {
        id: StreamId,
        local: bool,
    },
    StreamClosed {
        id: StreamId,
        error_code: u64,
        bytes_sent: u64,
        bytes_received: u64,
    },
    RecoveryParametersSet {
        packet_threshold: u64,
        time_threshold_eighths: u32,
        initial_rtt: Duration,
        max_datagram: u64,
        initial_window: u64,
    },
    MetricsUpdated {
        path: u32,
        old: Option<&'a Metrics>,
        new: &'a Metrics,
    },
    CongestionStateUpdated {
        path: u32,
        old: Option<Phase>,
        new: Phase,
        cwnd: u64,
        ssthresh: Option<u64>,
    },
    LossTimerUpdated {
        path: u32,
        update: Update,
    },
    /// `total_lost` packets with this one, on its path.
    PacketLost {
        space: Space,
        pn: u64,
        size: u16,
        path: u32,
        trigger: LossTrigger,
        mtu_probe: bool,
        total_lost: u64,
    },
    /// What a lost packet carried and its owners will send again, as far as it still matters.
    MarkedForRetransmit {
        space: Space,
        tokens: &'a [Token],
    },
    EcnStateUpdated {
        path: u32,
        old: Option<EcnState>,
        new: EcnState,
    },
    KeyUpdated {
        level: KeyLevel,
        generation: u64,
    },
    KeyDiscarded {
        level: KeyLevel,
        generation: u64,
    },
}

impl Event<'_> {
    /// The ID of the path that it is about, if it is about one.
    pub fn path(&self) -> Option<u32> {
        match *self {
            Self::PacketSent { packet, .. } | Self::PacketReceived { packet, .. } => {
                Some(packet.path)
            }
            Self::MtuUpdated { path, .. }
            | Self::SchedulerDecision { path, .. }
            | Self::MetricsUpdated { path, .. }
            | Self::CongestionStateUpdated { path, .. }
            | Self::LossTimerUpdated { path, .. }
            | Self::PacketLost { path, .. }
            | Self::EcnStateUpdated { path, .. } => Some(path),
            _ => None,
        }
    }
}

/// Why a path got a train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no other.
    Only,
    /// The scheduler put it first.
    Best,
    /// Those that the scheduler put before it had nothing to send or no room.
    Spill,
    /// The application's own scheduler chose it, or another one for data, or none.
    User,
    /// The application's own scheduler did not say: the named one put it first.
    Fallback,
    /// What others have under way would arrive sooner here.
    Reinjected,
    /// Everything is sent on every path.
    Redundant,
}

impl Reason {
    /// The name for logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Only => "only",
            Self::Best => "best",
            Self::Spill => "spill",
            Self::User => "user",
            Self::Fallback => "fallback",
            Self::Reinjected => "reinjected",
            Self::Redundant => "redundant",
        }
    }
}

/// A packet in the clear.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Its type.
    pub ty: PacketType,
    /// Its number.
    pub pn: u64,
    /// Bytes of the whole packet, header and tag included.
    pub size: usize,
    /// The path's ID.
    pub path: u32,
    /// The Key Phase bit of a 1-RTT packet.
    pub key_phase: Option<bool>,
    /// Version, Source and Destination Connection ID of a long header.
    pub long: Option<(Version, ConnectionId, ConnectionId)>,
    /// The frames.
    pub payload: &'a [u8],
    /// Bytes of stream data that belong to the last frame and do not stand in `payload`: the sealing
    /// pass takes them from the application's buffer.
    pub tail: usize,
}

/// Why a packet was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum DropReason {
    /// It does not fit the state of the connection.
    Rejected = 1,
    /// A version that we do not speak.
    Unsupported = 2,
    /// It cannot be what it says it is.
    Invalid = 3,
    /// Its number was seen before.
    Duplicate = 4,
    /// Its connection ID is not ours.
    ConnectionUnknown = 5,
    /// It does not authenticate.
    DecryptionFailure = 6,
    /// Its keys are gone, or there is no room to keep it until they come.
    KeyUnavailable = 7,
}

/// How a packet was found lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum LossTrigger {
    /// By number (RFC 9002 section 6.1.1).
    ReorderingThreshold = 0,
    /// By age (RFC 9002 section 6.1.2).
    TimeThreshold = 1,
}

/// Where a connection is in its life, in the words of the qlog drafts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the words are the drafts'")]
pub enum Life {
    Attempted,
    HandshakeStarted,
    HandshakeComplete,
    HandshakeConfirmed,
    Closing,
    Draining,
    Closed,
}

/// What became of ECN on a path (RFC 9000 section 13.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words are those of RFC 9000 appendix A.4")]
pub enum EcnState {
    Testing,
    Unknown,
    Failed,
    Capable,
}

/// Whose secrets packet keys come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "encryption levels of RFC 9001 section 2.1")]
pub enum KeyLevel {
    Initial,
    ZeroRtt,
    Handshake,
    OneRtt,
}

/// What became of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// It will fire after this time.
    Set(Duration),
    /// It fired.
    Expired,
    /// It is off.
    Cancelled,
}

/// What became of a path's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// A pair of addresses that was not known before.
    Created {
        /// Path ID.
        path: u32,
        /// The addresses.
        addresses: FourTuple,
    },
    /// The peer was shown to receive there.
    Validated {
        /// Path ID.
        path: u32,
        /// The addresses.
        addresses: FourTuple,
        /// How long it took since they became known.
        time: Duration,
    },
    /// Not used any more.
    Closed {
        /// Path ID.
        path: u32,
        /// The addresses.
        addresses: FourTuple,
        /// Whether the connection ended with it.
        ended: bool,
    },
    /// The path leads there now.
    Migrated {
        /// Path ID, before and now.
        path: u32,
        /// The addresses before.
        from: FourTuple,
        /// The addresses now.
        to: FourTuple,
        /// Who moved.
        by: Direction,
    },
}

/// Which end an action came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// We.
    Local,
    /// The peer, or a NAT before it.
    Remote,
}

/// What recovery and congestion control of a path measure (RFC 9002 appendix A.3 and B.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Smallest round-trip time; zero before the first sample.
    pub min_rtt: Duration,
    /// Smoothed round-trip time.
    pub smoothed_rtt: Duration,
    /// Round-trip time last measured.
    pub latest_rtt: Duration,
    /// Its mean deviation.
    pub rtt_variance: Duration,
    /// Probe timeouts in a row.
    pub pto_count: u32,
    /// Congestion window.
    pub cwnd: u64,
    /// Bytes in flight.
    pub bytes_in_flight: u64,
    /// Slow start threshold, once there is one.
    pub ssthresh: Option<u64>,
    /// Bytes per second, if sending is paced.
    pub pacing_rate: Option<u64>,
}
