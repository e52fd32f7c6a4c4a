"""SETTINGS, GOAWAY, pushes and critical streams: what may come on which, and what not."""

from __future__ import annotations

import pytest

from tquic.h3 import Connection, ErrorCode, LocalProtocolError, Priority, Settings
from tquic.h3._codec import encode_varint
from tquic.h3.events import (
    GoAwayReceived,
    PriorityUpdated,
    Request,
    SettingsReceived,
    StreamFailed,
)

from .pair import (
    CANCEL_PUSH,
    GET,
    GOAWAY,
    MAX_PUSH_ID,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    SETTINGS,
    Attacked,
    Ends,
    code_of,
    control,
    frame,
    headers,
    settings,
)

ROLES = pytest.mark.parametrize("is_client", [False, True], ids=["server", "client"])


def test_settings_arrive() -> None:
    ends = Ends(server=Settings(enable_connect_protocol=True, h3_datagram=True), meet=False)
    told = [event for event in ends.exchange() if isinstance(event, SettingsReceived)]
    assert len(told) == 2
    seen = ends.client.peer_settings
    assert seen is not None
    assert seen.enable_connect_protocol
    assert seen.h3_datagram
    assert seen.max_field_section_size == 32768
    assert seen.qpack_max_table_capacity == 4096
    # A reserved one, too (RFC 9114 section 7.2.4.1).
    assert any(number % 0x1F == 0x21 % 0x1F and number >= 0x21 for number in seen.values)
    assert ends.server.peer_settings is not None
    assert not ends.server.peer_settings.enable_connect_protocol


@pytest.mark.parametrize("payload", [b"\x06", b"\x06\x40", b"\x46"])
def test_settings_cut_off(payload: bytes) -> None:
    end = Attacked(is_client=True)
    data = control(frame(SETTINGS, payload))
    assert code_of(lambda: end.connection.receive(3, data)) is ErrorCode.H3_FRAME_ERROR


@pytest.mark.parametrize("pairs", [[(6, 1), (6, 1)], [(0x33, 2)], [(8, 2)]])
def test_wrong_settings(pairs: list[tuple[int, int]]) -> None:
    end = Attacked(is_client=True)
    data = control(settings(*pairs))
    assert code_of(lambda: end.connection.receive(3, data)) is ErrorCode.H3_SETTINGS_ERROR


@pytest.mark.parametrize("extra", [((2, 1),), ((0x33, 1), (0x33, 1)), ((1 << 62, 0),), ((9, -1),)])
def test_settings_that_must_not_be_sent(extra: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match="setting"):
        Settings(extra=extra)


@ROLES
@pytest.mark.parametrize("kind", [0, 2, 3])
def test_a_critical_stream_comes_once(is_client: bool, kind: int) -> None:
    attacked = Attacked(is_client=is_client)
    receive, start = attacked.connection.receive, encode_varint(kind)
    receive(attacked.uni, start)
    code = code_of(lambda: receive(attacked.uni + 4, start))
    assert code is ErrorCode.H3_STREAM_CREATION_ERROR


@ROLES
@pytest.mark.parametrize("kind", [2, 3])
def test_qpack_streams_do_not_end(is_client: bool, kind: int) -> None:
    attacked = Attacked(is_client=is_client)
    receive = attacked.connection.receive
    code = code_of(lambda: receive(attacked.uni, encode_varint(kind), True))
    assert code is ErrorCode.H3_CLOSED_CRITICAL_STREAM


# RFC 9114 sections 6.2 and 9
@ROLES
def test_an_unknown_stream_is_stopped_and_no_error(is_client: bool) -> None:
    attacked = Attacked(is_client=is_client).begun()
    kind = encode_varint(0x1F * 7777 + 0x21)
    first = attacked.connection.receive(attacked.uni + 4, kind[:2])
    assert first == []
    (event,) = attacked.connection.receive(attacked.uni + 4, kind[2:] + b"anything")
    assert isinstance(event, StreamFailed)
    assert event.code is ErrorCode.H3_STREAM_CREATION_ERROR
    assert attacked.connection.receive(attacked.uni + 4, b"more", True) == []


# RFC 9114 section 6.2
@ROLES
def test_a_stream_that_ends_without_a_type_is_no_error(is_client: bool) -> None:
    attacked = Attacked(is_client=is_client)
    assert attacked.connection.receive(attacked.uni, b"", True) == []
    assert attacked.connection.receive(attacked.uni + 4, b"\x40", True) == []


def test_push_streams() -> None:
    client, server = Attacked(is_client=True).begun(), Attacked(is_client=False).begun()
    assert code_of(lambda: client.connection.receive(7, b"\x01\x00")) is ErrorCode.H3_ID_ERROR
    code = code_of(lambda: server.connection.receive(6, b"\x01\x00"))
    assert code is ErrorCode.H3_STREAM_CREATION_ERROR


def test_push_promise() -> None:
    client, server = Attacked(is_client=True).begun(), Attacked(is_client=False).begun()
    promise = frame(PUSH_PROMISE, b"\x00\x00\x00")
    receive = client.connection.receive
    assert code_of(lambda: receive(0, promise)) is ErrorCode.H3_ID_ERROR
    code = code_of(lambda: server.connection.receive(0, server.head + promise))
    assert code is ErrorCode.H3_FRAME_UNEXPECTED


def test_a_server_opens_no_bidirectional_streams() -> None:
    client = Attacked(is_client=True).begun().connection
    assert code_of(lambda: client.receive(1, b"x")) is ErrorCode.H3_STREAM_CREATION_ERROR


# RFC 9114 section 10.8
@pytest.mark.parametrize(
    ("is_client", "data", "code"),
    [
        (True, frame(MAX_PUSH_ID, b"\x00"), ErrorCode.H3_FRAME_UNEXPECTED),
        (True, frame(PRIORITY_UPDATE, b"\x00"), ErrorCode.H3_FRAME_UNEXPECTED),
        (True, frame(PUSH_PROMISE, b"\x00"), ErrorCode.H3_FRAME_UNEXPECTED),
        (True, frame(CANCEL_PUSH, b"\x00"), ErrorCode.H3_ID_ERROR),
        (True, frame(CANCEL_PUSH, b"\x00\x00"), ErrorCode.H3_FRAME_ERROR),
        (True, frame(GOAWAY, b""), ErrorCode.H3_FRAME_ERROR),
        (True, frame(GOAWAY, b"\x01"), ErrorCode.H3_ID_ERROR),
        (True, frame(GOAWAY, b"\x04") + frame(GOAWAY, b"\x08"), ErrorCode.H3_ID_ERROR),
        (True, b"\x02\x00", ErrorCode.H3_FRAME_UNEXPECTED),
        (False, frame(MAX_PUSH_ID, b"\x02") + frame(MAX_PUSH_ID, b"\x01"), ErrorCode.H3_ID_ERROR),
        (False, frame(CANCEL_PUSH, b"\x00"), ErrorCode.H3_ID_ERROR),
        (False, frame(PRIORITY_UPDATE, b"\x02"), ErrorCode.H3_ID_ERROR),
        (False, frame(PRIORITY_UPDATE, b""), ErrorCode.H3_FRAME_ERROR),
        (False, frame(0xF0701, b"\x00"), ErrorCode.H3_ID_ERROR),
        (False, frame(MAX_PUSH_ID, bytes(70000)), ErrorCode.H3_EXCESSIVE_LOAD),
    ],
)
def test_what_is_wrong_on_a_control_stream(is_client: bool, data: bytes, code: ErrorCode) -> None:
    attacked = Attacked(is_client=is_client).begun()
    assert code_of(lambda: attacked.connection.receive(attacked.uni, data)) is code


def test_goaway_of_a_server() -> None:
    ends = Ends()
    ends.request(stream_id=0)
    late = ends.client.send_request(4, GET, end=True)
    assert ends.server.send_goaway(final=False) == (1 << 62) - 4
    assert ends.server.send_goaway() == 4
    told = ends.exchange()
    assert [event.id for event in told if isinstance(event, GoAwayReceived)] == [(1 << 62) - 4, 4]
    (failed,) = (event for event in told if isinstance(event, StreamFailed))
    assert (failed.stream_id, failed.code) == (4, ErrorCode.H3_REQUEST_REJECTED)
    # It was on its way: the server says the same.
    (rejected,) = ends.server.receive(4, late, True)
    assert isinstance(rejected, StreamFailed)
    assert rejected.code is ErrorCode.H3_REQUEST_REJECTED
    with pytest.raises(LocalProtocolError, match="GOAWAY"):
        ends.client.send_request(8, GET)
    # What it had taken goes on.
    answer = ends.server.send_response(0, [(b":status", b"204")], end=True)
    assert len(ends.client.receive(0, answer, True)) == 2


def test_goaway_of_a_client() -> None:
    ends = Ends()
    assert ends.client.send_goaway() == 0
    assert ends.exchange() == [GoAwayReceived(0)]
    ends.request()
    assert ends.server.streams == 1


def test_priorities() -> None:
    ends = Ends()
    ends.client.send_priority_update(0, Priority(1, True))
    assert ends.exchange() == []
    data = ends.client.send_request(0, [*GET, (b"priority", b"u=6")], end=True)
    ends.exchange()
    request, _ = ends.server.receive(0, data, True)
    assert isinstance(request, Request)
    # The update came first, and counts (RFC 9218 section 7).
    assert request.priority == Priority(1, True)
    ends.client.send_priority_update(0, Priority())
    assert ends.exchange() == [PriorityUpdated(0, Priority())]


def test_early_priorities_are_bounded() -> None:
    attacked = Attacked(is_client=False).begun()
    for number in range(1000):
        payload = encode_varint(4 * number) + b"u=1"
        assert attacked.connection.receive(2, frame(PRIORITY_UPDATE, payload)) == []
    assert len(attacked.connection._priorities) == 64
    old, _ = attacked.connection.receive(0, headers(GET), True)
    new, _ = attacked.connection.receive(4 * 999, headers(GET), True)
    assert isinstance(old, Request)
    assert isinstance(new, Request)
    assert (old.priority.urgency, new.priority.urgency) == (3, 1)


def test_without_settings_nothing_is_indexed() -> None:
    client = Connection(is_client=True)
    client.start(2, 6, 10)
    client.take_output()
    for stream_id in (0, 4, 8):
        client.send_request(stream_id, [*GET, (b"x-field", b"value")], end=True)
    assert client.take_output() == []
