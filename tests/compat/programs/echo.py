"""An echo server and its client: a protocol subclass each, as in aioquic's examples."""

import asyncio

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent, StreamDataReceived


class EchoServer(QuicConnectionProtocol):
    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, StreamDataReceived):
            self._quic.send_stream_data(event.stream_id, event.data, event.end_stream)
            self.transmit()


class EchoClient(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._answers = {}
        self._waiters = {}

    async def echo(self, data: bytes) -> bytes:
        stream_id = self._quic.get_next_available_stream_id()
        waiter = self._loop.create_future()
        self._answers[stream_id] = b""
        self._waiters[stream_id] = waiter
        self._quic.send_stream_data(stream_id, data, end_stream=True)
        self.transmit()
        return await asyncio.shield(waiter)

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, StreamDataReceived):
            self._answers[event.stream_id] += event.data
            if event.end_stream:
                answer = self._answers.pop(event.stream_id)
                self._waiters.pop(event.stream_id).set_result(answer)


async def server(cert: str, key: str):
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["echo"])
    configuration.load_cert_chain(cert, key)
    return await serve("127.0.0.1", 0, configuration=configuration, create_protocol=EchoServer)


async def client(host: str, port: int, ca: str):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["echo"])
    configuration.load_verify_locations(cafile=ca)
    async with connect(
        host, port, configuration=configuration, create_protocol=EchoClient
    ) as protocol:
        return await asyncio.gather(
            *(protocol.echo(b"%d" % number * 5000) for number in range(10)),
            protocol.echo(b""),
        )
