"""Requests and responses from end to end, without a network."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tquic.h3 import (
    Connection,
    ErrorCode,
    H3Error,
    LocalProtocolError,
    Settings,
    prepare_request,
    prepare_response,
)
from tquic.h3._codec import encode_frame_header, encode_varint
from tquic.h3.events import (
    Data,
    Datagram,
    EndOfMessage,
    Event,
    Informational,
    Request,
    Response,
    StreamFailed,
    StreamReset,
    StreamStopped,
    Trailers,
    Unblocked,
)
from tquic.h3.qpack import Encoder

from .pair import DATA, GET, GOAWAY, HEADERS, OK, POST, Attacked, Ends, code_of, frame, headers

HEAD = [(b":method", b"HEAD"), *GET[1:]]
CONNECT = [(b":method", b"CONNECT"), (b":authority", b"example.com:443")]
LENGTH_5 = (b"content-length", b"5")


def test_a_request_and_its_response() -> None:
    ends = Ends()
    sent = ends.client.send_request(0, [*POST, LENGTH_5])
    sent += ends.client.send_data(0, 5, end=True) + b"hello"
    ends.exchange()
    request, data, end = ends.server.receive(0, sent, True)
    assert isinstance(request, Request)
    assert (request.method, request.content_length) == (b"POST", 5)
    assert isinstance(data, Data)
    assert (bytes(data.data), data.remaining) == (b"hello", 0)
    assert end == EndOfMessage(0)
    answer = ends.server.send_informational(0, [(b":status", b"103"), (b"link", b"</a>")])
    answer += ends.server.send_response(0, OK)
    answer += ends.server.send_data(0, 2) + b"ok"
    answer += ends.server.send_trailers(0, [(b"checksum", b"1")])
    ends.exchange()
    hints, response, content, trailers, end = ends.client.receive(0, answer, True)
    assert hints == Informational(0, 103, [(b"link", b"</a>")])
    assert response == Response(0, 200, [], None)
    assert isinstance(content, Data)
    assert trailers == Trailers(0, [(b"checksum", b"1")])
    assert end == EndOfMessage(0)
    assert ends.client.streams == ends.server.streams == 0


def test_prepared_messages() -> None:
    ends = Ends()
    request = prepare_request(GET)
    response = prepare_response([*OK, LENGTH_5], b"hello")
    assert request.ends
    assert response.ends
    for stream_id in (0, 4):
        ends.server.receive(stream_id, ends.client.send_prepared(stream_id, request), True)
        answer = ends.server.send_prepared(stream_id, response)
        head, data, end = ends.client.receive(stream_id, answer, True)
        assert isinstance(head, Response)
        assert isinstance(data, Data)
        assert bytes(data.data) == b"hello"
        assert end == EndOfMessage(stream_id)
    ends.request(HEAD, stream_id=8)
    assert ends.server.send_prepared(8, response) == response.head
    assert ends.server.streams == 0
    head = prepare_response([*OK, LENGTH_5], None)
    assert not head.ends
    ends.request(stream_id=12)
    ends.server.send_prepared(12, head)
    with pytest.raises(LocalProtocolError, match="content-length says 5"):
        ends.server.send_end(12)


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ([*OK, LENGTH_5], b"six bytes"),
        ([(b":status", b"204")], b"x"),
        ([(b":status", b"100")], b""),
        ([(b"a", b"b")], b""),
    ],
)
def test_responses_that_cannot_be_prepared(fields: list[tuple[bytes, bytes]], body: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        prepare_response(fields, body)


CONTENT = [
    # What was said, what came, whether that is a message.
    (b"5", b"hello", True),
    (b"5", b"hell", False),
    (b"5", b"hello!", False),
    (b"5", b"", False),
    (b"0", b"", True),
    (b"0", b"x", False),
]


@pytest.mark.parametrize(("length", "content", "good"), CONTENT)
@pytest.mark.parametrize("is_client", [False, True], ids=["server", "client"])
def test_content_length_against_the_end(
    is_client: bool, length: bytes, content: bytes, good: bool
) -> None:
    end = Attacked(is_client=is_client).begun().connection
    head = headers([*(OK if is_client else POST), (b"content-length", length)])
    events = end.receive(0, head + (frame(DATA, content) if content else b""), True)
    last = events[-1]
    if good:
        assert last == EndOfMessage(0)
    else:
        assert isinstance(last, StreamFailed)
        assert last.code is ErrorCode.H3_MESSAGE_ERROR
        assert EndOfMessage(0) not in events


@pytest.mark.parametrize("status", [204, 304])
def test_responses_without_content(status: int) -> None:
    client = Attacked(is_client=True).begun().connection
    head = headers([(b":status", b"%d" % status), LENGTH_5])
    _, end = client.receive(0, head, True)
    assert end == EndOfMessage(0)
    client = Attacked(is_client=True).begun().connection
    _, failed = client.receive(0, head + frame(DATA, b"hello"), True)
    assert isinstance(failed, StreamFailed)
    assert failed.code is ErrorCode.H3_MESSAGE_ERROR


def test_the_response_to_head_has_no_content() -> None:
    ends = Ends()
    ends.request(HEAD)
    answer = ends.server.send_response(0, [*OK, LENGTH_5], end=True)
    ends.exchange()
    response, end = ends.client.receive(0, answer, True)
    assert isinstance(response, Response)
    assert response.content_length == 5
    assert end == EndOfMessage(0)


def test_an_incomplete_request() -> None:
    server = Attacked(is_client=False).begun().connection
    (failed,) = server.receive(0, b"", True)
    assert isinstance(failed, StreamFailed)
    assert failed.code is ErrorCode.H3_REQUEST_INCOMPLETE
    client = Attacked(is_client=True).begun().connection
    _, failed = client.receive(0, headers([(b":status", b"100")]), True)
    assert isinstance(failed, StreamFailed)
    assert failed.code is ErrorCode.H3_MESSAGE_ERROR


@pytest.mark.parametrize("is_client", [False, True], ids=["server", "client"])
def test_a_frame_cut_off_by_the_end(is_client: bool) -> None:
    attacked = Attacked(is_client=is_client).begun()
    data = attacked.head + encode_frame_header(DATA, 5) + b"hell"
    receive = attacked.connection.receive
    assert code_of(lambda: receive(0, data, True)) is ErrorCode.H3_FRAME_ERROR


@pytest.mark.parametrize("is_client", [False, True], ids=["server", "client"])
def test_frames_behind_the_trailers(is_client: bool) -> None:
    for kind in (DATA, HEADERS):
        attacked = Attacked(is_client=is_client).begun()
        data = attacked.head + headers([(b"a", b"b")]) + frame(kind, b"x")
        code = code_of(lambda: attacked.connection.receive(0, data))  # noqa: B023
        assert code is ErrorCode.H3_FRAME_UNEXPECTED


@pytest.mark.parametrize("kind", [4, 7, 13, 0xF0700])
def test_frames_of_the_control_stream(kind: int) -> None:
    server = Attacked(is_client=False).begun().connection
    code = code_of(lambda: server.receive(0, headers(GET) + frame(kind, b"\x00")))
    assert code is ErrorCode.H3_FRAME_UNEXPECTED


# RFC 9114 sections 6.2.3 and 9
def test_unknown_frames_are_nothing() -> None:
    server = Attacked(is_client=False).begun().connection
    grease = frame(0x21, b"x" * 100)
    data = grease + headers(POST) + grease + frame(DATA, b"ab") + grease
    request, content, end = server.receive(0, data, True)
    assert isinstance(request, Request)
    assert isinstance(content, Data)
    assert end == EndOfMessage(0)


def test_sections_that_are_too_large() -> None:
    server = Attacked(is_client=False).begun().connection
    # Small on the wire, large as RFC 9114 section 4.2.2 counts; and large on the wire.
    for stream_id, fields in ((0, [(b"a", b"")] * 1000), (4, [(b"a", b"x" * 40000)])):
        (failed,) = server.receive(stream_id, headers([*GET, *fields]), True)
        assert isinstance(failed, StreamFailed)
        assert (failed.code, failed.status) == (ErrorCode.H3_EXCESSIVE_LOAD, 431)
        # It may be answered.
        server.send_response(stream_id, [(b":status", b"431")], end=True)
    server.receive(8, headers(POST))
    (failed,) = server.receive(8, headers([(b"a", b"x" * 40000)]), True)
    assert isinstance(failed, StreamFailed)
    assert (failed.code, failed.status) == (ErrorCode.H3_EXCESSIVE_LOAD, None)


def test_nothing_is_told_of_a_failed_stream() -> None:
    server = Attacked(is_client=False).begun().connection
    (failed,) = server.receive(0, headers([*GET, (b"A", b"b")]))
    assert isinstance(failed, StreamFailed)
    assert server.receive(0, frame(DATA, b"x")) == []
    assert server.receive_reset(0, 0) == []
    server.abandon(0)
    assert server.streams == 0


# RFC 9114 section 4.4
def test_a_tunnel() -> None:
    ends = Ends()
    ends.request(CONNECT, end=False)
    answer = ends.server.send_response(0, OK)
    ends.exchange()
    (response,) = ends.client.receive(0, answer)
    assert isinstance(response, Response)
    for _ in range(2):
        (data,) = ends.server.receive(0, ends.client.send_data(0, 1) + b"x")
        assert isinstance(data, Data)
        (data,) = ends.client.receive(0, ends.server.send_data(0, 1) + b"x")
        assert isinstance(data, Data)
    with pytest.raises(LocalProtocolError, match="in a tunnel"):
        ends.server.send_trailers(0, [(b"a", b"b")])
    code = code_of(lambda: ends.server.receive(0, headers([(b"a", b"b")])))
    assert code is ErrorCode.H3_FRAME_UNEXPECTED


def test_a_tunnel_that_is_refused() -> None:
    ends = Ends()
    ends.request(CONNECT, end=False)
    answer = ends.server.send_response(0, [(b":status", b"403"), (b"content-length", b"2")])
    answer += ends.server.send_data(0, 2, end=True) + b"no"
    ends.exchange()
    assert ends.client.receive(0, answer, True)[-1] == EndOfMessage(0)


def test_extended_connect_must_be_offered() -> None:
    fields = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:]]
    with pytest.raises(LocalProtocolError, match="does not take extended CONNECT"):
        Ends().client.send_request(0, fields)
    ends = Ends(server=Settings(enable_connect_protocol=True))
    ends.request(fields, end=False)
    assert ends.server.streams == 1


# RFC 9114 section 4.1.1
def test_both_ends_may_give_up() -> None:
    ends = Ends()
    ends.request(POST, end=False)
    assert ends.server.receive_reset(0, 0x10C) == [StreamReset(0, 0x10C)]
    assert (ends.server.requests, ends.server.resets) == (1, 1)
    assert ends.client.receive_stop(0, 0x100) == [StreamStopped(0, 0x100)]
    assert ends.client.receive_stop(0, 0x100) == []
    with pytest.raises(LocalProtocolError, match="has ended"):
        ends.client.send_data(0, 1)
    ends.server.abandon(0)
    # A request of which nothing came but its end counts, too.
    assert ends.server.receive_reset(4, 0) == [StreamReset(4, 0)]
    assert (ends.server.requests, ends.server.resets) == (2, 2)


MISTAKES = {
    "content before the head": lambda ends: ends.server.send_data(0, 1),
    "trailers before the head": lambda ends: ends.server.send_trailers(0, []),
    "an end before the head": lambda ends: ends.server.send_end(0),
    "a final status as interim": lambda ends: ends.server.send_informational(0, OK),
    "an interim status as final": lambda ends: ends.server.send_response(0, [(b":status", b"100")]),
    "a malformed head": lambda ends: ends.server.send_response(0, [*OK, (b"a", b"b\r\nc: d")]),
    "upper case": lambda ends: ends.server.send_response(0, [*OK, (b"A", b"b")]),
    "too little": lambda ends: ends.server.send_response(0, [*OK, LENGTH_5], end=True),
    "no such stream": lambda ends: ends.server.send_response(4, OK),
    "a response of a client": lambda ends: ends.client.send_response(0, OK),
    "a request of a server": lambda ends: ends.server.send_request(1, GET),
    "a request on a used stream": lambda ends: ends.client.send_request(0, GET),
    "a request one way": lambda ends: ends.client.send_request(2, GET),
    "a priority of a server": lambda ends: ends.server.send_priority_update(0, (3, False)),
    "a datagram for nobody": lambda ends: ends.client.encode_datagram(0, b""),
    "more than the peer takes": lambda ends: ends.server.send_response(
        0, [*OK, (b"a", b"x" * 40000)]
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_own_mistakes_change_nothing(mistake: str) -> None:
    ends = Ends()
    ends.request(POST, end=False)
    with pytest.raises(LocalProtocolError):
        MISTAKES[mistake](ends)
    assert ends.exchange() == []
    answer = ends.server.send_response(0, [*OK, LENGTH_5])
    for too_much in (6, 1 << 40):
        with pytest.raises(LocalProtocolError, match="content-length"):
            ends.server.send_data(0, too_much)
    answer += ends.server.send_data(0, 4) + b"hell"
    with pytest.raises(LocalProtocolError, match="content-length"):
        ends.server.send_end(0)
    answer += ends.server.send_data(0, 1, end=True) + b"o"
    assert ends.client.receive(0, answer, True)[-1] == EndOfMessage(0)


def test_content_past_the_machine() -> None:
    ends = Ends()
    ends.request()
    answer = ends.server.send_response(0, [*OK, (b"content-length", b"1000")])
    answer += ends.server.send_data(0, 900)
    _, first = ends.client.receive(0, answer + b"x" * 100)
    assert isinstance(first, Data)
    assert first.remaining == 800
    # The rest of this frame, and 50 bytes of another, which has 50 more.
    assert ends.client.receive_raw(0, 850, 50) == []
    data, end = ends.client.receive(0, b"x" * 50, True)
    assert isinstance(data, Data)
    assert end == EndOfMessage(0)


def test_too_much_content_past_the_machine() -> None:
    client = Attacked(is_client=True).begun().connection
    data = headers([*OK, LENGTH_5]) + encode_frame_header(DATA, 10) + b"x"
    client.receive(0, data)
    (failed,) = client.receive_raw(0, 9)
    assert isinstance(failed, StreamFailed)
    assert failed.code is ErrorCode.H3_MESSAGE_ERROR


def test_datagrams() -> None:
    ends = Ends(Settings(h3_datagram=True), Settings(h3_datagram=True))
    ends.request(POST, stream_id=8, end=False)
    data = ends.client.encode_datagram(8, b"hello")
    assert data == b"\x02hello"
    assert ends.server.receive_datagram(data) == [Datagram(8, b"hello")]
    assert ends.server.receive_datagram(b"\x03for nobody") == []
    for wrong in (b"", b"\x40", encode_varint(1 << 60)):
        code = code_of(lambda wrong=wrong: ends.server.receive_datagram(wrong))
        assert code is ErrorCode.H3_DATAGRAM_ERROR


REPEATED = [(b"x-repeated", b"the same value each time"), (b"user-agent", b"something long")]


def blocked_requests() -> tuple[list[bytes], bytes]:
    """Requests that need the dynamic table, and what fills it."""
    encoder = Encoder(4096, 16)
    instructions = b"\x02" + encoder.set_capacity(4096)
    requests = []
    for number in range(4):
        more, section = encoder.encode(4 * number, [*POST, *REPEATED])
        instructions += more
        requests.append(frame(HEADERS, section))
    return requests, instructions


def test_a_stream_that_waits_for_qpack() -> None:
    requests, instructions = blocked_requests()
    server = Attacked(is_client=False).begun().connection
    first, last = server.receive(0, requests[0]), requests[-1]
    assert isinstance(first[0], Request)
    body = frame(DATA, b"ab")
    assert server.receive(12, last + body) == []
    assert server.held(12) == len(last) - 2 + 2
    assert server.receive(12, frame(DATA, b"c"), True) == []
    held = server.held(12)
    assert held == len(last) + 3
    unblocked, request, one, two, end = server.receive(6, instructions)
    assert unblocked == Unblocked(12, held)
    assert isinstance(request, Request)
    assert request.fields == REPEATED
    assert isinstance(one, Data)
    assert isinstance(two, Data)
    assert end == EndOfMessage(12)
    assert server.held(12) == 0
    # The section is acknowledged: RFC 9204 section 4.4.1.
    assert (11, bytes([0x80 | 12])) in server.take_output()


def test_a_blocked_stream_that_is_given_up() -> None:
    requests, instructions = blocked_requests()
    for give_up in ("reset", "abandon"):
        server = Attacked(is_client=False).begun().connection
        server.receive(12, requests[-1])
        if give_up == "reset":
            assert server.receive_reset(12, 0) == [StreamReset(12, 0)]
        server.abandon(12)
        server.take_output()
        assert server.receive(6, instructions) == []
        assert server.streams == 0


def test_too_many_blocked_streams() -> None:
    requests, _ = blocked_requests()
    none = Attacked(is_client=False, settings=Settings(qpack_blocked_streams=0)).begun()
    code = code_of(lambda: none.connection.receive(12, requests[-1]))
    assert code is ErrorCode.QPACK_DECOMPRESSION_FAILED


def test_repeated_fields_become_short() -> None:
    ends = Ends()
    sizes = []
    for stream_id in range(0, 40, 4):
        data = ends.client.send_request(stream_id, [*GET, *REPEATED], end=True)
        sizes.append(len(data))
        ends.exchange()
        request = ends.server.receive(stream_id, data, True)[0]
        assert isinstance(request, Request)
        assert request.fields == REPEATED
        ends.exchange()
    assert sizes[-1] < sizes[0] / 2


# ---- What is cut anywhere says the same ----

names = st.sampled_from([b"a", b"b-c", b"content-type", b"A", b"te"])
values = st.sampled_from([b"", b"x", b"y" * 50, b"trailers", b"\n"])
lines = st.lists(st.tuples(names, values), max_size=3)
pieces = st.one_of(
    st.builds(lambda more: headers([*POST, *more]), lines),
    st.builds(lambda more: headers([*OK, *more]), lines),
    st.builds(headers, lines),
    st.builds(lambda data: frame(DATA, data), st.binary(max_size=40)),
    st.builds(lambda data: frame(0x21, data), st.binary(max_size=40)),
    st.just(headers([*POST, LENGTH_5])),
    st.just(frame(GOAWAY, b"\x00")),
    st.binary(max_size=10),
)
heads = st.sampled_from([headers(POST), headers(OK), headers([*OK, LENGTH_5])])
streams = st.tuples(heads, st.lists(pieces, max_size=5)).map(
    lambda parts: parts[0] + b"".join(parts[1])
)


def told(end: Connection, chunks: list[bytes]) -> tuple[list[Event], object]:
    """What one stream says up to the first error, content put together; and that error."""
    events: list[Event] = []
    error: object = None
    content = bytearray()
    for number, chunk in enumerate(chunks):
        try:
            found = end.receive(0, chunk, number == len(chunks) - 1)
        except H3Error as caught:
            error = caught.code
            break
        for event in found:
            if isinstance(event, Data):
                content += event.data
            elif isinstance(event, StreamFailed):
                error = event.code
            else:
                events.append(event)
    if error is None:
        events.append(Data(0, memoryview(bytes(content)), 0))
    return events, error


@pytest.mark.parametrize("is_client", [False, True], ids=["server", "client"])
@settings(max_examples=300)
@given(data=streams, cuts=st.lists(st.integers(0, 400), max_size=8))
def test_cutting_changes_nothing(is_client: bool, data: bytes, cuts: list[int]) -> None:
    whole, whole_error = told(Attacked(is_client=is_client).begun().connection, [data])
    places = sorted({min(cut, len(data)) for cut in cuts})
    chunks = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
    cut, cut_error = told(Attacked(is_client=is_client).begun().connection, chunks)
    if whole_error is None:
        assert cut_error is None
        assert cut == whole
    else:
        # What came before an error in the same piece may be lost with it; the error may be told
        # of earlier, when a later one of the connection is not there yet.
        assert cut_error is not None
        assert cut[: len(whole)] == whole


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 20), st.binary(max_size=30), st.booleans()), max_size=30))
@pytest.mark.parametrize("is_client", [False, True], ids=["server", "client"])
def test_anything_may_come(is_client: bool, parts: list[tuple[int, bytes, bool]]) -> None:
    end = Attacked(is_client=is_client).begun().connection
    over: set[int] = set()
    try:
        for stream_id, data, fin in parts:
            if stream_id in over or stream_id in (2, 6, 10, 3, 7, 11)[3 * (not is_client) :][:3]:
                continue
            end.receive(stream_id, data, fin)
            if fin:
                over.add(stream_id)
        end.take_output()
    except H3Error as error:
        assert error.reason
