"""A protocol subclass on either side that writes down every event."""

import asyncio

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicErrorCode


class Recorder(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.events = []
        self._news = asyncio.Event()

    def quic_event_received(self, event: events.QuicEvent) -> None:
        self.events.append(event)
        self._news.set()

    async def until(self, kind, **fields):
        """Waits for an event of this kind."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and fields.items() <= vars(event).items():
                    return event
            self._news.clear()
            await self._news.wait()


class Server(Recorder):
    """Does what it is told on stream 0."""

    def quic_event_received(self, event: events.QuicEvent) -> None:
        super().quic_event_received(event)
        if isinstance(event, events.StreamDataReceived) and event.stream_id == 0:
            for command in event.data.split(b"\n"):
                self.obey(command)
            self.transmit()

    def obey(self, command: bytes) -> None:
        if command == b"reset":
            self._quic.reset_stream(0, error_code=7)
        elif command == b"stop":
            self._quic.stop_stream(4, error_code=8)
        elif command == b"open":
            stream_id = self._quic.get_next_available_stream_id(is_unidirectional=True)
            self._quic.send_stream_data(stream_id, b"from the server", end_stream=True)
        elif command == b"close":
            self.close(error_code=9, reason_phrase="as you like")


servers = []


def create_server(*args, **kwargs):
    servers.append(Server(*args, **kwargs))
    return servers[-1]


async def server(cert: str, key: str):
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["recorder"])
    configuration.load_cert_chain(cert, key)
    return await serve("127.0.0.1", 0, configuration=configuration, create_protocol=create_server)


async def client(host: str, port: int, ca: str):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["other", "recorder"])
    configuration.load_verify_locations(cafile=ca)
    async with connect(
        host, port, configuration=configuration, create_protocol=Recorder
    ) as protocol:
        quic = protocol._quic
        assert quic.tls.alpn_negotiated == "recorder"
        assert quic.configuration is configuration
        assert quic._close_event is None
        assert quic.get_next_available_stream_id() == 0
        assert quic.get_next_available_stream_id(is_unidirectional=True) == 2

        quic.send_stream_data(0, b"open\n")
        quic.send_stream_data(4, b"never mind")
        protocol.transmit()
        await protocol.until(events.StreamDataReceived, stream_id=3)
        quic.send_stream_data(0, b"stop\n")
        protocol.transmit()
        await protocol.until(events.StopSendingReceived)
        quic.send_stream_data(0, b"reset\n")
        protocol.transmit()
        await protocol.until(events.StreamReset)

        quic.send_ping(uid=77)
        protocol.transmit()
        await protocol.until(events.PingAcknowledged, uid=77)
        for _ in range(3):
            protocol.change_connection_id()
            protocol.request_key_update()
            await protocol.ping()

        for forbidden in (
            lambda: quic.send_stream_data(3, b"the server's"),
            lambda: quic.send_stream_data(1, b"unknown"),
            lambda: quic.stop_stream(2, QuicErrorCode.NO_ERROR),
            lambda: quic.stop_stream(400, QuicErrorCode.NO_ERROR),
        ):
            try:
                forbidden()
            except ValueError:
                pass
            else:
                raise AssertionError("a ValueError was due")

        quic.send_stream_data(0, b"close\n", end_stream=True)
        protocol.transmit()
        await protocol.wait_closed()
        assert quic._close_event == protocol.events[-1]
        # Does nothing any more.
        protocol.close(error_code=10)
    return protocol.events
