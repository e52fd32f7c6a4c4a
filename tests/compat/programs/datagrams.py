"""Datagrams there and back."""

import asyncio

from aioquic.asyncio import connect, serve
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import DatagramFrameReceived, QuicEvent


class Reflector(QuicConnectionProtocol):
    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, DatagramFrameReceived):
            self._quic.send_datagram_frame(event.data[::-1])
            self.transmit()


class Sender(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.received = asyncio.Queue()

    def send(self, data: bytes) -> None:
        self._quic.send_datagram_frame(data)
        self.transmit()

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, DatagramFrameReceived):
            self.received.put_nowait(event.data)


async def server(cert: str, key: str):
    configuration = QuicConfiguration(
        is_client=False, alpn_protocols=["datagrams"], max_datagram_frame_size=65536
    )
    configuration.load_cert_chain(cert, key)
    return await serve("127.0.0.1", 0, configuration=configuration, create_protocol=Reflector)


async def client(host: str, port: int, ca: str):
    configuration = QuicConfiguration(alpn_protocols=["datagrams"], max_datagram_frame_size=65536)
    configuration.load_verify_locations(ca)
    async with connect(host, port, configuration=configuration, create_protocol=Sender) as protocol:
        answers = []
        for number in range(20):
            protocol.send(b"%d" % number)
            answers.append(await protocol.received.get())
        return answers
