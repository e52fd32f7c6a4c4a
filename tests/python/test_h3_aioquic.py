"""HTTP/3 with aioquic at the other end, in both roles."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aioquic", reason="not to be had for this Python")

from aioquic import asyncio as aioquic_asyncio
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3 import events
from aioquic.h3.connection import H3Connection
from aioquic.quic.configuration import QuicConfiguration

import tquic
import tquic.h3
from tquic.h3.server import Request, Response, serve

BIG = bytes(range(256)) * 2000


class Peer(QuicConnectionProtocol):
    """What both roles of aioquic need."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.fields: dict[int, list[list[tuple[bytes, bytes]]]] = {}
        self.content: dict[int, bytes] = {}
        self.ended: dict[int, asyncio.Event] = {}

    def quic_event_received(self, event: Any) -> None:
        for told in self.http.handle_event(event):
            if isinstance(told, events.HeadersReceived):
                self.fields.setdefault(told.stream_id, []).append(list(told.headers))
            elif isinstance(told, events.DataReceived):
                seen = self.content.get(told.stream_id, b"")
                self.content[told.stream_id] = seen + told.data
            else:
                continue
            if told.stream_ended:
                self.on_message(told.stream_id)

    def on_message(self, stream_id: int) -> None:
        self.ended.setdefault(stream_id, asyncio.Event()).set()


class Echo(Peer):
    """A server that sends back what came."""

    def on_message(self, stream_id: int) -> None:
        fields = dict(self.fields[stream_id][0])
        content = self.content.get(stream_id, b"")
        if fields[b":path"] == b"/big":
            content = BIG
        answer = [(b":status", b"200"), (b"x-method", fields[b":method"])]
        self.http.send_headers(stream_id, [(b":status", b"103"), (b"link", b"</a>")])
        self.http.send_headers(stream_id, answer)
        if fields[b":method"] != b"HEAD":
            self.http.send_data(stream_id, content, end_stream=False)
        self.http.send_headers(stream_id, [(b"x-trailer", b"1")], end_stream=True)
        self.transmit()


@pytest.fixture
def files(identity: Any, tmp_path: Path) -> Path:
    for name in ("ca", "cert", "key"):
        (tmp_path / f"{name}.pem").write_bytes(getattr(identity, name))
    return tmp_path


@pytest.fixture
async def aioquic_url(files: Path) -> AsyncIterator[str]:
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"])
    configuration.load_cert_chain(files / "cert.pem", files / "key.pem")
    server = await aioquic_asyncio.serve(
        "127.0.0.1", 0, configuration=configuration, create_protocol=Echo
    )
    port = server._transport.get_extra_info("sockname")[1]
    yield f"https://127.0.0.1:{port}/"
    server.close()


async def test_our_client(aioquic_url: str, client_config: tquic.Config) -> None:
    async with asyncio.timeout(30), tquic.h3.connect(aioquic_url, config=client_config) as c:
        # Many times, so that both dynamic tables are in use.
        for number in range(20):
            headers = {"x-same": "a value that is always the same", "x-number": str(number)}
            response = await c.request("POST", "/echo", headers=headers, content=b"abc" * number)
            assert response.headers["x-method"] == "POST"
            assert [hints.status for hints in response.informational] == [103]
            assert await response.read() == b"abc" * number
            assert response.trailers is not None
            assert response.trailers["x-trailer"] == "1"
        responses = await asyncio.gather(*(c.get("/big") for _ in range(5)))
        for response in responses:
            assert await response.read() == BIG
        head = await c.head("/big")
        assert await head.read() == b""
        async with await c.get("/big") as response:
            await response.read(1)
        assert (await c.get("/x")).status == 200


async def answer(request: Request) -> Response:
    if request.path == "/big":
        return Response(BIG)
    content = await request.read()
    fields = [(b"x-same", b"a value that is always the same"), (b"x-number", content[:5])]
    return Response(content, headers=fields)


async def test_our_server(files: Path, server_config: tquic.Config) -> None:
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["h3"])
    configuration.verify_mode = ssl.CERT_REQUIRED
    configuration.load_verify_locations(files / "ca.pem")
    async with (
        asyncio.timeout(30),
        serve(answer, "127.0.0.1", 0, config=server_config) as server,
        aioquic_asyncio.connect(
            "127.0.0.1",
            server.address[1],
            configuration=configuration,
            create_protocol=Peer,
        ) as peer,
    ):
        assert isinstance(peer, Peer)
        for number in range(20):
            stream_id = peer._quic.get_next_available_stream_id()
            path = b"/big" if number % 5 == 0 else b"/echo"
            peer.http.send_headers(
                stream_id,
                [
                    (b":method", b"POST"),
                    (b":scheme", b"https"),
                    (b":authority", b"localhost"),
                    (b":path", path),
                    (b"x-same", b"a value that is always the same"),
                ],
            )
            content = b"%05d" % number * number
            peer.http.send_data(stream_id, content, end_stream=True)
            peer.transmit()
            await peer.ended.setdefault(stream_id, asyncio.Event()).wait()
            head = dict(peer.fields[stream_id][0])
            assert head[b":status"] == b"200"
            expected = BIG if path == b"/big" else content
            assert peer.content.get(stream_id, b"") == expected
