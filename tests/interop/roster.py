"""Who plays: the peers, what their libraries cannot do, and the oddities we met."""

from __future__ import annotations

from dataclasses import dataclass, field

from .cases import CASES

ROLES = ("client", "server")
SUBJECT = "tquic"


@dataclass(frozen=True)
class Peer:
    """One implementation. `impossible` holds, by (role, case), why its library cannot play."""

    name: str
    library: str
    impossible: dict[tuple[str, str], str] = field(default_factory=dict)
    quirks: tuple[str, ...] = ()


# What has one path only says little about a fork of quinn.
ONE_PATH = "this peer plays several paths; what has one is played by quinn, of which it is a fork"


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
                **_both("multipath", "quic-go has no multipath"),
                ("client", "connectionmigration"): "quic-go clients ignore preferred_address",
                (
                    "server",
                    "connectionmigration",
                ): "quic-go servers cannot announce preferred_address",
            },
            (
                "Its ClientHello with a post-quantum key share fills two Initial packets, with "
                "pieces out of order.",
                "The server answers each of those two with a Retry of its own, with different "
                "connection IDs; a client takes the first.",
                "The client has connection IDs of length zero unless it brings its own "
                "`Transport`; migration needs that.",
                "Either side updates keys by itself after 100 packets.",
                "The server checks the limit of three times before it builds a packet and "
                "overshoots by up to one.",
                "A damaged token length makes the server answer INVALID_TOKEN from a new "
                "connection ID.",
                "Go's key log has no CLIENT_EARLY_TRAFFIC_SECRET: 0-RTT between two Go peers "
                "cannot be decrypted.",
            ),
        ),
        Peer(
            "quinn",
            "quinn 0.11 with rustls and ring",
            {
                **_both("v2", "quinn knows version 1 only"),
                **_both("multipath", "quinn has no multipath; noq, its fork, has"),
                **_both("http3", "quinn is QUIC without HTTP/3"),
                ("client", "connectionmigration"): "quinn clients ignore preferred_address",
            },
            (
                "The server answers from the local address where the connection began; for its "
                "preferred address our driver joins two sockets.",
                "After a rebinding it challenges the address the client has left, too, as RFC "
                "9000 section 9.3.3 suggests.",
                "The server checks the limit of three times before it builds a packet and "
                "overshoots by up to one.",
                "rustls (webpki) refuses chains with more than six intermediates: our driver "
                "takes the nine certificates of amplificationlimit unverified.",
                "Path MTU probes of a fresh connection fill more than the 5,000 bytes zerortt "
                "allows: the judge leaves padding out.",
            ),
        ),
        Peer(
            "noq",
            "noq 1.4 with rustls and ring",
            {
                key: reason
                for case in CASES
                if case not in ("multipath", "transfer")
                for key, reason in _both(case, ONE_PATH).items()
            },
            (
                "The codepoints are those of draft-ietf-quic-multipath-21, as ours.",
                "It sends over the path with the smallest ID that has room, so that a second path "
                "carries nothing much until the first is a backup, or gone.",
                "Its server goes on sending over a path that the client has made a backup: that is "
                "advice; its client's own is taken by our server.",
                "All of an endpoint's paths leave from one socket: a second path has another "
                "address, and the same port.",
            ),
        ),
        Peer(
            "aioquic",
            "aioquic 1.7",
            {
                **_both("multipath", "aioquic has no multipath"),
                **_both("ecn", "aioquic neither marks packets nor reports ECN counts"),
                (
                    "server",
                    "connectionmigration",
                ): "aioquic servers cannot announce preferred_address",
            },
            (
                "After Retry the client sends a new ClientHello with another random, against RFC "
                "9000 section 17.2.5.3.",
                "It is the one peer with compatible version negotiation, and the one client that "
                "follows a preferred address.",
            ),
        ),
    )
}
