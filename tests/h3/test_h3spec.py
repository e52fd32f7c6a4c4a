"""The cases of h3spec, against both roles, with the exact codes of RFC 9114 and RFC 9204."""

from __future__ import annotations

import pytest

from tquic.h3 import ErrorCode
from tquic.h3.events import StreamFailed

from .pair import (
    CANCEL_PUSH,
    DATA,
    GET,
    HEADERS,
    OK,
    Attacked,
    code_of,
    control,
    frame,
    headers,
    settings,
)

ROLES = pytest.mark.parametrize("is_client", [False, True], ids=["server", "client"])


@ROLES
def test_data_before_headers(is_client: bool) -> None:
    end = Attacked(is_client=is_client).begun().connection
    assert code_of(lambda: end.receive(0, frame(DATA, b"x"))) is ErrorCode.H3_FRAME_UNEXPECTED


MALFORMED = {
    "duplicate": ([*GET[:1], *GET], [*OK, *OK]),
    "missing": ([*GET[:1], *GET[2:]], [(b"x", b"y")]),
    "unknown": ([*GET, (b":foo", b"bar")], [*OK, (b":foo", b"bar")]),
    "prohibited": ([*GET, *OK], [*OK, *GET]),
    "behind a field": ([*GET[:3], (b"x", b"y"), GET[3]], [(b"x", b"y"), *OK]),
}


@ROLES
@pytest.mark.parametrize("case", MALFORMED)
def test_pseudo_fields(is_client: bool, case: str) -> None:
    end = Attacked(is_client=is_client).begun().connection
    (event,) = end.receive(0, headers(MALFORMED[case][is_client]), True)
    assert isinstance(event, StreamFailed)
    assert (event.stream_id, event.code) == (0, ErrorCode.H3_MESSAGE_ERROR)


@ROLES
def test_control_stream_without_settings(is_client: bool) -> None:
    attacked = Attacked(is_client=is_client)
    start = control(frame(0x21, b"grease"))
    receive = attacked.connection.receive
    assert code_of(lambda: receive(attacked.uni, start)) is ErrorCode.H3_MISSING_SETTINGS


@ROLES
@pytest.mark.parametrize("kind", [DATA, HEADERS])
def test_content_on_the_control_stream(is_client: bool, kind: int) -> None:
    attacked = Attacked(is_client=is_client).begun()
    receive = attacked.connection.receive
    code = code_of(lambda: receive(attacked.uni, frame(kind, b"x")))
    assert code is ErrorCode.H3_FRAME_UNEXPECTED


@ROLES
def test_second_settings(is_client: bool) -> None:
    attacked = Attacked(is_client=is_client).begun()
    receive = attacked.connection.receive
    assert code_of(lambda: receive(attacked.uni, settings())) is ErrorCode.H3_FRAME_UNEXPECTED


@ROLES
@pytest.mark.parametrize("number", [0, 2, 3, 4, 5])
def test_settings_of_http_2(is_client: bool, number: int) -> None:
    attacked = Attacked(is_client=is_client)
    start = control(settings((number, 1)))
    receive = attacked.connection.receive
    assert code_of(lambda: receive(attacked.uni, start)) is ErrorCode.H3_SETTINGS_ERROR


@ROLES
def test_cancel_push_on_a_request_stream(is_client: bool) -> None:
    attacked = Attacked(is_client=is_client).begun()
    for data in (frame(CANCEL_PUSH, b"\x00"), attacked.head + frame(CANCEL_PUSH, b"\x00")):
        end = Attacked(is_client=is_client).begun().connection
        code = code_of(lambda end=end, data=data: end.receive(0, data))
        assert code is ErrorCode.H3_FRAME_UNEXPECTED


@ROLES
def test_static_index_99(is_client: bool) -> None:
    end = Attacked(is_client=is_client).begun().connection
    # An Indexed Field Line, static, with index 99 in the 6-bit prefix.
    section = b"\x00\x00" + bytes([0xC0 | 63, 99 - 63])
    code = code_of(lambda: end.receive(0, frame(HEADERS, section)))
    assert code is ErrorCode.QPACK_DECOMPRESSION_FAILED


@ROLES
def test_capacity_above_the_limit(is_client: bool) -> None:
    attacked = Attacked(is_client=is_client).begun()
    # Set Dynamic Table Capacity, 5-bit prefix: 2^20.
    instruction = bytes([0x20 | 31]) + b"\xe1\xff\x3f"
    receive = attacked.connection.receive
    code = code_of(lambda: receive(attacked.uni + 4, b"\x02" + instruction))
    assert code is ErrorCode.QPACK_ENCODER_STREAM_ERROR


@ROLES
@pytest.mark.parametrize("how", ["end", "reset", "stop"])
def test_control_stream_closed(is_client: bool, how: str) -> None:
    attacked = Attacked(is_client=is_client).begun()
    end = attacked.connection
    acts = {
        "end": lambda: end.receive(attacked.uni, b"", True),
        "reset": lambda: end.receive_reset(attacked.uni, 0),
        # Ours, which the peer wants no more of.
        "stop": lambda: end.receive_stop(2 if is_client else 3, 0),
    }
    assert code_of(acts[how]) is ErrorCode.H3_CLOSED_CRITICAL_STREAM


@ROLES
def test_insert_count_increment_of_0(is_client: bool) -> None:
    attacked = Attacked(is_client=is_client).begun()
    receive = attacked.connection.receive
    code = code_of(lambda: receive(attacked.uni + 4, b"\x03\x00"))
    assert code is ErrorCode.QPACK_DECODER_STREAM_ERROR
