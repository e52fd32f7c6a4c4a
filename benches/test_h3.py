"""HTTP/3 without sockets: small requests and responses, as a server and a client have them.

`pytest benches/test_h3.py --benchmark-enable` shows operations per second; one operation is one
request, from its bytes to those of its response.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from tquic.h3 import Connection, prepare_request, prepare_response

Benchmark = Callable[..., Any]

REQUEST = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"www.example.com"),
    (b":path", b"/assets/main.7f3c9ab2e1.js"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"),
    (b"accept", b"*/*"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"accept-language", b"en-US,en;q=0.9"),
]
RESPONSE = [
    (b":status", b"200"),
    (b"content-length", b"1024"),
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"date", b"Sun, 22 Nov 2026 22:22:22 GMT"),
    (b"server", b"tquic"),
]
BODY = bytes(1024)


def ends() -> tuple[Connection, Connection]:
    """A client and a server that have each other's SETTINGS."""
    client, server = Connection(is_client=True), Connection(is_client=False)
    client.start(2, 6, 10)
    server.start(3, 7, 11)
    carry(client, server)
    carry(server, client)
    return client, server


def carry(sender: Connection, receiver: Connection) -> None:
    for stream_id, data in sender.take_output():
        receiver.receive(stream_id, data)


def stream_ids() -> Iterator[int]:
    return count(0, 4)


def test_server_with_prepared_responses(benchmark: Benchmark) -> None:
    _, server = ends()
    ids = stream_ids()
    data, response = prepare_request(REQUEST).data, prepare_response(RESPONSE, BODY)

    def serve() -> None:
        stream_id = next(ids)
        assert len(server.receive(stream_id, data, True)) == 2
        server.send_prepared(stream_id, response)
        server.take_output()

    benchmark(serve)


def test_server_with_encoded_responses(benchmark: Benchmark) -> None:
    client, server = ends()
    ids = stream_ids()

    def request(stream_id: int) -> bytes:
        data = client.send_request(stream_id, REQUEST, end=True)
        carry(client, server)
        return data

    def serve(stream_id: int, data: bytes) -> None:
        assert len(server.receive(stream_id, data, True)) == 2
        head = server.send_response(stream_id, RESPONSE)
        answer = head + server.send_data(stream_id, len(BODY), end=True) + BODY
        assert answer
        carry(server, client)
        client.abandon(stream_id)

    def prepare() -> tuple[tuple[int, bytes], dict[str, Any]]:
        stream_id = next(ids)
        return (stream_id, request(stream_id)), {}

    benchmark.pedantic(serve, setup=prepare, rounds=2000)  # type: ignore[attr-defined]


def test_client(benchmark: Benchmark) -> None:
    client, _ = ends()
    ids = stream_ids()
    request, answer = prepare_request(REQUEST), prepare_response(RESPONSE, BODY).data

    def ask() -> None:
        stream_id = next(ids)
        client.send_prepared(stream_id, request)
        assert len(client.receive(stream_id, answer, True)) == 3
        client.take_output()

    benchmark(ask)


@pytest.mark.parametrize("size", [1 << 10, 1 << 16])
def test_content(benchmark: Benchmark, size: int) -> None:
    client, server = ends()
    server.receive(0, client.send_request(0, [(b":method", b"POST"), *REQUEST[1:]]))
    data = client.send_data(0, size) + bytes(size)

    def receive() -> None:
        assert len(server.receive(0, data)) == 1

    benchmark(receive)
