"""Session tickets: a first connection, one that resumes it, and one with early data (0-RTT)."""

import asyncio
import dataclasses

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import HandshakeCompleted, QuicEvent, StreamDataReceived
from aioquic.tls import SessionTicket


class SessionTicketStore:
    def __init__(self) -> None:
        self.tickets = {}

    def add(self, ticket: SessionTicket) -> None:
        self.tickets[ticket.ticket] = ticket

    def pop(self, label: bytes) -> SessionTicket | None:
        return self.tickets.pop(label, None)


class Server(QuicConnectionProtocol):
    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, StreamDataReceived):
            self._quic.send_stream_data(event.stream_id, event.data, event.end_stream)
            self.transmit()


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.handshake = self._loop.create_future()
        self.answer = self._loop.create_future()
        self._received = b""

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, HandshakeCompleted):
            self.handshake.set_result(event)
        elif isinstance(event, StreamDataReceived):
            self._received += event.data
            if event.end_stream:
                self.answer.set_result(self._received)


async def server(cert: str, key: str):
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["tickets"])
    configuration.load_cert_chain(cert, key)
    store = SessionTicketStore()
    return await serve(
        "127.0.0.1",
        0,
        configuration=configuration,
        create_protocol=Server,
        session_ticket_fetcher=store.pop,
        session_ticket_handler=store.add,
    )


async def client(host: str, port: int, ca: str):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["tickets"])
    configuration.load_verify_locations(cafile=ca)
    tickets = asyncio.Queue()
    results = []
    for early in (False, False, True):
        async with connect(
            host,
            port,
            configuration=configuration,
            create_protocol=Client,
            session_ticket_handler=tickets.put_nowait,
            wait_connected=not early,
        ) as protocol:
            stream_id = protocol._quic.get_next_available_stream_id()
            protocol._quic.send_stream_data(stream_id, b"hello", end_stream=True)
            protocol.transmit()
            assert await protocol.answer == b"hello"
            handshake = await protocol.handshake
            ticket = await tickets.get()
            assert ticket.is_valid
        results.append((handshake.session_resumed, handshake.early_data_accepted))
        configuration = dataclasses.replace(configuration, session_ticket=ticket)
    return results
