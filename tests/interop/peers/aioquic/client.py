"""The aioquic client: downloads REQUESTS into DOWNLOADS the way the test case asks."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamDataReceived, StreamReset
from aioquic.tls import SessionTicket
from common import Unsupported, configuration, setting, unsupported
from http3 import Http3Client

CASES = {
    "handshake", "transfer", "chacha20", "retry", "keyupdate", "v2", "connectionmigration", "clientmigration",
}  # fmt: skip
TICKET_WAIT = 5.0
# How long a closed connection may still send, in seconds.
CLOSING = 0.1


class FileClient(QuicConnectionProtocol):
    """Fetches files, one stream each."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._bodies: dict[int, bytearray] = {}
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    async def fetch(self, url: SplitResult) -> bytes:
        """The body the server sends for this URL."""
        stream = self._quic.get_next_available_stream_id()
        self._bodies[stream] = bytearray()
        self._waiting[stream] = self._loop.create_future()
        self._quic.send_stream_data(stream, f"GET {url.path}\r\n".encode(), end_stream=True)
        self._transmit_soon()
        return await self._waiting[stream]

    def quic_event_received(self, event: QuicEvent) -> None:
        """Collects bodies and fails what can no longer come."""
        if isinstance(event, StreamDataReceived) and event.stream_id in self._bodies:
            self._bodies[event.stream_id] += event.data
            if event.end_stream:
                body = bytes(self._bodies.pop(event.stream_id))
                self._waiting.pop(event.stream_id).set_result(body)
        elif isinstance(event, StreamReset) and event.stream_id in self._waiting:
            error = ConnectionError(f"the server reset stream {event.stream_id}")
            self._waiting.pop(event.stream_id).set_exception(error)
        elif isinstance(event, ConnectionTerminated):
            error = ConnectionError(f"closed with error {event.error_code:#x}: {event.reason_phrase}")
            for waiter in self._waiting.values():
                waiter.set_exception(error)
            self._waiting.clear()

    async def move(self) -> None:
        """Goes on from a new local port, with a new connection ID (RFC 9000 section 9.5)."""
        old = self._transport
        wildcard = "::" if ":" in old.get_extra_info("sockname")[0] else "0.0.0.0"
        # Socket and connection ID change together: nothing may leave the new port under the old ID.
        self._transport, _ = await self._loop.create_datagram_endpoint(
            lambda: Forwarder(self), local_addr=(wildcard, 0)
        )
        self.change_connection_id()
        old.close()

    async def wait_closed(self) -> None:
        """Gives CONNECTION_CLOSE a moment; the whole closing period is three PTO long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(super().wait_closed(), CLOSING)

    def connection_lost(self, exc: Exception | None) -> None:
        """The old socket of a moved connection ends; the connection does not."""


class Forwarder(asyncio.DatagramProtocol):
    """Hands datagrams of a second socket to the client."""

    def __init__(self, client: FileClient) -> None:
        self._client = client

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """A datagram for the client."""
        self._client.datagram_received(data, addr)


def dial(config: QuicConfiguration, url: SplitResult, **options: object) -> AbstractAsyncContextManager[FileClient]:
    """A connection to the URL's server."""
    return connect(
        url.hostname,
        url.port or 443,
        # aioquic writes the server name into the configuration it is given.
        configuration=replace(config),
        **{"create_protocol": FileClient, **options},
    )


async def download(client: FileClient | Http3Client, urls: list[SplitResult]) -> None:
    """All files in parallel."""
    bodies = await asyncio.gather(*(client.fetch(url) for url in urls))
    for url, body in zip(urls, bodies, strict=True):
        (Path(setting("DOWNLOADS", "/downloads")) / Path(url.path).name).write_bytes(body)


async def one_connection(config: QuicConfiguration, testcase: str, urls: list[SplitResult]) -> None:
    """Everything over one connection."""
    async with dial(config, urls[0]) as client:
        transfer = asyncio.ensure_future(download(client, urls))
        if testcase == "keyupdate":
            await client.ping()  # the handshake is confirmed once this is answered
            client.request_key_update()
        elif testcase == "clientmigration":
            await asyncio.sleep(0.1)
            await client.move()
        await transfer


async def two_connections(config: QuicConfiguration, testcase: str, urls: list[SplitResult]) -> None:
    """The first file over one connection, the others over a second that resumes its session."""
    tickets: asyncio.Queue[SessionTicket] = asyncio.Queue()
    async with dial(config, urls[0], session_ticket_handler=tickets.put_nowait) as client:
        await download(client, urls[:1])
        ticket = await asyncio.wait_for(tickets.get(), TICKET_WAIT)
    config = replace(config, session_ticket=ticket)
    early = testcase == "zerortt"
    async with dial(config, urls[0], wait_connected=not early) as client:
        await download(client, urls[1:])


async def run(testcase: str) -> None:
    """Plays the test case."""
    urls = [urlsplit(url) for url in setting("REQUESTS", "").split()]
    config = partial(configuration, is_client=True, testcase=testcase)
    if testcase in CASES:
        await one_connection(config(), testcase, urls)
    elif testcase == "http3":
        async with dial(config(), urls[0], create_protocol=Http3Client) as client:
            await download(client, urls)
    elif testcase in {"resumption", "zerortt"}:
        await two_connections(config(), testcase, urls)
    elif testcase == "multiconnect":
        shared = config()
        for url in urls:
            await one_connection(shared, testcase, [url])
    else:
        raise Unsupported(f"client, test case {testcase}")


def main() -> int:
    """The exit status of the client."""
    try:
        asyncio.run(run(setting("TESTCASE", "")))
    except Unsupported as error:
        return unsupported(error)
    except (ConnectionError, TimeoutError) as error:
        print(f"aioquic: {error or type(error).__name__}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
