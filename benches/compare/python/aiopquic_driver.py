"""The driver over aiopquic, which runs picoquic in a thread of its own."""

from __future__ import annotations

import argparse
from typing import Any

from aiopquic.asyncio import QuicConnectionProtocol, connect, serve
from aiopquic.quic.configuration import QuicConfiguration
from aiopquic.quic.events import HandshakeCompleted, StreamDataReceived
from driver import (
    ALPN,
    CONNECTION_WINDOW,
    IDLE_TIMEOUT,
    SERVER_NAME,
    STREAM_WINDOW,
    Stack,
    main,
)

# TLS_AES_128_GCM_SHA256
AES_128 = 0x1301
# Bytes of socket buffers: its default is that of the system, which is too small for such rates.
SOCKET_BUFFER = 4 << 20
STREAMS = 1024


def configuration(*, is_client: bool) -> QuicConfiguration:
    """What both ends are given; its congestion control and datagram size are its own."""
    return QuicConfiguration(
        alpn_protocols=[ALPN],
        is_client=is_client,
        idle_timeout=IDLE_TIMEOUT,
        max_data=CONNECTION_WINDOW,
        max_stream_data=STREAM_WINDOW,
        max_streams_bidi=STREAMS,
        max_connections=STREAMS,
        socket_buffer_size=SOCKET_BUFFER,
        cipher_suite=AES_128,
    )


def server(options: argparse.Namespace) -> QuicConfiguration:
    """With a certificate."""
    config = configuration(is_client=False)
    config.certificate_file = options.cert
    config.private_key_file = options.key
    return config


def client(options: argparse.Namespace) -> QuicConfiguration:
    """Verifies the server."""
    config = configuration(is_client=True)
    config.server_name = SERVER_NAME
    config.cafile = options.ca
    return config


def send(protocol: Any, stream: int, data: bytes, fin: bool) -> None:
    """For what its ring has room for."""
    protocol._quic.send_stream_data(stream, data, fin)


async def send_waiting(protocol: Any, stream: int, data: bytes, fin: bool) -> None:
    """Waits for room."""
    await protocol._quic.send_stream_data_drained(stream, data, fin)


main(
    Stack(
        QuicConnectionProtocol,
        HandshakeCompleted,
        StreamDataReceived,
        server,
        client,
        connect,
        serve,
        send,
        send_waiting,
    )
)
