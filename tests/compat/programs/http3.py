"""HTTP/3, both ends: requests with content, trailers and an interim response."""

import asyncio

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated


class Http(QuicConnectionProtocol):
    """Collects whole messages."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = None
        self.messages = {}
        self.waiting = {}

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated) and self.http is None:
            self.http = H3Connection(self._quic)
        if self.http is None:
            return
        for told in self.http.handle_event(event):
            message = self.messages.setdefault(told.stream_id, ([], bytearray()))
            if isinstance(told, HeadersReceived):
                message[0].append(told.headers)
            elif isinstance(told, DataReceived):
                message[1].extend(told.data)
            if told.stream_ended:
                self.on_message(told.stream_id, *self.messages.pop(told.stream_id))


class Server(Http):
    def on_message(self, stream_id, sections, content):
        fields = dict(sections[0])
        self.http.send_headers(stream_id, [(b":status", b"103"), (b"link", b"</a>")])
        head = [(b":status", b"200"), (b"asked", fields[b":method"] + b" " + fields[b":path"])]
        self.http.send_headers(stream_id, head)
        self.http.send_data(stream_id, bytes(content) or b"nothing", end_stream=False)
        self.http.send_headers(stream_id, [(b"trailer", b"1")], end_stream=True)
        self.transmit()


class Client(Http):
    def on_message(self, stream_id, sections, content):
        self.waiting.pop(stream_id).set_result((sections, bytes(content)))

    async def request(self, method, path, content=b""):
        stream_id = self._quic.get_next_available_stream_id()
        self.waiting[stream_id] = asyncio.get_running_loop().create_future()
        fields = {":method": method, ":scheme": "https", ":authority": "localhost", ":path": path}
        headers = [(name.encode(), value.encode()) for name, value in fields.items()]
        self.http.send_headers(stream_id, headers, end_stream=not content)
        if content:
            self.http.send_data(stream_id, content, end_stream=True)
        self.transmit()
        return await asyncio.shield(self.waiting[stream_id])


async def server(cert, key):
    configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
    configuration.load_cert_chain(cert, key)
    return await serve("127.0.0.1", 0, configuration=configuration, create_protocol=Server)


async def client(host, port, ca):
    """The answers, and whether the server's settings have come."""
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN)
    configuration.load_verify_locations(ca)
    async with connect(host, port, configuration=configuration, create_protocol=Client) as protocol:
        big = b"x" * 50_000
        answers = [
            await protocol.request("GET", "/one"),
            await protocol.request("POST", "/two", b"content"),
            *await asyncio.gather(*(protocol.request("POST", "/big", big) for _ in range(5))),
        ]
        return answers, protocol.http.received_settings is not None
