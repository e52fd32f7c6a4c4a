"""The judge: one function per fact a case wants; each returns why it does not hold, or None."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .dissect import Connection, Packet
from .dissect.keys import CHACHA20_POLY1305_SHA256, VERSION_1, VERSION_2
from .dissect.tls import INITIAL_MAX_STREAMS_BIDI, CryptoStream
from .evidence import Evidence

Check = Callable[[Evidence], str | None]

# Limits of quic-interop-runner.
MAX_STREAMS_AT_START = 1000
MAX_ONE_RTT_BYTES = 5000
LONG_CHAIN_BYTES = 7500
# RFC 9000 section 8.1 says 3. Many servers check before they build a packet and so overshoot by
# that packet; the runner forgives less than 4.
AMPLIFICATION, FORGIVEN_AMPLIFICATION = 3, 4
ECT, CE = (1, 2), 3


def handshakes(count: int | None = None) -> Check:
    """The server answered this many handshakes; None means one per file."""

    def check(evidence: Evidence) -> str | None:
        wanted = evidence.files if count is None else count
        found = evidence.facts["handshakes"] = evidence.handshakes()
        return None if found == wanted else f"{found} handshakes, expected {wanted}"

    return check


def version_1_only(evidence: Evidence) -> str | None:
    """Every long header carries version 1."""
    versions = {p.version for p in _long(evidence)}
    return None if versions <= {VERSION_1} else f"versions {[hex(v) for v in sorted(versions)]}"


def decrypted(evidence: Evidence) -> str | None:
    """The key logs open the connection's packets: judging needs that."""
    packets = list(evidence.server_side.packets(client=True)) + list(
        evidence.server_side.packets(client=False)
    )
    sealed = sum(
        1 for p in packets if p.frames is None and p.kind not in ("retry", "version_negotiation")
    )
    evidence.facts["sealed"] = sealed
    ours = [p for p in packets if p.kind == "1rtt" and p.frames is not None]
    return (
        None if ours else f"no 1-RTT packet could be decrypted ({sealed} sealed): key log missing?"
    )


def no_retry(evidence: Evidence) -> str | None:
    """The server sent no Retry packet."""
    retries = sum(1 for _ in evidence.server_side.packets(client=False, kind="retry"))
    return f"{retries} Retry packets" if retries else None


def several_client_hellos(evidence: Evidence) -> str | None:
    """A long round trip makes the client send its ClientHello again."""
    count = 0
    for packet in evidence.client_side.packets(client=True, kind="initial"):
        count += any(frame["offset"] == 0 for frame in packet.named("CRYPTO"))
    evidence.facts["client_hellos"] = count
    return None if count >= 2 else f"{count} ClientHello, expected at least 2"


def only_chacha20(evidence: Evidence) -> str | None:
    """The client offers no other cipher suite, the server takes it."""
    for connection in evidence.connections:
        offered, taken = connection.tls.offered_suites, connection.tls.suite
        if offered != [CHACHA20_POLY1305_SHA256]:
            return f"client offers {[hex(s) for s in offered]}"
        if taken != CHACHA20_POLY1305_SHA256:
            return f"server chose {taken and hex(taken)}"
    return None


def stream_limit(evidence: Evidence) -> str | None:
    """The server lets no more than 1,000 streams start: the client has to wait for credit."""
    for connection in evidence.connections:
        limit = connection.tls.server_limit(INITIAL_MAX_STREAMS_BIDI)
        evidence.facts["initial_max_streams_bidi"] = limit
        if limit > MAX_STREAMS_AT_START:
            return f"initial_max_streams_bidi is {limit}"
        sent = {f["id"] for p in connection.sent(client=True) for f in p.named("STREAM")}
        # HTTP/3 has unidirectional ones as well.
        used = {number for number in sent if number % 4 == 0}
        evidence.facts["streams"] = len(used)
        if len(used) != evidence.files:
            return f"{len(used)} streams for {evidence.files} files"
    return None


def retried(evidence: Evidence) -> str | None:
    """A Retry came, later Initials carry its token, and packet numbers went on."""
    side = evidence.server_side
    tokens = {p.token for p in side.packets(client=False, kind="retry")}
    if not tokens:
        return "no Retry packet"
    for connection in evidence.connections:
        initials = list(connection.sent(client=True, kind="initial"))
        with_token = [p for p in initials if p.token]
        evidence.facts["same ClientHello"] = len(connection.tls.client_randoms) == 1
        if not with_token:
            return "no Initial with a token after Retry"
        if any(p.token not in tokens for p in with_token):
            return "an Initial carries another token than the Retry's"
        before = [p.number for p in initials if not p.token and p.number is not None]
        after = [p.number for p in with_token if p.number is not None]
        # RFC 9000 section 17.2.5.3: a client MUST NOT reset the packet number after a Retry.
        if not before or not after or min(after) <= max(before):
            return f"packet numbers {before} before and {after} after Retry"
    return None


def resumed(evidence: Evidence) -> str | None:
    """The first handshake carries a certificate, the second a pre-shared key instead."""
    flights = [(c.tls.resumed, c.tls.certificates) for c in evidence.connections]
    evidence.facts["resumed, certificates"] = flights
    if len(flights) != 2:
        return f"{len(flights)} connections"
    return None if flights == [(False, 1), (True, 0)] else f"(resumed, certificates): {flights}"


def early_data(evidence: Evidence) -> str | None:
    """The requests travelled as 0-RTT, not after the handshake.

    The runner counts padding too, which path MTU probes are made of; they are none of this case's
    business.
    """
    # Go's TLS does not log the early traffic secret: count packets that stay sealed as they are.
    early = sum(
        p.payload_size or p.size for p in evidence.server_side.packets(client=True, kind="0rtt")
    )
    late = sum(p.payload_size for p in evidence.server_side.packets(client=True, kind="1rtt"))
    accepted = [c.tls.early_data_accepted for c in evidence.connections]
    evidence.facts |= {"0-RTT bytes": early, "client 1-RTT bytes": late, "accepted": accepted}
    if not early:
        return "no 0-RTT bytes"
    if not accepted[-1]:
        return "the server did not accept 0-RTT"
    return f"{late} bytes of 1-RTT from the client" if late > MAX_ONE_RTT_BYTES else None


def key_updated(evidence: Evidence) -> str | None:
    """Both sides sent packets with keys of a later generation."""
    for side, client in (("client", True), ("server", False)):
        count = sum(
            1 for p in evidence.server_side.packets(client=client, kind="1rtt") if p.generation
        )
        evidence.facts[f"{side} packets after key update"] = count
        if not count:
            return f"no packet with updated keys from the {side}"
    return None


def ecn(evidence: Evidence) -> str | None:
    """Both sides mark packets ECT, none comes with CE, and both report counts."""
    for side, client in (("client", True), ("server", False)):
        packets = list(evidence.server_side.packets(client=client))
        marked = sum(1 for p in packets if p.datagram.ecn in ECT)
        reports = sum(1 for p in packets if p.named("ACK_ECN"))
        evidence.facts[f"{side} ECT packets, ACK-ECN"] = (marked, reports)
        if any(p.datagram.ecn == CE for p in packets):
            return f"the {side} sent CE"
        if not marked:
            return f"the {side} marks no packet ECT"
        if not reports:
            return f"the {side} sends no ACK with ECN counts"
    return None


def amplification(evidence: Evidence) -> str | None:
    """No more than three times the received bytes until the client's address is validated."""
    side = evidence.server_side
    received = sent = 0
    validated = {id(p.datagram) for p in side.packets(client=True, kind="handshake")}
    worst = 0.0
    for datagram in side.datagrams:
        if side.from_client(datagram):
            received += len(datagram.data)
            if id(datagram) in validated:
                break
        else:
            sent += len(datagram.data)
            worst = max(worst, sent / received) if received else float("inf")
    evidence.facts["amplification"] = round(worst, 3)
    if worst > (AMPLIFICATION if evidence.strict else FORGIVEN_AMPLIFICATION):
        return f"server sent {worst:.2f} times what it had received"
    flight = max((s.highest for c in evidence.connections for s in _server_crypto(c)), default=0)
    evidence.facts["server CRYPTO bytes"] = flight
    return None if flight >= LONG_CHAIN_BYTES else f"server CRYPTO was {flight} bytes only"


def lossy(evidence: Evidence) -> str | None:
    """The link lost something: else the case proves nothing."""
    evidence.facts["lost datagrams"] = evidence.lost()
    return None if evidence.facts["lost datagrams"] else "the link lost nothing"


def corrupting(evidence: Evidence) -> str | None:
    """The link changed something: else the case proves nothing."""
    evidence.facts["altered datagrams"] = evidence.altered()
    return None if evidence.facts["altered datagrams"] else "the link corrupted nothing"


def ipv6_only(evidence: Evidence) -> str | None:
    """No datagram over IPv4."""
    wrong = sum(1 for d in evidence.server_side.datagrams if ":" not in d.source[0])
    return f"{wrong} datagrams over IPv4" if wrong else None


def version_2(evidence: Evidence) -> str | None:
    """The client begins with version 1, the server goes on with version 2."""
    first = next(evidence.server_side.packets(client=True, kind="initial"), None)
    if first is None or first.version != VERSION_1:
        return "the first Initial is not version 1"
    answers = {p.version for p in evidence.server_side.packets(client=False, kind="initial")}
    if answers != {VERSION_2}:
        return f"the server's Initial packets have versions {[hex(v) for v in sorted(answers)]}"
    later = {p.version for p in _long(evidence) if p.kind == "handshake"}
    return (
        None
        if later == {VERSION_2}
        else f"Handshake packets have versions {[hex(v) for v in sorted(later)]}"
    )


def paths_validated(*, address: bool) -> Check:
    """The first packet to each new address carries PATH_CHALLENGE, and it is answered."""

    def check(evidence: Evidence) -> str | None:
        addresses = evidence.client_addresses()
        evidence.facts["client addresses"] = [f"{host}:{port}" for host, port in addresses]
        if len(addresses) < 2:
            return "no rebinding happened"
        if address and len({host for host, _ in addresses}) < 2:
            return "only the port changed"
        for connection in evidence.connections:
            to_client = list(connection.sent(client=False, kind="1rtt"))
            for new in addresses[1:]:
                answered = [p for p in to_client if p.datagram.destination == new]
                if not answered:
                    return f"no packet to the new address {new[0]}:{new[1]}"
                if not answered[0].named("PATH_CHALLENGE"):
                    return f"first packet to {new[0]}:{new[1]} has no PATH_CHALLENGE"
            return _unanswered(
                connection.sent(client=True), _to_current_address(evidence, to_client), "server"
            )
        return "no connection"

    return check


def client_moved(evidence: Evidence) -> str | None:
    """The client came from a new address with a new connection ID, and the server validated it."""
    addresses = evidence.client_addresses()
    if len(addresses) != 2:
        return f"{len(addresses)} client addresses, expected 2"
    for connection in evidence.connections:
        used = [
            {
                p.destination
                for p in connection.sent(client=True, kind="1rtt")
                if p.datagram.source == address
            }
            for address in addresses
        ]
        # RFC 9000 section 9.5: no connection ID is used on two paths.
        if not used[1] or used[0] & used[1]:
            return "the client kept its destination connection ID"
        to_client = [
            p for p in connection.sent(client=False) if p.datagram.destination == addresses[1]
        ]
        if not any(p.named("PATH_CHALLENGE") for p in to_client):
            return "the server never challenged the new address"
        return _unanswered(connection.sent(client=True), to_client, "server")
    return "no connection"


def preferred_address_used(evidence: Evidence) -> str | None:
    """The client validated the preferred address and moved there with a new connection ID."""
    for connection in evidence.connections:
        preferred = connection.tls.preferred_address
        if preferred is None:
            return "the server announced no preferred address"
        there = [
            p for p in connection.sent(client=True) if p.datagram.destination == preferred.ipv4
        ]
        before = [
            p for p in connection.sent(client=True) if p.datagram.destination != preferred.ipv4
        ]
        if not there:
            return "the client never sent to the preferred address"
        if {p.destination for p in there} & {p.destination for p in before}:
            return "the client kept its destination connection ID"
        if not any(p.named("PATH_CHALLENGE") for p in there):
            return "the client did not validate the preferred address"
        back = [p for p in connection.sent(client=False) if p.datagram.source == preferred.ipv4]
        if not any(p.named("STREAM") for p in back):
            return "the server sent no data from its preferred address"
        return _unanswered(back, there, "client")
    return "no connection"


def _to_current_address(evidence: Evidence, packets: list[Packet]) -> list[Packet]:
    """Packets sent to where the client was then.

    A server may challenge the address the client has left, too (RFC 9000 section 9.3.3); nobody
    answers there.
    """
    since: dict[tuple[str, int], float] = {}
    for datagram in evidence.to_server():
        since.setdefault(datagram.source, datagram.time)
    starts = sorted((time, address) for address, time in since.items())
    current = []
    for packet in packets:
        known = [address for time, address in starts if time <= packet.datagram.time]
        if known and known[-1] == packet.datagram.destination:
            current.append(packet)
    return current


def _unanswered(answers: Iterable[Packet], asked: list[Packet], who: str) -> str | None:
    """A path challenged without any response; of several challenges one must be answered."""
    responses = {f["data"] for p in answers for f in p.named("PATH_RESPONSE")}
    challenges: dict[tuple[str, int], set[bytes]] = {}
    for packet in asked:
        for frame in packet.named("PATH_CHALLENGE"):
            challenges.setdefault(packet.datagram.destination, set()).add(frame["data"])
    for (host, port), data in challenges.items():
        if not data & responses:
            return f"{len(data)} PATH_CHALLENGE of the {who} to {host}:{port} unanswered"
    return None


def _long(evidence: Evidence) -> list[Packet]:
    return [
        p
        for client in (True, False)
        for p in evidence.server_side.packets(client=client)
        if p.kind in ("initial", "handshake", "0rtt", "retry")
    ]


def _server_crypto(connection: Connection) -> list[CryptoStream]:
    return [
        stream
        for (kind, client), stream in connection.crypto.items()
        if not client and kind == "handshake"
    ]
