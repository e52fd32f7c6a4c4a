"""Who plays: the peers, what their libraries cannot do, and the oddities we met."""

from __future__ import annotations

from dataclasses import dataclass, field

ROLES = ("client", "server")
SUBJECT = "tquic"


@dataclass(frozen=True)
class Peer:
    """One implementation. `impossible` holds, by (role, case), why its library cannot play."""

    name: str
    library: str
    impossible: dict[tuple[str, str], str] = field(default_factory=dict)
    quirks: tuple[str, ...] = ()


def _both(case: str, reason: str) -> dict[tuple[str, str], str]:
    return {(role, case): reason for role in ROLES}


PEERS = {
    peer.name: peer
    for peer in (
        Peer(SUBJECT, "this repository"),
        Peer(
            "quicgo",
            "github.com/quic-go/quic-go 0.65",
            {
                **_both("v2", "quic-go has no compatible version negotiation (RFC 9368)"),
                ("client", "connectionmigration"): "quic-go clients ignore preferred_address",
                ("server", "connectionmigration"): "quic-go servers cannot announce preferred_address",
            },
        ),
        Peer(
            "quinn",
            "quinn 0.11 with rustls and ring",
            {
                **_both("v2", "quinn knows version 1 only"),
                ("client", "connectionmigration"): "quinn clients ignore preferred_address",
            },
        ),
        Peer(
            "aioquic",
            "aioquic 1.7",
            {
                **_both("ecn", "aioquic neither marks packets nor reports ECN counts"),
                ("server", "connectionmigration"): "aioquic servers cannot announce preferred_address",
            },
        ),
    )
}
