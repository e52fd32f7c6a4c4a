"""What audits found wanting in other stacks, and the rules of HTTP/3 and QPACK that h3spec leaves
out, over the wire against both roles. Those that need clocks, losses or other ports are in
`rust/core/tests/conformance`."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from . import encode
from .arena import against_client, against_server
from .cases import (
    CLIENT,
    CONNECTION_ID_LIMIT_ERROR,
    CRYPTO_BUFFER_EXCEEDED,
    DECRYPT_ERROR,
    FINAL_SIZE_ERROR,
    FLOW_CONTROL_ERROR,
    FRAME_ENCODING_ERROR,
    H3_CLOSED_CRITICAL_STREAM,
    H3_DATAGRAM_ERROR,
    H3_EXCESSIVE_LOAD,
    H3_FRAME_ERROR,
    H3_FRAME_UNEXPECTED,
    H3_ID_ERROR,
    H3_MESSAGE_ERROR,
    H3_REQUEST_INCOMPLETE,
    H3_SETTINGS_ERROR,
    H3_STREAM_CREATION_ERROR,
    HANDSHAKE_FAILURE,
    ILLEGAL_PARAMETER,
    PROTOCOL_VERSION,
    PROTOCOL_VIOLATION,
    QPACK_DECODER_STREAM_ERROR,
    QPACK_DECOMPRESSION_FAILED,
    QPACK_ENCODER_STREAM_ERROR,
    SERVER,
    STREAM_LIMIT_ERROR,
    STREAM_STATE_ERROR,
    TRANSPORT_PARAMETER_ERROR,
    Act,
    Case,
    begin_http,
    parameters,
    parametrized,
    run,
)
from .encode import (
    CONTROL,
    GET,
    OK,
    POST,
    PUSH,
    QPACK_DECODER,
    QPACK_ENCODER,
    Field,
    frame,
    headers,
    varints,
)
from .peer import Plan, Rogue
from .tls import (
    CERTIFICATE_REQUEST,
    CLIENT_HELLO,
    FINISHED,
    HANDSHAKE,
    INITIAL,
    NEW_SESSION_TICKET,
    ONE_RTT,
    SERVER_HELLO,
    Identity,
    Script,
    extension,
    message,
    vector,
)

LAST = (1 << 62) - 1
# Reserved, and never in use (RFC 9000 section 15).
OTHER_VERSION = b"\x1a\x2a\x3a\x4a"
ID_OF_21 = varints(0x18, 1, 0) + b"\x15" + bytes(21 + 16)


def raw(payload: Callable[[Rogue], bytes] | bytes) -> Act:
    """A 1-RTT packet with this payload."""
    return lambda rogue: rogue.send(
        ONE_RTT, payload if isinstance(payload, bytes) else payload(rogue)
    )


def many_ids(rogue: Rogue) -> None:
    for sequence in range(1, 12):
        cid = bytes([sequence]) * 8
        rogue.send(ONE_RTT, encode.new_connection_id(sequence, 0, cid))


def two(first: Callable[[Rogue], bytes], second: Callable[[Rogue], bytes]) -> Act:
    """Two frames in one packet."""
    return raw(lambda rogue: first(rogue) + second(rogue))


TRANSPORT = [
    # RFC 9000 section 7.3
    Case("source_id_of_another", TRANSPORT_PARAMETER_ERROR, plan=parameters(_15=b"mismatch")),
    Case(
        "original_id_of_another",
        TRANSPORT_PARAMETER_ERROR,
        plan=parameters(_0=b"mismatch"),
        roles=(CLIENT,),
    ),
    # RFC 9000 section 18.2
    Case("active_connection_id_limit_1", TRANSPORT_PARAMETER_ERROR, plan=parameters(_14=1)),
    # RFC 9000 section 4.6
    Case("streams_above_2_60", TRANSPORT_PARAMETER_ERROR, plan=parameters(_8=(1 << 60) + 1)),
    # RFC 9000 section 7.4
    Case("parameter_too_long", TRANSPORT_PARAMETER_ERROR, plan=parameters(_4=b"\1\2\3")),
    # RFC 9000 section 19.8
    Case("stream_end_past_2_62", FRAME_ENCODING_ERROR, raw(lambda r: encode.stream(0, LAST, b"x"))),
    # RFC 9000 section 19.6
    Case("crypto_end_past_2_62", FRAME_ENCODING_ERROR, raw(encode.crypto(LAST, b"x"))),
    # RFC 9000 section 7.5
    Case("crypto_far_ahead", CRYPTO_BUFFER_EXCEEDED, raw(encode.crypto(1 << 30, b"x"))),
    # RFC 9000 section 4.6
    Case(
        "reset_past_the_stream_limit",
        STREAM_LIMIT_ERROR,
        raw(lambda r: varints(4, r.own(1 << 40), 0, 0)),
    ),
    # RFC 9000 section 19.5
    Case(
        "stop_of_a_receive_only_stream",
        STREAM_STATE_ERROR,
        raw(lambda r: varints(5, r.own(uni=True), 0)),
    ),
    # RFC 9000 section 19.13
    Case(
        "blocked_on_a_send_only_stream",
        STREAM_STATE_ERROR,
        raw(lambda r: varints(0x15, r.others(uni=True), 0)),
    ),
    # RFC 9000 section 4.5
    Case(
        "reset_past_the_window",
        FLOW_CONTROL_ERROR,
        raw(lambda r: varints(4, r.own(uni=True), 0, 1 << 40)),
    ),
    # RFC 9000 section 4.5
    Case(
        "final_size_below_what_was_sent",
        FINAL_SIZE_ERROR,
        two(
            lambda r: encode.stream(r.own(3, uni=True), 0, b"\x21" + bytes(9)),
            lambda r: varints(4, r.own(3, uni=True), 0, 5),
        ),
    ),
    # RFC 9000 section 19.3.1
    Case("ack_range_below_zero", FRAME_ENCODING_ERROR, raw(varints(2, 3, 0, 0, 5))),
    Case("second_ack_range_below_zero", FRAME_ENCODING_ERROR, raw(varints(2, 3, 0, 1, 0, 0, 9))),
    # RFC 9000 section 13.1
    Case("ack_of_packets_never_sent", PROTOCOL_VIOLATION, raw(varints(2, 1 << 30, 0, 0, 0))),
    # RFC 9000 section 12.4
    Case("long_form_of_a_frame_type", PROTOCOL_VIOLATION, raw(b"\x40\x01")),
    # RFC 9000 section 12.4
    Case("frame_cut_short", FRAME_ENCODING_ERROR, raw(b"\x10\xc0")),
    # RFC 9000 section 19.15
    Case("connection_id_of_21_bytes", FRAME_ENCODING_ERROR, raw(ID_OF_21)),
    # RFC 9000 section 5.1.1
    Case("more_connection_ids_than_allowed", CONNECTION_ID_LIMIT_ERROR, many_ids),
    # RFC 9000 section 19.15
    Case(
        "sequence_number_with_two_ids",
        PROTOCOL_VIOLATION,
        raw(
            encode.new_connection_id(1, 0, b"this one")
            + encode.new_connection_id(1, 0, b"that one")
        ),
    ),
    # RFC 9000 section 19.16
    Case("retirement_of_an_id_never_issued", PROTOCOL_VIOLATION, raw(varints(0x19, 1000))),
    Case("retirement_of_the_id_in_use", PROTOCOL_VIOLATION, raw(varints(0x19, 0))),
    # RFC 9000 section 17.2.4
    Case(
        "stream_in_a_handshake_packet",
        PROTOCOL_VIOLATION,
        lambda r: r.send(HANDSHAKE, encode.stream(0, 0, b"x")),
        early=True,
    ),
    Case(
        "application_close_in_an_initial_packet",
        PROTOCOL_VIOLATION,
        lambda r: r.send(INITIAL, varints(0x1D, 0, 0)),
        early=True,
    ),
]


def streams(*opened: tuple[int, bytes]) -> Act:
    """Bytes on unidirectional streams, by their index."""

    def act(rogue: Rogue) -> None:
        for index, data in opened:
            rogue.write(rogue.own(index, uni=True), data)

    return act


def request(*parts: bytes, end: bool = False) -> Act:
    """What a client may say on its request stream."""
    return lambda rogue: rogue.write(0, b"".join(parts), end=end)


def answered(head: list[Field], *parts: bytes) -> Act:
    return request(headers(head), *parts)


def either(client: bytes, server: bytes) -> Act:
    return lambda rogue: rogue.write(0, client if rogue.is_client else server)


def http(name: str, code: int, act: Act, *roles: str, begun: bool = True) -> Case:
    return Case(name, code, act, roles or (SERVER, CLIENT), http=True, begun=begun)


def section(data: bytes) -> Act:
    """A field section on the request stream."""
    return request(frame(encode.HEADERS, data))


BLOCKED = frame(encode.HEADERS, b"\2\0\x80")


def too_many_blocked(rogue: Rogue) -> None:
    """Field sections that wait for the table, on more streams than announced."""
    for index in range(110):
        rogue.write(index << 2, BLOCKED)


def stop_of_control(rogue: Rogue) -> None:
    rogue.send(ONE_RTT, varints(5, rogue.others(uni=True), 0))


HTTP = [
    # RFC 9114 section 6.2.1
    http("second_control_stream", H3_STREAM_CREATION_ERROR, streams((1, varints(CONTROL)))),
    # RFC 9204 section 4.2
    http("second_encoder_stream", H3_STREAM_CREATION_ERROR, streams((1, b"\2"), (2, b"\2"))),
    http("second_decoder_stream", H3_STREAM_CREATION_ERROR, streams((1, b"\3"), (2, b"\3"))),
    # RFC 9204 section 4.2
    http(
        "encoder_stream_closed",
        H3_CLOSED_CRITICAL_STREAM,
        lambda r: r.write(r.own(1, uni=True), varints(QPACK_ENCODER), end=True),
    ),
    http(
        "decoder_stream_closed",
        H3_CLOSED_CRITICAL_STREAM,
        lambda r: r.write(r.own(1, uni=True), varints(QPACK_DECODER), end=True),
    ),
    # RFC 9114 section 6.2.1
    http(
        "control_stream_reset",
        H3_CLOSED_CRITICAL_STREAM,
        lambda r: r.send(ONE_RTT, varints(4, r.own(uni=True), 0, 3)),
    ),
    http("control_stream_not_wanted", H3_CLOSED_CRITICAL_STREAM, stop_of_control),
    # RFC 9114 section 6.2.2
    http("push_stream_of_a_client", H3_STREAM_CREATION_ERROR, streams((1, varints(PUSH))), SERVER),
    # RFC 9114 sections 4.6 and 6.2.2
    http("push_that_was_not_allowed", H3_ID_ERROR, streams((1, varints(PUSH, 0))), CLIENT),
    # RFC 9114 section 6.1
    http(
        "request_of_a_server", H3_STREAM_CREATION_ERROR, lambda r: r.write(1, headers(GET)), CLIENT
    ),
    # RFC 9114 section 7.2.5
    http(
        "push_promise_of_a_client",
        H3_FRAME_UNEXPECTED,
        request(frame(encode.PUSH_PROMISE, b"\0\0\0")),
        SERVER,
    ),
    # RFC 9114 section 7.2.5
    http(
        "push_promise_that_was_not_allowed",
        H3_ID_ERROR,
        answered(OK, frame(encode.PUSH_PROMISE, b"\0\0\0\xd1")),
        CLIENT,
    ),
    # RFC 9114 section 7.2.7
    http(
        "max_push_id_of_a_server",
        H3_FRAME_UNEXPECTED,
        streams((0, frame(encode.MAX_PUSH_ID, b"\0"))),
        CLIENT,
    ),
    # RFC 9114 section 7.2.7
    http(
        "max_push_id_that_falls",
        H3_ID_ERROR,
        streams((0, frame(encode.MAX_PUSH_ID, b"\5") + frame(encode.MAX_PUSH_ID, b"\4"))),
        SERVER,
    ),
    # RFC 9114 section 7.2.3
    http(
        "cancel_of_a_push_never_promised",
        H3_ID_ERROR,
        streams((0, frame(encode.CANCEL_PUSH, b"\5"))),
    ),
    # RFC 9114 section 5.2
    http("goaway_that_rises", H3_ID_ERROR, streams((0, frame(7, b"\4") + frame(7, b"\x08")))),
    # RFC 9114 section 7.2.6
    http("goaway_of_no_request", H3_ID_ERROR, streams((0, frame(7, b"\1"))), CLIENT),
    # RFC 9114 section 7.1
    http("goaway_with_a_tail", H3_FRAME_ERROR, streams((0, frame(7, b"\0\0")))),
    # RFC 9114 section 7.2.6
    http("goaway_on_a_request_stream", H3_FRAME_UNEXPECTED, request(frame(7, b"\0"))),
    # RFC 9114 section 7.2.4
    http("settings_on_a_request_stream", H3_FRAME_UNEXPECTED, request(encode.settings())),
    # RFC 9114 section 7.2.4
    http(
        "setting_sent_twice",
        H3_SETTINGS_ERROR,
        streams((0, varints(CONTROL) + encode.settings((6, 1), (6, 1)))),
        begun=False,
    ),
    # RFC 9297 section 2.1.1
    http(
        "flag_of_2",
        H3_SETTINGS_ERROR,
        streams((0, varints(CONTROL) + encode.settings((0x33, 2)))),
        begun=False,
    ),
    # RFC 9114 section 7.1
    http(
        "settings_cut_short",
        H3_FRAME_ERROR,
        streams((0, varints(CONTROL) + frame(encode.SETTINGS, b"\6"))),
        begun=False,
    ),
    *(
        # RFC 9114 section 7.2.8
        http(f"frame_of_http_2_{kind}", H3_FRAME_UNEXPECTED, streams((0, frame(kind))))
        for kind in (2, 6, 8, 9)
    ),
    *(
        http(f"frame_of_http_2_{kind}_in_a_message", H3_FRAME_UNEXPECTED, request(frame(kind)))
        for kind in (2, 6, 8, 9)
    ),
    # RFC 9114 section 4.1
    http(
        "headers_behind_trailers",
        H3_FRAME_UNEXPECTED,
        either(*(headers(head) + headers([(b"a", b"b")]) * 2 for head in (POST, OK))),
    ),
    http(
        "data_behind_trailers",
        H3_FRAME_UNEXPECTED,
        either(
            *(headers(head) + headers([(b"a", b"b")]) + frame(encode.DATA) for head in (POST, OK))
        ),
    ),
    # RFC 9114 section 7.1
    http(
        "message_cut_inside_a_frame",
        H3_FRAME_ERROR,
        lambda r: r.write(0, headers(POST if r.is_client else OK) + b"\0\5x", end=True),
    ),
    # RFC 9204 section 2.2.3
    http("table_entry_that_is_not_there", QPACK_DECOMPRESSION_FAILED, section(b"\0\0\x80")),
    # RFC 9204 section 4.5.1.1
    http("insert_count_past_the_table", QPACK_DECOMPRESSION_FAILED, section(b"\xff\xff\x7f\0")),
    # RFC 9204 section 4.5.1.2
    http("negative_base", QPACK_DECOMPRESSION_FAILED, section(b"\2\x85\x80")),
    # RFC 9204 section 2.2
    http("section_cut_short", QPACK_DECOMPRESSION_FAILED, section(b"\0\0\x51")),
    # RFC 9204 section 4.1.1
    http("integer_too_large", QPACK_DECOMPRESSION_FAILED, section(b"\0\0\xff" + b"\xff" * 10)),
    # RFC 9204 section 2.1.2
    http("too_many_blocked_streams", QPACK_DECOMPRESSION_FAILED, too_many_blocked, SERVER),
    # RFC 9204 section 4.3.4
    http(
        "duplicate_of_nothing",
        QPACK_ENCODER_STREAM_ERROR,
        streams((1, varints(QPACK_ENCODER) + b"\x05")),
    ),
    # RFC 9204 section 3.2.2
    http(
        "entry_larger_than_the_table",
        QPACK_ENCODER_STREAM_ERROR,
        streams((1, varints(QPACK_ENCODER) + b"\x41a\1b")),
    ),
    # RFC 9204 section 4.4.1
    http(
        "acknowledgement_of_no_section",
        QPACK_DECODER_STREAM_ERROR,
        streams((1, varints(QPACK_DECODER) + b"\x85")),
    ),
    # RFC 9204 section 4.4.3
    http(
        "increment_past_what_was_sent",
        QPACK_DECODER_STREAM_ERROR,
        streams((1, varints(QPACK_DECODER) + b"\x3f\x80\x80\x01")),
    ),
    # RFC 9297 section 2.1
    http(
        "datagram_without_a_request",
        H3_DATAGRAM_ERROR,
        raw(b"\x30" + varints(1 << 61)),
    ),
]

MALFORMED: dict[str, tuple[list[Field], bytes]] = {
    # RFC 9114 sections 4.1.2 and 4.2
    "connection_specific": ([(b"connection", b"close")], b""),
    "transfer_encoding": ([(b"transfer-encoding", b"chunked")], b""),
    "keep_alive": ([(b"keep-alive", b"1")], b""),
    "te": ([(b"te", b"gzip")], b""),
    # RFC 9114 section 4.2
    "upper_case": ([(b"Name", b"x")], b""),
    # RFC 9114 section 10.3
    "line_feed": ([(b"name", b"x\ny")], b""),
    "nul": ([(b"name", b"x\0y")], b""),
    "empty_name": ([(b"", b"x")], b""),
    # RFC 9114 section 4.1.2
    "two_content_lengths": ([(b"content-length", b"1"), (b"content-length", b"2")], b""),
    "content_length_that_is_no_number": ([(b"content-length", b"+1")], b""),
    # RFC 9114 section 4.1.2
    "content_beyond_its_length": ([(b"content-length", b"2")], frame(encode.DATA, b"abc")),
    # RFC 9114 section 4.3
    "pseudo_field_in_trailers": ([], headers([(b":path", b"/")])),
}


def malformed(extra: list[Field], rest: bytes) -> Act:
    return either(*(headers([*head, *extra]) + rest for head in (POST, OK)))


MESSAGES = [
    *(
        Case(name, H3_MESSAGE_ERROR, malformed(*parts), http=True, stream=True)
        for name, parts in MALFORMED.items()
    ),
    # RFC 9114 section 4.1.2
    Case(
        "content_short_of_its_length",
        H3_MESSAGE_ERROR,
        request(headers([*POST, (b"content-length", b"4")]), frame(encode.DATA, b"abc"), end=True),
        (SERVER,),
        http=True,
        stream=True,
    ),
    # RFC 9114 section 4.1
    Case(
        "nothing_at_all",
        H3_REQUEST_INCOMPLETE,
        request(end=True),
        (SERVER,),
        http=True,
        stream=True,
    ),
    *(
        Case(
            f"status_{status}",
            H3_MESSAGE_ERROR,
            answered([(b":status", status.encode())]),
            (CLIENT,),
            http=True,
            stream=True,
        )
        for status in ("101", "20", "2x0")
    ),
]


@parametrized(TRANSPORT)
async def test_transport(case: Case, role: str, identity: Identity, ca: bytes) -> None:
    await run(case, role, identity, ca)


@parametrized(HTTP)
async def test_http(case: Case, role: str, identity: Identity, ca: bytes) -> None:
    await run(case, role, identity, ca)


@parametrized(MESSAGES)
async def test_messages(case: Case, role: str, identity: Identity, ca: bytes) -> None:
    await run(case, role, identity, ca)


# Small on the wire, but each counts 32 bytes more (RFC 9114 section 4.2.2).
MANY = [(b"a", b"")] * 1000


async def test_fields_count_32_bytes_more_at_servers(identity: Identity) -> None:
    async with against_server(Plan(), identity) as arena:
        await arena.until(lambda rogue: rogue.ready)
        arena.act(begin_http)
        arena.act(request(headers([*GET, *MANY]), end=True))
        await arena.until(lambda rogue: 0 in rogue.ended)
        assert bytes(arena.rogue.streams[0]).endswith(b"431 Request Header Fields Too Large\n")
        # In trailers there is nothing left to answer.
        arena.act(lambda rogue: rogue.write(4, headers(POST) + headers(MANY), end=True))
        await arena.until(lambda rogue: next(rogue.heard("RESET_STREAM"), None))
        _, frame = next(arena.rogue.heard("RESET_STREAM"))
        assert (frame["id"], frame["error"]) == (4, H3_EXCESSIVE_LOAD)
        assert arena.rogue.closed is None


@pytest.mark.parametrize("parts", [headers([*OK, *MANY]), headers(OK) + headers(MANY)])
async def test_fields_count_32_bytes_more_at_clients(
    identity: Identity, ca: bytes, parts: bytes
) -> None:
    async with against_client(Plan(), identity, ca) as arena:
        await arena.until(lambda rogue: 0 in rogue.ended)
        arena.act(begin_http)
        arena.act(request(parts))
        await arena.until(lambda rogue: next(rogue.heard("STOP_SENDING"), None))
        _, frame = next(arena.rogue.heard("STOP_SENDING"))
        assert (frame["id"], frame["error"]) == (0, H3_EXCESSIVE_LOAD)


async def test_noise_of_any_length_disturbs_nobody(identity: Identity) -> None:
    """Header protection wants a sample of 16 bytes, four behind the packet number's begin."""
    async with against_server(Plan(), identity) as arena:
        await arena.until(lambda rogue: rogue.ready)

        def noise(rogue: Rogue) -> None:
            for length in range(60):
                for first in (0x40, 0x5F, 0xC0, 0xE3):
                    rogue.outgoing.append((bytes([first]) + rogue.dcid + bytes(60))[:length])
                    long = bytes([first]) + bytes([0, 0, 0, 1, 8]) + rogue.dcid + bytes(60)
                    rogue.outgoing.append(long[:length])

        arena.act(noise)
        arena.act(begin_http)
        arena.act(request(headers(GET), end=True))
        await arena.until(lambda rogue: 0 in rogue.ended)
        assert bytes(arena.rogue.streams[0]).endswith(b"hello")


# RFC 9000 sections 5.2.1 and 12.2
async def test_packets_of_other_connections_and_versions_are_ignored(
    identity: Identity, ca: bytes
) -> None:
    for against in (
        against_server(Plan(silent=frozenset({HANDSHAKE})), identity),
        against_client(Plan(silent=frozenset({HANDSHAKE})), identity, ca),
    ):
        async with against as arena:
            await arena.until(lambda rogue: rogue.has_keys(HANDSHAKE))

            def act(rogue: Rogue) -> None:
                violation = b"\x1a12345678"
                other = bytearray(rogue.seal(HANDSHAKE, violation))
                other[1:5] = OTHER_VERSION
                rogue.outgoing.append(bytes(other))
                stranger = rogue.seal(HANDSHAKE, violation, dcid=b"stranger")
                rogue.plan.silent = frozenset()
                rogue.outgoing.append(rogue.seal(HANDSHAKE, b"\1") + stranger)

            arena.act(act)
            await arena.until(lambda rogue: rogue.ready)
            assert arena.rogue.closed is None


# RFC 9000 sections 5.2.2 and 6.1
async def test_versions_are_negotiated_with_those_who_sent_enough(identity: Identity) -> None:
    async with against_server(Plan(), identity) as arena:
        await arena.until(lambda rogue: rogue.ready)

        def act(rogue: Rogue) -> None:
            ids = b"\x08unheard.\x08" + rogue.scid
            unknown = b"\xc0" + OTHER_VERSION + ids
            rogue.outgoing.append(unknown.ljust(1199, b"\0"))
            # Nobody is told of versions who tells of versions.
            rogue.outgoing.append((b"\xc0\0\0\0\0" + ids).ljust(1200, OTHER_VERSION[:1]))
            rogue.outgoing.append(unknown.ljust(1200, b"\0"))
            rogue.send(ONE_RTT, b"\1")

        arena.act(act)
        await arena.settle()
        await arena.until(lambda rogue: rogue.negotiations)
        (told,) = arena.rogue.negotiations
        assert (told.destination, told.source) == (arena.rogue.scid, b"unheard.")
        assert OTHER_VERSION not in told.packet[23:]
        assert b"\0\0\0\1" in told.packet[23:]


# RFC 9000 section 17.4
async def test_the_spin_bit_is_always_0(identity: Identity) -> None:
    async with against_server(Plan(), identity) as arena:
        await arena.until(lambda rogue: rogue.ready)
        for spin in (0x20, 0, 0x20):
            arena.act(lambda rogue, spin=spin: rogue.send(ONE_RTT, b"\1", first_bits=spin))
            await arena.settle()
        assert len(arena.rogue.first_bytes) > 3
        assert not any(first & 0x20 for first in arena.rogue.first_bytes)


def ticket(limit: int) -> bytes:
    """NewSessionTicket that allows so many bytes of early data (RFC 8446 section 4.6.1)."""
    body = struct.pack("!II", 3600, 0) + vector(1, b"nonce") + vector(2, b"ticket")
    return message(NEW_SESSION_TICKET, body + vector(2, extension(42, struct.pack("!I", limit))))


def rewritten(kind: int, old: bytes, new: bytes) -> Callable[[], Plan]:
    """A plan that changes the messages of a kind, without changing their length."""
    assert len(old) == len(new)
    change = lambda sent, data: data.replace(old, new) if sent == kind else data  # noqa: E731
    return lambda: Plan(Script(rewrite=change))


def compatible(kind: int, data: bytes) -> bytes:
    """A ClientHello with a legacy_session_id."""
    if kind != CLIENT_HELLO:
        return data
    body = data[4:38] + vector(1, bytes(32)) + data[39:]
    return message(kind, body)


TLS = [
    # RFC 9001 section 4.4
    Case(
        "certificate_request_after_the_handshake",
        PROTOCOL_VIOLATION,
        lambda r: r.say(ONE_RTT, message(CERTIFICATE_REQUEST, vector(1, b"context") + b"\0\0")),
        (CLIENT,),
    ),
    # RFC 9001 section 4.6.1
    Case(
        "ticket_for_some_early_data",
        PROTOCOL_VIOLATION,
        lambda r: r.say(ONE_RTT, ticket(1000)),
        (CLIENT,),
    ),
    # RFC 9001 section 4.2
    Case(
        "no_tls_1_3",
        PROTOCOL_VERSION,
        plan=rewritten(CLIENT_HELLO, b"\0\x2b\0\3\2\3\4", b"\0\x2b\0\3\2\3\3"),
        roles=(SERVER,),
    ),
    # RFC 9001 section 8.4
    Case(
        "compatibility_mode",
        PROTOCOL_VIOLATION,
        plan=lambda: Plan(Script(rewrite=compatible)),
        roles=(SERVER,),
    ),
    # RFC 8446 section 4.1.1
    Case(
        "no_supported_group",
        HANDSHAKE_FAILURE,
        plan=rewritten(CLIENT_HELLO, b"\0\x0a\0\4\0\2\0\x1d", b"\0\x0a\0\4\0\2\1\x1d"),
        roles=(SERVER,),
    ),
    # RFC 8446 section 4.1.3
    Case(
        "cipher_suite_that_was_not_offered",
        ILLEGAL_PARAMETER,
        plan=rewritten(SERVER_HELLO, b"\x13\1\0\0", b"\x13\4\0\0"),
        roles=(CLIENT,),
    ),
    # RFC 9001 section 4.8
    Case("finished_that_does_not_verify", DECRYPT_ERROR, plan=lambda: Plan(Script(rewrite=spoilt))),
]


def spoilt(kind: int, data: bytes) -> bytes:
    """A Finished with one bit changed."""
    return data[:-1] + bytes([data[-1] ^ 1]) if kind == FINISHED else data


@parametrized(TLS)
async def test_tls(case: Case, role: str, identity: Identity, ca: bytes) -> None:
    await run(case, role, identity, ca)
