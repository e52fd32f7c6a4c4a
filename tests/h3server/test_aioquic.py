"""A client that is not ours: aioquic's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aioquic", reason="not to be had for this Python")

from aioquic.asyncio.client import connect as aioquic_connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent, StopSendingReceived

from tquic.h3.server import Request, Response, StaticFiles

from .conftest import Serve, Site


class AioquicClient(QuicConnectionProtocol):
    """A client that is not ours."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        # Streams that the server wanted no more of.
        self.stopped: list[int] = []
        self._waiting: dict[int, tuple[asyncio.Future[list[H3Event]], list[H3Event]]] = {}

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, StopSendingReceived):
            self.stopped.append(event.stream_id)
        for found in self.http.handle_event(event):
            if isinstance(found, HeadersReceived | DataReceived):
                done, events = self._waiting[found.stream_id]
                events.append(found)
                if found.stream_ended:
                    done.set_result(events)

    async def request(
        self, method: bytes, path: bytes, body: bytes = b"", *more: tuple[bytes, bytes]
    ) -> tuple[dict[bytes, bytes], bytes]:
        number = self._quic.get_next_available_stream_id()
        done = asyncio.get_running_loop().create_future()
        self._waiting[number] = (done, [])
        fields = [
            (b":method", method),
            (b":scheme", b"https"),
            (b":authority", b"localhost"),
            (b":path", path),
            *more,
        ]
        self.http.send_headers(number, fields, end_stream=not body)
        if body:
            self.http.send_data(number, body, end_stream=True)
        self.transmit()
        head, *rest = await done
        content = b"".join(event.data for event in rest if isinstance(event, DataReceived))
        return dict(head.headers), content


def connect(site: Site) -> Any:
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=["h3"], server_name="localhost"
    )
    configuration.load_verify_locations(cadata=site.ca)
    return aioquic_connect(
        "127.0.0.1", site.port, configuration=configuration, create_protocol=AioquicClient
    )


async def test_aioquic(serve: Serve, www: Path) -> None:
    async with serve(StaticFiles(www, writable=True)) as site, connect(site) as client:
        head, content = await client.request(b"GET", b"/hello.txt")
        assert (head[b":status"], content) == (b"200", b"hello, world\n")
        head, content = await client.request(b"GET", b"/big.bin")
        assert content == (www / "big.bin").read_bytes()
        head, content = await client.request(b"GET", b"/big.bin", b"", (b"range", b"bytes=10-19"))
        assert (head[b":status"], content) == (b"206", bytes(range(10, 20)))
        head, _ = await client.request(b"PUT", b"/put.bin", bytes(300_000))
        assert head[b":status"] == b"201"
        assert (www / "put.bin").stat().st_size == 300_000
        many = [client.request(b"GET", b"/pages/") for _ in range(100)]
        answers = {content for _, content in await asyncio.gather(*many)}
        assert answers == {b"<p>index</p>"}


async def test_an_answer_to_a_body_nobody_read(serve: Serve) -> None:
    async def deaf(request: Request) -> Response:
        return Response(b"no, thanks")

    async with serve(deaf) as site, connect(site) as client:
        # One of more than a stream's window.
        for size in (100_000, 3_000_000):
            head, content = await client.request(b"POST", b"/", bytes(size))
            assert (head[b":status"], content) == (b"200", b"no, thanks")
        (connection,) = site.server.connections
        # All of it is taken, without a word.
        while connection.busy:  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)
        assert not client.stopped
