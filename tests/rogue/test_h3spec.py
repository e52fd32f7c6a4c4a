"""The cases of h3spec 0.1.13 against our server, and their mirror images against our client, each
with the one code the RFCs name. Where a rule binds one role only, its mirror image is the nearest
rule for the other; there is none for 0-RTT packets, which servers do not send."""

from __future__ import annotations

from . import encode
from .arena import against_server
from .cases import (
    CLIENT,
    FLOW_CONTROL_ERROR,
    FRAME_ENCODING_ERROR,
    H3_CLOSED_CRITICAL_STREAM,
    H3_FRAME_UNEXPECTED,
    H3_MESSAGE_ERROR,
    H3_MISSING_SETTINGS,
    H3_SETTINGS_ERROR,
    MISSING_EXTENSION,
    NO_APPLICATION_PROTOCOL,
    PROTOCOL_VIOLATION,
    QPACK_DECODER_STREAM_ERROR,
    QPACK_DECOMPRESSION_FAILED,
    QPACK_ENCODER_STREAM_ERROR,
    SERVER,
    STREAM_LIMIT_ERROR,
    STREAM_STATE_ERROR,
    TRANSPORT_PARAMETER_ERROR,
    UNEXPECTED_MESSAGE,
    UNSUPPORTED_EXTENSION,
    Act,
    Case,
    parameters,
    parametrized,
    run,
)
from .encode import CONTROL, GET, OK, POST, QPACK_DECODER, QPACK_ENCODER, frame, headers, varints
from .peer import Plan, Rogue
from .tls import EARLY, END_OF_EARLY_DATA, HANDSHAKE, KEY_UPDATE, ONE_RTT, Identity, Script, message

ABSENT = 25
PREFERRED = bytes(24) + b"\4cid." + bytes(16)
PREFERRED_WITHOUT_ID = bytes(24) + b"\0" + bytes(16)


def fields(*values: int) -> Act:
    return lambda rogue: rogue.send(ONE_RTT, varints(*values))


TRANSPORT = [
    # RFC 9000 section 4.1
    Case("01", FLOW_CONTROL_ERROR, lambda r: r.send(ONE_RTT, encode.stream(0, 10**8, b"x"))),
    # RFC 9000 section 4.6
    Case(
        "02",
        STREAM_LIMIT_ERROR,
        lambda r: r.send(ONE_RTT, encode.stream(r.own(25 * 10**7), 0, b"x")),
    ),
    # RFC 9000 section 7.3
    Case("03", TRANSPORT_PARAMETER_ERROR, plan=parameters(_15=None)),
    # RFC 9000 section 18.2
    Case("04", TRANSPORT_PARAMETER_ERROR, plan=parameters(_0=b"original"), roles=(SERVER,)),
    Case("04", TRANSPORT_PARAMETER_ERROR, plan=parameters(_0=None), roles=(CLIENT,)),
    Case("05", TRANSPORT_PARAMETER_ERROR, plan=parameters(_13=PREFERRED), roles=(SERVER,)),
    Case(
        "05", TRANSPORT_PARAMETER_ERROR, plan=parameters(_13=PREFERRED_WITHOUT_ID), roles=(CLIENT,)
    ),
    # RFC 9000 section 18.2
    Case("06", TRANSPORT_PARAMETER_ERROR, plan=parameters(_16=b"retry")),
    Case("07", TRANSPORT_PARAMETER_ERROR, plan=parameters(_2=bytes(16)), roles=(SERVER,)),
    Case("07", TRANSPORT_PARAMETER_ERROR, plan=parameters(_2=bytes(15)), roles=(CLIENT,)),
    # RFC 9000 section 7.4
    Case("08", TRANSPORT_PARAMETER_ERROR, plan=parameters(_3=1090)),
    Case("09", TRANSPORT_PARAMETER_ERROR, plan=parameters(_10=30)),
    Case("10", TRANSPORT_PARAMETER_ERROR, plan=parameters(_11=1 << 15)),
    # RFC 9000 section 12.4
    Case("11", FRAME_ENCODING_ERROR, fields(0x20)),
    Case("12", PROTOCOL_VIOLATION, lambda r: r.send(ONE_RTT, b"")),
    # RFC 9000 section 17.2
    Case("13", PROTOCOL_VIOLATION, lambda r: r.send(HANDSHAKE, b"\1", first_bits=0x0C), early=True),
    # RFC 9000 section 12.5
    Case("14", PROTOCOL_VIOLATION, lambda r: r.send(HANDSHAKE, b"\x1a12345678"), early=True),
    # RFC 9000 section 17.3.1
    Case("15", PROTOCOL_VIOLATION, lambda r: r.send(ONE_RTT, b"\1", first_bits=0x18)),
    # RFC 9000 section 19.4
    Case(
        "16",
        STREAM_STATE_ERROR,
        lambda r: r.send(ONE_RTT, varints(4, r.others(uni=True), 0, 0)),
    ),
    # RFC 9000 section 19.5
    Case("17", STREAM_STATE_ERROR, lambda r: r.send(ONE_RTT, varints(5, r.others(ABSENT), 0))),
    # RFC 9000 section 19.7
    Case("18", PROTOCOL_VIOLATION, lambda r: r.send(ONE_RTT, b"\7\5token"), roles=(SERVER,)),
    Case("18", FRAME_ENCODING_ERROR, fields(7, 0), roles=(CLIENT,)),
    # RFC 9000 section 19.8
    Case(
        "19",
        STREAM_STATE_ERROR,
        lambda r: r.send(ONE_RTT, encode.stream(r.others(ABSENT), 0, b"x")),
    ),
    Case(
        "20",
        STREAM_STATE_ERROR,
        lambda r: r.send(ONE_RTT, encode.stream(r.others(uni=True), 0, b"x")),
    ),
    # RFC 9000 section 19.10
    Case("21", STREAM_STATE_ERROR, lambda r: r.send(ONE_RTT, varints(0x11, r.others(ABSENT), 9))),
    Case("22", STREAM_STATE_ERROR, lambda r: r.send(ONE_RTT, varints(0x11, r.own(uni=True), 9))),
    # RFC 9000 section 19.11
    Case("23", FRAME_ENCODING_ERROR, fields(0x12, (1 << 60) + 1)),
    # RFC 9000 section 19.14
    Case("24", FRAME_ENCODING_ERROR, fields(0x16, (1 << 60) + 1)),
    # RFC 9000 section 19.15
    Case(
        "25",
        FRAME_ENCODING_ERROR,
        lambda r: r.send(ONE_RTT, encode.new_connection_id(1, 2, b"whatever")),
    ),
    Case(
        "26", FRAME_ENCODING_ERROR, lambda r: r.send(ONE_RTT, encode.new_connection_id(1, 0, b""))
    ),
    # RFC 9000 section 19.20
    Case("27", PROTOCOL_VIOLATION, fields(0x1E), roles=(SERVER,)),
    Case(
        "27", PROTOCOL_VIOLATION, lambda r: r.send(HANDSHAKE, b"\x1e"), roles=(CLIENT,), early=True
    ),
    # RFC 9001 section 6
    Case(
        "28", UNEXPECTED_MESSAGE, lambda r: r.say(HANDSHAKE, message(KEY_UPDATE, b"\0")), early=True
    ),
    Case("29", UNEXPECTED_MESSAGE, lambda r: r.say(ONE_RTT, message(KEY_UPDATE, b"\0"))),
    # RFC 9001 section 8.1
    Case(
        "30",
        NO_APPLICATION_PROTOCOL,
        plan=lambda: Plan(Script(alpn=b"no-such-protocol")),
        roles=(SERVER,),
    ),
    Case("30", NO_APPLICATION_PROTOCOL, plan=lambda: Plan(Script(alpn=None)), roles=(CLIENT,)),
    # RFC 9001 section 8.2
    Case("31", MISSING_EXTENSION, plan=lambda: Plan(Script(parameters_type=None))),
    Case(
        "32", MISSING_EXTENSION, plan=lambda: Plan(Script(parameters_type=0xFFA5)), roles=(SERVER,)
    ),
    # RFC 8446 section 4.2: what was not asked for may not be answered.
    Case(
        "32",
        UNSUPPORTED_EXTENSION,
        plan=lambda: Plan(Script(parameters_type=0xFFA5)),
        roles=(CLIENT,),
    ),
    # RFC 9001 section 8.3
    Case(
        "33", UNEXPECTED_MESSAGE, lambda r: r.say(HANDSHAKE, message(END_OF_EARLY_DATA)), early=True
    ),
]


def on_request(client: bytes, server: bytes) -> Act:
    """Bytes on a request stream, if the rogue is a client, or a server. It does not end: the client
    has ended its half, and could say nothing any more."""
    return lambda rogue: rogue.write(0, client if rogue.is_client else server)


def on_uni(index: int, data: bytes, *, end: bool = False) -> Act:
    return lambda rogue: rogue.write(rogue.own(index, uni=True), data, end=end)


def malformed(client: list[encode.Field], server: list[encode.Field]) -> Act:
    return on_request(headers(client), headers(server))


HTTP = [
    # RFC 9114 section 4.1
    Case("H01", H3_FRAME_UNEXPECTED, on_request(*[frame(encode.DATA, b"x")] * 2), http=True),
    # RFC 9114 section 4.3
    Case("H02", H3_MESSAGE_ERROR, malformed([GET[0], *GET], [*OK, *OK]), http=True, stream=True),
    # RFC 9114 sections 4.3.1 and 4.3.2
    Case("H03", H3_MESSAGE_ERROR, malformed(GET[:2], [(b"a", b"b")]), http=True, stream=True),
    Case(
        "H04",
        H3_MESSAGE_ERROR,
        malformed([*GET, (b":foo", b"bar")], [*OK, (b":foo", b"bar")]),
        http=True,
        stream=True,
    ),
    # RFC 9114 section 4.3
    Case(
        "H05",
        H3_MESSAGE_ERROR,
        malformed([*GET[:3], (b"a", b"b"), GET[3]], [(b"a", b"b"), *OK]),
        http=True,
        stream=True,
    ),
    # RFC 9114 section 6.2.1
    Case(
        "H06",
        H3_MISSING_SETTINGS,
        on_uni(0, varints(CONTROL) + frame(0x21, b"grease")),
        http=True,
        begun=False,
    ),
    # RFC 9114 section 7.2.1
    Case("H07", H3_FRAME_UNEXPECTED, on_uni(0, frame(encode.DATA, b"x")), http=True),
    # RFC 9114 section 7.2.2
    Case("H08", H3_FRAME_UNEXPECTED, on_uni(0, headers(OK)), http=True),
    # RFC 9114 section 7.2.4
    Case("H09", H3_FRAME_UNEXPECTED, on_uni(0, encode.settings()), http=True),
    # RFC 9114 section 7.2.4.1
    Case(
        "H10",
        H3_SETTINGS_ERROR,
        on_uni(0, varints(CONTROL) + encode.settings((2, 1))),
        http=True,
        begun=False,
    ),
    # RFC 9114 section 7.2.3
    Case(
        "H11",
        H3_FRAME_UNEXPECTED,
        on_request(
            headers(POST) + frame(encode.CANCEL_PUSH, b"\0"),
            headers(OK) + frame(encode.CANCEL_PUSH, b"\0"),
        ),
        http=True,
    ),
    # RFC 9204 section 3.1
    Case(
        "H12",
        QPACK_DECOMPRESSION_FAILED,
        # Indexed, static: 99 in a 6-bit prefix.
        on_request(*[frame(encode.HEADERS, bytes([0, 0, 0xC0 | 63, 99 - 63]))] * 2),
        http=True,
    ),
    # RFC 9204 section 4.3.1
    Case(
        "H13",
        QPACK_ENCODER_STREAM_ERROR,
        # Set Dynamic Table Capacity: 31 + 2^20 - 31 in a 5-bit prefix.
        on_uni(1, bytes([QPACK_ENCODER, 0x20 | 31, 0xE1, 0xFF, 0x3F])),
        http=True,
    ),
    # RFC 9114 section 6.2.1
    Case("H14", H3_CLOSED_CRITICAL_STREAM, on_uni(0, b"", end=True), http=True),
    # RFC 9204 section 4.4.3
    Case("H15", QPACK_DECODER_STREAM_ERROR, on_uni(1, bytes([QPACK_DECODER, 0])), http=True),
]


@parametrized(TRANSPORT)
async def test_transport(case: Case, role: str, identity: Identity, ca: bytes) -> None:
    await run(case, role, identity, ca)


@parametrized(HTTP)
async def test_http(case: Case, role: str, identity: Identity, ca: bytes) -> None:
    await run(case, role, identity, ca)


async def test_34_crypto_in_0rtt(identity: Identity) -> None:
    async with against_server(Plan(), identity, early_data=True) as arena:
        await arena.until(lambda rogue: rogue.tls.tickets)
        plan = Plan(Script(ticket=arena.rogue.tls.tickets[0]))
        rogue = Rogue(plan, b"another.")
        rogue.send(EARLY, encode.crypto(0, b"x"))
        arena.again(rogue)
        await arena.until(lambda rogue: rogue.closed)
        assert arena.rogue.closed is not None
        assert arena.rogue.closed.code == PROTOCOL_VIOLATION
