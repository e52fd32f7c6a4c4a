"""What connections and engines count. Times are in seconds, sizes in bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

__all__ = ["ConnectionStats", "HandshakeInfo", "PathStats", "ShardStats", "XdpStats"]


@dataclass(frozen=True, kw_only=True, slots=True)
class HandshakeInfo:
    """What the handshake agreed on."""

    alpn: str
    """Application protocol."""
    cipher: str
    """Cipher suite, by its IANA name."""
    group: str
    """Key-exchange group, by its IANA name; empty if none was needed."""
    version: int
    """QUIC version: 1 is RFC 9000, 0x6b3343cf is RFC 9369."""
    resumed: bool
    """Whether an earlier session was resumed."""
    early_data: bool
    """Whether early data (0-RTT) was accepted."""
    server_name: str | None
    """Server: the name that the client asked for."""
    peer_certificates: tuple[bytes, ...]
    """The peer's certificates in DER, its own first; none if it showed none."""
    local: tuple[str, int] | None
    """Our address."""
    remote: tuple[str, int] | None
    """The peer's address."""
    multipath: bool
    """Whether several paths may be used."""
    original_dcid: bytes
    """The connection ID under which logs of both ends know the connection."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PathStats:
    """A path as it is now."""

    id: int
    """Path ID; 0 without multipath."""
    state: Literal["validating", "open", "abandoned"]
    """Whether it carries data: while it is validated not yet, when it is abandoned no more."""
    backup: bool
    """Whether either end wants it used only when no other can be."""
    bytes_sent: int
    """Bytes of UDP payload sent there."""
    bytes_received: int
    """Bytes of UDP payload received there."""
    local: tuple[str, int]
    """Our address."""
    remote: tuple[str, int]
    """The peer's address."""
    srtt: float
    """Smoothed round-trip time, in seconds."""
    rttvar: float
    """Its mean deviation, in seconds."""
    min_rtt: float
    """Smallest round-trip time seen, in seconds."""
    congestion: str
    """The congestion controller in force; ``"external"`` for one in Python."""
    congestion_state: str
    """Its state, such as ``"slow_start"``."""
    cwnd: int
    """Congestion window, in bytes."""
    ssthresh: int | None
    """Slow start threshold in bytes, once there is one."""
    pacing_rate: int | None
    """Bytes per second at which sending is paced; `None` if it is not."""
    delivery_rate: int | None
    """The newest delivery rate that the network limited, in bytes per second."""
    bytes_in_flight: int
    """Bytes sent and neither acknowledged nor lost."""
    lost_packets: int
    """Packets declared lost."""
    spurious_losses: int
    """Packets declared lost that were only late."""
    probe_timeouts: int
    """Times that nothing came back for the probe timeout."""
    congestion_events: int
    """Times that the congestion window was reduced."""
    mtu: int
    """Datagram size, in bytes of UDP payload."""
    ecn_capable: bool
    """Whether congestion marks are known to survive the way."""
    ecn_ce: int
    """Packets that the peer reported as marked by the network."""
    classic_ecn_suspected: bool
    """Prague: marks seem to come from a queue that does not know L4S."""
    controller_batches: int
    """Controller in Python: batches of acknowledgements that it was given."""
    controller_failures: int
    """Controller in Python: batches at which it raised."""
    controller_overdue: int
    """Controller in Python: times that its answer was more than a second late."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionStats:
    """Counters of a connection since its start."""

    packets_sent: int
    """QUIC packets sent."""
    packets_received: int
    """QUIC packets received and opened."""
    udp_datagrams_sent: int
    """UDP datagrams sent."""
    udp_datagrams_received: int
    """UDP datagrams received."""
    bytes_sent: int
    """Bytes of UDP payload sent."""
    bytes_received: int
    """Bytes of UDP payload received."""
    trains_sent: int
    """Trains of datagrams given to the socket, each in one piece."""
    duplicates: int
    """Packets received twice."""
    dropped: int
    """Packets dropped: malformed, of another connection, or without keys."""
    undecryptable: int
    """Packets that did not authenticate."""
    acks_sent: int
    """ACK frames sent."""
    key_updates: int
    """Key updates, begun by either end."""
    zero_rtt_bytes: int
    """Bytes of 0-RTT packets, sent or received."""
    reinjected_bytes: int
    """Bytes that were sent on a second path as well, although they were not lost on the first; what
    a path that failed had not delivered does not count."""
    scheduler_failures: int
    """Decisions that a scheduler in C or Python should have made and could not."""
    datagrams_sent: int
    """DATAGRAM frames sent (RFC 9221)."""
    datagrams_acked: int
    """DATAGRAM frames acknowledged."""
    datagrams_lost: int
    """DATAGRAM frames declared lost."""
    datagrams_received: int
    """DATAGRAM frames received."""
    datagrams_dropped: int
    """Datagrams dropped at this end: pushed out by newer ones, or too large for the path."""
    qlog_events: int
    """qlog events written down."""
    qlog_dropped: int
    """Of them, those that found no room, or were pushed out of the ring."""
    paths: tuple[PathStats, ...]
    """The paths."""


@dataclass(frozen=True, kw_only=True, slots=True)
class XdpStats:
    """An interface that an engine uses past the kernel's network stack (AF_XDP)."""

    interface: str
    """Its name."""
    queues: int
    """Its queues in use."""
    native: bool
    """Whether its driver looks for our packets, not the network stack."""
    zero_copy: bool
    """Whether it reads and writes the engine's memory itself."""
    up: bool
    """Whether packets can leave through it. If not, they go through the kernel."""
    datagrams_sent: int
    """UDP datagrams that left past the kernel."""
    datagrams_received: int
    """UDP datagrams that came past the kernel."""
    damaged: int
    """Packets with wrong lengths or checksums."""
    errors: int
    """Times that the kernel took no packets: the interface was down, or gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardStats:
    """Counters of one thread of an engine."""

    connections: int
    """Connections now, closing ones included."""
    accepted: int
    """Connections accepted."""
    refused: int
    """Connections refused."""
    retries: int
    """Retry packets sent."""
    version_negotiations: int
    """Version Negotiation packets sent."""
    resets_sent: int
    """Stateless resets sent."""
    dropped: int
    """Datagrams that belonged to no connection."""
    datagrams_sent: int
    """UDP datagrams sent."""
    send_calls: int
    """System calls that sent them."""
    datagrams_received: int
    """UDP datagrams received."""
    receive_calls: int
    """System calls that received them."""
    kernel_drops: int
    """UDP datagrams that the system dropped because the thread was late."""
    zerocopy_sends: int
    """Trains of packets that were lent to the kernel (`Engine`, ``zerocopy``)."""
    zerocopy_copied: int
    """Of them, those that it copied after all, because the way led through software. It may tell
    of several at once, by what became of the first."""
    zerocopy_fallbacks: int
    """Times that it refused to borrow, for want of memory above all: the train was copied."""
    turns: int
    """Times the thread looked for work."""
    sleeps: int
    """Times it slept."""
    panics: int
    """Defects that ended one connection each."""
    unsent_trains: int
    """Trains that the socket did not take, and that were lost."""
    refused_streams: int
    """Requests answered with 503 because the program was behind; see `Config.overload_delay`."""
    cpu_seconds: float | None
    """CPU time of the thread, where the system tells."""
    xdp: XdpStats | None = None
    """Its interface, if it has one (AF_XDP)."""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """From what the engine tells."""
        xdp: Any = fields["xdp"]
        told: dict[str, Any] = {**fields, "xdp": None if xdp is None else XdpStats(**xdp)}
        return cls(**told)
