"""WebTransport with aioquic at the other end, in both roles. It speaks version 2 of the draft."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aioquic import asyncio as aioquic_asyncio
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3 import events
from aioquic.h3.connection import H3Connection
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import StreamDataReceived, StreamReset

import tquic
import tquic.h3
from tquic.h3.server import Request, Response
from tquic.h3.webtransport import SessionRefused, SessionRequest

BIG = bytes(range(256)) * 500


class Peer(QuicConnectionProtocol):
    """What both roles of aioquic need."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic, enable_webtransport=True)
        self.heads: asyncio.Queue[dict[bytes, bytes]] = asyncio.Queue()
        self.datagrams: asyncio.Queue[bytes] = asyncio.Queue()
        self.whole: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self.capsules: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue()
        self.resets: asyncio.Queue[int] = asyncio.Queue()
        self.content: dict[int, bytes] = {}
        # It takes what comes back on a stream that it has opened itself for frames.
        self.own: set[int] = set()

    def quic_event_received(self, event: Any) -> None:
        if isinstance(event, StreamReset):
            self.resets.put_nowait(event.error_code)
        if isinstance(event, StreamDataReceived) and event.stream_id in self.own:
            self.on_content(event.stream_id, event.stream_id, event.data, event.end_stream)
            return
        for told in self.http.handle_event(event):
            if isinstance(told, events.HeadersReceived):
                self.on_head(told.stream_id, dict(told.headers))
            elif isinstance(told, events.DataReceived):
                self.capsules.put_nowait((told.data, told.stream_ended))
            elif isinstance(told, events.DatagramReceived):
                self.on_datagram(told.stream_id, told.data)
            elif isinstance(told, events.WebTransportStreamDataReceived):
                self.on_content(told.session_id, told.stream_id, told.data, told.stream_ended)

    def on_content(self, session_id: int, stream_id: int, data: bytes, ended: bool) -> None:
        content = self.content.get(stream_id, b"") + data
        self.content[stream_id] = content
        if ended:
            self.on_stream(session_id, stream_id, content)

    def on_head(self, stream_id: int, fields: dict[bytes, bytes]) -> None:
        self.heads.put_nowait(fields)

    def on_datagram(self, stream_id: int, data: bytes) -> None:
        self.datagrams.put_nowait(data)

    def on_stream(self, session_id: int, stream_id: int, content: bytes) -> None:
        self.whole.put_nowait((stream_id, content))


class Echo(Peer):
    """A server that sends back what came."""

    def on_head(self, stream_id: int, fields: dict[bytes, bytes]) -> None:
        assert fields[b":method"] == b"CONNECT"
        assert fields[b":protocol"] == b"webtransport"
        assert fields[b"sec-webtransport-http3-draft02"] == b"1"
        if fields[b":path"] != b"/echo":
            self.http.send_headers(stream_id, [(b":status", b"404")], end_stream=True)
            self.transmit()
            return
        self.http.send_headers(
            stream_id, [(b":status", b"200"), (b"sec-webtransport-http3-draft", b"draft02")]
        )
        # The server begins as well.
        mine = self.http.create_webtransport_stream(stream_id)
        self.own.add(mine)
        self._quic.send_stream_data(mine, b"from the server", end_stream=True)
        self.transmit()

    def on_datagram(self, stream_id: int, data: bytes) -> None:
        self.http.send_datagram(stream_id, data)
        self.transmit()

    def on_stream(self, session_id: int, stream_id: int, content: bytes) -> None:
        if stream_id & 1:
            # The answer to its own.
            super().on_stream(session_id, stream_id, content)
            return
        if stream_id & 2:
            stream_id = self.http.create_webtransport_stream(session_id, is_unidirectional=True)
        self._quic.send_stream_data(stream_id, content, end_stream=True)
        self.transmit()


@pytest.fixture
def files(identity: Any, tmp_path: Path) -> Path:
    for name in ("ca", "cert", "key"):
        (tmp_path / f"{name}.pem").write_bytes(getattr(identity, name))
    return tmp_path


@pytest.fixture
async def aioquic_url(files: Path) -> AsyncIterator[str]:
    configuration = QuicConfiguration(
        is_client=False, alpn_protocols=["h3"], max_datagram_frame_size=65536
    )
    configuration.load_cert_chain(files / "cert.pem", files / "key.pem")
    server = await aioquic_asyncio.serve(
        "127.0.0.1", 0, configuration=configuration, create_protocol=Echo
    )
    port = server._transport.get_extra_info("sockname")[1]
    yield f"https://127.0.0.1:{port}/"
    server.close()


async def test_our_client(aioquic_url: str, client_config: tquic.Config) -> None:
    async with asyncio.timeout(30), tquic.h3.connect(aioquic_url, config=client_config) as c:
        session = await c.webtransport("/echo")
        assert c.peer_settings is not None
        assert c.peer_settings.webtransport == 2
        theirs = await session.accept_stream()
        assert await theirs.read() == b"from the server"
        assert theirs.id & 3 == 1
        theirs.finish()
        for number in range(10):
            stream = session.open_stream()
            stream.write(BIG)
            stream.finish()
            assert await stream.read() == BIG
            one = session.open_stream(unidirectional=True)
            one.write(b"one way %d" % number)
            one.finish()
            assert await (await session.accept_stream()).read() == b"one way %d" % number
            session.send_datagram(b"datagram %d" % number)
            assert await session.recv_datagram() == b"datagram %d" % number
        with pytest.raises(SessionRefused) as caught:
            await c.webtransport("/no")
        assert caught.value.status == 404


async def answer(request: Request) -> Response:
    return Response(b"page")


async def test_our_server(files: Path, server_config: tquic.Config) -> None:
    ends: asyncio.Queue[Any] = asyncio.Queue()

    async def handle(request: SessionRequest) -> None:
        session = request.accept()
        mine = session.open_stream()
        mine.write(b"from the server")
        mine.finish()
        stream = await session.accept_stream()
        stream.write(await stream.read())
        stream.finish()
        one = await session.accept_stream()
        back = session.open_stream(unidirectional=True)
        back.write(await one.read())
        back.finish()
        session.send_datagram(await session.recv_datagram())
        last = await session.accept_stream()
        with pytest.raises(tquic.StreamReset) as caught:
            await last.read()
        assert caught.value.code == 5
        last.reset(6)
        session.close(9, "done")
        ends.put_nowait(session.exception)

    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=["h3"], max_datagram_frame_size=65536
    )
    configuration.verify_mode = ssl.CERT_REQUIRED
    configuration.load_verify_locations(files / "ca.pem")
    async with (
        asyncio.timeout(30),
        tquic.h3.serve(answer, "127.0.0.1", 0, config=server_config, webtransport=handle) as server,
        aioquic_asyncio.connect(
            *server.address, configuration=configuration, create_protocol=Peer
        ) as protocol,
    ):
        assert isinstance(protocol, Peer)
        quic, http = protocol._quic, protocol.http
        number = quic.get_next_available_stream_id()
        fields = [
            (b":method", b"CONNECT"),
            (b":scheme", b"https"),
            (b":authority", b"127.0.0.1"),
            (b":path", b"/"),
            (b":protocol", b"webtransport"),
        ]
        http.send_headers(number, fields)
        # What belongs to the session need not wait for it.
        both = http.create_webtransport_stream(number)
        protocol.own.add(both)
        quic.send_stream_data(both, BIG, end_stream=True)
        protocol.transmit()
        assert (await protocol.heads.get())[b"sec-webtransport-http3-draft"] == b"draft02"
        got = [await protocol.whole.get() for _ in range(2)]
        assert sorted(got) == sorted([(1, b"from the server"), (both, BIG)])
        one = http.create_webtransport_stream(number, is_unidirectional=True)
        quic.send_stream_data(one, b"one way", end_stream=True)
        protocol.transmit()
        _, content = await protocol.whole.get()
        assert content == b"one way"
        http.send_datagram(number, b"datagram")
        protocol.transmit()
        assert await protocol.datagrams.get() == b"datagram"
        last = http.create_webtransport_stream(number)
        quic.send_stream_data(last, b"x")
        protocol.transmit()
        await protocol.ping()
        quic.reset_stream(last, 0x52E4A40FA8DB + 5)
        protocol.transmit()
        assert await protocol.resets.get() == 0x52E4A40FA8DB + 6
        capsule, ended = await protocol.capsules.get()
        # CLOSE_WEBTRANSPORT_SESSION, written by hand.
        assert capsule == b"\x68\x43\x08\x00\x00\x00\x09done"
        if not ended:
            assert await protocol.capsules.get() == (b"", True)
        assert (await ends.get()).code == 9
