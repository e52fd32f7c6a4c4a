"""The judge condemns what it must: each fact is tried on traffic with it and without it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from . import checks
from .dissect import Connection, Datagram, Packet, Trace
from .dissect.frames import Frame
from .dissect.keys import CHACHA20_POLY1305_SHA256, VERSION_1, VERSION_2
from .dissect.tls import INITIAL_MAX_STREAMS_BIDI, PREFERRED_ADDRESS
from .evidence import Evidence
from .files import compare

CLIENT, MOVED, SERVER, PREFERRED = (("127.0.0.1", port) for port in (5000, 5001, 4433, 4434))


class Script:
    """Writes down the packets of one connection, 10 ms apart."""

    def __init__(self) -> None:
        self.connection = Connection(b"odcid")
        self.datagrams: list[Datagram] = []

    def packet(
        self,
        kind: str,
        *frames: Frame,
        client: bool = True,
        size: int = 1200,
        ecn: int = 0,
        version: int = VERSION_1,
        cid: bytes = b"cid",
        token: bytes = b"",
        address: tuple[str, int] = CLIENT,
        server: tuple[str, int] = SERVER,
        generation: int = 0,
    ) -> Script:
        """One more packet, alone in its datagram."""
        source, destination = (address, server) if client else (server, address)
        number = len(self.datagrams)
        datagram = Datagram(
            number / 100, source, destination, ecn, number.to_bytes(2) + bytes(size - 2)
        )
        self.datagrams.append(datagram)
        self.connection.packets.append(
            Packet(
                datagram,
                client,
                kind,
                version,
                cid,
                b"" if client else b"server",
                token,
                size,
                number=number,
                generation=generation,
                payload_size=size,
                frames=list(frames),
            )
        )
        return self

    def trace(self) -> Trace:
        """What the dissector would have made of it."""
        trace = Trace([], {SERVER[1], PREFERRED[1]}, {})
        trace.datagrams = self.datagrams
        trace.connections = [self.connection]
        return trace

    def evidence(self, *, strict: bool = True, files: int = 1) -> Evidence:
        """The same traffic on both sides of the link."""
        trace = self.trace()
        return Evidence(trace, trace, files, strict)


def crypto(offset: int = 0) -> Frame:
    """A CRYPTO frame."""
    return Frame("CRYPTO", {"offset": offset, "data": b"x"})


def challenge(data: bytes = b"12345678") -> Frame:
    """A PATH_CHALLENGE frame."""
    return Frame("PATH_CHALLENGE", {"data": data})


def response(data: bytes = b"12345678") -> Frame:
    """A PATH_RESPONSE frame."""
    return Frame("PATH_RESPONSE", {"data": data})


def handshake() -> Script:
    """An ordinary beginning."""
    script = Script().packet("initial", crypto()).packet("initial", crypto(), client=False)
    return script.packet("handshake", crypto(), client=False).packet("handshake", crypto())


def amplifying(factor: float) -> Script:
    """A server that sends this many times what it got, with a long chain."""
    script = Script().packet("initial", crypto(), size=1000)
    script.packet("handshake", crypto(), client=False, size=int(1000 * factor)).packet("handshake")
    script.connection.crypto["handshake", False].highest = 8000
    return script


def retrying(*, number_goes_on: bool = True, token: bytes = b"token") -> Script:
    """A handshake with Retry."""
    script = Script().packet("initial", crypto()).packet("retry", client=False, token=b"token")
    script.packet("initial", crypto(), token=token).packet("initial", crypto(), client=False)
    if not number_goes_on:
        script.connection.packets[2].number = 0
    return script


def with_ecn(*, client: int = 2, server: int = 2, report: str = "ACK_ECN") -> Script:
    """Marked packets and reports."""
    script = handshake().packet("1rtt", Frame("ACK_ECN"), ecn=client)
    return script.packet("1rtt", Frame(report), client=False, ecn=server)


def rebound(*frames: Frame, answer: bytes = b"12345678") -> Script:
    """A client whose port changes; `frames` are in the first packet to the new one."""
    script = (
        handshake()
        .packet("1rtt", address=MOVED)
        .packet("1rtt", *frames, client=False, address=MOVED)
    )
    return script.packet("1rtt", response(answer), address=MOVED)


def migrating(cid: bytes = b"new", *frames: Frame) -> Script:
    """A client that moves by itself."""
    script = handshake().packet("1rtt").packet("1rtt", cid=cid, address=MOVED)
    script.packet("1rtt", *frames, client=False, address=MOVED)
    return script.packet("1rtt", response(), cid=cid, address=MOVED)


def preferring(cid: bytes = b"new", back: tuple[str, int] = PREFERRED) -> Script:
    """A client that follows the preferred address."""
    script = handshake()
    host = bytes([127, 0, 0, 1]) + PREFERRED[1].to_bytes(2)
    script.connection.tls.server_parameters[PREFERRED_ADDRESS] = (
        host + bytes(18) + b"\x03new" + bytes(16)
    )
    script.packet("1rtt", challenge(), cid=cid, server=PREFERRED)
    script.packet("1rtt", response(), client=False, server=PREFERRED)
    return script.packet("1rtt", Frame("STREAM", {"id": 0}), client=False, server=back)


def resuming(second: tuple[bool, int]) -> Evidence:
    """Two connections."""
    evidence = handshake().evidence()
    other = handshake().connection
    evidence.server_side.connections[0].tls.certificates = 1
    other.tls.resumed, other.tls.certificates = second
    evidence.server_side.connections.append(other)
    return evidence


def early(*, accepted: bool = True, late: int = 1000, size: int = 500) -> Evidence:
    """Requests as 0-RTT."""
    script = Script().packet("initial", crypto()).packet("initial", crypto(), client=False)
    if size:
        script.packet("0rtt", Frame("STREAM", {"id": 0}), size=size)
    script.packet("1rtt", size=late)
    script.connection.tls.early_data_accepted = accepted
    return script.evidence()


def suites(*offered: int, taken: int = CHACHA20_POLY1305_SHA256) -> Evidence:
    """A negotiation of cipher suites."""
    script = handshake()
    script.connection.tls.offered_suites, script.connection.tls.suite = list(offered), taken
    return script.evidence()


def streams(limit: int, used: int, files: int) -> Evidence:
    """Requests on streams of their own."""
    script = handshake()
    script.connection.tls.server_parameters[INITIAL_MAX_STREAMS_BIDI] = (
        limit | 0x80000000
    ).to_bytes(4)
    for number in range(used):
        script.packet("1rtt", Frame("STREAM", {"id": 4 * number}))
    return script.evidence(files=files)


def version_two(answer: int, later: int) -> Evidence:
    """Compatible version negotiation."""
    script = (
        Script()
        .packet("initial", crypto())
        .packet("initial", crypto(), client=False, version=answer)
    )
    return script.packet("handshake", client=False, version=later).evidence()


def link(near: Iterable[bytes], far: Iterable[bytes]) -> Evidence:
    """Datagrams before and behind a link."""
    sides = [
        Trace([Datagram(0.0, CLIENT, SERVER, 0, d) for d in side], {SERVER[1]}, {})
        for side in (near, far)
    ]
    return Evidence(sides[0], sides[1], 1, strict=True)


ANY_PORT, ANY_HOST = checks.paths_validated(address=False), checks.paths_validated(address=True)
HELLO = handshake().packet("initial", crypto())
UPDATED = handshake().packet("1rtt", generation=1)
SEALED = handshake().packet("1rtt")
SEALED.connection.packets[-1].frames = None

VERDICTS: list[tuple[Callable[[Evidence], str | None], Evidence, str]] = [
    (checks.handshakes(1), handshake().evidence(), ""),
    (checks.handshakes(2), handshake().evidence(), "1 handshakes"),
    (checks.handshakes(), handshake().evidence(files=3), "expected 3"),
    (checks.version_1_only, handshake().evidence(), ""),
    (checks.version_1_only, version_two(VERSION_2, VERSION_2), "versions"),
    (checks.decrypted, handshake().packet("1rtt").evidence(), ""),
    (checks.decrypted, SEALED.evidence(), "key log"),
    (checks.no_retry, handshake().evidence(), ""),
    (checks.no_retry, retrying().evidence(), "1 Retry"),
    (checks.several_client_hellos, HELLO.evidence(), ""),
    (checks.several_client_hellos, handshake().evidence(), "1 ClientHello"),
    (checks.only_chacha20, suites(CHACHA20_POLY1305_SHA256), ""),
    (checks.only_chacha20, suites(0x1301, CHACHA20_POLY1305_SHA256), "client offers"),
    (checks.only_chacha20, suites(CHACHA20_POLY1305_SHA256, taken=0x1301), "server chose"),
    (checks.stream_limit, streams(100, 3, 3), ""),
    (checks.stream_limit, streams(1001, 3, 3), "is 1001"),
    (checks.stream_limit, streams(100, 2, 3), "2 streams"),
    (checks.retried, retrying().evidence(), ""),
    (checks.retried, handshake().evidence(), "no Retry"),
    (checks.retried, retrying(token=b"").evidence(), "no Initial with a token"),
    (checks.retried, retrying(token=b"other").evidence(), "another token"),
    (checks.retried, retrying(number_goes_on=False).evidence(), "packet numbers"),
    (checks.resumed, resuming((True, 0)), ""),
    (checks.resumed, resuming((False, 1)), "resumed"),
    (checks.resumed, handshake().evidence(), "1 connections"),
    (checks.early_data, early(), ""),
    (checks.early_data, early(size=0), "no 0-RTT"),
    (checks.early_data, early(accepted=False), "not accept"),
    (checks.early_data, early(late=5001), "5001 bytes"),
    (checks.key_updated, UPDATED.packet("1rtt", client=False, generation=1).evidence(), ""),
    (checks.key_updated, handshake().packet("1rtt", generation=1).evidence(), "from the server"),
    (checks.ecn, with_ecn().evidence(), ""),
    (checks.ecn, with_ecn(client=0).evidence(), "client marks no"),
    (checks.ecn, with_ecn(server=3).evidence(), "CE"),
    (checks.ecn, with_ecn(report="ACK").evidence(), "server sends no ACK"),
    (checks.amplification, amplifying(3.0).evidence(), ""),
    (checks.amplification, amplifying(3.1).evidence(), "3.10 times"),
    (checks.amplification, amplifying(3.1).evidence(strict=False), ""),
    (checks.amplification, amplifying(4.1).evidence(strict=False), "4.10 times"),
    (checks.amplification, handshake().evidence(), "CRYPTO was"),
    (checks.lossy, link([b"a", b"b"], [b"a"]), ""),
    (checks.lossy, link([b"a"], [b"a"]), "lost nothing"),
    (checks.corrupting, link([b"a"], [b"b"]), ""),
    (checks.corrupting, link([b"a", b"b"], [b"a"]), "corrupted nothing"),
    (checks.ipv6_only, handshake().evidence(), "over IPv4"),
    (checks.ipv6_only, Script().packet("initial", address=("::1", 5000)).evidence(), ""),
    (checks.version_2, version_two(VERSION_2, VERSION_2), ""),
    (checks.version_2, version_two(VERSION_1, VERSION_2), "Initial packets have"),
    (checks.version_2, version_two(VERSION_2, VERSION_1), "Handshake packets have"),
    (ANY_PORT, rebound(challenge()).evidence(), ""),
    (ANY_PORT, rebound().evidence(), "no PATH_CHALLENGE"),
    (ANY_PORT, rebound(challenge(), answer=b"87654321").evidence(), "unanswered"),
    (ANY_PORT, handshake().evidence(), "no rebinding"),
    (ANY_HOST, rebound(challenge()).evidence(), "only the port"),
    (checks.client_moved, migrating(b"new", challenge()).evidence(), ""),
    (checks.client_moved, migrating(b"cid", challenge()).evidence(), "kept its"),
    (checks.client_moved, migrating(b"new").evidence(), "never challenged"),
    (checks.client_moved, handshake().evidence(), "1 client addresses"),
    (checks.preferred_address_used, preferring().evidence(), ""),
    (checks.preferred_address_used, preferring(b"cid").evidence(), "kept its"),
    (checks.preferred_address_used, preferring(back=SERVER).evidence(), "no data from"),
    (checks.preferred_address_used, handshake().evidence(), "announced no"),
]


@pytest.mark.parametrize(("check", "evidence", "why"), VERDICTS)
def test_verdict(check: Callable[[Evidence], str | None], evidence: Evidence, why: str) -> None:
    """Traffic that has the fact passes; other traffic is refused for the right reason."""
    verdict = check(evidence)
    assert (verdict is None) if not why else (verdict is not None and why in verdict), verdict


def test_challenge_to_an_abandoned_address_needs_no_answer() -> None:
    """RFC 9000 section 9.3.3: a server may probe the address that the client has left."""
    script = rebound(challenge()).packet("1rtt", challenge(b"to-old.."), client=False)
    assert ANY_PORT(script.evidence()) is None


def test_a_lost_challenge_may_be_repeated() -> None:
    """Only a path without any answered challenge fails."""
    script = rebound(challenge(b"lost....")).packet(
        "1rtt", challenge(b"again..."), client=False, address=MOVED
    )
    assert ANY_PORT(script.evidence()) is not None
    assert ANY_PORT(script.packet("1rtt", response(b"again..."), address=MOVED).evidence()) is None


@pytest.mark.parametrize(
    ("got", "why"),
    [
        ({"a": b"1", "b": b"2"}, None),
        ({"a": b"1"}, "1 of 2 files missing"),
        ({"a": b"1", "b": b"x"}, "b differs"),
        ({"a": b"1", "b": b"2", "c": b""}, "1 files nobody asked for"),
    ],
)
def test_downloads_are_compared_byte_for_byte(
    tmp_path: Path, got: dict[str, bytes], why: str | None
) -> None:
    """Missing, changed and additional files are all found."""
    for folder, files in (("www", {"a": b"1", "b": b"2"}), ("downloads", got)):
        (tmp_path / folder).mkdir()
        for name, body in files.items():
            (tmp_path / folder / name).write_bytes(body)
    verdict = compare(tmp_path / "www", tmp_path / "downloads")
    assert (verdict is None) if why is None else (verdict is not None and why in verdict)
