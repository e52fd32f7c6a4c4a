"""What audits found wanting in other stacks, and the rules of HTTP/3 and QPACK that h3spec leaves
out, over the wire against both roles. Those that need clocks, losses or other ports are in
`rust/core/tests/conformance`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from . import encode
from .arena import against_client, against_server
from .cases import (
    CLIENT,
    CONNECTION_ID_LIMIT_ERROR,
    CRYPTO_BUFFER_EXCEEDED,
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
from .tls import HANDSHAKE, INITIAL, ONE_RTT, Identity

LAST = (1 << 62) - 1
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
    Case("source_id_of_another", TRANSPORT_PARAMETER_ERROR, plan=parameters(_15=b"mismatch")),
    Case(
        "original_id_of_another",
        TRANSPORT_PARAMETER_ERROR,
        plan=parameters(_0=b"mismatch"),
        roles=(CLIENT,),
    ),
    Case("active_connection_id_limit_1", TRANSPORT_PARAMETER_ERROR, plan=parameters(_14=1)),
    Case("streams_above_2_60", TRANSPORT_PARAMETER_ERROR, plan=parameters(_8=(1 << 60) + 1)),
    Case("parameter_too_long", TRANSPORT_PARAMETER_ERROR, plan=parameters(_4=b"\1\2\3")),
    Case("stream_end_past_2_62", FRAME_ENCODING_ERROR, raw(lambda r: encode.stream(0, LAST, b"x"))),
    Case("crypto_end_past_2_62", FRAME_ENCODING_ERROR, raw(encode.crypto(LAST, b"x"))),
    Case("crypto_far_ahead", CRYPTO_BUFFER_EXCEEDED, raw(encode.crypto(1 << 30, b"x"))),
    Case(
        "reset_past_the_stream_limit",
        STREAM_LIMIT_ERROR,
        raw(lambda r: varints(4, r.own(1 << 40), 0, 0)),
    ),
    Case(
        "stop_of_a_receive_only_stream",
        STREAM_STATE_ERROR,
        raw(lambda r: varints(5, r.own(uni=True), 0)),
    ),
    Case(
        "blocked_on_a_send_only_stream",
        STREAM_STATE_ERROR,
        raw(lambda r: varints(0x15, r.others(uni=True), 0)),
    ),
    Case(
        "reset_past_the_window",
        FLOW_CONTROL_ERROR,
        raw(lambda r: varints(4, r.own(uni=True), 0, 1 << 40)),
    ),
    Case(
        "final_size_below_what_was_sent",
        FINAL_SIZE_ERROR,
        two(
            lambda r: encode.stream(r.own(3, uni=True), 0, b"\x21" + bytes(9)),
            lambda r: varints(4, r.own(3, uni=True), 0, 5),
        ),
    ),
    Case("ack_range_below_zero", FRAME_ENCODING_ERROR, raw(varints(2, 3, 0, 0, 5))),
    Case("second_ack_range_below_zero", FRAME_ENCODING_ERROR, raw(varints(2, 3, 0, 1, 0, 0, 9))),
    Case("ack_of_packets_never_sent", PROTOCOL_VIOLATION, raw(varints(2, 1 << 30, 0, 0, 0))),
    Case("long_form_of_a_frame_type", PROTOCOL_VIOLATION, raw(b"\x40\x01")),
    Case("frame_cut_short", FRAME_ENCODING_ERROR, raw(b"\x10\xc0")),
    Case("connection_id_of_21_bytes", FRAME_ENCODING_ERROR, raw(ID_OF_21)),
    Case("more_connection_ids_than_allowed", CONNECTION_ID_LIMIT_ERROR, many_ids),
    Case(
        "sequence_number_with_two_ids",
        PROTOCOL_VIOLATION,
        raw(
            encode.new_connection_id(1, 0, b"this one")
            + encode.new_connection_id(1, 0, b"that one")
        ),
    ),
    Case("retirement_of_an_id_never_issued", PROTOCOL_VIOLATION, raw(varints(0x19, 1000))),
    Case("retirement_of_the_id_in_use", PROTOCOL_VIOLATION, raw(varints(0x19, 0))),
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
    http("second_control_stream", H3_STREAM_CREATION_ERROR, streams((1, varints(CONTROL)))),
    http("second_encoder_stream", H3_STREAM_CREATION_ERROR, streams((1, b"\2"), (2, b"\2"))),
    http("second_decoder_stream", H3_STREAM_CREATION_ERROR, streams((1, b"\3"), (2, b"\3"))),
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
    http(
        "control_stream_reset",
        H3_CLOSED_CRITICAL_STREAM,
        lambda r: r.send(ONE_RTT, varints(4, r.own(uni=True), 0, 3)),
    ),
    http("control_stream_not_wanted", H3_CLOSED_CRITICAL_STREAM, stop_of_control),
    http("push_stream_of_a_client", H3_STREAM_CREATION_ERROR, streams((1, varints(PUSH))), SERVER),
    http("push_that_was_not_allowed", H3_ID_ERROR, streams((1, varints(PUSH, 0))), CLIENT),
    http(
        "request_of_a_server", H3_STREAM_CREATION_ERROR, lambda r: r.write(1, headers(GET)), CLIENT
    ),
    http(
        "push_promise_of_a_client",
        H3_FRAME_UNEXPECTED,
        request(frame(encode.PUSH_PROMISE, b"\0\0\0")),
        SERVER,
    ),
    http(
        "push_promise_that_was_not_allowed",
        H3_ID_ERROR,
        answered(OK, frame(encode.PUSH_PROMISE, b"\0\0\0\xd1")),
        CLIENT,
    ),
    http(
        "max_push_id_of_a_server",
        H3_FRAME_UNEXPECTED,
        streams((0, frame(encode.MAX_PUSH_ID, b"\0"))),
        CLIENT,
    ),
    http(
        "max_push_id_that_falls",
        H3_ID_ERROR,
        streams((0, frame(encode.MAX_PUSH_ID, b"\5") + frame(encode.MAX_PUSH_ID, b"\4"))),
        SERVER,
    ),
    http(
        "cancel_of_a_push_never_promised",
        H3_ID_ERROR,
        streams((0, frame(encode.CANCEL_PUSH, b"\5"))),
    ),
    http("goaway_that_rises", H3_ID_ERROR, streams((0, frame(7, b"\4") + frame(7, b"\x08")))),
    http("goaway_of_no_request", H3_ID_ERROR, streams((0, frame(7, b"\1"))), CLIENT),
    http("goaway_with_a_tail", H3_FRAME_ERROR, streams((0, frame(7, b"\0\0")))),
    http("goaway_on_a_request_stream", H3_FRAME_UNEXPECTED, request(frame(7, b"\0"))),
    http("settings_on_a_request_stream", H3_FRAME_UNEXPECTED, request(encode.settings())),
    http(
        "setting_sent_twice",
        H3_SETTINGS_ERROR,
        streams((0, varints(CONTROL) + encode.settings((6, 1), (6, 1)))),
        begun=False,
    ),
    http(
        "flag_of_2",
        H3_SETTINGS_ERROR,
        streams((0, varints(CONTROL) + encode.settings((0x33, 2)))),
        begun=False,
    ),
    http(
        "settings_cut_short",
        H3_FRAME_ERROR,
        streams((0, varints(CONTROL) + frame(encode.SETTINGS, b"\6"))),
        begun=False,
    ),
    *(
        http(f"frame_of_http_2_{kind}", H3_FRAME_UNEXPECTED, streams((0, frame(kind))))
        for kind in (2, 6, 8, 9)
    ),
    *(
        http(f"frame_of_http_2_{kind}_in_a_message", H3_FRAME_UNEXPECTED, request(frame(kind)))
        for kind in (2, 6, 8, 9)
    ),
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
    http(
        "message_cut_inside_a_frame",
        H3_FRAME_ERROR,
        lambda r: r.write(0, headers(POST if r.is_client else OK) + b"\0\5x", end=True),
    ),
    http("table_entry_that_is_not_there", QPACK_DECOMPRESSION_FAILED, section(b"\0\0\x80")),
    http("insert_count_past_the_table", QPACK_DECOMPRESSION_FAILED, section(b"\xff\xff\x7f\0")),
    http("negative_base", QPACK_DECOMPRESSION_FAILED, section(b"\2\x85\x80")),
    http("section_cut_short", QPACK_DECOMPRESSION_FAILED, section(b"\0\0\x51")),
    http("integer_too_large", QPACK_DECOMPRESSION_FAILED, section(b"\0\0\xff" + b"\xff" * 10)),
    http("too_many_blocked_streams", QPACK_DECOMPRESSION_FAILED, too_many_blocked, SERVER),
    http(
        "duplicate_of_nothing",
        QPACK_ENCODER_STREAM_ERROR,
        streams((1, varints(QPACK_ENCODER) + b"\x05")),
    ),
    http(
        "entry_larger_than_the_table",
        QPACK_ENCODER_STREAM_ERROR,
        streams((1, varints(QPACK_ENCODER) + b"\x41a\1b")),
    ),
    http(
        "acknowledgement_of_no_section",
        QPACK_DECODER_STREAM_ERROR,
        streams((1, varints(QPACK_DECODER) + b"\x85")),
    ),
    http(
        "increment_past_what_was_sent",
        QPACK_DECODER_STREAM_ERROR,
        streams((1, varints(QPACK_DECODER) + b"\x3f\x80\x80\x01")),
    ),
    http(
        "datagram_without_a_request",
        H3_DATAGRAM_ERROR,
        raw(b"\x30" + varints(1 << 61)),
    ),
]

MALFORMED: dict[str, tuple[list[Field], bytes]] = {
    "connection_specific": ([(b"connection", b"close")], b""),
    "transfer_encoding": ([(b"transfer-encoding", b"chunked")], b""),
    "keep_alive": ([(b"keep-alive", b"1")], b""),
    "te": ([(b"te", b"gzip")], b""),
    "upper_case": ([(b"Name", b"x")], b""),
    "line_feed": ([(b"name", b"x\ny")], b""),
    "nul": ([(b"name", b"x\0y")], b""),
    "empty_name": ([(b"", b"x")], b""),
    "two_content_lengths": ([(b"content-length", b"1"), (b"content-length", b"2")], b""),
    "content_length_that_is_no_number": ([(b"content-length", b"+1")], b""),
    "content_beyond_its_length": ([(b"content-length", b"2")], frame(encode.DATA, b"abc")),
    "pseudo_field_in_trailers": ([], headers([(b":path", b"/")])),
}


def malformed(extra: list[Field], rest: bytes) -> Act:
    return either(*(headers([*head, *extra]) + rest for head in (POST, OK)))


MESSAGES = [
    *(
        Case(name, H3_MESSAGE_ERROR, malformed(*parts), http=True, stream=True)
        for name, parts in MALFORMED.items()
    ),
    Case(
        "content_short_of_its_length",
        H3_MESSAGE_ERROR,
        request(headers([*POST, (b"content-length", b"4")]), frame(encode.DATA, b"abc"), end=True),
        (SERVER,),
        http=True,
        stream=True,
    ),
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


async def test_packets_of_another_connection_in_a_datagram_are_ignored(
    identity: Identity,
) -> None:
    """RFC 9000 section 12.2."""
    async with against_server(Plan(silent=frozenset({HANDSHAKE})), identity) as arena:
        await arena.until(lambda rogue: rogue.has_keys(HANDSHAKE))

        def act(rogue: Rogue) -> None:
            stranger = rogue.seal(HANDSHAKE, b"\x1a12345678", dcid=b"stranger")
            rogue.outgoing.append(rogue.seal(HANDSHAKE, b"\1") + stranger)
            rogue.plan.silent = frozenset()

        arena.act(act)
        await arena.until(lambda rogue: rogue.ready)
        assert arena.rogue.closed is None
