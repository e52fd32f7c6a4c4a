"""Which header sections are messages, and which are malformed (RFC 9114 section 4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tquic.h3 import ErrorCode, H3Error, Priority, Settings
from tquic.h3._message import check_trailers, parse_request, parse_response
from tquic.h3.events import Request, StreamFailed
from tquic.h3.fields import NeverIndexed, joined_cookies

from .pair import GET, OK, Attacked, Field, headers


def request(*extra: Field, without: bytes = b"", **changes: bytes) -> list[Field]:
    fields = [(name, changes.get(name[1:].decode(), value)) for name, value in GET]
    return [*(pair for pair in fields if pair[0] != without), *extra]


def test_the_parts_of_a_request() -> None:
    fields = request((b"content-length", b"12"), (b"a", b"b"), (b"priority", b"u=1"))
    method, scheme, authority, path, protocol, rest, length, priority = parse_request(fields, False)
    assert (method, scheme, authority, path) == (b"GET", b"https", b"example.com", b"/")
    assert protocol is None
    assert rest == fields[4:]
    assert (length, priority) == (12, b"u=1")


def test_host_takes_the_place_of_authority() -> None:
    fields = request((b"host", b"other.example"), without=b":authority")
    assert parse_request(fields, False)[2] == b"other.example"
    assert parse_request(request((b"host", b"example.com")), False)[2] == b"example.com"


GOOD_REQUESTS = [
    request((b"te", b"trailers")),
    request((b"x", b"")),
    request((b"x", b"a b\tc")),
    request((b"x", bytes(range(0x80, 0x100)))),
    request(method=b"X-OWN.Method"),
    request(method=b"OPTIONS", path=b"*"),
    request(path=b"/a?b=c"),
    request(scheme=b"coap", path=b"", without=b":authority"),
    [(b":method", b"CONNECT"), (b":authority", b"example.com:443")],
]

BAD_REQUESTS = {
    "nothing": [],
    "no method": request(without=b":method"),
    "no scheme": request(without=b":scheme"),
    "no path": request(without=b":path"),
    "no authority": request(without=b":authority"),
    "empty authority": request(authority=b""),
    "empty path": request(path=b""),
    "relative path": request(path=b"a"),
    "asterisk for GET": request(path=b"*"),
    "blank in path": request(path=b"/a b"),
    "control in path": request(path=b"/a\nb"),
    "empty method": request(method=b""),
    "blank in method": request(method=b"GET /"),
    "scheme": request(scheme=b"ht tps"),
    "user information": request(authority=b"me@example.com"),
    "blank in authority": request(authority=b"exam ple.com"),
    "two hosts": request((b"host", b"example.com"), (b"host", b"example.com")),
    "host differs": request((b"host", b"other.example")),
    "upper case": request((b"X-A", b"b")),
    "empty name": request((b"", b"b")),
    "blank in name": request((b"a b", b"c")),
    "colon in name": request((b"a:b", b"c")),
    "name beyond ASCII": request((b"\xc3\xa9", b"c")),
    "line feed": request((b"a", b"b\nc: d")),
    "carriage return": request((b"a", b"b\rc")),
    "null": request((b"a", b"b\0c")),
    "delete": request((b"a", b"b\x7fc")),
    "blank in front": request((b"a", b" b")),
    "blank behind": request((b"a", b"b\t")),
    "connection": request((b"connection", b"close")),
    "keep-alive": request((b"keep-alive", b"1")),
    "proxy-connection": request((b"proxy-connection", b"close")),
    "transfer-encoding": request((b"transfer-encoding", b"chunked")),
    "upgrade": request((b"upgrade", b"h2c")),
    "te": request((b"te", b"gzip")),
    "content-length": request((b"content-length", b"+1")),
    "empty content-length": request((b"content-length", b"")),
    "hexadecimal content-length": request((b"content-length", b"0x1")),
    "list of content-lengths": request((b"content-length", b"1, 1")),
    "two content-lengths": request((b"content-length", b"1"), (b"content-length", b"1")),
    "huge content-length": request((b"content-length", b"4611686018427387904")),
    "overflowing content-length": request((b"content-length", b"9" * 100)),
    "protocol without extended CONNECT": request((b":protocol", b"websocket")),
    "CONNECT with path": request(method=b"CONNECT"),
    "CONNECT without authority": [(b":method", b"CONNECT")],
}


@pytest.mark.parametrize("fields", GOOD_REQUESTS)
def test_good_requests(fields: list[Field]) -> None:
    parse_request(fields, False)


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_malformed_requests(case: str) -> None:
    with pytest.raises(H3Error) as caught:
        parse_request(BAD_REQUESTS[case], False)
    assert caught.value.code is ErrorCode.H3_MESSAGE_ERROR
    # The machine makes a stream error of it, and goes on.
    server = Attacked(is_client=False).begun().connection
    (event,) = server.receive(0, headers(BAD_REQUESTS[case]), True)
    assert isinstance(event, StreamFailed)
    assert event.code is ErrorCode.H3_MESSAGE_ERROR
    assert event.status is None
    server.abandon(0)
    assert isinstance(server.receive(4, headers(GET), True)[0], Request)


def test_extended_connect() -> None:
    fields = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:]]
    parts = parse_request(fields, True)
    assert parts[:5] == (b"CONNECT", b"https", b"example.com", b"/", b"websocket")
    server = Attacked(is_client=False, settings=Settings(enable_connect_protocol=True)).begun()
    (event,) = server.connection.receive(0, headers(fields))
    assert isinstance(event, Request)
    assert event.protocol == b"websocket"
    for wrong in ([(b":protocol", b"x"), *GET], fields[:2]):
        with pytest.raises(H3Error):
            parse_request(wrong, True)


BAD_RESPONSES = {
    "nothing": [],
    "no status": [(b"a", b"b")],
    "status behind": [(b"a", b"b"), *OK],
    "two": [*OK, *OK],
    "short": [(b":status", b"20")],
    "long": [(b":status", b"0200")],
    "letters": [(b":status", b"2oo")],
    "zero": [(b":status", b"000")],
    "switching protocols": [(b":status", b"101")],
    "pseudo-field of requests": [*OK, (b":path", b"/")],
    "upper case": [*OK, (b"Server", b"x")],
    "transfer-encoding": [*OK, (b"transfer-encoding", b"chunked")],
}


@pytest.mark.parametrize("case", BAD_RESPONSES)
def test_malformed_responses(case: str) -> None:
    with pytest.raises(H3Error) as caught:
        parse_response(BAD_RESPONSES[case])
    assert caught.value.code is ErrorCode.H3_MESSAGE_ERROR


def test_the_parts_of_a_response() -> None:
    fields = [(b":status", b"404"), (b"content-length", b"7")]
    assert parse_response(fields) == (404, fields[1:], 7)


@pytest.mark.parametrize("fields", [OK, [(b"A", b"b")], [(b"a", b"\n")], [(b"upgrade", b"x")]])
def test_malformed_trailers(fields: list[Field]) -> None:
    check_trailers([(b"checksum", b"1")])
    with pytest.raises(H3Error):
        check_trailers(fields)


@pytest.mark.parametrize("field", [("a", b"b"), (b"a",), [b"a", b"b"], (b"a", bytearray(b"b"))])
def test_fields_of_wrong_types(field: object) -> None:
    with pytest.raises(TypeError, match="must be a tuple of two bytes"):
        check_trailers([field])  # type: ignore[list-item]


def test_fields_that_are_never_indexed_are_fields() -> None:
    check_trailers([NeverIndexed((b"a", b"b"))])


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=6))
def test_any_fields(fields: list[Field]) -> None:
    for parse in (lambda f: parse_request(f, True), parse_response, check_trailers):
        try:
            parse(list(fields))
        except H3Error as error:
            assert error.code is ErrorCode.H3_MESSAGE_ERROR


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", (3, False)),
        (b"u=0", (0, False)),
        (b"u=7, i", (7, True)),
        (b"i,u=2", (2, True)),
        (b"i=?0", (3, False)),
        (b"i=?1;a=b;c", (3, True)),
        (b'x="a, b\\"c", u=1, y=(1 2);q, z=1.5', (1, False)),
        (b"u=1, u=2", (2, False)),
        (b"u=8", (3, False)),
        (b"u=-1", (3, False)),
        (b"u=a", (3, False)),
        (b"i=1", (3, False)),
        (b"u=1,", (3, False)),
        (b"u=1 i", (3, False)),
        (b"U=1", (3, False)),
        (b"\xff", (3, False)),
    ],
)
def test_priority_fields(value: bytes, expected: tuple[int, bool]) -> None:
    assert Priority.parse(value) == expected


@given(st.integers(0, 7), st.booleans())
def test_priorities_come_back(urgency: int, incremental: bool) -> None:
    priority = Priority(urgency, incremental)
    assert Priority.parse(priority.encode()) == priority


# RFC 9114 section 4.2.1
def test_cookie_crumbs() -> None:
    fields = [(b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2")]
    assert joined_cookies(fields) == [(b"x", b"y"), (b"cookie", b"a=1; b=2")]
    assert joined_cookies(fields[:2]) == fields[:2]
