"""Who plays: the peers, what their libraries cannot do, and the oddities we met."""

from __future__ import annotations

from dataclasses import dataclass, field

from .cases import CASES

ROLES = ("client", "server")
SUBJECT = "tquic"
# HTTP/0.9 and HTTP/3, by their ALPN names.
HQ, H3 = "hq-interop", "h3"


@dataclass(frozen=True)
class Peer:
    """One implementation. `impossible` holds, by (role, case), why its library cannot play."""

    name: str
    library: str
    impossible: dict[tuple[str, str], str] = field(default_factory=dict)
    quirks: tuple[str, ...] = ()
    # Over which it can play every case; the case http3 goes over HTTP/3 anyway.
    protocols: tuple[str, ...] = (HQ,)
    roles: tuple[str, ...] = ROLES


# What has one path only says little about a fork of quinn.
ONE_PATH = "this peer plays several paths; what has one is played by quinn, of which it is a fork"


def _both(case: str, reason: str) -> dict[tuple[str, str], str]:
    return {(role, case): reason for role in ROLES}


PEERS = {
    peer.name: peer
    for peer in (
        Peer(SUBJECT, "this repository", protocols=(HQ, H3)),
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
        Peer(
            "ngtcp2",
            "ngtcp2 0.12.1 with GnuTLS, and nghttp3 (Debian 12)",
            {
                **_both("v2", "knows the draft of version 2 only, whose number was another"),
                **_both("multipath", "ngtcp2 has no multipath"),
            },
            (
                "Its programs speak HTTP/3 only. GnuTLS writes the key logs, by SSLKEYLOGFILE.",
                "The client takes any certificate.",
            ),
            protocols=(H3,),
        ),
        Peer(
            "quiche",
            "quiche 0.30 with BoringSSL",
            {
                **_both("v2", "quiche knows version 1 only"),
                **_both("multipath", "quiche has no multipath"),
                **_both("ecn", "quiche neither marks packets nor reports ECN counts"),
                ("client", "chacha20"): "BoringSSL lets nobody choose cipher suites of TLS 1.3",
                ("client", "keyupdate"): "quiche follows key updates and begins none",
                # Its own client, quic-go's and quinn's wait for ever, too, most times.
                (
                    "server",
                    "rebind-port",
                ): "quiche servers may not resend what was lost on a path left",
                (
                    "server",
                    "rebind-addr",
                ): "quiche servers may not resend what was lost on a path left",
                ("client", "connectionmigration"): "quiche clients ignore preferred_address",
                (
                    "server",
                    "connectionmigration",
                ): "quiche servers cannot announce preferred_address",
            },
            (
                "A late packet for a connection ID that it has retired is a PROTOCOL_VIOLATION to "
                "it: our client leaves its old socket as it moves.",
                "BoringSSL looks for no IP addresses in certificates: our driver asks for "
                "localhost.",
            ),
            protocols=(HQ, H3),
        ),
        Peer(
            "curl",
            "curl 8.21 with ngtcp2 1.20, nghttp3 1.15 and BoringSSL (curl_cffi 0.16)",
            {
                ("client", "v2"): "curl knows version 1 only",
                ("client", "multipath"): "curl has no multipath",
                ("client", "ecn"): "curl marks no packets",
                ("client", "chacha20"): "BoringSSL lets nobody choose cipher suites of TLS 1.3",
                ("client", "keyupdate"): "curl has no way to ask for a key update",
                ("client", "clientmigration"): "curl does not move connections",
                ("client", "connectionmigration"): "curl ignores preferred_address",
                ("client", "multiplexing"): (
                    "curl opens a second connection when the first allows no more streams"
                ),
                ("client", "resumption"): "curl_cffi keeps no sessions from one handle to another",
                (
                    "client",
                    "zerortt",
                ): "curl sends no early data over HTTP/3 without being told in C",
            },
            ("Parallel requests share a connection only with CURLOPT_PIPEWAIT.",),
            protocols=(H3,),
            roles=("client",),
        ),
    )
}
