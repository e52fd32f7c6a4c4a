"""The test cases of quic-interop-runner as data, in its full size and in a quick one."""

from __future__ import annotations

from dataclasses import dataclass

from . import checks
from .checks import Check

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Scale:
    """How big a case is: sizes of the files in bytes and the client's time limit in seconds."""

    sizes: tuple[int, ...]
    timeout: float = 60.0


@dataclass(frozen=True)
class Case:
    """One case. `link` names a scenario of the relay; None means no link between the two."""

    name: str
    what: str
    full: Scale
    quick: Scale
    checks: tuple[Check, ...]
    client: str = ""
    server: str = ""
    link: str | None = None
    name_length: int = 10
    chain: int = 1
    host: str = "127.0.0.1"
    # The runner puts its default link under every case; these would lose what they test.
    direct: bool = False
    # Why the quick size differs, for the report.
    quick_note: str = ""

    @property
    def client_testcase(self) -> str:
        """TESTCASE of the client."""
        return self.client or self.name

    @property
    def server_testcase(self) -> str:
        """TESTCASE of the server."""
        return self.server or self.client or self.name

    def scale(self, profile: str) -> Scale:
        """The size in this profile."""
        return self.full if profile == "full" else self.quick

    def link_in(self, profile: str) -> str | None:
        """The relay's scenario in this profile."""
        if self.link is None and profile == "full" and not self.direct:
            return "interop"
        return self.link


def _same(*sizes: int, timeout: float = 60.0) -> tuple[Scale, Scale]:
    """The same size in both profiles."""
    return Scale(sizes, timeout), Scale(sizes, min(timeout, 30.0))


ONE = (checks.decrypted, checks.version_1_only, checks.handshakes(1))
TWO = (checks.decrypted, checks.version_1_only, checks.handshakes(2))
EACH = (checks.decrypted, checks.version_1_only, checks.handshakes())

CASES = {
    case.name: case
    for case in (
        Case("handshake", "one file, no Retry", *_same(KIB), checks=(*ONE, checks.no_retry)),
        Case(
            "transfer",
            "three files in parallel over one connection",
            *_same(2 * MIB, 3 * MIB, 5 * MIB),
            checks=ONE,
        ),
        Case(
            "longrtt",
            "1.5 s round trip; the ClientHello is sent again",
            *_same(KIB),
            checks=(*ONE, checks.several_client_hellos),
            client="handshake",
            link="longrtt",
        ),
        Case(
            "chacha20",
            "only TLS_CHACHA20_POLY1305_SHA256",
            *_same(3 * MIB),
            checks=(*ONE, checks.only_chacha20),
        ),
        Case(
            "multiplexing",
            "1,999 files of 32 bytes, streams limited to 1,000 at the start",
            *_same(*[32] * 1999),
            checks=(*ONE, checks.stream_limit),
            client="transfer",
        ),
        Case(
            "retry",
            "the server validates the address first",
            *_same(10 * KIB),
            checks=(*ONE, checks.retried),
        ),
        Case(
            "resumption",
            "a second connection without certificates",
            *_same(5 * KIB, 10 * KIB),
            checks=(*TWO, checks.resumed),
        ),
        Case(
            "zerortt",
            "39 requests as early data of a second connection",
            *_same(*[32] * 40),
            checks=(*TWO, checks.early_data),
            name_length=250,
            link="interop",
        ),
        Case(
            "blackhole",
            "5 s of traffic, 2 s of nothing, again and again",
            Scale((10 * MIB,)),
            Scale((7 * MIB,), 40.0),
            checks=ONE,
            client="transfer",
            link="blackhole",
            quick_note="7 MiB: enough to meet one gap at 10 Mbit/s",
        ),
        Case(
            "keyupdate",
            "the client updates keys, both sides use the new ones",
            *_same(3 * MIB),
            checks=(*ONE, checks.key_updated),
            server="transfer",
        ),
        Case(
            "http3",
            "three files in parallel over HTTP/3",
            *_same(5 * KIB, 10 * KIB, 500 * KIB),
            checks=ONE,
        ),
        Case(
            "multipath",
            "a second path, the first as its backup, then the second alone",
            *_same(MIB, 2 * MIB, 3 * MIB),
            checks=(*ONE, checks.several_paths),
            direct=True,
        ),
        Case(
            "ecn",
            "both sides mark and report",
            *_same(100 * KIB),
            checks=(*ONE, checks.ecn),
            direct=True,
        ),
        Case(
            "amplificationlimit",
            "nine certificates; the client's packets 2 to 7 are lost",
            *_same(5 * KIB),
            checks=(*ONE, checks.amplification),
            client="transfer",
            link="amplificationlimit",
            chain=9,
        ),
        Case(
            "handshakeloss",
            "a third of all packets lost, a connection per file",
            Scale((KIB,) * 50, 300.0),
            Scale((KIB,) * 10, 90.0),
            checks=(*EACH, checks.lossy),
            client="multiconnect",
            link="handshakeloss",
            quick_note="10 connections instead of 50",
        ),
        Case(
            "transferloss",
            "2 % of the packets lost",
            *_same(2 * MIB),
            checks=(*ONE, checks.lossy),
            client="transfer",
            link="transferloss",
        ),
        Case(
            "handshakecorruption",
            "a third of all packets damaged, a connection per file",
            Scale((KIB,) * 50, 300.0),
            Scale((KIB,) * 10, 90.0),
            checks=(*EACH, checks.corrupting),
            client="multiconnect",
            link="handshakecorruption",
            quick_note="10 connections instead of 50",
        ),
        Case(
            "transfercorruption",
            "2 % of the packets damaged",
            *_same(2 * MIB),
            checks=(*ONE, checks.corrupting),
            client="transfer",
            link="transfercorruption",
        ),
        Case(
            "ipv6",
            "nothing over IPv4",
            *_same(5 * KIB, 10 * KIB),
            checks=(*ONE, checks.ipv6_only),
            client="transfer",
            host="::1",
        ),
        Case(
            "v2",
            "compatible version negotiation from version 1 to 2 (RFC 9368, 9369)",
            *_same(KIB),
            checks=(checks.decrypted, checks.handshakes(1), checks.version_2),
        ),
        Case(
            "rebind-port",
            "the client's port changes at 1 s, then every 5 s",
            Scale((10 * MIB,)),
            Scale((3 * MIB,)),
            checks=(*ONE, checks.paths_validated(address=False)),
            client="transfer",
            link="rebind-port",
            quick_note="3 MiB: one rebinding at 10 Mbit/s",
        ),
        Case(
            "rebind-addr",
            "the client's address changes at 1 s, then every 5 s",
            Scale((10 * MIB,)),
            Scale((3 * MIB,)),
            checks=(*ONE, checks.paths_validated(address=True)),
            client="transfer",
            link="rebind-addr",
            quick_note="3 MiB: one rebinding at 10 Mbit/s",
        ),
        Case(
            "connectionmigration",
            "the client moves to the server's preferred address",
            *_same(2 * MIB),
            checks=(*ONE, checks.preferred_address_used),
            client="transfer",
            server="connectionmigration",
            direct=True,
        ),
        Case(
            "clientmigration",
            "not in the runner: the client moves to a new local port (RFC 9000 section 9.2)",
            # Enough that it has not all come when a client moves.
            *_same(10 * MIB),
            checks=(*ONE, checks.client_moved),
            direct=True,
        ),
    )
}
