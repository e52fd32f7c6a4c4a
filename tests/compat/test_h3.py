"""aioquic's HTTP/3 interface on our engine."""

from __future__ import annotations

from typing import Any

import pytest

from tquic.compat.aioquic.h3.connection import H3Connection
from tquic.compat.aioquic.h3.exceptions import NoAvailablePushIDError
from tquic.compat.aioquic.quic.events import StreamDataReceived


async def test_a_program(run: Any) -> None:
    (answers, known), *_ = await run("http3")
    assert known
    asked = [b"GET /one", b"POST /two", *[b"POST /big"] * 5]
    contents = [b"nothing", b"content", *[b"x" * 50_000] * 5]
    for (sections, content), request, expected in zip(answers, asked, contents, strict=True):
        assert sections == [
            [(b":status", b"103"), (b"link", b"</a>")],
            [(b":status", b"200"), (b"asked", request)],
            [(b"trailer", b"1")],
        ]
        assert content == expected


class _Fake:
    """As much of a connection as is looked at here."""

    class configuration:  # noqa: N801 - an attribute
        is_client = False
        max_datagram_frame_size = None

    def __init__(self) -> None:
        self.closed: tuple[int, str] | None = None

    def get_next_available_stream_id(self, is_unidirectional: bool = False) -> int:
        return 3

    def send_stream_data(self, *_: object) -> None:
        pass

    def close(self, error_code: int, reason_phrase: str) -> None:
        self.closed = (error_code, reason_phrase)


def test_what_is_not_there_and_what_is_wrong() -> None:
    quic = _Fake()
    http = H3Connection(quic)  # type: ignore[arg-type]
    with pytest.raises(NoAvailablePushIDError):
        http.send_push_promise(0, [])
    with pytest.warns(UserWarning, match="WebTransport"):
        H3Connection(quic, enable_webtransport=True)  # type: ignore[arg-type]
    # DATA before HEADERS
    assert http.handle_event(StreamDataReceived(b"\x00\x01x", False, 0)) == []
    assert quic.closed is not None
    assert quic.closed[0] == 0x105
