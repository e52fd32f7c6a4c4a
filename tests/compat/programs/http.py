"""HTTP/0.9: files from a server, as aioquic's examples do it."""

import asyncio

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.h0.connection import H0_ALPN, H0Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated, QuicEvent


class HttpProtocol(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._http = None

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ProtocolNegotiated) and event.alpn_protocol in H0_ALPN:
            self._http = H0Connection(self._quic)
        if self._http is not None:
            for http_event in self._http.handle_event(event):
                self.http_event_received(http_event)


class HttpServer(HttpProtocol):
    def http_event_received(self, event) -> None:
        if isinstance(event, HeadersReceived):
            path = dict(event.headers)[b":path"].decode()
            body = bytes(range(256)) * (int(path.strip("/")) // 256)
            self._http.send_headers(event.stream_id, headers=[(b":status", b"200")])
            self._http.send_data(event.stream_id, data=body, end_stream=True)
            self.transmit()


class HttpClient(HttpProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._bodies = {}
        self._waiters = {}

    async def get(self, path: str) -> bytes:
        stream_id = self._quic.get_next_available_stream_id()
        self._http.send_headers(
            stream_id=stream_id,
            headers=[(b":method", b"GET"), (b":path", path.encode())],
            end_stream=True,
        )
        waiter = self._loop.create_future()
        self._bodies[stream_id] = bytearray()
        self._waiters[stream_id] = waiter
        self.transmit()
        return await asyncio.shield(waiter)

    def http_event_received(self, event) -> None:
        if isinstance(event, DataReceived):
            self._bodies[event.stream_id] += event.data
            if event.stream_ended:
                body = bytes(self._bodies.pop(event.stream_id))
                self._waiters.pop(event.stream_id).set_result(body)


async def server(cert: str, key: str):
    configuration = QuicConfiguration(is_client=False, alpn_protocols=H0_ALPN)
    configuration.load_cert_chain(cert, key)
    return await serve("127.0.0.1", 0, configuration=configuration, create_protocol=HttpServer)


async def client(host: str, port: int, ca: str):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H0_ALPN)
    configuration.load_verify_locations(ca)
    async with connect(
        host, port, configuration=configuration, create_protocol=HttpClient
    ) as protocol:
        return await asyncio.gather(*(protocol.get(f"/{1 << size}") for size in (8, 16, 20)))
